//! Personal data in text: findings with their places, and redacted text.

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

pub use engine::{NameClassifiers, PiiEngine};
pub use finding::{Finding, counts, redact};
pub(crate) use names::training;
