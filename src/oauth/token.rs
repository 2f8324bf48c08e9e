//! Codes and tokens: their texts, and the rule by which refresh tokens are rotated.

#![expect(clippy::disallowed_methods, reason = "codes and access tokens are drawn here and nowhere else")]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::config::Secret;
use crate::id::Timestamp;
use crate::seal::Sealer;

/// Time for which a code can be exchanged, in milliseconds.
pub const CODE_TTL_MS: i64 = 60_000;
/// Time for which an access token opens the resource, in milliseconds.
pub const ACCESS_TTL_MS: i64 = 3_600_000;
/// Time for which a used refresh token gets the newest token of its chain, in milliseconds: another process of the client
/// may have been faster, and faster again.
pub const RETRY_MS: i64 = 60_000;
/// Label of refresh tokens, which follow from one another.
const SUCCESSOR: &str = "refresh";
/// Length of the random part, in characters: 32 bytes in base64url.
const RANDOM_LENGTH: usize = 43;

/// Kind of a code or token, by the beginning of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OauthTokenKind {
    Code,
    Access,
    Refresh,
}

impl OauthTokenKind {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Code => "oac_",
            Self::Access => "oat_",
            Self::Refresh => "ort_",
        }
    }
}

/// A code or token, and the hash that is stored of it.
#[derive(Debug)]
pub struct MintedToken {
    /// Text; `Debug` hides it.
    pub text: Secret,
    pub hash: TokenHash,
}

/// SHA-256 of a code or token, in hexadecimal: all that is stored. The text is 256 bits that nobody can guess, so a fast
/// hash without salt cannot be reversed, and looking it up tells nothing by its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenHash(String);

impl TokenHash {
    fn of(text: &str) -> Self {
        Self(hex::encode(Sha256::digest(text.as_bytes())))
    }

    /// Returns the hash of a text that can be a code or token of that kind.
    #[must_use]
    pub fn read(kind: OauthTokenKind, text: &str) -> Option<Self> {
        let random = text.strip_prefix(kind.prefix())?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (random.len() == RANDOM_LENGTH && random.bytes().all(plain)).then(|| Self::of(text))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl MintedToken {
    fn of(kind: OauthTokenKind, bytes: [u8; 32]) -> Self {
        let text = format!("{}{}", kind.prefix(), URL_SAFE_NO_PAD.encode(bytes));
        Self { hash: TokenHash::of(&text), text: Secret::from(text) }
    }

    /// Draws a code, or a token that follows from nothing.
    #[must_use]
    pub fn random(kind: OauthTokenKind) -> Self {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).expect("the system has randomness");
        Self::of(kind, bytes)
    }

    /// Returns the refresh tokens that can follow from a code or refresh token: the first is that of the server's secret of
    /// now, then comes that of the secret before. Nothing of them is stored, and whoever presents the same token gets the
    /// same successor.
    pub fn successors(sealer: &Sealer, presented: &str) -> impl Iterator<Item = Self> {
        sealer.derive(SUCCESSOR, presented).map(|bytes| Self::of(OauthTokenKind::Refresh, bytes))
    }
}

/// Consequence of presenting a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// It gets a successor and is used.
    First,
    /// It was used a moment ago, and gets the unused token that it led to.
    Retry,
    /// It was used long ago, and gets its successor if that is unused: the answer was lost. Otherwise somebody else may
    /// have it, so its family ends.
    Late,
}

impl Rotation {
    /// Decides by the time at which the token was used.
    #[must_use]
    pub fn of(used_at: Option<Timestamp>, now: Timestamp) -> Self {
        // Clocks of instances differ: a use in the future was a moment ago.
        let age = used_at.map(|used_at| now.checked_millis_since(used_at).unwrap_or(i64::MAX));
        match age {
            None => Self::First,
            Some(age) if age < RETRY_MS => Self::Retry,
            Some(_) => Self::Late,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_used_token_is_retried_for_a_minute() {
        let at = Timestamp::from_millis;
        assert_eq!(Rotation::of(None, at(0)), Rotation::First);
        for (now, expected) in [
            (99_000, Rotation::Retry),
            (100_000, Rotation::Retry),
            (159_999, Rotation::Retry),
            (160_000, Rotation::Late),
            (i64::MAX, Rotation::Late),
        ] {
            assert_eq!(Rotation::of(Some(at(100_000)), at(now)), expected, "{now}");
        }
    }

    #[test]
    fn successors_follow_from_the_secret_and_the_token() {
        let [first, second] = ["a", "b"].map(Secret::from);
        let (old, new) = (Sealer::new(&first, None), Sealer::new(&second, Some(&first)));
        let texts = |sealer: &Sealer, token: &str| {
            let tokens = MintedToken::successors(sealer, token);
            tokens.map(|token| token.text.expose().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(texts(&old, "x"), texts(&old, "x"));
        assert_eq!(texts(&new, "x")[1], texts(&old, "x")[0]);
        assert_ne!(texts(&old, "x"), texts(&old, "y"));
    }

    #[test]
    fn attack_28_tokens_are_not_printed() {
        let token = MintedToken::random(OauthTokenKind::Access);
        assert!(!format!("{token:?}").contains(&token.text.expose()[4..]));
        assert_eq!(TokenHash::read(OauthTokenKind::Access, token.text.expose()), Some(token.hash));
        assert_eq!(TokenHash::read(OauthTokenKind::Refresh, token.text.expose()), None);
        assert_eq!(TokenHash::read(OauthTokenKind::Access, "pryv_abc"), None);
    }
}
