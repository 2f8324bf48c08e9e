//! Errors of upstreams, in this server's own words.
//!
//! The text of an upstream's error may hold the operator's account, an address, or
//! the prompt: none of it is sent to clients. It is only searched for the parts that
//! help the client: the reason, and the name of a field of the request.

use serde_json::Value;

use super::request::LENGTH_FIELDS;

/// Reason for which no upstream answered a request, or an answer ended early.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// The model does not accept the request; another upstream would not either.
    #[error("{}", .reason.message(.field.as_deref()))]
    Refused { reason: UpstreamRefusal, field: Option<String> },
    /// Too many requests; `retry_after` is in seconds.
    #[error("the model is busy; try again later")]
    Busy { retry_after: Option<u32> },
    /// An upstream that is overloaded or down for a while; `retry_after` is in seconds.
    #[error("the model is overloaded or down for the moment; try again later")]
    Overloaded { retry_after: Option<u32> },
    /// No connection to an upstream, from here or from a gateway in front of it: it does not have the request.
    #[error("the model is unreachable at the moment; try again later")]
    Unreachable,
    /// An upstream that failed in another way. It may have had the request.
    #[error("the model is unreachable at the moment; try again later")]
    Unavailable,
    /// An upstream that does not accept the operator's key, or has no credit for it.
    #[error("the model is unreachable at the moment; try again later")]
    KeyRefused,
    /// An upstream that does not answer this request, by its own account: the text names the operator's.
    #[error("the model is unreachable at the moment; try again later")]
    Declined,
    #[error("{}", .0.message())]
    Timeout(TimeoutKind),
    /// The connection ended, or the upstream reported an error, before the answer was complete.
    #[error("the model's answer ended before it was complete; send the request again")]
    Interrupted,
    /// The upstream sent something that is not an answer. The text is for the log.
    #[error("the model sent an answer that is not valid; try again later")]
    Malformed(&'static str),
    /// The upstream sent more than the request allows.
    #[error("the model's answer is longer than the request allows; try again later")]
    TooLong,
}

/// Reason for which a model does not accept a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamRefusal {
    ContextLength,
    /// A single text is too long.
    TextLength,
    ContentPolicy,
    /// A filter of the model's server stopped it.
    ContentFilter,
    TooLarge,
    Invalid,
}

/// Timeout of an upstream that was exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeoutKind {
    /// Connecting.
    Connect,
    /// Waiting for the first token.
    FirstToken,
    /// Waiting for the next token.
    Idle,
    /// The answer as a whole.
    Total,
}

