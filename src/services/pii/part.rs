//! Parts of chat messages that hold a file (OpenAI's `image_url`, `input_image` and `file`).

use serde_json::{Value, json};

use super::FileKind;

/// A part that holds a file, by where its data stands in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilePart {
    pub kind: FileKind,
    /// Names of members, from the outside.
    path: &'static [&'static str],
}

const IMAGE_URL: FilePart = FilePart { kind: FileKind::Image, path: &["image_url", "url"] };
const PLAIN_IMAGE: FilePart = FilePart { kind: FileKind::Image, path: &["image_url"] };
const FILE: FilePart = FilePart { kind: FileKind::Pdf, path: &["file", "file_data"] };

impl FilePart {
    /// The kind of a part, if it holds a file that can be examined.
    #[must_use]
    pub fn of(part: &Value) -> Option<Self> {
        match part["type"].as_str()? {
            "image_url" | "input_image" if part["image_url"].is_string() => Some(PLAIN_IMAGE),
            "image_url" => Some(IMAGE_URL),
            // One that was uploaded elsewhere (`file_id`) cannot be examined.
            "file" if part["file"]["file_data"].is_string() && part["file"]["file_id"].is_null() => {
                Some(FILE)
            }
            _ => None,
        }
    }

    /// A part of this kind that holds nothing but `data`.
    #[must_use]
    pub fn holding(&self, data: String) -> Value {
        let kind = match (self.kind, self.path) {
            (FileKind::Pdf, _) => "file",
            (FileKind::Image, [_]) => "input_image",
            (FileKind::Image, _) => "image_url",
        };
        let (outer, inner) = self.path.split_first().expect("a part's data stands somewhere");
        let held = inner.iter().rev().fold(Value::String(data), |held, name| json!({ *name: held }));
        json!({ "type": kind, *outer: held })
    }

    /// Where the data stands: `.image_url.url`.
    #[must_use]
    pub fn place(&self) -> String {
        self.path.iter().fold(String::new(), |place, name| place + "." + name)
    }

    /// The data within its part: base64 or a URL.
    #[must_use]
    pub fn data<'p>(&self, part: &'p Value) -> Option<&'p str> {
        self.path.iter().try_fold(part, |value, name| value.get(*name))?.as_str()
    }

    /// The same, to be taken or replaced.
    pub fn data_mut<'p>(&self, part: &'p mut Value) -> Option<&'p mut String> {
        let found = self.path.iter().try_fold(part, |value, name| value.get_mut(*name))?;
        if let Value::String(data) = found { Some(data) } else { None }
    }
}

/// Whether data is somewhere else, for whoever gets it to fetch.
#[must_use]
pub fn is_elsewhere(data: &str) -> bool {
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
        for (mut part, kind, place) in [
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
            assert_eq!((found.kind, found.place()), (kind, place.to_owned()));
            assert_eq!(
                FilePart::of(&found.holding("x".into())).map(|part| part.place()),
                Some(place.to_owned())
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
