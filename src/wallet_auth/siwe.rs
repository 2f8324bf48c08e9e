//! Messages in the form of Sign-In with Ethereum (EIP-4361), as a wallet shows them to its owner. Pure.
//!
//! ```text
//! api.example.com wants you to sign in with your Ethereum account:
//! 0x52908400098527886E0F7030069857D2E4169EE7
//!
//! Pryv API key mgmt; action=revoke; keyId=key_1
//!
//! URI: https://api.example.com/api/v1/keys
//! Version: 1
//! Chain ID: 4217
//! Nonce: 0b9c4a526d2e4f0e
//! Issued At: 2026-01-31T12:00:00Z
//! Expiration Time: 2026-01-31T12:05:00Z
//! ```
//!
//! The statement names the action that is signed for, in the form of [`super::message`]; the
//! person reads it before signing. Domain and URI are this server's, the chain is the one that
//! payments are made on, the address is the wallet that signs. `Expiration Time` and `Not Before`
//! narrow the time that a message counts, and never widen it. Where the action is about more than
//! a key, the statement ends with the terms and the request id is their digest; elsewhere that id means nothing.
//! Resources mean nothing.

use alloy::primitives::Address;

use super::{AuthError, MessageOrigin, MessageRules, SignedTerms, WalletAction};
use crate::id::Timestamp;

/// End of the first line.
pub(super) const GREETING: &str = " wants you to sign in with your Ethereum account:";
/// Characters of a nonce: "At least 8 alphanumeric characters".
const NONCE_LENGTHS: std::ops::RangeInclusive<usize> = 8..=96;

/// Refusal of a message that breaks the grammar.
const MALFORMED: AuthError =
    AuthError::Message("the message is not a Sign-In with Ethereum message as EIP-4361 defines it");

/// Fields of a message that are used.
#[derive(Debug)]
pub(super) struct Siwe<'a> {
    pub statement: &'a str,
    pub nonce: &'a str,
    pub issued_at: Timestamp,
    pub request_id: Option<&'a str>,
}

/// Returns true if a text claims to be such a message.
pub(super) fn is_siwe(text: &str) -> bool {
    text.lines().next().is_some_and(|line| line.ends_with(GREETING))
}

/// Content of a message for a wallet to sign.
#[derive(Debug, Clone, Copy)]
pub struct SiweDraft<'a> {
    pub wallet: Address,
    pub action: WalletAction,
    /// Path on this server that the message is for.
    pub path: &'a str,
    /// Letters and digits, 8 at least.
    pub nonce: &'a str,
    pub terms: SignedTerms<'a>,
    /// URIs that show the person what is signed for.
    pub resources: &'a [&'a str],
}

impl MessageRules {
    /// Returns the message of a draft, issued now.
    #[must_use]
    pub fn write(&self, draft: &SiweDraft<'_>, now: Timestamp) -> String {
        let (Self { title, chain_id, .. }, MessageOrigin { origin, host }) = (self, self.api());
        let SiweDraft { wallet, action, path, nonce, terms: SignedTerms { summary, digest }, resources } =
            draft;
        let wallet = wallet.to_checksum(None);
        let ends = now.checked_add_millis(self.ttl).unwrap_or(now).to_rfc3339();
        let resources = resources.join("\n- ");
        format!(
            "{host}{GREETING}\n{wallet}\n\n{title}; action={action}; {summary}\n\nURI: {origin}{path}\nVersion: 1\nChain ID: \
             {chain_id}\nNonce: {nonce}\nIssued At: {}\nExpiration Time: {ends}\nRequest ID: {digest}\nResources:\n- {resources}",
            now.to_rfc3339()
        )
    }
}

