//! Payments, without I/O and without a clock.
//!
//! ```text
//! core      requirements, offers, challenges, credentials, receipts, and what becomes of a payment
//! methods   how money moves: `tempo` (charges and channel sessions)
//! http      the core in HTTP header fields: WWW-Authenticate, Authorization, Payment-Receipt
//! json      the core in JSON values, as the MCP transport carries it
//! ```
//!
//! `core` knows neither headers nor chains: a method is a name, a network and an encoded request to it,
//! and an amount is an amount. `methods` builds offers and reads payloads; `http` and `json` are two
//! presentations of the same challenges, credentials and receipts.
//!
//! Sources: draft-httpauth-payment-00 (challenges, credentials, receipts, problem types),
//! draft-payment-transport-mcp-00 (JSON), draft-tempo-charge-00 and draft-tempo-session-00 (methods).
//! The wire types of credentials come from the `mpp` crate; issuing and verifying challenges is done
//! here, because an unpaid request is answered without any other work than this.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod core;
pub mod http;
pub mod json;
pub mod methods;

pub use core::{
    Challenge, ChallengeError, Credential, CredentialError, Delivery, Intent, Issuer, Method, Network, Offer,
    Offered, Payer, Payment, PaymentState, Purchase, Receipt, RedeemError, Requirement, Resource, Settled,
    Submission, Transfer, WorkError,
};
