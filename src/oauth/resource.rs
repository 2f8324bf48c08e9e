//! Resource indicators (RFC 8707): the one resource that tokens are for. Pure.

use url::Url;

/// Path of the resource below its origin.
const PATH: &str = "/mcp";

/// The MCP server, as the audience of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceServer {
    /// `https://mcp.example.com`.
    origin: String,
    /// `https://mcp.example.com/mcp`.
    resource: String,
}

impl ResourceServer {
    #[must_use]
    pub fn new(origin: &str) -> Self {
        Self { origin: origin.to_owned(), resource: format!("{origin}{PATH}") }
    }

    /// Returns the canonical URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.resource
    }

    /// Returns the URL of its metadata (RFC 9728, section 3.1).
    #[must_use]
    pub fn metadata_url(&self) -> String {
        format!("{}/.well-known/oauth-protected-resource{PATH}", self.origin)
    }

    /// Returns true if a text names it: the URL itself, the origin alone, either with a slash at the end.
    #[must_use]
    pub fn is_named_by(&self, text: &str) -> bool {
        let (Ok(named), Ok(own)) = (Url::parse(text), Url::parse(&self.origin)) else { return false };
        named.origin() == own.origin()
            && named.username().is_empty()
            && named.password().is_none()
            && named.query().is_none()
            && named.fragment().is_none()
            && ["", "/", PATH, "/mcp/"].contains(&named.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_64_only_our_resource_is_named_in_its_four_spellings() {
        let own = ResourceServer::new("https://mcp.example.com");
        for good in [
            "https://mcp.example.com/mcp",
            "https://mcp.example.com/mcp/",
            "https://mcp.example.com",
            "https://mcp.example.com/",
            "https://MCP.example.com:443/mcp",
        ] {
            assert!(own.is_named_by(good), "{good}");
        }
        for bad in [
            "",
            "mcp.example.com",
            "http://mcp.example.com/mcp",
            "https://mcp.example.com:8443/mcp",
            "https://mcp.example.com.evil/mcp",
            "https://evil.example/mcp",
            "https://mcp.example.com@evil.example/mcp",
            "https://x@mcp.example.com/mcp",
            "https://mcp.example.com/mcp2",
            "https://mcp.example.com/v1",
            "https://mcp.example.com/mcp?x",
            "https://mcp.example.com/mcp#x",
        ] {
            assert!(!own.is_named_by(bad), "{bad}");
        }
    }
}
