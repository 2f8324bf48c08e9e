//! Rewriting of an upstream's answer, so that it is safe to send to a client.
//!
//! The JSON is written anew: on one line whatever the model wrote, with ids and the
//! model's name of this server. Members that are not part of the API are left out,
//! because they name the upstream and its prices.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::client_event::{AnswerHead, CHUNK, ClientChoice, ClientEvent, Completion, to_json};
use super::privacy::{AnswerRestorer, StreamRestorer};
use super::upstream_event::{
    BillableContent, ChoiceText, MalformedEvent, UpstreamChoice, UpstreamEvent, text_of,
};
use super::usage::{ReportedUsage, Usage, UsageBounds};

/// Chunk of a streamed answer, as the client gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// JSON of one `data:` line: an object, without line breaks. Empty if it only reports usage, which clients are told
    /// when it is charged.
    pub data: Bytes,
    /// True if it has content to pay for: text, reasoning, a tool call.
    pub billable: bool,
    /// Bytes of its text, reasoning and tool calls.
    pub text_bytes: usize,
    /// Its text, reasoning and tool calls, as the model wrote them.
    pub texts: Vec<ChoiceText>,
    /// Usage up to this chunk, as far as the upstream reports a possible one.
    pub usage: Option<ReportedUsage>,
    /// Indices of the choices that end with it.
    pub finished: Vec<u64>,
    /// Text held back after it, as one more chunk: sent, free of charge, if the stream
    /// ends after this chunk for any reason.
    pub held_back: Option<Bytes>,
}

impl Chunk {
    /// Returns a chunk that costs nothing.
    pub(super) fn free(data: Bytes) -> Self {
        Self {
            data,
            billable: false,
            text_bytes: 0,
            texts: Vec::new(),
            usage: None,
            finished: Vec::new(),
            held_back: None,
        }
    }
}

/// Rewriter of one answer.
#[derive(Debug, Clone)]
pub struct AnswerRewriter {
    pub head: AnswerHead,
    /// Name of the model as clients know it.
    pub model: String,
    /// Largest usage that the upstream may report.
    pub bounds: UsageBounds,
    /// True if the client asked for usage within the stream.
    pub wants_usage: bool,
    /// Restorer of original values; `None` if no placeholders were sent.
    pub(super) restorer: Option<AnswerRestorer>,
}

/// Content of one event of a stream.
#[derive(Debug, PartialEq)]
pub(super) enum ParsedEvent {
    Chunk(Chunk),
    /// Well-formed event without anything for the client.
    Empty,
    /// Error object of the upstream.
    Error(Value),
}

impl UpstreamChoice {
    fn to_client<'a>(
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

impl AnswerRewriter {
    /// Rewrites one event of a stream, whose data has `length` bytes.
    pub(super) fn event(
        &self,
        mut event: UpstreamEvent,
        length: usize,
        restorer: Option<&mut StreamRestorer>,
    ) -> ParsedEvent {
        if let Some(error) = event.take_error() {
            return ParsedEvent::Error(error);
        }
        let BillableContent { is_billable, text_bytes, texts, held_back } =
            BillableContent::restore(&mut event, restorer);
        let held_back = (!held_back.is_empty()).then(|| self.held_back_chunk(&held_back, &event));
        let choices = event.choices.as_deref().unwrap_or_default();
        let usage = self.usage(event.reported_usage());
        if choices.is_empty() {
            let usage_only = usage.map(|_| Chunk { usage, ..Chunk::free(Bytes::new()) });
            return usage_only.map_or(ParsedEvent::Empty, ParsedEvent::Chunk);
        }
        let no_delta = Map::new();
        let client_choices =
            choices.iter().map(|c| c.to_client(Some(c.delta.as_ref().unwrap_or(&no_delta)), None));
        let client_event = ClientEvent {
            choices: client_choices.collect(),
            usage: self.wants_usage.then_some(Value::Null),
            ..self.frame(CHUNK, &event)
        };
        ParsedEvent::Chunk(Chunk {
            data: to_json(&client_event, length).into(),
            billable: is_billable,
            text_bytes,
            texts,
            usage,
            finished: choices.iter().filter(|c| c.reason().is_some()).map(UpstreamChoice::index).collect(),
            held_back,
        })
    }

