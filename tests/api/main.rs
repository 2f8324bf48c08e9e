//! The server through its public API: the contract of the API, and each way in which payment
//! systems were attacked or failed, on a real database and a real chain.

mod answers;
mod attack_01_other_request;
mod attack_02_expiry;
mod attack_03_binding;
mod attack_04_headers;
mod attack_05_amounts;
mod attack_06_memo;
mod attack_07_push;
mod attack_08_proof;
mod attack_09_replay;
mod attack_10_broadcast;
mod attack_11_races;
mod attack_12_sponsor;
mod attack_26_bodies;
mod attack_27_paths;
mod attack_28_secrets;
mod attack_30_failures;
mod attack_30_full_disk;
mod attack_33_used_wallets;
mod attack_33_written_otherwise;
mod attack_34_held_back;
mod attack_34_unused_payments;
mod attack_40_unpaid_claims;
mod charge;
mod clients;
mod contract;
mod discovery;
mod documents;
mod files;
mod idempotency;
mod json;
mod musts;
mod offers;
mod probes;

/// The built program. Cargo tells its path to the test programs only, so they pass it on.
const FAREBOX: &str = env!("CARGO_BIN_EXE_farebox");
