//! Paid answers on their way out: their receipt, and the note that they left.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use http_body_util::Full;
use hyper::body::{Frame, SizeHint};

use crate::http::State;
use crate::http::clock;
use crate::payments::Delivery;

/// Carries the receipt of a paid answer.
pub const PAYMENT_RECEIPT: HeaderName = HeaderName::from_static("payment-receipt");

/// Sends a paid answer, and notes that it left.
pub fn deliver(app: State, delivery: Delivery) -> Response {
    let mut response = Response::new(Body::empty());
    with_receipt(&mut response, &delivery);
    let body = Handover {
        inner: Full::new(Bytes::from(delivery.answer)),
        left: false,
        payment: Some(delivery.payment),
        app,
    };
    *response.body_mut() = Body::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
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

/// Adds the receipt of a paid answer to a response, and keeps it from shared caches.
pub fn with_receipt(response: &mut Response, delivery: &Delivery) {
    let headers = response.headers_mut();
    // draft-httpauth-payment-00, "Caching": no shared cache may keep a receipt.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
    if let Ok(receipt) = HeaderValue::try_from(crate::payments::http::receipt(&delivery.receipt)) {
        headers.insert(PAYMENT_RECEIPT, receipt);
    }
}

/// Notes, in its own time, that what a payment bought has left.
pub(in crate::http) fn delivered(app: &State, payment: String) {
    let charges = app.charges.clone();
    // The answer has left, however long its work took.
    let now = clock::after_wait();
    app.tasks.spawn(async move {
        if let Err(error) = charges.payments().delivered(&payment, now).await {
            // Harmless: the same credential can fetch the same answer again.
            tracing::warn!(payment, %error, "delivery could not be recorded");
        }
    });
}
