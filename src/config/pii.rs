//! Search for personal data: its price, its limits and its models.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use farebox_pii::image::ocr::Ocr;
use farebox_pii::image::{FaceDetector, ImageModels};
use farebox_pii::{Classifier, NameClassifiers};
use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::money::Money;

/// The PII preview, and the models that it shares with chat.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PiiConfig {
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
    /// Longest time that one request is examined, in seconds.
    pub limit_seconds: u64,
    /// Requests whose files are examined at once; 0 is half of the cores.
    pub files_at_once: usize,
    /// Folder of models; none are loaded without. The models in its `ocr/` read images, those in `faces/` find faces,
    /// and `rampart/` is `model: accurate`.
    pub models: Option<PathBuf>,
    /// Further networks that label tokens (ONNX), by the name that `model` in `piiConfig` calls them: folders with
    /// `model.onnx`, `vocab.txt` and `config.json`.
    pub classifiers: BTreeMap<String, PathBuf>,
}

impl Default for PiiConfig {
    fn default() -> Self {
        Self {
            preview_price: Money::from_micros(50_000),
            max_text_bytes: 200_000,
            max_files: 8,
            max_file_bytes: 10 << 20,
            max_pdf_pages: 50,
            limit_seconds: 15,
            files_at_once: 0,
            models: None,
            classifiers: BTreeMap::new(),
        }
    }
}

impl PiiConfig {
    pub(super) fn validate(&self, body_limit: usize) -> Result<(), ConfigError> {
        let bad = |key: &str, reason: &str| Err(ConfigError::invalid(&format!("pii.{key}"), reason));
        if self.max_text_bytes > body_limit {
            return bad("max_text_bytes", "cannot exceed server.body_limit_bytes");
        }
        if self.max_file_bytes == 0 || self.max_pdf_pages == 0 {
            let key = if self.max_file_bytes == 0 { "max_file_bytes" } else { "max_pdf_pages" };
            return bad(key, "must be at least 1; `max_files = 0` accepts no files");
        }
        if !(1..=20).contains(&self.limit_seconds) {
            return bad(
                "limit_seconds",
                "must be 1 to 20: a payment that was signed is not valid for much longer",
            );
        }
        for name in self.classifiers.keys() {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
            if name.is_empty() || !name.chars().all(plain) {
                return bad("classifiers", &format!("\"{name}\": use a-z, 0-9, dots and dashes in names"));
            }
            if ["rules", "fast", "accurate"].contains(&name.as_str()) {
                return bad(
                    "classifiers",
                    &format!("\"{name}\" is the name of a built-in model; use another name"),
                );
            }
        }
        Ok(())
    }

    /// Loads the networks that find names in texts.
    ///
    /// # Errors
    /// If a file is missing or is no such network.
    pub fn networks(&self) -> Result<NameClassifiers, ConfigError> {
        let accurate = self.folder("rampart").map(|folder| classifier("models", &folder)).transpose()?;
        let named = self.classifiers.iter().map(|(name, folder)| {
            let network = classifier("classifiers", folder)?;
            Ok((Arc::from(name.as_str()), network))
        });
        Ok(NameClassifiers { accurate, named: named.collect::<Result<_, ConfigError>>()? })
    }

    /// Loads the networks that images are examined with.
    ///
    /// # Errors
    /// If a file is missing or is no such network.
    pub fn image_models(&self) -> Result<ImageModels, ConfigError> {
        let ocr = self.folder("ocr").map(|folder| -> Result<Ocr, ConfigError> {
            let (find, read) = (bytes("models", &folder, "det.onnx")?, bytes("models", &folder, "rec.onnx")?);
            let keys = text("models", &folder, "keys.txt")?;
            Ocr::from_models(find, read, &keys).map_err(|error| wrong("models", &folder, &error))
        });
        let faces = self.folder("faces").map(|folder| {
            let model = bytes("models", &folder, "centerface.onnx")?;
            FaceDetector::from_model(model).map_err(|error| wrong("models", &folder, &error))
        });
        Ok(ImageModels { ocr: ocr.transpose()?, faces: faces.transpose()? })
    }

    /// Returns the folder of one model, if it is there; a model without a folder is not offered.
    fn folder(&self, name: &str) -> Option<PathBuf> {
        self.models.as_deref().map(|models| models.join(name)).filter(|folder| folder.is_dir())
    }
}

fn classifier(key: &str, folder: &Path) -> Result<Classifier, ConfigError> {
    let network = bytes(key, folder, "model.onnx")?;
    Classifier::from_onnx(network, &text(key, folder, "vocab.txt")?, &text(key, folder, "config.json")?)
        .map_err(|error| wrong(key, folder, &error))
}

fn bytes(key: &str, folder: &Path, name: &str) -> Result<Vec<u8>, ConfigError> {
    fs::read(folder.join(name)).map_err(|error| unread(key, &folder.join(name), &error))
}

fn text(key: &str, folder: &Path, name: &str) -> Result<String, ConfigError> {
    fs::read_to_string(folder.join(name)).map_err(|error| unread(key, &folder.join(name), &error))
}

fn unread(key: &str, file: &Path, error: &std::io::Error) -> ConfigError {
    let fetch = if key == "models" { "; `scripts/models.sh` fetches it" } else { "" };
    ConfigError::invalid(&format!("pii.{key}"), format!("cannot read {}: {error}{fetch}", file.display()))
}

fn wrong(key: &str, folder: &Path, error: &dyn std::fmt::Display) -> ConfigError {
    ConfigError::invalid(&format!("pii.{key}"), format!("{}: {error}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_configured_has_to_be_there() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let folder = |name: &str| {
            let folder = dir.path().join(name);
            fs::create_dir_all(&folder).expect("made");
            folder
        };
        let mut pii = PiiConfig { models: Some(dir.path().to_owned()), ..PiiConfig::default() };
        // What is not there is not offered.
        assert!(pii.networks().is_ok_and(|models| models.accurate.is_none()));
        assert!(pii.image_models().is_ok_and(|models| models.ocr.is_none() && models.faces.is_none()));
        fs::write(folder("faces").join("centerface.onnx"), "no model").expect("written");
        let error = pii.image_models().err().expect("no model").to_string();
        assert!(error.contains("pii.models") && error.contains("faces"), "{error}");
        folder("ocr");
        let error = pii.image_models().err().expect("half a model").to_string();
        assert!(error.contains("det.onnx") && error.contains("scripts/models.sh"), "{error}");
        pii.classifiers.insert("bert".into(), dir.path().join("nowhere"));
        let error = pii.networks().err().expect("nothing there").to_string();
        assert!(error.contains("pii.classifiers") && error.contains("model.onnx"), "{error}");
    }

    #[test]
    fn names_of_networks_are_their_own() {
        for (name, valid) in
            [("bert-base.2", true), ("fast", false), ("Bert", false), ("", false), ("a b", false)]
        {
            let classifiers = BTreeMap::from([(name.to_owned(), PathBuf::from("x"))]);
            let pii = PiiConfig { classifiers, ..PiiConfig::default() };
            assert_eq!(pii.validate(1 << 20).is_ok(), valid, "{name}");
        }
    }
}
