//! Attachments of a request: `urls` and `pdfs` that are read for its model.

use serde_json::{Map, Value, json};

use super::chat_error::ChatError;
use super::request::ChatRequest;
use crate::fetch::{FetchRequest, FetchedText};

/// Kind of the entries of a field.
type AttachmentKind = fn(String) -> FetchRequest;

/// Fields of attachments, with the kinds of their entries.
const FIELDS: [(&str, AttachmentKind); 2] = [("urls", FetchRequest::Page), ("pdfs", FetchRequest::Pdf)];

/// Rule of a route on attachments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttachmentPolicy {
    /// Refused, and available at `/v1`: where chunks are priced, a prompt of any length
    /// would be free.
    OnlyOnV1,
    /// Refused: this server reads no attachments.
    Disabled,
    /// Read, up to this number in one request.
    UpTo(usize),
}

/// One attachment of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Position in the request: `urls[0]`.
    pub field: String,
    /// Page or file to read.
    pub wanted: FetchRequest,
}

/// Takes the attachments out of a request.
///
/// # Errors
/// [`ChatError::InvalidField`] if a field is not a list of strings, is not available, or there are too many entries.
pub(super) fn take(
    body: &mut Map<String, Value>,
    policy: AttachmentPolicy,
) -> Result<Vec<Attachment>, ChatError> {
    let mut attachments = Vec::new();
    for (name, kind) in FIELDS {
        let entries = match body.shift_remove(name) {
            None | Some(Value::Null | Value::Bool(false)) => continue,
            Some(Value::Array(entries)) => entries,
            Some(Value::String(one)) if one.is_empty() => continue,
            Some(_) => return Err(ChatError::invalid(name, "must be a list of strings")),
        };
        let max = match policy {
            _ if entries.is_empty() => continue,
            AttachmentPolicy::UpTo(max) => max,
            AttachmentPolicy::OnlyOnV1 => {
                return Err(ChatError::invalid(
                    name,
                    "is not available here: a chunk has one price, however long the prompt; use POST \
                     /v1/chat/completions, or put the text into `messages`",
                ));
            }
            AttachmentPolicy::Disabled => {
                return Err(ChatError::invalid(
                    name,
                    "is not available on this server; put the text into `messages`",
                ));
            }
        };
        if attachments.len() + entries.len() > max {
            let problem = format!(
                "has too many entries: a request can have {max} attachments in `urls` and `pdfs`; send fewer"
            );
            return Err(ChatError::invalid(name, &problem));
        }
        for (at, entry) in entries.into_iter().enumerate() {
            let field = format!("{name}[{at}]");
            match entry {
                Value::String(text) => attachments.push(Attachment { field, wanted: kind(text) }),
                _ => return Err(ChatError::invalid(&field, "must be a string")),
            }
        }
    }
    Ok(attachments)
}

impl ChatRequest {
    /// Adds the texts of the attachments, each as a message of its own before the
    /// user's last one.
    ///
    /// # Errors
    /// [`ChatError::InvalidField`] if the prompt is then longer than the model's context.
    pub fn with_attachments(self, texts: Vec<FetchedText>) -> Result<Self, ChatError> {
        let chat = self.with_messages(|messages| insert(messages, texts));
        if chat.prompt().may_fit() {
            return Ok(chat);
        }
        let problem = format!(
            "and the attachments together are longer than this model's context of {} tokens; attach less",
            chat.model().context_length
        );
        Err(ChatError::invalid("messages", &problem))
    }
}

/// Inserts texts as messages before the user's last one.
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

    fn taken(body: &Value, policy: AttachmentPolicy) -> Result<(Vec<Attachment>, Value), String> {
        let mut body = body.as_object().expect("an object").clone();
        let attachments = take(&mut body, policy).map_err(|error| error.to_string())?;
        Ok((attachments, Value::Object(body)))
    }

    #[test]
    fn entries_are_named_by_their_place() {
        let body = json!({"urls": ["a", "b"], "x": 1, "pdfs": ["c"]});
        let (attachments, left) = taken(&body, AttachmentPolicy::UpTo(3)).expect("valid");
        let fields: Vec<&str> = attachments.iter().map(|attachment| attachment.field.as_str()).collect();
        assert_eq!(fields, ["urls[0]", "urls[1]", "pdfs[0]"]);
        assert_eq!(attachments[2].wanted, FetchRequest::Pdf("c".into()));
        assert_eq!(left, json!({"x": 1}));
    }

    #[test]
    fn empty_fields_are_allowed_everywhere() {
        let body = json!({"urls": [], "pdfs": null});
        for policy in [AttachmentPolicy::OnlyOnV1, AttachmentPolicy::Disabled, AttachmentPolicy::UpTo(1)] {
            assert_eq!(taken(&body, policy), Ok((Vec::new(), json!({}))));
        }
    }

    #[test]
    fn wrong_entries_are_refused_by_name() {
        use AttachmentPolicy::{Disabled, OnlyOnV1, UpTo};
        for (body, policy, expected) in [
            (json!({"urls": ["secret"]}), OnlyOnV1, "`urls` is not available here: a chunk has one price"),
            (json!({"pdfs": ["secret"]}), Disabled, "`pdfs` is not available on this server"),
            (json!({"urls": "secret"}), UpTo(9), "`urls` must be a list of strings"),
            (json!({"urls": {"secret": 1}}), UpTo(9), "`urls` must be a list of strings"),
            (json!({"urls": ["x", 5]}), UpTo(9), "`urls[1]` must be a string"),
            (json!({"urls": ["x"], "pdfs": ["secret", "y"]}), UpTo(2), "`pdfs` has too many entries"),
        ] {
            let error = taken(&body, policy).expect_err("refused");
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
