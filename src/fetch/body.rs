//! Bodies of responses: decompressed, decoded, and as readable text. No I/O.

use std::io::Read as _;

use encoding_rs::{Encoding, UTF_8};
use flate2::read::MultiGzDecoder;

use super::error::FetchError;
use super::html;

/// Bytes at the start of a page in which it may name its encoding (HTML, "Determining
/// the character encoding").
const ENCODING_WITHIN: usize = 1024;

/// Kind of content that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContentKind {
    Html,
    /// Text that is returned as it is.
    Plain,
    Pdf,
    /// A PDF if it has the header of one.
    Binary,
}

impl ContentKind {
    /// Kind that a `Content-Type` names; none if it cannot be read.
    pub(super) fn of(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "text/html" | "application/xhtml+xml" => Some(Self::Html),
            "application/pdf" | "application/x-pdf" => Some(Self::Pdf),
            "application/octet-stream" | "binary/octet-stream" => Some(Self::Binary),
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

/// Decompresses gzip.
///
/// # Errors
/// [`FetchError`] when it is damaged, or decompresses to more than `max_bytes` bytes.
pub(super) fn decompress(compressed: &[u8], max_bytes: usize) -> Result<Vec<u8>, FetchError> {
    let mut decompressed = Vec::new();
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX).saturating_add(1);
    MultiGzDecoder::new(compressed)
        .take(limit)
        .read_to_end(&mut decompressed)
        .map_err(|_| FetchError::Compression)?;
    if decompressed.len() > max_bytes { Err(FetchError::TooLarge(max_bytes)) } else { Ok(decompressed) }
}

/// Text of a page or a file that is not a PDF.
pub(super) fn text(body: &[u8], content_type: &str, kind: ContentKind) -> String {
    let named = label(content_type.as_bytes());
    let within = || body.get(..body.len().min(ENCODING_WITHIN)).and_then(label);
    let encoding = named.or_else(|| (kind == ContentKind::Html).then(within).flatten()).unwrap_or(UTF_8);
    let (decoded, _, _) = encoding.decode(body);
    match kind {
        ContentKind::Html => html::text(&decoded),
        ContentKind::Plain | ContentKind::Pdf | ContentKind::Binary => decoded.trim_end().to_owned(),
    }
}

/// Encoding that a text names behind `charset=`.
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
            ("text/html; charset=utf-8", Some(ContentKind::Html)),
            ("TEXT/HTML", Some(ContentKind::Html)),
            ("text/markdown", Some(ContentKind::Plain)),
            ("application/json", Some(ContentKind::Plain)),
            ("application/ld+json;x", Some(ContentKind::Plain)),
            ("application/atom+xml", Some(ContentKind::Plain)),
            ("application/pdf", Some(ContentKind::Pdf)),
            ("application/octet-stream", Some(ContentKind::Binary)),
            ("image/svg+xml", None),
            ("image/png", None),
            ("application/zip", None),
            ("", None),
        ] {
            assert_eq!(ContentKind::of(content_type), expected, "{content_type}");
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
            let kind = ContentKind::of(content_type).expect("readable");
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
        assert_eq!(decompress(&bomb, 1 << 20), Err(FetchError::TooLarge(1 << 20)));
        let mut fine = GzEncoder::new(Vec::new(), Compression::best());
        fine.write_all(b"hello").expect("memory");
        let fine = fine.finish().expect("memory");
        assert_eq!(decompress(&fine, 5), Ok(b"hello".to_vec()));
        assert_eq!(decompress(&fine, 4), Err(FetchError::TooLarge(4)));
        assert_eq!(decompress(&fine[..fine.len() - 4], 99), Err(FetchError::Compression));
        assert_eq!(decompress(b"not gzip", 99), Err(FetchError::Compression));
    }
}
