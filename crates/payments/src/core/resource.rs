//! Resources: what a challenge belongs to.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mpp::protocol::core::Base64UrlJson;
use serde::Serialize;
use uuid::Uuid;
use uuid::fmt::Simple;

use farebox_types::id::AccountId;

/// The operation that a challenge belongs to: `POST /mpp/pii/preview` over HTTP,
/// `mcp:tools/call:pii_preview` over MCP.
///
/// It travels in the challenge's `opaque` parameter, which is bound by the
/// challenge id, so a credential bought for one resource opens no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    name: String,
}

impl Resource {
    /// The resource of an HTTP request. `query` is part of it: `?a=1` is another resource than `?a=2`.
    #[must_use]
    pub fn http(method: &str, path: &str, query: Option<&str>) -> Self {
        let name = match query {
            Some(query) => format!("{method} {path}?{query}"),
            None => format!("{method} {path}"),
        };
        Self { name }
    }

    /// The resource of a session: the path, whatever the HTTP method. Vouchers for a
    /// POST may come by HEAD ("Voucher Submission Transport"), and the query is
    /// not part of what is metered.
    #[must_use]
    pub fn path(path: &str) -> Self {
        Self { name: path.to_owned() }
    }

    /// The resource of a call of an MCP tool (draft-payment-transport-mcp-00).
    #[must_use]
    pub fn mcp_tool(tool: &str) -> Self {
        Self { name: format!("mcp:tools/call:{tool}") }
    }

    /// Operation of this name for one account only: what tops an account up is for that account.
    #[must_use]
    pub fn of_account(self, account: &AccountId) -> Self {
        Self { name: format!("{}?account={account}", self.name) }
    }

    /// The stable name, as stored with payments and bound into challenges.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The `opaque` parameter of one challenge: base64url of canonical JSON.
    ///
    /// The nonce makes its id unique. Without it two customers who send the
    /// same request within a millisecond would share a challenge, and the one
    /// who pays last would have paid for nothing.
    #[must_use]
    pub fn opaque(&self, nonce: Uuid) -> String {
        // Every unpaid request passes here, so the canonical form (RFC 8785) is written directly:
        // the names in order, and strings as serde_json writes them anyway.
        #[derive(Serialize)]
        struct Opaque<'a> {
            nonce: &'a str,
            route: &'a str,
        }
        let mut digits = [0; Simple::LENGTH];
        let opaque = Opaque { nonce: nonce.simple().encode_lower(&mut digits), route: &self.name };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&opaque).expect("two strings are valid JSON"))
    }

    /// True if this `opaque` parameter, known to be ours, names this resource.
    #[must_use]
    pub fn is_named_by(&self, opaque: &Base64UrlJson) -> bool {
        opaque.decode_value().is_ok_and(|named| named["route"] == self.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_opaque_parameter_is_canonical_json() {
        let nonce = Uuid::from_u128(7);
        for query in ["", "a=1&b=%22", "\"\\/\u{7f}\u{1}\u{8}\t\u{2028}é😀<>"] {
            let resource = Resource::http("POST", "/mpp", Some(query));
            let canonical = json!({ "route": resource.name(), "nonce": nonce.simple().to_string() });
            let canonical = Base64UrlJson::from_value(&canonical).expect("JSON");
            assert_eq!(resource.opaque(nonce), canonical.raw());
            assert!(resource.is_named_by(&canonical));
        }
    }
}