    /// Returns a chunk of the deltas that are held back.
    fn held_back_chunk(&self, deltas: &[(u64, Map<String, Value>)], event: &UpstreamEvent) -> Bytes {
        let choice = |(index, delta)| ClientChoice {
            index,
            delta: Some(delta),
            message: None,
            logprobs: None,
            finish_reason: None,
        };
        let client_event = ClientEvent {
            choices: deltas.iter().map(|(index, delta)| choice((*index, delta))).collect(),
            usage: self.wants_usage.then_some(Value::Null),
            ..self.frame(CHUNK, event)
        };
        to_json(&client_event, 0).into()
    }

    /// Rewrites a non-streaming answer; an error object in it is `Err(Ok(error))`. `complete` counts what an upstream
    /// does not report of the usage of an answer with these texts, of one choice each.
    pub(super) fn completion(
        &self,
        body: &[u8],
        complete: impl FnOnce(ReportedUsage, &[String]) -> Usage,
    ) -> Result<Completion, Result<Value, MalformedEvent>> {
        let mut event = UpstreamEvent::read(body).map_err(Err)?;
        if let Some(error) = event.take_error() {
            return Err(Ok(error));
        }
        let mut reported = self.read_usage(event.reported_usage()).unwrap_or_default();
        let cut = self.cut(&mut event, &mut reported);
        let choices = event.choices.as_deref_mut().unwrap_or_default();
        if choices.is_empty() {
            return Err(Err(MalformedEvent("an answer without choices")));
        }
        let mut texts = Vec::with_capacity(choices.len());
        for choice in choices {
            let message = choice.message.as_mut().ok_or(Err(MalformedEvent("a choice without a message")))?;
            texts.push(text_of(message));
            if let Some(restorer) = &self.restorer {
                restorer.restore_message(message);
            }
        }
        let choices = event.choices.as_deref().unwrap_or_default();
        let client_choices = choices.iter().map(|choice| {
            let whole = choice.to_client(None, choice.message.as_ref());
            if cut { ClientChoice { finish_reason: Some("length"), logprobs: None, ..whole } } else { whole }
        });
        let usage = complete(reported.within(self.bounds), &texts);
        let client_event =
            ClientEvent { choices: client_choices.collect(), ..self.frame("chat.completion", &event) };
        let mut json = to_json(&client_event, body.len());
        assert_eq!(json.pop(), Some(b'}'), "an answer is an object");
        Ok(Completion { body: json, usage })
    }

    /// Reads reported usage; a side that is impossible is ignored.
    fn usage(&self, reported: Option<&Value>) -> Option<ReportedUsage> {
        let usage = self.read_usage(reported)?.within(self.bounds);
        (usage != ReportedUsage::default()).then_some(usage)
    }

    /// Reads reported usage, as large as it may be.
    fn read_usage(&self, reported: Option<&Value>) -> Option<ReportedUsage> {
        let usage = ReportedUsage::parse(reported?);
        if usage.is_err() || usage.is_ok_and(|usage| usage.within(self.bounds) != usage) {
            // Counted instead of logged as a warning: it may come with every chunk.
            tracing::debug!(model = self.model, "reported usage ignored, or a side of it");
            metrics::counter!("farebox_upstream_impossible_usage_total", "model" => self.model.clone())
                .increment(1);
        }
        usage.ok()
    }

