//! Answers of a model, rebuilt so that they are safe to pass on.
//!
//! An upstream is not trusted with the shape of what clients receive: the JSON is
//! written anew (one line, whatever the model said), ids and the model's name are
//! ours, and members that are not part of the API are left out, because they
//! name the upstream and what it charges.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use super::privacy::{Restorer, Restoring};
use super::upstream_event::{Billable, Malformed, UpstreamChoice, UpstreamEvent, billable};
use super::usage::{Bounds, Usage};

/// One piece of a streamed answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The JSON of one `data:` line: an object, without line breaks.
    pub data: Bytes,
    /// Whether it holds something to pay for: text, reasoning, a tool call.
    pub billable: bool,
    /// Bytes of text, reasoning and tool calls in it.
    pub content_bytes: usize,
    /// What the upstream says was used up to here, when that is possible.
    pub usage: Option<Usage>,
    /// Whether it only reports usage: not for clients that did not ask.
    pub usage_only: bool,
    /// Whether a choice ends with it.
    pub finish: bool,
    /// What is held back behind it, as one more chunk: it follows when the stream
    /// ends here, however it ends, and costs nothing.
    pub rest: Option<Bytes>,
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// The JSON of the body.
    pub data: Bytes,
    pub usage: Option<Usage>,
    /// Bytes of text, reasoning and tool calls: what is left to bill by when the
    /// upstream reports no usage.
    pub content_bytes: usize,
}

impl Completion {
    /// Tokens of the answer as reported, or about four bytes each.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        let guess = self.content_bytes.div_ceil(4) as u64;
        self.usage.as_ref().map_or(guess, |usage| usage.completion_tokens)
    }
}

/// How an answer is presented, and what it may claim.
#[derive(Debug, Clone)]
pub struct Identity {
    /// `chatcmpl-…`, the same in every chunk.
    pub id: String,
    /// The model's name as clients know it.
    pub model: String,
    /// When the answer began, in seconds since 1970.
    pub created: i64,
    pub bounds: Bounds,
    /// Whether the client asked for usage within the stream.
    pub wants_usage: bool,
    /// What puts originals in place of placeholders, where there are any.
    pub(super) restoring: Option<Restoring>,
}

/// What an event of a stream says.
#[derive(Debug, PartialEq)]
pub(super) enum ParsedEvent {
    Chunk(Chunk),
    /// Well-formed, with nothing in it for the client.
    Nothing,
    /// An error object.
    Error(Value),
}

/// The same as clients get it.
#[derive(Serialize)]
struct ClientEvent<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_fingerprint: Option<&'a str>,
    choices: Vec<ClientChoice<'a>>,
    /// `Some(Null)` is written as `null`.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Value>,
}

#[derive(Serialize)]
struct ClientChoice<'a> {
    index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<&'a Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<&'a Value>,
    finish_reason: Option<&'a str>,
}

impl UpstreamChoice {
    fn client_event<'a>(
        &'a self,
        delta: Option<&'a Map<String, Value>>,
        message: Option<&'a Map<String, Value>>,
    ) -> ClientChoice<'a> {
        ClientChoice {
            index: self.index(),
            delta,
            message,
            logprobs: self.logprobs.as_ref(),
            finish_reason: self.reason(),
        }
    }
}

impl Identity {
    /// Reads the data of one event.
    pub(super) fn event(
        &self,
        data: &[u8],
        restorer: Option<&mut Restorer>,
    ) -> Result<ParsedEvent, Malformed> {
        let mut event = UpstreamEvent::read(data)?;
        if let Some(error) = event.error {
            return Ok(ParsedEvent::Error(error));
        }
        if event.choices.is_none() && event.usage.is_none() {
            return Err(Malformed("an event without choices"));
        }
        let Billable { billable, content_bytes, rest } = Billable::of(&mut event, restorer);
        let rest = (!rest.is_empty()).then(|| self.rest(&rest, &event));
        let choices = event.choices.as_deref().unwrap_or_default();
        let usage = self.usage(event.usage.as_ref());
        if choices.is_empty() && usage.is_none() {
            return Ok(ParsedEvent::Nothing);
        }
        let usage_only = choices.is_empty();
        let nothing = Map::new();
        let shown = choices.iter().map(|c| c.client_event(Some(c.delta.as_ref().unwrap_or(&nothing)), None));
        let client_event = ClientEvent {
            choices: shown.collect(),
            usage: (self.wants_usage || usage_only).then(|| usage.map_or(Value::Null, Usage::to_json)),
            ..self.frame("chat.completion.chunk", &event)
        };
        Ok(ParsedEvent::Chunk(Chunk {
            data: written(&client_event, data.len()),
            billable,
            content_bytes,
            usage,
            usage_only,
            finish: choices.iter().any(|choice| choice.reason().is_some()),
            rest,
        }))
    }

