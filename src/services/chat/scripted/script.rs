//! Script of an answer, and the steps that follow from it. Pure: a request with a script
//! always gets the same answer.

use serde::Deserialize;
use serde_json::{Value, json};

/// Behaviour of one answer. By default the last user message is echoed, word by word.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "the fields of a script are independent switches")]
pub struct Script {
    /// Number of chunks of the answer; one for each word of the echo when absent.
    pub chunks: Option<u64>,
    /// Text of each chunk; numbered words when absent.
    pub text: Option<String>,
    /// True for an answer that never ends, whatever the request allows.
    pub endless: bool,
    /// Number of chunks of reasoning before the answer.
    pub reasoning: u64,
    /// True to answer with a call of the first tool, in chunks.
    pub tool: bool,
    /// Time before the first chunk, in milliseconds.
    pub first_ms: u64,
    /// Time between two chunks, in milliseconds.
    pub interval_ms: u64,
    /// HTTP status of a refusal.
    pub status: Option<u16>,
    /// Seconds after which a refusal says to come back; `None` for 7.
    pub retry_after: Option<u32>,
    /// Body of a refusal, and of an error event.
    pub error: Option<Value>,
    /// Number of chunks after which the connection is cut.
    pub cut_after: Option<u64>,
    /// Number of chunks after which an error event is sent.
    pub error_after: Option<u64>,
    /// Number of chunks after which nothing is sent any more.
    pub hang_after: Option<u64>,
    /// Usage that is reported.
    pub usage: UsageReport,
    /// True to leave out `[DONE]`.
    pub no_done: bool,
    /// True to leave out the finish reason.
    pub no_finish: bool,
    /// Body of the answer, in place of all the above.
    pub raw: Option<String>,
}

/// Usage that an answer reports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum UsageReport {
    /// Actual usage, in a chunk of its own if the request asks for it.
    #[default]
    True,
    Missing,
    Negative,
    Fractional,
    Huge,
}

/// Step of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ScriptStep {
    /// Wait for this time, in milliseconds.
    Wait(u64),
    /// Send these bytes of the body.
    Send(String),
    /// Cut the connection.
    Cut,
    /// Send nothing any more.
    Hang,
}

/// Request to the scripted upstream: the parts that an answer depends on.
#[derive(Debug)]
pub(super) struct ScriptedRequest {
    pub model: String,
    pub stream: bool,
    include_usage: bool,
    max_tokens: u64,
    /// Text of the last user message.
    prompt: String,
    prompt_tokens: u64,
    tool: Option<String>,
}

