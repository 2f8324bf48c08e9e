//! Secrets that are recognised by their own format.

use std::{ops::Range, sync::LazyLock};

use regex::Regex;

use crate::{
    Entity,
    text::input::{RecognizerInput, Word},
};

use super::{LiteralRule, RuleMatch, WordEdges, WordRule, compile};

pub(crate) const WORDS: &[WordRule] = &[
    WordRule { entity: Entity::ApiKey, name: "twilio_key", find: twilio },
    WordRule { entity: Entity::ApiKey, name: "telegram_bot_token", find: telegram },
];

pub(crate) const LITERAL_RULES: &[LiteralRule] = &[
    LiteralRule {
        entity: Entity::PrivateKey,
        name: "pem_private_key",
        literals: &["-----begin"],
        edges: WordEdges::Free,
        find: pem,
    },
    LiteralRule { entity: Entity::Jwt, name: "jwt", literals: &["eyj"], edges: WordEdges::Left, find: jwt },
    LiteralRule {
        entity: Entity::AwsAccessKey,
        name: "aws_access_key_id",
        literals: &["akia", "asia", "abia", "acca", "aroa", "aida"],
        edges: WordEdges::Left,
        find: aws_access_key,
    },
    LiteralRule {
        entity: Entity::ApiKey,
        name: "vendor_api_key",
        literals: &[
            "sk-",
            "sk_live_",
            "sk_test_",
            "rk_live_",
            "rk_test_",
            "whsec_",
            "ghp_",
            "gho_",
            "ghu_",
            "ghs_",
            "ghr_",
            "github_pat_",
            "glpat-",
            "xoxb-",
            "xoxp-",
            "xoxa-",
            "xoxr-",
            "xoxs-",
            "xapp-",
            "aiza",
            "ya29.",
            "npm_",
            "pypi-",
            "hf_",
            "sg.",
            "key-",
            "shpat_",
            "shpss_",
            "dop_v1_",
            "gsk_",
            "xai-",
            "r8_",
            "pryv_",
            "sq0atp-",
            "sq0csp-",
            "lin_api_",
            "figd_",
            "dapi",
            "tvly-",
            "pplx-",
            "vercel_",
            "ntn_",
            "eaaa",
            "nvapi-",
            "gocspx-",
            "dckr_pat_",
            "pmak-",
            "age-secret-key-1",
            "hvs.",
            "hvb.",
            "glsa_",
            "glc_",
            "sntrys_",
            "sbp_",
            "rnd_",
            "atatt3",
            "ops_",
            "pscale_",
            "phc_",
            "phx_",
            "fw_",
            "csk-",
            "secret_",
            "lsv2_",
            "re_",
            "cfut_",
            "doo_v1_",
            "tskey-",
            "nrak-",
        ],
        edges: WordEdges::Left,
        find: vendor_key,
    },
    LiteralRule {
        entity: Entity::ConnectionString,
        name: "connection_string",
        literals: &[
            "postgres://",
            "postgresql://",
            "mysql://",
            "mariadb://",
            "mongodb://",
            "mongodb+srv://",
            "redis://",
            "rediss://",
            "amqp://",
            "amqps://",
            "mssql://",
            "sqlserver://",
            "clickhouse://",
            "cockroachdb://",
            "nats://",
            "smtp://",
            "smtps://",
            "ldap://",
            "ldaps://",
            "sftp://",
            "kafka://",
            "couchbase://",
            "neo4j://",
            "http://",
            "https://",
            "ftp://",
            "ftps://",
            "ssh://",
        ],
        edges: WordEdges::Left,
        find: connection_string,
    },
];

