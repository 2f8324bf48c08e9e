//! Settings for images and PDFs: `faceBlur`, `ocr` and `pdf` of `piiConfig`.

use serde_json::{Map, Value};

use super::{PiiConfigError, either, known, only, threshold};
use crate::image::{self, FaceMode, FaceOptions, ImageLimits, ImageOptions};
use crate::pdf::{self, DEFAULT_DPI, PageRanges, PdfOptions};

/// Resolutions that redacted PDFs can have, in dots per inch.
const DPI: std::ops::RangeInclusive<u64> = 36..=600;

/// Options for images and PDFs. The default looks for everything.
#[derive(Clone, Debug, PartialEq)]
pub struct FileOptions {
    /// Detection and covering of faces; none leaves them visible.
    pub faces: Option<FaceOptions>,
    /// True if text in pictures is read.
    pub ocr: bool,
    /// Least confidence, 0 to 1, of a line read in a picture; none for the default of images or PDFs.
    pub min_confidence: Option<f32>,
    /// Pages of PDFs to examine; none for all.
    pub pages: Option<PageRanges>,
    /// Resolution of redacted pages, in dots per inch.
    pub dpi: u16,
    /// Least score, 0 to 1, of a finding in a PDF; none for the threshold of other texts.
    pub pdf_threshold: Option<f32>,
}

impl Default for FileOptions {
    fn default() -> Self {
        let faces = FaceOptions { mode: FaceMode::Blur, ..FaceOptions::default() };
        Self {
            faces: Some(faces),
            ocr: true,
            min_confidence: None,
            pages: None,
            dpi: DEFAULT_DPI,
            pdf_threshold: None,
        }
    }
}

impl FileOptions {
    /// Reads the settings for files from `piiConfig`, in camel or snake case.
    ///
    /// # Errors
    /// [`PiiConfigError`] for any setting that cannot be applied: none is ignored.
    pub fn from_request(body: &Map<String, Value>) -> Result<Self, PiiConfigError> {
        let mut options = Self::default();
        let Some((key, config)) = either(body, "piiConfig", "pii_config")? else { return Ok(options) };
        let Value::Object(config) = config else {
            return Err(PiiConfigError::Type { key: key.to_owned(), expected: "an object" });
        };
        if let Some((key, value)) = either(config, "faceBlur", "face_blur")? {
            options.faces = faces(key, value)?;
        }
        if let Some(value) = config.get("ocr").filter(|value| !value.is_null()) {
            options.read_ocr(value)?;
        }
        if let Some(value) = config.get("pdf").filter(|value| !value.is_null()) {
            options.read_pdf(value)?;
        }
        Ok(options)
    }

    /// Returns the options for one image.
    #[must_use]
    pub fn image(&self, limits: ImageLimits) -> ImageOptions {
        let default = image::ImageOcrOptions::default().min_confidence;
        let min_confidence = self.min_confidence.unwrap_or(default);
        let ocr = self.ocr.then_some(image::ImageOcrOptions { min_confidence });
        ImageOptions { faces: self.faces, ocr, limits }
    }

    /// Returns the options for one PDF.
    #[must_use]
    pub fn pdf(&self, limits: pdf::PdfLimits) -> PdfOptions {
        let default = pdf::PdfOcrOptions::default().min_confidence;
        let min_confidence = self.min_confidence.unwrap_or(default);
        let ocr = self.ocr.then_some(pdf::PdfOcrOptions { min_confidence });
        PdfOptions { pages: self.pages.clone(), ocr, faces: self.faces, dpi: self.dpi, limits }
    }

    fn read_ocr(&mut self, value: &Value) -> Result<(), PiiConfigError> {
        let (on, settings) = switch("ocr", value)?;
        self.ocr = on;
        let Some(settings) = settings else { return Ok(()) };
        known("ocr.", settings, &["enabled", "minConfidence", "min_confidence", "language"])?;
        only("ocr.language", settings.get("language"), "en")?;
        if let Some((key, value)) = either(settings, "minConfidence", "min_confidence")? {
            self.min_confidence = Some(threshold(&format!("ocr.{key}"), value)?);
        }
        Ok(())
    }

