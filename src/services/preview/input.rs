//! What a preview is to examine, read from its body.

use serde_json::{Map, Value};

use super::PreviewError;
use crate::services::pii::{File, FileExaminer, FileKind, FilePart, is_elsewhere};
use farebox_pii::FileOptions;

/// Most messages of one request, and most parts in them.
const MAX_PIECES: usize = 2_000;

/// Everything to be examined.
#[derive(Debug, Default)]
pub(super) struct PreviewInput {
    pub(super) text: Option<String>,
    pub(super) messages: Option<Vec<Message>>,
    pub(super) images: Vec<File>,
    pub(super) pdfs: Vec<File>,
}

/// A chat message; its content is text, or parts.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) role: String,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    Text(String),
    Parts(Vec<InputPart>),
}

#[derive(Debug)]
pub(super) enum InputPart {
    Text(String),
    File(FilePart, File),
}

/// Which files are accepted.
pub(super) struct Accepts<'a> {
    pub(super) examiner: &'a FileExaminer,
    pub(super) options: &'a FileOptions,
}

impl PreviewInput {
    /// Reads all fields. `limit` is in bytes of text, all pieces together.
    pub(super) fn read(
        body: &mut Map<String, Value>,
        limit: usize,
        accepts: &Accepts,
    ) -> Result<Self, PreviewError> {
        let mut input = Self {
            images: files(body.remove("images"), "images", FileKind::Image, accepts)?,
            pdfs: files(body.remove("pdfs"), "pdfs", FileKind::Pdf, accepts)?,
            ..Self::default()
        };
        match (given(body.remove("text")), given(body.remove("messages"))) {
            (Some(Value::String(text)), None) => input.text = Some(text),
            (Some(_), None) => return Err(shape("`text` must be a string")),
            (None, Some(Value::Array(list))) => input.messages = Some(messages(list, accepts)?),
            (None, Some(_)) => return Err(shape("`messages` must be a list of messages")),
            (Some(_), Some(_)) => return Err(shape("send either `text` or `messages`, not both")),
            (None, None) if input.has_files() => {}
            (None, None) => return Err(shape("send `text`, `messages`, `images` or `pdfs`")),
        }
        input.check_size(limit, accepts.examiner.most())?;
        Ok(input)
    }

    fn check_size(&self, limit: usize, most_files: usize) -> Result<(), PreviewError> {
        let (mut bytes, mut pieces, mut files) = (0, 0, self.images.len() + self.pdfs.len());
        bytes += self.text.as_ref().map_or(0, String::len);
        for message in self.messages.iter().flatten() {
            pieces += 1;
            match &message.content {
                Content::Text(text) => bytes += text.len(),
                Content::Parts(parts) => parts.iter().for_each(|part| match part {
                    InputPart::Text(text) => (pieces, bytes) = (pieces + 1, bytes + text.len()),
                    InputPart::File(..) => files += 1,
                }),
            }
        }
        if files > most_files {
            return Err(shape(&format!("send at most {most_files} images and PDFs in one request")));
        }
        if bytes == 0 && files == 0 {
            return Err(shape("there is no text to examine"));
        }
        if bytes > limit {
            return Err(PreviewError::TooLong { limit });
        }
        if pieces > MAX_PIECES {
            return Err(shape(&format!("send at most {MAX_PIECES} messages and parts")));
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

fn shape(what: &str) -> PreviewError {
    PreviewError::Shape(what.to_owned())
}

fn given(value: Option<Value>) -> Option<Value> {
    value.filter(|value| !value.is_null())
}

fn files(
    value: Option<Value>,
    name: &str,
    kind: FileKind,
    accepts: &Accepts,
) -> Result<Vec<File>, PreviewError> {
    let entries = match given(value) {
        None => return Ok(Vec::new()),
        Some(Value::Array(entries)) => entries,
        Some(_) => return Err(shape(&format!("`{name}` must be a list"))),
    };
    let each = entries.iter().enumerate().map(|(at, entry)| {
        let place = format!("{name}[{at}]");
        let data = match entry {
            Value::String(data) => Some(data.as_str()),
            part => FilePart::of(part).filter(|found| found.kind == kind).and_then(|found| found.data(part)),
        };
        match data {
            Some(data) => file(kind, data, &place, accepts),
            None => Err(shape(&format!("`{place}` must be a string: base64 or a data: URL"))),
        }
    });
    each.collect()
}

fn file(kind: FileKind, data: &str, place: &str, accepts: &Accepts) -> Result<File, PreviewError> {
    if is_elsewhere(data) {
        let what = "is a URL, and files are not fetched for a preview; send the file itself, as base64 or a data: URL";
        return Err(shape(&format!("`{place}` {what}")));
    }
    let file = accepts.examiner.check(kind, accepts.options).and_then(|()| accepts.examiner.read(kind, data));
    file.map_err(|error| PreviewError::File { place: place.to_owned(), error })
}

fn messages(list: Vec<Value>, accepts: &Accepts) -> Result<Vec<Message>, PreviewError> {
    list.into_iter().enumerate().map(|(index, value)| message(index, value, accepts)).collect()
}

fn message(index: usize, value: Value, accepts: &Accepts) -> Result<Message, PreviewError> {
    let wrong = |what: &str| shape(&format!("messages[{index}]{what}"));
    let Value::Object(mut fields) = value else {
        return Err(wrong(" must be an object with `role` and `content`"));
    };
    if let Some(other) = fields.keys().find(|key| !["role", "content"].contains(&key.as_str())) {
        let other: String = other.chars().take(64).collect();
        return Err(wrong(&format!(
            " has the field `{other}`, which is not examined; send `role` and `content`"
        )));
    }
    let Some(Value::String(role)) = fields.remove("role") else {
        return Err(wrong(".role must be a string"));
    };
    let content = match given(fields.remove("content")) {
        None => Content::Text(String::new()),
        Some(Value::String(text)) => Content::Text(text),
        Some(Value::Array(parts)) => {
            let parts = parts.iter().enumerate();
            let parts =
                parts.map(|(at, value)| part(&format!("messages[{index}].content[{at}]"), value, accepts));
            Content::Parts(parts.collect::<Result<_, _>>()?)
        }
        Some(_) => return Err(wrong(".content must be a string or a list of parts")),
    };
    Ok(Message { role, content })
}

fn part(place: &str, part: &Value, accepts: &Accepts) -> Result<InputPart, PreviewError> {
    let wrong = |what: &str| shape(&format!("{place}{what}"));
    if let Some(found) = FilePart::of(part) {
        let data = found.data(part).ok_or_else(|| wrong(&format!("{} must be a string", found.place())))?;
        return Ok(InputPart::File(
            found,
            file(found.kind, data, &(place.to_owned() + &found.place()), accepts)?,
        ));
    }
    match (part["type"].as_str(), part["text"].as_str()) {
        (Some("text"), Some(text)) => Ok(InputPart::Text(text.to_owned())),
        (Some("text"), None) => Err(wrong(".text must be a string")),
        (Some(kind), _) => {
            let kind: String = kind.chars().take(64).collect();
            Err(wrong(&format!(
                " is of type `{kind}`, which cannot be examined; there are `text`, `image_url` and `file` (a PDF in \
                 `file_data`)"
            )))
        }
        (None, _) => Err(wrong(" must be an object with `type` and `text`")),
    }
}
