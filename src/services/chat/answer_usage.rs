//! Usage of a streamed answer, as far as it was delivered.

use std::collections::BTreeMap;

use super::answer::Chunk;
use super::privacy::ProtectedRequest;
use super::usage::Usage;

/// Reports of an upstream, and the text that came after the last of them: a stream that ends early has no other usage.
#[derive(Debug, Clone, Default)]
pub struct AnswerUsage {
    reported: Option<Usage>,
    /// Text that is not reported yet, by choice.
    unreported: BTreeMap<u64, String>,
}

impl AnswerUsage {
    /// Adds a chunk that is delivered.
    pub fn add(&mut self, chunk: &Chunk) {
        if let Some(usage) = chunk.usage {
            self.reported = Some(usage.after(self.reported));
            self.unreported.clear();
            return;
        }
        for choice in &chunk.texts {
            self.unreported.entry(choice.choice).or_default().push_str(&choice.text);
        }
    }

    /// Returns the usage of the chunks so far: as reported, and counted by the model's tokenizer where it is not.
    #[must_use]
    pub fn of(&self, request: &ProtectedRequest) -> Usage {
        let tokenizer = request.model().tokenizer;
        let counted: u64 = self.unreported.values().map(|text| tokenizer.count(text)).sum();
        let is_estimated = self.reported.is_none() || !self.unreported.is_empty();
        let reported = self.reported.unwrap_or_else(|| Usage::of_text(request.count_prompt_tokens(), 0));
        let completion_tokens = reported.completion_tokens.saturating_add(counted).min(request.max_tokens());
        Usage { completion_tokens, is_estimated, ..reported }
    }
}
