//! HTTP clients by which the server itself asks others: its node, its upstreams, its card processor.

use reqwest::header::HeaderValue;
use reqwest::{Client, ClientBuilder, Proxy, RequestBuilder};

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

/// Adds a key to a request: in the header of this name, or as a Bearer token.
pub fn with_key(request: RequestBuilder, header: Option<&str>, key: &Secret) -> RequestBuilder {
    let Some(header) = header else { return request.bearer_auth(key.expose()) };
    match HeaderValue::from_str(key.expose()) {
        Ok(mut value) => {
            value.set_sensitive(true);
            request.header(header, value)
        }
        // Sending the request tells that it is none.
        Err(_) => request.header(header, key.expose()),
    }
}
