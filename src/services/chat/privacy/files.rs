//! Images and PDFs within messages: extracted from a request before its texts are examined, and put back redacted.

use std::sync::atomic::AtomicBool;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::super::attachments::Attachment;
use super::super::chat_error::ChatError;
use crate::fetch::FetchRequest;
use crate::services::pii::{ExaminationError, FileExaminer, FilePart, RedactedFile, is_remote};
use farebox_pii::{FileOptions, Selection};

/// Types of parts that are text.
const TEXT_PARTS: [&str; 3] = ["text", "refusal", "thinking"];
/// Members of messages in which some servers accept files.
const FILE_MEMBERS: [&str; 4] = ["images", "videos", "files", "attachments"];

/// File that was extracted from its message.
pub(super) struct ExtractedFile {
    /// Index of the message.
    message: usize,
    /// Index of the part.
    part: usize,
    position: FilePart,
    data: String,
}

impl ExtractedFile {
    fn path(&self) -> String {
        file_path(self.message, self.part, self.position)
    }
}

/// Returns the position of a file's data: `messages[0].content[1].image_url.url`.
fn file_path(message: usize, part: usize, file: FilePart) -> String {
    format!("messages[{message}].content[{part}]{}", file.data_path())
}

/// Checks that all files and parts of a request can be examined.
///
/// # Errors
/// [`ChatError`] of the first that cannot: a model must not get it unexamined.
pub(super) fn check(
    body: &Map<String, Value>,
    examiner: &FileExaminer,
    options: &FileOptions,
) -> Result<(), ChatError> {
    let messages = body.get("messages").and_then(Value::as_array);
    let mut files = 0;
    for (index, message) in messages.into_iter().flatten().enumerate() {
        if let Some(name) = FILE_MEMBERS.iter().find(|name| !message[**name].is_null()) {
            return Err(not_examinable(&format!("messages[{index}].{name}")));
        }
        let parts = message["content"].as_array();
        for (part_index, part) in parts.into_iter().flatten().enumerate() {
            let path = format!("messages[{index}].content[{part_index}]");
            if TEXT_PARTS.contains(&part["type"].as_str().unwrap_or_default()) {
                continue;
            }
            let file = FilePart::of(part).ok_or_else(|| not_examinable(&path))?;
            let path = path + &file.data_path();
            let data = file.data(part).ok_or_else(|| not_examinable(&path))?;
            if is_remote(data) {
                return Err(ChatError::invalid(&path, REMOTE_FILE));
            }
            examiner.check(file.kind, options).map_err(|error| ChatError::File { path, error })?;
            files += 1;
        }
    }
    if files > examiner.max_files() {
        let problem = format!(
            "has too many images and PDFs to examine: send at most {} in one request",
            examiner.max_files()
        );
        return Err(ChatError::invalid("messages", &problem));
    }
    Ok(())
}

/// Problem of a file that is given as a URL and was not fetched.
const REMOTE_FILE: &str = "is a URL, which the model's server would fetch unexamined; send the image itself as a data: \
                           URL, or `skip_pii_redaction: true` to send everything as it is";

fn not_examinable(path: &str) -> ChatError {
    ChatError::invalid(
        path,
        "cannot be examined for personal data; leave it out, or send `skip_pii_redaction: true` to send everything as \
         it is",
    )
}

/// Returns all parts of messages, with the indices of the message and the part.
fn parts(body: &Map<String, Value>) -> impl Iterator<Item = (usize, usize, &Value)> {
    let messages = body.get("messages").and_then(Value::as_array).into_iter().flatten();
    messages.enumerate().flat_map(|(message, value)| {
        let parts = value["content"].as_array().into_iter().flatten();
        parts.enumerate().map(move |(part, value)| (message, part, value))
    })
}

/// Returns all parts of messages to be changed, with the indices of the message and the part.
fn parts_mut(body: &mut Map<String, Value>) -> impl Iterator<Item = (usize, usize, &mut Value)> {
    let messages = body.get_mut("messages").and_then(Value::as_array_mut).into_iter().flatten();
    messages.enumerate().flat_map(|(message, value)| {
        let parts = value.get_mut("content").and_then(Value::as_array_mut).into_iter().flatten();
        parts.enumerate().map(move |(part, value)| (message, part, value))
    })
}

