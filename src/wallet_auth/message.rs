//! Messages in the form of the product's own line. Pure.
//!
//! ```text
//! Pryv API key mgmt | action=create | keyId= | nonce=<uuid> | ts=<ISO 8601> | host=api.example.com | body=<SHA-256>
//! ```
//!
//! The order of the fields and the blanks around them do not matter. Everything else does: the
//! title names this product, each field stands there once, no other field does, the nonce is a
//! UUID and the time is RFC 3339. `keyId` is empty, or missing, where no key is meant.
//!
//! `host` and `body` narrow what was signed, and an operator may require them. Without `host` a
//! message counts at every server of that product name; without `body` the other parameters of the
//! request (name, limits, amounts) are not the signer's. `body` is [`parameters_digest`].

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{AuthError, MAX_MESSAGE_BYTES, MessageRules, RequestedAction, SignedTerms, WalletAction, siwe};
use crate::id::Timestamp;

/// Longest key id that is read, in bytes.
const MAX_KEY_ID_BYTES: usize = 128;

/// Content of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedMessage {
    pub action: WalletAction,
    pub key_id: Option<String>,
    /// Nonce in its one spelling: a UUID in lower case, or as an EIP-4361 message has it.
    pub nonce: String,
    pub issued_at: Timestamp,
    /// Digest of the request's other parameters, as it was written; `None` when the message names none.
    pub body: Option<String>,
}

/// Fields of the statement of either form.
#[derive(Debug, Default)]
pub(super) struct ParsedStatement<'a> {
    pub action: Option<&'a str>,
    pub key_id: Option<&'a str>,
    pub nonce: Option<&'a str>,
    pub ts: Option<&'a str>,
    pub host: Option<&'a str>,
    pub body: Option<&'a str>,
}

const OTHER_TITLE: AuthError =
    AuthError::Message("the message's title is not this product's name and \"API key mgmt\"");
const FIELDS: AuthError = AuthError::Message(
    "the message has a field twice, an unknown field, or one that is not written name=value; its fields are action, \
     keyId, nonce, ts, host and body",
);
const KEY_ID: AuthError =
    AuthError::Message("the message's keyId must be at most 128 visible ASCII characters");
const OTHER_HOST: AuthError = AuthError::Message(
    "the message was signed for another server; write the host of this server's URL, with its port: \
     host=api.example.com",
);
const NO_HOST: AuthError = AuthError::Message(
    "this server counts only messages that name it; add its host, host=api.example.com, or use Sign-In with Ethereum",
);
const OTHER_TERMS: AuthError = AuthError::Message(
    "the message's statement and Request ID do not name what is granted here; sign the Sign-In with Ethereum message \
     that is made for these terms",
);
const OTHER_BODY: AuthError = AuthError::Message(
    "the message's body is not the SHA-256 of this request's other parameters; hash them as canonical JSON (RFC 8785), \
     without walletAddress, message and signature",
);
const NO_BODY: AuthError = AuthError::Message(
    "this server counts only messages that name the request's other parameters; add body=<SHA-256>, in hexadecimal, of \
     their canonical JSON (RFC 8785)",
);

/// SHA-256, in hexadecimal, of a request's parameters beside the proof, as canonical JSON (RFC 8785): an object without
/// blanks whose names are sorted. Without any parameter it is that of `{}`.
#[must_use]
pub fn parameters_digest(parameters: &serde_json::Map<String, serde_json::Value>) -> String {
    let canonical = serde_json_canonicalizer::to_vec(parameters).expect("parsed JSON has a canonical form");
    hex::encode(Sha256::digest(canonical))
}

/// Reads a message of either form, for what is requested.
///
/// # Errors
/// [`AuthError`], all but [`AuthError::Missing`], [`AuthError::Replay`] and
/// [`AuthError::ChainUnreachable`].
pub fn read(
    rules: &MessageRules,
    text: &str,
    wallet: alloy::primitives::Address,
    requested: RequestedAction<'_>,
    now: Timestamp,
) -> Result<ParsedMessage, AuthError> {
    if text.len() > MAX_MESSAGE_BYTES {
        return Err(AuthError::Message("the message is longer than 4096 bytes"));
    }
    let siwe = siwe::is_siwe(text).then(|| siwe::read(rules, text, wallet, now)).transpose()?;
    let stated = siwe.as_ref().map_or(text, |siwe| siwe.statement);
    let stated = match requested.terms {
        None => stated,
        Some(terms) => siwe.as_ref().and_then(|siwe| without_terms(siwe, terms)).ok_or(OTHER_TERMS)?,
    };
    let statement = statement(stated, rules, siwe.is_some())?;
    let claimed =
        statement.action.ok_or(AuthError::Message("the message has no action; write action=<name>"))?;
    if claimed != requested.action.as_str() {
        return Err(AuthError::ActionMismatch(requested.action));
    }
    if statement.key_id != requested.key_id {
        return Err(AuthError::KeyIdMismatch);
    }
    check_host(rules, statement.host, siwe.is_some())?;
    let body = statement.body.map(str::to_owned);
    // Terms are more than the parameters.
    if body.is_none() && rules.require_body && requested.terms.is_none() {
        return Err(NO_BODY);
    }
    let (nonce, issued_at) = match siwe {
        Some(siwe) => (siwe.nonce.to_owned(), siwe.issued_at),
        None => (uuid(statement.nonce)?, time(statement.ts)?),
    };
    rules.check_time(issued_at, now)?;
    let RequestedAction { action, key_id, .. } = requested;
    Ok(ParsedMessage { action, key_id: key_id.map(str::to_owned), nonce, issued_at, body })
}

