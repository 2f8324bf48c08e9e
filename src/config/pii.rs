//! What finds personal data: its price, its limits and its models.

use std::fs;
use std::path::{Path, PathBuf};

use farebox_pii::image::ocr::Ocr;
use farebox_pii::image::{FaceDetector, ImageModels};
use farebox_pii::{Classifier, Models};
use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::money::Money;

/// The PII preview, and the models that it shares with chat.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pii {
    /// Price of one preview, in dollars.
    pub preview_price: Money,
    /// Longest text of one preview, in bytes of UTF-8.
    pub max_text_bytes: usize,
    /// Most images and PDFs of one request.
    pub max_files: usize,
    /// Largest image or PDF, in bytes.
    pub max_file_bytes: usize,
    /// Most pages of a PDF that are examined.
    pub max_pdf_pages: usize,
    /// The longest that the files of one request are examined, in seconds.
    pub file_seconds: u64,
    /// Requests whose files are examined at once; half of the cores when not set.
    pub files_at_once: Option<usize>,
    /// The folder of models; none are loaded without. What `ocr/` in it holds reads images, `faces/` finds faces,
    /// `rampart/` is `model: accurate`.
    pub models: Option<PathBuf>,
}

impl Default for Pii {
    fn default() -> Self {
        Self {
            preview_price: Money::from_micros(50_000),
            max_text_bytes: 200_000,
            max_files: 8,
            max_file_bytes: 10 << 20,
            max_pdf_pages: 50,
            file_seconds: 15,
            files_at_once: None,
            models: None,
        }
    }
}

impl Pii {
    pub(super) fn validate(&self, body_limit: usize) -> Result<(), ConfigError> {
        let bad = |key: &str, why: &str| Err(ConfigError::invalid(&format!("pii.{key}"), why));
        if self.max_text_bytes > body_limit {
            return bad("max_text_bytes", "cannot exceed server.body_limit_bytes");
        }
        if self.max_file_bytes == 0 || self.max_pdf_pages == 0 {
            let key = if self.max_file_bytes == 0 { "max_file_bytes" } else { "max_pdf_pages" };
            return bad(key, "must be at least 1; `max_files = 0` accepts no files");
        }
        if !(1..=20).contains(&self.file_seconds) {
            return bad(
                "file_seconds",
                "must be 1 to 20: a payment that was signed is not valid for much longer",
            );
        }
        if self.files_at_once == Some(0) {
            return bad("files_at_once", "must be at least 1; `max_files = 0` accepts no files");
        }
        Ok(())
    }

    /// Loads the networks that find names in texts.
    ///
    /// # Errors
    /// When a file is missing or is no such network.
    pub fn networks(&self) -> Result<Models, ConfigError> {
        let accurate = self.folder("rampart").map(|folder| classifier(&folder)).transpose()?;
        Ok(Models { accurate, named: Vec::new() })
    }

    /// Loads the networks that images are examined with.
    ///
    /// # Errors
    /// When a file is missing or is no such network.
    pub fn image_models(&self) -> Result<ImageModels, ConfigError> {
        let ocr = self.folder("ocr").map(|folder| -> Result<Ocr, ConfigError> {
            let (find, read) = (bytes(&folder, "det.onnx")?, bytes(&folder, "rec.onnx")?);
            let keys = text(&folder, "keys.txt")?;
            Ocr::from_models(find, read, &keys).map_err(|error| wrong(&folder, &error))
        });
        let faces = self.folder("faces").map(|folder| {
            let model = bytes(&folder, "centerface.onnx")?;
            FaceDetector::from_model(model).map_err(|error| wrong(&folder, &error))
        });
        Ok(ImageModels { ocr: ocr.transpose()?, faces: faces.transpose()? })
    }

    /// The folder of one model, if it is there: what is not there is missing from what is offered.
    fn folder(&self, name: &str) -> Option<PathBuf> {
        self.models.as_deref().map(|models| models.join(name)).filter(|folder| folder.is_dir())
    }
}

fn classifier(folder: &Path) -> Result<Classifier, ConfigError> {
    let network = bytes(folder, "model.onnx")?;
    Classifier::from_onnx(network, &text(folder, "vocab.txt")?, &text(folder, "config.json")?)
        .map_err(|error| wrong(folder, &error))
}

fn bytes(folder: &Path, name: &str) -> Result<Vec<u8>, ConfigError> {
    fs::read(folder.join(name)).map_err(|error| unread(&folder.join(name), &error))
}

fn text(folder: &Path, name: &str) -> Result<String, ConfigError> {
    fs::read_to_string(folder.join(name)).map_err(|error| unread(&folder.join(name), &error))
}

fn unread(file: &Path, error: &std::io::Error) -> ConfigError {
    let why = format!("cannot read {}: {error}; `scripts/models.sh` fetches it", file.display());
    ConfigError::invalid("pii.models", why)
}

fn wrong(folder: &Path, error: &dyn std::fmt::Display) -> ConfigError {
    ConfigError::invalid("pii.models", format!("{}: {error}", folder.display()))
}