    /// A chunk that says what is held back.
    fn rest(&self, rest: &[(u64, Map<String, Value>)], event: &UpstreamEvent) -> Bytes {
        let choice = |(index, delta)| ClientChoice {
            index,
            delta: Some(delta),
            message: None,
            logprobs: None,
            finish_reason: None,
        };
        let client_event = ClientEvent {
            choices: rest.iter().map(|(index, delta)| choice((*index, delta))).collect(),
            usage: self.wants_usage.then_some(Value::Null),
            ..self.frame("chat.completion.chunk", event)
        };
        written(&client_event, 0)
    }

    /// Reads a whole answer; an error object in it is `Err(Ok(error))`.
    pub(super) fn completion(&self, body: &[u8]) -> Result<Completion, Result<Value, Malformed>> {
        let mut event = UpstreamEvent::read(body).map_err(Err)?;
        if let Some(error) = event.error {
            return Err(Ok(error));
        }
        let choices = event.choices.as_deref_mut().unwrap_or_default();
        if choices.is_empty() {
            return Err(Err(Malformed("an answer without choices")));
        }
        let mut content_bytes = 0;
        for choice in choices {
            let message = choice.message.as_mut().ok_or(Err(Malformed("a choice without a message")))?;
            content_bytes += billable(message);
            if let Some(restoring) = &self.restoring {
                restoring.message(message);
            }
        }
        let choices = event.choices.as_deref().unwrap_or_default();
        let shown = choices.iter().map(|choice| choice.client_event(None, choice.message.as_ref())).collect();
        let usage = self.usage(event.usage.as_ref());
        let client_event = ClientEvent {
            choices: shown,
            usage: usage.map(Usage::to_json),
            ..self.frame("chat.completion", &event)
        };
        Ok(Completion { data: written(&client_event, body.len()), usage, content_bytes })
    }

    fn usage(&self, reported: Option<&Value>) -> Option<Usage> {
        Usage::parse(reported?, self.bounds).unwrap_or_else(|absurd| {
            // It may come with every chunk: counted, and not to fill the log.
            tracing::debug!(model = self.model, %absurd, "usage dropped");
            metrics::counter!("farebox_upstream_impossible_usage_total", "model" => self.model.clone())
                .increment(1);
            None
        })
    }

    fn frame<'a>(&'a self, object: &'static str, event: &'a UpstreamEvent) -> ClientEvent<'a> {
        ClientEvent {
            id: &self.id,
            object,
            created: self.created,
            model: &self.model,
            system_fingerprint: event.system_fingerprint.as_ref().and_then(Value::as_str),
            choices: Vec::new(),
            usage: None,
        }
    }
}

