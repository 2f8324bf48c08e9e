//! Challenges: issued without a trace, verified without a lookup.
//!
//! The challenge id is an HMAC over every parameter that matters
//! (draft-httpauth-payment-00, "Challenge Binding"), so the server remembers
//! nothing of an unpaid request and still recognises each challenge it issued.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use mpp::{Base64UrlJson, ChallengeEcho};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::offer::{CHARGE, METHOD, Offer, Offered, Route};
use super::session::SESSION;
use crate::config::Secret;
use crate::id::Timestamp;

/// Issues and verifies the challenges of one server.
#[derive(Clone)]
pub struct Issuer {
    realm: String,
    /// Keyed MAC state of the signing secret; cloning it skips the key schedule.
    signing: Hmac<Sha256>,
    previous: Option<Hmac<Sha256>>,
    ttl_millis: i64,
}

/// A challenge as it goes out.
#[derive(Debug, Clone)]
pub struct Challenge {
    pub id: String,
    /// The value of the `WWW-Authenticate` header.
    pub header: String,
}

/// Why an echoed challenge was refused, in the order of the checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the payment method or intent is not one of those offered here")]
    Unsupported,
    #[error("this server did not issue the challenge, or one of its parameters was changed")]
    Foreign,
    #[error("the challenge was issued for another route")]
    OtherRoute,
    #[error("the challenge's amount or terms are not (or no longer) those of this route")]
    OtherTerms,
    #[error("the request body is not the one the challenge was issued for")]
    OtherBody,
    #[error("the challenge carries no usable expiry")]
    NoExpiry,
}

/// A challenge of ours, echoed for this route, these terms and this body.
/// It may have expired: a payment made in time can still be completed.
#[derive(Debug)]
pub struct Verified<'a> {
    pub offer: &'a Offer,
    pub expires: Timestamp,
}

impl Issuer {
    /// `secret` signs and verifies, `previous` only verifies (rotation).
    #[must_use]
    pub fn new(realm: &str, secret: &Secret, previous: Option<&Secret>, ttl_seconds: u64) -> Self {
        Self {
            realm: realm.to_owned(),
            signing: keyed(secret),
            previous: previous.map(keyed),
            ttl_millis: i64::try_from(ttl_seconds.saturating_mul(1000)).unwrap_or(i64::MAX),
        }
    }

    /// The protection space all challenges name.
    #[must_use]
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// When a challenge issued at `now` stops being payable.
    #[must_use]
    pub fn expiry(&self, now: Timestamp) -> Timestamp {
        now.checked_add_millis(self.ttl_millis).unwrap_or(now)
    }

    /// A challenge for one offer of a route, which `opaque` names
    /// ([`Route::opaque`]). `digest` is the RFC 9530 digest of the request
    /// body, present when the request has one.
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
            method: METHOD,
            intent: offer.intent(),
            request: offer.encoded_request(),
            expires: &expires,
            digest: digest.unwrap_or_default(),
            opaque,
        };
        let id = URL_SAFE_NO_PAD.encode(bound.mac(&self.signing).finalize().into_bytes());
        let header = bound.header(&id, offer.description());
        Challenge { id, header }
    }

    /// Checks an echoed challenge against what this route would have issued.
    ///
    /// # Errors
    /// The first check that fails; the MAC is compared before anything that
    /// would tell a stranger about the server's terms.
    pub fn verify<'a>(
        &self,
        echo: &ChallengeEcho,
        offers: &'a [Offer],
        route: &Route,
        digest: Option<&str>,
    ) -> Result<Verified<'a>, Refusal> {
        let expires = self.recognise(echo, CHARGE, route)?;
        let offer = offers
            .iter()
            .find(|offer| offer.encoded_request() == echo.request.raw())
            .ok_or(Refusal::OtherTerms)?;
        if echo.digest.as_deref() != digest {
            return Err(Refusal::OtherBody);
        }
        Ok(Verified { offer, expires })
    }

    /// Checks an echoed session challenge: issued by us for this resource.
    /// Whether its terms are those of the model that is asked for now is up to
    /// the caller ([`has_terms_of`](super::session::SessionOffer::has_terms_of)).
    /// Returns its request and its expiry.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn verify_session(
        &self,
        echo: &ChallengeEcho,
        route: &Route,
    ) -> Result<(serde_json::Value, Timestamp), Refusal> {
        let expires = self.recognise(echo, SESSION, route)?;
        let request = echo.request.decode_value().map_err(|_| Refusal::OtherTerms)?;
        Ok((request, expires))
    }

    /// What every challenge of ours must pass: method and intent, MAC, route.
    fn recognise(&self, echo: &ChallengeEcho, intent: &str, route: &Route) -> Result<Timestamp, Refusal> {
        if echo.method.as_str() != METHOD || echo.intent.as_str() != intent {
            return Err(Refusal::Unsupported);
        }
        if echo.realm != self.realm || !self.issued(echo) {
            return Err(Refusal::Foreign);
        }
        if !echo.opaque.as_ref().is_some_and(|opaque| route.is_named_by(opaque)) {
            return Err(Refusal::OtherRoute);
        }
        echo.expires.as_deref().and_then(Timestamp::parse_rfc3339).ok_or(Refusal::NoExpiry)
    }

    fn issued(&self, echo: &ChallengeEcho) -> bool {
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

    /// Every value is ours and free of quotes and controls, except the
    /// description, which is quoted.
    fn header(&self, id: &str, description: &str) -> String {
        let mut header = String::with_capacity(256 + self.request.len() + self.opaque.len());
        header.push_str("Payment id=\"");
        header.push_str(id);
        for (name, value) in [
            ("realm", self.realm),
            ("method", self.method),
            ("intent", self.intent),
            ("request", self.request),
            ("expires", self.expires),
            ("digest", self.digest),
            ("opaque", self.opaque),
        ] {
            if !value.is_empty() {
                header.push_str("\", ");
                header.push_str(name);
                header.push_str("=\"");
                header.push_str(value);
            }
        }
        header.push_str("\", description=\"");
        push_quoted(&mut header, description);
        header.push('"');
        header
    }
}

