//! Credentials: finding the one Payment credential of a request, and parsing it.

use mpp::ChallengeEcho;
use mpp::protocol::core::{PaymentCredential, PaymentPayload};
use sha2::{Digest as _, Sha256};

/// Header fields that can carry a Payment credential. The second serves
/// requests whose `Authorization` is taken by an API key.
pub const HEADERS: [&str; 2] = ["authorization", "payment-authorization"];

/// A parsed Payment credential. Its text is never logged or echoed.
pub struct Credential {
    inner: PaymentCredential,
    proof: Proof,
    fingerprint: String,
}

/// How the payer proves the payment (draft-tempo-charge-00, "Credential Schema").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// A signed transaction for the server to broadcast (pull).
    Transaction,
    /// The hash of a transaction the payer broadcast (push).
    Hash,
    /// A signature that proves who asks, for a zero amount.
    Signature,
}

impl Proof {
    /// Stable name, as stored with the payment.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transaction => "pull",
            Self::Hash => "push",
            Self::Signature => "proof",
        }
    }

    /// The inverse of [`Self::as_str`].
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Transaction, Self::Hash, Self::Signature].into_iter().find(|proof| proof.as_str() == name)
    }
}

/// Why a request's credential cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    #[error("the request carries more than one Payment credential; send exactly one")]
    Several,
    #[error("the Payment credential {0}")]
    Malformed(&'static str),
}

impl Credential {
    /// The request's Payment credential, `None` when it has none.
    ///
    /// `values` are the raw values of all [`HEADERS`] fields, in any order.
    ///
    /// # Errors
    /// [`CredentialError::Several`] (draft: more than one is a bad request) or
    /// [`CredentialError::Malformed`].
    pub fn find<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<Option<Self>, CredentialError> {
        locate(values)?.map(Self::read).transpose()
    }

    /// Reads the payload of a charge credential.
    ///
    /// # Errors
    /// [`CredentialError::Malformed`].
    pub fn read(inner: PaymentCredential) -> Result<Self, CredentialError> {
        let payload = inner.charge_payload().map_err(|_| {
            CredentialError::Malformed("has a payload that is none of `transaction`, `hash` and `proof`")
        })?;
        let proof = if payload.is_transaction() {
            Proof::Transaction
        } else if payload.is_hash() {
            Proof::Hash
        } else {
            Proof::Signature
        };
        let fingerprint = fingerprint(&inner.challenge.id, &payload);
        Ok(Self { inner, proof, fingerprint })
    }

    /// The challenge as the client echoed it: untrusted until verified.
    #[must_use]
    pub fn challenge(&self) -> &ChallengeEcho {
        &self.inner.challenge
    }

    #[must_use]
    pub fn proof(&self) -> Proof {
        self.proof
    }

    /// SHA-256 over challenge id and payload: equal for a resent credential,
    /// different for any other, and useless to whoever reads it.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// For the method's verifier.
    #[must_use]
    pub fn as_wire(&self) -> &PaymentCredential {
        &self.inner
    }

    /// The payload's text: a signed transaction, a hash or a signature.
    #[must_use]
    pub fn payload(&self) -> PaymentPayload {
        self.inner.charge_payload().expect("parsed when the credential was")
    }
}

/// The request's Payment credential, of any intent; `None` when it has none.
///
/// `values` are the raw values of all [`HEADERS`] fields, in any order.
///
/// # Errors
/// [`CredentialError::Several`] or [`CredentialError::Malformed`].
pub fn locate<'a>(
    values: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Option<PaymentCredential>, CredentialError> {
    let mut found = None;
    for value in values {
        let text = std::str::from_utf8(value)
            .ok()
            .filter(|text| text.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b)));
        let Some(text) = text else {
            // Nothing outside visible ASCII is a credential; only a value
            // that claims to be one is worth an answer.
            if value.get(..7).is_some_and(|s| s.eq_ignore_ascii_case(b"payment")) {
                return Err(CredentialError::Malformed("is not visible ASCII"));
            }
            continue;
        };
        let mut rest = text;
        while let Some(credential) = mpp::protocol::core::extract_payment_scheme(rest) {
            if found.replace(credential).is_some() {
                return Err(CredentialError::Several);
            }
            let end = credential.as_ptr() as usize - rest.as_ptr() as usize + credential.len();
            rest = &rest[end..];
        }
        if found.is_none() && starts_with_scheme(text) {
            return Err(CredentialError::Malformed("is not `Payment <base64url>`, or is longer than 64 KiB"));
        }
    }
    found.map(parse).transpose()
}

