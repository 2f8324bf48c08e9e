//! `/api/v1`: keys and credits of a wallet, for messages that the wallet signed, and for its sessions in browsers.

pub mod auth;
pub mod billing;
pub mod events;
pub mod grants;
pub mod keys;
pub mod passkeys;
pub mod platform;
