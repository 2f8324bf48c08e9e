//! Resolution of host names, to permitted addresses only.

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::target::TargetPolicy;

/// Resolver of the operating system.
#[derive(Debug)]
pub(super) struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let found: Vec<SocketAddr> = found.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Resolver that drops addresses which the policy does not permit. The connection is
/// made to one of the addresses that it returns, so that no second look-up can return
/// another.
pub(super) struct PublicResolver {
    pub(super) inner: Arc<dyn Resolve>,
    pub(super) policy: Arc<TargetPolicy>,
}

/// Error of a name without a permitted address.
#[derive(Debug, thiserror::Error)]
#[error("no public address")]
pub(super) struct NoPublicAddress;

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (resolving, policy) = (self.inner.resolve(name), Arc::clone(&self.policy));
        Box::pin(async move {
            let found = resolving.await.map_err(|_| NoPublicAddress)?;
            let allowed: Vec<SocketAddr> = found.filter(|found| policy.permits(found.ip())).collect();
            if allowed.is_empty() {
                Err(NoPublicAddress.into())
            } else {
                Ok(Box::new(allowed.into_iter()) as Addrs)
            }
        })
    }
}
