//! `/api/v1`: keys and credits of a wallet, for messages that the wallet signed.

pub mod billing;
pub mod grants;
pub mod keys;
