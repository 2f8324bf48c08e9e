//! The server through its public door: the contract of the API, and each way in which payment
//! systems were attacked or failed, on a real database and a real chain.

mod agent;
mod attack_01_other_request;
mod attack_02_expiry;
mod attack_03_binding;
mod attack_04_headers;
mod attack_05_amounts;
mod attack_06_memo;
mod attack_07_push;
mod attack_08_proof;
mod capture;
mod charge;
#[path = "../support/db.rs"]
mod db;
mod harness;
mod raw;
