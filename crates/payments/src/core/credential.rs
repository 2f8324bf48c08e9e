//! Credentials: what a payer presents for a challenge.

use mpp::ChallengeEcho;
use mpp::protocol::core::PaymentCredential;
use sha2::{Digest as _, Sha256};

use super::Method;
use crate::methods;

/// A parsed credential of a charge. Its text is never logged or echoed.
pub struct Credential {
    wire: PaymentCredential,
    submission: Submission,
    fingerprint: String,
    text_fingerprint: String,
}

/// The payload of a credential as a text that identifies it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The form in which equal payloads are equal texts.
    pub canonical: String,
    /// The payload as it was written, in lower case: what identified it in payments that were stored by 0.1.0.
    pub text: String,
}

/// The party that moves the money of a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Submission {
    /// The server: the credential authorises it to (a signed transaction, an authorisation, a token).
    Pull,
    /// The payer, before it presented the credential, which names the transfer.
    Push,
    /// Nobody: a signature proves who asks, for a zero amount.
    Proof,
}

impl Submission {
    const ALL: [Self; 3] = [Self::Pull, Self::Push, Self::Proof];

    /// The stable name, as stored with the payment.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Proof => "proof",
        }
    }

    /// The inverse of [`Self::as_str`].
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|submission| submission.as_str() == name)
    }
}

/// Reason that a request's credential cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    #[error("the request carries more than one Payment credential; send exactly one")]
    Several,
    #[error("the Payment credential {0}")]
    Malformed(&'static str),
}

impl Credential {
    /// Reads the payload of a charge credential, as the method that its challenge names has it.
    /// A method that is unknown here is left to the challenge's verification, which says so.
    ///
    /// # Errors
    /// [`CredentialError::Malformed`].
    pub fn read(wire: PaymentCredential) -> Result<Self, CredentialError> {
        let method = Method::parse(wire.challenge.method.as_str()).unwrap_or(Method::Tempo);
        let (submission, identity) = methods::read_charge(method, &wire)?;
        let challenge = &wire.challenge.id;
        let (fingerprint, text_fingerprint) =
            (fingerprint(challenge, &identity.canonical), fingerprint(challenge, &identity.text));
        Ok(Self { wire, submission, fingerprint, text_fingerprint })
    }

    /// The challenge as the client echoed it: untrusted until verified.
    #[must_use]
    pub const fn challenge(&self) -> &ChallengeEcho {
        &self.wire.challenge
    }

    /// The party that moves the money.
    #[must_use]
    pub const fn submission(&self) -> Submission {
        self.submission
    }

    /// SHA-256 over challenge id and payload: equal for a resent credential,
    /// different for any other, and useless to whoever reads it.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// True if a stored payment was made with this credential.
    #[must_use]
    pub fn is_of(&self, fingerprint: &str) -> bool {
        [&self.fingerprint, &self.text_fingerprint].iter().any(|own| *own == fingerprint)
    }

    /// The credential on the wire, for the method's verifier.
    #[must_use]
    pub const fn as_wire(&self) -> &PaymentCredential {
        &self.wire
    }
}

/// `identity` is the payload in the form in which equal payloads are equal texts.
fn fingerprint(challenge_id: &str, identity: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(challenge_id.as_bytes());
    hash.update([0]);
    hash.update(identity.as_bytes());
    hex::encode(hash.finalize())
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("challenge", &self.wire.challenge.id)
            .field("submission", &self.submission)
            .finish_non_exhaustive()
    }
}
