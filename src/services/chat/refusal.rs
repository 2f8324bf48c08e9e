//! Why a request is not passed on.

use crate::services::pii::{ExaminationError, FileError};
use farebox_pii as pii;

/// Why a request was refused. The text names fields and never quotes contents.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChatError {
    #[error("the body is not valid JSON: {0}")]
    Syntax(String),
    #[error("there is no such model; {}", did_you_mean(.nearest.as_deref()))]
    UnknownModel { nearest: Option<String> },
    /// `field` is where: `messages[2].role`.
    #[error("{}", explain(.field, .what))]
    Refused { field: String, what: String },
    #[error(transparent)]
    Selection(#[from] pii::PiiConfigError),
    #[error("`{place}`: {error}")]
    File { place: String, error: FileError },
    #[error(transparent)]
    ExaminationError(#[from] ExaminationError),
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(
        || "GET /mpp/models lists those that are sold".to_owned(),
        |id| format!("did you mean `{id}`?"),
    )
}

fn explain(field: &str, what: &str) -> String {
    if field.is_empty() { what.to_owned() } else { format!("`{field}` {what}") }
}

impl ChatError {
    pub(super) fn refused(field: &str, what: &str) -> Self {
        Self::Refused { field: field.to_owned(), what: what.to_owned() }
    }

    /// The field at fault: `param` of an error in the shape of `/v1`.
    #[must_use]
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::Syntax(_) | Self::Selection(_) | Self::ExaminationError(_) => None,
            Self::File { place, .. } => Some(place),
            Self::UnknownModel { .. } => Some("model"),
            Self::Refused { field, .. } => Some(field).filter(|field| !field.is_empty()).map(String::as_str),
        }
    }
}
