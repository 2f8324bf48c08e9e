//! Values without a format of their own, recognised by the key in front of them.

use std::{ops::Range, sync::LazyLock};

use regex::Regex;

use crate::{Entity, text::input::RecognizerInput};

use super::{LiteralRule, RuleMatch, WordEdges, compile};

pub(crate) const LITERAL_RULES: &[LiteralRule] = &[
    LiteralRule {
        entity: Entity::Password,
        name: "password_value",
        literals: &["password", "passwd", "passphrase", "pwd", "passcode", "pass"],
        edges: WordEdges::Free,
        find: password,
    },
    LiteralRule {
        entity: Entity::Username,
        name: "username_value",
        literals: &["username", "user name", "user_name", "login", "user id", "userid", "user_id"],
        edges: WordEdges::Left,
        find: username,
    },
    LiteralRule {
        entity: Entity::Pin,
        name: "pin_value",
        literals: &["pin"],
        edges: WordEdges::Both,
        find: pin,
    },
    LiteralRule {
        entity: Entity::CreditDebitCvv,
        name: "cvv_value",
        literals: &["cvv", "cvv2", "cvc", "cvc2", "csc", "security code", "verification code"],
        edges: WordEdges::Both,
        find: cvv,
    },
    LiteralRule {
        entity: Entity::CreditDebitExpiry,
        name: "expiry_value",
        literals: &[
            "exp",
            "expiry",
            "expires",
            "expiration",
            "valid thru",
            "valid until",
            "good thru",
            "expiring",
        ],
        edges: WordEdges::Both,
        find: expiry,
    },
    LiteralRule {
        entity: Entity::AwsSecretKey,
        name: "aws_secret_key_value",
        literals: &[
            "secret_access_key",
            "secretaccesskey",
            "secret access key",
            "aws_secret",
            "aws secret",
            "secret key",
        ],
        edges: WordEdges::Free,
        find: aws_secret,
    },
    LiteralRule {
        entity: Entity::ApiKey,
        name: "api_key_value",
        literals: &[
            "api_key",
            "apikey",
            "api-key",
            "api key",
            "api_token",
            "api token",
            "access_token",
            "access token",
            "auth_token",
            "secret_key",
            "client_secret",
            "client secret",
            "bearer",
            "accesstoken",
            "clientsecret",
        ],
        edges: WordEdges::Free,
        find: api_key,
    },
];

/// Most bytes behind a key in which its value must start and end.
const REACH: usize = 160;

/// Pattern of `key: value`, `key = "value"` and `key is value`, behind the key.
static ASSIGNMENT: LazyLock<Regex> = LazyLock::new(|| {
    compile(concat!(
        r#"(?i)^["'\]]{0,2}(?<sep>\s{0,2}(?::=|=>|[:=])\s{0,2}|\s(?:is|was)(?: now)?:?\s)(?:"#,
        r#"(?<quote>["'`])(?<quoted>[^"'`\r\n]{1,128})["'`]|(?<bare>[^\s"'`<>,;&]{1,128}))"#,
    ))
});

struct AssignedValue<'t> {
    text: &'t str,
    span: Range<usize>,
    quoted: bool,
    /// True if it is said in a sentence rather than assigned.
    in_sentence: bool,
}

