//! Sessions: streamed chat paid per chunk from a channel, through the public door and at the
//! engine, against every way in which such systems were attacked or failed.

#[path = "../api/agent.rs"]
#[allow(dead_code, reason = "each test program uses its own part of this")]
mod agent;
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
#[path = "../api/capture.rs"]
#[allow(dead_code, reason = "each test program uses its own part of this")]
mod capture;
#[path = "../../examples/agent/chat.rs"]
mod chat;
mod clients;
#[path = "../support/db.rs"]
mod db;
#[path = "../support/dev.rs"]
mod dev;
#[path = "../api/harness.rs"]
#[allow(dead_code, reason = "each test program uses its own part of this")]
mod harness;
mod instances;
mod model;
mod musts;
mod offers;
mod payer;
mod privacy;
#[path = "../support/random.rs"]
mod random;
mod receipts;
mod requests;
mod signers;
mod sse;
mod stage;
