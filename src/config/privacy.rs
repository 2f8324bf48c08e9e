//! Personal data in chat.

use serde::{Deserialize, Serialize};

/// Treatment of personal data in prompts.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrivacyConfig {
    /// Mode of requests that name none.
    pub default_mode: PrivacyMode,
}

/// Treatment of the personal data of one prompt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrivacyMode {
    /// The prompt goes to the model as it is.
    #[default]
    Off,
    /// The model gets placeholders, and the answer has the originals again.
    Placeholder,
    /// The model gets placeholders, and they stay in the answer.
    Redact,
    /// The request is refused.
    Block,
}
