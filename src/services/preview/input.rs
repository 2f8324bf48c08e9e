//! Input of a preview, read from the body of its request.

use serde_json::{Map, Value};

use super::PreviewError;
use crate::services::pii::{File, FileExaminer, FileKind, FilePart, is_remote};
use farebox_pii::FileOptions;

/// Largest number of messages and parts of one request, together.
const MAX_MESSAGES_AND_PARTS: usize = 2_000;

/// Texts and files to examine.
#[derive(Debug, Default)]
pub(super) struct PreviewInput {
    pub(super) text: Option<String>,
    pub(super) messages: Option<Vec<Message>>,
    pub(super) images: Vec<File>,
    pub(super) pdfs: Vec<File>,
}

/// Chat message.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) role: String,
    pub(super) content: Content,
}

/// Content of a message.
#[derive(Debug)]
pub(super) enum Content {
    Text(String),
    Parts(Vec<InputPart>),
}

/// Part of a message.
#[derive(Debug)]
pub(super) enum InputPart {
    Text(String),
    /// File, and the form of the part that holds it.
    File(FilePart, File),
}

/// Examiner and settings that decide which files are accepted.
pub(super) struct FileRules<'a> {
    pub(super) examiner: &'a FileExaminer,
    pub(super) options: &'a FileOptions,
}

impl PreviewInput {
    /// Reads all fields. `limit` is the largest number of bytes of text, all texts together.
    pub(super) fn read(
        body: &mut Map<String, Value>,
        limit: usize,
        rules: &FileRules,
    ) -> Result<Self, PreviewError> {
        let mut input = Self {
            images: files(body.remove("images"), "images", FileKind::Image, rules)?,
            pdfs: files(body.remove("pdfs"), "pdfs", FileKind::Pdf, rules)?,
            ..Self::default()
        };
        match (non_null(body.remove("text")), non_null(body.remove("messages"))) {
            (Some(Value::String(text)), None) => input.text = Some(text),
            (Some(_), None) => return Err(shape("`text` must be a string")),
            (None, Some(Value::Array(list))) => input.messages = Some(messages(list, rules)?),
            (None, Some(_)) => return Err(shape("`messages` must be a list of messages")),
            (Some(_), Some(_)) => return Err(shape("send either `text` or `messages`, not both")),
            (None, None) if input.has_files() => {}
            (None, None) => return Err(shape("send `text`, `messages`, `images` or `pdfs`")),
        }
        input.check_size(limit, rules.examiner.max_files())?;
        Ok(input)
    }

    fn check_size(&self, limit: usize, max_files: usize) -> Result<(), PreviewError> {
        let (mut bytes, mut count, mut files) = (0, 0, self.images.len() + self.pdfs.len());
        bytes += self.text.as_ref().map_or(0, String::len);
        for message in self.messages.iter().flatten() {
            count += 1;
            match &message.content {
                Content::Text(text) => bytes += text.len(),
                Content::Parts(parts) => parts.iter().for_each(|part| match part {
                    InputPart::Text(text) => (count, bytes) = (count + 1, bytes + text.len()),
                    InputPart::File(..) => files += 1,
                }),
            }
        }
        if files > max_files {
            return Err(shape(&format!("send at most {max_files} images and PDFs in one request")));
        }
        if bytes == 0 && files == 0 {
            return Err(shape("there is no text to examine: `text` or `messages` is empty"));
        }
        if bytes > limit {
            return Err(PreviewError::TooLong { limit });
        }
        if count > MAX_MESSAGES_AND_PARTS {
            return Err(shape(&format!(
                "send at most {MAX_MESSAGES_AND_PARTS} messages and parts of messages in one request"
            )));
        }
        Ok(())
    }

    pub(super) fn has_files(&self) -> bool {
        let parts = self.messages.iter().flatten().filter_map(|message| match &message.content {
            Content::Parts(parts) => Some(parts),
            Content::Text(_) => None,
        });
        let mut parts = parts.flatten();
        !self.images.is_empty()
            || !self.pdfs.is_empty()
            || parts.any(|part| matches!(part, InputPart::File(..)))
    }
}

