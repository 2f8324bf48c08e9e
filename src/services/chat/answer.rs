//! Answers of a model, rebuilt so that they are safe to pass on.
//!
//! An upstream is not trusted with the shape of what clients receive: the JSON is
//! written anew (one line, whatever the model said), ids and the model's name are
//! ours, and members that are not part of the API are left out, because they
//! name the upstream and what it charges.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::usage::{Bounds, Usage};

/// One piece of a streamed answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The JSON of one `data:` line: an object, without line breaks.
    pub data: Bytes,
    /// Whether it holds something to pay for: text, reasoning, a tool call.
    pub billable: bool,
    /// What the upstream says was used up to here, when that is possible.
    pub usage: Option<Usage>,
    /// Whether it only reports usage: not for clients that did not ask.
    pub usage_only: bool,
    /// Whether a choice ends with it.
    pub finish: bool,
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

/// How an answer is presented, and what it may claim.
#[derive(Debug, Clone, PartialEq, Eq)]
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
}

/// What an event of a stream says.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    Chunk(Chunk),
    /// Well-formed, with nothing in it for the client.
    Nothing,
    /// An error object.
    Error(Value),
}

/// What came is not an answer; the text says in which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

impl Identity {
    /// Reads the data of one event.
    pub(super) fn event(&self, data: &[u8]) -> Result<Said, Malformed> {
        let value: Value = serde_json::from_slice(data).map_err(|_| Malformed("an event is not JSON"))?;
        let Value::Object(mut event) = value else {
            return Err(Malformed("an event is not an object"));
        };
        if let Some(error) = take(&mut event, "error") {
            return Ok(Said::Error(error));
        }
        let usage = take(&mut event, "usage");
        let choices = match take(&mut event, "choices") {
            Some(Value::Array(choices)) => choices,
            None if usage.is_some() => Vec::new(),
            _ => return Err(Malformed("an event has no choices")),
        };
        let usage = self.usage(usage.as_ref());
        if choices.is_empty() && usage.is_none() {
            return Ok(Said::Nothing);
        }
        let (usage_only, mut billable, mut finish) = (choices.is_empty(), false, false);
        let mut shown = Vec::with_capacity(choices.len());
        for choice in choices {
            let Value::Object(mut choice) = choice else {
                return Err(Malformed("a choice is not an object"));
            };
            finish |= choice.get("finish_reason").is_some_and(Value::is_string);
            let delta = match choice.remove("delta") {
                Some(Value::Object(delta)) => delta,
                None | Some(Value::Null) => Map::new(),
                Some(_) => return Err(Malformed("a delta is not an object")),
            };
            let logprobs = take(&mut choice, "logprobs");
            billable |= worth(&delta) > 0 || logprobs.as_ref().is_some_and(|l| weight(l) > 0);
            shown.push(rebuilt(&choice, "delta", Value::Object(delta), logprobs));
        }
        let mut chunk = self.frame("chat.completion.chunk", &event, shown);
        if self.wants_usage || usage_only {
            chunk.insert("usage".into(), usage.map_or(Value::Null, Usage::to_json));
        }
        Ok(Said::Chunk(Chunk { data: written(chunk), billable, usage, usage_only, finish }))
    }

    /// Reads a whole answer; an error object in it is `Err(Ok(error))`.
    pub(super) fn completion(&self, body: &[u8]) -> Result<Completion, Result<Value, Malformed>> {
        let bad = |what| Err(Err(Malformed(what)));
        let value: Value =
            serde_json::from_slice(body).map_err(|_| Err(Malformed("the answer is not JSON")))?;
        let Value::Object(mut answer) = value else {
            return bad("the answer is not an object");
        };
        if let Some(error) = take(&mut answer, "error") {
            return Err(Ok(error));
        }
        let Some(Value::Array(choices)) = take(&mut answer, "choices").filter(|c| c != &Value::Array(vec![]))
        else {
            return bad("the answer has no choices");
        };
        let mut content_bytes = 0;
        let mut shown = Vec::with_capacity(choices.len());
        for choice in choices {
            let Value::Object(mut choice) = choice else {
                return bad("a choice is not an object");
            };
            let Some(Value::Object(message)) = take(&mut choice, "message") else {
                return bad("a choice has no message");
            };
            content_bytes += worth(&message);
            let logprobs = take(&mut choice, "logprobs");
            shown.push(rebuilt(&choice, "message", Value::Object(message), logprobs));
        }
        let usage = self.usage(take(&mut answer, "usage").as_ref());
        let mut completion = self.frame("chat.completion", &answer, shown);
        if let Some(usage) = usage {
            completion.insert("usage".into(), usage.to_json());
        }
        Ok(Completion { data: written(completion), usage, content_bytes })
    }