/// Reads a message that `wallet` signs.
///
/// # Errors
/// [`AuthError::Message`].
pub(super) fn read<'a>(
    rules: &MessageRules,
    text: &'a str,
    wallet: Address,
    now: Timestamp,
) -> Result<Siwe<'a>, AuthError> {
    let mut lines = text.split('\n').peekable();
    let domain = lines.next().and_then(|line| line.strip_suffix(GREETING)).ok_or(MALFORMED)?;
    let origin = named_origin(rules, domain)?;
    if lines.next().and_then(address) != Some(wallet) {
        return Err(AuthError::Message("the message's address is not walletAddress"));
    }
    let (Some(""), Some(statement), Some("")) = (lines.next(), lines.next(), lines.next()) else {
        return Err(AuthError::Message("the message has no statement that names the action"));
    };
    let mut field = |name: &str| {
        let value = lines.peek().and_then(|line| line.strip_prefix(name));
        value.inspect(|_| {
            lines.next();
        })
    };
    let uri = field("URI: ").ok_or(MALFORMED)?;
    if !is_below(&origin.origin, uri) {
        return Err(AuthError::Message("the message's URI is not on this server"));
    }
    if field("Version: ") != Some("1") {
        return Err(MALFORMED);
    }
    if field("Chain ID: ") != Some(rules.chain_id.to_string().as_str()) {
        return Err(AuthError::Message("the message's Chain ID is not the one that payments are made on"));
    }
    let nonce = field("Nonce: ").ok_or(MALFORMED)?;
    if !NONCE_LENGTHS.contains(&nonce.len()) || !nonce.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(AuthError::Message("the message's Nonce must be 8 to 96 letters and digits"));
    }
    let mut time = |name: &str| match field(name) {
        Some(text) => Timestamp::parse_rfc3339(text).map(Some).ok_or(MALFORMED),
        None => Ok(None),
    };
    let issued_at = time("Issued At: ")?.ok_or(MALFORMED)?;
    if time("Expiration Time: ")?.is_some_and(|end| end <= now) {
        return Err(AuthError::Timestamp("the message has expired; sign a new one"));
    }
    let early = |start: Timestamp| start.checked_millis_since(now).is_none_or(|ahead| ahead > rules.skew);
    if time("Not Before: ")?.is_some_and(early) {
        return Err(AuthError::Timestamp("the message is not valid yet"));
    }
    let request_id = field("Request ID: ");
    let listed = field("Resources:") == Some("");
    if lines.any(|line| !(listed && line.starts_with("- ") || line.is_empty())) {
        return Err(MALFORMED);
    }
    Ok(Siwe { statement, nonce, issued_at, request_id })
}

/// Returns the origin of this server that the message is for: one for another server could be used by whoever runs that.
fn named_origin<'a>(rules: &'a MessageRules, domain: &str) -> Result<&'a MessageOrigin, AuthError> {
    let is_named = |origin: &&MessageOrigin| {
        let name = if domain.contains("://") { &origin.origin } else { &origin.host };
        domain.eq_ignore_ascii_case(name)
    };
    let named = rules.origins.iter().find(is_named);
    named.ok_or(AuthError::Message("the message was signed for another domain"))
}

fn is_below(origin: &str, uri: &str) -> bool {
    uri.strip_prefix(origin).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))
}

