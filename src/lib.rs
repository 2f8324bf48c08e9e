//! farebox: a server that sells AI API calls.
//!
//! The modules, from HTTP inwards; an arrow never points back up:
//!
//! ```text
//! http      routes: parse, ask for payment, answer
//! services  what is sold
//! funding   evidence of payment -> credit
//! keys      API keys: who may spend an account
//! fetch     pages and PDFs that a request wants read
//! oauth     what wallets let other programs do
//! browser_sessions  sign-ins of people in browsers
//! wallet_auth  messages that wallets sign for what they own
//! ledger    who has how much
//! payments  the Payment scheme and its methods, no I/O
//! chain     the Tempo RPC client
//! outbound  HTTP clients of the server itself
//! db, money, id, signature
//! ```
//!
//! `devnet` is the local chain of `farebox dev` and of the tests. See ARCHITECTURE.md.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub use farebox_db as db;
pub use farebox_devnet as devnet;
pub use farebox_ledger as ledger;
pub use farebox_payments as payments;
pub use farebox_types::{id, money, signature};

pub mod app;
pub mod browser_sessions;
pub mod chain;
pub mod config;
pub mod dependencies;
pub mod dev;
pub mod doctor;
pub mod fetch;
pub mod funding;
pub mod http;
pub mod keys;
pub mod limits;
pub mod mcp_files;
pub mod meter;
pub mod oauth;
pub mod offers;
pub mod outbound;
pub mod permits;
pub mod seal;
pub mod server;
pub mod services;
pub mod telemetry;
pub mod wallet_auth;
pub mod workers;
