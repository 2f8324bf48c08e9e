//! Personal data and secrets in text, images and PDFs: found, and removed.
//!
//! Text is normalised, with offsets that map back to the caller's bytes, and read once for words and once for
//! literals: each recogniser is only called where one of its numbers or literals could start. Recognisers
//! verify check digits and issuers' rules, and read the words around a value for the rest. Names are found by
//! a small model, or by networks that the caller loaded. Overlapping candidates are resolved by strength of
//! evidence.
//!
//! Everything here is pure: no I/O, no clock, no state between calls. The work is linear in the text;
//! the caller limits its size.
//!
//! ```
//! use farebox_pii::{PiiEngine, Selection, redact};
//!
//! let text = "Write to ada@example.org.";
//! let findings = PiiEngine::new().analyze(text, &Selection::default());
//! assert_eq!(redact(text, &findings), "Write to <EMAIL_ADDRESS>.");
//! ```

mod classifier;
mod config;
mod data_url;
mod entity;
mod entity_span;
pub mod image;
mod model;
pub mod pdf;
mod placeholder;
mod stop;
mod text;

pub use classifier::{Classifier, ClassifierError};
pub use config::{DEFAULT_THRESHOLD, FileOptions, PiiConfigError, Selection};
pub use entity::Entity;
use entity_span::EntitySpan;
pub use model::{AvailableModels, RecognitionModel};
pub use placeholder::{Concealed, Escape, ExistingPlaceholders, Originals, conceal};
pub use stop::Stopped;
pub use text::{Finding, NameClassifiers, PiiEngine, counts, redact};

/// Features for training the name model; not a part of the library's interface.
#[doc(hidden)]
pub mod training {
    pub use crate::text::training::{LabelledToken, TrainingExtractor};
}
