//! The payment core: free of HTTP, of JSON-RPC and of any chain.
//!
//! A [`Requirement`] says what a resource asks for, a [`Challenge`] binds one of its offers to one
//! request, a [`Credential`] is what a payer presents, and [`payment::decide`] says what becomes of it.

pub mod challenge;
pub mod credential;
pub mod offer;
pub mod outcome;
pub mod payment;
pub mod receipt;
pub mod requirement;
pub mod resource;

pub use challenge::{Challenge, ChallengeError, Issuer};
pub use credential::{Credential, CredentialError, Identity, Submission};
pub use offer::{Intent, Method, Network, Offer, Offered};
pub use outcome::{Delivery, RedeemError, WorkError};
pub use payment::{Payer, Payment, PaymentState, Purchase, Settled, Transfer};
pub use receipt::Receipt;
pub use requirement::Requirement;
pub use resource::Resource;
