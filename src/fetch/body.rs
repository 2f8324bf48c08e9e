//! What was fetched, as text: unpacked, decoded, and as people read it. No I/O.

use std::io::Read as _;

use encoding_rs::{Encoding, UTF_8};
use flate2::read::MultiGzDecoder;

use super::error::FetchError;
use super::html;

/// Where a page may name its encoding (HTML, "Determining the character encoding").
const NAMED_WITHIN: usize = 1024;

/// What can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Html,
    /// Text that stays as it is.
    Plain,
    Pdf,
    /// A PDF if it turns out to be one.
    Unnamed,
}

impl Kind {
    /// The kind that a `Content-Type` names.
    pub(super) fn of(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "text/html" | "application/xhtml+xml" => Some(Self::Html),
            "application/pdf" | "application/x-pdf" => Some(Self::Pdf),
            "application/octet-stream" | "binary/octet-stream" => Some(Self::Unnamed),
            "application/json" | "application/xml" | "application/x-ndjson" | "application/yaml" => {
                Some(Self::Plain)
            }
            other if other.starts_with("text/") => Some(Self::Plain),
            other if other.starts_with("application/") => {
                (other.ends_with("+json") || other.ends_with("+xml")).then_some(Self::Plain)
            }
            _ => None,
        }
    }
}

/// Undoes a gzip compression.
///
/// # Errors
/// When it is damaged, or becomes larger than `most` bytes.
pub(super) fn unpack(packed: &[u8], most: usize) -> Result<Vec<u8>, FetchError> {
    let mut unpacked = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    MultiGzDecoder::new(packed)
        .take(limit)
        .read_to_end(&mut unpacked)
        .map_err(|_| FetchError::Compression)?;
    if unpacked.len() > most { Err(FetchError::TooLarge(most)) } else { Ok(unpacked) }
}

/// The text of a page or file that is not a PDF.
pub(super) fn text(body: &[u8], content_type: &str, kind: Kind) -> String {
    let named = label(content_type.as_bytes());
    let within = || body.get(..body.len().min(NAMED_WITHIN)).and_then(label);
    let encoding = named.or_else(|| (kind == Kind::Html).then(within).flatten()).unwrap_or(UTF_8);
    let (decoded, _, _) = encoding.decode(body);
    match kind {
        Kind::Html => html::text(&decoded),
        Kind::Plain | Kind::Pdf | Kind::Unnamed => decoded.trim_end().to_owned(),
    }
}

/// The encoding that follows `charset=`.
fn label(text: &[u8]) -> Option<&'static Encoding> {
    let text = text.to_ascii_lowercase();
    let at = text.windows(8).position(|word| word == b"charset=")? + 8;
    let rest = text.get(at..)?;
    let rest = rest.strip_prefix(b"\"").or_else(|| rest.strip_prefix(b"'")).unwrap_or(rest);
    let length =
        rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"-_:.".contains(byte)).count();
    Encoding::for_label(rest.get(..length)?)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    #[test]
    fn kinds_are_told_by_their_type() {
        for (content_type, expected) in [
            ("text/html; charset=utf-8", Some(Kind::Html)),
            ("TEXT/HTML", Some(Kind::Html)),
            ("text/markdown", Some(Kind::Plain)),
            ("application/json", Some(Kind::Plain)),
            ("application/ld+json;x", Some(Kind::Plain)),
            ("application/atom+xml", Some(Kind::Plain)),
            ("application/pdf", Some(Kind::Pdf)),
            ("application/octet-stream", Some(Kind::Unnamed)),
            ("image/svg+xml", None),
            ("image/png", None),
            ("application/zip", None),
            ("", None),
        ] {
            assert_eq!(Kind::of(content_type), expected, "{content_type}");
        }
    }

    #[test]
    fn encodings_are_found_where_they_are_named() {
        for (content_type, body, expected) in [
            ("text/plain", &b"gr\xc3\xbcn\n"[..], "gr\u{fc}n"),
            ("text/plain; charset=\"ISO-8859-1\"", b"gr\xfcn", "gr\u{fc}n"),
            ("text/html", b"<meta charset=windows-1252>gr\xfcn", "gr\u{fc}n"),
            ("text/html", b"<meta content='text/html; charset=koi8-r'>\xd4\xc1\xcb", "\u{442}\u{430}\u{43a}"),
            ("text/plain; charset=nonsense", b"ok \xff", "ok \u{fffd}"),
            ("text/plain; charset=latin1", b"\xef\xbb\xbfgr\xc3\xbcn", "gr\u{fc}n"),
            ("text/plain; charset=", b"ok", "ok"),
        ] {
            let kind = Kind::of(content_type).expect("readable");
            assert_eq!(text(body, content_type, kind), expected, "{content_type}");
        }
    }

    #[test]
    fn attack_25_a_gzip_bomb_is_unpacked_to_the_limit_only() {
        let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
        for _ in 0..64 {
            bomb.write_all(&vec![0; 1 << 20]).expect("memory");
        }
        let bomb = bomb.finish().expect("memory");
        assert!(bomb.len() < 100_000);
        assert_eq!(unpack(&bomb, 1 << 20), Err(FetchError::TooLarge(1 << 20)));
        let mut fine = GzEncoder::new(Vec::new(), Compression::best());
        fine.write_all(b"hello").expect("memory");
        let fine = fine.finish().expect("memory");
        assert_eq!(unpack(&fine, 5), Ok(b"hello".to_vec()));
        assert_eq!(unpack(&fine, 4), Err(FetchError::TooLarge(4)));
        assert_eq!(unpack(&fine[..fine.len() - 4], 99), Err(FetchError::Compression));
        assert_eq!(unpack(b"not gzip", 99), Err(FetchError::Compression));
    }
}
