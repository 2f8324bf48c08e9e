//! The request body as documented. [`PreviewRequest::parse`] reads it, because it
//! explains itself better than a derived reader; a test holds the two together.
//!
//! [`PreviewRequest::parse`]: super::PreviewRequest::parse

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

/// What to examine, and how.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PreviewRequest)]
#[serde(rename_all = "camelCase")]
pub struct PreviewBody {
    /// The text to examine. Either this or `messages`, or neither beside files.
    #[schema(example = "Mail jane@example.com or call +1 415 555 2671.")]
    pub text: Option<String>,
    /// Chat messages whose text, images and PDFs are to be examined.
    pub messages: Option<Vec<MessageBody>>,
    /// Images to examine: base64 or `data:` URLs of PNG, JPEG, WebP, GIF or BMP. Text in them is read and what is found
    /// painted over; faces are blurred.
    #[schema(max_items = 8)]
    pub images: Option<Vec<String>>,
    /// PDFs to examine: base64 or `data:application/pdf` URLs. Comes back as pictures of the pages.
    #[schema(max_items = 8)]
    pub pdfs: Option<Vec<String>>,
    /// Entities to look for (all when absent). Alias: `pii_entities`.
    #[schema(example = json!(["EMAIL_ADDRESS", "PHONE_NUMBER"]))]
    pub pii_entities: Option<Vec<String>>,
    /// How to look. Alias: `pii_config`.
    pub pii_config: Option<ConfigBody>,
}

/// A chat message.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageBody {
    #[schema(example = "user")]
    pub role: String,
    pub content: ContentBody,
}

/// Text, or parts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum ContentBody {
    Text(String),
    Parts(Vec<PartBody>),
}

/// A part of a message: `text`, `image_url` or `file`, as in chat completions.
#[derive(Debug, Serialize, ToSchema)]
pub struct PartBody {
    #[serde(rename = "type")]
    #[schema(example = "text")]
    pub kind: String,
    /// Of a part of type `text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Of a part of type `image_url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_url: Option<ImageUrlBody>,
    /// Of a part of type `file`: a PDF.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<FileBody>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ImageUrlBody {
    /// A `data:` URL; others are not fetched.
    #[schema(example = "data:image/png;base64,…")]
    pub url: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct FileBody {
    /// A `data:` URL or base64.
    #[schema(example = "data:application/pdf;base64,…")]
    pub file_data: String,
}

/// How personal data is found, and what happens to it in images and PDFs.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigBody {
    /// Least score of a finding, 0 to 1 (default 0.5).
    pub threshold: Option<f32>,
    /// The same for single entities.
    pub thresholds: Option<BTreeMap<String, f32>>,
    /// What finds names of people, places and organisations: `rules` (nothing), `fast` (a small model; the
    /// default) or `accurate` (a network beside it, where the server has it).
    #[schema(example = "fast")]
    pub model: Option<String>,
    /// Only `en` in this version.
    #[schema(example = "en")]
    pub language: Option<String>,
    /// Faces in images: `true` (the default: blurred), `false`, or settings. Alias: `face_blur`.
    pub face_blur: Option<SwitchBody<FaceBlurBody>>,
    /// Text in images and in pictures of PDFs: `true` (the default: it is read), `false`, or settings.
    pub ocr: Option<SwitchBody<OcrBody>>,
    /// How PDFs are examined.
    pub pdf: Option<PdfBody>,
}

/// On, off, or on with settings.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum SwitchBody<T> {
    Switch(bool),
    Settings(T),
}

#[derive(Debug, Serialize, ToSchema)]
pub struct FaceBlurBody {
    /// Default true.
    pub enabled: Option<bool>,
    /// `blur` (the default), `pixelate` or `fill` (black). None of them can be undone.
    #[schema(example = "blur")]
    pub mode: Option<String>,
    /// How little is left by blurring and pixelating, 0 to 1 (default 0.5).
    pub strength: Option<f32>,
    /// Least probability of a face, 0 to 1 (default 0.4).
    pub threshold: Option<f32>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OcrBody {
    /// Default true.
    pub enabled: Option<bool>,
    /// Lines that are read with less confidence are taken for no text, 0 to 1 (default 0.5, in PDFs 0.3). Alias:
    /// `min_confidence`.
    pub min_confidence: Option<f32>,
    /// Only `en` in this version.
    #[schema(example = "en")]
    pub language: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct PdfBody {
    /// The pages to examine (all when absent), such as `1-3,5`; a number and a list of numbers will do. The redacted
    /// file has these pages only.
    #[schema(example = "1-3,5")]
    pub pages: Option<String>,
    /// Dots per inch of the redacted pages, 36 to 600 (default 150).
    pub dpi: Option<u16>,
    /// Least score of a finding in PDFs, in place of the other thresholds.
    pub threshold: Option<f32>,
}
