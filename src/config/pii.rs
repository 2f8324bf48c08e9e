//! The PII preview, and the networks that find names.

use std::fs;
use std::path::{Path, PathBuf};

use farebox_pii::{Classifier, Models};
use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::money::Money;

/// The PII preview.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pii {
    /// Price of one preview, in dollars.
    pub preview_price: Money,
    /// Longest text of one preview, in bytes of UTF-8.
    pub max_text_bytes: usize,
    /// The folder of models; none are loaded without. What `rampart/` in it holds is `model: accurate`.
    pub models: Option<PathBuf>,
}

impl Default for Pii {
    fn default() -> Self {
        Self { preview_price: Money::from_micros(50_000), max_text_bytes: 200_000, models: None }
    }
}

impl Pii {
    /// Loads the networks that are configured.
    ///
    /// # Errors
    /// When a file is missing or is no such network.
    pub fn networks(&self) -> Result<Models, ConfigError> {
        let accurate =
            self.models.as_deref().map(|folder| classifier(&folder.join("rampart"))).transpose()?;
        Ok(Models { accurate, named: Vec::new() })
    }
}

fn classifier(folder: &Path) -> Result<Classifier, ConfigError> {
    let wrong = |why: String| ConfigError::invalid("pii.models", why);
    let unread = |name: &str, error: &std::io::Error| {
        wrong(format!("cannot read {}: {error}; `scripts/models.sh` fetches it", folder.join(name).display()))
    };
    let text = |name| fs::read_to_string(folder.join(name)).map_err(|error| unread(name, &error));
    let network = fs::read(folder.join("model.onnx")).map_err(|error| unread("model.onnx", &error))?;
    Classifier::from_onnx(network, &text("vocab.txt")?, &text("config.json")?)
        .map_err(|error| wrong(format!("{}: {error}", folder.display())))
}
