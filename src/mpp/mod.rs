//! The Payment HTTP authentication scheme, without I/O and without a clock.
//!
//! Follows draft-httpauth-payment-00 (challenges, credentials, receipts,
//! problem types) and draft-tempo-charge-00 (the request of a charge). Parsing
//! of credentials and the wire types come from the `mpp` crate; issuing and
//! verifying challenges is ours, because an unpaid request is answered without
//! any other work than this.

pub mod challenge;
pub mod credential;
pub mod offer;
pub mod receipt;
pub mod session;

pub use challenge::{Challenge, Issuer, Refusal};
pub use credential::{Credential, CredentialError, Proof};
pub use offer::{Offer, Offered, Route};
pub use receipt::Receipt;
