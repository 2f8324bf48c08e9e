//! Services that are sold: chat, and previews of personal data. They know nothing of
//! HTTP. Paid results are released for a proof of payment ([`crate::funding::Paid`]) only.

pub mod chat;
pub mod pii;
pub mod preview;
