//! Signatures of webhooks. Pure.
//!
//! `Stripe-Signature: t=<Unix seconds>,v1=<hex>,…`: HMAC-SHA256 over `<t>.<body>`, keyed with the
//! endpoint's secret. Several `v1` stand there while a secret is rotated.

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::id::Timestamp;

/// Greatest difference between the signature's time and ours, in seconds: a recorded webhook cannot be
/// replayed for longer, and one that was accepted does nothing the second time anyway.
const TOLERANCE_SECONDS: i64 = 300;
/// The most signatures of one header that are checked.
const MAX_SIGNATURES: usize = 16;

/// Reason a webhook is refused. Says nothing about the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("the Stripe-Signature header is missing or malformed: it must be `t=<seconds>,v1=<hex>`")]
    Malformed,
    #[error("the time of the Stripe-Signature differs from ours by more than 300 seconds")]
    Time,
    #[error("the Stripe-Signature was not made with this endpoint's secret over this body")]
    Forged,
}

/// Checks the header against the raw body.
///
/// # Errors
/// [`SignatureError`].
pub fn verify(secret: &str, header: &str, body: &[u8], now: Timestamp) -> Result<(), SignatureError> {
    let mut time = None;
    let mut signatures = Vec::new();
    for part in header.split(',') {
        match part.trim().split_once('=') {
            Some(("t", seconds)) if time.is_none() => time = Some(seconds),
            Some(("v1", hex)) if signatures.len() < MAX_SIGNATURES => {
                signatures.extend(hex::decode(hex).ok());
            }
            Some((name, _)) if name != "t" => {} // Other schemes are for other readers.
            Some(_) | None => return Err(SignatureError::Malformed),
        }
    }
    let text = time.ok_or(SignatureError::Malformed)?;
    let seconds: i64 = text.parse().map_err(|_| SignatureError::Malformed)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac.update(b".");
    mac.update(body);
    // `verify_slice` takes the same time for every wrong signature.
    if !signatures.iter().any(|signature| mac.clone().verify_slice(signature).is_ok()) {
        return Err(SignatureError::Forged);
    }
    match now.seconds().checked_sub(seconds) {
        Some(age) if age.unsigned_abs() <= TOLERANCE_SECONDS.unsigned_abs() => Ok(()),
        Some(_) | None => Err(SignatureError::Time),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "whsec_test";
    const BODY: &[u8] = br#"{"id":"evt_1"}"#;
    const NOW: i64 = 1_800_000_000;

    fn sign(seconds: i64, secret: &str, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
        mac.update(format!("{seconds}.").as_bytes());
        mac.update(body);
        hex::encode(mac.finalize().into_bytes())
    }

    fn check(header: &str) -> Result<(), SignatureError> {
        verify(SECRET, header, BODY, Timestamp::from_millis(NOW * 1000))
    }

    #[test]
    fn attack_22_only_a_fresh_signature_over_the_very_body_counts() {
        let good = sign(NOW, SECRET, BODY);
        let wrong = sign(NOW, "whsec_other", BODY);
        for header in [
            format!("t={NOW},v1={good}"),
            format!("t={NOW}, v1={wrong}, v1={good}, v0=abc"),
            format!("v1={good},t={NOW}"),
            format!("t={NOW},v1={}", good.to_uppercase()),
        ] {
            assert_eq!(check(&header), Ok(()), "{header}");
        }
        for seconds in [NOW - 300, NOW + 300] {
            assert_eq!(check(&format!("t={seconds},v1={}", sign(seconds, SECRET, BODY))), Ok(()));
        }
        for seconds in [NOW - 301, NOW + 301, 0, -1, i64::MIN, i64::MAX] {
            let header = format!("t={seconds},v1={}", sign(seconds, SECRET, BODY));
            assert_eq!(check(&header), Err(SignatureError::Time), "{seconds}");
        }
        for (header, error) in [
            (format!("t={NOW},v1={wrong}"), SignatureError::Forged),
            (format!("t={},v1={good}", NOW - 1), SignatureError::Forged),
            (format!("t={NOW},v0={good}"), SignatureError::Forged),
            (format!("t={NOW},v1={}", &good[..62]), SignatureError::Forged),
            (format!("t={NOW},v1={good}00"), SignatureError::Forged),
            (format!("t={NOW},v1="), SignatureError::Forged),
            (format!("t={NOW}"), SignatureError::Forged),
            (format!("v1={good}"), SignatureError::Malformed),
            (format!("t={NOW},t={NOW},v1={good}"), SignatureError::Malformed),
            (format!("t=now,v1={good}"), SignatureError::Malformed),
            (String::new(), SignatureError::Malformed),
            (good.clone(), SignatureError::Malformed),
        ] {
            assert_eq!(check(&header), Err(error), "{header}");
        }
        let header = format!("t={NOW},v1={}", sign(NOW, SECRET, b"{\"id\": \"evt_1\"}"));
        assert_eq!(check(&header), Err(SignatureError::Forged), "the same JSON is not the same bytes");
    }

    proptest! {
        #[test]
        fn no_header_panics(header in "\\PC{0,80}|(t=[0-9-]{0,25},?|v1=[0-9a-f]{0,70},?){0,5}") {
            prop_assert!(check(&header).is_err());
        }
    }
}
