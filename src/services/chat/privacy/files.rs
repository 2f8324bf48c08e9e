//! Images and PDFs within messages: out of a request before its texts are examined, and back in without what was found.

use std::sync::atomic::AtomicBool;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::super::attachments::Attachment;
use super::super::refusal::ChatError;
use crate::fetch::FetchRequest;
use crate::services::pii::{ExaminationError, Examined, FileExaminer, FilePart, is_elsewhere};
use farebox_pii::{FileOptions, Selection};

/// Types of parts that are text.
const TEXT: [&str; 3] = ["text", "refusal", "thinking"];
/// Members of messages by which some servers take what is not text.
const ATTACHED: [&str; 4] = ["images", "videos", "files", "attachments"];

/// A file that was taken out of its message.
pub(super) struct TakenFile {
    message: usize,
    part: usize,
    found: FilePart,
    data: String,
}

impl TakenFile {
    fn place(&self) -> String {
        place(self.message, self.part, self.found)
    }
}

fn place(message: usize, part: usize, file: FilePart) -> String {
    format!("messages[{message}].content[{part}]{}", file.place())
}

/// Refuses what cannot be examined: it must not pass as if it were clean.
pub(super) fn check(
    body: &Map<String, Value>,
    examiner: &FileExaminer,
    options: &FileOptions,
) -> Result<(), ChatError> {
    let messages = body.get("messages").and_then(Value::as_array);
    let mut files = 0;
    for (index, message) in messages.into_iter().flatten().enumerate() {
        if let Some(name) = ATTACHED.iter().find(|name| !message[**name].is_null()) {
            return Err(unreadable(&format!("messages[{index}].{name}")));
        }
        let parts = message["content"].as_array();
        for (at, part) in parts.into_iter().flatten().enumerate() {
            let place = format!("messages[{index}].content[{at}]");
            if TEXT.contains(&part["type"].as_str().unwrap_or_default()) {
                continue;
            }
            let found = FilePart::of(part).ok_or_else(|| unreadable(&place))?;
            let place = place + &found.place();
            let data = found.data(part).ok_or_else(|| unreadable(&place))?;
            if is_elsewhere(data) {
                return Err(ChatError::refused(&place, ELSEWHERE));
            }
            examiner.check(found.kind, options).map_err(|error| ChatError::File { place, error })?;
            files += 1;
        }
    }
    if files > examiner.most() {
        let what = format!("can hold {} images and PDFs that are examined at most", examiner.most());
        return Err(ChatError::refused("messages", &what));
    }
    Ok(())
}

const ELSEWHERE: &str = "is a URL, which the model's server would fetch unseen; send the image itself as a data: URL, or \
                         `skip_pii_redaction: true` to send everything as it is";

fn unreadable(place: &str) -> ChatError {
    ChatError::refused(
        place,
        "cannot be examined for personal data; leave it out, or send `skip_pii_redaction: true` to send everything as \
         it is",
    )
}

/// All parts of messages, with the numbers of the message and the part.
fn parts(body: &Map<String, Value>) -> impl Iterator<Item = (usize, usize, &Value)> {
    let messages = body.get("messages").and_then(Value::as_array).into_iter().flatten();
    messages.enumerate().flat_map(|(message, value)| {
        let parts = value["content"].as_array().into_iter().flatten();
        parts.enumerate().map(move |(part, value)| (message, part, value))
    })
}

/// The same, to be changed.
fn parts_mut(body: &mut Map<String, Value>) -> impl Iterator<Item = (usize, usize, &mut Value)> {
    let messages = body.get_mut("messages").and_then(Value::as_array_mut).into_iter().flatten();
    messages.enumerate().flat_map(|(message, value)| {
        let parts = value.get_mut("content").and_then(Value::as_array_mut).into_iter().flatten();
        parts.enumerate().map(move |(part, value)| (message, part, value))
    })
}

/// Whether there are any.
pub(super) fn has_any(body: &Map<String, Value>) -> bool {
    parts(body).any(|(_, _, part)| FilePart::of(part).is_some())
}

/// Those that are somewhere else.
///
/// # Errors
/// When one could not be examined if it was here.
pub(super) fn elsewhere(
    body: &Map<String, Value>,
    examiner: &FileExaminer,
    options: &FileOptions,
) -> Result<Vec<Attachment>, ChatError> {
    let mut found = Vec::new();
    for (message, part, value) in parts(body) {
        let Some(file) = FilePart::of(value) else { continue };
        if let Some(url) = file.data(value).filter(|data| is_elsewhere(data)) {
            let field = place(message, part, file);
            if let Err(error) = examiner.check(file.kind, options) {
                return Err(ChatError::File { place: field, error });
            }
            found.push(Attachment { field, wanted: FetchRequest::File(url.to_owned()) });
        }
    }
    Ok(found)
}

