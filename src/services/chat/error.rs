//! Why an upstream did not answer, in our own words.
//!
//! What an upstream writes into its errors may hold the operator's account, an
//! address, or the prompt: none of it is passed on. What helps the caller is
//! recognised in it instead: the reason, and which of the caller's own fields
//! it names.

use serde_json::Value;

/// A request that no upstream answered, or an answer that broke off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// The model does not take the request: another upstream would not either.
    #[error("{}", .reason.explain(.field.as_deref()))]
    Refused { reason: Reason, field: Option<String> },
    /// Too many requests; `retry_after` is in seconds.
    #[error("the model is busy; try again later")]
    Busy { retry_after: Option<u32> },
    #[error("the model cannot be reached at the moment; try again later")]
    Unavailable,
    #[error("{}", .0.explain())]
    Timeout(Wait),
    /// The connection ended, or the upstream reported an error, before the end.
    #[error("the model broke off its answer")]
    Interrupted,
    /// What came is not an answer. The text is for the log.
    #[error("the model's answer could not be read")]
    Malformed(&'static str),
    /// More came than the request allows.
    #[error("the model's answer is longer than it was allowed to be")]
    TooLong,
}

/// Why a model does not take a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    ContextLength,
    ContentPolicy,
    TooLarge,
    Invalid,
}

/// What took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    Connect,
    FirstToken,
    Idle,
    Total,
}

impl UpstreamError {
    /// A stable code for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Refused { reason, .. } => reason.code(),
            Self::Busy { .. } => "upstream_busy",
            Self::Unavailable => "upstream_unavailable",
            Self::Timeout(_) => "upstream_timeout",
            Self::Interrupted => "upstream_interrupted",
            Self::Malformed(_) => "upstream_malformed",
            Self::TooLong => "upstream_too_long",
        }
    }

    /// Whether it is for the caller to change the request.
    #[must_use]
    pub const fn is_callers(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

impl Reason {
    const fn code(self) -> &'static str {
        match self {
            Self::ContextLength => "context_length_exceeded",
            Self::ContentPolicy => "content_policy_violation",
            Self::TooLarge => "request_too_large",
            Self::Invalid => "upstream_refused",
        }
    }

    fn explain(self, field: Option<&str>) -> String {
        match (self, field) {
            (Self::ContextLength, _) => "the messages and the answer asked for do not fit into the model's \
                                         context; shorten the messages or lower max_tokens"
                .into(),
            (Self::ContentPolicy, _) => "the model's content policy does not allow this request".into(),
            (Self::TooLarge, _) => "the model does not take a request of this size".into(),
            (Self::Invalid, Some(field)) => format!("the model does not take this request; check `{field}`"),
            (Self::Invalid, None) => "the model does not take this request; check its parameters".into(),
        }
    }
}

impl Wait {
    const fn explain(self) -> &'static str {
        match self {
            Self::Connect => "the model could not be reached in time; try again later",
            Self::FirstToken => "the model did not begin to answer in time; try again later",
            Self::Idle => "the model fell silent",
            Self::Total => "the model took too long to finish its answer",
        }
    }
}

/// What an upstream reported.
#[derive(Debug)]
pub(super) struct UpstreamReport<'a> {
    /// The HTTP status; within a stream, what the report says itself.
    status: Option<u16>,
    error: &'a Value,
}

/// Words of reports that are about the operator's account, not the request.
const ACCOUNT: [&str; 8] =
    ["billing", "credit", "quota", "api key", "api_key", "unauthorized", "model_not_found", "does not exist"];
const CONTEXT: [&str; 5] =
    ["context_length", "context length", "context window", "prompt is too long", "too many tokens"];
const POLICY: [&str; 3] = ["content_policy", "content_filter", "content management policy"];

impl<'a> UpstreamReport<'a> {
    /// The report of an answer with an HTTP error.
    pub(super) fn of_answer(status: u16, body: &'a Value) -> Self {
        Self { status: Some(status), error: body.get("error").unwrap_or(body) }
    }

    /// The report of an `error` member within a stream.
    pub(super) fn of_event(error: &'a Value) -> Self {
        let code = error["code"].as_u64().or_else(|| error["status"].as_u64());
        let status = code.and_then(|code| u16::try_from(code).ok()).filter(|code| (400..600).contains(code));
        Self { status, error }
    }

