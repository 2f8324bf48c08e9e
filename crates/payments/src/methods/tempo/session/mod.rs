//! The session intent, version 2 (draft-tempo-session-00 over TIP-1034): offers,
//! credentials, vouchers and receipts. No I/O, no clock.

mod credential;
mod offer;
mod receipt;
mod voucher;

pub use credential::{SessionAction, SessionCredential};
pub use offer::{SessionOffer, SessionTerms, Snapshot};
pub use receipt::SessionReceipt;
pub use voucher::{ChannelId, Descriptor, SignedVoucher, VoucherError};
