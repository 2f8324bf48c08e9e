//! Charge before delivery.
//!
//! [`state`] decides (pure): how much of what is ready can be paid for, and
//! when to ask for the next voucher. [`stream`] carries it out: it reads the
//! upstream, charges the request on the ledger, and only then hands chunks on.
//! [`non_streaming`] is the same for answers that come in one piece. What pays is a
//! [`FundingSource`]: a channel with its [`ChannelSource`], or [`PrepaidSource`] credits, a request that
//! has no vouchers to ask for.

mod channel;
mod non_streaming;
mod notifier;
mod prepaid;
mod source;
pub mod state;
mod stream;

pub use channel::{ChannelSource, ChannelTerms};
pub use non_streaming::{AnswerError, PaidAnswer, non_streaming};
pub use notifier::{ChannelNotifier, Waiter};
pub use prepaid::{PrepaidSource, PrepaidTerms};
pub use source::{FundingSource, MeteredRequest};
pub use state::{ChannelBalance, VoucherRequest, VoucherWindow};
pub use stream::{MeteredStream, StreamEnd, StreamEvent, StreamSummary};
