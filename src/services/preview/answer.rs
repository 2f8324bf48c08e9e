//! The answer of a preview.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use farebox_pii::Finding;
use farebox_pii::image::{Rect, RedactedImage};
use farebox_pii::pdf::{FindingSource, PdfRect, RedactedPdf};

/// What was found, and the input with placeholders such as `<EMAIL_ADDRESS>`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreviewAnswer {
    #[schema(example = "pii.preview")]
    pub(super) object: &'static str,
    /// The model that ran.
    #[schema(example = "fast")]
    pub(super) model: String,
    /// In texts, in order of appearance.
    pub(super) entities: Vec<FoundEntity>,
    /// Findings by entity, in texts, images and PDFs; faces as `FACE`.
    pub(super) counts: BTreeMap<&'static str, usize>,
    /// For a request with `text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) redacted_text: Option<String>,
    /// For a request with `messages`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) redacted_messages: Option<Vec<RedactedMessage>>,
    /// What was found in images, in the order of the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) images: Vec<ExaminedImage>,
    /// What was found in PDFs, in the order of the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) pdfs: Vec<ExaminedPdf>,
}

/// An image, and what was found in it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExaminedImage {
    /// Where it was in the request.
    #[schema(example = "images[0]")]
    path: String,
    /// Pixels, upright: an orientation in EXIF has been applied.
    width: u32,
    height: u32,
    /// In its text.
    entities: Vec<ImageEntity>,
    /// Faces that were covered.
    faces: Vec<FoundFace>,
    /// The redacted image as a data URL, without metadata. An image within `messages` is in `redactedMessages`.
    #[serde(skip_serializing_if = "Option::is_none")]
    redacted: Option<String>,
}

/// A rectangle. Of an image in pixels, of a page in points (1/72 inch), from the top left corner.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct Area {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

/// A finding in the text of an image.
#[derive(Debug, Serialize, ToSchema)]
pub struct ImageEntity {
    #[serde(rename = "type")]
    #[schema(example = "EMAIL_ADDRESS")]
    entity: &'static str,
    /// What was painted over, line by line.
    boxes: Vec<Area>,
    /// 0 to 1.
    score: f32,
    recognizer: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct FoundFace {
    #[serde(rename = "box")]
    area: Area,
    /// 0 to 1.
    score: f32,
}

/// A PDF, and what was found in it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExaminedPdf {
    /// Where it was in the request.
    #[schema(example = "pdfs[0]")]
    path: String,
    /// Pages that were examined: all that the redacted file has.
    pages: u32,
    entities: Vec<PdfEntity>,
    /// Faces in pictures that were covered.
    faces: Vec<PdfFace>,
    /// The redacted PDF as a data URL: a picture of each page, without text, metadata, attachments or earlier
    /// revisions. A PDF within `messages` is in `redactedMessages`.
    #[serde(skip_serializing_if = "Option::is_none")]
    redacted: Option<String>,
}

/// A face on a page.
#[derive(Debug, Serialize, ToSchema)]
pub struct PdfFace {
    /// The page of the file that was sent, from 1.
    page: u32,
    #[serde(rename = "box")]
    area: Area,
    /// 0 to 1.
    score: f32,
}

/// A finding on a page.
#[derive(Debug, Serialize, ToSchema)]
pub struct PdfEntity {
    #[serde(rename = "type")]
    #[schema(example = "EMAIL_ADDRESS")]
    entity: &'static str,
    /// The page of the file that was sent, from 1.
    page: u32,
    boxes: Vec<Area>,
    /// 0 to 1.
    score: f32,
    recognizer: &'static str,
    /// `text`: in the page's own text; `ocr`: in a picture.
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

/// One finding. Offsets count from the start of the text it was found in, as
/// you sent it; `end` is exclusive.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FoundEntity {
    #[serde(rename = "type")]
    #[schema(example = "EMAIL_ADDRESS")]
    entity: &'static str,
    /// The text it was found in, for a request with `messages`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "messages[0].content")]
    path: Option<String>,
    /// Characters (Unicode scalar values).
    start: usize,
    end: usize,
    /// Bytes of UTF-8.
    start_byte: usize,
    end_byte: usize,
    /// 0 to 1.
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

#[derive(Debug, Serialize, ToSchema)]
pub struct RedactedMessage {
    pub(super) role: String,
    pub(super) content: RedactedContent,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum RedactedContent {
    Text(String),
    Parts(Vec<RedactedPart>),
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum RedactedPart {
    Text(TextPart),
    /// An image or a PDF: the part as it was sent, holding the redacted file.
    #[schema(value_type = Object)]
    File(Value),
}

#[derive(Debug, Serialize, ToSchema)]
pub struct TextPart {
    #[serde(rename = "type")]
    #[schema(example = "text")]
    pub(super) kind: &'static str,
    pub(super) text: String,
}
