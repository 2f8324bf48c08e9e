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
    /// The text to examine. Either this or `messages`.
    #[schema(example = "Mail jane@example.com or call +1 415 555 2671.")]
    pub text: Option<String>,
    /// Chat messages whose text is to be examined.
    pub messages: Option<Vec<MessageBody>>,
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

/// Text, or parts of type `text`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum ContentBody {
    Text(String),
    Parts(Vec<PartBody>),
}

#[derive(Debug, Serialize, ToSchema)]
pub struct PartBody {
    #[serde(rename = "type")]
    #[schema(example = "text")]
    pub kind: String,
    pub text: String,
}

/// Settings of the preview.
#[derive(Debug, Serialize, ToSchema)]
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
}
