//! Redirect URIs: which ones a client may register, and which registered one a request means. Pure.
//!
//! A URI is compared as text (RFC 9700, section 2.1), so it must have one reading: visible ASCII, no
//! fragment, no user, no backslash, a plain host. The port of a loopback URI is free, because a program
//! takes whichever is (RFC 8252, section 7.3); its host and path are not.

use std::fmt;

use url::{Url, form_urlencoded};

/// Longest URI, in bytes.
const MAX_BYTES: usize = 1024;
/// Hosts of the machine that the browser runs on.
const LOOPBACK: [&str; 3] = ["127.0.0.1", "[::1]", "localhost"];

/// Kind of a redirect URI, by who receives the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedirectKind {
    /// The site at that host.
    Web,
    /// A program on the person's machine: whichever listens there.
    Loopback,
    /// An application that has the scheme on the person's machine.
    Application,
}

/// Redirect URI of a client, in the spelling that it was sent in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectUri {
    text: String,
    kind: RedirectKind,
    /// Host without its port; the scheme of an application.
    host: String,
    /// Text from the path on.
    rest: usize,
}

/// Reason that a text is no redirect URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RedirectError {
    #[error("a redirect URI must be an absolute URI of at most 1024 visible ASCII characters")]
    NotUri,
    #[error("a redirect URI must have no fragment, no user name and no backslash")]
    Ambiguous,
    #[error("a redirect URI must have the host of a site, in letters, digits, dots and hyphens")]
    Host,
    #[error("a redirect URI must be https, or http at 127.0.0.1, [::1] or localhost")]
    Scheme,
}

