//! Files in JSON strings: base64 or data URLs (RFC 2397).

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use crate::{image::ImageError, pdf::PdfError};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Error of decoding a file from a JSON string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DataUrlError {
    Empty,
    TooMany,
    Encoding(&'static str),
}

/// Decodes an image from `data:image/png;base64,…` or bare base64, with or without padding and line breaks.
///
/// A data URL must name an image of any format: the bytes tell which.
///
/// # Errors
/// [`ImageError`] when the text is not base64, or decodes to more than `max_bytes` bytes, which is checked before
/// anything is decoded.
pub fn image_bytes(text: &str, max_bytes: usize) -> Result<Vec<u8>, ImageError> {
    bytes(text, &["image/"], max_bytes).map_err(|wrong| match wrong {
        DataUrlError::Empty => ImageError::Empty,
        DataUrlError::TooMany => ImageError::TooManyBytes { limit: max_bytes },
        DataUrlError::Encoding(cause) => ImageError::BadEncoding(cause),
    })
}

/// Decodes a PDF, as [`image_bytes`] decodes an image.
///
/// # Errors
/// [`PdfError`] when the text is not base64, or decodes to more than `max_bytes` bytes.
pub fn pdf_bytes(text: &str, max_bytes: usize) -> Result<Vec<u8>, PdfError> {
    bytes(text, &["application/pdf", "application/x-pdf"], max_bytes).map_err(|wrong| match wrong {
        DataUrlError::Empty => PdfError::NotPdf,
        DataUrlError::TooMany => PdfError::TooLarge { limit: max_bytes },
        DataUrlError::Encoding(cause) => PdfError::BadEncoding(cause),
    })
}

fn bytes(text: &str, kinds: &[&str], max_bytes: usize) -> Result<Vec<u8>, DataUrlError> {
    let text = text.trim();
    let data = match text.get(..5) {
        Some(scheme) if scheme.eq_ignore_ascii_case("data:") => payload(&text[5..], kinds)?,
        _ => text,
    };
    if data.is_empty() {
        return Err(DataUrlError::Empty);
    }
    // MIME's line breaks make it a little longer; nothing else belongs there.
    if data.len() / 4 > max_bytes / 3 + max_bytes / 64 + 3 {
        return Err(DataUrlError::TooMany);
    }
    let bytes = if data.bytes().any(|byte| byte.is_ascii_whitespace()) {
        let data: Vec<u8> = data.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        BASE64.decode(data)
    } else {
        BASE64.decode(data)
    };
    let bytes =
        bytes.map_err(|_| DataUrlError::Encoding("a character or the length is not that of base64"))?;
    if bytes.len() > max_bytes { Err(DataUrlError::TooMany) } else { Ok(bytes) }
}

/// Data behind the comma of a data URL, if its media type is one of `kinds` and its encoding base64.
fn payload<'t>(url: &'t str, kinds: &[&str]) -> Result<&'t str, DataUrlError> {
    let (head, data) =
        url.split_once(',').ok_or(DataUrlError::Encoding("a data URL needs a comma before its data"))?;
    let mut parts = head.split(';').map(str::trim);
    let named = parts.next().unwrap_or_default();
    let is_named = |kind: &&str| named.get(..kind.len()).is_some_and(|head| head.eq_ignore_ascii_case(kind));
    if !kinds.iter().any(is_named) {
        return Err(DataUrlError::Encoding("the data URL names another media type"));
    }
    if !parts.any(|part| part.eq_ignore_ascii_case("base64")) {
        return Err(DataUrlError::Encoding("only data URLs in base64 are read"));
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_urls_and_bare_base64() {
        for text in
            ["data:image/png;base64,AQID", "DATA:Image/PNG;charset=utf-8;BASE64,AQID", " AQID\n", "AQ\r\nID"]
        {
            assert_eq!(image_bytes(text, 3), Ok(vec![1, 2, 3]), "{text}");
        }
        assert_eq!(image_bytes("AQI", 3), Ok(vec![1, 2]));
        assert_eq!(image_bytes("AQI=", 3), Ok(vec![1, 2]));
    }

    #[test]
    fn says_what_is_wrong() {
        let bad = |text| match image_bytes(text, 100) {
            Err(ImageError::BadEncoding(cause)) => cause,
            other => panic!("{text}: {other:?}"),
        };
        assert!(bad("data:image/png;base64").contains("comma"));
        assert!(bad("data:text/html;base64,AQID").contains("another media type"));
        assert!(bad("data:,AQID").contains("another media type"));
        assert!(bad("data:image/png,AQID").contains("base64"));
        assert!(bad("https://example.org/a.png").contains("character"));
        assert!(bad("ä").contains("character"));
        assert_eq!(image_bytes("", 100), Err(ImageError::Empty));
        assert_eq!(image_bytes("data:image/png;base64,", 100), Err(ImageError::Empty));
    }

    #[test]
    fn pdfs_are_read_alike() {
        for text in
            ["data:application/pdf;base64,AQID", "DATA:Application/X-PDF;name=x.pdf;Base64,AQID", "AQID"]
        {
            assert_eq!(pdf_bytes(text, 3), Ok(vec![1, 2, 3]), "{text}");
        }
        assert_eq!(pdf_bytes("AQID", 2), Err(PdfError::TooLarge { limit: 2 }));
        assert_eq!(pdf_bytes("", 2), Err(PdfError::NotPdf));
        let image = pdf_bytes("data:image/png;base64,AQID", 3);
        assert_eq!(image, Err(PdfError::BadEncoding("the data URL names another media type")));
    }

    #[test]
    fn refuses_too_much_before_decoding() {
        let limit = Err(ImageError::TooManyBytes { limit: 300 });
        // Not base64, which would be noticed if it was decoded.
        assert_eq!(image_bytes(&"!".repeat(1000), 300), limit);
        assert_eq!(image_bytes(&"A".repeat(404), 300), limit);
        assert_eq!(image_bytes(&"A".repeat(400), 300).map(|bytes| bytes.len()), Ok(300));
    }
}
