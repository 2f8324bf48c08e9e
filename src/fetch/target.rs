//! Checks of the URLs that may be fetched. No I/O.

use std::net::IpAddr;

use url::{Host, Url};

use super::address::is_public;
use super::error::FetchError;
use crate::config::IpNetwork;

/// Most bytes of a URL.
const MAX_URL: usize = 8 << 10;

/// Longest scheme of a URL.
const MAX_SCHEME: usize = 32;
/// Zones of names that are not public (RFC 6761, RFC 6762, RFC 8375, and ICANN's `internal`).
const PRIVATE_ZONES: [&str; 8] =
    ["localhost", "local", "internal", "intranet", "lan", "home.arpa", "localdomain", "corp"];

/// Ports and networks that may be fetched from.
#[derive(Debug, Clone)]
pub struct TargetPolicy {
    /// Permitted ports; every port if empty.
    pub ports: Vec<u16>,
    /// Networks that are permitted although they are not public.
    pub networks: Vec<IpNetwork>,
}

impl TargetPolicy {
    /// True if an address may be connected to.
    #[must_use]
    pub fn permits(&self, address: IpAddr) -> bool {
        is_public(address) || self.networks.iter().any(|network| network.contains(address))
    }

    /// Reads and checks a URL of a request.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub fn target(&self, text: &str) -> Result<Url, FetchError> {
        if text.len() > MAX_URL {
            return Err(FetchError::NotUrl);
        }
        let url = Url::parse(text.trim()).map_err(|_| FetchError::NotUrl)?;
        self.check(&url)?;
        Ok(url)
    }

    /// Reads and checks the URL that a redirect leads to. The error does not tell why it
    /// was refused: the caller must not learn where a public page links to.
    ///
    /// # Errors
    /// [`FetchError::Redirected`].
    pub fn redirect(&self, from: &Url, location: &str) -> Result<Url, FetchError> {
        let url = Some(location)
            .filter(|location| location.len() <= MAX_URL)
            .and_then(|location| from.join(location).ok())
            .ok_or(FetchError::Redirected)?;
        self.check(&url).map_err(|_| FetchError::Redirected)?;
        Ok(url)
    }

    fn check(&self, url: &Url) -> Result<(), FetchError> {
        if !["http", "https"].contains(&url.scheme()) {
            return Err(FetchError::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(FetchError::UserInfo);
        }
        let port = url.port_or_known_default().unwrap_or_default();
        if !self.ports.is_empty() && !self.ports.contains(&port) {
            return Err(FetchError::Port);
        }
        // The parser has read every way of writing an address: decimal, octal,
        // hexadecimal, short. Names are checked when they are resolved.
        let literal = match url.host().ok_or(FetchError::NotUrl)? {
            Host::Domain(_) => return Ok(()),
            Host::Ipv4(four) => IpAddr::V4(four),
            Host::Ipv6(six) => IpAddr::V6(six),
        };
        if self.permits(literal) { Ok(()) } else { Err(FetchError::NotPublic) }
    }
}

/// Refuses a text of a request that is a URL which an upstream must not ask for: of no web page, or of a host that is not
/// public by its name or address. Anything that is no URL with a scheme passes, and so do `data:` URLs. What a public name
/// leads to is for the upstream to look at, which resolves it.
///
/// # Errors
/// See [`FetchError`].
pub fn refuse_passed_url(text: &str) -> Result<(), FetchError> {
    let text = text.trim_start_matches(|c: char| c <= ' ');
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.len() <= MAX_SCHEME
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.\t\r\n".contains(&b))
    };
    let Some((scheme, rest)) = text.split_once(':').filter(|(scheme, _)| is_scheme(scheme)) else {
        return Ok(());
    };
    if scheme.eq_ignore_ascii_case("data") {
        return Ok(());
    }
    let is_web = ["http", "https"].iter().any(|web| {
        scheme.bytes().filter(|b| !b.is_ascii_whitespace()).map(|b| b.to_ascii_lowercase()).eq(web.bytes())
    });
    if !is_web && !rest.starts_with(['/', '\\']) && !scheme.eq_ignore_ascii_case("file") {
        return Ok(()); // A word and a colon.
    }
    let public = TargetPolicy { ports: Vec::new(), networks: Vec::new() };
    let url = public.target(text)?;
    let Some(Host::Domain(name)) = url.host() else { return Ok(()) };
    let name = name.trim_end_matches('.');
    let is_private = |zone: &str| name.strip_suffix(zone).is_some_and(|rest| rest.ends_with('.'));
    if !name.contains('.') || PRIVATE_ZONES.iter().any(|zone| is_private(zone)) {
        return Err(FetchError::NotPublic);
    }
    Ok(())
}

