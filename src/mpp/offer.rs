//! What a route asks for: an amount of a token for one request.

use alloy::primitives::Address;
use mpp::protocol::core::Base64UrlJson;
use mpp::protocol::core::accept_payment::HasMethodIntent;
use mpp::protocol::intents::ChargeRequest;
use serde_json::json;
use uuid::Uuid;

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
        let opaque = json!({ "nonce": nonce.simple().to_string(), "route": self.name });
        Base64UrlJson::from_value(&opaque).expect("a map of strings is canonical JSON").raw().to_owned()
    }

    /// Whether this `opaque` parameter, known to be ours, is of this route.
    #[must_use]
    pub fn is_named_by(&self, opaque: &Base64UrlJson) -> bool {
        opaque.decode_value().is_ok_and(|named| named["route"] == self.name.as_str())
    }
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
pub struct Terms {
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
        terms: &Terms,
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

    /// For people; never relied upon (draft-httpauth-payment-00, "Amount Verification").
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The charge request as the method's verifier reads it.
    #[must_use]
    pub fn request(&self) -> &ChargeRequest {
        &self.request
    }

    /// The `request` parameter of the challenge.
    #[must_use]
    pub fn encoded_request(&self) -> &str {
        &self.encoded
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
