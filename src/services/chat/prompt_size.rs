//! Length of a prompt, before the model has counted it.

use serde_json::{Map, Value};

use crate::config::Tokenizer;

/// Smallest number of tokens of an image or a file: those of a small image.
const MIN_PART_TOKENS: u64 = 85;
/// Estimated number of tokens of an image or a file.
const TYPICAL_PART_TOKENS: u64 = 800;
/// Usual number of tokens that a model's template adds for each message.
const MESSAGE_OVERHEAD: u64 = 4;
/// Largest number of tokens that a model's template adds for each message.
const MAX_MESSAGE_OVERHEAD: u64 = 64;
/// Largest number of tokens that a model's template adds once.
const MAX_TEMPLATE_TOKENS: u64 = 2048;

/// Types of the parts of a message that are text. Others are media: images, sounds, videos, files.
const TEXT_PARTS: [&str; 5] = ["text", "input_text", "output_text", "refusal", "thinking"];

/// Fields besides the messages that the model reads.
const OTHER_TEXTS: [&str; 3] = ["tools", "functions", "response_format"];

/// Length of a prompt in tokens, as far as it is known from the number of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PromptSize {
    min: u64,
    estimate: u64,
    max: u64,
    /// True if the prompt may fit into the model's context.
    may_fit: bool,
    has_media: bool,
}

impl PromptSize {
    /// Estimates the length of a request's prompt for a model with this context, in tokens.
    pub(super) fn of(body: &Map<String, Value>, context: u64) -> Self {
        let mut text = 0_u64;
        let PromptParts { messages, media } = for_each_text(body, &mut |part| text += part.len() as u64);
        let others = body.iter().filter(|(name, _)| !["messages", "model"].contains(&name.as_str()));
        let others: u64 = others.map(|(_, value)| value.to_string().len() as u64).sum();
        let max = if media > 0 {
            context
        } else {
            // No tokenizer in use makes more than one token of a byte, and templates may read any field.
            text.saturating_add(others)
                .saturating_add(messages.saturating_mul(MAX_MESSAGE_OVERHEAD))
                .saturating_add(MAX_TEMPLATE_TOKENS)
        };
        let within = |tokens: u64| tokens.min(context);
        let min = text / 8 + MIN_PART_TOKENS.saturating_mul(media);
        let typical_parts = TYPICAL_PART_TOKENS.saturating_mul(media);
        Self {
            may_fit: min <= context,
            min: within(min),
            estimate: within(text / 4 + messages.saturating_mul(MESSAGE_OVERHEAD) + typical_parts),
            max: within(max),
            has_media: media > 0,
        }
    }

    /// Returns a lower bound of its tokens.
    #[must_use]
    pub fn min_tokens(&self) -> u64 {
        self.min
    }

    /// Returns false if it cannot fit into the model's context.
    pub(super) fn may_fit(&self) -> bool {
        self.may_fit
    }

    /// Returns an estimate of its tokens.
    #[must_use]
    pub fn estimated_tokens(&self) -> u64 {
        self.estimate
    }

    /// Returns an upper bound of its tokens: an upstream that reports more is not believed.
    #[must_use]
    pub fn max_tokens(&self) -> u64 {
        self.max
    }

    /// Returns true if it has images, sounds, videos or files.
    #[must_use]
    pub(super) fn has_media(&self) -> bool {
        self.has_media
    }
}

/// Returns the tokens of a request's prompt for a model with this context, counted: what is charged for a prompt that the
/// upstream has read and not reported.
pub(super) fn count_tokens(body: &Map<String, Value>, tokenizer: Tokenizer, context: u64) -> u64 {
    let mut text = 0_u64;
    let PromptParts { messages, media } = for_each_text(body, &mut |part| text += tokenizer.count(part));
    text.saturating_add(messages.saturating_mul(MESSAGE_OVERHEAD))
        .saturating_add(media.saturating_mul(TYPICAL_PART_TOKENS))
        .min(context)
}