fn value(input: RecognizerInput<'_>, key_end: usize) -> Option<AssignedValue<'_>> {
    let found = ASSIGNMENT.captures(input.lookahead(key_end, REACH))?;
    let in_sentence = found.name("sep")?.as_str().trim().starts_with(['i', 'I', 'w', 'W']);
    let quoted = found.name("quoted");
    let value = quoted.or_else(|| found.name("bare"))?;
    let text = match (quoted.is_some(), in_sentence) {
        (true, _) => value.as_str(),
        (false, true) => value.as_str().trim_end_matches(['.', ')', ']', '}', '!', '?']),
        (false, false) => value.as_str().trim_end_matches(['.', ')', ']', '}', '\\']),
    };
    let start = key_end + value.start();
    (!text.is_empty()).then_some(AssignedValue {
        text,
        span: start..start + text.len(),
        quoted: quoted.is_some(),
        in_sentence,
    })
}

/// Types, literals and words of documentation, which stand in place of a secret.
const NON_SECRET_WORDS: &[&str] = &[
    "none",
    "null",
    "nil",
    "true",
    "false",
    "string",
    "str",
    "undefined",
    "required",
    "optional",
    "option",
    "bytes",
    "text",
    "varchar",
    "secretstring",
    "number",
    "empty",
    "password",
    "changeme",
    "hidden",
    "redacted",
    "any",
    "self",
    "int",
    "integer",
    "int32",
    "int64",
    "uint32",
    "uint64",
    "uuid",
    "char",
];

/// True for values that are no secret: types, literals, references, masks, placeholders.
fn is_placeholder(text: &str) -> bool {
    let word = text.trim_start_matches('_').to_ascii_lowercase();
    let machine_type = word
        .strip_prefix(['u', 'i', 'f'])
        .is_some_and(|bits| matches!(bits, "8" | "16" | "32" | "64" | "128" | "size"));
    machine_type
        || NON_SECRET_WORDS.contains(&word.as_str())
        || text.starts_with(['$', '<', '{', '%', '*', '&', '(', '['])
        || text.contains(['(', '{', '<', '['])
        || text.contains("::")
        || text.bytes().all(|b| matches!(b, b'*' | b'x' | b'X' | b'.' | b'-' | b'_'))
}

/// True if an unquoted value is more than a word or a dotted name in code.
fn looks_secret(text: &str) -> bool {
    let symbol = |b: u8| !b.is_ascii_alphanumeric() && !matches!(b, b'.' | b'_' | b'-' | b':' | b'/' | b'\'');
    let digits = text.bytes().any(|b| b.is_ascii_digit());
    digits && !text.contains('.')
        || text.bytes().any(|b| symbol(b) && b.is_ascii())
        || digits && text.len() >= 8
}

fn password(input: RecognizerInput<'_>, key: Range<usize>) -> Option<RuleMatch> {
    // `pass` and `pwd` are also parts of other words.
    let short = key.len() <= 4;
    if input.at(key.end).is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
        || short && input.before(key.start).is_some_and(|b| b.is_ascii_alphanumeric())
    {
        return None;
    }
    let value = value(input, key.end)?;
    let long_enough = (4..=128).contains(&value.text.chars().count());
    if !long_enough || is_placeholder(value.text) || value.quoted && value.text.contains(' ') && key.len() < 8
    {
        return None;
    }
    let ends_line = matches!(input.at(value.span.end), None | Some(b'\n' | b'\r'));
    let score = match (value.quoted, value.in_sentence, looks_secret(value.text)) {
        (true, false, _) => 0.8,
        (true, true, _) | (false, _, true) => 0.75,
        // A lone word at the end of a line of a settings file.
        (false, false, false) if ends_line && !value.text.contains(['.', '_']) && !short => 0.55,
        (false, ..) => return None,
    };
    Some(RuleMatch::keyed(value.span, score))
}

fn username(input: RecognizerInput<'_>, key: Range<usize>) -> Option<RuleMatch> {
    if input.touches_word_right(key.end) {
        return None;
    }
    let value = value(input, key.end)?;
    let shape = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'@' | b'+');
    let named = value.text.len() >= 3 && value.text.len() <= 64 && value.text.bytes().all(shape);
    let constant = value.text.contains('_') && !value.text.bytes().any(|b| b.is_ascii_lowercase());
    if !named || constant || is_placeholder(value.text) {
        return None;
    }
    // `user_id = 42` is a row, `username = user.name` is code.
    let marked = value.text.bytes().any(|b| b.is_ascii_alphabetic())
        && (value.quoted
            || value.text.bytes().any(|b| b.is_ascii_digit() || b == b'_' || b == b'-')
                && !value.text.contains('.'));
    let ends = matches!(input.at(value.span.end), None | Some(b'\n' | b'\r' | b',' | b' ' | b'.'));
    let plain = !value.in_sentence
        && ends
        && value.text.bytes().all(|b| b.is_ascii_lowercase() || b == b'.')
        && input.bytes[key.end] == b':';
    match (marked, plain) {
        (true, _) => Some(RuleMatch::keyed(value.span, 0.7)),
        (false, true) => Some(RuleMatch::keyed(value.span, 0.5)),
        (false, false) => None,
    }
}