fn shape(problem: &str) -> PreviewError {
    PreviewError::Shape(problem.to_owned())
}

fn non_null(value: Option<Value>) -> Option<Value> {
    value.filter(|value| !value.is_null())
}

fn files(
    value: Option<Value>,
    name: &str,
    kind: FileKind,
    rules: &FileRules,
) -> Result<Vec<File>, PreviewError> {
    let entries = match non_null(value) {
        None => return Ok(Vec::new()),
        Some(Value::Array(entries)) => entries,
        Some(_) => return Err(shape(&format!("`{name}` must be a list"))),
    };
    let results = entries.iter().enumerate().map(|(index, entry)| {
        let path = format!("{name}[{index}]");
        let data = match entry {
            Value::String(data) => Some(data.as_str()),
            part => FilePart::of(part).filter(|found| found.kind == kind).and_then(|found| found.data(part)),
        };
        match data {
            Some(data) => file(kind, data, &path, rules),
            None => Err(shape(&format!("`{path}` must be a string: base64 or a data: URL"))),
        }
    });
    results.collect()
}

fn file(kind: FileKind, data: &str, path: &str, rules: &FileRules) -> Result<File, PreviewError> {
    if is_remote(data) {
        return Err(shape(&format!(
            "`{path}` is a URL, and files are not fetched for a preview; send the file itself, as base64 or a data: URL"
        )));
    }
    let file = rules.examiner.check(kind, rules.options).and_then(|()| rules.examiner.read(kind, data));
    file.map_err(|error| PreviewError::File { path: path.to_owned(), error })
}

fn messages(list: Vec<Value>, rules: &FileRules) -> Result<Vec<Message>, PreviewError> {
    list.into_iter().enumerate().map(|(index, value)| message(index, value, rules)).collect()
}

fn message(index: usize, value: Value, rules: &FileRules) -> Result<Message, PreviewError> {
    let invalid = |problem: &str| shape(&format!("messages[{index}]{problem}"));
    let Value::Object(mut fields) = value else {
        return Err(invalid(" must be an object with `role` and `content`"));
    };
    if let Some(unknown) = fields.keys().find(|key| !["role", "content"].contains(&key.as_str())) {
        let unknown: String = unknown.chars().take(64).collect();
        return Err(invalid(&format!(
            " has the field `{unknown}`, which is not examined; send `role` and `content`"
        )));
    }
    let Some(Value::String(role)) = fields.remove("role") else {
        return Err(invalid(".role must be a string"));
    };
    let content = match non_null(fields.remove("content")) {
        None => Content::Text(String::new()),
        Some(Value::String(text)) => Content::Text(text),
        Some(Value::Array(parts)) => {
            let parts = parts.iter().enumerate();
            let parts =
                parts.map(|(at, value)| part(&format!("messages[{index}].content[{at}]"), value, rules));
            Content::Parts(parts.collect::<Result<_, _>>()?)
        }
        Some(_) => return Err(invalid(".content must be a string or a list of parts")),
    };
    Ok(Message { role, content })
}

fn part(path: &str, part: &Value, rules: &FileRules) -> Result<InputPart, PreviewError> {
    let invalid = |problem: &str| shape(&format!("{path}{problem}"));
    if let Some(found) = FilePart::of(part) {
        let data_path = found.data_path();
        let data = found.data(part).ok_or_else(|| invalid(&format!("{data_path} must be a string")))?;
        return Ok(InputPart::File(found, file(found.kind, data, &(path.to_owned() + &data_path), rules)?));
    }
    match (part["type"].as_str(), part["text"].as_str()) {
        (Some("text"), Some(text)) => Ok(InputPart::Text(text.to_owned())),
        (Some("text"), None) => Err(invalid(".text must be a string")),
        (Some(kind), _) => {
            let kind: String = kind.chars().take(64).collect();
            Err(invalid(&format!(
                " is of type `{kind}`, which cannot be examined; there are `text`, `image_url` and `file` (a PDF in \
                 `file_data`)"
            )))
        }
        (None, _) => Err(invalid(" must be an object with `type` and `text`")),
    }
}