/// Parts of a prompt that are no text.
#[derive(Default)]
struct PromptParts {
    messages: u64,
    /// Images, sounds, videos and files.
    media: u64,
}

/// Calls `found` with each text of a prompt.
fn for_each_text(body: &Map<String, Value>, found: &mut impl FnMut(&str)) -> PromptParts {
    let messages = body.get("messages").and_then(Value::as_array);
    let mut parts = PromptParts { messages: messages.map_or(0, |list| list.len() as u64), media: 0 };
    messages.into_iter().flatten().for_each(|message| visit_message(message, &mut parts, found));
    for text in OTHER_TEXTS.into_iter().filter_map(|name| body.get(name)) {
        found(&text.to_string());
    }
    parts
}

/// Visits a message: all its texts, but for parts of its content that are media.
fn visit_message(message: &Value, parts: &mut PromptParts, found: &mut impl FnMut(&str)) {
    let members = message.as_object().into_iter().flatten();
    for (name, value) in members.filter(|(name, _)| *name != "role") {
        match value {
            Value::Array(items) if name == "content" => {
                for part in items {
                    let kind = part["type"].as_str().unwrap_or("text");
                    if TEXT_PARTS.contains(&kind) {
                        visit(part, found);
                    } else {
                        parts.media += 1;
                        // Its text, such as a name, but not its data.
                        part["text"].as_str().into_iter().for_each(&mut *found);
                    }
                }
            }
            value => visit(value, found),
        }
    }
}

fn visit(value: &Value, found: &mut impl FnMut(&str)) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::String(text) => found(text),
        Value::Array(items) => items.iter().for_each(|item| visit(item, found)),
        Value::Object(members) => {
            let texts = members.iter().filter(|(name, _)| *name != "type");
            texts.for_each(|(_, value)| visit(value, found));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn images_are_not_counted_by_their_bytes() {
        let size = |messages: Value| {
            let body = json!({ "messages": messages });
            PromptSize::of(body.as_object().expect("an object"), 10_000)
        };
        let text = size(json!([{"role": "user", "content": "x".repeat(400)}]));
        assert_eq!((text.min, text.estimate, text.max), (50, 104, 2_512));
        let data = format!("data:image/png;base64,{}", "A".repeat(1 << 20));
        let image =
            size(json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": data}}]}]));
        assert_eq!((image.min, image.estimate, image.max), (85, 804, 10_000));
        assert_eq!(size(json!([{"role": "user", "content": "x".repeat(1 << 20)}])).estimate, 10_000);
    }

    /// A message does not become an image by calling itself one.
    #[test]
    fn attack_47_text_is_counted_whatever_it_calls_itself() {
        let long = "word ".repeat(1_000);
        for message in [
            json!({"role": "user", "type": "file", "content": long}),
            json!({"role": "user", "content": [{"type": "text", "text": long}]}),
            json!({"role": "assistant", "tool_calls": [{"type": "file", "function": {"arguments": long}}]}),
            json!({"role": "user", "content": [{"type": "input_image", "text": long}]}),
        ] {
            let body = json!({ "messages": [message] });
            let body = body.as_object().expect("an object");
            assert!(PromptSize::of(body, 100_000).min >= 625, "{}", body["messages"][0]["role"]);
            assert!(count_tokens(body, Tokenizer::O200kBase, 100_000) >= 1_000);
        }
    }

    #[test]
    fn a_prompt_is_counted_by_the_models_tokenizer() {
        let body = json!({"messages": [{"role": "system", "content": "hello world"},
            {"role": "user", "content": [{"type": "text", "text": "hello world"}, {"type": "image_url"}]}]});
        let count =
            |context| count_tokens(body.as_object().expect("an object"), Tokenizer::O200kBase, context);
        assert_eq!((count(10_000), count(100)), (2 + 2 + 2 * 4 + 800, 100));
    }
}
