//! What we sell. Services know nothing of payment and HTTP.

pub mod pii;
pub mod preview;
