//! Examining: findings of all kinds of input, put together for the answer.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicBool;

use super::answer::{
    ExaminedImage, ExaminedPdf, FoundEntity, PreviewAnswer, RedactedContent, RedactedMessage, RedactedPart,
    TextPart,
};
use super::input::{Content, InputPart, Message, PreviewInput};
use super::{PreviewError, PreviewRequest};
use crate::services::pii::{ExaminationError, Examined, File, FileExaminer};
use farebox_pii::{self as pii, FileOptions, Selection};

/// What was found so far.
pub(super) struct Examination<'a> {
    examiner: &'a FileExaminer,
    selection: &'a Selection,
    files: &'a FileOptions,
    stop: &'a AtomicBool,
    entities: Vec<FoundEntity>,
    counts: BTreeMap<&'static str, usize>,
    images: Vec<ExaminedImage>,
    pdfs: Vec<ExaminedPdf>,
}

impl<'a> Examination<'a> {
    /// Examines all that a request holds.
    pub(super) fn run(
        request: &'a PreviewRequest,
        examiner: &'a FileExaminer,
        stop: &'a AtomicBool,
    ) -> Result<PreviewAnswer, PreviewError> {
        let (selection, files) = (&request.selection, &request.files);
        let mut examination = Self {
            examiner,
            selection,
            files,
            stop,
            entities: Vec::new(),
            counts: BTreeMap::new(),
            images: Vec::new(),
            pdfs: Vec::new(),
        };
        let PreviewInput { text, messages, images, pdfs } = &request.input;
        let redacted_text = text.as_ref().map(|text| examination.redact(text, None)).transpose()?;
        let redacted_messages =
            messages.as_ref().map(|messages| examination.messages(messages)).transpose()?;
        for (name, files) in [("images", images), ("pdfs", pdfs)] {
            for (at, file) in files.iter().enumerate() {
                let place = format!("{name}[{at}]");
                let examined = examination.file(file, &place)?;
                let redacted = Some(examined.data_url());
                examination.note(examined, place, redacted);
            }
        }
        Ok(PreviewAnswer {
            object: "pii.preview",
            model: selection.model().to_string(),
            entities: examination.entities,
            counts: examination.counts,
            redacted_text,
            redacted_messages,
            images: examination.images,
            pdfs: examination.pdfs,
        })
    }

    fn redact(&mut self, text: &str, path: Option<&str>) -> Result<String, PreviewError> {
        let engine = self.examiner.engine();
        // Nobody waits any more when it was stopped.
        let findings = engine
            .analyze_until(text, self.selection, self.stop, NonZeroUsize::MIN)
            .map_err(|_| ExaminationError::Broken)?;
        for finding in &findings {
            *self.counts.entry(finding.entity.name()).or_default() += 1;
            self.entities.push(FoundEntity::new(finding, path));
        }
        Ok(pii::redact(text, &findings))
    }

    fn messages(&mut self, messages: &[Message]) -> Result<Vec<RedactedMessage>, PreviewError> {
        let each = messages.iter().enumerate().map(|(index, message)| {
            let path = format!("messages[{index}].content");
            let content = match &message.content {
                Content::Text(text) => RedactedContent::Text(self.redact(text, Some(&path))?),
                Content::Parts(parts) => {
                    let parts =
                        parts.iter().enumerate().map(|(at, part)| self.part(part, &format!("{path}[{at}]")));
                    RedactedContent::Parts(parts.collect::<Result<_, _>>()?)
                }
            };
            Ok(RedactedMessage { role: message.role.clone(), content })
        });
        each.collect()
    }

    fn part(&mut self, part: &InputPart, path: &str) -> Result<RedactedPart, PreviewError> {
        match part {
            InputPart::Text(text) => {
                let text = self.redact(text, Some(&format!("{path}.text")))?;
                Ok(RedactedPart::Text(TextPart { kind: "text", text }))
            }
            InputPart::File(place, file) => {
                let path = path.to_owned() + &place.place();
                let examined = self.file(file, &path)?;
                let redacted = place.holding(examined.data_url());
                self.note(examined, path, None);
                Ok(RedactedPart::File(redacted))
            }
        }
    }

    fn file(&self, file: &File, place: &str) -> Result<Examined, PreviewError> {
        self.examiner.examine(file, self.selection, self.files, self.stop).map_err(|error| {
            if error.is_fault() {
                return ExaminationError::Broken.into();
            }
            PreviewError::File { place: place.to_owned(), error }
        })
    }

    fn note(&mut self, examined: Examined, path: String, redacted: Option<String>) {
        for name in examined.found() {
            *self.counts.entry(name).or_default() += 1;
        }
        match examined {
            Examined::Image(image) => self.images.push(ExaminedImage::new(&image, path, redacted)),
            Examined::Pdf(pdf) => self.pdfs.push(ExaminedPdf::new(&pdf, path, redacted)),
        }
    }
}
