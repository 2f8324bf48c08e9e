//! The gate in front of paid work.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::Full;
use hyper::body::{Frame, SizeHint};
use mpp::protocol::core::PaymentCredential;
use sha2::{Digest as _, Sha256};
use tracing::Instrument as _;
use uuid::Uuid;

use super::State;
use super::error::{Code, HttpError};
use super::request::Received;
use crate::app::App;
use crate::funding::{Delivery, Denied, Made, Order, Paid};
use crate::id::Timestamp;
use crate::mpp::credential::{HEADERS, locate};
use crate::mpp::offer::by_preference;
use crate::mpp::{Challenge, Credential, CredentialError, Offer, Refusal, Route};

/// Carries the receipt of a paid answer.
pub const PAYMENT_RECEIPT: HeaderName = HeaderName::from_static("payment-receipt");

/// Sells one answer: asks for payment, or redeems the credential that came.
///
/// The caller has validated the request, so bad input costs nothing. `work`
/// runs only with a [`Paid`] in hand, in a task of its own that a client
/// cannot cancel by going away.
///
/// # Errors
/// See [`HttpError`]; 402 always carries fresh challenges, 403, 409 and 5xx never do.
pub async fn charge<A, F, W>(
    app: &State,
    request: &Received,
    offers: Arc<[Offer]>,
    service: &'static str,
    work: F,
) -> Result<Response, HttpError>
where
    F: FnOnce(Paid) -> W + Send + 'static,
    W: Future<Output = Result<A, HttpError>> + Send + 'static,
    A: Into<Made> + 'static,
{
    let delivery = sell(app, request, offers, service, work).await?;
    Ok(deliver(Arc::clone(app), delivery))
}

/// [`charge`] up to the answer as it is stored, for a caller that completes it before [`deliver`].
///
/// # Errors
/// The same.
pub async fn sell<A, F, W>(
    app: &State,
    request: &Received,
    offers: Arc<[Offer]>,
    service: &'static str,
    work: F,
) -> Result<Delivery, HttpError>
where
    F: FnOnce(Paid) -> W + Send + 'static,
    W: Future<Output = Result<A, HttpError>> + Send + 'static,
    A: Into<Made> + 'static,
{
    let gate = PaymentGate::new(app, request, request.route.clone(), &offers);
    let Some(credential) = gate.credential()? else {
        return Err(gate.ask(
            Code::PaymentRequired,
            "Pay one of the challenges in WWW-Authenticate and send the same request again.",
        ));
    };
    let order = Order {
        route: request.route.clone(),
        digest: gate.digest.clone(),
        offers: Arc::clone(&offers),
        service,
        request_id: request.id.clone(),
        idempotency_key: request.idempotency_key()?,
        account: None,
    };
    redeem(&gate, order, credential, work).await
}

/// Carries a payment out.
///
/// # Errors
/// See [`charge`].
pub(super) async fn redeem<A, F, W>(
    gate: &PaymentGate<'_>,
    order: Order,
    credential: Credential,
    work: F,
) -> Result<Delivery, HttpError>
where
    F: FnOnce(Paid) -> W + Send + 'static,
    W: Future<Output = Result<A, HttpError>> + Send + 'static,
    A: Into<Made> + 'static,
{
    let app = gate.app;
    let charges = app.charges.clone();
    let redeem = async move { charges.redeem(&order, &credential, Timestamp::now(), work).await };
    let redeemed = app.tasks.spawn(redeem.in_current_span());
    match redeemed.await {
        Ok(Ok(delivery)) => Ok(delivery),
        Ok(Err(denied)) => {
            let error = gate.deny(denied);
            metrics::counter!("farebox_payments_denied_total", "code" => error.code.as_str()).increment(1);
            Err(error)
        }
        Err(_) => Err(HttpError::new(
            Code::InternalError,
            "the request could not be completed; send it again with the same credential",
        )),
    }
}

/// One request at the gate.
pub(super) struct PaymentGate<'a> {
    app: &'a App,
    request: &'a Received,
    /// What challenges are bound to: the route, and the digest of the body.
    route: Route,
    pub(super) digest: Option<String>,
    offers: &'a [Offer],
    /// The header that credentials must come in, where it is not `Authorization`.
    carrier: Option<&'static str>,
}

impl<'a> PaymentGate<'a> {
    pub(super) fn new(app: &'a App, request: &'a Received, route: Route, offers: &'a [Offer]) -> Self {
        Self { app, request, route, digest: digest(&request.body), offers, carrier: None }
    }

    /// For requests whose `Authorization` is taken: challenges say where
    /// credentials are to be sent.
    pub(super) fn carried_by(self, header: &'static str) -> Self {
        Self { carrier: Some(header), ..self }
    }

    /// The credential that came, if one did.
    ///
    /// # Errors
    /// 400 for several, 402 for one that cannot be read.
    pub(super) fn credential(&self) -> Result<Option<Credential>, HttpError> {
        let read = credential(&self.request.headers)
            .and_then(|credential| credential.map(Credential::read).transpose());
        read.map_err(|error| match error {
            CredentialError::Several => HttpError::new(Code::SeveralCredentials, error.to_string()),
            CredentialError::Malformed(_) => self.ask(Code::MalformedCredential, &error.to_string()),
        })
    }

