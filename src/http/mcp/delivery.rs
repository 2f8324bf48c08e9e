//! Body of a response that does something once it has left whole.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// Body, and what follows from its having been sent. Where it never left whole, nothing does: it can be fetched again.
pub struct SentBody<B> {
    inner: B,
    on_sent: Option<Box<dyn FnOnce() + Send>>,
}

impl<B> SentBody<B> {
    pub fn new(inner: B, on_sent: impl FnOnce() + Send + 'static) -> Self {
        Self { inner, on_sent: Some(Box::new(on_sent)) }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for SentBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        let has_ended = match &frame {
            None => true,
            Some(Ok(_)) => self.inner.is_end_stream(),
            Some(Err(_)) => false,
        };
        if let Some(on_sent) = self.on_sent.take_if(|_| has_ended) {
            on_sent();
        }
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}
