//! A non-streaming answer: its real length is charged, then it leaves.

use super::source::{FundingSource, MeteredRequest};
use crate::id::Timestamp;
use crate::ledger::{Capture, CloseOutcome, Ledger};
use crate::services::chat::{Completion, UpstreamError};

/// An answer that is paid for.
#[derive(Debug)]
pub struct PaidAnswer {
    pub completion: Completion,
    /// What was charged, in units of the request's price.
    pub units: u64,
}

/// Why there is no answer. Nothing was charged, unless the ledger cannot say.
#[derive(Debug)]
pub enum AnswerError {
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

/// Waits for the answer, charges it and closes its request. Once `gone` completes
/// nothing is charged any more: run this in a task of its own, so that a client
/// that goes away cannot leave the request open.
///
/// # Errors
/// [`AnswerError`].
pub async fn non_streaming<P: FundingSource>(
    request: MeteredRequest,
    mut source: P,
    ledger: &Ledger,
    start: impl Future<Output = Result<Completion, UpstreamError>>,
    gone: impl Future<Output = ()>,
) -> Result<PaidAnswer, AnswerError> {
    let answered = tokio::select! {
        () = gone => Err(AnswerError::Gone),
        _ = source.stopped() => Err(AnswerError::KeyEnded),
        answered = start => answered.map_err(AnswerError::Upstream),
    };
    match answered {
        Ok(completion) => settle(&request, &mut source, ledger, completion).await,
        Err(failed) => {
            close(&request, &source, ledger, &failed).await;
            Err(failed)
        }
    }
}

/// Charges an answer and closes its request, at once.
async fn settle<P: FundingSource>(
    request: &MeteredRequest,
    source: &mut P,
    ledger: &Ledger,
    completion: Completion,
) -> Result<PaidAnswer, AnswerError> {
    let owed = source.owed_non_streaming(&completion);
    let units = source.units();
    let details = source.details(request, units, "complete");
    match ledger.capture(Capture { hold: request.hold.clone(), owed, details, now: Timestamp::now() }).await {
        Ok(CloseOutcome::Closed { .. }) => Ok(PaidAnswer { completion, units }),
        Ok(CloseOutcome::AlreadyClosed { .. }) => Err(AnswerError::Superseded),
        Ok(CloseOutcome::Short { .. }) => {
            close(request, source, ledger, &AnswerError::Superseded).await;
            Err(AnswerError::Superseded)
        }
        Err(error) => {
            tracing::error!(%error, "an answer cannot be charged");
            Err(AnswerError::Ledger)
        }
    }
}

/// Closes the request of an answer that there is not.
async fn close<P: FundingSource>(
    request: &MeteredRequest,
    source: &P,
    ledger: &Ledger,
    failed: &AnswerError,
) {
    let details = source.details(request, 0, failed.as_str());
    if let Err(error) = ledger.close(&request.hold, &details, Timestamp::now()).await {
        tracing::error!(%error, "a request is left to the sweeper");
    }
}

impl AnswerError {
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
