//! Chat requests: read and checked before anything is charged.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::attachments::{self, Attachment, AttachmentPolicy};
use super::catalog::{Catalog, Model};
use super::chat_error::ChatError;
use super::fields::{boolean, positive_integer, stream_options, syntax_error};
use super::prompt_size::{self, PromptSize};
use super::tariff::Tariff;
use super::upstream_body::UpstreamBody;
use super::usage::{ReportedUsage, Usage, UsageBounds};
use super::{extensions, messages, privacy};
use crate::config::KindProfile;

/// Largest number of choices of one answer.
const MAX_CHOICES: u64 = 128;

/// Completion tokens of the shortest answer that is worth requesting.
const MIN_USEFUL_TOKENS: u64 = 16;

/// Completion tokens of a usual answer, or more: most are shorter.
const LIKELY_TOKENS: u64 = 1024;

/// Fields that bound the length of an answer, the older one first.
pub(super) const LENGTH_FIELDS: [&str; 2] = ["max_tokens", "max_completion_tokens"];

/// Limits of a request.
#[derive(Debug, Clone, Copy)]
pub struct RequestLimits {
    /// Largest number of messages, and of parts of one message.
    pub messages: usize,
    /// Rule on attachments.
    pub attachments: AttachmentPolicy,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self { messages: 4096, attachments: AttachmentPolicy::OnlyOnV1 }
    }
}

/// A chat request that has been checked.
#[derive(Clone)]
pub struct ChatRequest {
    model: Arc<Model>,
    /// Body for the upstream, with the fields in the client's order; `model` is filled in later.
    body: Map<String, Value>,
    stream: bool,
    wants_usage: bool,
    max_tokens: u64,
    choices: u64,
    prompt: PromptSize,
    /// Options on the personal data in it.
    privacy: privacy::PrivacyOptions,
    /// Attachments that are still to be read.
    attachments: Vec<Attachment>,
}

/// Without the contents: prompts do not belong in logs.
impl fmt::Debug for ChatRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatRequest")
            .field("model", &self.model.id)
            .field("stream", &self.stream)
            .field("max_tokens", &self.max_tokens)
            .field("choices", &self.choices)
            .finish_non_exhaustive()
    }
}

impl ChatRequest {
    /// Reads and checks a request body.
    ///
    /// # Errors
    /// [`ChatError`], which names the field to change.
    pub fn parse(body: &str, catalog: &Catalog, limits: RequestLimits) -> Result<Self, ChatError> {
        let body: Value = serde_json::from_str(body).map_err(|e| ChatError::Syntax(syntax_error(&e)))?;
        let Value::Object(mut body) = body else {
            return Err(ChatError::invalid("", "the body must be a JSON object with `model` and `messages`"));
        };
        let model = match body.get("model") {
            Some(Value::String(id)) => catalog
                .get(id)
                .cloned()
                .ok_or_else(|| ChatError::UnknownModel { nearest: catalog.nearest(id).map(str::to_owned) })?,
            Some(_) => return Err(ChatError::invalid("model", "must be a string")),
            None => return Err(ChatError::invalid("model", "is missing; GET /mpp/models lists the models")),
        };
        let attachments = attachments::take(&mut body, limits.attachments)?;
        let privacy = extensions::take(&mut body, &model.passed_fields)?;
        messages::check(body.get("messages"), limits.messages)?;
        let stream = boolean(&body, "stream")?;
        let wants_usage = stream_options(&mut body, stream)?;
        let choices = positive_integer(&body, "n")?.unwrap_or(1);
        if choices > MAX_CHOICES {
            return Err(ChatError::invalid("n", &format!("must be {MAX_CHOICES} or less")));
        }
        let mut max_tokens = model.max_output_tokens;
        let mut set = Vec::new();
        for name in LENGTH_FIELDS {
            if let Some(requested) = positive_integer(&body, name)? {
                max_tokens = max_tokens.min(requested);
                set.push(name);
            }
        }
        // Servers take one field or the other, and the least is what is paid for.
        for name in set {
            body.insert(name.into(), max_tokens.into());
        }
        if let Some(tier) = &model.service_tier {
            body.insert("service_tier".into(), tier.as_str().into());
        }
        let prompt = PromptSize::of(&body, model.context_length);
        if !prompt.may_fit() {
            return Err(ChatError::ContextLength { limit: model.context_length });
        }
        Ok(Self { model, body, stream, wants_usage, max_tokens, choices, prompt, privacy, attachments })
    }

