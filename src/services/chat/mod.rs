//! Chat completions: requests are checked, sent to an upstream, and their answers rewritten.
//!
//! ```text
//! body -> ChatRequest::parse -> protect -> Upstreams::stream -> ChunkStream -> Chunk, Chunk, …
//!         catalog, extensions   privacy    upstream             sse, answer, privacy
//! ```
//!
//! Neither clients nor upstreams are trusted: an upstream gets only the part of a
//! request that is for the model, and a client gets an answer that was written anew.

mod answer;
mod answer_usage;
mod assemble;
mod attachments;
mod balance;
mod catalog;
mod chat_error;
mod client_event;
mod delivery;
mod extensions;
mod fields;
mod length;
mod messages;
mod privacy;
mod prompt_size;
mod repair;
mod request;
mod rest;
mod retry;
pub mod scripted;
mod sse;
mod stream;
mod tariff;
mod tokenizer;
mod upstream;
mod upstream_body;
mod upstream_error;
mod upstream_event;
mod upstream_server;
mod usage;

pub use answer::Chunk;
pub use answer_usage::AnswerUsage;
pub use attachments::{Attachment, AttachmentPolicy};
pub use catalog::{Catalog, Model, ModelView};
pub use chat_error::ChatError;
pub use client_event::{AnswerHead, Completion};
pub use delivery::UpstreamDelivery;
pub use privacy::{EntityCounts, Privacy, ProtectedRequest};
pub use prompt_size::PromptSize;
pub use request::{ChatRequest, RequestLimits};
pub use stream::ChunkStream;
pub use tariff::Tariff;
pub use upstream::Upstreams;
pub use upstream_error::{TimeoutKind, UpstreamError, UpstreamRefusal};
pub use upstream_event::ChoiceText;
pub use usage::{CompletionUsage, PromptUsage, ReportedUsage, Usage, UsageBounds, dollars};

use crate::services::pii::Examiner;

/// Models that are sold, their upstreams, and the protection of personal data. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Models {
    pub catalog: Catalog,
    pub upstreams: Upstreams,
    pub privacy: Privacy,
}

impl Models {
    /// Creates the models of a checked configuration.
    ///
    /// # Errors
    /// An error if the system's TLS roots cannot be loaded.
    pub fn new(config: &crate::config::Config, examiner: Examiner) -> Result<Self, reqwest::Error> {
        let upstreams = Upstreams::new(&config.upstreams, &config.models)?;
        let privacy = Privacy::new(examiner, config.privacy.default_mode);
        Ok(Self { catalog: Catalog::new(&config.models), upstreams, privacy })
    }
}
