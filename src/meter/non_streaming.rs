//! Charging of a non-streaming answer: the hold is captured at its actual length, then it is sent.

#![expect(clippy::disallowed_methods, reason = "an answer takes time, so its end has a moment of its own")]

use super::source::{FundingSource, MeteredRequest};
use super::stream::StreamEnd;
use crate::id::{EntryId, Timestamp};
use crate::ledger::{Capture, CloseOutcome, Ledger};
use crate::services::chat::{Completion, UpstreamError};

/// A non-streaming answer that was charged.
#[derive(Debug)]
pub struct PaidAnswer {
    pub completion: Completion,
    /// Number of units charged: tokens.
    pub units: u64,
}

/// Reason for which there is no answer. Nothing was charged, except perhaps with [`AnswerError::LedgerUnavailable`].
#[derive(Debug)]
pub enum AnswerError {
    Upstream(UpstreamError),
    /// A newer request took the channel over, or the channel is being closed.
    Superseded,
    /// The ledger could not be written; the charge may have been made.
    LedgerUnavailable,
    /// The key was revoked or has expired.
    KeyEnded,
    /// The client disconnected before the answer came.
    ClientGone,
}

/// Waits for the answer and captures the hold at its price. If `client_gone` completes
/// before the answer, nothing is charged: run this in a task of its own, so that a
/// client that disconnects cannot leave the hold open.
///
/// # Errors
/// [`AnswerError`].
pub async fn non_streaming<P: FundingSource>(
    request: MeteredRequest,
    mut source: P,
    ledger: &Ledger,
    answer: impl Future<Output = Result<Completion, UpstreamError>>,
    client_gone: impl Future<Output = ()>,
) -> Result<PaidAnswer, AnswerError> {
    let answered = tokio::select! {
        () = client_gone => Err(AnswerError::ClientGone),
        end = source.cancelled(&request) => Err(AnswerError::of_cancelled(&end)),
        answered = answer => answered.map_err(AnswerError::Upstream),
    };
    // Read when the answer is there: it may have taken minutes.
    let now = Timestamp::now();
    match answered {
        Ok(completion) => capture(&request, &mut source, ledger, completion, now).await,
        Err(error) => {
            close(&request, &source, ledger, &error, now).await;
            Err(error)
        }
    }
}

/// Charges an answer and closes its hold, in one step.
async fn capture<P: FundingSource>(
    request: &MeteredRequest,
    source: &mut P,
    ledger: &Ledger,
    completion: Completion,
    now: Timestamp,
) -> Result<PaidAnswer, AnswerError> {
    let owed = source.owed_for_completion(&completion);
    let units = source.units();
    let details = source.entry_details(request, units, "complete");
    let capture = Capture { hold: request.hold.clone(), entry: EntryId::new(now), owed, details, now };
    match ledger.capture(capture).await {
        Ok(CloseOutcome::Closed { .. }) => Ok(PaidAnswer { completion, units }),
        Ok(CloseOutcome::AlreadyClosed { .. }) => Err(AnswerError::Superseded),
        Ok(CloseOutcome::Short { .. }) => {
            close(request, source, ledger, &AnswerError::Superseded, now).await;
            Err(AnswerError::Superseded)
        }
        Err(error) => {
            tracing::error!(%error, "an answer cannot be charged");
            Err(AnswerError::LedgerUnavailable)
        }
    }
}

/// Closes the hold of a request that got no answer, with an entry that charges nothing.
async fn close<P: FundingSource>(
    request: &MeteredRequest,
    source: &P,
    ledger: &Ledger,
    error: &AnswerError,
    now: Timestamp,
) {
    let details = source.entry_details(request, 0, error.as_str());
    if let Err(error) = ledger.close(&request.hold, &details, now).await {
        tracing::error!(%error, "a hold cannot be closed; the sweep will close it");
    }
}

impl AnswerError {
    /// Returns the error for an answer that its funding source ended.
    fn of_cancelled(end: &StreamEnd) -> Self {
        match end {
            StreamEnd::Superseded => Self::Superseded,
            _ => Self::KeyEnded,
        }
    }

    /// Returns the stable name of the error, as the entry keeps it.
    fn as_str(&self) -> &'static str {
        match self {
            Self::Upstream(_) => "upstream_failed",
            Self::Superseded => "superseded",
            Self::LedgerUnavailable => "ledger_unavailable",
            Self::KeyEnded => "key_ended",
            Self::ClientGone => "client_gone",
        }
    }
}
