//! Files inside of JSON: base64 or data URLs (RFC 2397).

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

/// What is wrong with a file inside of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Empty,
    TooMany,
    Encoding(&'static str),
}

/// The bytes of an image, from `data:image/png;base64,…` or bare base64, with or without padding and line breaks.
///
/// What a data URL says about the kind of image is only asked to be an image: the bytes tell the rest.
///
/// # Errors
/// When it is no base64, or more than `max_bytes`, which are refused before anything is decoded.
pub fn image_bytes(text: &str, max_bytes: usize) -> Result<Vec<u8>, ImageError> {
    bytes(text, &["image/"], max_bytes).map_err(|wrong| match wrong {
        Wrong::Empty => ImageError::Empty,
        Wrong::TooMany => ImageError::TooManyBytes { limit: max_bytes },
        Wrong::Encoding(cause) => ImageError::BadEncoding(cause),
    })
}

/// The bytes of a PDF, as [`image_bytes`] has those of an image.
///
/// # Errors
/// When it is no base64, or more than `max_bytes`.
pub fn pdf_bytes(text: &str, max_bytes: usize) -> Result<Vec<u8>, PdfError> {
    bytes(text, &["application/pdf", "application/x-pdf"], max_bytes).map_err(|wrong| match wrong {
        Wrong::Empty => PdfError::NotPdf,
        Wrong::TooMany => PdfError::TooLarge { limit: max_bytes },
        Wrong::Encoding(cause) => PdfError::BadEncoding(cause),
    })
}

fn bytes(text: &str, kinds: &[&str], max_bytes: usize) -> Result<Vec<u8>, Wrong> {
    let text = text.trim();
    let data = match text.get(..5) {
        Some(scheme) if scheme.eq_ignore_ascii_case("data:") => payload(&text[5..], kinds)?,
        _ => text,
    };
    if data.is_empty() {
        return Err(Wrong::Empty);
    }
    // Line breaks of MIME make it a little longer; nothing else should be in there.
    if data.len() / 4 > max_bytes / 3 + max_bytes / 64 + 3 {
        return Err(Wrong::TooMany);
    }
    let bytes = if data.bytes().any(|byte| byte.is_ascii_whitespace()) {
        let data: Vec<u8> = data.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        BASE64.decode(data)
    } else {
        BASE64.decode(data)
    };
    let bytes = bytes.map_err(|_| Wrong::Encoding("a character or the length is not that of base64"))?;
    if bytes.len() > max_bytes { Err(Wrong::TooMany) } else { Ok(bytes) }
}

/// What follows the comma, if what stands before it promises one of `kinds` in base64.
fn payload<'t>(url: &'t str, kinds: &[&str]) -> Result<&'t str, Wrong> {
    let (head, data) =
        url.split_once(',').ok_or(Wrong::Encoding("a data URL needs a comma before its data"))?;
    let mut parts = head.split(';').map(str::trim);
    let named = parts.next().unwrap_or_default();
    let is_named = |kind: &&str| named.get(..kind.len()).is_some_and(|head| head.eq_ignore_ascii_case(kind));
    if !kinds.iter().any(is_named) {
        return Err(Wrong::Encoding("the data URL says that it is something else"));
    }
    if !parts.any(|part| part.eq_ignore_ascii_case("base64")) {
        return Err(Wrong::Encoding("only data URLs in base64 are read"));
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
        assert!(bad("data:text/html;base64,AQID").contains("something else"));
        assert!(bad("data:,AQID").contains("something else"));
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
        assert_eq!(image, Err(PdfError::BadEncoding("the data URL says that it is something else")));
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
