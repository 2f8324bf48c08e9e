//! Client of Stripe's API: the one call that is needed.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use super::event::METADATA;
use super::signature::{self, SignatureError};
use crate::config::Secret;
use crate::id::Timestamp;
use crate::money::Money;

/// Millionths of a dollar in a cent.
const CENT: i64 = 10_000;
/// Longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// A client for one Stripe account.
#[derive(Debug, Clone)]
pub struct Stripe {
    http: reqwest::Client,
    api: String,
    key: Secret,
    webhook: Secret,
}

/// The page where one checkout is paid.
#[derive(Debug, Clone)]
pub struct CheckoutSession {
    /// Stripe's id of it.
    pub id: String,
    pub url: String,
}

/// Reason Stripe made no page. The texts repeat nothing of its answer, which can hold keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StripeError {
    #[error("the card processor is unreachable; send the same request again")]
    Unreachable,
    #[error("the card processor refused the payment page (status {0})")]
    Refused(u16),
    #[error("the card processor's answer has no `id` and `url` of a payment page")]
    Malformed,
}

impl Stripe {
    /// Returns a client that waits for an answer as long as `timeout`.
    ///
    /// # Errors
    /// If the system's TLS roots cannot be loaded.
    pub fn new(
        api: &str,
        key: &Secret,
        webhook: &Secret,
        proxy: Option<&Secret>,
        timeout: Duration,
    ) -> Result<Self, reqwest::Error> {
        let http = crate::outbound::client(proxy)?
            .redirect(reqwest::redirect::Policy::none())
            .timeout(timeout)
            .build()?;
        Ok(Self { http, api: api.to_owned(), key: key.clone(), webhook: webhook.clone() })
    }

    /// Checks that a webhook's body is Stripe's.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify(&self, header: &str, body: &[u8], now: Timestamp) -> Result<(), SignatureError> {
        signature::verify(self.webhook.expose(), header, body, now)
    }

    /// Creates the page of a checkout (POST `/v1/checkout/sessions`). The checkout's id is the
    /// idempotency key of the call, so a second one creates no second page.
    ///
    /// # Errors
    /// [`StripeError`]; nothing was charged.
    pub async fn create_session(
        &self,
        checkout: &str,
        price: Money,
        name: &str,
        billing: &str,
    ) -> Result<CheckoutSession, StripeError> {
        let cents = (price.micros() / CENT).to_string();
        let success = format!("{billing}/success?session_id={{CHECKOUT_SESSION_ID}}");
        let body = form(&[
            ("mode", "payment"),
            ("success_url", &success),
            ("cancel_url", &format!("{billing}/cancel")),
            ("client_reference_id", checkout),
            (&format!("metadata[{METADATA}]"), checkout),
            (&format!("payment_intent_data[metadata][{METADATA}]"), checkout),
            ("line_items[0][quantity]", "1"),
            ("line_items[0][price_data][currency]", "usd"),
            ("line_items[0][price_data][unit_amount]", &cents),
            ("line_items[0][price_data][product_data][name]", name),
        ]);
        let request = self
            .http
            .post(format!("{}/v1/checkout/sessions", self.api))
            .bearer_auth(self.key.expose())
            .header("idempotency-key", checkout)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        let mut answer = request.send().await.map_err(|_| StripeError::Unreachable)?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(|_| StripeError::Unreachable)? {
            if body.len() + part.len() > MAX_ANSWER_BYTES {
                return Err(StripeError::Malformed);
            }
            body.extend_from_slice(&part);
        }
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        if !status.is_success() {
            let kind = answer["error"]["type"].as_str().unwrap_or("none given");
            tracing::error!(status = status.as_u16(), kind, "the card processor made no payment page");
            return Err(StripeError::Refused(status.as_u16()));
        }
        match (answer["id"].as_str(), answer["url"].as_str()) {
            (Some(id), Some(url)) if url.starts_with("http") => {
                Ok(CheckoutSession { id: id.to_owned(), url: url.to_owned() })
            }
            _ => Err(StripeError::Malformed),
        }
    }
}

/// Encodes fields as `application/x-www-form-urlencoded`.
fn form(fields: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        if !text.is_empty() {
            text.push('&');
        }
        encode(&mut text, name);
        text.push('=');
        encode(&mut text, value);
    }
    text
}

fn encode(text: &mut String, value: &str) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_encoded() {
        assert_eq!(form(&[("a[b]", "ä&= {x}"), ("c", "")]), "a%5Bb%5D=%C3%A4%26%3D%20%7Bx%7D&c=");
    }
}
