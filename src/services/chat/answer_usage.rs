//! Usage of a streamed answer, as far as it was delivered.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::answer::Chunk;
use super::privacy::ProtectedRequest;
use super::usage::{CompletionUsage, PromptUsage, ReportedUsage, Usage};

/// Largest text that is kept of an answer, in bytes: longer ones have more tokens than any request allows.
const MAX_TEXT: usize = 8 << 20;

/// Reports of an upstream, and the text of the answer: a stream that ends early has no other usage.
#[derive(Debug, Clone, Default)]
pub struct AnswerUsage {
    reported: ReportedUsage,
    /// Text of each choice.
    texts: BTreeMap<u64, String>,
    text_bytes: usize,
    /// True if text came after the last report of completion tokens.
    is_behind: bool,
    /// Usage of all that was added, once it was asked for.
    usage: OnceLock<Usage>,
}

impl AnswerUsage {
    /// Adds a chunk that is delivered.
    pub fn add(&mut self, chunk: &Chunk) {
        self.usage.take();
        for choice in &chunk.texts {
            if self.text_bytes < MAX_TEXT {
                self.text_bytes += choice.text.len();
                self.texts.entry(choice.choice).or_default().push_str(&choice.text);
            }
            self.is_behind = true;
        }
        if let Some(usage) = chunk.usage {
            let has_counted = usage.completion.is_some_and(|completion| completion.tokens > 0);
            self.is_behind &= !has_counted;
            self.reported = usage.after(self.reported);
        }
    }

    /// Returns the usage of the chunks so far: as reported, and counted by the model's tokenizer where it is not.
    #[must_use]
    pub fn of(&self, request: &ProtectedRequest) -> Usage {
        *self.usage.get_or_init(|| self.count(request))
    }

    fn count(&self, request: &ProtectedRequest) -> Usage {
        let prompt = self.reported.prompt;
        let reported = self.reported.completion.unwrap_or_default();
        let completion = if self.is_behind {
            let tokenizer = request.model().tokenizer;
            let counted: u64 = self.texts.values().map(|text| tokenizer.count(text)).sum();
            CompletionUsage { tokens: reported.tokens.max(counted.min(request.max_tokens())), ..reported }
        } else {
            reported
        };
        let is_estimated = prompt.is_none() || self.is_behind;
        let counted = || PromptUsage { tokens: request.count_prompt_tokens(), ..PromptUsage::default() };
        Usage { prompt: prompt.unwrap_or_else(counted), completion, is_estimated }
    }
}
