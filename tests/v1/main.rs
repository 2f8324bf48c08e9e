//! The prepaid API: keys, chat and previews from a wallet's credits, and their limits, through the
//! public door, against every way in which such systems were attacked or failed.

#[path = "../api/agent.rs"]
#[allow(dead_code, reason = "each test program uses its own part of this")]
mod agent;
mod attachments;
mod attack_20_races;
mod attack_21_upstreams;
mod attack_24_keys;
mod attack_25_fetches;
mod attack_28_secrets;
mod budgets;
#[path = "../api/capture.rs"]
#[allow(dead_code, reason = "each test program uses its own part of this")]
mod capture;
mod chat;
#[path = "../support/db.rs"]
mod db;
#[path = "../support/debtor.rs"]
#[allow(dead_code, reason = "each test program uses its own part of this")]
mod debtor;
mod files;
mod gate;
#[path = "../api/harness.rs"]
#[allow(dead_code, reason = "each test program uses its own part of this")]
mod harness;
mod preview;
mod privacy;
mod rates;
mod shop;
mod site;
#[path = "../sessions/sse.rs"]
#[allow(dead_code, reason = "each test program uses its own part of this")]
mod sse;
mod top_up;
