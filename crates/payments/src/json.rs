//! The payment core in JSON values, as JSON-RPC transports carry it
//! (draft-payment-transport-mcp-00): challenges in an error's `data` or a result's `_meta`, the
//! credential in a request's `_meta`, the receipt in a result's `_meta`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::core::{Challenge, Credential, CredentialError, Receipt};

/// The member of a result's `_meta` that says what must be paid.
pub const PAYMENT_REQUIRED: &str = "org.paymentauth/payment-required";
/// The member of a request's `_meta` that carries the credential.
pub const CREDENTIAL: &str = "org.paymentauth/credential";
/// The member of a result's `_meta` that carries the receipt.
pub const RECEIPT: &str = "org.paymentauth/receipt";

/// Longest credential, in bytes of JSON: as long as one in a header may be.
const MAX_CREDENTIAL: usize = 64 * 1024;

/// A challenge as a JSON object. `request` and `opaque` stay in the encoded form that the challenge's
/// id is computed over.
#[must_use]
pub fn challenge(challenge: &Challenge) -> Value {
    let mut fields = json!({
        "id": challenge.id,
        "realm": &*challenge.realm,
        "method": challenge.method.as_str(),
        "intent": challenge.intent.as_str(),
        "request": &*challenge.request,
        "expires": challenge.expires,
        "opaque": challenge.opaque,
        "description": &*challenge.description,
    });
    if let Some(digest) = &challenge.digest {
        fields["digest"] = json!(digest);
    }
    fields
}

/// The charge credential in a JSON value.
///
/// # Errors
/// [`CredentialError::Malformed`].
pub fn charge_credential(value: &Value) -> Result<Credential, CredentialError> {
    if value.to_string().len() > MAX_CREDENTIAL {
        return Err(CredentialError::Malformed("is longer than 64 KiB"));
    }
    let wire = serde_json::from_value(value.clone()).map_err(|_| {
        CredentialError::Malformed("is not a JSON object with the fields `challenge` and `payload`")
    })?;
    Credential::read(wire)
}

/// A receipt as a JSON object.
#[must_use]
pub fn receipt(receipt: &Receipt) -> Value {
    serde_json::to_value(receipt).expect("a receipt is plain strings")
}

/// The digest of a call that challenges are bound to: SHA-256 over the canonical form (RFC 8785) of
/// its name and arguments, in the form of RFC 9530. A retry has another JSON-RPC id and the same digest.
///
/// # Errors
/// [`CredentialError::Malformed`] if the arguments have no canonical form.
pub fn digest(name: &str, arguments: &Value) -> Result<String, CredentialError> {
    let call = json!({ "name": name, "arguments": arguments });
    let canonical = mpp::Base64UrlJson::from_value(&call)
        .ok()
        .and_then(|encoded| base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(encoded.raw()).ok())
        .ok_or(CredentialError::Malformed("belongs to a call whose arguments have no canonical form"))?;
    Ok(format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(canonical))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_a_call_does_not_depend_on_the_order_of_members() {
        let one = digest("t", &json!({ "b": 1, "a": { "d": 2, "c": "é" } })).expect("canonical");
        let two = digest("t", &json!({ "a": { "c": "é", "d": 2 }, "b": 1 })).expect("canonical");
        assert_eq!(one, two);
        for (name, arguments) in [("u", json!({ "b": 1 })), ("t", json!({ "b": 2 })), ("t", json!({}))] {
            assert_ne!(digest(name, &arguments).expect("canonical"), one);
        }
    }

    #[test]
    fn attack_04_a_credential_in_json_is_read_strictly() {
        let malformed = [
            json!(null),
            json!("Payment e30"),
            json!([]),
            json!({}),
            json!({ "challenge": {}, "payload": {} }),
            json!({ "challenge": { "id": "a" }, "payload": { "type": "hash", "hash": "0xab" } }),
            json!({ "filler": "A".repeat(70_000) }),
        ];
        for value in malformed {
            let result = charge_credential(&value);
            assert!(matches!(result, Err(CredentialError::Malformed(_))), "{result:?}");
        }
    }
}
