//! A whole answer: its real length is charged, then it leaves.

use super::purse::{Purse, Tab};
use crate::id::Timestamp;
use crate::ledger::Ledger;
use crate::services::chat::{Completion, UpstreamError};

/// An answer that is paid for.
#[derive(Debug)]
pub struct Served {
    pub completion: Completion,
    /// What was charged, in units of the tab's price.
    pub units: u64,
}

/// Why there is no answer. Nothing was charged, unless the ledger cannot say.
#[derive(Debug)]
pub enum Failed {
    Upstream(UpstreamError),
    /// A newer request took the channel over, or it is being closed.
    Superseded,
    /// The ledger could not be written.
    Ledger,
    /// The key was revoked or has expired.
    KeyEnded,
    /// The client went away before the answer was there.
    Gone,
}

/// Waits for the answer, charges it and closes its tab. Once `gone` completes
/// nothing is charged any more: run this in a task of its own, so that a client
/// that goes away cannot leave the tab open.
///
/// # Errors
/// [`Failed`].
pub async fn whole<P: Purse>(
    tab: Tab,
    mut purse: P,
    ledger: &Ledger,
    start: impl Future<Output = Result<Completion, UpstreamError>>,
    gone: impl Future<Output = ()>,
) -> Result<Served, Failed> {
    let answered = tokio::select! {
        () = gone => Err(Failed::Gone),
        _ = purse.stopped() => Err(Failed::KeyEnded),
        answered = start => answered.map_err(Failed::Upstream),
    };
    let served = match answered {
        Ok(completion) => {
            let paid = purse.pay_whole(ledger, &tab, &completion).await;
            paid.map(|units| Served { completion, units })
        }
        Err(failed) => Err(failed),
    };
    let (units, end) = match &served {
        Ok(served) => (served.units, "complete"),
        Err(failed) => (0, failed.as_str()),
    };
    let details = purse.details(&tab, units, end);
    if let Err(error) = ledger.close(&tab.hold, &details, Timestamp::now()).await {
        tracing::error!(%error, "a tab is left to the sweeper");
    }
    served
}

impl Failed {
    /// Stable name, as kept in the entry.
    fn as_str(&self) -> &'static str {
        match self {
            Self::Upstream(_) => "upstream_failed",
            Self::Superseded => "superseded",
            Self::Ledger => "ledger_unavailable",
            Self::KeyEnded => "key_ended",
            Self::Gone => "client_gone",
        }
    }
}
