//! The payment core in JSON values, as JSON-RPC transports carry it
//! (draft-payment-transport-mcp-00): challenges in an error's `data` or a result's `_meta`, the
//! credential in a request's `_meta`, the receipt in a result's `_meta`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use mpp::Base64UrlJson;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::core::{Challenge, Credential, CredentialError, Receipt};

/// The member of a result's `_meta` that says what must be paid.
pub const PAYMENT_REQUIRED: &str = "org.paymentauth/payment-required";
/// The member of a request's `_meta` that carries the credential.
pub const CREDENTIAL: &str = "org.paymentauth/credential";
/// The member of a result's `_meta` that carries the receipt.
pub const RECEIPT: &str = "org.paymentauth/receipt";

/// Longest credential, in bytes of JSON.
const MAX_CREDENTIAL: usize = 64 * 1024;
/// Largest integer that RFC 8785 writes exactly.
const MAX_EXACT: u64 = (1 << 53) - 1;

/// A challenge as a JSON object. `request` is an object, as the transport wants it; canonical JSON
/// (RFC 8785) leads back to the encoded form that the challenge's id is computed over.
///
/// # Panics
/// Never: every request is made as canonical JSON.
#[must_use]
pub fn challenge(challenge: &Challenge) -> Value {
    let request = Base64UrlJson::from_raw(&*challenge.request);
    let mut fields = json!({
        "id": challenge.id,
        "realm": &*challenge.realm,
        "method": challenge.method.as_str(),
        "intent": challenge.intent.as_str(),
        "request": request.decode_value().expect("canonical JSON"),
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
    // Clients write the challenge's request as an object, or encoded.
    let wire = mpp::mcp::extract_credential(&json!({ CREDENTIAL: value }));
    let malformed = "is not a JSON object with the fields `challenge` and `payload`";
    Credential::read(wire.ok_or(CredentialError::Malformed(malformed))?)
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
    let no_form = CredentialError::Malformed("belongs to a call whose arguments have no canonical form");
    if !is_exact(arguments) {
        return Err(no_form);
    }
    let call = json!({ "name": name, "arguments": arguments });
    let encoded = Base64UrlJson::from_value(&call).ok();
    let canonical = encoded.and_then(|encoded| URL_SAFE_NO_PAD.decode(encoded.raw()).ok()).ok_or(no_form)?;
    Ok(format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(canonical))))
}

/// True if every integer has a canonical form of its own: beyond 2^53, two of them share one.
fn is_exact(value: &Value) -> bool {
    match value {
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => whole.unsigned_abs() <= MAX_EXACT,
            (None, Some(whole)) => whole <= MAX_EXACT,
            (None, None) => true,
        },
        Value::Array(values) => values.iter().all(is_exact),
        Value::Object(fields) => fields.values().all(is_exact),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
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
        for shared in [json!([9_007_199_254_740_993_u64]), json!({ "a": { "b": i64::MIN } })] {
            assert!(digest("t", &shared).is_err(), "another number has the same form: {shared}");
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