/// Reads 0x and 40 digits, of any letter case.
fn address(text: &str) -> Option<Address> {
    if text.len() == 42 && text.starts_with("0x") { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::address;
    use proptest::prelude::*;

    use super::super::message::{ParsedMessage, read};
    use super::super::{AuthError, MessageRules, RequestedAction, SignedTerms, SiweDraft, WalletAction};
    use crate::config::Config;
    use crate::id::Timestamp;

    const WALLET: alloy::primitives::Address = address!("52908400098527886E0F7030069857D2E4169EE7");
    const GOOD: &str = "127.0.0.1:8402 wants you to sign in with your Ethereum account:
0x52908400098527886E0F7030069857D2E4169EE7

Pryv API key mgmt; action=revoke; keyId=key_1

URI: http://127.0.0.1:8402/api/v1/keys
Version: 1
Chain ID: 4217
Nonce: 0b9c4a526d2e4f0e
Issued At: 2026-01-01T00:00:00Z
Expiration Time: 2026-01-01T00:05:00Z
Not Before: 2026-01-01T00:00:00Z
Request ID: 7
Resources:
- http://127.0.0.1:8402/openapi.json";

    fn revoke(text: &str, seconds: i64) -> Result<ParsedMessage, AuthError> {
        let now = Timestamp::from_millis(1_767_225_600_000 + seconds * 1000);
        let parameters = &serde_json::Map::new();
        let requested =
            RequestedAction { action: WalletAction::Revoke, key_id: Some("key_1"), parameters, terms: None };
        read(&MessageRules::new(&Config::default()), text, WALLET, requested, now)
    }

    #[test]
    fn sign_in_with_ethereum_says_the_same() {
        let good = revoke(GOOD, 10).expect("read");
        assert_eq!((good.nonce.as_str(), good.key_id.as_deref()), ("0b9c4a526d2e4f0e", Some("key_1")));
        for (from, to) in [
            ("127.0.0.1:8402 wants", "http://127.0.0.1:8402 wants"),
            ("0x52908400098527886E0F7030069857D2E4169EE7", "0x52908400098527886e0f7030069857d2e4169ee7"),
            ("Expiration Time: 2026-01-01T00:05:00Z\nNot Before: 2026-01-01T00:00:00Z\nRequest ID: 7\n", ""),
            ("\nResources:\n- http://127.0.0.1:8402/openapi.json", ""),
            ("/api/v1/keys", ""),
            ("; action=revoke; keyId=key_1", ";action=revoke;keyId=key_1"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD);
            assert_eq!(revoke(&text, 10).as_ref(), Ok(&good), "{text}");
        }
    }

    #[test]
    fn attack_23_other_domains_chains_wallets_and_times_are_refused() {
        for (from, to) in [
            ("127.0.0.1:8402 wants", "evil.example wants"),
            ("127.0.0.1:8402 wants", "127.0.0.1 wants"),
            ("127.0.0.1:8402 wants", "127.0.0.1:8402.evil.example wants"),
            ("127.0.0.1:8402 wants", "https://127.0.0.1:8402 wants"),
            ("URI: http://127.0.0.1:8402/", "URI: http://127.0.0.1:84021/"),
            ("URI: http://127.0.0.1:8402/", "URI: http://evil.example/"),
            ("Chain ID: 4217", "Chain ID: 1"),
            ("Version: 1", "Version: 2"),
            ("69EE7", "69EE8"),
            ("0x5290", "0X5290"),
            ("Nonce: 0b9c4a526d2e4f0e", "Nonce: 0b9c4a5"),
            ("Nonce: 0b9c4a526d2e4f0e", "Nonce: 0b9c4a52-6d2e4f0e"),
            ("Nonce: 0b9c4a526d2e4f0e\n", ""),
            ("Issued At: 2026-01-01T00:00:00Z\n", ""),
            ("Issued At: 2026-01-01T00:00:00Z", "Issued At: 2025-01-01T00:00:00Z"),
            ("Expiration Time: 2026-01-01T00:05:00Z", "Expiration Time: 2026-01-01T00:00:10Z"),
            ("Expiration Time: 2026", "Expiration Time: later 2026"),
            ("Not Before: 2026-01-01T00:00:00Z", "Not Before: 2026-01-01T00:02:00Z"),
            ("Request ID: 7", "Request ID: 7\nRole: admin"),
            ("Pryv API key mgmt; action=revoke; keyId=key_1\n\n", ""),
            ("Pryv API", "Priv API"),
            ("; keyId=key_1", "; keyId=key_1; nonce=0b9c4a526d2e4f0e"),
            ("\n- http", "\nhttp"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{from}");
            let refused = revoke(&text, 10);
            let wrong = matches!(refused, Err(AuthError::Message(_) | AuthError::Timestamp(_)));
            assert!(wrong, "{to}: {refused:?}");
        }
        let other = GOOD.replacen("action=revoke", "action=create", 1);
        assert_eq!(revoke(&other, 10), Err(AuthError::ActionMismatch(WalletAction::Revoke)));
        let other = GOOD.replacen("key_1", "key_2", 1);
        assert_eq!(revoke(&other, 10), Err(AuthError::KeyIdMismatch));
        for seconds in [-31, 300, 100_000] {
            assert!(matches!(revoke(GOOD, seconds), Err(AuthError::Timestamp(_))), "{seconds}");
        }
    }

    #[test]
    fn attack_66_a_message_for_other_terms_or_none_does_not_count() {
        let rules = MessageRules::new(&Config::default());
        let now = Timestamp::from_millis(1_767_225_600_000);
        let draft = SiweDraft {
            wallet: WALLET,
            action: WalletAction::Connect,
            path: "/oauth/authorize",
            nonce: "0b9c4a526d2e4f0e",
            terms: SignedTerms { summary: "daily=5.00; to=client.example", digest: "abc" },
            resources: &["https://api.example.com/mcp"],
        };
        let text = rules.write(&draft, now);
        let read_as = |text: &str, summary, digest| {
            let parameters = &serde_json::Map::new();
            let (action, terms) = (WalletAction::Connect, Some(SignedTerms { summary, digest }));
            let requested = RequestedAction { action, key_id: None, parameters, terms };
            read(&rules, text, WALLET, requested, now).map(|message| message.nonce)
        };
        assert_eq!(read_as(&text, "daily=5.00; to=client.example", "abc").as_deref(), Ok("0b9c4a526d2e4f0e"));
        let line = "Pryv API key mgmt | action=connect | nonce=0b9c4a52-6d2e-4f0e-9a6e-3f6b0c5d7e81 \
                    | ts=2026-01-01T00:00:00Z";
        let own = "daily=5.00; to=client.example";
        for (wrong, summary, digest) in [
            (text.clone(), own, "abd"),
            (text.clone(), own, "ABC"),
            (text.clone(), own, ""),
            (text.clone(), "daily=6.00; to=client.example", "abc"),
            (text.clone(), "to=client.example", "abc"),
            (text.clone(), "", "abc"),
            (text.replace("daily=5.00", "daily=0.05"), own, "abc"),
            (text.replace("; daily=5.00", "; note=x; daily=5.00"), own, "abc"),
            (text.replace("Request ID: abc\n", ""), own, "abc"),
            (text.replace("Request ID: abc", "Request ID:  abc"), own, "abc"),
            (line.to_owned(), own, "abc"),
        ] {
            assert!(matches!(read_as(&wrong, summary, digest), Err(AuthError::Message(_))), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_cut_or_change_panics(from in 0usize..500, length in 0usize..60, with in "\\PC{0,8}|\n{0,3}") {
            let start = from.min(GOOD.len());
            let end = (start + length).min(GOOD.len());
            let _ = revoke(&format!("{}{with}{}", &GOOD[..start], &GOOD[end..]), 10);
        }
    }
}
