//! A double of Stripe: it makes payment pages as Stripe does, signs events as Stripe does, and is
//! not Stripe.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use farebox::config::{Config, Secret};
use farebox_test_support::harness::{Reply, Server, reply};
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::net::TcpListener;

pub const KEY: &str = "sk_test_double_51f0e2d3c4b5a6";
pub const WEBHOOK_SECRET: &str = "whsec_double_0123456789abcdef";
pub const WEBHOOK: &str = "/api/v1/billing/webhook";

/// Requests that the double got.
#[derive(Default)]
pub struct Seen {
    /// The fields of each new page, by idempotency key.
    pub sessions: HashMap<String, HashMap<String, String>>,
    pub requests: usize,
    /// Answer with this status instead.
    pub fail: Option<u16>,
}

#[derive(Clone)]
pub struct StripeDouble {
    pub url: String,
    seen: Arc<Mutex<Seen>>,
}

impl StripeDouble {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let double = Self { url, seen: Arc::default() };
        let router = Router::new().route("/v1/checkout/sessions", post(session)).with_state(double.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        double
    }

    pub fn configure(&self, config: &mut Config) {
        config.billing.stripe_secret_key = Some(Secret::from(KEY));
        config.billing.stripe_webhook_secret = Some(Secret::from(WEBHOOK_SECRET));
        config.billing.stripe_api_url.clone_from(&self.url);
    }

    pub fn seen<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn session(
    State(double): State<StripeDouble>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, String) {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    assert_eq!(header("authorization"), format!("Bearer {KEY}"));
    let parsed = reqwest::Url::parse(&format!("http://x/?{body}")).expect("a form");
    let fields: HashMap<String, String> = parsed.query_pairs().into_owned().collect();
    let key = header("idempotency-key").to_owned();
    let fail = double.seen(|seen| {
        seen.requests += 1;
        seen.sessions.entry(key.clone()).or_insert(fields);
        seen.fail
    });
    if let Some(status) = fail {
        // As Stripe does, with part of the key in its words.
        let error = json!({ "error": { "type": "invalid_request_error", "message": format!("Invalid API Key: {KEY}") } });
        return (StatusCode::from_u16(status).expect("a status"), error.to_string());
    }
    let answer =
        json!({ "id": format!("cs_{key}"), "url": format!("https://checkout.stripe.invalid/{key}") });
    (StatusCode::OK, answer.to_string())
}

/// The `Stripe-Signature` of a body.
pub fn sign(secret: &str, seconds: i64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    mac.update(format!("{seconds}.{body}").as_bytes());
    format!("t={seconds},v1={}", hex::encode(mac.finalize().into_bytes()))
}

/// An event under an id of its own.
pub fn event(kind: &str, object: &Value) -> String {
    let id = format!("evt_{}", uuid::Uuid::new_v4().simple());
    json!({ "id": id, "object": "event", "type": kind, "data": { "object": object } }).to_string()
}

pub fn session_object(checkout: &str, payment: &str, cents: i64, status: &str) -> Value {
    json!({ "object": "checkout.session", "client_reference_id": checkout, "payment_intent": payment,
        "amount_total": cents, "currency": "usd", "payment_status": status,
        "metadata": { "farebox_checkout": checkout } })
}

pub fn charge_object(payment: &str, cents: i64, refunded: i64) -> Value {
    json!({ "object": "charge", "payment_intent": payment, "amount": cents, "amount_refunded": refunded,
        "currency": "usd" })
}

pub fn dispute_object(payment: &str, cents: i64) -> Value {
    json!({ "object": "dispute", "payment_intent": payment, "amount": cents, "currency": "usd" })
}

/// Sends a signed event.
pub async fn deliver_event(server: &Server, body: &str) -> Reply {
    deliver_event_with(server, body, &sign(WEBHOOK_SECRET, farebox::id::Timestamp::now().seconds(), body))
        .await
}

pub async fn deliver_event_with(server: &Server, body: &str, signature: &str) -> Reply {
    reply(server.post(WEBHOOK, body).header("stripe-signature", signature)).await
}