fn parse(header: &str) -> Result<PaymentCredential, CredentialError> {
    mpp::parse_authorization(header).map_err(|_| {
        CredentialError::Malformed("is not base64url-encoded JSON with the fields `challenge` and `payload`")
    })
}

/// Hex is compared by value: `0xAB` and `0xab` are one transaction.
fn fingerprint(challenge_id: &str, payload: &PaymentPayload) -> String {
    let mut hash = Sha256::new();
    hash.update(challenge_id.as_bytes());
    hash.update([0]);
    hash.update(payload.data().to_ascii_lowercase().as_bytes());
    hex::encode(hash.finalize())
}

fn starts_with_scheme(text: &str) -> bool {
    let text = text.trim_start();
    text.get(..7).is_some_and(|s| s.eq_ignore_ascii_case("payment"))
        && text[7..].chars().next().is_none_or(|c| c == ' ' || c == '\t')
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("challenge", &self.inner.challenge.id)
            .field("proof", &self.proof)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    fn token(payload: &str) -> String {
        let json = format!(
            r#"{{"challenge":{{"id":"abc","realm":"r","method":"tempo","intent":"charge","request":"e30","expires":"2030-01-01T00:00:00Z"}},"payload":{payload}}}"#
        );
        format!("Payment {}", URL_SAFE_NO_PAD.encode(json))
    }

    fn find(values: &[&str]) -> Result<Option<Proof>, CredentialError> {
        Credential::find(values.iter().map(|v| v.as_bytes())).map(|c| c.map(|c| c.proof()))
    }

    const HASH: &str = r#"{"type":"hash","hash":"0xAB"}"#;

    #[test]
    fn finds_the_one_credential_whatever_stands_beside_it() {
        let payment = token(HASH);
        assert_eq!(find(&[]), Ok(None));
        assert_eq!(find(&["Bearer pryv_x"]), Ok(None));
        assert_eq!(find(&[&payment]), Ok(Some(Proof::Hash)));
        assert_eq!(find(&["Bearer x", &payment]), Ok(Some(Proof::Hash)));
        assert_eq!(find(&[&format!("Bearer x, {payment}")]), Ok(Some(Proof::Hash)));
        assert_eq!(find(&[&payment.replace("Payment", "pAYMENT")]), Ok(Some(Proof::Hash)));
    }

    #[test]
    fn attack_04_header_parsing() {
        let payment = token(HASH);
        let malformed = [
            "Payment".to_owned(),
            "Payment ".to_owned(),
            "Payment !!!".to_owned(),
            "Payment id=\"x\"".to_owned(),
            "Payment e30".to_owned(),
            token(r#"{"type":"hash"}"#),
            token(r#"{"type":"gift","hash":"0xab"}"#),
            token("7"),
            format!("Payment {}", "A".repeat(70_000)),
            format!("{payment}é"),
        ];
        for value in &malformed {
            let result = find(&[value]);
            assert!(
                matches!(result, Err(CredentialError::Malformed(_))),
                "{result:?} for {} bytes: {:.40}",
                value.len(),
                value
            );
        }
        assert_eq!(find(&[&payment, &payment]), Err(CredentialError::Several));
        assert_eq!(find(&[&format!("{payment}, {payment}")]), Err(CredentialError::Several));
        // The scheme's name inside another scheme's quoted string is no credential.
        assert_eq!(find(&[r#"Digest realm="Payment e30""#]), Ok(None));
        assert_eq!(find(&["Digest realm=\"unterminated, Payment e30"]), Ok(None));
        // Non-Latin-1 and control bytes in a foreign scheme are not ours to judge.
        assert_eq!(find(&["Bearer \u{fffd}"]), Ok(None));
    }

    #[test]
    fn attack_04_a_16_kib_credential_is_read() {
        let payload = format!(r#"{{"type":"transaction","signature":"0x{}"}}"#, "ab".repeat(6_500));
        let value = token(&payload);
        assert!(value.len() > 16 * 1024);
        assert_eq!(find(&[&value]), Ok(Some(Proof::Transaction)));
    }

    #[test]
    fn attack_07_the_case_of_a_hash_does_not_matter() {
        let print = |payload: &str| {
            let value = token(payload);
            Credential::find([value.as_bytes()]).expect("parsed").expect("present").fingerprint().to_owned()
        };
        assert_eq!(print(HASH), print(r#"{"type":"hash","hash":"0xab"}"#));
        assert_ne!(print(HASH), print(r#"{"type":"hash","hash":"0xac"}"#));
    }

    #[test]
    fn attack_28_debug_hides_the_payload() {
        let value = token(HASH);
        let credential = Credential::find([value.as_bytes()]).expect("ok").expect("some");
        assert!(!format!("{credential:?}").contains("0xAB"));
    }
}
