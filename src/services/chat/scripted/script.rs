//! What a scripted answer does, step by step. Pure: the same request with the
//! same script is the same answer.

use serde::Deserialize;
use serde_json::{Value, json};

/// The behaviour of one answer. Everything has a default: the last user message
/// is echoed, word by word.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "a script is a board of switches, set by hand")]
pub struct Script {
    /// Pieces of the answer; as many as the echo has words when absent.
    pub chunks: Option<u64>,
    /// What each piece says; numbered words when absent.
    pub text: Option<String>,
    /// Never stop, whatever the request allows.
    pub endless: bool,
    /// Pieces of reasoning before the answer.
    pub reasoning: u64,
    /// Answer with a call of the first tool offered, in pieces.
    pub tool: bool,
    /// Milliseconds before the first piece, and between two.
    pub first_ms: u64,
    pub interval_ms: u64,
    /// Refuse with this HTTP status.
    pub status: Option<u16>,
    /// The body of a refusal, and of an error event.
    pub error: Option<Value>,
    /// After this many pieces: cut the connection, send an error event, or fall silent.
    pub cut_after: Option<u64>,
    pub error_after: Option<u64>,
    pub hang_after: Option<u64>,
    pub usage: UsageReport,
    /// Leave out `[DONE]`, and the reason of the end.
    pub no_done: bool,
    pub no_finish: bool,
    /// Send exactly this as the body of the stream instead.
    pub raw: Option<String>,
}

/// What the answer says about its usage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum UsageReport {
    /// The truth, in a chunk of its own, when asked for.
    #[default]
    True,
    Missing,
    Negative,
    Fractional,
    Huge,
}

/// One step of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ScriptStep {
    Wait(u64),
    /// Bytes of the body.
    Send(String),
    /// The connection is lost.
    Cut,
    /// Nothing happens any more.
    Hang,
}

/// The parts of a request that matter.
#[derive(Debug)]
pub(super) struct ScriptedRequest {
    pub model: String,
    pub stream: bool,
    include_usage: bool,
    limit: u64,
    prompt: String,
    prompt_tokens: u64,
    tool: Option<String>,
}

impl ScriptedRequest {
    pub(super) fn read(body: &Value) -> Self {
        let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let texts: Vec<String> = messages.iter().map(|message| text_of(&message["content"])).collect();
        let last = messages.iter().rposition(|message| message["role"] == "user");
        let limit =
            [&body["max_tokens"], &body["max_completion_tokens"]].into_iter().filter_map(Value::as_u64);
        Self {
            model: body["model"].as_str().unwrap_or_default().to_owned(),
            stream: body["stream"] == true,
            include_usage: body["stream_options"]["include_usage"] == true,
            limit: limit.min().unwrap_or(u64::MAX),
            prompt: last.map(|at| texts[at].clone()).unwrap_or_default(),
            prompt_tokens: texts.iter().map(|text| text.split_whitespace().count() as u64).sum(),
            tool: body["tools"][0]["function"]["name"].as_str().map(str::to_owned),
        }
    }
}

fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    }
}

