//! Requests as the payment gate sees them: what carries a credential, and what a challenge is bound to.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mpp::protocol::core::PaymentCredential;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::http::error::HttpError;
use crate::http::request::Received;
use crate::id::{RequestId, Timestamp};
use crate::payments::http::CREDENTIAL_HEADERS;
use crate::payments::{Credential, CredentialError, Offer, Requirement, Resource, json};

/// Request as the gate sees it, whatever carries it.
#[derive(Debug, Clone)]
pub(in crate::http) struct PayableRequest<'a> {
    pub resource: Resource,
    /// Digest of its content, which challenges are bound to.
    pub digest: Option<String>,
    /// True if its work costs the server more than a look at the payer's balance.
    pub is_costly: bool,
    pub id: RequestId,
    /// Key under which its answer can be fetched again.
    pub idempotency_key: Option<String>,
    /// Address that it is counted against.
    pub client: Option<IpAddr>,
    pub at: Timestamp,
    /// Random part of its challenges.
    pub nonce: Uuid,
    pub carrier: CredentialCarrier<'a>,
}

/// Part of a request that carries its credential.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) enum CredentialCarrier<'a> {
    /// Header fields (draft-httpauth-payment-00).
    Headers(&'a HeaderMap),
    /// A member of the `_meta` of a JSON-RPC call (draft-payment-transport-mcp-00); `None` if it is not there.
    Meta(Option<&'a serde_json::Value>),
}

impl CredentialCarrier<'_> {
    /// Returns the charge credential that it carries, if there is one.
    ///
    /// # Errors
    /// [`CredentialError`] for several, or for one that cannot be read.
    pub(in crate::http) fn read(self) -> Result<Option<Credential>, CredentialError> {
        match self {
            Self::Headers(headers) => {
                credential(headers).and_then(|credential| credential.map(Credential::read).transpose())
            }
            Self::Meta(value) => value.map(json::charge_credential).transpose(),
        }
    }
}

impl<'a> PayableRequest<'a> {
    /// Bytes of content up to which the work for a request costs less than a question to the chain.
    pub(in crate::http) const CHEAP_BYTES: usize = 8 << 10;

    /// Returns an HTTP request as the gate sees it.
    ///
    /// # Errors
    /// 400 for an `Idempotency-Key` that cannot be one.
    pub(in crate::http) fn of(request: &'a Received) -> Result<Self, HttpError> {
        Ok(Self {
            resource: request.resource.clone(),
            digest: request.read_through(|| digest(&request.body)),
            is_costly: request.body.len() > Self::CHEAP_BYTES,
            id: request.id.clone(),
            idempotency_key: request.idempotency_key()?,
            client: request.client,
            at: request.at,
            nonce: request.nonce,
            carrier: CredentialCarrier::Headers(&request.headers),
        })
    }

    /// Returns what it must pay: one of `offers`, once, for this very content.
    pub(in crate::http) fn requirement(&self, offers: Arc<[Offer]>, service: &'static str) -> Requirement {
        Requirement {
            resource: self.resource.clone(),
            digest: self.digest.clone(),
            offers,
            service,
            request_id: self.id.clone(),
            idempotency_key: None,
            top_up: None,
            gives_authority: false,
            is_costly: self.is_costly,
        }
    }
}

/// The request's Payment credential, of any intent, from either header field.
///
/// # Errors
/// [`CredentialError::Several`] or [`CredentialError::Malformed`].
pub fn credential(headers: &HeaderMap) -> Result<Option<PaymentCredential>, CredentialError> {
    crate::payments::http::credential(
        CREDENTIAL_HEADERS.iter().flat_map(|name| headers.get_all(*name)).map(HeaderValue::as_bytes),
    )
}

/// RFC 9530 digest of a request body (draft-httpauth-payment-00, "Request Body
/// Digest Binding"); `None` for a request without one.
fn digest(body: &[u8]) -> Option<String> {
    (!body.is_empty()).then(|| format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(body))))
}
