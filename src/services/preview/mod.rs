//! Preview: examines texts, images and PDFs for personal data, and returns them without it.
//!
//! ```text
//! body -> PreviewRequest::parse -> run -> UnpaidAnswer -> release(PreviewPayment) -> the answer
//!         input                    examine                 funding
//! ```

mod answer;
mod body;
mod examine;
mod input;

use serde_json::Value;

use crate::funding::Paid;
use crate::keys::KeyPaid;
use crate::services::pii::{ExaminationError, Examiner, FileError};
use farebox_pii::{self as pii, AvailableModels, FileOptions, Selection};

pub use answer::{
    ExaminedImage, ExaminedPdf, FoundEntity, PreviewAnswer, RedactedContent, RedactedMessage, TextPart,
};
pub use body::{ConfigBody, ContentBody, MessageBody, PartBody, PreviewBody};
use examine::Examination;
use input::{FileRules, PreviewInput};

/// Proof that a preview is paid for: by a credential, or from an account.
#[derive(Debug, Clone, Copy)]
pub enum PreviewPayment<'a> {
    Paid(&'a Paid),
    KeyPaid(&'a KeyPaid),
}

impl<'a> From<&'a Paid> for PreviewPayment<'a> {
    fn from(paid: &'a Paid) -> Self {
        Self::Paid(paid)
    }
}

impl<'a> From<&'a KeyPaid> for PreviewPayment<'a> {
    fn from(paid: &'a KeyPaid) -> Self {
        Self::KeyPaid(paid)
    }
}

/// Limits of a preview.
#[derive(Debug, Clone, Copy)]
pub struct PreviewLimits<'a> {
    /// Largest number of bytes of text, all texts together.
    pub text_bytes: usize,
    /// Models to choose from.
    pub offer: &'a AvailableModels,
}

/// A preview request that has been checked.
#[derive(Debug)]
pub struct PreviewRequest {
    input: PreviewInput,
    selection: Selection,
    files: FileOptions,
}

/// Answer that is not paid for yet: a file can turn out to be unreadable, so it is made before the payment.
#[derive(Debug, Clone)]
pub struct UnpaidAnswer<T = String>(T);

impl<T> UnpaidAnswer<T> {
    /// Returns what `read` makes of the answer, which is JSON at first. It is not paid for either.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn try_map<U, E>(self, read: impl FnOnce(T) -> Result<U, E>) -> Result<UnpaidAnswer<U>, E> {
        read(self.0).map(UnpaidAnswer)
    }

    /// Returns the answer in exchange for a proof of payment.
    #[must_use]
    pub fn release<'a>(self, _proof: impl Into<PreviewPayment<'a>>) -> T {
        self.0
    }

    /// Shows the answer in exchange for a proof of payment.
    #[must_use]
    pub fn show<'a>(&self, _proof: impl Into<PreviewPayment<'a>>) -> &T {
        &self.0
    }
}

/// Reason for which a preview is refused. The text quotes names of fields, never contents.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    #[error("the body is not valid JSON: {0}")]
    Syntax(String),
    /// A field is missing, unknown or of a wrong type.
    #[error("{0}")]
    Shape(String),
    /// The texts together are too long.
    #[error("the text is longer than {limit} bytes; send it in several requests")]
    TooLong { limit: usize },
    #[error(transparent)]
    Selection(#[from] pii::PiiConfigError),
    /// A file cannot be examined; `path` is its position.
    #[error("`{path}`: {error}")]
    File { path: String, error: FileError },
    #[error(transparent)]
    Examination(#[from] ExaminationError),
}

impl PreviewError {
    /// Returns true if a text or a file is too large.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        match self {
            Self::TooLong { .. } => true,
            Self::File { error, .. } => error.is_too_large(),
            Self::Syntax(_) | Self::Shape(_) | Self::Selection(_) | Self::Examination(_) => false,
        }
    }
}

/// Names of all fields of the body.
const FIELDS: [&str; 8] =
    ["text", "messages", "images", "pdfs", "piiEntities", "pii_entities", "piiConfig", "pii_config"];

