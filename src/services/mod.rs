//! What we sell. Services know nothing of HTTP; work that is sold takes a proof
//! of payment ([`crate::funding::Paid`]), so it cannot run unpaid.

pub mod chat;
pub mod pii;
pub mod preview;
