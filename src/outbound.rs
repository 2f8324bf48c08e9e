//! HTTP clients by which the server itself asks others: its node, its upstreams, its card processor.

use reqwest::{Client, ClientBuilder, Proxy};

use crate::config::Secret;

/// Begins a client that goes through `proxy`, where the configuration names one. What the environment says of proxies is
/// never read: requests hold keys, and URLs do.
///
/// # Errors
/// If `proxy` is not a URL.
pub fn client(proxy: Option<&Secret>) -> Result<ClientBuilder, reqwest::Error> {
    let direct = Client::builder().no_proxy();
    match proxy {
        Some(proxy) => Ok(direct.proxy(Proxy::all(proxy.expose())?)),
        None => Ok(direct),
    }
}
