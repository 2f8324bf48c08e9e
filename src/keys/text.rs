//! Text of an API key: prefix, public id, secret.

#![expect(clippy::disallowed_methods, reason = "secrets and ids of keys are drawn here and nowhere else")]

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::config::Secret;

/// Length of the public id, in characters.
const ID_LENGTH: usize = 16;
/// Length of the secret, in characters: 32 bytes in base64url.
const SECRET_LENGTH: usize = 43;
const ID_ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// Public id of a key: it stays when the secret is rotated, and may be logged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

impl KeyId {
    /// Creates a random id.
    #[must_use]
    pub fn random() -> Self {
        let mut id = String::with_capacity(ID_LENGTH);
        while id.len() < ID_LENGTH {
            let mut bytes = [0; 2 * ID_LENGTH];
            getrandom::fill(&mut bytes).expect("the system has randomness");
            // 252 is seven times 36: every character is equally likely.
            let unbiased = bytes.into_iter().filter(|byte| *byte < 252);
            id.extend(unbiased.map(|byte| char::from(ID_ALPHABET[usize::from(byte) % 36])));
        }
        id.truncate(ID_LENGTH);
        Self(id)
    }

    /// Returns the id of a key that was bought from the first version of the contract: as [`Self::of_purchase`], over
    /// the hash alone.
    #[must_use]
    pub fn of_purchase_v1(hash: &SecretHash) -> Self {
        Self::from_digest(Sha256::digest(hash.0).into())
    }

    fn from_digest(digest: [u8; 32]) -> Self {
        Self(digest.iter().take(ID_LENGTH).map(|b| char::from(ID_ALPHABET[usize::from(*b) % 36])).collect())
    }

    /// Returns the id of a key that its owner bought with the hash of its secret: the first 16 bytes of the SHA-256 over
    /// that hash and the 20 bytes of the owner's address, each modulo 36, as characters of `[a-z0-9]`. With the owner in
    /// it, somebody else who buys the same hash gets another key, which nobody's text opens.
    #[must_use]
    pub fn of_purchase(hash: &SecretHash, owner: &[u8; 20]) -> Self {
        Self::from_digest(Sha256::new().chain_update(hash.0).chain_update(owner).finalize().into())
    }

    /// Returns the id under which the credit of one payment is spent: no stored key has it.
    #[must_use]
    pub fn of_payment(payment: &str) -> Self {
        Self::from_digest(Sha256::new().chain_update(b"payment\n").chain_update(payment).finalize().into())
    }

    /// Reads an id: 16 characters of `[a-z0-9]`; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = text.len() == ID_LENGTH && text.bytes().all(|b| ID_ALPHABET.contains(&b));
        fits.then(|| Self(text.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// SHA-256 of a secret: all that is stored of it. A secret is 256 random bits, so a
/// fast hash without salt cannot be reversed.
#[derive(Clone, Copy)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    pub(super) fn of_secret(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// Reads 64 hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// Wraps a hash that the caller computed or read.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns 64 hexadecimal digits, in lower case.
    #[must_use]
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }

    /// Returns true if both are of the same secret; compares in constant time.
    pub(super) fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hash]")
    }
}

/// A new key, or a new secret of a key. Its text exists here only and is shown once.
#[derive(Debug)]
pub struct MintedKey {
    pub id: KeyId,
    /// Complete text of the key; `Debug` hides it.
    pub text: Secret,
    pub hash: SecretHash,
}

impl MintedKey {
    pub(super) fn new(prefix: &str, id: KeyId) -> Self {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).expect("the system has randomness");
        Self::from_bytes(prefix, id, &bytes)
    }

    /// Creates a key whose secret is these bytes.
    pub(super) fn from_bytes(prefix: &str, id: KeyId, bytes: &[u8; 32]) -> Self {
        let secret = URL_SAFE_NO_PAD.encode(bytes);
        let text = Secret::from(format!("{prefix}{id}{secret}"));
        Self { id, text, hash: SecretHash::of_secret(&secret) }
    }
}

/// Splits the text of a key into its id and the hash of its secret; `None` if it has
/// another form. The prefix and the length must match exactly.
pub(super) fn parse(prefix: &str, text: &str) -> Option<(KeyId, SecretHash)> {
    let rest = text.strip_prefix(prefix)?;
    let (id, secret) = rest.split_at_checked(ID_LENGTH)?;
    let is_base64url = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if secret.len() != SECRET_LENGTH || !secret.bytes().all(is_base64url) {
        return None;
    }
    Some((KeyId::parse(id)?, SecretHash::of_secret(secret)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_key_is_read_back() {
        let minted = MintedKey::new("pryv_", KeyId::random());
        let (id, hash) = parse("pryv_", minted.text.expose()).expect("its own form");
        assert!(id == minted.id && hash.matches(&minted.hash));
        assert_eq!(minted.text.expose().len(), 5 + 16 + 43);
        assert!(SecretHash::from_hex(&hash.to_hex()).expect("hex").matches(&hash));
        assert_ne!(KeyId::random(), KeyId::random());
    }

    #[test]
    fn the_id_of_a_hash_is_what_the_readme_says() {
        let hash = SecretHash::of_secret("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(KeyId::of_purchase_v1(&hash).as_str(), "d8zy9ky01xdubctd");
        assert_eq!(KeyId::of_purchase(&hash, &[0x11; 20]).as_str(), "vt4up5dcflsvja6i");
        assert_ne!(KeyId::of_purchase(&hash, &[0x12; 20]), KeyId::of_purchase(&hash, &[0x11; 20]));
    }

    #[test]
    fn attack_24_only_the_exact_form_is_a_key() {
        let minted = MintedKey::new("pryv_", KeyId::random());
        let text = minted.text.expose();
        for wrong in [
            String::new(),
            "pryv_".to_owned(),
            text[1..].to_owned(),
            text.replacen("pryv_", "PRYV_", 1),
            text.replacen("pryv_", "pryv_live_", 1),
            text.replacen("pryv_", "pryv_pryv_", 1),
            text.replacen("pryv_", "", 1),
            text[..text.len() - 1].to_owned(),
            format!("{text}="),
            format!("{text} "),
            format!(" {text}"),
            format!("{}é", &text[..text.len() - 2]),
            format!("{}+", &text[..text.len() - 1]),
            format!("pryv_{}{}", minted.id.as_str().to_uppercase(), &text[21..]),
            "é".repeat(32),
        ] {
            assert!(parse("pryv_", &wrong).is_none(), "{wrong}");
        }
        // A prefix that begins like another is another.
        assert!(parse("pryv", text).is_none() && parse("pryv_a", text).is_none());
    }

    #[test]
    fn attack_28_keys_and_hashes_are_not_printed() {
        let minted = MintedKey::new("pryv_", KeyId::random());
        let shown = format!("{minted:?} {:?}", minted.hash);
        assert!(!shown.contains(&minted.text.expose()[21..]) && !shown.contains(&minted.hash.to_hex()));
        assert!(shown.contains(minted.id.as_str()));
    }
}
