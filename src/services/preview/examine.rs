//! Examination of a preview's input: collects the findings of all kinds of input for the answer.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicBool;

use super::answer::{
    ExaminedImage, ExaminedPdf, FoundEntity, PreviewAnswer, RedactedContent, RedactedMessage, RedactedPart,
    TextPart,
};
use super::input::{Content, InputPart, Message, PreviewInput};
use super::{PreviewError, PreviewRequest};
use crate::services::pii::{ExaminationError, File, FileExaminer, RedactedFile};
use farebox_pii::{self as pii, FileOptions, Selection};

/// Examination in progress, with the findings so far.
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
    /// Examines the whole input of a request.
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
            for (index, file) in files.iter().enumerate() {
                let path = format!("{name}[{index}]");
                let redacted = examination.file(file, &path)?;
                let data_url = Some(redacted.data_url());
                examination.record(redacted, path, data_url);
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

    /// Redacts a text and records its findings.
    fn redact(&mut self, text: &str, path: Option<&str>) -> Result<String, PreviewError> {
        let engine = self.examiner.engine();
        // It stops only when the client has disconnected, so no one reads this error.
        let findings = engine
            .analyze_until(text, self.selection, self.stop, NonZeroUsize::MIN)
            .map_err(|_| ExaminationError::Failed)?;
        for finding in &findings {
            *self.counts.entry(finding.entity.name()).or_default() += 1;
            self.entities.push(FoundEntity::new(finding, path));
        }
        Ok(pii::redact(text, &findings))
    }

    fn messages(&mut self, messages: &[Message]) -> Result<Vec<RedactedMessage>, PreviewError> {
        let results = messages.iter().enumerate().map(|(index, message)| {
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
        results.collect()
    }

    fn part(&mut self, part: &InputPart, path: &str) -> Result<RedactedPart, PreviewError> {
        match part {
            InputPart::Text(text) => {
                let text = self.redact(text, Some(&format!("{path}.text")))?;
                Ok(RedactedPart::Text(TextPart { kind: "text", text }))
            }
            InputPart::File(form, file) => {
                let path = path.to_owned() + &form.data_path();
                let redacted = self.file(file, &path)?;
                let part = form.with_data(redacted.data_url());
                self.record(redacted, path, None);
                Ok(RedactedPart::File(part))
            }
        }
    }

    fn file(&self, file: &File, path: &str) -> Result<RedactedFile, PreviewError> {
        self.examiner.redact(file, self.selection, self.files, self.stop).map_err(|error| {
            if error.is_server_fault() {
                return ExaminationError::Failed.into();
            }
            PreviewError::File { path: path.to_owned(), error }
        })
    }

    /// Records the findings of a file; `data_url` is the redacted file, unless it stands in `messages`.
    fn record(&mut self, redacted: RedactedFile, path: String, data_url: Option<String>) {
        for name in redacted.finding_names() {
            *self.counts.entry(name).or_default() += 1;
        }
        match redacted {
            RedactedFile::Image(image) => self.images.push(ExaminedImage::new(&image, path, data_url)),
            RedactedFile::Pdf(pdf) => self.pdfs.push(ExaminedPdf::new(&pdf, path, data_url)),
        }
    }
}