    /// Changes the messages; the attachments count as read.
    pub(super) fn with_messages(mut self, change: impl FnOnce(&mut Vec<Value>)) -> Self {
        if let Some(Value::Array(messages)) = self.body.get_mut("messages") {
            change(messages);
        }
        self.attachments.clear();
        self.prompt = PromptSize::of(&self.body, self.model.context_length);
        self
    }

    /// Returns the attachments that are to be read before the request is served.
    #[must_use]
    pub fn attachments(&self) -> &[Attachment] {
        &self.attachments
    }

    /// Limits the answer to `tokens` completion tokens, all choices together; each
    /// choice has at least one.
    #[must_use]
    pub fn with_max_tokens(mut self, tokens: u64) -> Self {
        let each = (tokens / self.choices).clamp(1, self.max_tokens);
        self.max_tokens = each;
        let is_set = |name: &&str| self.body.get(*name).is_some_and(Value::is_u64);
        let set: Vec<&str> = LENGTH_FIELDS.into_iter().filter(is_set).collect();
        for name in if set.is_empty() { vec![self.model.length_field.as_str()] } else { set } {
            self.body.insert(name.into(), each.into());
        }
        self
    }

    /// Returns the completion tokens of the shortest answer that is worth requesting, all
    /// choices together.
    #[must_use]
    pub fn min_useful_tokens(&self) -> u64 {
        self.max_tokens.min(MIN_USEFUL_TOKENS).saturating_mul(self.choices)
    }

    /// Returns the completion tokens that an answer is likely to have, all choices together: few answers are as long as
    /// they may be.
    #[must_use]
    pub fn likely_tokens(&self) -> u64 {
        self.max_tokens.min(LIKELY_TOKENS).saturating_mul(self.choices)
    }

    /// Returns the length of the prompt, as far as it is known.
    #[must_use]
    pub fn prompt(&self) -> PromptSize {
        self.prompt
    }

    /// Returns the chunks that the prompt costs on a channel.
    #[must_use]
    pub fn prompt_units(&self) -> u64 {
        self.model.prompt_units(self.prompt.estimated_tokens())
    }

    /// Returns the requested model.
    #[must_use]
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Returns true if the answer is to be streamed.
    #[must_use]
    pub fn stream(&self) -> bool {
        self.stream
    }

    /// Returns true if the client asked for usage within the stream.
    #[must_use]
    pub fn wants_usage(&self) -> bool {
        self.wants_usage
    }

    /// Returns the largest number of completion tokens, all choices together. Models send
    /// about a token in a chunk, so it also estimates the longest stream.
    #[must_use]
    pub fn max_tokens(&self) -> u64 {
        self.max_tokens.saturating_mul(self.choices)
    }

    /// Returns the largest number of billable chunks of a stream, beyond which it is cut
    /// off. Twice the tokens: some servers send less than a token in a chunk.
    #[must_use]
    pub fn max_chunks(&self) -> u64 {
        self.max_tokens().saturating_mul(2).saturating_add(64)
    }

    /// Returns the largest number of units that its answer can cost on a channel.
    #[must_use]
    pub fn max_units(&self) -> u64 {
        if self.stream { self.max_chunks() } else { self.max_tokens() }
    }

    /// Returns the largest usage that the upstream can have for it.
    #[must_use]
    pub fn usage_bounds(&self) -> UsageBounds {
        UsageBounds { prompt_tokens: self.prompt.max_tokens(), completion_tokens: self.max_tokens() }
    }

    /// Returns the tokens of the prompt, counted.
    #[must_use]
    pub fn count_prompt_tokens(&self) -> u64 {
        prompt_size::count_tokens(&self.body, self.model.tokenizer, self.model.context_length)
    }

    /// Returns the usage of an answer with these texts, one of each choice: as reported, and counted where it is not.
    pub(super) fn complete_usage(&self, reported: ReportedUsage, texts: &[String]) -> Usage {
        let is_text = texts.iter().any(|text| !text.is_empty());
        let completion = reported.completion.filter(|completion| completion.tokens > 0 || !is_text);
        let is_estimated = reported.prompt.is_none() || completion.is_none();
        let completion = completion.unwrap_or_else(|| {
            let counted: u64 = texts.iter().map(|text| self.model.tokenizer.count(text)).sum();
            Usage::of_text(0, counted.min(self.max_tokens())).completion
        });
        let prompt = reported.prompt.unwrap_or_else(|| Usage::of_text(self.count_prompt_tokens(), 0).prompt);
        Usage { prompt, completion, is_estimated }
    }

