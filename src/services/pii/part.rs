//! Parts of chat messages with files: OpenAI's `image_url`, `input_image` and `file`.

use serde_json::{Value, json};

use super::FileKind;

/// Form of a part with a file: the file's kind, and the path to its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilePart {
    pub kind: FileKind,
    /// Names of the members on the path to the data, the outermost first.
    path: &'static [&'static str],
}

const IMAGE_URL: FilePart = FilePart { kind: FileKind::Image, path: &["image_url", "url"] };
const IMAGE_STRING: FilePart = FilePart { kind: FileKind::Image, path: &["image_url"] };
const FILE: FilePart = FilePart { kind: FileKind::Pdf, path: &["file", "file_data"] };

impl FilePart {
    /// Returns the form of a part; `None` if it holds no file that can be examined.
    #[must_use]
    pub fn of(part: &Value) -> Option<Self> {
        match part["type"].as_str()? {
            "image_url" | "input_image" if part["image_url"].is_string() => Some(IMAGE_STRING),
            "image_url" => Some(IMAGE_URL),
            // A file that was uploaded to another server (`file_id`) cannot be examined.
            "file" if part["file"]["file_data"].is_string() && part["file"]["file_id"].is_null() => {
                Some(FILE)
            }
            _ => None,
        }
    }

    /// Returns a part of this form with nothing but `data`.
    #[must_use]
    pub fn with_data(&self, data: String) -> Value {
        let kind = match (self.kind, self.path) {
            (FileKind::Pdf, _) => "file",
            (FileKind::Image, [_]) => "input_image",
            (FileKind::Image, _) => "image_url",
        };
        let (outer, inner) = self.path.split_first().expect("a path is not empty");
        let value = inner.iter().rev().fold(Value::String(data), |value, name| json!({ *name: value }));
        json!({ "type": kind, *outer: value })
    }

    /// Returns the path to the data within the part: `.image_url.url`.
    #[must_use]
    pub fn data_path(&self) -> String {
        self.path.iter().fold(String::new(), |path, name| path + "." + name)
    }

    /// Returns the data of a part: base64 or a URL.
    #[must_use]
    pub fn data<'p>(&self, part: &'p Value) -> Option<&'p str> {
        self.path.iter().try_fold(part, |value, name| value.get(*name))?.as_str()
    }

    /// Returns the data of a part, to be taken or replaced.
    pub fn data_mut<'p>(&self, part: &'p mut Value) -> Option<&'p mut String> {
        let found = self.path.iter().try_fold(part, |value, name| value.get_mut(*name))?;
        if let Value::String(data) = found { Some(data) } else { None }
    }
}

/// Returns true if data is an HTTP URL, which the recipient would have to fetch.
#[must_use]
pub fn is_remote(data: &str) -> bool {
    let data = data.trim_start();
    ["http://", "https://"]
        .iter()
        .any(|scheme| data.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn files_are_found_where_clients_put_them() {
        for (mut part, kind, path) in [
            (
                json!({"type": "image_url", "image_url": {"url": "x", "detail": "low"}}),
                FileKind::Image,
                ".image_url.url",
            ),
            (json!({"type": "image_url", "image_url": "x"}), FileKind::Image, ".image_url"),
            (json!({"type": "input_image", "image_url": "x"}), FileKind::Image, ".image_url"),
            (
                json!({"type": "file", "file": {"file_data": "x", "filename": "y"}}),
                FileKind::Pdf,
                ".file.file_data",
            ),
        ] {
            let found = FilePart::of(&part).expect("a file");
            assert_eq!((found.kind, found.data_path()), (kind, path.to_owned()));
            assert_eq!(
                FilePart::of(&found.with_data("x".into())).map(|part| part.data_path()),
                Some(path.to_owned())
            );
            assert_eq!(found.data(&part), Some("x"));
            assert_eq!(found.data_mut(&mut part).map(std::mem::take), Some("x".to_owned()));
        }
        for part in [
            json!({"type": "text", "text": "x"}),
            json!({"type": "input_audio", "input_audio": {"data": "x"}}),
            json!({"type": "file", "file": {"file_id": "x"}}),
            json!({"type": "file", "file": {"file_id": "x", "file_data": "y"}}),
            json!({"type": "video_url", "video_url": {"url": "x"}}),
            json!({"type": 1}),
        ] {
            assert_eq!(FilePart::of(&part), None, "{part}");
        }
        let odd = json!({"type": "image_url", "image_url": {"href": "x"}});
        assert_eq!(IMAGE_URL.data(&odd), None);
    }
}
