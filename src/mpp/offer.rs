//! What a route asks for: an amount of a token for one request.

use alloy::primitives::Address;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mpp::protocol::core::Base64UrlJson;
use mpp::protocol::core::accept_payment::HasMethodIntent;
use mpp::protocol::intents::ChargeRequest;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;
use uuid::fmt::Simple;

use crate::config::Mode;
use crate::money::Money;

/// Payment method identifier of Tempo.
pub const METHOD: &str = "tempo";
/// Intent of a one-time payment (draft-payment-intent-charge-00).
pub const CHARGE: &str = "charge";

/// The request that a challenge belongs to: HTTP method, path and query.
///
/// It travels in the challenge's `opaque` parameter, which is bound by the
/// challenge id, so a credential bought for one route opens no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    name: String,
}

impl Route {
    /// The route of a request. `query` is part of it: `?a=1` is another request than `?a=2`.
    #[must_use]
    pub fn new(method: &str, path: &str, query: Option<&str>) -> Self {
        let name = match query {
            Some(query) => format!("{method} {path}?{query}"),
            None => format!("{method} {path}"),
        };
        Self { name }
    }

    /// The route of a session: the resource, whatever the method. Vouchers for a
    /// POST may come by HEAD ("Voucher Submission Transport"), and the query is
    /// not part of what is metered.
    #[must_use]
    pub fn resource(path: &str) -> Self {
        Self { name: path.to_owned() }
    }

    /// Method, path and query, as in the request line.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The `opaque` parameter of one challenge: base64url of canonical JSON.
    ///
    /// The nonce makes its id unique. Without it two customers who send the
    /// same request within a millisecond would share a challenge, and the one
    /// who pays last would have paid for nothing.
    #[must_use]
    pub fn opaque(&self, nonce: Uuid) -> String {
        // Every unpaid request passes here, so the canonical form (RFC 8785) is written directly:
        // the names in order, and strings as serde_json writes them anyway.
        #[derive(Serialize)]
        struct Opaque<'a> {
            nonce: &'a str,
            route: &'a str,
        }
        let mut digits = [0; Simple::LENGTH];
        let opaque = Opaque { nonce: nonce.simple().encode_lower(&mut digits), route: &self.name };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&opaque).expect("two strings are valid JSON"))
    }

    /// Whether this `opaque` parameter, known to be ours, is of this route.
    #[must_use]
    pub fn is_named_by(&self, opaque: &Base64UrlJson) -> bool {
        opaque.decode_value().is_ok_and(|named| named["route"] == self.name.as_str())
    }
}

/// What a challenge repeats of an offer.
pub trait Offered {
    /// `charge` or `session`.
    fn intent(&self) -> &'static str;
    /// The `request` parameter: base64url of canonical JSON.
    fn encoded_request(&self) -> &str;
    /// For people; never relied upon (draft-httpauth-payment-00, "Amount Verification").
    fn description(&self) -> &str;
}

/// One way to pay for a route. A 402 carries one challenge per offer.
#[derive(Debug, Clone)]
pub struct Offer {
    amount: Money,
    currency: Address,
    sponsored: bool,
    description: String,
    request: ChargeRequest,
    /// The `request` parameter, serialised once: every challenge of this offer repeats it.
    encoded: String,
}

/// What all offers of a server have in common.
#[derive(Debug, Clone)]
pub struct OfferTerms {
    pub recipient: Address,
    pub chain_id: u64,
    /// Modes accepted when the customer pays its own network fee.
    pub modes: Vec<Mode>,
}

impl Offer {
    /// A charge of `amount` of `currency` (draft-tempo-charge-00, "Request Schema").
    ///
    /// A sponsored charge is pull only: the server must sign the transaction
    /// before it is sent ("Hash Settlement", limitations). `supportedModes` is
    /// left out only when both modes are accepted ("Submission Modes").
    #[must_use]
    pub fn charge(
        terms: &OfferTerms,
        currency: Address,
        amount: Money,
        sponsored: bool,
        description: &str,
    ) -> Self {
        let mut details = json!({ "chainId": terms.chain_id });
        if sponsored {
            details["feePayer"] = json!(true);
        }
        let modes: Vec<&str> = if sponsored {
            vec![Mode::Pull.as_str()]
        } else {
            terms.modes.iter().map(|m| m.as_str()).collect()
        };
        if modes.len() == 1 && !amount.is_zero() {
            details["supportedModes"] = json!(modes);
        }
        let request = ChargeRequest {
            amount: amount.to_base_units(),
            currency: format!("{currency:#x}"),
            recipient: Some(format!("{:#x}", terms.recipient)),
            method_details: Some(details),
            ..ChargeRequest::default()
        };
        let encoded =
            Base64UrlJson::from_typed(&request).expect("a charge request is canonical JSON").raw().to_owned();
        Self { amount, currency, sponsored, description: description.to_owned(), request, encoded }
    }

    /// What the customer pays, without network fees.
    #[must_use]
    pub fn amount(&self) -> Money {
        self.amount
    }

    /// The token it is paid in.
    #[must_use]
    pub fn currency(&self) -> Address {
        self.currency
    }

    /// Whether the server pays the network fee.
    #[must_use]
    pub fn is_sponsored(&self) -> bool {
        self.sponsored
    }

    /// The charge request as the method's verifier reads it.
    #[must_use]
    pub fn request(&self) -> &ChargeRequest {
        &self.request
    }
}

impl Offered for Offer {
    fn intent(&self) -> &'static str {
        CHARGE
    }

    fn encoded_request(&self) -> &str {
        &self.encoded
    }

    fn description(&self) -> &str {
        &self.description
    }
}

impl HasMethodIntent for Offer {
    fn method(&self) -> &str {
        METHOD
    }

    fn intent(&self) -> &str {
        CHARGE
    }
}

/// Orders and filters offers by the client's `Accept-Payment` header.
///
/// A malformed header, or one that matches nothing, is ignored, as the draft
/// allows ("Client Payment Preferences"): the client still gets an offer.
#[must_use]
pub fn by_preference<'a>(offers: &'a [Offer], accept_payment: Option<&str>) -> Vec<&'a Offer> {
    let ranked = accept_payment
        .and_then(|header| mpp::accept_payment::parse(header).ok())
        .map(|preferences| mpp::accept_payment::rank(offers, &preferences));
    match ranked {
        Some(ranked) if !ranked.is_empty() => ranked,
        _ => offers.iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_opaque_parameter_is_canonical_json() {
        let nonce = Uuid::from_u128(7);
        for query in ["", "a=1&b=%22", "\"\\/\u{7f}\u{1}\u{8}\t\u{2028}é😀<>"] {
            let route = Route::new("POST", "/mpp", Some(query));
            let canonical = json!({ "route": route.name(), "nonce": nonce.simple().to_string() });
            let canonical = Base64UrlJson::from_value(&canonical).expect("JSON");
            assert_eq!(route.opaque(nonce), canonical.raw());
            assert!(route.is_named_by(&canonical));
        }
    }
}
