//! The server through its public door: the contract of the API, and each way in which payment
//! systems were attacked or failed, on a real database and a real chain.

mod agent;
mod capture;
#[path = "../support/db.rs"]
mod db;
mod harness;

mod attack_01_other_request;
mod charge;
