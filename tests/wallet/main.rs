//! Wallets that manage keys and credits: signatures of every kind, card payments, credits bought on
//! the chain, through the public door and against every way in which such systems were attacked.

#[path = "../api/agent.rs"]
#[allow(dead_code, reason = "each test program uses its own part of this")]
mod agent;
mod attack_22_cards;
mod attack_23_messages;
mod attack_23_signatures;
mod attack_28_secrets;
mod billing;
#[path = "../api/capture.rs"]
#[allow(dead_code, reason = "each test program uses its own part of this")]
mod capture;
#[path = "../support/db.rs"]
mod db;
#[path = "../support/debtor.rs"]
#[allow(dead_code, reason = "each test program uses its own part of this")]
mod debtor;
mod debts;
#[path = "../api/harness.rs"]
#[allow(dead_code, reason = "each test program uses its own part of this")]
mod harness;
mod keys;
mod purchase;
mod stage;
mod stripe_double;
mod upgrade;
