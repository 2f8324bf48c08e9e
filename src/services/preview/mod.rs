//! The PII preview: what would be found in a text, and the text without it.

mod answer;
mod body;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::funding::Paid;
use crate::keys::Bought;
use farebox_pii::{self as pii, Engine, Offer, Selection};

pub use answer::{FoundEntity, PreviewAnswer, RedactedContent, RedactedMessage, TextPart};
pub use body::{ConfigBody, ContentBody, MessageBody, PartBody, PreviewBody};

/// Most messages of one request, and most text parts in them.
const MAX_PIECES: usize = 2_000;

/// That a preview is paid for: by a credential, or from an account.
#[derive(Debug, Clone, Copy)]
pub enum Proof<'a> {
    Paid(&'a Paid),
    Bought(&'a Bought),
}

impl<'a> From<&'a Paid> for Proof<'a> {
    fn from(paid: &'a Paid) -> Self {
        Self::Paid(paid)
    }
}

impl<'a> From<&'a Bought> for Proof<'a> {
    fn from(bought: &'a Bought) -> Self {
        Self::Bought(bought)
    }
}

/// A preview request that has been checked: running it cannot fail.
#[derive(Debug)]
pub struct PreviewRequest {
    input: Input,
    selection: Selection,
}

#[derive(Debug)]
enum Input {
    Text(String),
    Messages(Vec<Message>),
}

/// A chat message; its content is text or text parts.
#[derive(Debug)]
struct Message {
    role: String,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Text(String),
    Parts(Vec<String>),
}

/// Why a request was refused. The text quotes names of fields, never contents.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    #[error("the body is not valid JSON: {0}")]
    Syntax(String),
    #[error("{0}")]
    Shape(String),
    #[error("the text is longer than {limit} bytes; send it in several requests")]
    TooLong { limit: usize },
    #[error(transparent)]
    Selection(#[from] pii::ConfigError),
}

impl PreviewError {
    /// Whether it is the size that was wrong.
    #[must_use]
    pub fn is_size(&self) -> bool {
        matches!(self, Self::TooLong { .. })
    }
}

const FIELDS: [&str; 6] = ["text", "messages", "piiEntities", "pii_entities", "piiConfig", "pii_config"];

impl PreviewRequest {
    /// Reads and checks a request body. `limit` is in bytes of text, all pieces together; `offer` is
    /// the models to choose from.
    ///
    /// # Errors
    /// A sentence that says which field to change.
    pub fn parse(body: &str, limit: usize, offer: &Offer) -> Result<Self, PreviewError> {
        let body: Value = serde_json::from_str(body).map_err(|e| PreviewError::Syntax(e.to_string()))?;
        let Value::Object(body) = body else {
            return Err(shape("the body must be a JSON object with `text` or `messages`"));
        };
        if let Some(unknown) = body.keys().find(|key| !FIELDS.contains(&key.as_str())) {
            return Err(unknown_field(unknown));
        }
        let input = match (given(&body, "text"), given(&body, "messages")) {
            (Some(Value::String(text)), None) => Input::Text(text.clone()),
            (Some(_), None) => return Err(shape("`text` must be a string")),
            (None, Some(Value::Array(list))) => Input::Messages(messages(list)?),
            (None, Some(_)) => return Err(shape("`messages` must be a list of messages")),
            (None, None) => return Err(shape("send `text` or `messages`")),
            (Some(_), Some(_)) => return Err(shape("send either `text` or `messages`, not both")),
        };
        let length: usize = input.pieces().map(str::len).sum();
        if length == 0 {
            return Err(shape("there is no text to examine"));
        }
        if length > limit {
            return Err(PreviewError::TooLong { limit });
        }
        if input.pieces().count() > MAX_PIECES {
            return Err(shape(&format!("send at most {MAX_PIECES} messages and parts")));
        }
        Ok(Self { input, selection: Selection::from_request(&body, offer)? })
    }

