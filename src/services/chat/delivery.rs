//! Delivery of a request to upstreams: whether one of them has it.
//!
//! A prompt costs the upstream's money as soon as it has arrived, whether or not anybody
//! waits for the answer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Bytes, HttpBody};
use http_body_util::Full;
use hyper::body::{Frame, SizeHint};
use tokio::sync::watch;

/// State of a request's delivery. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct UpstreamDelivery(Arc<watch::Sender<bool>>);

impl UpstreamDelivery {
    /// Returns true if an upstream has taken the request, and has not failed to answer it.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        *self.0.borrow()
    }

    /// Completes when this is not `known` any more: when an upstream has taken the request, or one that had failed.
    pub async fn changed(&self, known: bool) -> bool {
        let mut state = self.0.subscribe();
        // It ends with its sender, which lives as long as this.
        let changed = state.wait_for(|taken| *taken != known).await;
        changed.map_or(known, |taken| *taken)
    }

    /// Notes that the upstream which had the request failed.
    pub(super) fn fail(&self) {
        self.0.send_replace(false);
    }

    /// Returns the body of the request. It is read when there is a connection to the upstream
    /// and the head of the request is on it.
    pub(super) fn body(&self, body: Vec<u8>) -> reqwest::Body {
        reqwest::Body::wrap(DeliveredBody { body: Full::from(body), delivery: self.clone() })
    }
}

/// Body that notes that it is read.
struct DeliveredBody {
    body: Full<Bytes>,
    delivery: UpstreamDelivery,
}

impl HttpBody for DeliveredBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.delivery.0.send_replace(true);
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