    /// Returns the tariff by which money is set aside for it, before the kinds of its tokens are known. Where a budget
    /// limits it, no answer may cost more, whatever it is made of.
    #[must_use]
    pub fn tariff_at_most(&self, is_limited: bool) -> Tariff {
        let modalities = self.body.get("modalities").and_then(Value::as_array);
        let is_media = |kind: &Value| kind != "text";
        let has_media_output = modalities.map_or(is_limited, |kinds| kinds.iter().any(is_media));
        self.model.tariff.at_most(self.prompt.has_media(), has_media_output)
    }

    pub(super) fn privacy_options(&self) -> &privacy::PrivacyOptions {
        &self.privacy
    }

    pub(super) fn body(&self) -> &Map<String, Value> {
        &self.body
    }

    pub(super) fn body_mut(&mut self) -> &mut Map<String, Value> {
        &mut self.body
    }

    /// Replaces the body.
    pub(super) fn with_body(self, body: Map<String, Value>) -> Self {
        let prompt = PromptSize::of(&body, self.model.context_length);
        Self { body, prompt, ..self }
    }

    /// Returns the number of choices.
    pub(super) fn choices(&self) -> u64 {
        self.choices
    }

    /// Returns the names of the request's fields.
    pub(super) fn fields(&self) -> Vec<&str> {
        // The service tier is the operator's.
        self.body.keys().map(String::as_str).filter(|name| *name != "service_tier").collect()
    }