/// The inside of a quoted-string (RFC 9110, section 5.6.4): ASCII only, so
/// that no intermediary can read it differently.
fn push_quoted(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            ' '..='~' => out.push(c),
            _ => out.push('?'),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::Address;
    use mpp::protocol::core::compute_challenge_id;

    use uuid::Uuid;

    use super::*;
    use crate::config::{Mode, PATH_USD};
    use crate::money::Money;
    use crate::mpp::offer::OfferTerms;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    const DIGEST: &str = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";

    fn issuer(secret: &str, previous: Option<&str>) -> Issuer {
        let previous = previous.map(Secret::from);
        Issuer::new("api.example.com", &Secret::from(secret), previous.as_ref(), 300)
    }

    fn offer(cents: i64) -> Offer {
        let terms = OfferTerms {
            recipient: Address::repeat_byte(0xaa),
            chain_id: 1337,
            modes: vec![Mode::Pull, Mode::Push],
        };
        Offer::charge(&terms, PATH_USD, Money::from_micros(cents * 10_000), false, "a \"b\" \\ é\r\n")
    }

    fn route() -> Route {
        Route::new("POST", "/mpp/pii/preview", None)
    }

    fn echo(issuer: &Issuer, offer: &Offer) -> ChallengeEcho {
        let expires = issuer.expiry(Timestamp::from_millis(1_800_000_000_000));
        let opaque = route().opaque(Uuid::from_u128(7));
        let challenge = issuer.issue(offer, &opaque, Some(DIGEST), expires);
        mpp::parse_www_authenticate(&challenge.header).expect("the SDK reads our header").to_echo()
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
            Some(&route().opaque(Uuid::from_u128(7))),
        );
        assert_eq!(echo.id, expected);
        assert_eq!(echo.description.as_deref(), Some("a \"b\" \\ ???"));
    }

    #[test]
    fn verification_accepts_exactly_what_was_issued() {
        let issuer = issuer(SECRET, None);
        let offers = [offer(5)];
        let good = echo(&issuer, &offers[0]);
        let verified = issuer.verify(&good, &offers, &route(), Some(DIGEST)).expect("accepted");
        assert_eq!(verified.expires, Timestamp::from_millis(1_800_000_300_000));
    }

    #[test]
    fn attack_01_credential_of_another_route_query_method_or_body() {
        let issuer = issuer(SECRET, None);
        let offers = [offer(5)];
        let good = echo(&issuer, &offers[0]);
        let check = |route: Route, digest: &str| {
            issuer.verify(&good, &offers, &route, Some(digest)).expect_err("refused")
        };
        for other in [
            Route::new("POST", "/mpp/pii/preview", Some("a=1")),
            Route::new("GET", "/mpp/pii/preview", None),
            Route::new("POST", "/mpp/keys", None),
        ] {
            assert_eq!(check(other, DIGEST), Refusal::OtherRoute);
        }
        assert_eq!(check(route(), "sha-256=:AAAA:"), Refusal::OtherBody);
        let pricier = [offer(500)];
        assert_eq!(
            issuer.verify(&good, &pricier, &route(), Some(DIGEST)).expect_err("refused"),
            Refusal::OtherTerms
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
            issuer.verify(&forged, &offers, &route(), Some(DIGEST)).expect_err("refused")
        };
        assert_eq!(refusal(|e| e.realm = "evil.example".into()), Refusal::Foreign);
        assert_eq!(refusal(|e| e.id.push('A')), Refusal::Foreign);
        assert_eq!(refusal(|e| e.id.clear()), Refusal::Foreign);
        assert_eq!(refusal(|e| e.expires = None), Refusal::Foreign);
        assert_eq!(refusal(|e| e.expires = Some("2099-01-01T00:00:00Z".into())), Refusal::Foreign);
        assert_eq!(refusal(|e| e.request = Base64UrlJson::from_raw("e30")), Refusal::Foreign);
        // The same bytes under the MAC, cut at another place.
        assert_eq!(
            refusal(|e| {
                let joined = format!("{}|{}", e.expires.take().expect("set"), e.digest.take().expect("set"));
                e.expires = Some(joined);
            }),
            Refusal::Foreign
        );
    }

    #[test]
    fn attack_03_secret_rotation() {
        let old = issuer(SECRET, None);
        let offers = [offer(5)];
        let challenge = echo(&old, &offers[0]);
        let other = "ffffffffffffffffffffffffffffffff";
        let verify = |issuer: Issuer| issuer.verify(&challenge, &offers, &route(), Some(DIGEST)).map(|_| ());
        assert_eq!(verify(issuer(other, Some(SECRET))), Ok(()));
        assert_eq!(verify(issuer(other, None)), Err(Refusal::Foreign));
    }
}
