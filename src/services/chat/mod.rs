//! Chat completions: what is asked, who answers, and what may be passed on.
//!
//! ```text
//! body -> ChatRequest::parse -> protect -> Upstreams::stream -> ChunkStream -> Chunk, Chunk, …
//!         catalog, extensions   privacy    fallback             sse, answer, privacy
//! ```
//!
//! Neither side is trusted with the other: a request reaches an upstream only
//! as far as it concerns the model, and an answer is written anew.

mod answer;
mod attachments;
mod catalog;
mod error;
mod extensions;
mod messages;
mod privacy;
mod refusal;
mod request;
pub mod scripted;
mod sse;
mod stream;
mod tariff;
mod upstream;
mod upstream_event;
mod usage;

pub use answer::{Chunk, Completion};
pub use attachments::{Attachment, Attachments};
pub use catalog::{Catalog, Model, ModelView};
pub use error::{Reason, UpstreamError, Wait};
pub use privacy::{Counts, Outgoing, Privacy};
pub use refusal::ChatError;
pub use request::{ChatRequest, RequestLimits};
pub use stream::ChunkStream;
pub use tariff::{PromptSize, Tariff};
pub use upstream::Upstreams;
pub use usage::{Bounds, Usage};

use crate::services::pii::Examiner;

/// What is sold and where it comes from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Models {
    pub catalog: Catalog,
    pub upstreams: Upstreams,
    pub privacy: Privacy,
}

impl Models {
    /// Those of a checked configuration.
    ///
    /// # Errors
    /// When the system's TLS roots cannot be loaded.
    pub fn new(config: &crate::config::Config, examiner: Examiner) -> Result<Self, reqwest::Error> {
        let upstreams = Upstreams::new(&config.upstreams, &config.models)?;
        let privacy = Privacy::new(examiner, config.privacy.default_mode);
        Ok(Self { catalog: Catalog::new(&config.models), upstreams, privacy })
    }
}
