//! `/api/v1`: keys, credits and channels of a wallet, for messages that the wallet signed and for its sessions in browsers;
//! and the models, for everybody.

pub mod auth;
pub mod billing;
pub mod channels;
pub mod events;
pub mod grants;
pub mod keys;
pub mod models;
pub mod passkeys;
pub mod platform;