/// Returns the statement before the terms of a message that names just these.
fn without_terms<'a>(siwe: &siwe::Siwe<'a>, terms: SignedTerms<'_>) -> Option<&'a str> {
    let stated = siwe.statement.strip_suffix(terms.summary)?.strip_suffix("; ")?;
    (siwe.request_id == Some(terms.digest)).then_some(stated)
}

/// Checks that the message is for this server. The domain of an EIP-4361 message was checked with its other lines.
fn check_host(rules: &MessageRules, host: Option<&str>, in_siwe: bool) -> Result<(), AuthError> {
    match host {
        Some(host) if rules.origins.iter().any(|origin| host.eq_ignore_ascii_case(&origin.host)) => Ok(()),
        Some(_) => Err(OTHER_HOST),
        None if rules.require_host && !in_siwe => Err(NO_HOST),
        None => Ok(()),
    }
}

impl ParsedMessage {
    /// Checks that the message is for the request's other parameters. Hashing them costs more than all else, so it comes
    /// when the signature has been verified.
    ///
    /// # Errors
    /// [`AuthError::Message`].
    pub fn check_body(&self, requested: RequestedAction<'_>) -> Result<(), AuthError> {
        match &self.body {
            Some(digest) if digest.eq_ignore_ascii_case(&parameters_digest(requested.parameters)) => Ok(()),
            Some(_) => Err(OTHER_BODY),
            None => Ok(()),
        }
    }
}

/// Reads title and fields. The statement of an EIP-4361 message is separated by `;`, because its
/// grammar has no `|`, and holds neither nonce nor time, because the message does.
fn statement<'a>(
    text: &'a str,
    rules: &MessageRules,
    in_siwe: bool,
) -> Result<ParsedStatement<'a>, AuthError> {
    let mut statement = ParsedStatement::default();
    let mut titles = 0;
    for field in text.split(if in_siwe { ';' } else { '|' }).map(trim) {
        let Some((name, value)) = field.split_once('=') else {
            if !same_words(field, &rules.title) {
                return Err(if titles == 0 { OTHER_TITLE } else { FIELDS });
            }
            titles += 1;
            continue;
        };
        let slot = match trim(name) {
            "action" => &mut statement.action,
            "keyId" => &mut statement.key_id,
            "nonce" if !in_siwe => &mut statement.nonce,
            "ts" if !in_siwe => &mut statement.ts,
            "host" => &mut statement.host,
            "body" => &mut statement.body,
            _ => return Err(FIELDS),
        };
        if slot.replace(trim(value)).is_some() {
            return Err(FIELDS);
        }
    }
    match titles {
        0 => return Err(OTHER_TITLE),
        1 => {}
        _ => return Err(FIELDS),
    }
    statement.key_id = statement.key_id.filter(|id| !id.is_empty());
    let is_id = |id: &str| id.len() <= MAX_KEY_ID_BYTES && id.bytes().all(|b| b.is_ascii_graphic());
    if statement.key_id.is_some_and(|id| !is_id(id)) { Err(KEY_ID) } else { Ok(statement) }
}

fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_ascii_whitespace())
}

/// Returns true if two texts have the same words, whatever the blanks between them.
fn same_words(a: &str, b: &str) -> bool {
    a.split_ascii_whitespace().eq(b.split_ascii_whitespace())
}

/// Returns a UUID in its one spelling: another letter case must not be another nonce.
fn uuid(text: Option<&str>) -> Result<String, AuthError> {
    let uuid = text.filter(|text| text.len() == 36).and_then(|text| Uuid::try_parse(text).ok());
    uuid.map(|uuid| uuid.to_string()).ok_or(AuthError::Message("the message's nonce must be a UUID"))
}