impl UpstreamError {
    /// Returns the stable code for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Refused { reason, .. } => reason.code(),
            Self::Busy { .. } => "upstream_busy",
            Self::Overloaded { .. } => "upstream_overloaded",
            Self::Unreachable | Self::Unavailable | Self::KeyRefused | Self::Declined => {
                "upstream_unavailable"
            }
            Self::Timeout(_) => "upstream_timeout",
            Self::Interrupted => "upstream_interrupted",
            Self::Malformed(_) => "upstream_malformed",
            Self::TooLong => "upstream_too_long",
        }
    }

    /// Returns the seconds after which the upstream wants to be asked again, if it says so.
    pub(super) const fn retry_after(&self) -> Option<u32> {
        match self {
            Self::Busy { retry_after } | Self::Overloaded { retry_after } => *retry_after,
            _ => None,
        }
    }

    /// Returns true if it may be the key that is at fault, so that another one is worth asking with.
    pub(super) const fn is_of_key(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::KeyRefused | Self::Declined)
    }

    /// Returns the one of two errors of a request that tells its client more: when to try again, and the sooner.
    pub(super) fn or_better(self, other: Self) -> Self {
        let rank = |error: &Self| match error {
            Self::Busy { .. } | Self::Overloaded { .. } => (0, error.retry_after().unwrap_or(u32::MAX)),
            _ => (1, 0),
        };
        let (own, others) = (rank(&self), rank(&other));
        // Of two that say nothing, the later one.
        if others < own || (others == own && own.0 == 1) { other } else { self }
    }

    /// Returns true if the request is at fault, not the upstream.
    #[must_use]
    pub const fn is_client_error(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

impl UpstreamRefusal {
    const fn code(self) -> &'static str {
        match self {
            Self::ContextLength => "context_length_exceeded",
            Self::TextLength => "string_above_max_length",
            Self::ContentPolicy => "content_policy_violation",
            Self::ContentFilter => "content_filter",
            Self::TooLarge => "request_too_large",
            Self::Invalid => "upstream_refused",
        }
    }

    fn message(self, field: Option<&str>) -> String {
        match (self, field) {
            // OpenAI's words, which clients look for that do not read the code.
            (Self::ContextLength, _) => "This model's maximum context length is exceeded by the messages and the \
                                         requested answer. Please reduce the length of the messages, or lower \
                                         max_tokens."
                .into(),
            (Self::TextLength, Some(field)) => {
                format!("a text in `{field}` is too long for the model; shorten it")
            }
            (Self::TextLength, None) => "a text is too long for the model; shorten it".into(),
            (Self::ContentFilter, _) => "the model's content filter does not allow this request".into(),
            (Self::ContentPolicy, _) => {
                "The request was rejected as a result of the safety system of the model's server.".into()
            },
            (Self::TooLarge, _) => {
                "the model does not accept a request of this size; send fewer or smaller messages".into()
            }
            (Self::Invalid, Some(field)) => {
                format!("the model does not accept this request; check `{field}`")
            }
            (Self::Invalid, None) => "the model does not accept this request; check its parameters".into(),
        }
    }
}

impl TimeoutKind {
    const fn message(self) -> &'static str {
        match self {
            Self::Connect => "the model is unreachable: connecting took too long; try again later",
            Self::FirstToken => "the model did not begin to answer in time; try again later",
            Self::Idle => "the model stopped sending its answer; send the request again",
            Self::Total => {
                "the model took too long to finish its answer; lower max_tokens, or try again later"
            }
        }
    }
}

/// Longest wait for which an upstream may ask, in seconds.
pub(super) const MAX_RETRY_AFTER: u32 = 3600;

/// Error report of an upstream.
#[derive(Debug)]
pub(super) struct UpstreamReport<'a> {
    /// HTTP status; within a stream, the one that the report names, if any.
    status: Option<u16>,
    error: &'a Value,
}

/// Phrases of reports on the operator's account, not on the request.
const ACCOUNT_PHRASES: [&str; 8] =
    ["billing", "credit", "quota", "api key", "api_key", "unauthorized", "model_not_found", "does not exist"];
/// Phrases of reports on a key that some servers send as if the request were wrong (Google).
const KEY_PHRASES: [&str; 2] = ["api key not valid", "api key expired"];
/// Phrases of reports that a prompt is too long.
const CONTEXT_PHRASES: [&str; 8] = [
    "context_length",
    "context length",
    "context window",
    "context size",
    "prompt is too long",
    "too many tokens",
    "input is too long",
    "maximum number of tokens",
];
/// Phrases of reports on a content policy.
const POLICY_PHRASES: [&str; 1] = ["content_policy"];
/// Phrases of reports on a filter.
const FILTER_PHRASES: [&str; 2] = ["content_filter", "content management policy"];

impl<'a> UpstreamReport<'a> {
    /// Reads the report of a response with an HTTP error. Google's endpoint puts it into a list.
    pub(super) fn from_response(status: u16, body: &'a Value) -> Self {
        let body = body.get(0).unwrap_or(body);
        Self { status: Some(status), error: body.get("error").unwrap_or(body) }
    }

    /// Reads the report in an `error` member within a stream.
    pub(super) fn from_event(error: &'a Value) -> Self {
        let code = error["code"].as_u64().or_else(|| error["status"].as_u64());
        let status = code.and_then(|code| u16::try_from(code).ok()).filter(|code| (400..600).contains(code));
        Self { status, error }
    }

