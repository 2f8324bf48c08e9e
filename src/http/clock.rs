//! Clock of the HTTP layer: the one place here that reads it.
//!
//! A request knows two times: when its head arrived ([`ArrivedAt`]) and when its body was complete
//! ([`Received::at`](super::request::Received)), which can be `server.body_timeout_ms` later. Handlers pass these
//! down. Only work that waited for something else reads the clock anew, with [`after_wait`], and says why.

#![expect(clippy::disallowed_methods, reason = "HTTP reads the clock here and nowhere else")]

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::id::Timestamp;

/// Time at which a request's head arrived. Set by [`observe`](super::observe).
#[derive(Debug, Clone, Copy)]
pub struct ArrivedAt(pub Timestamp);

impl ArrivedAt {
    /// Reads the clock for a request that arrives now.
    pub(super) fn now() -> Self {
        Self(Timestamp::now())
    }
}

impl<S: Sync> FromRequestParts<S> for ArrivedAt {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().copied().unwrap_or_else(Self::now))
    }
}

/// Reads the clock after a wait for something other than the database, which answers at once or not at all.
pub fn after_wait() -> Timestamp {
    Timestamp::now()
}