    fn read_pdf(&mut self, value: &Value) -> Result<(), PiiConfigError> {
        let Value::Object(settings) = value else {
            return Err(PiiConfigError::Type { key: "pdf".to_owned(), expected: "an object" });
        };
        known("pdf.", settings, &["pages", "dpi", "threshold"])?;
        let given = |key: &str| settings.get(key).filter(|value| !value.is_null());
        self.pages = given("pages").map(pages).transpose()?;
        if let Some(value) = given("dpi") {
            let dpi = value.as_u64().filter(|dpi| DPI.contains(dpi)).and_then(|dpi| u16::try_from(dpi).ok());
            let wrong =
                PiiConfigError::Type { key: "pdf.dpi".to_owned(), expected: "a whole number from 36 to 600" };
            self.dpi = dpi.ok_or(wrong)?;
        }
        self.pdf_threshold = given("threshold").map(|value| threshold("pdf.threshold", value)).transpose()?;
        Ok(())
    }
}

/// On or off, and the settings if there are any.
type Toggle<'v> = (bool, Option<&'v Map<String, Value>>);

/// Reads `true`, `false`, or an object that means `true` unless its `enabled` is `false`.
fn switch<'v>(key: &str, value: &'v Value) -> Result<Toggle<'v>, PiiConfigError> {
    let wrong = |key: String, expected| PiiConfigError::Type { key, expected };
    match value {
        Value::Bool(on) => Ok((*on, None)),
        Value::Object(settings) => match settings.get("enabled") {
            None | Some(Value::Null) => Ok((true, Some(settings))),
            Some(Value::Bool(on)) => Ok((*on, Some(settings))),
            Some(_) => Err(wrong(format!("{key}.enabled"), "true or false")),
        },
        _ => Err(wrong(key.to_owned(), "true, false or an object")),
    }
}

fn faces(key: &str, value: &Value) -> Result<Option<FaceOptions>, PiiConfigError> {
    let (on, settings) = switch(key, value)?;
    let mut options = FileOptions::default().faces.unwrap_or_default();
    if let Some(settings) = settings {
        known(&format!("{key}."), settings, &["enabled", "mode", "strength", "threshold"])?;
        let given = |name: &str| settings.get(name).filter(|value| !value.is_null());
        let number =
            |name: &str| given(name).map(|value| threshold(&format!("{key}.{name}"), value)).transpose();
        options.mode = given("mode").map_or(Ok(options.mode), |value| mode(key, value))?;
        options.strength = number("strength")?.unwrap_or(options.strength);
        options.threshold = number("threshold")?.unwrap_or(options.threshold);
    }
    Ok(on.then_some(options))
}

fn mode(key: &str, value: &Value) -> Result<FaceMode, PiiConfigError> {
    match value.as_str() {
        Some("fill") => Ok(FaceMode::Fill),
        Some("pixelate") => Ok(FaceMode::Pixelate),
        Some("blur") => Ok(FaceMode::Blur),
        _ => Err(PiiConfigError::UnknownWord {
            key: format!("{key}.mode"),
            known: "`fill`, `pixelate` or `blur`",
        }),
    }
}

