//! Examination for personal data: in texts beside Presidio, in images beside `RapidOCR`, and in front of a prompt.

mod chat;
mod files;
mod peers;
mod text;

use anyhow::Result;
use farebox::config;

use peers::Peers;

pub fn measure() -> Result<()> {
    let mut peers = Peers::start().inspect_err(|error| println!("\n  Without peers: {error:#}.")).ok();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = config::PiiConfig {
        models: Some(root.join("models")).filter(|folder| folder.is_dir()),
        max_pdf_pages: 200,
        ..config::PiiConfig::default()
    };
    text::measure(&config, peers.as_mut())?;
    files::measure(&config, peers.as_mut())?;
    chat::measure()
}