/// Puts what was fetched where [`elsewhere`] found it, in the same order.
pub(super) fn bring(body: &mut Map<String, Value>, files: Vec<Vec<u8>>) {
    let mut files = files.into_iter();
    for (_, _, part) in parts_mut(body) {
        if let Some(file) = FilePart::of(part)
            && let Some(data) = file.data_mut(part).filter(|data| is_elsewhere(data))
            && let Some(bytes) = files.next()
        {
            *data = STANDARD.encode(bytes);
        }
    }
}

/// Takes them out.
pub(super) fn take(body: &mut Map<String, Value>) -> Vec<TakenFile> {
    let mut held = Vec::new();
    for (message, part, value) in parts_mut(body) {
        if let Some(found) = FilePart::of(value)
            && let Some(data) = found.data_mut(value)
        {
            held.push(TakenFile { message, part, found, data: std::mem::take(data) });
        }
    }
    held
}

/// Examines all of them.
///
/// # Errors
/// The first that cannot be.
pub(super) fn examine(
    held: Vec<TakenFile>,
    examiner: &FileExaminer,
    selection: &Selection,
    options: &FileOptions,
    stop: &AtomicBool,
) -> Result<Vec<(TakenFile, Examined)>, ChatError> {
    let each = held.into_iter().map(|held| {
        let file = examiner.read(held.found.kind, &held.data);
        let examined = file.and_then(|file| examiner.examine(&file, selection, options, stop));
        match examined {
            Ok(examined) => Ok((held, examined)),
            Err(error) if error.is_fault() => Err(ExaminationError::Broken.into()),
            Err(error) => Err(ChatError::File { place: held.place(), error }),
        }
    });
    each.collect()
}

/// Puts one back where it was, redacted.
pub(super) fn put_back(body: &mut Map<String, Value>, held: &TakenFile, examined: &Examined) {
    let part = body
        .get_mut("messages")
        .and_then(|messages| messages.get_mut(held.message))
        .and_then(|message| message.get_mut("content")?.get_mut(held.part));
    if let Some(data) = part.and_then(|part| held.found.data_mut(part)) {
        *data = examined.data_url();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::services::pii::Examiner;

    fn checked(body: &Value, config: &Value) -> Result<(), String> {
        let options = json!({ "piiConfig": config });
        let options = FileOptions::from_request(options.as_object().expect("an object")).expect("valid");
        let body = body.as_object().expect("an object");
        check(body, Examiner::bare().files(), &options).map_err(|error| error.to_string())
    }

    fn body(part: &Value) -> Value {
        json!({"messages": [{"role": "user", "content": "a"},
            {"role": "user", "content": [{"type": "text", "text": "b"}, part]}]})
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_its_place() {
        for kind in ["input_audio", "file", "video_url", "something_new"] {
            let error = checked(&body(&json!({"type": kind, kind: {"url": "secret"}})), &json!(null))
                .expect_err(kind);
            assert!(
                error.contains("`messages[1].content[1]` cannot") && error.contains("skip_pii_redaction"),
                "{error}"
            );
            assert!(!error.contains("secret"), "{error}");
        }
        for (part, expected) in [
            (
                json!({"type": "image_url", "image_url": {"href": "secret"}}),
                "content[1].image_url.url` cannot be examined",
            ),
            (
                json!({"type": "image_url", "image_url": {"url": "https://secret/"}}),
                "content[1].image_url.url` is a URL",
            ),
            (
                json!({"type": "image_url", "image_url": {"url": "secret"}}),
                "`messages[1].content[1].image_url.url`: text in images cannot be read here",
            ),
        ] {
            let error = checked(&body(&part), &json!(null)).expect_err("refused");
            assert!(error.contains(expected) && !error.contains("secret"), "{error}");
        }
        let attached = json!({"messages": [{"role": "user", "content": "a", "images": ["secret"]}]});
        let error = checked(&attached, &json!(null)).expect_err("refused");
        assert!(error.contains("`messages[0].images` cannot") && !error.contains("secret"), "{error}");
        checked(&body(&json!({"type": "refusal", "refusal": "no"})), &json!(null)).expect("text");
        let pdf = json!({"type": "file", "file": {"file_data": "AQID"}});
        checked(&body(&pdf), &json!(null)).expect("PDFs are read without models");
        let many = json!({"messages": [{"role": "user", "content": vec![pdf; 9]}]});
        assert!(checked(&many, &json!(null)).expect_err("refused").contains("can hold 8 images and PDFs"));
    }

    #[test]
    fn files_leave_nothing_but_their_place() {
        let mut body = body(&json!({"type": "file", "file": {"file_data": "AQID", "filename": "f"}}));
        let body = body.as_object_mut().expect("an object");
        assert!(has_any(body));
        let held = take(body);
        assert_eq!((held.len(), held[0].data.as_str()), (1, "AQID"));
        assert_eq!(held[0].place(), "messages[1].content[1].file.file_data");
        assert_eq!(
            body["messages"][1]["content"][1],
            json!({"type": "file", "file": {"file_data": "", "filename": "f"}})
        );
    }
}