impl RedirectUri {
    /// Reads a URI. `schemes` are those of applications that are accepted beside https and loopback.
    ///
    /// # Errors
    /// [`RedirectError`].
    pub fn parse(text: &str, schemes: &[String]) -> Result<Self, RedirectError> {
        if text.len() > MAX_BYTES || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(RedirectError::NotUri);
        }
        if text.contains(['\\', '#']) {
            return Err(RedirectError::Ambiguous);
        }
        let url = Url::parse(text).map_err(|_| RedirectError::NotUri)?;
        let (scheme, after) = text.split_once("://").ok_or(RedirectError::NotUri)?;
        let authority = &after[..after.find(['/', '?']).unwrap_or(after.len())];
        if authority.contains('@') {
            return Err(RedirectError::Ambiguous);
        }
        let host = authority.rfind(':').filter(|colon| !authority[*colon..].contains(']'));
        let host = &authority[..host.unwrap_or(authority.len())];
        let kind = match scheme {
            "https" => RedirectKind::Web,
            "http" if LOOPBACK.contains(&host) => RedirectKind::Loopback,
            _ if schemes.iter().any(|known| known == scheme) => RedirectKind::Application,
            _ => return Err(RedirectError::Scheme),
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || b".-[]:".contains(&b);
        if kind != RedirectKind::Application
            && (host.is_empty() || !authority.bytes().all(plain) || url.host_str() != Some(&*lower(host)))
        {
            return Err(RedirectError::Host);
        }
        let host = if kind == RedirectKind::Application { scheme } else { host };
        let rest = scheme.len() + "://".len() + authority.len();
        Ok(Self { text: text.to_owned(), kind, host: lower(host), rest })
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    #[must_use]
    pub const fn kind(&self) -> RedirectKind {
        self.kind
    }

    /// Returns the host that receives the code, or the scheme of an application.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns true if a request with this URI means the registered one.
    #[must_use]
    pub fn matches(&self, registered: &Self) -> bool {
        let is_loopback = |uri: &Self| uri.kind == RedirectKind::Loopback;
        let same_but_port =
            || self.host == registered.host && self.text[self.rest..] == registered.text[registered.rest..];
        self.text == registered.text || is_loopback(self) && is_loopback(registered) && same_but_port()
    }

    /// Returns the URI with parameters added to its query.
    #[must_use]
    pub fn with(&self, parameters: &[(&str, &str)]) -> String {
        let joined = if self.text.contains('?') { "&" } else { "?" };
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        format!("{}{joined}{query}", self.text)
    }
}

fn lower(text: &str) -> String {
    text.to_ascii_lowercase()
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<RedirectUri, RedirectError> {
        RedirectUri::parse(text, &["cursor".to_owned()])
    }

    fn matches(presented: &str, registered: &str) -> bool {
        match (parse(presented), parse(registered)) {
            (Ok(presented), Ok(registered)) => presented.matches(&registered),
            _ => false,
        }
    }

    #[test]
    fn attack_61_tricks_with_redirect_uris_are_refused() {
        for good in [
            "https://client.example/cb",
            "https://client.example",
            "https://client.example:8443/cb?x=1",
            "http://127.0.0.1:3118/callback",
            "http://localhost/callback",
            "http://[::1]:9/",
            "cursor://anysphere.cursor-mcp/oauth/callback",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/cb",
            "client.example/cb",
            "https:client.example/cb",
            "https:/client.example/cb",
            "https:///client.example/cb",
            "HTTPS://client.example/cb",
            "http://client.example/cb",
            "http://localhost.evil.example/cb",
            "http://127.0.0.1.evil.example/cb",
            "http://127.1/cb",
            "http://0x7f000001/cb",
            "http://127.0.0.1@evil.example/cb",
            "http://localhost:80@evil.example/cb",
            "https://client.example@evil.example/cb",
            "https://client.example\\@evil.example/cb",
            "https://evil.example\\.client.example/cb",
            "https://client.example/cb#fragment",
            "https://client%2eexample/cb",
            "https://client.example:x/cb",
            "https://cli\u{2024}ent.example/cb",
            "https://client.example/c b",
            "https://client.example/cb\n",
            "https://0x7f000001/cb",
            "javascript:alert(1)",
            "javascript://client.example/%0aalert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "cursorx://cb",
            "cursor:cb",
        ] {
            assert!(parse(bad).is_err(), "{bad}: {:?}", parse(bad));
        }
    }

    #[test]
    fn attack_61_only_the_port_of_a_loopback_uri_is_free() {
        for (presented, registered) in [
            ("https://client.example/cb", "https://client.example/cb"),
            ("http://127.0.0.1:3118/callback", "http://127.0.0.1/callback"),
            ("http://127.0.0.1:1/callback", "http://127.0.0.1:2/callback"),
            ("http://localhost:3118/callback", "http://localhost/callback"),
            ("http://[::1]:3118/callback", "http://[::1]/callback"),
        ] {
            assert!(matches(presented, registered), "{presented} {registered}");
        }
        for (presented, registered) in [
            ("https://client.example:8443/cb", "https://client.example/cb"),
            ("https://client.example/cb/", "https://client.example/cb"),
            ("https://client.example/cb/x", "https://client.example/cb"),
            ("https://client.example/cb?x=1", "https://client.example/cb"),
            ("https://client.example.evil/cb", "https://client.example/cb"),
            ("https://evil.client.example/cb", "https://client.example/cb"),
            ("https://client.example/CB", "https://client.example/cb"),
            ("https://client.example/x/../cb", "https://client.example/cb"),
            ("http://127.0.0.1:1/other", "http://127.0.0.1/callback"),
            ("http://127.0.0.1:1/callback?x=1", "http://127.0.0.1/callback"),
            ("http://localhost:1/callback", "http://127.0.0.1/callback"),
            ("https://127.0.0.1:1/callback", "http://127.0.0.1/callback"),
        ] {
            assert!(!matches(presented, registered), "{presented} {registered}");
        }
    }

    #[test]
    fn parameters_are_added_to_a_query() {
        let added = |text| parse(text).expect("good").with(&[("code", "a b"), ("iss", "https://x")]);
        assert_eq!(added("https://c.example/cb"), "https://c.example/cb?code=a+b&iss=https%3A%2F%2Fx");
        assert_eq!(added("https://c.example/?x=1"), "https://c.example/?x=1&code=a+b&iss=https%3A%2F%2Fx");
    }
}
