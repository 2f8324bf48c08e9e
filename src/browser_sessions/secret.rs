//! Secrets of sessions, as cookies carry them.

#![expect(clippy::disallowed_methods, reason = "secrets of sessions are drawn here and nowhere else")]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::config::Secret;

/// Length of a secret, in characters: 32 bytes in base64url.
const LENGTH: usize = 43;
/// Bytes of a session's public name.
const ID_BYTES: usize = 12;

/// A new session's name, its secret, and the hash that is stored of it.
#[derive(Debug)]
pub struct MintedSession {
    pub id: String,
    /// Text of the cookie; `Debug` hides it.
    pub secret: Secret,
    pub hash: SessionHash,
}

/// SHA-256 of a secret, in hexadecimal: all that is stored. The secret is 256 bits that nobody can guess, so a fast hash
/// without salt cannot be reversed, and looking it up tells nothing by its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionHash(String);

impl SessionHash {
    /// Returns the hash of a text that can be a secret.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (text.len() == LENGTH && text.bytes().all(plain)).then(|| Self::of(text))
    }

    fn of(text: &str) -> Self {
        Self(hex::encode(Sha256::digest(text.as_bytes())))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl MintedSession {
    /// Draws a name and a secret.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = [0; 32 + ID_BYTES];
        getrandom::fill(&mut bytes).expect("the system has randomness");
        let (secret, id) = bytes.split_at(32);
        let text = URL_SAFE_NO_PAD.encode(secret);
        Self { id: hex::encode(id), hash: SessionHash::of(&text), secret: Secret::from(text) }
    }
}