fn time(text: Option<&str>) -> Result<Timestamp, AuthError> {
    text.and_then(Timestamp::parse_rfc3339)
        .ok_or(AuthError::Message("the message's ts must be an ISO 8601 time such as 2026-01-31T12:00:00Z"))
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use alloy::primitives::Address;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::config::Config;

    const NONCE: &str = "0b9c4a52-6d2e-4f0e-9a6e-3f6b0c5d7e81";
    const TS: &str = "2026-01-01T00:00:00.500Z";

    fn rules() -> MessageRules {
        MessageRules::new(&Config::default())
    }

    fn now() -> Timestamp {
        Timestamp::parse_rfc3339("2026-01-01T00:00:10Z").expect("a time")
    }

    fn request(action: WalletAction, key_id: Option<&str>) -> RequestedAction<'_> {
        static NONE: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
        RequestedAction { action, key_id, parameters: &NONE, terms: None }
    }

    fn create(text: &str) -> Result<ParsedMessage, AuthError> {
        read(&rules(), text, Address::ZERO, request(WalletAction::Create, None), now())
    }

    #[test]
    fn the_literal_line_is_read_in_any_order_and_spacing() {
        let expected = ParsedMessage {
            action: WalletAction::Create,
            key_id: None,
            nonce: NONCE.to_owned(),
            issued_at: Timestamp::parse_rfc3339(TS).expect("a time"),
            body: None,
        };
        let upper = NONCE.to_uppercase();
        for text in [
            format!("Pryv API key mgmt | action=create | keyId= | nonce={NONCE} | ts={TS}"),
            format!("Pryv API key mgmt|action=create|keyId=|nonce={NONCE}|ts={TS}"),
            format!("Pryv API key mgmt | ts={TS} | nonce={NONCE} | keyId= | action=create"),
            format!("  Pryv  API key\tmgmt |  action = create | nonce={upper} | ts= {TS} \n"),
            format!("action=create | Pryv API key mgmt | nonce={NONCE} | ts=2026-01-01T01:00:00.5+01:00"),
        ] {
            assert_eq!(create(&text), Ok(expected.clone()), "{text}");
        }
    }

    #[test]
    fn a_key_is_named_exactly() {
        let text =
            |id: &str| format!("Pryv API key mgmt | action=revoke | keyId={id} | nonce={NONCE} | ts={TS}");
        let read = |said: &str, asked| {
            read(&rules(), &text(said), Address::ZERO, request(WalletAction::Revoke, asked), now())
        };
        assert_eq!(read("key_1", Some("key_1")).expect("read").key_id.as_deref(), Some("key_1"));
        for (said, asked) in
            [("key_1", Some("key_2")), ("KEY_1", Some("key_1")), ("", Some("key_1")), ("key_1", None)]
        {
            assert_eq!(read(said, asked), Err(AuthError::KeyIdMismatch), "{said} {asked:?}");
        }
        assert_eq!(read("a b", Some("a b")), Err(KEY_ID));
        assert_eq!(read(&"x".repeat(129), None), Err(KEY_ID));
    }

    #[test]
    fn attack_23_malformed_messages_are_refused() {
        let good = format!("Pryv API key mgmt | action=create | keyId= | nonce={NONCE} | ts={TS}");
        assert!(create(&good).is_ok());
        for (from, to) in [
            ("Pryv", "Priv"),
            ("Pryv", "pryv"),
            ("Pryv API key mgmt | ", ""),
            ("API", "API API"),
            ("action=create", "action=create | action=create"),
            ("action=create", "action=create | Pryv API key mgmt"),
            ("action=create", "action=create | admin=true"),
            ("action=create", "action=create | really"),
            ("action=create | ", ""),
            ("action", "Action"),
            ("keyId", "keyid"),
            (NONCE, "1"),
            (NONCE, ""),
            ("nonce=", "nonce=x"),
            (" | nonce=0b9c4a52-6d2e-4f0e-9a6e-3f6b0c5d7e81", ""),
            (TS, "1767225600"),
            (TS, "2026-01-01"),
            (TS, "2026-01-01T00:00:00"),
            (" | ts=2026-01-01T00:00:00.500Z", ""),
            (" | keyId=", "\u{a0}| keyId="),
        ] {
            let text = good.replacen(from, to, 1);
            assert_ne!(text, good, "{from}");
            let refused = create(&text);
            let wrong = matches!(refused, Err(AuthError::Message(_) | AuthError::ActionMismatch(_)));
            assert!(wrong, "{text}: {refused:?}");
        }
        for text in ["", "|", "=", "||||", &"|".repeat(4000), &"x".repeat(5000)] {
            assert!(matches!(create(text), Err(AuthError::Message(_))), "{text:.20}");
        }
    }

    #[test]
    fn attack_23_another_action_is_named_as_such() {
        for other in ["list", "revoke", "Create", "createx", ""] {
            let text = format!("Pryv API key mgmt | action={other} | keyId= | nonce={NONCE} | ts={TS}");
            assert_eq!(create(&text), Err(AuthError::ActionMismatch(WalletAction::Create)), "{other}");
        }
    }

    #[test]
    fn attack_32_a_message_counts_for_the_host_and_the_body_that_it_names() {
        let parameters = json!({ "name": "laptop", "limits": { "totalUsd": "5", "rpm": 10 } });
        let parameters = parameters.as_object().expect("an object");
        // SHA-256 of {"limits":{"rpm":10,"totalUsd":"5"},"name":"laptop"}.
        let digest = "0d585ba90a8860a038441c9c64e5a63d8d661289bb71a701b39adaf312ed0674";
        assert_eq!(parameters_digest(parameters), digest);
        let line =
            |end: &str| format!("Pryv API key mgmt | action=create | keyId= | nonce={NONCE} | ts={TS}{end}");
        let read = |host: bool, body: bool, end: &str| {
            let mut config = Config::default();
            config.server.public_url = "https://api.example.com:8443".into();
            (config.wallet_auth.require_host, config.wallet_auth.require_body) = (host, body);
            let requested =
                RequestedAction { action: WalletAction::Create, key_id: None, parameters, terms: None };
            let message = read(&MessageRules::new(&config), &line(end), Address::ZERO, requested, now())?;
            message.check_body(requested)
        };
        let (host, body) = (" | host=API.example.com:8443", format!(" | body={}", digest.to_uppercase()));
        for (required_host, required_body, end, expected) in [
            (false, false, String::new(), Ok(())),
            (true, true, format!("{host}{body}"), Ok(())),
            (true, false, host.to_owned(), Ok(())),
            (false, true, body.clone(), Ok(())),
            (true, false, body.clone(), Err(NO_HOST)),
            (false, true, host.to_owned(), Err(NO_BODY)),
            (false, false, " | host=api.example.com".into(), Err(OTHER_HOST)),
            (false, false, " | host=other.example.com:8443".into(), Err(OTHER_HOST)),
            (false, false, " | host=".into(), Err(OTHER_HOST)),
            (false, false, " | body=".into(), Err(OTHER_BODY)),
            (false, false, format!(" | body={}", parameters_digest(&Map::new())), Err(OTHER_BODY)),
            (false, false, format!("{host}{host}"), Err(FIELDS)),
            (false, false, format!("{body}{body}"), Err(FIELDS)),
        ] {
            assert_eq!(
                read(required_host, required_body, &end),
                expected,
                "{required_host} {required_body} {end}"
            );
        }
    }

    #[test]
    fn attack_23_old_and_future_times_are_refused() {
        let at = |ts: &str| {
            create(&format!("Pryv API key mgmt | action=create | keyId= | nonce={NONCE} | ts={ts}"))
        };
        // Five minutes, and half a minute ahead.
        for good in ["2026-01-01T00:00:10Z", "2025-12-31T23:55:10Z", "2026-01-01T00:00:40Z"] {
            assert!(at(good).is_ok(), "{good}");
        }
        for wrong in [
            "2025-12-31T23:55:09.999Z",
            "2026-01-01T00:00:40.001Z",
            "1970-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "0000-01-01T00:00:00Z",
        ] {
            assert!(matches!(at(wrong), Err(AuthError::Timestamp(_))), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_sent_panics(text in ".{0,300}", millis in any::<i64>()) {
            let now = Timestamp::from_millis(millis);
            let _ = read(&rules(), &text, Address::ZERO, request(WalletAction::Create, None), now);
        }

        #[test]
        fn nothing_that_looks_right_panics(
            parts in prop::collection::vec(
                prop_oneof![
                    Just("Pryv API key mgmt".to_owned()), Just("action=create".to_owned()),
                    Just("keyId=".to_owned()), Just(format!("nonce={NONCE}")), Just(format!("ts={TS}")),
                    "[a-zA-Z]{0,6}=?\\PC{0,12}",
                ],
                0..7,
            ),
        ) {
            let text = parts.join(" | ");
            if let Ok(message) = create(&text) {
                // Whatever was accepted is the literal line in another order.
                prop_assert_eq!(message.nonce, NONCE);
                prop_assert!(parts.len() >= 4);
            }
        }
    }
}