/// Returns true if there are files.
pub(super) fn has_any(body: &Map<String, Value>) -> bool {
    parts(body).any(|(_, _, part)| FilePart::of(part).is_some())
}

/// Returns the files that are given as URLs.
///
/// # Errors
/// [`ChatError::File`] of the first that cannot be examined on this server.
pub(super) fn remote(
    body: &Map<String, Value>,
    examiner: &FileExaminer,
    options: &FileOptions,
) -> Result<Vec<Attachment>, ChatError> {
    let mut remote = Vec::new();
    for (message, part, value) in parts(body) {
        let Some(file) = FilePart::of(value) else { continue };
        if let Some(url) = file.data(value).filter(|data| is_remote(data)) {
            let field = file_path(message, part, file);
            if let Err(error) = examiner.check(file.kind, options) {
                return Err(ChatError::File { path: field, error });
            }
            remote.push(Attachment { field, wanted: FetchRequest::File(url.to_owned()) });
        }
    }
    Ok(remote)
}

/// Replaces the URLs that [`remote`] returned by the files, in the same order.
pub(super) fn insert_fetched(body: &mut Map<String, Value>, files: Vec<Vec<u8>>) {
    let mut files = files.into_iter();
    for (_, _, part) in parts_mut(body) {
        if let Some(file) = FilePart::of(part)
            && let Some(data) = file.data_mut(part).filter(|data| is_remote(data))
            && let Some(bytes) = files.next()
        {
            *data = STANDARD.encode(bytes);
        }
    }
}

/// Extracts the data of all files.
pub(super) fn extract(body: &mut Map<String, Value>) -> Vec<ExtractedFile> {
    let mut extracted = Vec::new();
    for (message, part, value) in parts_mut(body) {
        if let Some(position) = FilePart::of(value)
            && let Some(data) = position.data_mut(value)
        {
            extracted.push(ExtractedFile { message, part, position, data: std::mem::take(data) });
        }
    }
    extracted
}

/// Examines files.
///
/// # Errors
/// [`ChatError`] of the first that cannot be examined.
pub(super) fn examine(
    extracted: Vec<ExtractedFile>,
    examiner: &FileExaminer,
    selection: &Selection,
    options: &FileOptions,
    stop: &AtomicBool,
) -> Result<Vec<(ExtractedFile, RedactedFile)>, ChatError> {
    let results = extracted.into_iter().map(|extracted| {
        let file = examiner.read(extracted.position.kind, &extracted.data);
        let redacted = file.and_then(|file| examiner.redact(&file, selection, options, stop));
        match redacted {
            Ok(redacted) => Ok((extracted, redacted)),
            Err(error) if error.is_server_fault() => Err(ExaminationError::Failed.into()),
            Err(error) => Err(ChatError::File { path: extracted.path(), error }),
        }
    });
    results.collect()
}

/// Puts a redacted file where it was extracted.
pub(super) fn put_back(body: &mut Map<String, Value>, file: &ExtractedFile, redacted: &RedactedFile) {
    let part = body
        .get_mut("messages")
        .and_then(|messages| messages.get_mut(file.message))
        .and_then(|message| message.get_mut("content")?.get_mut(file.part));
    if let Some(data) = part.and_then(|part| file.position.data_mut(part)) {
        *data = redacted.data_url();
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
        check(body, Examiner::without_models().files(), &options).map_err(|error| error.to_string())
    }

    fn body(part: &Value) -> Value {
        json!({"messages": [{"role": "user", "content": "a"},
            {"role": "user", "content": [{"type": "text", "text": "b"}, part]}]})
    }

    #[test]
    fn parts_that_cannot_be_examined_are_refused_by_position() {
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
        assert!(
            checked(&many, &json!(null))
                .expect_err("refused")
                .contains("images and PDFs to examine: send at most 8")
        );
    }

    #[test]
    fn extracted_files_leave_only_their_parts() {
        let mut body = body(&json!({"type": "file", "file": {"file_data": "AQID", "filename": "f"}}));
        let body = body.as_object_mut().expect("an object");
        assert!(has_any(body));
        let extracted = extract(body);
        assert_eq!((extracted.len(), extracted[0].data.as_str()), (1, "AQID"));
        assert_eq!(extracted[0].path(), "messages[1].content[1].file.file_data");
        assert_eq!(
            body["messages"][1]["content"][1],
            json!({"type": "file", "file": {"file_data": "", "filename": "f"}})
        );
    }
}
