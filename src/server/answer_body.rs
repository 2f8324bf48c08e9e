//! Body of an answer, which notes how it is taken.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use tokio::time::Instant;

use super::progress::{ConnectionLimits, LetGo, Progress};

/// Progress that a connection and its answers share.
pub type SharedProgress = Arc<Mutex<Progress>>;

/// An answer that is open, counted until it is dropped.
#[derive(Debug)]
pub struct OpenAnswer {
    progress: SharedProgress,
    number: u64,
}

impl OpenAnswer {
    /// Begins with a request.
    pub fn begin(progress: SharedProgress) -> Self {
        let number = lock(&progress).begin();
        Self { progress, number }
    }

    /// Notes that a piece of it, or its head, is ready to be taken.
    pub fn give(&self) {
        lock(&self.progress).give(self.number, Instant::now());
    }
}

impl Drop for OpenAnswer {
    fn drop(&mut self) {
        lock(&self.progress).end(self.number, Instant::now());
    }
}

/// The body. It is asked for its next piece when the last one was taken.
pub struct AnswerBody {
    pub inner: Body,
    pub answer: OpenAnswer,
}

impl hyper::body::Body for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        let OpenAnswer { progress, number } = &self.answer;
        match &polled {
            Poll::Ready(Some(Ok(_))) => lock(progress).give(*number, Instant::now()),
            Poll::Ready(Some(Err(_)) | None) | Poll::Pending => lock(progress).take(*number),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn lock(progress: &SharedProgress) -> std::sync::MutexGuard<'_, Progress> {
    // Counts are valid even if another holder panicked.
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Decides if a connection is let go now.
pub fn verdict(progress: &SharedProgress, limits: &ConnectionLimits) -> Option<LetGo> {
    lock(progress).verdict(limits, Instant::now())
}
