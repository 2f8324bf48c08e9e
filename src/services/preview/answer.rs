//! Answer of a preview.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use farebox_pii::Finding;
use farebox_pii::image::{Rect, RedactedImage};
use farebox_pii::pdf::{FindingSource, PdfRect, RedactedPdf};

/// Findings of a preview, and the input with placeholders such as `<EMAIL_ADDRESS>` in their place.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreviewAnswer {
    #[schema(example = "pii.preview")]
    pub(super) object: &'static str,
    /// Model that found names.
    #[schema(example = "fast")]
    pub(super) model: String,
    /// Findings in texts, in order of appearance.
    pub(super) entities: Vec<FoundEntity>,
    /// Numbers of findings by entity, in texts, images and PDFs; faces as `FACE`.
    pub(super) counts: BTreeMap<&'static str, usize>,
    /// Redacted `text`, if the request had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) redacted_text: Option<String>,
    /// Redacted `messages`, if the request had any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) redacted_messages: Option<Vec<RedactedMessage>>,
    /// Findings in images, in the order of the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) images: Vec<ExaminedImage>,
    /// Findings in PDFs, in the order of the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) pdfs: Vec<ExaminedPdf>,
}

/// Image, with its findings.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExaminedImage {
    /// Position in the request.
    #[schema(example = "images[0]")]
    path: String,
    /// Size in pixels, after an orientation in EXIF has been applied.
    width: u32,
    height: u32,
    /// Findings in its text.
    entities: Vec<ImageEntity>,
    /// Faces, which were covered.
    faces: Vec<FoundFace>,
    /// Redacted image as a data URL, without metadata. An image within `messages` is in `redactedMessages`.
    #[serde(skip_serializing_if = "Option::is_none")]
    redacted: Option<String>,
}

/// Rectangle, in pixels of an image or points (1/72 inch) of a page, from the top left corner.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct Area {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

/// Finding in the text of an image.
#[derive(Debug, Serialize, ToSchema)]
pub struct ImageEntity {
    #[serde(rename = "type")]
    #[schema(example = "EMAIL_ADDRESS")]
    entity: &'static str,
    /// Areas that were painted over, one for each line.
    boxes: Vec<Area>,
    /// Confidence, 0 to 1.
    score: f32,
    recognizer: &'static str,
}

/// Face in an image.
#[derive(Debug, Serialize, ToSchema)]
pub struct FoundFace {
    #[serde(rename = "box")]
    area: Area,
    /// Confidence, 0 to 1.
    score: f32,
}

/// PDF, with its findings.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExaminedPdf {
    /// Position in the request.
    #[schema(example = "pdfs[0]")]
    path: String,
    /// Number of pages that were examined: all pages of the redacted file.
    pages: u32,
    entities: Vec<PdfEntity>,
    /// Faces in images, which were covered.
    faces: Vec<PdfFace>,
    /// Redacted PDF as a data URL: an image of each page, without text, metadata, attachments or earlier
    /// revisions. A PDF within `messages` is in `redactedMessages`.
    #[serde(skip_serializing_if = "Option::is_none")]
    redacted: Option<String>,
}

/// Face on a page.
#[derive(Debug, Serialize, ToSchema)]
pub struct PdfFace {
    /// The page of the file that was sent, from 1.
    page: u32,
    #[serde(rename = "box")]
    area: Area,
    /// Confidence, 0 to 1.
    score: f32,
}

/// Finding on a page.
#[derive(Debug, Serialize, ToSchema)]
pub struct PdfEntity {
    #[serde(rename = "type")]
    #[schema(example = "EMAIL_ADDRESS")]
    entity: &'static str,
    /// The page of the file that was sent, from 1.
    page: u32,
    boxes: Vec<Area>,
    /// Confidence, 0 to 1.
    score: f32,
    recognizer: &'static str,
    /// Place of the finding: `text` in the page's own text, `ocr` in an image.
    #[schema(example = "text")]
    source: &'static str,
}

impl From<Rect> for Area {
    fn from(rect: Rect) -> Self {
        let [x, y, width, height] = [rect.x, rect.y, rect.width, rect.height].map(f64::from);
        Self { x, y, width, height }
    }
}

impl From<PdfRect> for Area {
    fn from(PdfRect { x, y, width, height }: PdfRect) -> Self {
        Self { x, y, width, height }
    }
}

impl ExaminedImage {
    pub(super) fn new(image: &RedactedImage, path: String, redacted: Option<String>) -> Self {
        let entities = image.findings.iter().map(|finding| ImageEntity {
            entity: finding.entity.name(),
            boxes: finding.boxes.iter().copied().map(Area::from).collect(),
            score: finding.score,
            recognizer: finding.recognizer,
        });
        let faces = image.faces.iter().map(|face| FoundFace { area: face.rect.into(), score: face.score });
        Self {
            path,
            width: image.width,
            height: image.height,
            entities: entities.collect(),
            faces: faces.collect(),
            redacted,
        }
    }
}

impl ExaminedPdf {
    pub(super) fn new(pdf: &RedactedPdf, path: String, redacted: Option<String>) -> Self {
        let entities = pdf.findings.iter().map(|finding| PdfEntity {
            entity: finding.entity.name(),
            page: finding.page,
            boxes: finding.boxes.iter().copied().map(Area::from).collect(),
            score: finding.score,
            recognizer: finding.recognizer,
            source: match finding.source {
                FindingSource::Text => "text",
                FindingSource::Ocr => "ocr",
            },
        });
        let faces = pdf.faces.iter();
        let faces = faces.map(|face| PdfFace { page: face.page, area: face.area.into(), score: face.score });
        Self { path, pages: pdf.pages, entities: entities.collect(), faces: faces.collect(), redacted }
    }
}

/// Finding in a text. Offsets count from the start of the text as it was sent; `end` is
/// exclusive.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FoundEntity {
    #[serde(rename = "type")]
    #[schema(example = "EMAIL_ADDRESS")]
    entity: &'static str,
    /// Position of the text, for a request with `messages`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "messages[0].content")]
    path: Option<String>,
    /// Offsets in characters (Unicode scalar values).
    start: usize,
    end: usize,
    /// Offsets in bytes of UTF-8.
    start_byte: usize,
    end_byte: usize,
    /// Confidence, 0 to 1.
    score: f32,
    recognizer: &'static str,
}

impl FoundEntity {
    pub(super) fn new(finding: &Finding, path: Option<&str>) -> Self {
        Self {
            entity: finding.entity.name(),
            path: path.map(str::to_owned),
            start: finding.start_char,
            end: finding.end_char,
            start_byte: finding.start_byte,
            end_byte: finding.end_byte,
            score: finding.score,
            recognizer: finding.recognizer,
        }
    }
}

/// Redacted message.
#[derive(Debug, Serialize, ToSchema)]
pub struct RedactedMessage {
    pub(super) role: String,
    pub(super) content: RedactedContent,
}

/// Content of a redacted message: text, or parts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum RedactedContent {
    Text(String),
    Parts(Vec<RedactedPart>),
}

/// Part of a redacted message.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum RedactedPart {
    Text(TextPart),
    /// Part of the form that was sent, with the redacted image or PDF.
    #[schema(value_type = Object)]
    File(Value),
}

/// Redacted text of a message's part.
#[derive(Debug, Serialize, ToSchema)]
pub struct TextPart {
    #[serde(rename = "type")]
    #[schema(example = "text")]
    pub(super) kind: &'static str,
    pub(super) text: String,
}