    /// Returns the body for an upstream of this kind that knows the model as `model`.
    pub(super) fn upstream_body(&self, model: &str, profile: &KindProfile) -> Vec<u8> {
        let passed = &self.model.passed_fields;
        serde_json::to_vec(&UpstreamBody { body: &self.body, model, profile, passed })
            .expect("a JSON value is valid JSON")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::{self, UpstreamKind};
    use crate::money::Money;

    const OPENAI: &KindProfile = UpstreamKind::Openai.profile();

    fn parse(body: &Value) -> Result<ChatRequest, String> {
        let catalog = Catalog::new(&[config::ModelConfig {
            id: "small".into(),
            price_per_chunk: Money::from_micros(1),
            context_length: 1000,
            max_output_tokens: 100,
            passed_fields: ["zeta", "alpha"].map(str::to_owned).into(),
            ..config::ModelConfig::default()
        }]);
        ChatRequest::parse(
            &body.to_string(),
            &catalog,
            RequestLimits { messages: 3, ..RequestLimits::default() },
        )
        .map_err(|e| e.to_string())
    }

    fn upstream(body: &Value) -> Value {
        let request = parse(body).expect("valid");
        serde_json::from_slice(&request.upstream_body("vendor/small", OPENAI)).expect("JSON")
    }

    #[test]
    fn fields_reach_the_upstream_in_order() {
        let body = json!({"zeta": {"b": 1, "a": [2.5]}, "model": "small", "temperature": 0.1,
            "messages": [{"role": "user", "content": "hi", "extra": 1}], "alpha": null, "tools": [{"type": "function"}]});
        let mut expected = body.clone();
        expected["model"] = json!("vendor/small");
        assert_eq!(upstream(&body).to_string(), expected.to_string());
    }

    #[test]
    fn usage_is_always_requested_and_the_clients_option_is_kept() {
        let messages = json!([{"role": "user", "content": "hi"}]);
        for (options, wants) in
            [(json!(null), false), (json!({}), false), (json!({"include_usage": true, "x": 1}), true)]
        {
            let body =
                json!({"model": "small", "messages": messages, "stream": true, "stream_options": options});
            assert_eq!(upstream(&body)["stream_options"], json!({"include_usage": true}));
            assert_eq!(parse(&body).expect("valid").wants_usage(), wants);
        }
        let body = json!({"model": "small", "messages": messages, "stream_options": {"include_usage": true}});
        assert!(upstream(&body).get("stream_options").is_none());
        let request = parse(&body).expect("valid");
        assert!(!request.stream() && !request.wants_usage());
    }

    #[test]
    fn lengths_are_capped_by_the_model() {
        let messages = json!([{"role": "user", "content": "hi"}]);
        let with = |more: Value| {
            let mut body = json!({"model": "small", "messages": messages});
            body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            body
        };
        for (more, most, sent) in [
            (json!({}), 100, json!(null)),
            (json!({"max_tokens": null}), 100, json!(null)),
            (json!({"max_tokens": 7}), 7, json!(7)),
            (json!({"max_tokens": 7.0}), 7, json!(7)),
            (json!({"max_tokens": 5000}), 100, json!(100)),
            (json!({"max_tokens": 50, "max_completion_tokens": 20}), 20, json!(20)),
            (json!({"max_tokens": 50, "n": 3}), 150, json!(50)),
        ] {
            let body = with(more);
            assert_eq!(parse(&body).expect("valid").max_tokens(), most, "{body}");
            assert_eq!(upstream(&body)["max_tokens"], sent, "{body}");
        }
    }

    #[test]
    fn a_shorter_answer_is_requested_upstream() {
        let messages = json!([{"role": "user", "content": "hi"}]);
        for (more, field, sent) in [
            (json!({}), "max_tokens", 9),
            (json!({"max_tokens": 50}), "max_tokens", 9),
            (json!({"max_completion_tokens": 50}), "max_completion_tokens", 9),
            (json!({"max_tokens": 5}), "max_tokens", 5),
            (json!({"n": 4}), "max_tokens", 2),
            (json!({"n": 20}), "max_tokens", 1),
        ] {
            let mut body = json!({"model": "small", "messages": messages});
            body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            let request = parse(&body).expect("valid").with_max_tokens(9);
            let upstream: Value = serde_json::from_slice(&request.upstream_body("x", OPENAI)).expect("JSON");
            assert_eq!(upstream[field], sent, "{body}");
            let other = LENGTH_FIELDS.into_iter().find(|name| *name != field).expect("two");
            assert!(upstream.get(other).is_none(), "{upstream}");
        }
    }

    #[test]
    fn bad_input_is_named_without_being_quoted() {
        let messages = json!([{"role": "user", "content": "secret"}]);
        for (body, expected) in [
            (json!([]), "the body must be a JSON object"),
            (json!({"messages": messages}), "`model` is missing"),
            (json!({"model": 5, "messages": messages}), "`model` must be a string"),
            (json!({"model": "smal", "messages": messages}), "did you mean `small`?"),
            (json!({"model": "secret", "messages": messages}), "GET /mpp/models"),
            (json!({"model": "small"}), "`messages` is missing"),
            (json!({"model": "small", "messages": messages, "stream": "yes"}), "`stream` must be"),
            (
                json!({"model": "small", "messages": messages, "stream_options": 5}),
                "`stream_options` must be",
            ),
            (
                json!({"model": "small", "messages": messages, "stream_options": {"include_usage": 1}}),
                "include_usage` must be",
            ),
            (json!({"model": "small", "messages": messages, "max_tokens": 0}), "`max_tokens` must be"),
            (json!({"model": "small", "messages": messages, "max_tokens": -1}), "`max_tokens` must be"),
            (
                json!({"model": "small", "messages": messages, "max_completion_tokens": 1.5}),
                "`max_completion_tokens` must",
            ),
            (json!({"model": "small", "messages": messages, "n": 1000}), "`n` must be 128 or less"),
            (json!({"model": "small", "messages": messages, "urls": ["secret"]}), "`urls` is not available"),
        ] {
            let error = parse(&body).expect_err("refused");
            assert!(error.contains(expected) && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn attack_26_bodies_that_are_not_json_or_too_deep_are_refused() {
        for body in ["", "{", "secret", "{\"model\": secret}", &"[".repeat(100_000), "{\"a\": 1e999}"] {
            let error =
                ChatRequest::parse(body, &Catalog::default(), RequestLimits::default()).expect_err("refused");
            assert!(
                matches!(error, ChatError::Syntax(_)) && !error.to_string().contains("secret"),
                "{error}"
            );
        }
    }

    #[test]
    fn attack_28_a_request_is_not_printed_with_its_contents() {
        let request = parse(&json!({"model": "small", "messages": [{"role": "user", "content": "secret"}]}));
        assert!(!format!("{request:?}").contains("secret"));
    }
}
