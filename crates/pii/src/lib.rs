//! Personal data and secrets in text, images and PDFs: found, and removed.
//!
//! Text is normalised with a way back to the caller's bytes, read once for words and once for literals,
//! and each recogniser is only called where one of its numbers or literals could start. Recognisers
//! check what can be checked (check digits, issuers' rules) and look at the words around for the rest.
//! Names are found by a small model, or by networks that the caller loaded. Overlapping candidates are
//! resolved by strength of evidence.
//!
//! Everything here is pure: no I/O, no clock, no state between calls. The work is linear in the text;
//! the caller limits its size.
//!
//! ```
//! use farebox_pii::{Engine, Selection, redact};
//!
//! let text = "Write to ada@example.org.";
//! let findings = Engine::new().analyze(text, &Selection::default());
//! assert_eq!(redact(text, &findings), "Write to <EMAIL_ADDRESS>.");
//! ```

mod classifier;
mod config;
mod data_url;
mod entity;
pub mod image;
mod model;
pub mod pdf;
mod placeholder;
mod stop;
mod text;

pub use classifier::{Classifier, ClassifierError};
pub use config::{ConfigError, DEFAULT_THRESHOLD, FileOptions, Selection};
pub use entity::Entity;
pub use model::{Model, Offer};
pub use placeholder::{Concealed, Escape, Originals, Taken, conceal};
pub use stop::Stopped;
pub use text::{Engine, Finding, Models, counts, redact};

/// What the model of names is trained with; no part of the library's interface.
#[doc(hidden)]
pub mod training {
    pub use crate::text::training::{Labelled, Training};
}
