//! Charging of a non-streaming answer: the hold is captured at its actual length, then it is sent.

#![expect(clippy::disallowed_methods, reason = "an answer takes time, so its end has a moment of its own")]

use super::served;
use super::source::{FundingSource, MeteredRequest};
use super::stream::StreamEnd;
use crate::id::{EntryId, HoldId, Timestamp};
use crate::ledger::{Capture, CloseOutcome, EntryDetails, Ledger, Owed};
use crate::money::Money;
use crate::services::chat::{AnswerUsage, Completion, UpstreamError};

/// End of a request for a non-streaming answer, and the units that it cost.
#[derive(Debug)]
pub struct AnswerSummary {
    pub answer: Result<Completion, AnswerError>,
    /// Number of units charged: tokens.
    pub units: u64,
    /// Amount charged.
    pub cost: Money,
}

/// Reason for which there is no answer.
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
/// before the answer, only what the upstream has is charged: run this in a task of its own,
/// so that a client that disconnects cannot leave the hold open.
pub async fn non_streaming<P: FundingSource>(
    request: MeteredRequest,
    mut source: P,
    ledger: &Ledger,
    answer: impl Future<Output = Result<Completion, UpstreamError>>,
    client_gone: impl Future<Output = ()>,
) -> AnswerSummary {
    let (mut client_gone, mut answer) = (std::pin::pin!(client_gone), std::pin::pin!(answer));
    let mut is_taken = false;
    let answered = loop {
        tokio::select! {
            () = &mut client_gone => break Err(AnswerError::ClientGone),
            end = source.cancelled(&request) => break Err(AnswerError::of_cancelled(&end)),
            answered = &mut answer => break answered.map_err(AnswerError::Upstream),
            taken = request.chat.delivery().changed(is_taken) => {
                is_taken = taken;
                source.on_delivery(&request, taken).await;
            }
        }
    };
    // Read when the answer is there: it may have taken minutes.
    let now = Timestamp::now();
    let completion = match answered {
        Ok(completion) => completion,
        Err(error) => {
            let end = error.end();
            let owed = source.owed_at_end(&request, &end, &AnswerUsage::default());
            let units = source.units();
            // If this fails too, the first reason is the one to tell.
            let captured = capture(&request, &source, ledger, (owed, units), end.as_str(), None, now).await;
            return AnswerSummary { answer: Err(error), units, cost: captured.unwrap_or_default() };
        }
    };
    let owed = source.owed_for_completion(&completion);
    let units = source.units();
    // An answer that nobody gets is not charged for, unless it has been.
    let undelivered = source.entry_details(&request, 0, StreamEnd::LedgerUnavailable.as_str());
    match capture(&request, &source, ledger, (owed, units), "complete", Some(undelivered), now).await {
        Ok(cost) => AnswerSummary { answer: Ok(completion), units, cost },
        Err(error) => AnswerSummary { answer: Err(error), units: 0, cost: Money::ZERO },
    }
}

/// Charges what is owed for a request and closes its hold, in one step. Returns what was charged. `undelivered` is the
/// entry of a hold that can only be closed later, when its answer is lost.
async fn capture<P: FundingSource>(
    request: &MeteredRequest,
    source: &P,
    ledger: &Ledger,
    (owed, units): (Owed, u64),
    end: &str,
    undelivered: Option<EntryDetails>,
    now: Timestamp,
) -> Result<Money, AnswerError> {
    let details = source.entry_details(request, units, end);
    let hold = HoldId::clone(&request.hold);
    let capture = Capture { hold, entry: EntryId::new(now), owed, details, now };
    let late = |capture| match undelivered {
        Some(details) => Capture { owed: Owed::NOTHING, details, ..capture },
        None => capture,
    };
    match served::capture(ledger, &request.hold, capture, late).await {
        Ok(CloseOutcome::Closed { entry, .. }) => Ok(entry.amount),
        Ok(CloseOutcome::AlreadyClosed { .. }) => Err(AnswerError::Superseded),
        Ok(CloseOutcome::Short { .. }) => {
            // Nothing is delivered, so nothing is charged.
            let details = source.entry_details(request, 0, StreamEnd::Superseded.as_str());
            if let Err(error) = ledger.close(&request.hold, &details, now).await {
                tracing::error!(%error, "a hold cannot be closed; the sweep will close it");
            }
            Err(AnswerError::Superseded)
        }
        Err(error) => {
            tracing::error!(%error, "the hold of an answer is not captured");
            Err(AnswerError::LedgerUnavailable)
        }
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

    /// Returns the end of a stream for the same reason.
    fn end(&self) -> StreamEnd {
        match self {
            Self::Upstream(error) => StreamEnd::Upstream(error.clone()),
            Self::Superseded => StreamEnd::Superseded,
            Self::LedgerUnavailable => StreamEnd::LedgerUnavailable,
            Self::KeyEnded => StreamEnd::KeyEnded,
            Self::ClientGone => StreamEnd::ClientGone,
        }
    }
}