/// Returns the name of a source for the model: the URL without its query, which may
/// have tokens.
#[must_use]
pub fn name(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> TargetPolicy {
        TargetPolicy {
            ports: vec![80, 443, 8080],
            networks: vec!["127.0.0.9/32".parse().expect("a network")],
        }
    }

    #[test]
    fn attack_25_urls_are_checked_before_anything_is_asked() {
        use FetchError::{NotPublic, NotUrl, Port, Scheme, UserInfo};
        for (text, expected) in [
            ("https://example.com/a?b#c", Ok("https://example.com/a?b#c")),
            (" http://example.com ", Ok("http://example.com/")),
            ("HTTPS://EXAMPLE.com:8080/", Ok("https://example.com:8080/")),
            ("http://1.1.1.1/", Ok("http://1.1.1.1/")),
            ("http://[2606:4700:4700::1111]/", Ok("http://[2606:4700:4700::1111]/")),
            ("http://127.0.0.9/", Ok("http://127.0.0.9/")),
            ("example.com", Err(NotUrl)),
            ("//example.com", Err(NotUrl)),
            ("", Err(NotUrl)),
            ("http://", Err(NotUrl)),
            ("file:///etc/passwd", Err(Scheme)),
            ("ftp://example.com/", Err(Scheme)),
            ("gopher://example.com/", Err(Scheme)),
            ("data:text/plain,hi", Err(Scheme)),
            ("javascript:alert(1)", Err(Scheme)),
            ("unix:/run/docker.sock", Err(Scheme)),
            ("http+unix://%2Frun%2Fdocker.sock/", Err(Scheme)),
            ("http://user@example.com/", Err(UserInfo)),
            ("http://:secret@example.com/", Err(UserInfo)),
            ("http://example.com:22/", Err(Port)),
            ("http://example.com:0/", Err(Port)),
            ("http://127.0.0.1/", Err(NotPublic)),
            ("http://127.1/", Err(NotPublic)),
            ("http://2130706433/", Err(NotPublic)),
            ("http://0x7f000001/", Err(NotPublic)),
            ("http://0x7f.1/", Err(NotPublic)),
            ("http://0177.0.0.1/", Err(NotPublic)),
            ("http://0/", Err(NotPublic)),
            ("http://127.0.0.1./", Err(NotPublic)),
            ("http://\u{ff11}27.0.0.1/", Err(NotPublic)),
            ("http://127\u{3002}0.0.1/", Err(NotPublic)),
            ("http://169.254.169.254/latest/meta-data/", Err(NotPublic)),
            ("http://[::1]/", Err(NotPublic)),
            ("http://[::ffff:127.0.0.1]/", Err(NotPublic)),
            ("http://[::ffff:127.0.0.9]/", Err(NotPublic)),
            ("http://[64:ff9b::7f00:1]/", Err(NotPublic)),
            ("http://[fe80::1%25eth0]/", Err(NotUrl)),
            ("http:\\\\127.0.0.1\\", Err(NotPublic)),
        ] {
            let read = policy().target(text);
            assert_eq!(read.as_ref().map(Url::as_str), expected.as_ref().map(|url| *url), "{text}");
        }
    }

    #[test]
    fn attack_47_urls_that_are_passed_on_are_of_public_hosts() {
        for passed in [
            "",
            "plain text",
            "note: this",
            "user:42",
            "data:image/png;base64,AAAA",
            "https://example.com/a.png",
            "http://1.1.1.1:8080/a",
        ] {
            assert_eq!(refuse_passed_url(passed), Ok(()), "{passed}");
        }
        for refused in [
            "http://169.254.169.254/latest/",
            " HTTP://127.1/",
            "ht\ntp://127.0.0.1/",
            "http:127.0.0.1/",
            "http:\\\\127.0.0.1\\",
            "file:///etc/passwd",
            "FILE:/etc/passwd",
            "file:etc/passwd",
            "ftp://example.com/",
            "s3://bucket/key",
            "gopher://10.0.0.1/",
            "http://localhost/",
            "http://vllm:8000/",
            "http://metadata.google.internal./",
            "http://a.b.local/",
            "http://user@example.com/",
        ] {
            assert!(refuse_passed_url(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn attack_25_redirects_are_checked_like_urls() {
        let from = Url::parse("https://example.com/a/b").expect("a URL");
        for (location, expected) in [
            ("c", Some("https://example.com/a/c")),
            ("/c", Some("https://example.com/c")),
            ("//other.example/", Some("https://other.example/")),
            ("http://10.0.0.1/", None),
            ("//2130706433/", None),
            ("file:///etc/passwd", None),
            ("data:text/plain,hi", None),
            ("https://user@example.com/", None),
            ("https://example.com:22/", None),
        ] {
            let read = policy().redirect(&from, location);
            match expected {
                Some(url) => assert_eq!(read.expect("allowed").as_str(), url),
                None => assert_eq!(read, Err(FetchError::Redirected), "{location}"),
            }
        }
    }

    #[test]
    fn a_name_has_no_query() {
        let url = Url::parse("https://example.com/a?token=secret#x").expect("a URL");
        assert_eq!(name(&url), "https://example.com/a");
    }
}
