//! Why the caller's wishes cannot be honoured.

use crate::{entity::Entity, pdf::PageRangesError};

/// Why a selection was refused. Messages say what to send instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A key has a value of another type than it takes.
    #[error("`{key}` must be {expected}")]
    Type {
        /// The key as written by the caller.
        key: String,
        /// What it takes.
        expected: &'static str,
    },
    /// A threshold outside 0 to 1.
    #[error("`{key}` must be a number from 0 to 1, not {value}")]
    Threshold {
        /// The key as written by the caller.
        key: String,
        /// The number as written.
        value: String,
    },
    /// No such entity.
    #[error("`{name}` is not an entity; did you mean `{nearest}`?")]
    UnknownEntity {
        /// The name as written, shortened.
        name: String,
        /// The valid name nearest to it.
        nearest: &'static str,
    },
    /// An entity that the chosen model cannot find.
    #[error("`{}` is not found by the `rules` model: set `model` to `fast`, or leave it out", .0.name())]
    NeedsModel(Entity),
    /// A list of entities that selects nothing.
    #[error("`{key}` selects nothing: name at least one entity, or leave it out to select all")]
    Empty {
        /// The key as written by the caller.
        key: String,
    },
    /// A setting that does nothing yet, or never existed.
    #[error("`{key}` is not a setting; there are {known}")]
    UnknownKey {
        /// The key as written, shortened, within the settings it stands in.
        key: String,
        /// The settings that there are at this place.
        known: String,
    },
    /// A word that is none of those that mean something.
    #[error("`{key}` must be {known}")]
    UnknownWord {
        /// The key as written by the caller.
        key: String,
        /// The words to choose from.
        known: &'static str,
    },
    /// Pages that are not numbers or ranges.
    #[error("`pdf`: {0}")]
    Pages(#[from] PageRangesError),
    /// A value that is not offered.
    #[error("`{key}` `{value}` is not available in this version; use `{available}`")]
    Unavailable {
        /// The key as written by the caller.
        key: &'static str,
        /// The value as written, shortened.
        value: String,
        /// The one value that works.
        available: &'static str,
    },
    /// The model of people and addresses is not there.
    #[error(
        "`model` `accurate` needs the Rampart model, which is not loaded here: use {available}, or have the server run with `models/rampart`"
    )]
    NoAccurateModel {
        /// The models that work.
        available: String,
    },
    /// No model of that name was configured.
    #[error("`model` `{name}` is not loaded here; use {available}")]
    UnknownModel {
        /// The name as written, shortened.
        name: String,
        /// The models that work.
        available: String,
    },
    /// The same setting under two spellings.
    #[error("`{first}` and `{second}` are the same setting: send one of them")]
    Twice {
        /// One spelling.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
}
