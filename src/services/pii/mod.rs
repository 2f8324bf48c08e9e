//! Personal data and secrets in text, found by rules.
//!
//! Text is normalised with a way back to the caller's bytes, read once for words and once for literals,
//! and each recogniser is only called where one of its numbers or literals could start. Recognisers
//! check what can be checked (check digits, issuers' rules) and look at the words around for the rest.
//! Overlapping candidates are resolved by strength of evidence.
//!
//! Everything here is pure: no I/O, no clock, no state between calls. The work is linear in the text;
//! the caller limits its size.
//!
//! ```
//! use farebox::services::pii::{Engine, Selection, redact};
//!
//! let text = "Write to ada@example.org.";
//! let findings = Engine::new().analyze(text, &Selection::default());
//! assert_eq!(redact(text, &findings), "Write to <EMAIL_ADDRESS>.");
//! ```

mod candidate;
mod checksum;
mod config;
mod context;
mod engine;
mod entity;
mod finding;
mod id_rule;
mod input;
mod layout;
mod normalize;
mod overlap;
mod placeholder;
mod recognizers;

pub use config::{ConfigError, DEFAULT_THRESHOLD, Selection};
pub use engine::Engine;
pub use entity::Entity;
pub use finding::{Finding, counts, redact};
pub use placeholder::{Concealed, Escape, Originals, Taken, conceal};
