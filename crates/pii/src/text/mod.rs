//! Text: what is found, where, and the text without it.

mod candidate;
mod checksum;
mod context;
mod engine;
mod finding;
mod id_rule;
mod input;
mod layout;
mod names;
mod normalize;
mod overlap;
mod recognizers;

pub use engine::{Engine, Models};
pub use finding::{Finding, counts, redact};
pub(crate) use names::training;
