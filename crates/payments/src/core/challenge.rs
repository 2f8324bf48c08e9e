//! Challenges: issued without a trace, verified without a lookup.
//!
//! The challenge id is an HMAC over every parameter that matters
//! (draft-httpauth-payment-00, "Challenge Binding"), so the server remembers
//! nothing of an unpaid request and still recognises each challenge it issued.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use mpp::{Base64UrlJson, ChallengeEcho};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::{Intent, Method, Offer, Offered, Resource};
use farebox_types::id::Timestamp;
use farebox_types::secret::Secret;

/// Issuer and verifier of one server's challenges.
#[derive(Clone)]
pub struct Issuer {
    realm: Arc<str>,
    /// Keyed MAC state of the signing secret; cloning it skips the key schedule.
    signing: Hmac<Sha256>,
    previous: Option<Hmac<Sha256>>,
    ttl_millis: i64,
}

/// An offer bound to one request, free of its presentation: [`http`](crate::http) and
/// [`json`](crate::json) write it.
#[derive(Debug, Clone)]
pub struct Challenge {
    /// The MAC over the parameters, base64url.
    pub id: String,
    pub realm: Arc<str>,
    pub method: Method,
    pub intent: Intent,
    /// Base64url of canonical JSON, whose meaning is the method's.
    pub request: Arc<str>,
    /// RFC 3339.
    pub expires: String,
    /// The digest of the request's content, where it has any.
    pub digest: Option<String>,
    /// [`Resource::opaque`].
    pub opaque: String,
    /// Text for people, not under the MAC.
    pub description: Arc<str>,
}

/// Reason that an echoed challenge was refused, in the order of the checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeError {
    #[error("the payment method or intent is not one of those offered here")]
    Unsupported,
    #[error("this server did not issue the challenge, or one of its parameters was changed")]
    Foreign,
    #[error("the challenge was issued for another route")]
    OtherResource,
    #[error("the challenge's amount or terms are not (or no longer) those of this route")]
    OtherTerms,
    #[error("the request body is not the one the challenge was issued for")]
    OtherBody,
    #[error("the challenge carries no usable expiry")]
    NoExpiry,
}

/// A challenge of ours, echoed for this resource, these terms and this content.
/// It may have expired: a payment made in time can still be completed.
#[derive(Debug)]
pub struct VerifiedChallenge<'a> {
    pub offer: &'a Offer,
    pub expires: Timestamp,
}

impl Issuer {
    /// An issuer for a realm. `secret` signs and verifies, `previous` only verifies (rotation).
    #[must_use]
    pub fn new(realm: &str, secret: &Secret, previous: Option<&Secret>, ttl_seconds: u64) -> Self {
        Self {
            realm: realm.into(),
            signing: keyed(secret),
            previous: previous.map(keyed),
            ttl_millis: i64::try_from(ttl_seconds.saturating_mul(1000)).unwrap_or(i64::MAX),
        }
    }

    /// The protection space that all challenges name.
    #[must_use]
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// The moment at which a challenge issued at `now` stops being payable.
    #[must_use]
    pub fn expiry(&self, now: Timestamp) -> Timestamp {
        now.checked_add_millis(self.ttl_millis).unwrap_or(now)
    }

    /// A challenge for one offer of a resource, which `opaque` names
    /// ([`Resource::opaque`]). `digest` is the digest of the request's content,
    /// present when the request has any.
    #[must_use]
    pub fn issue(
        &self,
        offer: &impl Offered,
        opaque: &str,
        digest: Option<&str>,
        expires: Timestamp,
    ) -> Challenge {
        let expires = expires.to_rfc3339();
        let bound = BoundParameters {
            realm: &self.realm,
            method: offer.method().as_str(),
            intent: offer.intent().as_str(),
            request: offer.encoded_request(),
            expires: &expires,
            digest: digest.unwrap_or_default(),
            opaque,
        };
        let id = URL_SAFE_NO_PAD.encode(bound.mac(&self.signing).finalize().into_bytes());
        Challenge {
            id,
            realm: Arc::clone(&self.realm),
            method: offer.method(),
            intent: offer.intent(),
            request: Arc::clone(offer.encoded_request()),
            expires,
            digest: digest.map(str::to_owned),
            opaque: opaque.to_owned(),
            description: Arc::clone(offer.description()),
        }
    }