impl PreviewRequest {
    /// Reads and checks a request body.
    ///
    /// # Errors
    /// [`PreviewError`], which names the field to change.
    pub fn parse(body: &str, limits: PreviewLimits, examiner: &Examiner) -> Result<Self, PreviewError> {
        let body: Value = serde_json::from_str(body).map_err(|e| PreviewError::Syntax(e.to_string()))?;
        let Value::Object(mut body) = body else {
            return Err(PreviewError::Shape(
                "the body must be a JSON object with `text`, `messages`, `images` or `pdfs`".to_owned(),
            ));
        };
        if let Some(unknown) = body.keys().find(|key| !FIELDS.contains(&key.as_str())) {
            return Err(PreviewError::Shape(unknown_field(unknown)));
        }
        let selection = Selection::from_request(&body, limits.offer)?;
        let files = FileOptions::from_request(&body)?;
        let rules = FileRules { examiner: examiner.files(), options: &files };
        let input = PreviewInput::read(&mut body, limits.text_bytes, &rules)?;
        Ok(Self { input, selection, files })
    }

    /// Examines the input. Dropping the future ends the work.
    ///
    /// # Errors
    /// [`PreviewError`] of a file that cannot be examined, or if the examination takes too long.
    pub async fn run(self, examiner: &Examiner) -> Result<UnpaidAnswer, PreviewError> {
        let answer = if self.input.has_files() {
            examiner.examine_files(move |examiner, stop| Examination::run(&self, examiner, stop)).await?
        } else {
            examiner.examine_texts(move |examiner, stop| Examination::run(&self, examiner, stop)).await?
        };
        Ok(UnpaidAnswer(serde_json::to_string(&answer?).expect("plain data is valid JSON")))
    }
}

/// Smallest similarity of a field that is suggested for an unknown one, 0 to 1.
const MIN_SIMILARITY: f64 = 0.8;

