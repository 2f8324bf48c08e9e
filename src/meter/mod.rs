//! The meter: charges an answer before it is delivered.
//!
//! [`state`] is the pure part: it decides how many chunks a channel can pay for
//! and when the next voucher is requested. [`stream`] drives a streamed answer:
//! it reads the upstream, charges the hold on the ledger, and only then sends the
//! chunks. [`non_streaming`] charges an answer that is sent in one piece. Both take
//! the money from a [`FundingSource`]: a channel ([`ChannelSource`]), which can
//! request vouchers, or prepaid credits ([`PrepaidSource`]), which cannot.

mod channel;
mod non_streaming;
mod notifier;
mod prepaid;
pub mod served;
mod source;
pub mod state;
mod stream;

pub use channel::{ChannelSource, ChannelTerms};
pub use non_streaming::{AnswerError, AnswerSummary, non_streaming};
pub use notifier::{ChannelNotifier, Waiter};
pub use prepaid::{PrepaidSource, PrepaidTerms, Spender};
pub use served::{ServedHold, ServedHolds};
pub use source::{FundingSource, MeteredRequest};
pub use state::{ChannelBalance, VoucherRequest, VoucherWindow};
pub use stream::{MeteredStream, StreamEnd, StreamEvent, StreamSummary};
