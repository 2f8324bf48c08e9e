//! Proof Key for Code Exchange (RFC 7636), method S256 alone. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Length of a challenge: SHA-256 in base64url.
const CHALLENGE_LENGTH: usize = 43;
/// Lengths of a verifier (RFC 7636, section 4.1).
const VERIFIER_LENGTHS: std::ops::RangeInclusive<usize> = 43..=128;

/// `code_challenge` of an authorization request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeChallenge(String);

impl CodeChallenge {
    /// Reads a challenge; `None` unless it can be a SHA-256 in base64url.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_hash = text.len() == CHALLENGE_LENGTH && URL_SAFE_NO_PAD.decode(text).is_ok();
        is_hash.then(|| Self(text.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if it is the hash of this verifier. A verifier of another form is nobody's.
    #[must_use]
    pub fn is_of(&self, verifier: &str) -> bool {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
        if !VERIFIER_LENGTHS.contains(&verifier.len()) || !verifier.bytes().all(allowed) {
            return false;
        }
        let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
        hash.as_bytes().ct_eq(self.0.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_7636_and_nothing_else_is_accepted() {
        let challenge =
            CodeChallenge::parse("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM").expect("a challenge");
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert!(challenge.is_of(verifier));
        // The challenge itself is the verifier of the method `plain`.
        for wrong in [&verifier[1..], &format!("{verifier}="), challenge.as_str(), "", &"a".repeat(129)] {
            assert!(!challenge.is_of(wrong), "{wrong}");
        }
        for wrong in ["", "plain", &verifier[1..], &format!("{}+", &verifier[1..]), &"a".repeat(44)] {
            assert_eq!(CodeChallenge::parse(wrong), None, "{wrong}");
        }
    }
}