fn unknown_field(name: &str) -> String {
    let name: String = name.chars().take(64).collect();
    let nearest = FIELDS
        .iter()
        .map(|field| (strsim::jaro_winkler(&name, field), field))
        .filter(|(similarity, _)| *similarity > MIN_SIMILARITY)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, field)) => format!("unknown field `{name}`; did you mean `{field}`?"),
        None => format!("unknown field `{name}`; the fields are {}", FIELDS.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::body::{FaceBlurBody, FileBody, ImageUrlBody, OcrBody, PdfBody, SwitchBody};
    use super::*;

    fn parse(body: &Value) -> Result<PreviewRequest, String> {
        let limits = PreviewLimits { text_bytes: 1000, offer: &AvailableModels::default() };
        PreviewRequest::parse(&body.to_string(), limits, &Examiner::without_models())
            .map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn findings_have_the_positions_of_their_texts() {
        let body = json!({"messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": [{"type": "text", "text": "ok"}, {"type": "text", "text": "é jane@example.com"}]},
        ]});
        let unpaid = parse(&body).expect("valid").run(&Examiner::without_models()).await.expect("examined");
        let answer: Value = serde_json::from_str(&unpaid.0).expect("JSON");
        assert_eq!(answer["counts"], json!({"EMAIL_ADDRESS": 1}));
        let found = &answer["entities"][0];
        assert_eq!(found["path"], "messages[1].content[1].text");
        assert_eq!((&found["start"], &found["startByte"]), (&json!(2), &json!(3)));
        assert_eq!(answer["redactedMessages"][1]["content"][1]["text"], "é <EMAIL_ADDRESS>");
        for absent in ["redactedText", "images", "pdfs"] {
            assert!(answer.get(absent).is_none(), "{answer}");
        }
    }

    #[test]
    fn bad_input_is_named_without_being_quoted() {
        let file = |part: Value| json!({"messages": [{"role": "user", "content": [part]}]});
        for (body, expected) in [
            (json!([]), "the body must be a JSON object"),
            (json!({}), "send `text`, `messages`, `images` or `pdfs`"),
            (json!({"images": [], "pdfs": null}), "send `text`, `messages`, `images` or `pdfs`"),
            (json!({"text": ""}), "no text"),
            (json!({"text": 5}), "`text` must be a string"),
            (json!({"text": "a", "messages": []}), "not both"),
            (json!({"text": "x".repeat(1001)}), "longer than 1000 bytes"),
            (json!({"text": "secret", "pii_entites": []}), "did you mean `pii_entities`?"),
            (json!({"text": "secret", "image": []}), "did you mean `images`?"),
            (json!({"pdfs": "secret"}), "`pdfs` must be a list"),
            (json!({"pdfs": [5]}), "`pdfs[0]` must be a string: base64"),
            (json!({"pdfs": ["%secret"]}), "`pdfs[0]`: the PDF is not valid base64"),
            (json!({"pdfs": ["https://secret.example/a.pdf"]}), "`pdfs[0]` is a URL"),
            (json!({"pdfs": vec!["AQID"; 9]}), "at most 8 images and PDFs"),
            (json!({"images": ["AQID"]}), "`images[0]`: text in images cannot be read here"),
            (
                json!({"images": ["AQID"], "piiConfig": {"ocr": false}}),
                "`images[0]`: faces cannot be found here",
            ),
            (
                json!({"images": ["AQID"], "piiConfig": {"ocr": false, "faceBlur": false}}),
                "nothing is looked for",
            ),
            (json!({"messages": "secret"}), "must be a list"),
            (json!({"messages": ["secret"]}), "messages[0] must be an object"),
            (json!({"messages": [{"role": "user", "content": 5}]}), "messages[0].content must be"),
            (json!({"messages": [{"role": "user", "content": "secret", "tool_calls": []}]}), "`tool_calls`"),
            (file(json!({"type": "image_url"})), "messages[0].content[0].image_url.url must be a string"),
            (
                file(json!({"type": "image_url", "image_url": {"url": "http://secret/"}})),
                "content[0].image_url.url` is a URL",
            ),
            (
                file(json!({"type": "input_audio", "input_audio": "secret"})),
                "of type `input_audio`, which cannot be examined",
            ),
        ] {
            let error = parse(&body).expect_err("refused");
            assert!(error.contains(expected) && !error.contains("secret"), "{error}");
        }
        let deep = "[".repeat(100_000);
        let limits = PreviewLimits { text_bytes: 1000, offer: &AvailableModels::default() };
        assert!(PreviewRequest::parse(&deep, limits, &Examiner::without_models()).is_err());
    }

    #[test]
    fn the_documented_body_is_accepted() {
        let config = ConfigBody {
            threshold: Some(0.5),
            thresholds: Some(BTreeMap::new()),
            model: Some("rules".into()),
            language: Some("en".into()),
            face_blur: Some(SwitchBody::Settings(FaceBlurBody {
                enabled: Some(true),
                mode: Some("fill".into()),
                strength: Some(0.5),
                threshold: Some(0.5),
            })),
            ocr: Some(SwitchBody::Settings(OcrBody {
                enabled: Some(true),
                min_confidence: Some(0.5),
                language: Some("en".into()),
            })),
            pdf: Some(PdfBody { pages: Some("1".into()), dpi: Some(72), threshold: Some(0.5) }),
        };
        let part = |kind: &str| PartBody { kind: kind.into(), text: None, image_url: None, file: None };
        let file = PartBody { file: Some(FileBody { file_data: "AQID".into() }), ..part("file") };
        let message =
            |part| vec![MessageBody { role: "user".into(), content: ContentBody::Parts(vec![part]) }];
        let mut body = PreviewBody {
            text: None,
            messages: Some(message(file)),
            images: Some(Vec::new()),
            pdfs: Some(vec!["AQID".into()]),
            pii_entities: Some(vec!["URL".into()]),
            pii_config: Some(config),
        };
        let all = serde_json::to_value(&body).expect("JSON");
        parse(&all).expect("everything documented is understood");
        for field in all.as_object().expect("an object").keys() {
            assert!(FIELDS.contains(&field.as_str()), "{field}");
        }
        let url = ImageUrlBody { url: "data:image/png;base64,AQID".into() };
        body.messages = Some(message(PartBody { image_url: Some(url), ..part("image_url") }));
        let image = parse(&serde_json::to_value(&body).expect("JSON")).expect_err("there are no models");
        assert!(image.contains("without the OCR model"), "{image}");
    }
}