    /// Checks an echoed challenge against what this resource would have issued.
    ///
    /// # Errors
    /// The first check that fails; the MAC is compared before anything that
    /// would tell an unauthenticated caller about the server's terms.
    pub fn verify<'a>(
        &self,
        echo: &ChallengeEcho,
        offers: &'a [Offer],
        resource: &Resource,
        digest: Option<&str>,
    ) -> Result<VerifiedChallenge<'a>, ChallengeError> {
        let offered = offers.iter().filter(|offer| is_for(echo, offer.method(), offer.intent()));
        if offered.clone().next().is_none() {
            return Err(ChallengeError::Unsupported);
        }
        let expires = self.recognise(echo, resource)?;
        let mut offered = offered.filter(|offer| **offer.encoded_request() == *echo.request.raw());
        let offer = offered.next().ok_or(ChallengeError::OtherTerms)?;
        if echo.digest.as_deref() != digest {
            return Err(ChallengeError::OtherBody);
        }
        Ok(VerifiedChallenge { offer, expires })
    }

    /// Checks an echoed session challenge: issued by us for this resource. Returns its request and its
    /// expiry; the caller compares its terms with those of the model that is asked for now.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn verify_session(
        &self,
        echo: &ChallengeEcho,
        method: Method,
        resource: &Resource,
    ) -> Result<(serde_json::Value, Timestamp), ChallengeError> {
        if !is_for(echo, method, Intent::Session) {
            return Err(ChallengeError::Unsupported);
        }
        let expires = self.recognise(echo, resource)?;
        let request = echo.request.decode_value().map_err(|_| ChallengeError::OtherTerms)?;
        Ok((request, expires))
    }

    /// Checks what every challenge of ours must pass: MAC and resource. Returns its expiry.
    fn recognise(&self, echo: &ChallengeEcho, resource: &Resource) -> Result<Timestamp, ChallengeError> {
        if !self.has_issued(echo) {
            return Err(ChallengeError::Foreign);
        }
        if !echo.opaque.as_ref().is_some_and(|opaque| resource.is_named_by(opaque)) {
            return Err(ChallengeError::OtherResource);
        }
        echo.expires.as_deref().and_then(Timestamp::parse_rfc3339).ok_or(ChallengeError::NoExpiry)
    }

    /// True if a challenge is of this server, for whatever it was.
    #[must_use]
    pub fn has_issued(&self, echo: &ChallengeEcho) -> bool {
        if echo.realm != *self.realm {
            return false;
        }
        let bound = BoundParameters {
            realm: &echo.realm,
            method: echo.method.as_str(),
            intent: echo.intent.as_str(),
            request: echo.request.raw(),
            expires: echo.expires.as_deref().unwrap_or_default(),
            digest: echo.digest.as_deref().unwrap_or_default(),
            opaque: echo.opaque.as_ref().map(Base64UrlJson::raw).unwrap_or_default(),
        };
        // The separator inside a field would let its tail pose as the next field.
        if bound.slots().iter().any(|slot| slot.contains('|')) {
            return false;
        }
        let Ok(id) = URL_SAFE_NO_PAD.decode(&echo.id) else {
            return false;
        };
        let matches = |key: &Hmac<Sha256>| {
            let expected: [u8; 32] = bound.mac(key).finalize().into_bytes().into();
            bool::from(expected.as_slice().ct_eq(&id))
        };
        matches(&self.signing) || self.previous.as_ref().is_some_and(matches)
    }
}

fn is_for(echo: &ChallengeEcho, method: Method, intent: Intent) -> bool {
    echo.method.as_str() == method.as_str() && echo.intent.as_str() == intent.as_str()
}

fn keyed(secret: &Secret) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes a key of any length")
}

/// The parameters under the MAC, in the order of the draft's seven slots.
struct BoundParameters<'a> {
    realm: &'a str,
    method: &'a str,
    intent: &'a str,
    request: &'a str,
    expires: &'a str,
    digest: &'a str,
    opaque: &'a str,
}

