//! The `tempo` method: transfers of TIP-20 tokens on the Tempo chain.

mod charge;
pub mod session;

pub use charge::{ChargeTerms, SubmissionMode, charge_payload, charge_request, read_charge};
