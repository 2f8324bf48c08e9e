//! Images inside of JSON: base64 or data URLs (RFC 2397).

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::ImageError;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The bytes of `data:image/png;base64,…` or of bare base64, with or without padding and line breaks.
///
/// What a data URL says about the kind of image is only asked to be an image: the bytes tell the rest. More than
/// `max_bytes` are refused before anything is decoded.
pub fn image_bytes(text: &str, max_bytes: usize) -> Result<Vec<u8>, ImageError> {
    let text = text.trim();
    let data = match text.get(..5) {
        Some(scheme) if scheme.eq_ignore_ascii_case("data:") => payload(&text[5..])?,
        _ => text,
    };
    if data.is_empty() {
        return Err(ImageError::Empty);
    }
    // Line breaks of MIME make it a little longer; nothing else should be in there.
    if data.len() / 4 > max_bytes / 3 + max_bytes / 64 + 3 {
        return Err(ImageError::TooManyBytes { limit: max_bytes });
    }
    let bytes = if data.bytes().any(|byte| byte.is_ascii_whitespace()) {
        let data: Vec<u8> = data.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        BASE64.decode(data)
    } else {
        BASE64.decode(data)
    };
    let bytes =
        bytes.map_err(|_| ImageError::BadEncoding("a character or the length is not that of base64"))?;
    if bytes.len() > max_bytes {
        return Err(ImageError::TooManyBytes { limit: max_bytes });
    }
    Ok(bytes)
}

/// What follows the comma, if what stands before it promises an image in base64.
fn payload(url: &str) -> Result<&str, ImageError> {
    let (head, data) =
        url.split_once(',').ok_or(ImageError::BadEncoding("a data URL needs a comma before its data"))?;
    let mut parts = head.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    if !kind.get(..6).is_some_and(|kind| kind.eq_ignore_ascii_case("image/")) {
        return Err(ImageError::BadEncoding("the data URL does not say that it is an image"));
    }
    if !parts.any(|part| part.eq_ignore_ascii_case("base64")) {
        return Err(ImageError::BadEncoding("only data URLs in base64 are read"));
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
        assert!(bad("data:text/html;base64,AQID").contains("image"));
        assert!(bad("data:,AQID").contains("image"));
        assert!(bad("data:image/png,AQID").contains("base64"));
        assert!(bad("https://example.org/a.png").contains("character"));
        assert!(bad("ä").contains("character"));
        assert_eq!(image_bytes("", 100), Err(ImageError::Empty));
        assert_eq!(image_bytes("data:image/png;base64,", 100), Err(ImageError::Empty));
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
