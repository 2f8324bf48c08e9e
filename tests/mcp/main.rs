//! The MCP server: its tools over both generations of the protocol, paid from credits or by the call, with the clients
//! that people use.

mod account;
mod attack_30_kills;
mod clients;
mod conformance;
mod files;
mod fixture;
mod money;
mod paid_chat;
mod pay_per_call;
mod protocol;
mod wire;

use farebox_test_support::login;

/// The built program. Cargo tells its path to the test programs only, so they pass it on.
const FAREBOX: &str = env!("CARGO_BIN_EXE_farebox");
