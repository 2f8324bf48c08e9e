//! Names become addresses, and only those that may be connected to.

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::target::Policy;

/// The system's resolver.
#[derive(Debug)]
pub(super) struct System;

impl Resolve for System {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let found: Vec<SocketAddr> = found.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// A resolver that leaves out what is not to be connected to. The connection is
/// made to one of the addresses it answers with, so there is no second look-up
/// that could say something else.
pub(super) struct Guarded {
    pub(super) inner: Arc<dyn Resolve>,
    pub(super) policy: Arc<Policy>,
}

/// Nothing that a name stands for may be connected to.
#[derive(Debug, thiserror::Error)]
#[error("no public address")]
pub(super) struct NoAddress;

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (resolving, policy) = (self.inner.resolve(name), Arc::clone(&self.policy));
        Box::pin(async move {
            let found = resolving.await.map_err(|_| NoAddress)?;
            let allowed: Vec<SocketAddr> = found.filter(|found| policy.permits(found.ip())).collect();
            if allowed.is_empty() {
                Err(NoAddress.into())
            } else {
                Ok(Box::new(allowed.into_iter()) as Addrs)
            }
        })
    }
}
