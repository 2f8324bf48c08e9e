//! `/api/v1`: keys, credits and channels of a wallet, for messages that the wallet signed; and the models, for everybody.

pub mod billing;
pub mod channels;
pub mod grants;
pub mod keys;
pub mod models;