    /// Returns the error for the client. `fields` are the names of the request's fields;
    /// no other text of the report is repeated.
    pub(super) fn classify(&self, fields: &[&str], retry_after: Option<u32>) -> UpstreamError {
        let Some(status) = self.status else {
            return UpstreamError::Interrupted;
        };
        let text = self.text();
        let mentions = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
        let retry_after = retry_after.or_else(|| self.retry_delay());
        match status {
            429 => UpstreamError::Busy { retry_after },
            // 529 is Anthropic's.
            503 | 529 => UpstreamError::Overloaded { retry_after },
            413 => UpstreamError::Refused { reason: UpstreamRefusal::TooLarge, field: None },
            // Some of these phrases are also said of a length that was asked for.
            400 | 415 | 422 if mentions(&CONTEXT_PHRASES) && !self.names_length() => {
                UpstreamError::Refused { reason: UpstreamRefusal::ContextLength, field: None }
            }
            400 | 422 if mentions(&["string_above_max_length"]) => {
                let field = self.field(&text, fields);
                UpstreamError::Refused { reason: UpstreamRefusal::TextLength, field }
            }
            400 | 403 | 422 if mentions(&FILTER_PHRASES) => {
                UpstreamError::Refused { reason: UpstreamRefusal::ContentFilter, field: None }
            }
            400 | 403 | 422 if mentions(&POLICY_PHRASES) || self.is_flagged() => {
                UpstreamError::Refused { reason: UpstreamRefusal::ContentPolicy, field: None }
            }
            401 | 402 => UpstreamError::KeyRefused,
            400 if mentions(&KEY_PHRASES) => UpstreamError::KeyRefused,
            400 | 415 | 422 if !mentions(&ACCOUNT_PHRASES) => {
                UpstreamError::Refused { reason: UpstreamRefusal::Invalid, field: self.field(&text, fields) }
            }
            400..=499 if ![407, 408].contains(&status) => UpstreamError::Declined,
            502 => UpstreamError::Unreachable,
            _ => UpstreamError::Unavailable,
        }
    }

    /// Returns true if a moderation in front of the model has flagged the prompt (`OpenRouter`).
    fn is_flagged(&self) -> bool {
        self.error["metadata"]["reasons"].is_array()
    }

    /// Returns the seconds after which Google's endpoint wants to be asked again.
    fn retry_delay(&self) -> Option<u32> {
        let details = self.error["details"].as_array()?;
        let delay = details.iter().find_map(|detail| detail["retryDelay"].as_str()?.strip_suffix('s'))?;
        delay.split('.').next()?.parse::<u32>().ok().map(|seconds| seconds.min(MAX_RETRY_AFTER))
    }

    /// Returns true if it names the field that limits the answer.
    fn names_length(&self) -> bool {
        let named = self.error["param"].as_str();
        named.is_some_and(|named| LENGTH_FIELDS.contains(&named))
    }

    /// Returns the code, type and message, in lower case.
    fn text(&self) -> String {
        let member = |name: &str| self.error[name].as_str().unwrap_or_default();
        let message = self.error.as_str().unwrap_or_else(|| member("message"));
        let start: String = message.chars().take(2000).collect();
        format!("{} {} {start}", member("code"), member("type")).to_lowercase()
    }

