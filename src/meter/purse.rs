//! What pays for an answer. There are two: a channel's vouchers, which may have
//! to be asked for, and prepaid credits, which are there or not.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;

use super::state::Standing;
use super::stream::{End, Event};
use crate::id::{HoldId, RequestId};
use crate::ledger::{EntryDetails, Ledger, Owed};
use crate::services::chat::{Chunk, Completion, Counts};

/// How long a client may take nothing, and a stream may wait for a voucher
/// ("Insufficient Balance During Streaming").
pub(super) const PATIENCE: Duration = Duration::from_mins(1);
/// How often a silent stream shows that it lives.
pub(super) const PING: Duration = Duration::from_secs(10);

/// The tab that an answer charges.
#[derive(Debug, Clone)]
pub struct Tab {
    pub hold: HoldId,
    pub request_id: RequestId,
    pub model: String,
    /// Whether the client asked for usage within the stream.
    pub wants_usage: bool,
    /// Personal data that was replaced in the request, by type.
    pub replaced: Counts,
}

impl Tab {
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
pub struct Till {
    pub(super) tab: Tab,
    pub(super) ledger: Ledger,
    pub(super) events: mpsc::Sender<Event>,
}

impl Till {
    pub(super) async fn send(&self, event: Event) -> Result<(), End> {
        // A client that takes nothing for so long holds a tab and a model for nothing.
        match tokio::time::timeout(PATIENCE, self.events.send(event)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
    }
}

/// Pays for one answer.
pub trait Purse: Send {
    /// The first chunk is there.
    fn began(&mut self) {}

    /// Charges for as many of the billable `chunks`, from the front, as can be
    /// paid for: at least one when there is one, waiting where that helps.
    fn pay(&mut self, till: &Till, chunks: &[&Chunk]) -> impl Future<Output = Result<u64, End>> + Send;

    /// What was paid for has left.
    fn sent(&mut self, _till: &Till) -> impl Future<Output = Result<(), End>> + Send {
        std::future::ready(Ok(()))
    }

    /// Completes when the answer must end at once.
    fn stopped(&mut self) -> impl Future<Output = End> + Send {
        std::future::pending()
    }

    /// The stream is over: what is still owed for it.
    fn owed(&mut self, _end: &End) -> Owed {
        Owed::NOTHING
    }

    /// What is owed for a whole answer.
    fn owed_whole(&mut self, completion: &Completion) -> Owed;

    /// How the channel stands after the close, where there is one.
    fn standing(&mut self) -> impl Future<Output = Option<Standing>> + Send {
        std::future::ready(None)
    }

    /// What was charged for so far, or is owed.
    fn units(&self) -> u64;

    /// What is posted of the tab. `end` is a stable name of how it ended.
    fn details(&self, tab: &Tab, units: u64, end: &str) -> EntryDetails;
}
