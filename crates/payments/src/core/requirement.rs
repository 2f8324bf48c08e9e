//! Requirements: what a request must pay for, and how it can.

use std::sync::Arc;

use farebox_types::id::{AccountId, RequestId};
use uuid::Uuid;

use super::{Challenge, Issuer, Offer, Resource};
use farebox_types::id::Timestamp;

/// A request that must be paid for.
#[derive(Debug, Clone)]
pub struct Requirement {
    /// The operation that is paid for.
    pub resource: Resource,
    /// The digest of the request's content, which challenges are bound to; `None` for a request
    /// without one (draft-httpauth-payment-00, "Request Body Digest Binding").
    pub digest: Option<String>,
    /// Every accepted way to pay; a credential must be for one of them.
    pub offers: Arc<[Offer]>,
    /// The ledger's name of what is sold.
    pub service: &'static str,
    /// The request, as logs and entries name it.
    pub request_id: RequestId,
    /// The client's key under which the answer can be fetched again.
    pub idempotency_key: Option<String>,
    /// The account that the payment tops up; `None` when it buys an answer.
    pub top_up: Option<AccountId>,
    /// True if what is bought gives authority over the payer's account (an API key): then it counts
    /// who authorised the payment, and not only whose money moved.
    pub gives_authority: bool,
    /// True if its work costs the server more than a look at the payer's balance: then that comes first.
    pub is_costly: bool,
}

impl Requirement {
    /// A challenge for each of `offers`, which are some of the requirement's in the order that the
    /// client prefers, payable until `expires`. They share `nonce`, which makes their ids unique.
    #[must_use]
    pub fn challenges<'a>(
        &self,
        issuer: &Issuer,
        offers: impl IntoIterator<Item = &'a Offer>,
        nonce: Uuid,
        expires: Timestamp,
    ) -> Vec<Challenge> {
        let opaque = self.resource.opaque(nonce);
        let issue = |offer| issuer.issue(offer, &opaque, self.digest.as_deref(), expires);
        offers.into_iter().map(issue).collect()
    }
}