    /// Returns the field of the request that the report names.
    fn field(&self, text: &str, fields: &[&str]) -> Option<String> {
        let named = self.error["param"].as_str().unwrap_or_default();
        let root = named.split(['.', '[']).next().unwrap_or_default();
        let is_word = |name: &str| {
            text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == name)
        };
        let mut specific = fields.iter().filter(|field| !["model", "messages", "stream"].contains(field));
        fields
            .iter()
            .find(|field| **field == root)
            .or_else(|| specific.find(|field| is_word(&field.to_lowercase())))
            .map(|field| (*field).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn attack_27_reports_are_classified_and_never_repeated() {
        let fields = ["model", "messages", "temperature", "tools"];
        for (status, error, code, said) in [
            (
                400,
                json!({"message": "secret: maximum context length is 4096"}),
                "context_length_exceeded",
                "reduce the length",
            ),
            (400, json!({"code": "context_length_exceeded"}), "context_length_exceeded", "reduce the length"),
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
            (400, json!({"code": "content_policy_violation"}), "content_policy_violation", "safety system"),
            (401, json!({"message": "Incorrect API key: secret"}), "upstream_unavailable", "later"),
            (402, json!({}), "upstream_unavailable", "later"),
            (404, json!({"code": "model_not_found"}), "upstream_unavailable", "later"),
            (
                400,
                json!({"param": "max_tokens", "message": "secret: too many tokens"}),
                "upstream_refused",
                "its parameters",
            ),
            (400, json!({"code": "content_filter", "message": "secret"}), "content_filter", "filter"),
            (
                400,
                json!({"code": "string_above_max_length", "param": "messages[0].content"}),
                "string_above_max_length",
                "`messages`",
            ),
            (503, json!({"message": "secret"}), "upstream_overloaded", "overloaded"),
            (529, json!({}), "upstream_overloaded", "overloaded"),
            (413, json!({}), "request_too_large", "size"),
            (
                403,
                json!({"message": "secret", "metadata": {"reasons": ["violence"], "flagged_input": "secret"}}),
                "content_policy_violation",
                "safety system",
            ),
            (400, json!({"message": "API key not valid. secret"}), "upstream_unavailable", "later"),
            (502, json!({"message": "secret"}), "upstream_unavailable", "later"),
            (429, json!({"message": "org-secret is over its limit"}), "upstream_busy", "busy"),
            (500, json!({}), "upstream_unavailable", "later"),
            (302, json!({}), "upstream_unavailable", "later"),
        ] {
            let body = json!({"error": error});
            let error = UpstreamReport::from_response(status, &body).classify(&fields, None);
            let in_a_list = UpstreamReport::from_response(status, &json!([body])).classify(&fields, None);
            assert_eq!(in_a_list, error, "{body}");
            assert_eq!(error.code(), code, "{status} {body}");
            assert!(error.to_string().contains(said), "{error}");
            assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        }
    }

    #[test]
    fn reports_within_a_stream_name_their_status() {
        let classify = |error: Value| UpstreamReport::from_event(&error).classify(&[], None);
        assert_eq!(classify(json!({"code": 429})), UpstreamError::Busy { retry_after: None });
        assert_eq!(classify(json!({"code": 502})), UpstreamError::Unreachable);
        assert_eq!(classify(json!({"code": 401})), UpstreamError::KeyRefused);
        let details = json!([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "31.5s"}]);
        let busy = classify(json!({"code": 429, "details": details}));
        assert_eq!(busy, UpstreamError::Busy { retry_after: Some(31) });
        assert_eq!(classify(json!({"code": "server_error"})), UpstreamError::Interrupted);
        assert_eq!(classify(json!({"code": 7})), UpstreamError::Interrupted);
    }

    #[test]
    fn of_several_errors_the_one_that_says_when_to_come_back_is_told() {
        let busy = |retry_after| UpstreamError::Busy { retry_after };
        for (first, second, told) in [
            (UpstreamError::Unavailable, busy(None), busy(None)),
            (busy(None), UpstreamError::Unavailable, busy(None)),
            (busy(None), busy(Some(60)), busy(Some(60))),
            (busy(Some(60)), busy(Some(7)), busy(Some(7))),
            (busy(Some(7)), UpstreamError::Overloaded { retry_after: Some(60) }, busy(Some(7))),
            (UpstreamError::Unavailable, UpstreamError::TooLong, UpstreamError::TooLong),
        ] {
            assert_eq!(first.clone().or_better(second.clone()), told, "{first:?} {second:?}");
        }
    }
}