    /// 402 with a fresh challenge for each offer. Nothing is written.
    pub(super) fn ask(&self, code: Code, detail: &str) -> HttpError {
        metrics::counter!("farebox_challenges_total").increment(1);
        let issuer = &self.app.issuer;
        let expires = issuer.expiry(Timestamp::now());
        let accept = self.request.header("accept-payment");
        let opaque = self.route.opaque(Uuid::new_v4());
        let challenges: Vec<Challenge> = by_preference(self.offers, accept)
            .into_iter()
            .map(|offer| issuer.issue(offer, &opaque, self.digest.as_deref(), expires))
            .map(|challenge| match self.carrier {
                Some(name) => {
                    Challenge { header: format!("{}, header=\"{name}\"", challenge.header), ..challenge }
                }
                None => challenge,
            })
            .collect();
        HttpError::new(code, detail).with_challenges(challenges)
    }

    fn deny(&self, denied: Denied<HttpError>) -> HttpError {
        let (code, detail) = match denied {
            Denied::Work(error) => return error,
            Denied::Challenge(refusal @ Refusal::Unsupported) => {
                return HttpError::new(Code::MethodUnsupported, refusal.to_string());
            }
            Denied::Spent(detail) => return HttpError::new(Code::CredentialSpent, detail),
            Denied::InProgress => {
                return HttpError::new(
                    Code::PaymentInProgress,
                    "another request is working on this credential; send this one again in a moment",
                )
                .retry_after(1);
            }
            Denied::KeyReused => {
                return HttpError::new(
                    Code::IdempotencyKeyReused,
                    "this Idempotency-Key was used for another request; use a new one",
                );
            }
            Denied::Pending => {
                return HttpError::new(
                    Code::SettlementPending,
                    "the transaction's outcome is not known yet; send the same request with the \
                     same credential again, it is not charged twice",
                )
                .retry_after(2);
            }
            Denied::Unavailable(what) => {
                return HttpError::new(
                    Code::ServiceUnavailable,
                    format!(
                        "{what} cannot be reached; nothing was charged for this request, send it \
                         again with the same credential"
                    ),
                )
                .retry_after(2);
            }
            Denied::Challenge(refusal) => (Code::InvalidChallenge, refusal.to_string()),
            Denied::Expired => {
                (Code::PaymentExpired, "the challenge expired before it was paid; pay the new one".to_owned())
            }
            Denied::UsedChallenge => {
                (Code::InvalidChallenge, "the challenge has been used; pay the new one".to_owned())
            }
            Denied::Insufficient(detail) => (Code::PaymentInsufficient, detail),
            Denied::Invalid(detail) => (Code::VerificationFailed, detail),
        };
        self.ask(code, &detail)
    }
}

/// The request's Payment credential, of any intent, from either header field.
///
/// # Errors
/// When there are several, or it is malformed.
pub fn credential(headers: &HeaderMap) -> Result<Option<PaymentCredential>, CredentialError> {
    locate(HEADERS.iter().flat_map(|name| headers.get_all(*name)).map(HeaderValue::as_bytes))
}

/// RFC 9530 digest of a request body (draft-httpauth-payment-00, "Request Body
/// Digest Binding"); `None` for a request without one.
fn digest(body: &[u8]) -> Option<String> {
    (!body.is_empty()).then(|| format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(body))))
}

/// Sends a paid answer, and notes that it left.
pub fn deliver(app: State, delivery: Delivery) -> Response {
    let receipt = HeaderValue::try_from(delivery.receipt);
    let body = Handover {
        inner: Full::new(Bytes::from(delivery.answer)),
        left: false,
        payment: Some(delivery.payment),
        app,
    };
    let mut response = Response::new(Body::new(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // draft-httpauth-payment-00, "Caching": no shared cache may keep a receipt.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
    if let Ok(receipt) = receipt {
        headers.insert(PAYMENT_RECEIPT, receipt);
    }
    response
}

/// The body of a paid answer. The payment counts as delivered once the server
/// has written it out; an answer that never left can be fetched again.
struct Handover {
    inner: Full<Bytes>,
    left: bool,
    payment: Option<String>,
    app: State,
}

impl hyper::body::Body for Handover {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.left = true;
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        if let Some(payment) = self.payment.take().filter(|_| self.left) {
            delivered(&self.app, payment);
        }
    }
}

/// Notes, in its own time, that what a payment bought has left.
pub(super) fn delivered(app: &State, payment: String) {
    let charges = app.charges.clone();
    app.tasks.spawn(async move {
        if let Err(error) = charges.payments().delivered(&payment, Timestamp::now()).await {
            // Harmless: the same credential can fetch the same answer again.
            tracing::warn!(payment, %error, "delivery could not be recorded");
        }
    });
}