/// Span of a number of `digits` digits behind a key and a few linking words.
fn number(
    input: RecognizerInput<'_>,
    key_end: usize,
    digits: std::ops::RangeInclusive<usize>,
) -> Option<Range<usize>> {
    static LINK: LazyLock<Regex> = LazyLock::new(|| {
        compile(
            r#"(?i)^["']?(?: (?:code|number|no\.?|#))?(?: (?:for|of|on) (?:my|the|his|her|your|this) [a-z]{1,12})?\s{0,2}(?:(?:is|was|of|=>?|:)\s{0,2}|\s)["']?(?<number>[0-9]{3,12})"#,
        )
    });
    let found = LINK.captures(input.lookahead(key_end, 64))?.name("number")?;
    let span = key_end + found.start()..key_end + found.end();
    (digits.contains(&span.len()) && !input.touches_word(&span) && !input.continues(&span)).then_some(span)
}

fn pin(input: RecognizerInput<'_>, key: Range<usize>) -> Option<RuleMatch> {
    number(input, key.end, 4..=8).map(|span| RuleMatch::keyed(span, 0.75))
}

/// Three digits on the back, four on the front of American Express.
fn cvv(input: RecognizerInput<'_>, key: Range<usize>) -> Option<RuleMatch> {
    number(input, key.end, 3..=4).map(|span| RuleMatch::keyed(span, 0.85))
}

fn expiry(input: RecognizerInput<'_>, key: Range<usize>) -> Option<RuleMatch> {
    static VALUE: LazyLock<Regex> = LazyLock::new(|| {
        compile(
            r#"(?i)^\.?["']?(?: ?date)?(?: (?:is|on|in))?\s{0,2}[:=]?\s{0,2}["']?(?<date>(?:0?[1-9]|1[0-2]) ?[/-] ?(?:20)?[2-9][0-9])"#,
        )
    });
    let date = VALUE.captures(input.lookahead(key.end, 40))?.name("date")?;
    let span = key.end + date.start()..key.end + date.end();
    (!input.touches_word(&span) && !input.continues(&span)).then(|| RuleMatch::keyed(span, 0.8))
}

/// Forty characters of base 64 (AWS IAM).
fn aws_secret(input: RecognizerInput<'_>, key: Range<usize>) -> Option<RuleMatch> {
    static VALUE: LazyLock<Regex> = LazyLock::new(|| {
        compile(
            r#"^(?:_?(?:access)?_?key)?["']?\s{0,2}(?:is|=>?|:)?\s{0,2}["']?(?<secret>[A-Za-z0-9/+]{40})"#,
        )
    });
    let secret = VALUE.captures(input.lookahead(key.end, 80))?.name("secret")?;
    let span = key.end + secret.start()..key.end + secret.end();
    let text = secret.as_str();
    let mixed = text.bytes().any(|b| b.is_ascii_digit()) && text.bytes().any(|b| b.is_ascii_uppercase());
    let ends = !input.touches_word(&span) && !matches!(input.at(span.end), Some(b'/' | b'+' | b'='));
    (mixed && ends).then(|| RuleMatch::keyed(span, 0.95))
}

/// Sixteen characters or more with letters and digits, assigned to a name that says it is a key.
fn api_key(input: RecognizerInput<'_>, key: Range<usize>) -> Option<RuleMatch> {
    let bearer = input.bytes[key.clone()].eq_ignore_ascii_case(b"bearer");
    let (text, span) = if bearer {
        let start = key.end + 1;
        let end = input.run(start, 512, |b| {
            b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~' | b'+' | b'/' | b'=')
        });
        if input.at(key.end) != Some(b' ') || end <= start {
            return None;
        }
        (input.text[start..end].trim_end_matches('.'), start..end)
    } else {
        let value = value(input, key.end)?;
        (value.text, value.span)
    };
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let letters = text.bytes().filter(u8::is_ascii_alphabetic).count();
    let shape = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~' | b'+' | b'/' | b'='));
    let secret = text.len() >= 16 && digits >= 2 && letters >= 2 && shape && !is_placeholder(text);
    secret.then(|| RuleMatch::keyed(span.start..span.start + text.len(), 0.85))
}
