//! Consent: the terms that a wallet signs, and their digest. Pure.

use serde_json::{Value, json};

use super::request::AuthorizationRequest;
use super::resource::ResourceServer;
use super::scope::Scopes;
use crate::id::Timestamp;
use crate::keys::KeyLimits;
use crate::money::Money;
use crate::wallet_auth::message::parameters_digest;

/// Budget of a day, unless the wallet says otherwise.
pub const DEFAULT_DAILY: Money = Money::from_micros(5_000_000);
/// Time after which a grant ends, unless the wallet says otherwise, in days; and the longest.
pub const DEFAULT_DAYS: i64 = 30;
pub const MAX_DAYS: i64 = 366;

/// Rights and limits of a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantTerms {
    pub scopes: Scopes,
    pub limits: KeyLimits,
    pub expires_at: Timestamp,
}

/// Returns the digest that a wallet signs as the `Request ID` of its message: SHA-256, in hexadecimal, over the canonical
/// JSON (RFC 8785) of all that is granted, and to whom.
#[must_use]
pub fn digest(request: &AuthorizationRequest, terms: &GrantTerms, resource: &ResourceServer) -> String {
    let Value::Object(content) = content(request, terms, resource) else { return String::new() };
    parameters_digest(&content)
}

/// Returns the terms for the person who signs, as they end the statement of the message: visible ASCII, and nothing that a
/// client could choose but where the access goes.
#[must_use]
pub fn summary(request: &AuthorizationRequest, terms: &GrantTerms) -> String {
    let GrantTerms { scopes, limits, expires_at } = terms;
    let dollars = |limit: Option<Money>| limit.map_or_else(|| "unlimited".to_owned(), Money::to_dollars);
    let (daily, total, until) = (dollars(limits.daily), dollars(limits.total), expires_at.to_rfc3339());
    let to = request.redirect_uri.host();
    format!("scopes={scopes}; dailyUsd={daily}; totalUsd={total}; until={until}; to={to}")
}

/// Returns the content of the digest.
fn content(request: &AuthorizationRequest, terms: &GrantTerms, resource: &ResourceServer) -> Value {
    let GrantTerms { scopes, limits, expires_at } = terms;
    json!({
        "clientId": request.client.client_id,
        "redirectUri": request.redirect_uri.as_str(),
        "resource": resource.as_str(),
        "codeChallenge": request.challenge.as_str(),
        "scopes": scopes.names(),
        "dailyUsd": limits.daily.map(Money::to_dollars),
        "totalUsd": limits.total.map(Money::to_dollars),
        "rpm": limits.rpm,
        "tpm": limits.tpm,
        "models": limits.models,
        "expiresAt": expires_at.to_rfc3339(),
    })
}