/// RFC 7468 block whose label ends in `PRIVATE KEY`. One that was cut off is still a secret.
fn pem(input: RecognizerInput<'_>, begin: Range<usize>) -> Option<RuleMatch> {
    static LABEL: LazyLock<Regex> =
        LazyLock::new(|| compile(r"^ (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"));
    let label = LABEL.find(input.lookahead(begin.end, 64))?;
    let body = begin.end + label.end();
    // Base64 lines, armour headers, and `\n` written out as in JSON.
    let body_byte = |b: u8| {
        b.is_ascii_alphanumeric()
            || matches!(b, b'+' | b'/' | b'=' | b'\r' | b'\n' | b' ' | b'\\' | b':' | b',' | b'.')
    };
    let mut end = input.run(body, usize::MAX, body_byte);
    // Encrypted keys name a cipher with hyphens (`DEK-Info: AES-128-CBC`).
    while input.at(end) == Some(b'-') && input.at(end + 1).is_some_and(|b| b.is_ascii_alphanumeric()) {
        end = input.run(end + 1, usize::MAX, body_byte);
    }
    let footer = input.lookahead(end, 64);
    if let Some(label) = footer.strip_prefix("-----END") {
        end += label.find("-----").map_or(8, |at| 8 + at + 5);
    } else {
        end = input.run_back(end, end - body, |b| matches!(b, b' ' | b'\r' | b'\n' | b'\\'));
    }
    Some(RuleMatch::certain(begin.start..end, 1.0))
}