    /// What it means for the caller. `fields` are those of the caller's request;
    /// only a name among them is ever repeated.
    pub(super) fn judge(&self, fields: &[&str], retry_after: Option<u32>) -> UpstreamError {
        let Some(status) = self.status else {
            return UpstreamError::Interrupted;
        };
        let words = self.words();
        let says = |list: &[&str]| list.iter().any(|word| words.contains(word));
        match status {
            429 => UpstreamError::Busy { retry_after },
            413 => UpstreamError::Refused { reason: Reason::TooLarge, field: None },
            400 | 415 | 422 if says(&CONTEXT) => {
                UpstreamError::Refused { reason: Reason::ContextLength, field: None }
            }
            400 | 403 | 422 if says(&POLICY) => {
                UpstreamError::Refused { reason: Reason::ContentPolicy, field: None }
            }
            400 | 415 | 422 if !says(&ACCOUNT) => {
                UpstreamError::Refused { reason: Reason::Invalid, field: self.field(&words, fields) }
            }
            _ => UpstreamError::Unavailable,
        }
    }

    /// Code, type and message, in lower case.
    fn words(&self) -> String {
        let text = |name: &str| self.error[name].as_str().unwrap_or_default();
        let message = self.error.as_str().unwrap_or_else(|| text("message"));
        let start: String = message.chars().take(2000).collect();
        format!("{} {} {start}", text("code"), text("type")).to_lowercase()
    }

    /// The caller's field that the report is about.
    fn field(&self, words: &str, fields: &[&str]) -> Option<String> {
        let named = self.error["param"].as_str().unwrap_or_default();
        let root = named.split(['.', '[']).next().unwrap_or_default();
        let is_word = |name: &str| {
            words.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == name)
        };
        let mut own = fields.iter().filter(|field| !["model", "messages", "stream"].contains(field));
        fields
            .iter()
            .find(|field| **field == root)
            .or_else(|| own.find(|field| is_word(&field.to_lowercase())))
            .map(|field| (*field).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn attack_27_reports_are_judged_and_never_repeated() {
        let fields = ["model", "messages", "temperature", "tools"];
        for (status, error, code, said) in [
            (
                400,
                json!({"message": "secret: maximum context length is 4096"}),
                "context_length_exceeded",
                "shorten",
            ),
            (400, json!({"code": "context_length_exceeded"}), "context_length_exceeded", "shorten"),
            (400, json!({"param": "tools[0].secret"}), "upstream_refused", "check `tools`"),
            (
                422,
                json!({"message": "secret temperature must be < 2"}),
                "upstream_refused",
                "check `temperature`",
            ),
            (400, json!({"param": "org-secret"}), "upstream_refused", "its parameters"),
            (400, json!("secret"), "upstream_refused", "its parameters"),
            (
                400,
                json!({"message": "Your credit balance is too low, secret"}),
                "upstream_unavailable",
                "later",
            ),
            (400, json!({"code": "content_policy_violation"}), "content_policy_violation", "policy"),
            (401, json!({"message": "Incorrect API key: secret"}), "upstream_unavailable", "later"),
            (402, json!({}), "upstream_unavailable", "later"),
            (404, json!({"code": "model_not_found"}), "upstream_unavailable", "later"),
            (413, json!({}), "request_too_large", "size"),
            (429, json!({"message": "org-secret is over its limit"}), "upstream_busy", "busy"),
            (500, json!({}), "upstream_unavailable", "later"),
            (302, json!({}), "upstream_unavailable", "later"),
        ] {
            let body = json!({"error": error});
            let judged = UpstreamReport::of_answer(status, &body).judge(&fields, None);
            assert_eq!(judged.code(), code, "{status} {body}");
            assert!(judged.to_string().contains(said), "{judged}");
            assert!(!format!("{judged} {judged:?}").contains("secret"), "{judged:?}");
        }
    }

    #[test]
    fn reports_within_a_stream_say_their_status_themselves() {
        let judge = |error: Value| UpstreamReport::of_event(&error).judge(&[], None);
        assert_eq!(judge(json!({"code": 429})), UpstreamError::Busy { retry_after: None });
        assert_eq!(judge(json!({"code": 502})), UpstreamError::Unavailable);
        assert_eq!(judge(json!({"code": "server_error"})), UpstreamError::Interrupted);
        assert_eq!(judge(json!({"code": 7})), UpstreamError::Interrupted);
    }
}
