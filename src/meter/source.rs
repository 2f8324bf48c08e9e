//! Funding sources: a channel, whose vouchers may have to be requested, and prepaid
//! credits, of which no more can be requested.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;

use super::served::ServedHold;
use super::state::ChannelBalance;
use super::stream::{StreamEnd, StreamEvent};
use crate::id::RequestId;
use crate::ledger::{EntryDetails, Ledger, Owed};
use crate::services::chat::{AnswerHead, AnswerUsage, Chunk, Completion, ProtectedRequest};

/// Time within which a client must accept an event; after it the client counts as gone.
const SEND_TIMEOUT: Duration = Duration::from_mins(1);
/// Interval between the keep-alive events of a stream that has nothing to send.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(10);

/// A request whose answer is charged to a hold.
#[derive(Debug, Clone)]
pub struct MeteredRequest {
    pub hold: ServedHold,
    pub request_id: RequestId,
    pub chat: Arc<ProtectedRequest>,
    pub head: AnswerHead,
}

impl MeteredRequest {
    /// Returns the metadata of the request's entry: `meta` and the numbers of
    /// replaced findings, never their values.
    pub(super) fn entry_meta(&self, mut meta: Value) -> Value {
        if let Some(replaced) = self.chat.replaced().filter(|replaced| !replaced.is_empty()) {
            meta["pii"] = serde_json::json!(replaced);
        }
        meta
    }
}

/// The hold that a stream charges, the ledger, and the client's queue of events.
pub struct StreamContext {
    pub(super) request: MeteredRequest,
    pub(super) ledger: Ledger,
    pub(super) events: mpsc::Sender<StreamEvent>,
}

impl StreamContext {
    pub(super) async fn send(&self, event: StreamEvent) -> Result<(), StreamEnd> {
        // A client that accepts nothing for so long keeps a hold open and a model busy for nothing.
        match tokio::time::timeout(SEND_TIMEOUT, self.events.send(event)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(StreamEnd::ClientGone),
        }
    }
}

/// Payer of one answer.
pub trait FundingSource: Send {
    /// Waits until the prompt can be paid for; no upstream is asked before.
    ///
    /// # Errors
    /// The reason for which the stream ends.
    fn before_upstream(
        &mut self,
        _context: &StreamContext,
    ) -> impl Future<Output = Result<(), StreamEnd>> + Send {
        std::future::ready(Ok(()))
    }

    /// Notes that an upstream has the request's prompt, or that the one which had it failed.
    fn on_delivery(&mut self, _request: &MeteredRequest, _is_taken: bool) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// Notes that the upstream has begun to answer.
    fn on_first_chunk(&mut self) {}

    /// Charges for as many of the billable `chunks`, from the front, as can be
    /// paid for, and returns their number: at least one if there is one. Waits for
    /// money where more can come.
    ///
    /// # Errors
    /// The reason for which the stream ends.
    fn charge_chunks(
        &mut self,
        context: &StreamContext,
        chunks: &[&Chunk],
    ) -> impl Future<Output = Result<u64, StreamEnd>> + Send;

    /// Notes that the charged chunks were sent.
    fn on_sent(&mut self, _context: &StreamContext) -> impl Future<Output = Result<(), StreamEnd>> + Send {
        std::future::ready(Ok(()))
    }

    /// Completes when the answer must end at once, with the reason.
    fn cancelled(&mut self, _request: &MeteredRequest) -> impl Future<Output = StreamEnd> + Send {
        std::future::pending()
    }

    /// Returns the amount owed for a request that ended for this reason: a stream with this usage, or a
    /// non-streaming answer that did not come.
    fn owed_at_end(&mut self, request: &MeteredRequest, end: &StreamEnd, usage: &AnswerUsage) -> Owed;

    /// Returns the amount owed for a non-streaming answer.
    fn owed_for_completion(&mut self, completion: &Completion) -> Owed;

    /// Reads the balance of the channel after the hold was closed; `None` for
    /// prepaid credits.
    fn channel_balance(&mut self) -> impl Future<Output = Option<ChannelBalance>> + Send {
        std::future::ready(None)
    }

    /// Returns the number of units charged so far or owed: chunks of a channel's
    /// stream, tokens of prepaid credits.
    fn units(&self) -> u64;

    /// Returns the entry to post for the request. `end` is the stable name of the
    /// reason for which it ended.
    fn entry_details(&self, request: &MeteredRequest, units: u64, end: &str) -> EntryDetails;
}