    /// Runs the preview: sold only to who holds a proof of payment.
    #[must_use]
    pub fn run<'a>(self, engine: &Engine, _proof: impl Into<Proof<'a>>) -> String {
        serde_json::to_string(&self.examine(engine)).expect("plain data is valid JSON")
    }

    fn examine(self, engine: &Engine) -> PreviewAnswer {
        let mut examiner =
            Examiner { engine, selection: &self.selection, entities: Vec::new(), counts: BTreeMap::new() };
        let (redacted_text, redacted_messages) = match &self.input {
            Input::Text(text) => (Some(examiner.redact(text, None)), None),
            Input::Messages(messages) => (None, Some(examiner.messages(messages))),
        };
        PreviewAnswer {
            object: "pii.preview",
            model: self.selection.model().to_string(),
            entities: examiner.entities,
            counts: examiner.counts,
            redacted_text,
            redacted_messages,
        }
    }
}

impl Input {
    fn pieces(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match self {
            Self::Text(text) => Box::new(std::iter::once(text.as_str())),
            Self::Messages(messages) => {
                Box::new(messages.iter().flat_map(|message| message.content.pieces().map(String::as_str)))
            }
        }
    }
}

impl Content {
    fn pieces(&self) -> std::slice::Iter<'_, String> {
        match self {
            Self::Text(text) => std::slice::from_ref(text).iter(),
            Self::Parts(parts) => parts.iter(),
        }
    }
}

fn shape(what: &str) -> PreviewError {
    PreviewError::Shape(what.to_owned())
}

fn unknown_field(name: &str) -> PreviewError {
    let name: String = name.chars().take(64).collect();
    if ["image", "images", "image_url", "pdf", "pdfs", "urls", "file"].contains(&name.as_str()) {
        return shape(&format!(
            "`{name}` cannot be examined by this version, which reads text only; send `text` or `messages`"
        ));
    }
    let nearest = FIELDS
        .iter()
        .map(|field| (strsim::jaro_winkler(&name, field), field))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, field)) => shape(&format!("unknown field `{name}`; did you mean `{field}`?")),
        None => shape(&format!("unknown field `{name}`; use {}", FIELDS.join(", "))),
    }
}

fn given<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    map.get(key).filter(|value| !value.is_null())
}

fn messages(list: &[Value]) -> Result<Vec<Message>, PreviewError> {
    list.iter().enumerate().map(|(index, value)| message(index, value)).collect()
}

fn message(index: usize, value: &Value) -> Result<Message, PreviewError> {
    let wrong = |what: &str| shape(&format!("messages[{index}]{what}"));
    let Value::Object(fields) = value else {
        return Err(wrong(" must be an object with `role` and `content`"));
    };
    if let Some(other) = fields.keys().find(|key| !["role", "content"].contains(&key.as_str())) {
        let other: String = other.chars().take(64).collect();
        return Err(wrong(&format!(
            " has the field `{other}`, which is not examined; send `role` and `content`"
        )));
    }
    let Some(Value::String(role)) = fields.get("role") else {
        return Err(wrong(".role must be a string"));
    };
    let content = match given(fields, "content") {
        None => Content::Text(String::new()),
        Some(Value::String(text)) => Content::Text(text.clone()),
        Some(Value::Array(parts)) => Content::Parts(
            parts
                .iter()
                .enumerate()
                .map(|(at, part)| text_part(part).map_err(|what| wrong(&format!(".content[{at}]{what}"))))
                .collect::<Result<_, _>>()?,
        ),
        Some(_) => return Err(wrong(".content must be a string or a list of parts")),
    };
    Ok(Message { role: role.clone(), content })
}

fn text_part(part: &Value) -> Result<String, String> {
    match (part["type"].as_str(), part["text"].as_str()) {
        (Some("text"), Some(text)) => Ok(text.to_owned()),
        (Some("text"), None) => Err(".text must be a string".to_owned()),
        (Some(kind), _) => {
            let kind: String = kind.chars().take(64).collect();
            Err(format!(
                " is of type `{kind}`, which this version cannot examine; it reads parts of type `text`"
            ))
        }
        (None, _) => Err(" must be an object with `type` and `text`".to_owned()),
    }
}

