//! Personal data in chat.

use serde::{Deserialize, Serialize};

/// What happens to personal data in prompts.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrivacyConfig {
    /// For requests that do not say what they want.
    pub default_mode: PrivacyMode,
}

/// What happens to the personal data of one prompt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrivacyMode {
    /// It goes to the model as it is.
    #[default]
    Off,
    /// The model gets placeholders, and the answer has the originals again.
    Placeholder,
    /// The model gets placeholders, and they stay in the answer.
    Redact,
    /// The request is refused.
    Block,
}