/// About as long as what it was made of.
fn written(client_event: &ClientEvent<'_>, length: usize) -> Bytes {
    let mut json = Vec::with_capacity(length + 128);
    serde_json::to_writer(&mut json, client_event).expect("plain data is valid JSON");
    json.into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn identity(wants_usage: bool) -> Identity {
        Identity {
            id: "chatcmpl-1".into(),
            model: "ours".into(),
            created: 7,
            bounds: Bounds { prompt_tokens: 1000, completion_tokens: 100 },
            wants_usage,
            restoring: None,
        }
    }

    fn chunk(event: &Value) -> Chunk {
        match identity(true).event(event.to_string().as_bytes(), None).expect("well-formed") {
            ParsedEvent::Chunk(chunk) => chunk,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_billable() {
        for (delta, billable) in [
            (json!({"role": "assistant"}), false),
            (json!({"role": "assistant", "content": ""}), false),
            (json!({"content": null, "refusal": null}), false),
            (json!({}), false),
            (json!({"content": "a"}), true),
            (json!({"reasoning": "a"}), true),
            (json!({"reasoning_content": "a"}), true),
            (json!({"refusal": "no"}), true),
            (json!({"tool_calls": []}), false),
            (json!({"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}), true),
            (json!({"something_new": {"text": "a"}}), true),
        ] {
            assert_eq!(chunk(&json!({"choices": [{"delta": delta}]})).billable, billable, "{delta}");
        }
        assert!(chunk(&json!({"choices": [{"delta": {}}, {"delta": {"content": "b"}}]})).billable);
        let unfinished = chunk(&json!({"choices": [{"delta": {"content": "a"}, "finish_reason": ""}]}));
        assert!(!unfinished.finish);
        assert!(
            chunk(&json!({"choices": [{"delta": {}, "logprobs": {"content": [{"token": "a"}]}}]})).billable
        );
    }

    #[test]
    fn attack_27_chunks_are_rebuilt_without_the_upstreams_marks() {
        let event = json!({"id": "gen-upstream", "model": "vendor/hidden", "provider": "hidden", "created": -1,
            "object": "x", "choices": [{"index": 1, "delta": {"content": "a\r\n\ndata: [DONE]\u{2028}\u{0}"},
            "finish_reason": "stop", "native_finish_reason": "hidden"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 1, "cost": 0.5}});
        let chunk = chunk(&event);
        let text = std::str::from_utf8(&chunk.data).expect("UTF-8");
        assert!(
            !text.contains(['\n', '\r', '\0']) && !text.contains("hidden") && !text.contains("cost"),
            "{text}"
        );
        let shown: Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(shown["choices"][0]["delta"], event["choices"][0]["delta"]);
        assert_eq!((&shown["id"], &shown["model"]), (&json!("chatcmpl-1"), &json!("ours")));
        assert!(chunk.finish && chunk.billable && !chunk.usage_only);
        assert_eq!(chunk.usage.map(|u| u.completion_tokens), Some(1));
    }

    #[test]
    fn usage_is_shown_when_asked_for_and_always_known() {
        let event = br#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1}}"#;
        for wants in [true, false] {
            let Ok(ParsedEvent::Chunk(chunk)) = identity(wants).event(event, None) else { panic!("a chunk") };
            assert!(chunk.usage_only && !chunk.billable && chunk.usage.is_some());
        }
        let event =
            br#"{"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":3,"completion_tokens":1}}"#;
        let Ok(ParsedEvent::Chunk(chunk)) = identity(false).event(event, None) else { panic!("a chunk") };
        assert!(chunk.usage.is_some() && !String::from_utf8_lossy(&chunk.data).contains("usage"));
    }

    #[test]
    fn attack_21_what_is_not_an_answer_is_refused() {
        for event in [
            "",
            "x",
            "[]",
            "5",
            "{}",
            r#"{"choices":5}"#,
            r#"{"choices":[5]}"#,
            r#"{"choices":[{"delta":5}]}"#,
        ] {
            assert!(identity(true).event(event.as_bytes(), None).is_err(), "{event}");
        }
        assert!(identity(true).event(&[b'{', 0xff, b'}'], None).is_err());
        assert!(identity(true).event("[".repeat(100_000).as_bytes(), None).is_err());
        let absurd = br#"{"choices":[],"usage":{"prompt_tokens":-3,"completion_tokens":1}}"#;
        assert_eq!(identity(true).event(absurd, None), Ok(ParsedEvent::Nothing));
        assert_eq!(
            identity(true).event(br#"{"error":{"code":1}}"#, None),
            Ok(ParsedEvent::Error(json!({"code": 1})))
        );
    }

    /// Token by token: what is held back is free until it leaves, the rest costs
    /// what it cost the model, and never more chunks than it sent.
    #[test]
    fn placeholders_cost_no_more_than_the_model_wrote() {
        for (pieces, billable) in [
            (&["to ", "[", "EMAIL", "_ADDRESS_1", "]", " now"][..], 3),
            (&["to [EMAIL", "_ADDRESS_1] now"], 2),
            (&["a [EMAIL"], 1),
            (&["[EMAIL"], 0),
        ] {
            let identity = Identity { restoring: Some(Restoring::of_jane()), ..identity(false) };
            let mut restorer = identity.restoring.clone().map(Restoring::begin);
            let deltas = pieces.iter().map(|text| json!({"choices": [{"delta": {"content": text}}]}));
            let end = json!({"choices": [{"delta": {}, "finish_reason": "stop"}]});
            let mut chunks = Vec::new();
            for event in deltas.chain([end]) {
                match identity.event(event.to_string().as_bytes(), restorer.as_mut()) {
                    Ok(ParsedEvent::Chunk(chunk)) => chunks.push(chunk),
                    other => panic!("{other:?}"),
                }
            }
            let text: String = pieces.concat();
            assert_eq!(chunks.iter().filter(|chunk| chunk.billable).count(), billable, "{pieces:?}");
            assert_eq!(chunks.iter().map(|chunk| chunk.content_bytes).sum::<usize>(), text.len());
            assert!(chunks.last().is_some_and(|last| last.finish && last.rest.is_none()));
            let event: String = chunks
                .iter()
                .map(|chunk| serde_json::from_slice::<Value>(&chunk.data).expect("JSON"))
                .map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned())
                .collect();
            assert_eq!(event, text.replace("[EMAIL_ADDRESS_1]", "jane@example.com"));
        }
    }

    #[test]
    fn whole_answers() {
        let body = json!({"id": "up", "provider": "hidden", "choices": [{"index": 0, "finish_reason": "stop",
            "message": {"role": "assistant", "content": "four", "reasoning": "abc"}}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 1}});
        let completion = identity(false).completion(body.to_string().as_bytes()).expect("an answer");
        assert_eq!(completion.content_bytes, 7);
        let shown: Value = serde_json::from_slice(&completion.data).expect("JSON");
        assert_eq!(shown["choices"][0]["message"]["content"], "four");
        assert_eq!((&shown["usage"]["total_tokens"], &shown["id"]), (&json!(4), &json!("chatcmpl-1")));
        assert!(!shown.to_string().contains("hidden"));
        for body in ["x", "[]", "{}", r#"{"choices":[]}"#, r#"{"choices":[{}]}"#] {
            assert!(matches!(identity(false).completion(body.as_bytes()), Err(Err(_))), "{body}");
        }
        assert!(matches!(identity(false).completion(br#"{"error":"x"}"#), Err(Ok(_))));
    }
}