struct Examiner<'a> {
    engine: &'a Engine,
    selection: &'a Selection,
    entities: Vec<FoundEntity>,
    counts: BTreeMap<&'static str, usize>,
}

impl Examiner<'_> {
    fn redact(&mut self, text: &str, path: Option<&str>) -> String {
        let findings = self.engine.analyze(text, self.selection);
        for finding in &findings {
            *self.counts.entry(finding.entity.name()).or_default() += 1;
            self.entities.push(FoundEntity::new(finding, path));
        }
        pii::redact(text, &findings)
    }

    fn messages(&mut self, messages: &[Message]) -> Vec<RedactedMessage> {
        messages
            .iter()
            .enumerate()
            .map(|(index, message)| {
                let path = format!("messages[{index}].content");
                let content = match &message.content {
                    Content::Text(text) => RedactedContent::Text(self.redact(text, Some(&path))),
                    Content::Parts(parts) => RedactedContent::Parts(
                        parts
                            .iter()
                            .enumerate()
                            .map(|(at, text)| TextPart {
                                kind: "text",
                                text: self.redact(text, Some(&format!("{path}[{at}].text"))),
                            })
                            .collect(),
                    ),
                };
                RedactedMessage { role: message.role.clone(), content }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(body: &Value) -> Result<PreviewRequest, String> {
        PreviewRequest::parse(&body.to_string(), 1000, &Offer::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn text_and_messages_are_examined_where_they_stand() {
        let engine = Engine::new();
        let body = json!({"messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": [{"type": "text", "text": "ok"}, {"type": "text", "text": "é jane@example.com"}]},
        ]});
        let answer = serde_json::to_value(parse(&body).expect("valid").examine(&engine)).expect("JSON");
        assert_eq!(answer["counts"], json!({"EMAIL_ADDRESS": 1}));
        let found = &answer["entities"][0];
        assert_eq!(found["path"], "messages[1].content[1].text");
        assert_eq!((&found["start"], &found["startByte"]), (&json!(2), &json!(3)));
        assert_eq!(answer["redactedMessages"][1]["content"][1]["text"], "é <EMAIL_ADDRESS>");
        assert!(answer.get("redactedText").is_none());
    }

    #[test]
    fn bad_input_is_named_without_being_quoted() {
        for (body, expected) in [
            (json!([]), "the body must be a JSON object"),
            (json!({}), "send `text` or `messages`"),
            (json!({"text": ""}), "no text"),
            (json!({"text": 5}), "`text` must be a string"),
            (json!({"text": "a", "messages": []}), "not both"),
            (json!({"text": "x".repeat(1001)}), "longer than 1000 bytes"),
            (json!({"text": "secret", "pii_entites": []}), "did you mean `pii_entities`?"),
            (json!({"text": "secret", "pdfs": []}), "reads text only"),
            (json!({"messages": "secret"}), "must be a list"),
            (json!({"messages": ["secret"]}), "messages[0] must be an object"),
            (json!({"messages": [{"role": "user", "content": 5}]}), "messages[0].content must be"),
            (json!({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}), "`image_url`"),
            (json!({"messages": [{"role": "user", "content": "secret", "tool_calls": []}]}), "`tool_calls`"),
        ] {
            let error = parse(&body).expect_err("refused");
            assert!(error.contains(expected) && !error.contains("secret"), "{error}");
        }
        let deep = "[".repeat(100_000);
        assert!(PreviewRequest::parse(&deep, 1000, &Offer::default()).is_err());
    }

    #[test]
    fn the_documented_body_is_what_is_read() {
        let body = PreviewBody {
            text: Some("t".into()),
            messages: None,
            pii_entities: Some(vec!["URL".into()]),
            pii_config: Some(ConfigBody {
                threshold: Some(0.5),
                thresholds: Some(BTreeMap::new()),
                model: Some("rules".into()),
                language: Some("en".into()),
            }),
        };
        let body = serde_json::to_value(body).expect("JSON");
        parse(&body).expect("everything documented is understood");
        for field in body.as_object().expect("an object").keys() {
            assert!(FIELDS.contains(&field.as_str()), "{field}");
        }
    }
}