/// Reads page numbers: `"1-3,5"`, `3` or `[1, 2]`.
fn pages(value: &Value) -> Result<PageRanges, PiiConfigError> {
    let wrong = || PiiConfigError::Type {
        key: "pdf.pages".to_owned(),
        expected: "page numbers such as \"1-3,5\" or [1, 2]",
    };
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(_) => value.as_u64().ok_or_else(wrong)?.to_string(),
        Value::Array(list) => {
            let numbers = list.iter().map(|page| page.as_u64().map(|page| page.to_string()));
            numbers.collect::<Option<Vec<_>>>().ok_or_else(wrong)?.join(",")
        }
        _ => return Err(wrong()),
    };
    Ok(text.parse()?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[allow(clippy::needless_pass_by_value, reason = "tests write it in place")]
    fn read(config: Value) -> Result<FileOptions, String> {
        let body = json!({ "piiConfig": config });
        FileOptions::from_request(body.as_object().expect("an object")).map_err(|error| error.to_string())
    }

    #[test]
    fn everything_is_looked_for_unless_told_otherwise() {
        for config in [
            json!(null),
            json!({}),
            json!({ "faceBlur": true, "ocr": true, "pdf": {} }),
            json!({ "ocr": {} }),
        ] {
            assert_eq!(read(config), Ok(FileOptions::default()));
        }
        let off = read(json!({ "face_blur": false, "ocr": { "enabled": false } })).expect("valid");
        assert_eq!((off.faces, off.ocr), (None, false));
        assert_eq!(off.image(ImageLimits::default()).ocr, None);
        assert_eq!(off.pdf(pdf::PdfLimits::default()).ocr, None);
    }

    #[test]
    fn settings_are_taken_over() {
        let config = json!({
            "faceBlur": { "mode": "pixelate", "strength": 1, "threshold": 0.25 },
            "ocr": { "min_confidence": 0.75, "language": "en" },
            "pdf": { "pages": [2, 1], "dpi": 72, "threshold": 0.125 },
        });
        let options = read(config).expect("valid");
        let faces = FaceOptions { mode: FaceMode::Pixelate, strength: 1.0, threshold: 0.25 };
        assert_eq!(options.faces, Some(faces));
        assert_eq!(
            options.image(ImageLimits::default()).ocr,
            Some(image::ImageOcrOptions { min_confidence: 0.75 })
        );
        let pdf = options.pdf(pdf::PdfLimits::default());
        assert_eq!((pdf.ocr, pdf.dpi), (Some(pdf::PdfOcrOptions { min_confidence: 0.75 }), 72));
        assert_eq!(pdf.faces, Some(faces));
        assert_eq!((pdf.pages, options.pdf_threshold), ("1,2".parse().ok(), Some(0.125)));
        for pages in [json!("3"), json!(3), json!([3])] {
            let options = read(json!({ "pdf": { "pages": pages } })).expect("valid");
            assert_eq!(options.pages, "3".parse().ok());
        }
    }

    #[test]
    fn refusals_say_what_to_do() {
        for (config, message) in [
            (json!({ "faceBlur": "yes" }), "`faceBlur` must be true, false or an object"),
            (json!({ "face_blur": { "enabled": 1 } }), "`face_blur.enabled` must be true or false"),
            (
                json!({ "faceBlur": { "mode": "smear" } }),
                "`faceBlur.mode` must be `fill`, `pixelate` or `blur`",
            ),
            (
                json!({ "faceBlur": { "strength": 2 } }),
                "`faceBlur.strength` must be a number from 0 to 1, not 2",
            ),
            (
                json!({ "faceBlur": { "radius": 2 } }),
                "`faceBlur.radius` is not a setting; there are `enabled`, `mode`, `strength`, `threshold`",
            ),
            (
                json!({ "faceBlur": true, "face_blur": true }),
                "`faceBlur` and `face_blur` are the same setting: send one of them",
            ),
            (json!({ "ocr": 1 }), "`ocr` must be true, false or an object"),
            (
                json!({ "ocr": { "minConfidence": -1 } }),
                "`ocr.minConfidence` must be a number from 0 to 1, not -1",
            ),
            (
                json!({ "ocr": { "language": "de" } }),
                "`ocr.language` `de` is not available in this version; use `en`",
            ),
            (json!({ "pdf": true }), "`pdf` must be an object"),
            (
                json!({ "pdf": { "page": 1 } }),
                "`pdf.page` is not a setting; there are `pages`, `dpi`, `threshold`",
            ),
            (
                json!({ "pdf": { "pages": "first" } }),
                "`pdf`: `pages` must be page numbers and ranges such as `1-3,5`, not `first`",
            ),
            (
                json!({ "pdf": { "pages": [] } }),
                "`pdf`: `pages` must have 1 to 100 ranges; leave it out for all pages",
            ),
            (
                json!({ "pdf": { "pages": [1.5] } }),
                "`pdf.pages` must be page numbers such as \"1-3,5\" or [1, 2]",
            ),
            (json!({ "pdf": { "dpi": 10 } }), "`pdf.dpi` must be a whole number from 36 to 600"),
        ] {
            assert_eq!(read(config).expect_err(message), message);
        }
    }
}
