//! Hosts and origins that may reach the MCP endpoints: a page elsewhere must not use a name that leads here (DNS
//! rebinding). Pure.

use url::Url;

/// Names of this machine. A server whose public URL has one of them is reached by all.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Returns the values of `Host` that are accepted for servers with these public URLs.
#[must_use]
pub fn allowed_hosts(public_urls: &[&str]) -> Vec<String> {
    let urls = public_urls.iter().filter_map(|url| Url::parse(url).ok());
    let authorities = urls.flat_map(|url| {
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        names(&url).into_iter().map(move |name| format!("{name}{port}"))
    });
    authorities.collect()
}

/// Returns the values of `Origin` that are accepted: those of these public URLs, and `more` of the configuration.
#[must_use]
pub fn allowed_origins(public_urls: &[&str], more: &[String]) -> Vec<String> {
    let urls = public_urls.iter().filter_map(|url| Url::parse(url).ok());
    let origins = urls.flat_map(|url| {
        let port = url.port_or_known_default().unwrap_or(443);
        let scheme = url.scheme().to_owned();
        names(&url).into_iter().map(move |name| format!("{scheme}://{name}:{port}"))
    });
    origins.chain(more.iter().cloned()).collect()
}

fn names(url: &Url) -> Vec<String> {
    let host = url.host_str().unwrap_or_default().to_owned();
    if LOOPBACK.contains(&host.as_str()) { LOOPBACK.map(str::to_owned).into() } else { vec![host] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_urls_say_who_may_come() {
        let urls = ["https://api.example.com", "http://127.0.0.1:8402"];
        assert_eq!(
            allowed_hosts(&urls),
            ["api.example.com", "localhost:8402", "127.0.0.1:8402", "[::1]:8402"]
        );
        assert_eq!(
            allowed_origins(&urls[..1], &["http://localhost:*".to_owned()]),
            ["https://api.example.com:443", "http://localhost:*"]
        );
    }
}
