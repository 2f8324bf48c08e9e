//! `/v1`: OpenAI's API, paid from a wallet's prepaid credits with an API key.

pub mod account;
pub mod chat;
pub mod models;
pub mod preview;
mod reply;

pub use reply::{BALANCE_HEADER, COST_HEADER};
