//! Sign-in of a person: an EIP-4361 message that this server wrote, signed by a wallet.
//!
//! Nothing is kept of a message that was written: its nonce ends with a MAC over all that varies in it, and the message
//! that comes back must be the very text which follows from these. Its statement names no action in the form of
//! [`super::message`], so it counts for nothing else, and no message of those forms counts here.

use alloy::primitives::Address;
use subtle::ConstantTimeEq as _;

use super::message::ParsedMessage;
use super::siwe::GREETING;
use super::verify::verify_signature;
use super::{AuthError, MessageOrigin, VerifiedMessage, WalletAction, WalletAuthFields};
use crate::chain::Chain;
use crate::config::Config;
use crate::id::Timestamp;
use crate::seal::Sealer;

/// Time for which a message can be used, in milliseconds.
pub const TTL_MS: i64 = 5 * 60_000;
/// Label of the MAC in a nonce.
const LABEL: &str = "sign-in";
/// Characters of the random part of a nonce, and of its MAC.
const HALF: usize = 32;

/// Refusal of a message that this server did not write, or not like this.
const OTHER: AuthError = AuthError::Message(
    "the message is not one that POST /api/v1/auth/challenge of this server wrote; ask for one, and sign it unchanged",
);

/// Writer and reader of sign-in messages.
#[derive(Clone)]
pub struct SignIn {
    sealer: Sealer,
    origin: MessageOrigin,
    /// Product that people sign in to.
    product: String,
    chain_id: u64,
}

impl SignIn {
    /// Makes the writer of a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            sealer: Sealer::new(&config.payments.secret, config.payments.previous_secret.as_ref()),
            origin: MessageOrigin::new(config.dashboard_url()),
            product: config.product.name.clone(),
            chain_id: config.chain.chain_id,
        }
    }

    /// Returns a message for a wallet to sign. The zero address stands for a wallet that is not known yet. `random` is 32
    /// hexadecimal digits.
    #[must_use]
    pub fn message(&self, wallet: Address, random: &str, now: Timestamp) -> String {
        // A message has its time in whole milliseconds, as it is read again.
        let mac = self.macs(wallet, random, now).next().unwrap_or_default();
        self.write(wallet, &format!("{random}{mac}"), now)
    }

    /// MACs of what varies in a message: by the secret of now, then by the one before.
    fn macs(&self, wallet: Address, random: &str, issued: Timestamp) -> impl Iterator<Item = String> + use<> {
        let input = format!("{}\0{wallet:#x}\0{random}\0{}", self.origin.origin, issued.millis());
        self.sealer
            .derive(LABEL, &input)
            .map(|mac| hex::encode(&mac[..HALF / 2]))
            .collect::<Vec<_>>()
            .into_iter()
    }

    fn write(&self, wallet: Address, nonce: &str, issued: Timestamp) -> String {
        let Self { origin: MessageOrigin { origin, host }, product, chain_id, .. } = self;
        let wallet = wallet.to_checksum(None);
        let ends = issued.checked_add_millis(TTL_MS).unwrap_or(issued).to_rfc3339();
        format!(
            "{host}{GREETING}\n{wallet}\n\nSign in to {product}. This browser may then show the account, begin card payments, \
             revoke keys and lower their limits. It costs nothing.\n\nURI: {origin}/dashboard\nVersion: 1\nChain ID: \
             {chain_id}\nNonce: {nonce}\nIssued At: {}\nExpiration Time: {ends}",
            issued.to_rfc3339()
        )
    }

    /// Returns the time at which this server wrote a message for `wallet`, and the nonce in it.
    fn read<'a>(&self, text: &'a str, wallet: Address) -> Result<(&'a str, Timestamp), AuthError> {
        let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).ok_or(OTHER);
        let (nonce, issued) = (line("Nonce: ")?, line("Issued At: ")?);
        let issued = Timestamp::parse_rfc3339(issued).ok_or(OTHER)?;
        let (random, mac) = nonce.split_at_checked(HALF).ok_or(OTHER)?;
        let is_ours = |named: Address| {
            // Each is compared, so that the time tells nothing.
            let known = self.macs(named, random, issued);
            let is_known =
                known.fold(false, |found, known| bool::from(known.as_bytes().ct_eq(mac.as_bytes())) | found);
            is_known && self.write(named, nonce, issued) == text
        };
        if is_ours(wallet) || is_ours(Address::ZERO) { Ok((nonce, issued)) } else { Err(OTHER) }
    }

    /// Verifies a message that came back, and its signature. `may_ask_chain` is that of [`super::verify`].
    ///
    /// # Errors
    /// As [`super::verify`].
    pub async fn verify(
        &self,
        chain: &Chain,
        fields: WalletAuthFields<'_>,
        now: Timestamp,
        may_ask_chain: impl FnOnce() -> Result<(), u32>,
    ) -> Result<VerifiedMessage, AuthError> {
        let (account, wallet) = super::verify::read_wallet(fields.wallet)?;
        let (nonce, issued_at) = self.read(fields.message, wallet)?;
        let valid_until = issued_at.checked_add_millis(TTL_MS).unwrap_or(issued_at);
        if now >= valid_until {
            return Err(AuthError::Timestamp("the message is older than five minutes; ask for a new one"));
        }
        verify_signature(chain, wallet, fields, WalletAction::SignIn, now, may_ask_chain).await?;
        let message = ParsedMessage {
            action: WalletAction::SignIn,
            key_id: None,
            nonce: nonce.to_owned(),
            issued_at,
            body: None,
        };
        Ok(VerifiedMessage { wallet, account, message, valid_until })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    const RANDOM: &str = "0123456789abcdef0123456789abcdef";

    fn sign_in(secret: &str, url: &str) -> SignIn {
        let mut config = Config::default();
        config.payments.secret = Secret::from(secret);
        config.server.public_url = url.into();
        SignIn::new(&config)
    }

    #[test]
    fn attack_75_only_the_very_message_that_was_written_is_read() {
        let ours = sign_in("a", "https://api.example.com");
        let [wallet, other] = [1, 2].map(Address::repeat_byte);
        let now = Timestamp::from_millis(1_767_225_600_500);
        let text = ours.message(wallet, RANDOM, now);
        let (nonce, issued) = ours.read(&text, wallet).expect("ours");
        assert_eq!((&nonce[..HALF], issued), (RANDOM, now));
        let nobody = ours.message(Address::ZERO, RANDOM, now);
        assert!(ours.read(&nobody, wallet).is_ok(), "one for a wallet that was not known yet");
        let changed = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        };
        for (text, why) in [
            (ours.message(other, RANDOM, now), "another wallet"),
            (sign_in("b", "https://api.example.com").message(wallet, RANDOM, now), "another secret"),
            (sign_in("a", "https://api.example.org").message(wallet, RANDOM, now), "another server"),
            (changed("00:00:00.5", "00:00:01.5"), "another time"),
            (changed("It costs nothing.", "It costs nothing!"), "another statement"),
            (changed("Nonce: 0", "Nonce: 1"), "another nonce"),
            (format!("{text}\n"), "a line more"),
            (format!("{text}\nResources:\n- https://x.example"), "resources"),
            (text.replace('\n', "\r\n"), "other line ends"),
            (String::new(), "nothing"),
        ] {
            assert_eq!(ours.read(&text, wallet), Err(OTHER), "{why}");
        }
    }
}