/// Behaviours by the name of the model, for demonstrations.
const MODELS: [(&str, &str); 4] = [
    ("scripted-echo", "{}"),
    ("scripted-slow", r#"{"chunks": 100, "intervalMs": 100}"#),
    ("scripted-fast", r#"{"chunks": 1000}"#),
    ("scripted-failing", r#"{"status": 503}"#),
];

/// The models that `GET /models` lists.
pub(super) fn models() -> impl Iterator<Item = &'static str> {
    MODELS.iter().map(|(name, _)| *name)
}

impl Script {
    /// The script of a request: a JSON object as the last user message, else one
    /// as the name of the model, else the behaviour that goes with the name.
    ///
    /// # Errors
    /// A JSON object that is not a script, with the reason.
    pub(super) fn of(asked: &ScriptedRequest) -> Result<Self, String> {
        let preset = MODELS.iter().find(|(name, _)| *name == asked.model).map_or("{}", |(_, script)| script);
        let named = if asked.model.starts_with('{') { &asked.model } else { preset };
        let text = if asked.prompt.trim_start().starts_with('{') { &asked.prompt } else { named };
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// The pieces of the answer, as deltas. Endless when the script is.
    fn deltas(&self, asked: &ScriptedRequest) -> Box<dyn Iterator<Item = Value> + Send> {
        let limit =
            if self.endless { usize::MAX } else { usize::try_from(asked.limit).unwrap_or(usize::MAX) };
        let reasoning = (0..self.reasoning).map(|n| json!({"reasoning_content": format!(" thought{n}")}));
        if let (true, Some(tool)) = (self.tool, &asked.tool) {
            let call = json!({"tool_calls": [{"index": 0, "id": "call_1", "type": "function",
                "function": {"name": tool, "arguments": ""}}]});
            let arguments = ["{\"city\":", "\"Oslo\"}"]
                .map(|text| json!({"tool_calls": [{"index": 0, "function": {"arguments": text}}]}));
            return Box::new(reasoning.chain(std::iter::once(call)).chain(arguments).take(limit));
        }
        if let (None, None, false) = (self.chunks, &self.text, self.endless) {
            let words: Vec<Value> =
                asked.prompt.split_inclusive(' ').map(|word| json!({"content": word})).collect();
            return Box::new(reasoning.chain(words).take(limit));
        }
        let pieces = if self.endless { u64::MAX } else { self.chunks.unwrap_or(1) };
        let text = self.text.clone();
        let piece = move |n| json!({"content": text.clone().unwrap_or_else(|| format!(" word{n}"))});
        Box::new(reasoning.chain((0..pieces).map(piece)).take(limit))
    }

    /// The steps of a streamed answer. Endless when the script is.
    pub(super) fn steps(self, asked: ScriptedRequest) -> Box<dyn Iterator<Item = ScriptStep> + Send> {
        if let Some(raw) = self.raw {
            return Box::new([ScriptStep::Wait(self.first_ms), ScriptStep::Send(raw)].into_iter());
        }
        let accident = [
            self.cut_after.map(|after| (after, ScriptStep::Cut)),
            self.hang_after.map(|after| (after, ScriptStep::Hang)),
            self.error_after.map(|after| (after, data(&json!({"error": self.failure()})))),
        ];
        let accident = accident.into_iter().flatten().min_by_key(|(after, _)| *after);
        let most = accident.as_ref().map_or(u64::MAX, |(after, _)| *after);
        let deltas = self.deltas(&asked).take(usize::try_from(most).unwrap_or(usize::MAX));
        let mut end = Vec::new();
        if !self.endless || accident.is_some() {
            let length = self.deltas(&asked).take(usize::try_from(most).unwrap_or(usize::MAX)).count() as u64;
            end = match accident {
                Some((after, step)) if length >= after => vec![step],
                _ => self.ending(&asked, length),
            };
        }
        let start = [
            ScriptStep::Wait(self.first_ms),
            event(&asked, &json!({"role": "assistant", "content": ""}), None),
        ];
        let pieces = deltas.enumerate().flat_map(move |(n, delta)| {
            let pause = if n == 0 { 0 } else { self.interval_ms };
            [ScriptStep::Wait(pause), event(&asked, &delta, None)]
        });
        Box::new(start.into_iter().chain(pieces).chain(end))
    }

    /// How long a whole answer takes, in milliseconds.
    pub(super) fn duration(&self, asked: &ScriptedRequest) -> u64 {
        let pieces = if self.endless { 0 } else { self.deltas(asked).count() as u64 };
        self.first_ms + self.interval_ms * pieces.saturating_sub(1)
    }

    fn ending(&self, asked: &ScriptedRequest, length: u64) -> Vec<ScriptStep> {
        let mut steps = Vec::new();
        if !self.no_finish {
            steps.push(event(asked, &json!({}), Some(self.finish_reason(asked, length))));
        }
        if asked.include_usage && self.usage != UsageReport::Missing {
            let mut chunk = frame(asked, "chat.completion.chunk");
            chunk["choices"] = json!([]);
            chunk["usage"] = self.usage(asked, length);
            steps.push(data(&chunk));
        }
        if !self.no_done {
            steps.push(ScriptStep::Send("data: [DONE]\n\n".into()));
        }
        steps
    }

    fn finish_reason(&self, asked: &ScriptedRequest, length: u64) -> &'static str {
        if self.tool && asked.tool.is_some() {
            "tool_calls"
        } else if length >= asked.limit {
            "length"
        } else {
            "stop"
        }
    }

    fn usage(&self, asked: &ScriptedRequest, length: u64) -> Value {
        let of = |completion: Value| json!({"prompt_tokens": asked.prompt_tokens, "completion_tokens": completion});
        match self.usage {
            UsageReport::True => of(length.into()),
            UsageReport::Missing => Value::Null,
            UsageReport::Negative => of(json!(-5)),
            UsageReport::Fractional => of(json!(0.5)),
            UsageReport::Huge => of(json!(9_000_000_000_000_000_000_u64)),
        }
    }

    /// What a failure says.
    pub(super) fn failure(&self) -> Value {
        self.error.clone().unwrap_or_else(|| json!({"message": "as the script says", "type": "server_error"}))
    }

    /// A whole answer.
    pub(super) fn whole(&self, asked: &ScriptedRequest) -> Value {
        let (mut content, mut reasoning, mut calls, mut length) = (String::new(), String::new(), None, 0_u64);
        for delta in self.deltas(asked).take(1 << 20) {
            length += 1;
            content.push_str(delta["content"].as_str().unwrap_or_default());
            reasoning.push_str(delta["reasoning_content"].as_str().unwrap_or_default());
            if delta["tool_calls"].is_array() {
                calls = asked.tool.as_ref();
            }
        }
        let mut message = json!({"role": "assistant", "content": content});
        if !reasoning.is_empty() {
            message["reasoning_content"] = reasoning.into();
        }
        if let Some(tool) = calls {
            message["tool_calls"] = json!([{"id": "call_1", "type": "function",
                "function": {"name": tool, "arguments": "{\"city\":\"Oslo\"}"}}]);
        }
        let mut answer = frame(asked, "chat.completion");
        let reason = self.finish_reason(asked, length);
        answer["choices"] = json!([{"index": 0, "message": message, "finish_reason": reason}]);
        if self.usage != UsageReport::Missing {
            answer["usage"] = self.usage(asked, length);
        }
        answer
    }
}

fn frame(asked: &ScriptedRequest, object: &str) -> Value {
    json!({"id": "scripted-1", "object": object, "created": 1, "model": asked.model, "provider": "scripted"})
}

fn event(asked: &ScriptedRequest, delta: &Value, reason: Option<&str>) -> ScriptStep {
    let mut chunk = frame(asked, "chat.completion.chunk");
    chunk["choices"] = json!([{"index": 0, "delta": delta, "finish_reason": reason}]);
    data(&chunk)
}

fn data(value: &Value) -> ScriptStep {
    ScriptStep::Send(format!("data: {value}\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(content: &str) -> ScriptedRequest {
        ScriptedRequest::read(
            &json!({"model": "scripted-echo", "stream": true, "stream_options": {"include_usage": true},
            "max_tokens": 5, "messages": [{"role": "user", "content": content}]}),
        )
    }

    fn sent(content: &str) -> Vec<String> {
        let asked = asked(content);
        let steps = Script::of(&asked).expect("a script").steps(asked).take(100);
        steps.filter_map(|step| if let ScriptStep::Send(text) = step { Some(text) } else { None }).collect()
    }

    #[test]
    fn the_last_user_message_is_echoed() {
        let sent = sent("one two three");
        let text: String = sent.iter().filter(|s| s.contains("content")).cloned().collect();
        assert!(text.contains("\"one \"") && text.contains("\"three\""), "{text}");
        assert!(sent[4].contains("stop") && sent[5].contains("\"completion_tokens\":3"), "{sent:?}");
        assert_eq!(sent[6], "data: [DONE]\n\n");
    }

    #[test]
    fn scripts_shape_the_answer() {
        assert_eq!(sent(r#"{"chunks": 3}"#).len(), 7);
        assert!(sent(r#"{"chunks": 30}"#)[6].contains("length"));
        assert_eq!(sent(r#"{"chunks": 3, "usage": "missing", "noDone": true, "noFinish": true}"#).len(), 4);
        assert_eq!(sent(r#"{"endless": true}"#).len(), 50);
        assert_eq!(sent(r#"{"raw": "x"}"#), ["x"]);
        assert!(sent(r#"{"chunks": 3, "errorAfter": 2}"#)[3].contains("\"error\""));
        let asked = asked(r#"{"chunks": 3, "cutAfter": 2}"#);
        let last = Script::of(&asked).expect("a script").steps(asked).last();
        assert_eq!(last, Some(ScriptStep::Cut));
    }

    #[test]
    fn a_script_with_a_mistake_says_so() {
        assert!(Script::of(&asked(r#"{"chnks": 3}"#)).expect_err("refused").contains("chnks"));
    }
}
