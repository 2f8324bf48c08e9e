//! Answers that are longer than they were asked for.
//!
//! Some upstreams ignore `max_tokens`. Whoever asks for fewer tokens pays for fewer, so what is beyond them is not
//! delivered: a whole answer is cut here, a stream where it is read.

use serde_json::{Map, Value};

use super::answer::AnswerRewriter;
use super::upstream_event::{UpstreamEvent, text_of};
use super::usage::{CompletionUsage, ReportedUsage};

/// Bytes of the longest usual token: text has at least as many tokens as its bytes by this.
const LONGEST_TOKEN_BYTES: u64 = 8;

impl AnswerRewriter {
    /// Cuts a whole answer to the tokens that were asked for, as the upstream should have; true if it was longer. By
    /// the reported tokens, or where none are reported by the least that its bytes can be.
    pub(super) fn cut(&self, event: &mut UpstreamEvent, reported: &mut ReportedUsage) -> bool {
        let limit = self.bounds.completion_tokens;
        let choices = event.choices.as_deref_mut().unwrap_or_default();
        let messages = || choices.iter().filter_map(|choice| choice.message.as_ref());
        let bytes: u64 = messages().map(|message| text_of(message).len() as u64).sum();
        // Reasoning may be beside the text.
        let visible = |completion: CompletionUsage| completion.tokens.saturating_sub(completion.reasoning);
        let tokens = reported.completion.map_or(bytes / LONGEST_TOKEN_BYTES, visible);
        if tokens <= limit || tokens > bytes {
            return false;
        }
        // What was asked for is what there is to pay for.
        reported.completion = reported.completion.map(|completion| completion.cut_to(limit));
        for choice in choices {
            for value in choice.message.iter_mut().flat_map(Map::values_mut) {
                shorten(value, limit, tokens);
            }
        }
        metrics::counter!("farebox_upstream_cut_total").increment(1);
        true
    }
}

/// Keeps `kept` of `total` equal parts of all texts in a value.
fn shorten(value: &mut Value, kept: u64, total: u64) {
    match value {
        Value::String(text) => {
            let length = u128::from(text.len() as u64) * u128::from(kept) / u128::from(total.max(1));
            let end = text.floor_char_boundary(usize::try_from(length).unwrap_or(usize::MAX));
            text.truncate(end);
        }
        Value::Array(items) => items.iter_mut().for_each(|item| shorten(item, kept, total)),
        Value::Object(members) => {
            // Names and ids are no text.
            let is_text = |name: &str| !matches!(name, "id" | "type" | "name" | "role");
            let texts = members.iter_mut().filter(|(name, _)| is_text(name));
            texts.for_each(|(_, text)| shorten(text, kept, total));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
