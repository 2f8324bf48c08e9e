//! `urls` and `pdfs`: what a request wants read for its model.

use serde_json::{Map, Value, json};

use super::refusal::ChatError;
use super::request::ChatRequest;
use crate::fetch::{FetchRequest, FetchedText};

type AttachmentKind = fn(String) -> FetchRequest;

/// The fields, with what their entries are.
const FIELDS: [(&str, AttachmentKind); 2] = [("urls", FetchRequest::Page), ("pdfs", FetchRequest::Pdf)];

/// Whether a door reads attachments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attachments {
    /// Only `/v1` does: where chunks are priced, a prompt of any length would be
    /// given away.
    OnV1,
    /// This server does not.
    Off,
    /// So many of one request.
    UpTo(usize),
}

/// One entry of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Where it stands: `urls[0]`.
    pub field: String,
    pub wanted: FetchRequest,
}

/// Takes the fields out of a request.
///
/// # Errors
/// When they are not lists of strings, too many, or not available.
pub(super) fn take(
    body: &mut Map<String, Value>,
    offered: Attachments,
) -> Result<Vec<Attachment>, ChatError> {
    let mut attachments = Vec::new();
    for (name, kind) in FIELDS {
        let entries = match body.shift_remove(name) {
            None | Some(Value::Null | Value::Bool(false)) => continue,
            Some(Value::Array(entries)) => entries,
            Some(Value::String(one)) if one.is_empty() => continue,
            Some(_) => return Err(ChatError::refused(name, "must be a list of strings")),
        };
        let most = match offered {
            _ if entries.is_empty() => continue,
            Attachments::UpTo(most) => most,
            Attachments::OnV1 => {
                return Err(ChatError::refused(
                    name,
                    "is not available here: a chunk has one price, however long the prompt; it is at POST \
                     /v1/chat/completions, or put the text into `messages`",
                ));
            }
            Attachments::Off => {
                return Err(ChatError::refused(
                    name,
                    "is not available on this server; put the text into `messages`",
                ));
            }
        };
        if attachments.len() + entries.len() > most {
            let what = format!("has too many entries: a request can have {most} attachments");
            return Err(ChatError::refused(name, &what));
        }
        for (at, entry) in entries.into_iter().enumerate() {
            let field = format!("{name}[{at}]");
            match entry {
                Value::String(text) => attachments.push(Attachment { field, wanted: kind(text) }),
                _ => return Err(ChatError::refused(&field, "must be a string")),
            }
        }
    }
    Ok(attachments)
}

impl ChatRequest {
    /// The same request with what its attachments say, each as a message of its
    /// own before the last one of the user.
    ///
    /// # Errors
    /// When the prompt has become longer than the model's context.
    pub fn attached(self, texts: Vec<FetchedText>) -> Result<Self, ChatError> {
        let chat = self.with_messages(|messages| insert(messages, texts));
        if chat.prompt().fits() {
            return Ok(chat);
        }
        let what = format!(
            "and what is attached are longer than the {} tokens of this model's context; attach less",
            chat.model().context_length
        );
        Err(ChatError::refused("messages", &what))
    }
}

fn insert(messages: &mut Vec<Value>, texts: Vec<FetchedText>) {
    let last = messages.iter().rposition(|message| message["role"] == "user").unwrap_or(messages.len());
    let attached = (1..).zip(texts).map(|(number, FetchedText { source, text })| {
        json!({"role": "user", "content": format!("[Attachment {number}: {source}]\n{text}")})
    });
    drop(messages.splice(last..last, attached));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(body: &Value, offered: Attachments) -> Result<(Vec<Attachment>, Value), String> {
        let mut body = body.as_object().expect("an object").clone();
        let attachments = take(&mut body, offered).map_err(|error| error.to_string())?;
        Ok((attachments, Value::Object(body)))
    }

    #[test]
    fn entries_are_named_by_their_place() {
        let body = json!({"urls": ["a", "b"], "x": 1, "pdfs": ["c"]});
        let (attachments, left) = taken(&body, Attachments::UpTo(3)).expect("valid");
        let fields: Vec<&str> = attachments.iter().map(|attachment| attachment.field.as_str()).collect();
        assert_eq!(fields, ["urls[0]", "urls[1]", "pdfs[0]"]);
        assert_eq!(attachments[2].wanted, FetchRequest::Pdf("c".into()));
        assert_eq!(left, json!({"x": 1}));
    }

    #[test]
    fn asking_for_nothing_is_allowed_everywhere() {
        let body = json!({"urls": [], "pdfs": null});
        for offered in [Attachments::OnV1, Attachments::Off, Attachments::UpTo(1)] {
            assert_eq!(taken(&body, offered), Ok((Vec::new(), json!({}))));
        }
    }

    #[test]
    fn wrong_entries_are_refused_by_name() {
        use Attachments::{Off, OnV1, UpTo};
        for (body, offered, expected) in [
            (json!({"urls": ["secret"]}), OnV1, "`urls` is not available here: a chunk has one price"),
            (json!({"pdfs": ["secret"]}), Off, "`pdfs` is not available on this server"),
            (json!({"urls": "secret"}), UpTo(9), "`urls` must be a list of strings"),
            (json!({"urls": {"secret": 1}}), UpTo(9), "`urls` must be a list of strings"),
            (json!({"urls": ["x", 5]}), UpTo(9), "`urls[1]` must be a string"),
            (json!({"urls": ["x"], "pdfs": ["secret", "y"]}), UpTo(2), "`pdfs` has too many entries"),
        ] {
            let error = taken(&body, offered).expect_err("refused");
            assert!(error.contains(expected) && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn texts_stand_before_the_last_message_of_the_user() {
        let text = |source: &str| FetchedText { source: source.into(), text: "t".into() };
        let message = |role: &str| json!({"role": role, "content": "x"});
        for (roles, at) in [(&["user"][..], 0), (&["system", "user", "tool"], 1), (&["system"], 1)] {
            let mut messages: Vec<Value> = roles.iter().map(|role| message(role)).collect();
            insert(&mut messages, vec![text("a"), text("b")]);
            assert_eq!(messages[at], json!({"role": "user", "content": "[Attachment 1: a]\nt"}));
            assert_eq!(messages[at + 1], json!({"role": "user", "content": "[Attachment 2: b]\nt"}));
            assert_eq!(messages.len(), roles.len() + 2);
        }
    }
}