impl BoundParameters<'_> {
    fn slots(&self) -> [&str; 7] {
        [self.realm, self.method, self.intent, self.request, self.expires, self.digest, self.opaque]
    }

    fn mac(&self, key: &Hmac<Sha256>) -> Hmac<Sha256> {
        let mut mac = key.clone();
        for (index, slot) in self.slots().iter().enumerate() {
            if index > 0 {
                mac.update(b"|");
            }
            mac.update(slot.as_bytes());
        }
        mac
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::Address;
    use mpp::protocol::core::compute_challenge_id;

    use uuid::Uuid;

    use super::*;
    use crate::http::ChallengeHeader;
    use crate::methods::tempo::{ChargeTerms, SubmissionMode};
    use farebox_types::money::Money;

    const TOKEN: Address = Address::repeat_byte(0x20);

    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    const DIGEST: &str = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";

    fn issuer(secret: &str, previous: Option<&str>) -> Issuer {
        let previous = previous.map(Secret::from);
        Issuer::new("api.example.com", &Secret::from(secret), previous.as_ref(), 300)
    }

    fn offer(cents: i64) -> Offer {
        let terms = ChargeTerms {
            recipient: Address::repeat_byte(0xaa),
            chain_id: 1337,
            modes: vec![SubmissionMode::Pull, SubmissionMode::Push],
        };
        terms.offer(TOKEN, Money::from_micros(cents * 10_000), false, "a \"b\" \\ é\r\n")
    }

    fn resource() -> Resource {
        Resource::http("POST", "/mpp/pii/preview", None)
    }

    fn echo(issuer: &Issuer, offer: &Offer) -> ChallengeEcho {
        let expires = issuer.expiry(Timestamp::from_millis(1_800_000_000_000));
        let opaque = resource().opaque(Uuid::from_u128(7));
        let challenge = issuer.issue(offer, &opaque, Some(DIGEST), expires);
        let header = ChallengeHeader::new(&challenge, None);
        mpp::parse_www_authenticate(&header.value).expect("the SDK reads our header").to_echo()
    }

    #[test]
    fn the_id_is_the_drafts_hmac() {
        let issuer = issuer(SECRET, None);
        let offer = offer(5);
        let echo = echo(&issuer, &offer);
        let expected = compute_challenge_id(
            SECRET,
            "api.example.com",
            "tempo",
            "charge",
            offer.encoded_request(),
            echo.expires.as_deref(),
            Some(DIGEST),
            Some(&resource().opaque(Uuid::from_u128(7))),
        );
        assert_eq!(echo.id, expected);
        assert_eq!(echo.description.as_deref(), Some("a \"b\" \\ ???"));
    }

    #[test]
    fn verification_accepts_exactly_what_was_issued() {
        let issuer = issuer(SECRET, None);
        let offers = [offer(5)];
        let good = echo(&issuer, &offers[0]);
        let verified = issuer.verify(&good, &offers, &resource(), Some(DIGEST)).expect("accepted");
        assert_eq!(verified.expires, Timestamp::from_millis(1_800_000_300_000));
    }

    #[test]
    fn attack_01_credential_of_another_route_query_method_or_body() {
        let issuer = issuer(SECRET, None);
        let offers = [offer(5)];
        let good = echo(&issuer, &offers[0]);
        let check = |resource: Resource, digest: &str| {
            issuer.verify(&good, &offers, &resource, Some(digest)).expect_err("refused")
        };
        for other in [
            Resource::http("POST", "/mpp/pii/preview", Some("a=1")),
            Resource::http("GET", "/mpp/pii/preview", None),
            Resource::http("POST", "/mpp/keys", None),
        ] {
            assert_eq!(check(other, DIGEST), ChallengeError::OtherResource);
        }
        assert_eq!(check(resource(), "sha-256=:AAAA:"), ChallengeError::OtherBody);
        let pricier = [offer(500)];
        assert_eq!(
            issuer.verify(&good, &pricier, &resource(), Some(DIGEST)).expect_err("refused"),
            ChallengeError::OtherTerms
        );
    }

    #[test]
    fn attack_03_forged_parameters_realm_and_separators() {
        let issuer = issuer(SECRET, None);
        let offers = [offer(5)];
        let good = echo(&issuer, &offers[0]);
        let refusal = |change: fn(&mut ChallengeEcho)| {
            let mut forged = good.clone();
            change(&mut forged);
            issuer.verify(&forged, &offers, &resource(), Some(DIGEST)).expect_err("refused")
        };
        assert_eq!(refusal(|e| e.realm = "evil.example".into()), ChallengeError::Foreign);
        assert_eq!(refusal(|e| e.id.push('A')), ChallengeError::Foreign);
        assert_eq!(refusal(|e| e.id.clear()), ChallengeError::Foreign);
        assert_eq!(refusal(|e| e.expires = None), ChallengeError::Foreign);
        assert_eq!(refusal(|e| e.expires = Some("2099-01-01T00:00:00Z".into())), ChallengeError::Foreign);
        assert_eq!(refusal(|e| e.request = Base64UrlJson::from_raw("e30")), ChallengeError::Foreign);
        // The same bytes under the MAC, cut at another place.
        assert_eq!(
            refusal(|e| {
                let joined = format!("{}|{}", e.expires.take().expect("set"), e.digest.take().expect("set"));
                e.expires = Some(joined);
            }),
            ChallengeError::Foreign
        );
    }

    #[test]
    fn attack_03_secret_rotation() {
        let old = issuer(SECRET, None);
        let offers = [offer(5)];
        let challenge = echo(&old, &offers[0]);
        let other = "ffffffffffffffffffffffffffffffff";
        let verify =
            |issuer: Issuer| issuer.verify(&challenge, &offers, &resource(), Some(DIGEST)).map(|_| ());
        assert_eq!(verify(issuer(other, Some(SECRET))), Ok(()));
        assert_eq!(verify(issuer(other, None)), Err(ChallengeError::Foreign));
    }
}
