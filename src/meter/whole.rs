//! A whole answer: its real length is charged, then it leaves.

use super::purse::{Purse, Tab};
use crate::id::Timestamp;
use crate::ledger::{CloseOutcome, Ledger, Settling};
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
    match answered {
        Ok(completion) => settle(&tab, &mut purse, ledger, completion).await,
        Err(failed) => {
            close(&tab, &purse, ledger, &failed).await;
            Err(failed)
        }
    }
}

/// Charges an answer and closes its tab, at once.
async fn settle<P: Purse>(
    tab: &Tab,
    purse: &mut P,
    ledger: &Ledger,
    completion: Completion,
) -> Result<Served, Failed> {
    let owed = purse.owed_whole(&completion);
    let units = purse.units();
    let details = purse.details(tab, units, "complete");
    match ledger.settle(Settling { hold: tab.hold.clone(), owed, details, now: Timestamp::now() }).await {
        Ok(CloseOutcome::Closed { .. }) => Ok(Served { completion, units }),
        Ok(CloseOutcome::AlreadyClosed { .. }) => Err(Failed::Superseded),
        Ok(CloseOutcome::Short { .. }) => {
            close(tab, purse, ledger, &Failed::Superseded).await;
            Err(Failed::Superseded)
        }
        Err(error) => {
            tracing::error!(%error, "an answer cannot be charged");
            Err(Failed::Ledger)
        }
    }
}

/// Closes the tab of an answer that there is not.
async fn close<P: Purse>(tab: &Tab, purse: &P, ledger: &Ledger, failed: &Failed) {
    let details = purse.details(tab, 0, failed.as_str());
    if let Err(error) = ledger.close(&tab.hold, &details, Timestamp::now()).await {
        tracing::error!(%error, "a tab is left to the sweeper");
    }
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
