//! The answer of a preview.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use farebox_pii::Finding;

/// What was found, and the input with placeholders such as `<EMAIL_ADDRESS>`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreviewAnswer {
    #[schema(example = "pii.preview")]
    pub(super) object: &'static str,
    /// The model that ran.
    #[schema(example = "fast")]
    pub(super) model: String,
    /// In order of appearance.
    pub(super) entities: Vec<FoundEntity>,
    /// Findings by entity.
    pub(super) counts: BTreeMap<&'static str, usize>,
    /// For a request with `text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) redacted_text: Option<String>,
    /// For a request with `messages`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) redacted_messages: Option<Vec<RedactedMessage>>,
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
    Parts(Vec<TextPart>),
}

#[derive(Debug, Serialize, ToSchema)]
pub struct TextPart {
    #[serde(rename = "type")]
    #[schema(example = "text")]
    pub(super) kind: &'static str,
    pub(super) text: String,
}
