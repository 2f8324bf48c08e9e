//! Errors of `piiEntities` and `piiConfig`.

use crate::{entity::Entity, pdf::PageRangesError};

/// Reason a selection was refused. Messages say what to send instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PiiConfigError {
    /// A key has a value of another type than it takes.
    #[error("`{key}` must be {expected}")]
    Type {
        /// The key as written by the caller.
        key: String,
        /// The type it takes.
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
    /// An entity that does not exist.
    #[error("`{name}` is not an entity; did you mean `{nearest}`?")]
    UnknownEntity {
        /// The name as written, shortened.
        name: String,
        /// The most similar valid name.
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
    /// A setting that does not exist.
    #[error("`{key}` is not a setting; there are {known}")]
    UnknownKey {
        /// The key as written, shortened, with the path of its parent.
        key: String,
        /// The settings that exist in this object.
        known: String,
    },
    /// A string that is not one of the allowed values.
    #[error("`{key}` must be {known}")]
    UnknownWord {
        /// The key as written by the caller.
        key: String,
        /// The allowed values.
        known: &'static str,
    },
    /// Pages that are not numbers or ranges.
    #[error("`pdf`: {0}")]
    Pages(#[from] PageRangesError),
    /// A value that this version does not support.
    #[error("`{key}` `{value}` is not available in this version; use `{available}`")]
    Unavailable {
        /// The key as written by the caller.
        key: &'static str,
        /// The value as written, shortened.
        value: String,
        /// The value that is supported.
        available: &'static str,
    },
    /// The model of people and addresses is not loaded.
    #[error(
        "`model` `accurate` needs the Rampart model, which is not loaded here: use {available}, or have the server run with `models/rampart`"
    )]
    NoAccurateModel {
        /// Models that are loaded.
        available: String,
    },
    /// No model of that name is loaded.
    #[error("`model` `{name}` is not loaded here; use {available}")]
    UnknownModel {
        /// The name as written, shortened.
        name: String,
        /// Models that are loaded.
        available: String,
    },
    /// One setting given in two spellings.
    #[error("`{first}` and `{second}` are the same setting: send one of them")]
    Twice {
        /// Spelling in camel case.
        first: &'static str,
        /// Spelling in snake case.
        second: &'static str,
    },
}
