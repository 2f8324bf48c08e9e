//! The payment core in HTTP header fields (draft-httpauth-payment-00): `WWW-Authenticate`,
//! `Authorization` and `Payment-Receipt`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mpp::protocol::core::PaymentCredential;
use mpp::protocol::core::accept_payment::HasMethodIntent;

use crate::core::{Challenge, Credential, CredentialError, Offer, Receipt};

/// Header field of a credential where `Authorization` is taken by an API key, as challenges name it.
pub const PAYMENT_AUTHORIZATION: &str = "Payment-Authorization";
/// Header fields that can carry a Payment credential. The second serves
/// requests whose `Authorization` is taken by an API key.
pub const CREDENTIAL_HEADERS: [&str; 2] = ["authorization", "payment-authorization"];

/// A challenge as one `WWW-Authenticate` field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChallengeHeader {
    /// The challenge's id.
    pub id: String,
    /// The field's value.
    pub value: String,
}

impl ChallengeHeader {
    /// The field of a challenge. `carrier` is the header that its credential must come in, where that
    /// is not `Authorization`.
    #[must_use]
    pub fn new(challenge: &Challenge, carrier: Option<&str>) -> Self {
        let mut value = String::with_capacity(320 + challenge.request.len() + challenge.opaque.len());
        value.push_str("Payment id=\"");
        value.push_str(&challenge.id);
        // Every value is ours and free of quotes and controls, except the description, which is quoted.
        for (name, parameter) in [
            ("realm", &*challenge.realm),
            ("method", challenge.method.as_str()),
            ("intent", challenge.intent.as_str()),
            ("request", &*challenge.request),
            ("expires", challenge.expires.as_str()),
            ("digest", challenge.digest.as_deref().unwrap_or_default()),
            ("opaque", challenge.opaque.as_str()),
        ] {
            if !parameter.is_empty() {
                value.push_str("\", ");
                value.push_str(name);
                value.push_str("=\"");
                value.push_str(parameter);
            }
        }
        value.push_str("\", description=\"");
        push_quoted(&mut value, &challenge.description);
        value.push('"');
        if let Some(carrier) = carrier {
            value.push_str(", header=\"");
            value.push_str(carrier);
            value.push('"');
        }
        Self { id: challenge.id.clone(), value }
    }
}

/// The inside of a quoted-string (RFC 9110, section 5.6.4): ASCII only, so
/// that no intermediary can read it differently.
fn push_quoted(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            ' '..='~' => out.push(c),
            _ => out.push('?'),
        }
    }
}

/// The `Payment-Receipt` value of a receipt.
#[must_use]
pub fn receipt(receipt: &Receipt) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(receipt).expect("a receipt is plain strings"))
}

/// The receipt of a `Payment-Receipt` value; `None` when it is none of ours.
#[must_use]
pub fn parse_receipt(value: &str) -> Option<Receipt> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(value).ok()?).ok()
}

impl HasMethodIntent for Offer {
    fn method(&self) -> &str {
        crate::core::Offered::method(self).as_str()
    }

    fn intent(&self) -> &str {
        crate::core::Offered::intent(self).as_str()
    }
}

/// Orders and filters offers by the client's `Accept-Payment` header.
///
/// A malformed header, or one that matches nothing, is ignored, as the draft
/// allows ("Client Payment Preferences"): the client still gets an offer.
#[must_use]
pub fn by_preference<'a>(offers: &'a [Offer], accept_payment: Option<&str>) -> Vec<&'a Offer> {
    let ranked = accept_payment
        .and_then(|header| mpp::accept_payment::parse(header).ok())
        .map(|preferences| mpp::accept_payment::rank(offers, &preferences));
    match ranked {
        Some(ranked) if !ranked.is_empty() => ranked,
        _ => offers.iter().collect(),
    }
}

/// The request's charge credential; `None` when it has none.
///
/// `values` are the raw values of all [`CREDENTIAL_HEADERS`] fields, in any order.
///
/// # Errors
/// [`CredentialError::Several`] (draft: more than one is a bad request) or
/// [`CredentialError::Malformed`].
pub fn charge_credential<'a>(
    values: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Option<Credential>, CredentialError> {
    credential(values)?.map(Credential::read).transpose()
}

/// The request's Payment credential, of any intent; `None` when it has none.
///
/// `values` are the raw values of all [`CREDENTIAL_HEADERS`] fields, in any order.
///
/// # Errors
/// [`CredentialError::Several`] or [`CredentialError::Malformed`].
pub fn credential<'a>(
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

fn starts_with_scheme(text: &str) -> bool {
    let text = text.trim_start();
    text.get(..7).is_some_and(|s| s.eq_ignore_ascii_case("payment"))
        && text[7..].chars().next().is_none_or(|c| c == ' ' || c == '\t')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Submission;

    fn token(payload: &str) -> String {
        let json = format!(
            r#"{{"challenge":{{"id":"abc","realm":"r","method":"tempo","intent":"charge","request":"e30","expires":"2030-01-01T00:00:00Z"}},"payload":{payload}}}"#
        );
        format!("Payment {}", URL_SAFE_NO_PAD.encode(json))
    }

    fn find(values: &[&str]) -> Result<Option<Submission>, CredentialError> {
        charge_credential(values.iter().map(|v| v.as_bytes())).map(|c| c.map(|c| c.submission()))
    }

    const HASH: &str = r#"{"type":"hash","hash":"0xAB"}"#;

    #[test]
    fn finds_the_one_credential_whatever_stands_beside_it() {
        let payment = token(HASH);
        assert_eq!(find(&[]), Ok(None));
        assert_eq!(find(&["Bearer pryv_x"]), Ok(None));
        assert_eq!(find(&[&payment]), Ok(Some(Submission::Push)));
        assert_eq!(find(&["Bearer x", &payment]), Ok(Some(Submission::Push)));
        assert_eq!(find(&[&format!("Bearer x, {payment}")]), Ok(Some(Submission::Push)));
        assert_eq!(find(&[&payment.replace("Payment", "pAYMENT")]), Ok(Some(Submission::Push)));
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
        assert_eq!(find(&[&value]), Ok(Some(Submission::Pull)));
    }

    #[test]
    fn attack_07_the_case_of_a_hash_does_not_matter() {
        let print = |payload: &str| {
            let value = token(payload);
            charge_credential([value.as_bytes()]).expect("parsed").expect("present").fingerprint().to_owned()
        };
        assert_eq!(print(HASH), print(r#"{"type":"hash","hash":"0xab"}"#));
        assert_ne!(print(HASH), print(r#"{"type":"hash","hash":"0xac"}"#));
    }

    #[test]
    fn attack_28_debug_hides_the_payload() {
        let value = token(HASH);
        let credential = charge_credential([value.as_bytes()]).expect("ok").expect("some");
        assert!(!format!("{credential:?}").contains("0xAB"));
    }
}
