//! A whole answer: its real length is charged, then it leaves.

use super::stream::Tab;
use crate::id::Timestamp;
use crate::ledger::{ChargeOutcome, Ledger};
use crate::money::Money;
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
    /// The client went away before the answer was there.
    Gone,
}

/// Waits for the answer, charges it and closes its tab. The challenge asked
/// for the most it can cost, so it is always covered. Once `gone` completes
/// nothing is charged any more: run this in a task of its own, so that a client
/// that goes away cannot leave the tab open.
///
/// # Errors
/// [`Failed`].
pub async fn whole(
    tab: Tab,
    ledger: &Ledger,
    start: impl Future<Output = Result<Completion, UpstreamError>>,
    gone: impl Future<Output = ()>,
) -> Result<Served, Failed> {
    let answered = tokio::select! {
        () = gone => Err(Failed::Gone),
        answered = start => answered.map_err(Failed::Upstream),
    };
    let served = match answered {
        Ok(completion) => charge(&tab, ledger, completion).await,
        Err(failed) => Err(failed),
    };
    let (units, end) = match &served {
        Ok(served) => (served.units, "complete"),
        Err(failed) => (0, failed.as_str()),
    };
    let details = tab.details(units, end);
    if let Err(error) = ledger.close(&tab.hold, &details, Timestamp::now()).await {
        tracing::error!(%error, "a tab is left to the sweeper");
    }
    served
}

async fn charge(tab: &Tab, ledger: &Ledger, completion: Completion) -> Result<Served, Failed> {
    let units = units_of(&completion).clamp(1, tab.most_units);
    let units = tab.standing.affordable(tab.price, units);
    let cost = tab.price.checked_mul(units).unwrap_or(Money::ZERO);
    match ledger.charge(&tab.hold, cost).await {
        Ok(ChargeOutcome::Charged { .. }) => Ok(Served { completion, units }),
        Ok(ChargeOutcome::Short { .. } | ChargeOutcome::Closed) => Err(Failed::Superseded),
        Err(error) => {
            tracing::error!(%error, "an answer cannot be charged");
            Err(Failed::Ledger)
        }
    }
}

/// Units of a whole answer: its tokens as reported, or about four bytes each.
fn units_of(completion: &Completion) -> u64 {
    let guess = completion.content_bytes.div_ceil(4) as u64;
    completion.usage.as_ref().map_or(guess, |usage| usage.completion_tokens)
}

impl Failed {
    /// Stable name, as kept in the entry.
    fn as_str(&self) -> &'static str {
        match self {
            Self::Upstream(_) => "upstream_failed",
            Self::Superseded => "superseded",
            Self::Ledger => "ledger_unavailable",
            Self::Gone => "client_gone",
        }
    }
}
