//! Body of a preview request, for the documentation. [`PreviewRequest::parse`] reads the
//! body, because its errors are clearer than those of a derived reader; a test checks
//! that the two agree.
//!
//! [`PreviewRequest::parse`]: super::PreviewRequest::parse

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

/// Texts and files to examine, and settings.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PreviewRequest)]
#[serde(rename_all = "camelCase")]
pub struct PreviewBody {
    /// Text to examine. Send either this or `messages`, or neither with files.
    #[schema(example = "Mail jane@example.com or call +1 415 555 2671.")]
    pub text: Option<String>,
    /// Chat messages whose text, images and PDFs are to be examined.
    pub messages: Option<Vec<MessageBody>>,
    /// Images to examine: base64 or `data:` URLs of PNG, JPEG, WebP, GIF or BMP. Findings in their text are painted over;
    /// faces are blurred.
    #[schema(max_items = 8)]
    pub images: Option<Vec<String>>,
    /// PDFs to examine: base64 or `data:application/pdf` URLs. They are returned as images of the pages.
    #[schema(max_items = 8)]
    pub pdfs: Option<Vec<String>>,
    /// Entities to look for (all when absent). Alias: `pii_entities`.
    #[schema(example = json!(["EMAIL_ADDRESS", "PHONE_NUMBER"]))]
    pub pii_entities: Option<Vec<String>>,
    /// Settings of the examination. Alias: `pii_config`.
    pub pii_config: Option<ConfigBody>,
}

/// Chat message.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageBody {
    #[schema(example = "user")]
    pub role: String,
    pub content: ContentBody,
}

/// Content of a message: text, or parts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum ContentBody {
    Text(String),
    Parts(Vec<PartBody>),
}

/// Part of a message: `text`, `image_url` or `file`, as in chat completions.
#[derive(Debug, Serialize, ToSchema)]
pub struct PartBody {
    #[serde(rename = "type")]
    #[schema(example = "text")]
    pub kind: String,
    /// Text of a part of type `text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Image of a part of type `image_url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_url: Option<ImageUrlBody>,
    /// PDF of a part of type `file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<FileBody>,
}

/// Image of a message's part.
#[derive(Debug, Serialize, ToSchema)]
pub struct ImageUrlBody {
    /// `data:` URL; others are not fetched.
    #[schema(example = "data:image/png;base64,…")]
    pub url: String,
}

/// File of a message's part.
#[derive(Debug, Serialize, ToSchema)]
pub struct FileBody {
    /// `data:` URL or base64.
    #[schema(example = "data:application/pdf;base64,…")]
    pub file_data: String,
}

/// Settings for finding personal data, and for redacting images and PDFs.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigBody {
    /// Least score of a finding, 0 to 1 (default 0.5).
    pub threshold: Option<f32>,
    /// Least scores of findings of single entities, 0 to 1.
    pub thresholds: Option<BTreeMap<String, f32>>,
    /// Model that finds names of people, places and organisations: `rules` (none), `fast` (a small model; the
    /// default) or `accurate` (a network beside it, if the server has it).
    #[schema(example = "fast")]
    pub model: Option<String>,
    /// Language of the texts; only `en` in this version.
    #[schema(example = "en")]
    pub language: Option<String>,
    /// Faces in images: `true` (the default: blurred), `false`, or settings. Alias: `face_blur`.
    pub face_blur: Option<SwitchBody<FaceBlurBody>>,
    /// Text in images and in images of PDFs: `true` (the default: it is read), `false`, or settings.
    pub ocr: Option<SwitchBody<OcrBody>>,
    /// Settings for PDFs.
    pub pdf: Option<PdfBody>,
}

/// Switch: on, off, or on with settings.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum SwitchBody<T> {
    Switch(bool),
    Settings(T),
}

/// Settings for faces.
#[derive(Debug, Serialize, ToSchema)]
pub struct FaceBlurBody {
    /// True (the default) to cover faces.
    pub enabled: Option<bool>,
    /// Way of covering faces: `blur` (the default), `pixelate` or `fill` (black). None of them can be undone.
    #[schema(example = "blur")]
    pub mode: Option<String>,
    /// Strength of blurring and pixelating, 0 to 1 (default 0.5).
    pub strength: Option<f32>,
    /// Least probability of a face, 0 to 1 (default 0.4).
    pub threshold: Option<f32>,
}

/// Settings for text in images.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OcrBody {
    /// True (the default) to read text in images.
    pub enabled: Option<bool>,
    /// Least confidence of a line of text, 0 to 1 (default 0.5, in PDFs 0.3); other lines are ignored. Alias:
    /// `min_confidence`.
    pub min_confidence: Option<f32>,
    /// Language of the text; only `en` in this version.
    #[schema(example = "en")]
    pub language: Option<String>,
}

/// Settings for PDFs.
#[derive(Debug, Serialize, ToSchema)]
pub struct PdfBody {
    /// Pages to examine (all when absent), such as `1-3,5`; a number or a list of numbers is accepted too. The redacted
    /// file has only these pages.
    #[schema(example = "1-3,5")]
    pub pages: Option<String>,
    /// Resolution of the redacted pages in dots per inch, 36 to 600 (default 150).
    pub dpi: Option<u16>,
    /// Least score of a finding in PDFs, in place of the other thresholds.
    pub threshold: Option<f32>,
}