    fn frame<'a>(&'a self, object: &'static str, event: &'a UpstreamEvent) -> ClientEvent<'a> {
        ClientEvent {
            id: &self.head.id,
            object,
            created: self.head.created,
            model: &self.model,
            system_fingerprint: event.system_fingerprint.as_ref().and_then(Value::as_str),
            choices: Vec::new(),
            passed: event.passed(),
            usage: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::money::Money;

    fn rewriter(wants_usage: bool) -> AnswerRewriter {
        AnswerRewriter {
            head: AnswerHead { id: "chatcmpl-1".into(), created: 7 },
            model: "ours".into(),
            bounds: UsageBounds { prompt_tokens: 1000, completion_tokens: 100 },
            wants_usage,
            restorer: None,
        }
    }

    fn read(
        rewriter: &AnswerRewriter,
        data: &[u8],
        restorer: Option<&mut StreamRestorer>,
    ) -> Result<ParsedEvent, MalformedEvent> {
        Ok(rewriter.event(UpstreamEvent::read(data)?, data.len(), restorer))
    }

    fn chunk(event: &Value) -> Chunk {
        match read(&rewriter(true), event.to_string().as_bytes(), None).expect("well-formed") {
            ParsedEvent::Chunk(chunk) => chunk,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn content_is_billable_and_structure_is_not() {
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
        assert!(unfinished.finished.is_empty());
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
        assert_eq!(chunk.finished, [1]);
        assert!(chunk.billable);
        let completion = chunk.usage.and_then(|usage| usage.completion);
        assert_eq!(completion.map(|completion| completion.tokens), Some(1));
    }

    #[test]
    fn usage_is_sent_when_requested_and_always_known() {
        let event = br#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1}}"#;
        for wants in [true, false] {
            let Ok(ParsedEvent::Chunk(chunk)) = read(&rewriter(wants), event, None) else {
                panic!("a chunk")
            };
            assert!(chunk.data.is_empty() && !chunk.billable && chunk.usage.is_some());
        }
        let event =
            br#"{"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":3,"completion_tokens":1}}"#;
        let Ok(ParsedEvent::Chunk(chunk)) = read(&rewriter(false), event, None) else { panic!("a chunk") };
        assert!(chunk.usage.is_some() && !String::from_utf8_lossy(&chunk.data).contains("usage"));
    }

    #[test]
    fn attack_21_events_that_are_no_answer_are_refused() {
        for event in
            ["", "x", "[]", "5", r#"{"choices":5}"#, r#"{"choices":[5]}"#, r#"{"choices":[{"delta":5}]}"#]
        {
            assert!(read(&rewriter(true), event.as_bytes(), None).is_err(), "{event}");
        }
        assert!(read(&rewriter(true), &[b'{', 0xff, b'}'], None).is_err());
        assert!(read(&rewriter(true), "[".repeat(100_000).as_bytes(), None).is_err());
        // Events of other kinds are passed over.
        for event in ["{}", r#"{"type":"ping"}"#, r#"{"choices":null}"#] {
            assert_eq!(read(&rewriter(true), event.as_bytes(), None), Ok(ParsedEvent::Empty), "{event}");
        }
        let absurd = br#"{"choices":[],"usage":{"prompt_tokens":-3,"completion_tokens":1}}"#;
        assert_eq!(read(&rewriter(true), absurd, None), Ok(ParsedEvent::Empty));
        assert_eq!(
            read(&rewriter(true), br#"{"error":{"code":1}}"#, None),
            Ok(ParsedEvent::Error(json!({"code": 1})))
        );
    }

    /// Text is free while it is held back. The client pays for the tokens that the model
    /// wrote, however long the originals are, and never for more chunks than it sent.
    #[test]
    fn placeholders_cost_no_more_than_the_model_wrote() {
        for (pieces, billable) in [
            (&["to ", "[", "EMAIL", "_ADDRESS_1", "]", " now"][..], 3),
            (&["to [EMAIL", "_ADDRESS_1] now"], 2),
            (&["a [EMAIL"], 1),
            (&["[EMAIL"], 0),
        ] {
            let rewriter = AnswerRewriter { restorer: Some(AnswerRestorer::of_jane()), ..rewriter(false) };
            let mut restorer = rewriter.restorer.clone().map(AnswerRestorer::into_stream);
            let deltas = pieces.iter().map(|text| json!({"choices": [{"delta": {"content": text}}]}));
            let end = json!({"choices": [{"delta": {}, "finish_reason": "stop"}]});
            let mut chunks = Vec::new();
            for event in deltas.chain([end]) {
                match read(&rewriter, event.to_string().as_bytes(), restorer.as_mut()) {
                    Ok(ParsedEvent::Chunk(chunk)) => chunks.push(chunk),
                    other => panic!("{other:?}"),
                }
            }
            let text: String = pieces.concat();
            assert_eq!(chunks.iter().filter(|chunk| chunk.billable).count(), billable, "{pieces:?}");
            assert_eq!(chunks.iter().map(|chunk| chunk.text_bytes).sum::<usize>(), text.len());
            assert!(chunks.last().is_some_and(|last| last.finished == [0] && last.held_back.is_none()));
            let event: String = chunks
                .iter()
                .map(|chunk| serde_json::from_slice::<Value>(&chunk.data).expect("JSON"))
                .map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned())
                .collect();
            assert_eq!(event, text.replace("[EMAIL_ADDRESS_1]", "jane@example.com"));
        }
    }

    #[test]
    fn non_streaming_answers_are_rewritten() {
        let body = json!({"id": "up", "provider": "hidden", "choices": [{"index": 0, "finish_reason": "stop",
            "message": {"role": "assistant", "content": "four", "reasoning": "abc"}}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 1}});
        let complete = |usage: ReportedUsage, _: &[String]| Usage {
            prompt: usage.prompt.expect("it is reported"),
            completion: usage.completion.expect("it is reported"),
            is_estimated: false,
        };
        let read = |body: &[u8]| rewriter(false).completion(body, complete);
        let completion = read(body.to_string().as_bytes()).expect("an answer");
        let shown: Value = serde_json::from_slice(&completion.into_json(None)).expect("JSON");
        assert_eq!(shown["choices"][0]["message"]["content"], "four");
        assert_eq!((&shown["usage"]["total_tokens"], &shown["id"]), (&json!(4), &json!("chatcmpl-1")));
        assert!(!shown.to_string().contains("hidden"));
        for body in ["x", "[]", "{}", r#"{"choices":[]}"#, r#"{"choices":[{}]}"#] {
            assert!(matches!(read(body.as_bytes()), Err(Err(_))), "{body}");
        }
        assert!(matches!(read(br#"{"error":"x"}"#), Err(Ok(_))));
    }

    #[test]
    fn findings_of_models_that_search_reach_clients() {
        let event = json!({"choices": [{"delta": {"content": "a"}}], "citations": ["https://a.example"],
            "search_results": [{"title": "A"}], "provider": "hidden", "related_questions": null});
        let shown: Value = serde_json::from_slice(&chunk(&event).data).expect("JSON");
        assert_eq!(
            (&shown["citations"], &shown["search_results"]),
            (&event["citations"], &event["search_results"])
        );
        assert!(shown.get("provider").is_none() && shown.get("related_questions").is_none());
    }

    #[test]
    fn usage_that_is_not_reported_is_estimated_of_the_text_alone() {
        let signature = "A".repeat(4_000);
        let body = json!({"choices": [{"message": {"content": "four", "reasoning": "abc", "reasoning_content": "abc",
            "images": [{"image_url": {"url": signature}}], "tool_calls": [{"id": signature, "type": "function",
            "thought_signature": signature, "function": {"name": "n", "arguments": "{}"}}]}},
            {"message": {"content": [{"type": "text", "text": "part"}, {"type": "image", "data": signature}]}}]});
        let estimate = |reported: ReportedUsage, texts: &[String]| {
            assert_eq!(reported, ReportedUsage::default());
            assert_eq!(texts, ["abcfourn{}", "part"]);
            Usage { is_estimated: true, ..Usage::of_text(3, 2) }
        };
        let completion =
            rewriter(false).completion(body.to_string().as_bytes(), estimate).expect("an answer");
        let shown: Value =
            serde_json::from_slice(&completion.into_json(Some(Money::from_micros(5)))).expect("JSON");
        assert_eq!(
            (&shown["usage"]["estimated"], &shown["usage"]["completion_tokens"]),
            (&json!(true), &json!(2))
        );
        assert_eq!(shown["usage"]["cost"], json!(0.000_005));
    }
}
