//! Support for the test programs and benchmarks of farebox: databases, a server in this process or
//! as one of its own, agents that pay by hand or with an SDK, and readers of raw answers.
//!
//! One library, so that it is compiled once instead of in each test program.

#![forbid(unsafe_code)]

pub mod access_key;
pub mod agent;
pub mod capture;
pub mod db;
pub mod debt;
pub mod dev;
pub mod documents;
pub mod failover;
pub mod harness;
pub mod login;
pub mod model_server;
pub mod payer;
pub mod process;
pub mod random;
pub mod raw_http;
pub mod sdk_agent;
pub mod sse;
