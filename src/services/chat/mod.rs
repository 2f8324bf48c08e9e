//! Chat completions: what is asked, who answers, and what may be passed on.
//!
//! ```text
//! body -> ChatRequest::parse -> Upstreams::stream -> ChunkStream -> Chunk, Chunk, …
//!         catalog, extensions   fallback             sse, answer
//! ```
//!
//! Neither side is trusted with the other: a request reaches an upstream only
//! as far as it concerns the model, and an answer is written anew.

mod answer;
mod catalog;
mod error;
mod extensions;
mod messages;
mod request;
pub mod scripted;
mod sse;
mod stream;
mod upstream;
mod usage;

pub use answer::{Chunk, Completion};
pub use catalog::{Catalog, Model, ModelView};
pub use error::{Reason, UpstreamError, Wait};
pub use request::{ChatError, ChatRequest, Limits};
pub use stream::ChunkStream;
pub use upstream::Upstreams;
pub use usage::{Bounds, Usage};
