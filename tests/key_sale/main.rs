//! The key sale end to end: wallets buy on a real chain, the server follows the contract's logs.

#[path = "../api/agent.rs"]
#[allow(dead_code, reason = "each test program uses its own part of this")]
mod agent;
mod attack_30_databases;
mod attack_30_kills;
mod attack_30_nodes;
mod buying;
#[path = "../api/capture.rs"]
#[allow(dead_code, reason = "each test program uses its own part of this")]
mod capture;
#[path = "../support/db.rs"]
mod db;
#[path = "../support/debtor.rs"]
#[allow(dead_code, reason = "each test program uses its own part of this")]
mod debtor;
mod debts;
mod deploying;
mod following;
#[path = "../api/harness.rs"]
#[allow(dead_code, reason = "each test program uses its own part of this")]
mod harness;
#[path = "../support/process.rs"]
mod process;
mod shop;
