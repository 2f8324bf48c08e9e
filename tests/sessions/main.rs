//! Sessions: streamed chat paid per chunk from a channel, through the public API and at the
//! engine, against every way in which such systems were attacked or failed.

mod attack_13_other_channels;
mod attack_14_vouchers;
mod attack_15_stale_chain;
mod attack_16_close;
mod attack_17_forced_close;
mod attack_18_streams;
mod attack_19_restart;
mod attack_21_upstreams;
mod attack_30_chain;
mod attack_30_failures;
mod attack_34_held_back;
mod attack_35_settlements;
mod attack_36_failover;
#[path = "../../examples/agent/chat.rs"]
mod chat;
mod clients;
mod fixture;
mod instances;
mod listing;
mod model;
mod musts;
mod offers;
mod privacy;
mod prompts;
mod receipts;
mod requests;
mod signers;
mod upgrade;

/// The built program. Cargo tells its path to the test programs only, so they pass it on.
const FAREBOX: &str = env!("CARGO_BIN_EXE_farebox");