    fn usage(&self, reported: Option<&Value>) -> Option<Usage> {
        Usage::parse(reported?, self.bounds).unwrap_or_else(|absurd| {
            tracing::warn!(model = self.model, %absurd, "usage dropped");
            None
        })
    }

    fn frame(&self, object: &str, from: &Map<String, Value>, choices: Vec<Value>) -> Map<String, Value> {
        let mut frame = Map::with_capacity(7);
        frame.insert("id".into(), self.id.as_str().into());
        frame.insert("object".into(), object.into());
        frame.insert("created".into(), self.created.into());
        frame.insert("model".into(), self.model.as_str().into());
        if let Some(fingerprint @ Value::String(_)) = from.get("system_fingerprint") {
            frame.insert("system_fingerprint".into(), fingerprint.clone());
        }
        frame.insert("choices".into(), Value::Array(choices));
        frame
    }
}

fn take(from: &mut Map<String, Value>, name: &str) -> Option<Value> {
    from.get_mut(name).map(Value::take).filter(|value| !value.is_null())
}

/// A choice with the members that the API knows.
fn rebuilt(from: &Map<String, Value>, content_name: &str, content: Value, logprobs: Option<Value>) -> Value {
    let mut choice = Map::with_capacity(4);
    choice.insert("index".into(), from.get("index").and_then(Value::as_u64).unwrap_or(0).into());
    choice.insert(content_name.into(), content);
    if let Some(logprobs) = logprobs {
        choice.insert("logprobs".into(), logprobs);
    }
    let reason = from.get("finish_reason").filter(|reason| reason.is_string());
    choice.insert("finish_reason".into(), reason.cloned().unwrap_or_default());
    Value::Object(choice)
}

/// How much there is to pay for in a message or a part of one. Everything counts
/// but the role: members that future models add are not to be free.
fn worth(message: &Map<String, Value>) -> usize {
    message.iter().filter(|(name, _)| *name != "role").map(|(_, value)| weight(value)).sum()
}

/// Bytes of text; numbers and the like count as one.
fn weight(value: &Value) -> usize {
    match value {
        Value::Null => 0,
        Value::Bool(_) | Value::Number(_) => 1,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(members) => members.values().map(weight).sum(),
    }
}

fn written(object: Map<String, Value>) -> Bytes {
    serde_json::to_vec(&Value::Object(object)).expect("a JSON value is valid JSON").into()
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
        }
    }

    fn chunk(event: &Value) -> Chunk {
        match identity(true).event(event.to_string().as_bytes()).expect("well-formed") {
            Said::Chunk(chunk) => chunk,
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
            let Ok(Said::Chunk(chunk)) = identity(wants).event(event) else { panic!("a chunk") };
            assert!(chunk.usage_only && !chunk.billable && chunk.usage.is_some());
        }
        let event =
            br#"{"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":3,"completion_tokens":1}}"#;
        let Ok(Said::Chunk(chunk)) = identity(false).event(event) else { panic!("a chunk") };
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
            assert!(identity(true).event(event.as_bytes()).is_err(), "{event}");
        }
        assert!(identity(true).event(&[b'{', 0xff, b'}']).is_err());
        assert!(identity(true).event("[".repeat(100_000).as_bytes()).is_err());
        let absurd = br#"{"choices":[],"usage":{"prompt_tokens":-3,"completion_tokens":1}}"#;
        assert_eq!(identity(true).event(absurd), Ok(Said::Nothing));
        assert_eq!(identity(true).event(br#"{"error":{"code":1}}"#), Ok(Said::Error(json!({"code": 1}))));
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
