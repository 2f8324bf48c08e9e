//! What pays for an answer. There are two: a channel's vouchers, which may have
//! to be asked for, and prepaid credits, which are there or not.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;

use super::state::ChannelBalance;
use super::stream::{StreamEnd, StreamEvent};
use crate::id::{HoldId, RequestId};
use crate::ledger::{EntryDetails, Ledger, Owed};
use crate::services::chat::{Chunk, Completion, Counts};

/// How long a client may take nothing, and a stream may wait for a voucher
/// ("Insufficient Balance During Streaming").
pub(super) const CLIENT_TIMEOUT: Duration = Duration::from_mins(1);
/// How often a silent stream shows that it lives.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(10);

/// The request that an answer charges.
#[derive(Debug, Clone)]
pub struct MeteredRequest {
    pub hold: HoldId,
    pub request_id: RequestId,
    pub model: String,
    /// Whether the client asked for usage within the stream.
    pub wants_usage: bool,
    /// Personal data that was replaced in the request, by type.
    pub replaced: Counts,
}

impl MeteredRequest {
    /// What is noted of a request in its entry, completed with what every entry
    /// has: counts, never values.
    pub(super) fn noted(&self, mut meta: Value) -> Value {
        if !self.replaced.is_empty() {
            meta["pii"] = serde_json::json!(self.replaced);
        }
        meta
    }
}

/// Where charges and events go.
pub struct StreamContext {
    pub(super) request: MeteredRequest,
    pub(super) ledger: Ledger,
    pub(super) events: mpsc::Sender<StreamEvent>,
}

impl StreamContext {
    pub(super) async fn send(&self, event: StreamEvent) -> Result<(), StreamEnd> {
        // A client that takes nothing for so long holds a request and a model for nothing.
        match tokio::time::timeout(CLIENT_TIMEOUT, self.events.send(event)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(StreamEnd::Gone),
        }
    }
}

/// Pays for one answer.
pub trait FundingSource: Send {
    /// The first chunk is there.
    fn began(&mut self) {}

    /// Charges for as many of the billable `chunks`, from the front, as can be
    /// paid for: at least one when there is one, waiting where that helps.
    fn pay(
        &mut self,
        context: &StreamContext,
        chunks: &[&Chunk],
    ) -> impl Future<Output = Result<u64, StreamEnd>> + Send;

    /// What was paid for has left.
    fn sent(&mut self, _till: &StreamContext) -> impl Future<Output = Result<(), StreamEnd>> + Send {
        std::future::ready(Ok(()))
    }

    /// Completes when the answer must end at once.
    fn stopped(&mut self) -> impl Future<Output = StreamEnd> + Send {
        std::future::pending()
    }

    /// The stream is over: what is still owed for it.
    fn owed(&mut self, _end: &StreamEnd) -> Owed {
        Owed::NOTHING
    }

    /// What is owed for a non-streaming answer.
    fn owed_non_streaming(&mut self, completion: &Completion) -> Owed;

    /// How the channel stands after the close, where there is one.
    fn balance(&mut self) -> impl Future<Output = Option<ChannelBalance>> + Send {
        std::future::ready(None)
    }

    /// What was charged for so far, or is owed.
    fn units(&self) -> u64;

    /// What is posted of the request. `end` is a stable name of how it ended.
    fn details(&self, request: &MeteredRequest, units: u64, end: &str) -> EntryDetails;
}