/// Three base64url parts, the first of which begins `{"` (RFC 7519).
fn jwt(input: RecognizerInput<'_>, start: Range<usize>) -> Option<RuleMatch> {
    let part =
        |from: usize| input.run(from, usize::MAX, |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    // Inside a hyphenated run it is not the start; reading on would cost a pass over the text per occurrence.
    if &input.bytes[start.clone()] != b"eyJ" || input.before(start.start) == Some(b'-') {
        return None;
    }
    let header = part(start.end);
    let claims = part(header + 1);
    let signature = part(claims + 1);
    let dotted = input.at(header) == Some(b'.') && input.at(claims) == Some(b'.');
    let sized = header - start.start >= 10 && claims.saturating_sub(header) > 8;
    (dotted && sized && input.bytes[header..].starts_with(b".ey"))
        .then(|| RuleMatch::certain(start.start..signature, 1.0))
}

/// Sixteen characters of base 32 behind a four-letter prefix (AWS IAM, unique identifiers).
fn aws_access_key(input: RecognizerInput<'_>, prefix: Range<usize>) -> Option<RuleMatch> {
    let end = input.run(prefix.start, 21, |b| {
        b.is_ascii_uppercase() || matches!(b, b'2'..=b'7' | b'0' | b'1' | b'8' | b'9')
    });
    let span = prefix.start..end;
    let has_digit = input.bytes[span.clone()].iter().any(u8::is_ascii_digit);
    (span.len() == 20 && has_digit && !input.touches_word(&span)).then(|| RuleMatch::certain(span, 0.95))
}

/// Formats that vendors publish so that scanners can find leaked keys.
fn vendor_key(input: RecognizerInput<'_>, prefix: Range<usize>) -> Option<RuleMatch> {
    static FORMATS: LazyLock<Regex> = LazyLock::new(|| {
        compile(concat!(
            r"^(?:sk-(?:ant-|proj-|svcacct-|admin-|or-v1-|lf-)?[A-Za-z0-9_-]{20,256}",
            r"|(?:[sr]k_(?:live|test)|whsec)_[A-Za-z0-9+/]{16,128}",
            r"|gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255}|glpat-[A-Za-z0-9_-]{20,64}",
            r"|xox[bpars]-[A-Za-z0-9-]{10,250}|xapp-[A-Za-z0-9-]{20,250}",
            r"|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,512}",
            r"|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,512}|hf_[A-Za-z0-9]{30,64}",
            r"|SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}|key-[0-9a-f]{32}",
            r"|shp(?:at|ss)_[0-9a-fA-F]{32}|dop_v1_[0-9a-f]{64}|sq0(?:atp|csp)-[A-Za-z0-9_-]{22,43}",
            r"|gsk_[A-Za-z0-9]{32,64}|xai-[A-Za-z0-9]{32,128}|r8_[A-Za-z0-9]{30,40}|tvly-[A-Za-z0-9-]{24,64}",
            r"|pplx-[A-Za-z0-9]{32,64}|pryv_[A-Za-z0-9_-]{16,128}|lin_api_[A-Za-z0-9]{32,48}|figd_[A-Za-z0-9_-]{32,64}",
            r"|GOCSPX-[A-Za-z0-9_-]{28}|nvapi-[A-Za-z0-9_-]{40,80}|dckr_pat_[A-Za-z0-9_-]{27}|PMAK-[0-9a-f]{24}-[0-9a-f]{34}|AGE-SECRET-KEY-1[0-9A-Z]{58}",
            r"|hv[sb]\.[A-Za-z0-9_-]{24,256}|gl(?:sa|c)_[A-Za-z0-9_=]{32,256}|sntrys_[A-Za-z0-9+/=_]{40,256}|sbp_[0-9a-f]{40}",
            r"|rnd_[A-Za-z0-9]{28,40}|ATATT3[A-Za-z0-9_=-]{60,256}|ops_[A-Za-z0-9_-]{100,512}|pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_.=-]{32,64}",
            r"|ph[cx]_[A-Za-z0-9]{40,64}|fw_[A-Za-z0-9]{22,32}|csk-[a-z0-9]{40,64}|secret_[A-Za-z0-9]{43}|lsv2_[a-z]{2}_[0-9a-f]{32}_[0-9a-f]{10}",
            r"|re_[A-Za-z0-9]{6,12}_[A-Za-z0-9]{20,32}|cfut_[A-Za-z0-9_-]{36,64}|doo_v1_[0-9a-f]{64}|tskey-[a-z]{3,6}-[A-Za-z0-9]{8,24}-[A-Za-z0-9]{20,48}|NRAK-[A-Z0-9]{27}",
            r"|dapi[0-9a-f]{32}|vercel_[A-Za-z0-9]{24,64}|ntn_[A-Za-z0-9]{40,60}|EAAA[A-Za-z0-9_-]{60})",
        ))
    });
    let found = FORMATS.find(input.lookahead(prefix.start, 600))?;
    let span = prefix.start..prefix.start + found.end();
    // A long identifier of words has the alphabet of a key but not its digits.
    let digits = found.as_str().bytes().filter(u8::is_ascii_digit).count();
    (digits >= 2 && !input.touches_word(&span)).then(|| RuleMatch::certain(span, 0.95))
}

/// `SK` and 32 hexadecimal digits (Twilio, API keys).
fn twilio(input: RecognizerInput<'_>, word: Word) -> Option<RuleMatch> {
    let hex = input.text[word.start..word.end].strip_prefix("SK").filter(|hex| hex.len() == 32)?;
    let lower = hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let span = word.start..word.end;
    (lower && !input.touches_word(&span)).then(|| RuleMatch::certain(span, 0.9))
}

/// The number of a bot, a colon, and 35 characters that begin with `AA` (Telegram, Bot API).
fn telegram(input: RecognizerInput<'_>, word: Word) -> Option<RuleMatch> {
    if !(8..=10).contains(&word.len()) || !word.char_kinds.only_digits() || input.at(word.end) != Some(b':') {
        return None;
    }
    let start = word.end + 1;
    let end = input.run(start, 36, |b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    let span = word.start..end;
    (end - start == 35 && input.bytes[start..].starts_with(b"AA") && !input.touches_word(&span))
        .then(|| RuleMatch::certain(span, 0.95))
}

/// A URI with a password in its authority (RFC 3986, 3.2.1).
fn connection_string(input: RecognizerInput<'_>, scheme: Range<usize>) -> Option<RuleMatch> {
    let uri = |b: u8| {
        !b.is_ascii_whitespace()
            && !b.is_ascii_control()
            && !matches!(b, b'<' | b'>' | b'"' | b'\'' | b'`' | b'{' | b'}')
    };
    let end = input.run(scheme.end, 1024, uri);
    let end = input.text.floor_char_boundary(end);
    let text = &input.text[scheme.end..end];
    let authority = text.split(['/', '?', '#']).next().unwrap_or(text);
    // A raw `/` in the password ends the authority early; the last `@` decides.
    let web = input.bytes[scheme.start..scheme.end].eq_ignore_ascii_case(b"http://")
        || input.bytes[scheme.start..scheme.end].eq_ignore_ascii_case(b"https://");
    let user_info = authority.rsplit_once('@').or_else(|| (!web).then(|| text.rsplit_once('@')).flatten())?.0;
    let (_, password) = user_info.split_once(':')?;
    let end = scheme.end + text.trim_end_matches(['.', ',', ';', ')', ']']).len();
    (!password.is_empty()).then(|| RuleMatch::certain(scheme.start..end, 0.96))
}