impl ScriptedRequest {
    pub(super) fn read(body: &Value) -> Self {
        let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let texts: Vec<String> = messages.iter().map(|message| text_of(&message["content"])).collect();
        let last = messages.iter().rposition(|message| message["role"] == "user");
        let max_tokens =
            [&body["max_tokens"], &body["max_completion_tokens"]].into_iter().filter_map(Value::as_u64);
        Self {
            model: body["model"].as_str().unwrap_or_default().to_owned(),
            stream: body["stream"] == true,
            include_usage: body["stream_options"]["include_usage"] == true,
            max_tokens: max_tokens.min().unwrap_or(u64::MAX),
            prompt: last.map(|index| texts[index].clone()).unwrap_or_default(),
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

/// Models, and their scripts.
const MODELS: [(&str, &str); 4] = [
    ("scripted-echo", "{}"),
    ("scripted-slow", r#"{"chunks": 100, "intervalMs": 100}"#),
    ("scripted-fast", r#"{"chunks": 1000}"#),
    ("scripted-failing", r#"{"status": 503}"#),
];

/// Returns the models that `GET /models` lists.
pub(super) fn models() -> impl Iterator<Item = &'static str> {
    MODELS.iter().map(|(name, _)| *name)
}

impl Script {
    /// Returns the script of a request: a JSON object in the last user message, else one
    /// in the name of the model, else the script of the model.
    ///
    /// # Errors
    /// The reason for which a JSON object is not a script.
    pub(super) fn of(request: &ScriptedRequest) -> Result<Self, String> {
        let preset =
            MODELS.iter().find(|(name, _)| *name == request.model).map_or("{}", |(_, script)| script);
        let named = if request.model.starts_with('{') { &request.model } else { preset };
        let text = if request.prompt.trim_start().starts_with('{') { &request.prompt } else { named };
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// Returns the deltas of the answer; endless if the script is.
    fn deltas(&self, request: &ScriptedRequest) -> Box<dyn Iterator<Item = Value> + Send> {
        let max_deltas =
            if self.endless { usize::MAX } else { usize::try_from(request.max_tokens).unwrap_or(usize::MAX) };
        let reasoning = (0..self.reasoning).map(|n| json!({"reasoning_content": format!(" thought{n}")}));
        if let (true, Some(tool)) = (self.tool, &request.tool) {
            let call = json!({"tool_calls": [{"index": 0, "id": "call_1", "type": "function",
                "function": {"name": tool, "arguments": ""}}]});
            let arguments = ["{\"city\":", "\"Oslo\"}"]
                .map(|text| json!({"tool_calls": [{"index": 0, "function": {"arguments": text}}]}));
            return Box::new(reasoning.chain(std::iter::once(call)).chain(arguments).take(max_deltas));
        }
        if let (None, None, false) = (self.chunks, &self.text, self.endless) {
            let words: Vec<Value> =
                request.prompt.split_inclusive(' ').map(|word| json!({"content": word})).collect();
            return Box::new(reasoning.chain(words).take(max_deltas));
        }
        let chunks = if self.endless { u64::MAX } else { self.chunks.unwrap_or(1) };
        let text = self.text.clone();
        let delta = move |n| json!({"content": text.clone().unwrap_or_else(|| format!(" word{n}"))});
        Box::new(reasoning.chain((0..chunks).map(delta)).take(max_deltas))
    }

    /// Returns the steps of a streamed answer; endless if the script is.
    pub(super) fn steps(self, request: ScriptedRequest) -> Box<dyn Iterator<Item = ScriptStep> + Send> {
        if let Some(raw) = self.raw {
            return Box::new([ScriptStep::Wait(self.first_ms), ScriptStep::Send(raw)].into_iter());
        }
        let failures = [
            self.cut_after.map(|after| (after, ScriptStep::Cut)),
            self.hang_after.map(|after| (after, ScriptStep::Hang)),
            self.error_after.map(|after| (after, data(&json!({"error": self.failure()})))),
        ];
        let failure = failures.into_iter().flatten().min_by_key(|(after, _)| *after);
        let max_chunks = failure.as_ref().map_or(u64::MAX, |(after, _)| *after);
        let deltas = self.deltas(&request).take(usize::try_from(max_chunks).unwrap_or(usize::MAX));
        let mut end = Vec::new();
        if !self.endless || failure.is_some() {
            let length =
                self.deltas(&request).take(usize::try_from(max_chunks).unwrap_or(usize::MAX)).count() as u64;
            end = match failure {
                Some((after, step)) if length >= after => vec![step],
                _ => self.end(&request, length),
            };
        }
        let start = [
            ScriptStep::Wait(self.first_ms),
            event(&request, &json!({"role": "assistant", "content": ""}), None),
        ];
        let chunks = deltas.enumerate().flat_map(move |(n, delta)| {
            let pause = if n == 0 { 0 } else { self.interval_ms };
            [ScriptStep::Wait(pause), event(&request, &delta, None)]
        });
        Box::new(start.into_iter().chain(chunks).chain(end))
    }

    /// Returns the time that a non-streaming answer takes, in milliseconds.
    pub(super) fn duration_ms(&self, request: &ScriptedRequest) -> u64 {
        let chunks = if self.endless { 0 } else { self.deltas(request).count() as u64 };
        self.first_ms + self.interval_ms * chunks.saturating_sub(1)
    }

    /// Returns the last steps of an answer of `length` chunks.
    fn end(&self, request: &ScriptedRequest, length: u64) -> Vec<ScriptStep> {
        let mut steps = Vec::new();
        if !self.no_finish {
            steps.push(event(request, &json!({}), Some(self.finish_reason(request, length))));
        }
        if request.include_usage && self.usage != UsageReport::Missing {
            let mut chunk = frame(request, "chat.completion.chunk");
            chunk["choices"] = json!([]);
            chunk["usage"] = self.usage(request, length);
            steps.push(data(&chunk));
        }
        if !self.no_done {
            steps.push(ScriptStep::Send("data: [DONE]\n\n".into()));
        }
        steps
    }

    fn finish_reason(&self, request: &ScriptedRequest, length: u64) -> &'static str {
        if self.tool && request.tool.is_some() {
            "tool_calls"
        } else if length >= request.max_tokens {
            "length"
        } else {
            "stop"
        }
    }

    fn usage(&self, request: &ScriptedRequest, length: u64) -> Value {
        let with_completion = |completion: Value| json!({"prompt_tokens": request.prompt_tokens, "completion_tokens": completion});
        match self.usage {
            UsageReport::True => with_completion(length.into()),
            UsageReport::Missing => Value::Null,
            UsageReport::Negative => with_completion(json!(-5)),
            UsageReport::Fractional => with_completion(json!(0.5)),
            UsageReport::Huge => with_completion(json!(9_000_000_000_000_000_000_u64)),
        }
    }

    /// Returns the error object of a failure.
    pub(super) fn failure(&self) -> Value {
        self.error.clone().unwrap_or_else(|| json!({"message": "as the script says", "type": "server_error"}))
    }

    /// Returns a non-streaming answer.
    pub(super) fn completion(&self, request: &ScriptedRequest) -> Value {
        let (mut content, mut reasoning, mut calls, mut length) = (String::new(), String::new(), None, 0_u64);
        for delta in self.deltas(request).take(1 << 20) {
            length += 1;
            content.push_str(delta["content"].as_str().unwrap_or_default());
            reasoning.push_str(delta["reasoning_content"].as_str().unwrap_or_default());
            if delta["tool_calls"].is_array() {
                calls = request.tool.as_ref();
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
        let mut answer = frame(request, "chat.completion");
        let reason = self.finish_reason(request, length);
        answer["choices"] = json!([{"index": 0, "message": message, "finish_reason": reason}]);
        if self.usage != UsageReport::Missing {
            answer["usage"] = self.usage(request, length);
        }
        answer
    }
}

fn frame(request: &ScriptedRequest, object: &str) -> Value {
    json!({"id": "scripted-1", "object": object, "created": 1, "model": request.model, "provider": "scripted"})
}

fn event(request: &ScriptedRequest, delta: &Value, reason: Option<&str>) -> ScriptStep {
    let mut chunk = frame(request, "chat.completion.chunk");
    chunk["choices"] = json!([{"index": 0, "delta": delta, "finish_reason": reason}]);
    data(&chunk)
}

fn data(value: &Value) -> ScriptStep {
    ScriptStep::Send(format!("data: {value}\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(content: &str) -> ScriptedRequest {
        ScriptedRequest::read(
            &json!({"model": "scripted-echo", "stream": true, "stream_options": {"include_usage": true},
            "max_tokens": 5, "messages": [{"role": "user", "content": content}]}),
        )
    }

    fn sent(content: &str) -> Vec<String> {
        let request = request(content);
        let steps = Script::of(&request).expect("a script").steps(request).take(100);
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
        let request = request(r#"{"chunks": 3, "cutAfter": 2}"#);
        let last = Script::of(&request).expect("a script").steps(request).last();
        assert_eq!(last, Some(ScriptStep::Cut));
    }

    #[test]
    fn a_script_with_a_mistake_says_so() {
        assert!(Script::of(&request(r#"{"chnks": 3}"#)).expect_err("refused").contains("chnks"));
    }
}
