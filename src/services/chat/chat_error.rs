//! Errors of chat requests.

use crate::services::pii::{ExaminationError, FileError};
use farebox_pii as pii;

/// Reason for which a chat request is refused. The text names fields and never quotes their contents.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChatError {
    /// The body is not JSON; the text says where.
    #[error("the body is not valid JSON: {0}")]
    Syntax(String),
    /// `nearest` is the id that was most likely meant.
    #[error("there is no such model; {}", did_you_mean(.nearest.as_deref()))]
    UnknownModel { nearest: Option<String> },
    /// The messages are longer than the model's context, in tokens.
    #[error(
        "This model's maximum context length is {limit} tokens, and the messages are longer. Please reduce the length of \
         the messages."
    )]
    ContextLength { limit: u64 },
    /// A field is invalid; `field` is its position, such as `messages[2].role`, or empty for the body.
    #[error("{}", describe(.field, .problem))]
    InvalidField { field: String, problem: String },
    /// `piiEntities` or `piiConfig` is invalid.
    #[error(transparent)]
    Selection(#[from] pii::PiiConfigError),
    /// A file cannot be examined; `path` is its position.
    #[error("`{path}`: {error}")]
    File { path: String, error: FileError },
    /// The request could not be examined.
    #[error(transparent)]
    Examination(#[from] ExaminationError),
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(
        || "GET /mpp/models lists the models that are sold".to_owned(),
        |id| format!("did you mean `{id}`?"),
    )
}

fn describe(field: &str, problem: &str) -> String {
    if field.is_empty() { problem.to_owned() } else { format!("`{field}` {problem}") }
}

impl ChatError {
    /// Returns the error of an invalid field; `problem` completes the sentence that begins with its name.
    pub(super) fn invalid(field: &str, problem: &str) -> Self {
        Self::InvalidField { field: field.to_owned(), problem: problem.to_owned() }
    }

    /// Returns the field at fault: `param` of an error of `/v1`.
    #[must_use]
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::Syntax(_) | Self::Selection(_) | Self::Examination(_) => None,
            Self::File { path, .. } => Some(path),
            Self::UnknownModel { .. } => Some("model"),
            Self::ContextLength { .. } => Some("messages"),
            Self::InvalidField { field, .. } => {
                Some(field).filter(|field| !field.is_empty()).map(String::as_str)
            }
        }
    }
}
