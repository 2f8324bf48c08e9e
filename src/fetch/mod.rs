//! Pages and PDFs that a request wants read for its model.
//!
//! ```text
//! Wanted -> target: scheme, port, literal address -> resolve: public addresses only
//!        -> client: hops, limits -> body, html, pdf: text
//! ```
//!
//! Whoever writes a URL here makes this server ask for it, from where it stands.
//! So a URL is checked before anything is asked, a name's addresses where the
//! connection is made, and every redirect like the first URL.

mod address;
mod body;
mod client;
mod error;
mod html;
mod pdf;
mod resolve;
mod target;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use futures_util::future::try_join_all;
use reqwest::dns::Resolve;
use tokio::sync::Semaphore;
use tokio::time::timeout_at;

pub use address::is_public;
pub use error::FetchError;
pub use target::Policy;

use crate::config;
use body::Kind;
use client::{Fetched, Getter};
use resolve::System;

/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(2);
/// What a PDF's own URL begins with.
const DATA: &str = "data:";

/// One thing to be read.
#[derive(Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A URL.
    Page(String),
    /// A PDF: a URL, a `data:` URL, or base64.
    Pdf(String),
    /// A URL whose bytes are wanted as they are.
    File(String),
}

/// Without what it is: URLs hold tokens, and PDFs whatever they hold.
impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Page(_) => "Page",
            Self::Pdf(_) => "Pdf",
            Self::File(_) => "File",
        })
    }
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    Text(Text),
    File(Bytes),
}

/// A file, as it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bytes").field(&self.0.len()).finish()
    }
}

/// What a page or a PDF says.
#[derive(Clone, PartialEq, Eq)]
pub struct Text {
    /// Where it is from: a URL without its query, or words.
    pub source: String,
    pub text: String,
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Text").field("bytes", &self.text.len()).finish_non_exhaustive()
    }
}

/// Which of several things could not be read, by its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    pub at: usize,
    pub error: FetchError,
}

/// Reads what requests want read. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Fetcher {
    getter: Getter,
    limits: config::FetchConfig,
    all: Arc<Semaphore>,
    pdfs: Arc<Semaphore>,
}

impl Fetcher {
    /// A fetcher that asks the system for addresses.
    ///
    /// # Errors
    /// When the system's TLS roots cannot be loaded.
    pub fn new(config: &config::FetchConfig) -> Result<Self, reqwest::Error> {
        Self::resolving(config, Arc::new(System))
    }

    /// A fetcher that asks `resolver` for addresses; they are checked like any other.
    ///
    /// # Errors
    /// When the system's TLS roots cannot be loaded.
    pub fn resolving(
        config: &config::FetchConfig,
        resolver: Arc<dyn Resolve>,
    ) -> Result<Self, reqwest::Error> {
        let policy = Policy { ports: config.ports.clone(), networks: config.allow_networks.clone() };
        let connect = Duration::from_millis(config.connect_timeout_ms);
        Ok(Self {
            getter: Getter::new(Arc::new(policy), resolver, connect, config.max_bytes)?,
            limits: config.clone(),
            all: Arc::new(Semaphore::new(config.max_at_once)),
            pdfs: Arc::new(Semaphore::new(config.max_pdfs_at_once)),
        })
    }

    /// Reads all that one request wants, at once. Dropping the future ends it.
    ///
    /// # Errors
    /// The first that cannot be read; then nothing is.
    pub async fn read(&self, wanted: &[Wanted]) -> Result<Vec<Read>, Failed> {
        let many = u32::try_from(wanted.len()).unwrap_or(u32::MAX);
        let turn = tokio::time::timeout(PATIENCE, self.all.acquire_many(many)).await;
        let Ok(Ok(_turn)) = turn else { return Err(Failed { at: 0, error: counted(FetchError::Busy) }) };
        let until = Instant::now() + Duration::from_millis(self.limits.total_timeout_ms);
        let each = wanted.iter().enumerate().map(|(at, wanted)| async move {
            let read = timeout_at(until.into(), self.read_one(wanted, until)).await;
            let read = read.unwrap_or(Err(FetchError::Slow)).map_err(counted);
            read.inspect(|_| count("read")).map_err(|error| Failed { at, error })
        });
        try_join_all(each).await
    }

    async fn read_one(&self, wanted: &Wanted, until: Instant) -> Result<Read, FetchError> {
        let text = match wanted {
            Wanted::File(url) => return self.file(url).await.map(Read::File),
            Wanted::Page(url) => self.fetch(url, false, until).await?,
            Wanted::Pdf(given) if begins(given, "http://") || begins(given, "https://") => {
                self.fetch(given, true, until).await?
            }
            Wanted::Pdf(given) => {
                let data = inline(given)?;
                if data.len() > self.limits.max_bytes {
                    return Err(FetchError::TooLarge(self.limits.max_bytes));
                }
                Text { source: "PDF".to_owned(), text: self.pdf(data, until).await? }
            }
        };
        Ok(Read::Text(text))
    }

    async fn file(&self, url: &str) -> Result<Bytes, FetchError> {
        let fetched = self.getter.get(self.getter.target(url)?).await?;
        self.unpacked(fetched.gzip, fetched.body).await.map(Bytes)
    }

    async fn unpacked(&self, gzip: bool, body: Vec<u8>) -> Result<Vec<u8>, FetchError> {
        let most = self.limits.max_bytes;
        if gzip { blocking(move || body::unpack(&body, most)).await } else { Ok(body) }
    }

    async fn fetch(&self, url: &str, pdf: bool, until: Instant) -> Result<Text, FetchError> {
        let url = self.getter.target(url)?;
        let source = target::name(&url);
        let Fetched { content_type, gzip, body } = self.getter.get(url).await?;
        let kind = if pdf { Kind::Pdf } else { Kind::of(&content_type).ok_or(FetchError::Kind)? };
        let body = self.unpacked(gzip, body).await?;
        let text = match kind {
            Kind::Pdf => self.pdf(body, until).await?,
            Kind::Unnamed if pdf::is_pdf(&body) => self.pdf(body, until).await?,
            Kind::Unnamed => return Err(FetchError::Kind),
            Kind::Html | Kind::Plain => blocking(move || Ok(body::text(&body, &content_type, kind))).await?,
        };
        if text.len() > self.limits.max_text_bytes {
            return Err(FetchError::TooLong(self.limits.max_text_bytes));
        }
        if text.trim().is_empty() { Err(FetchError::Empty) } else { Ok(Text { source, text }) }
    }

    async fn pdf(&self, data: Vec<u8>, until: Instant) -> Result<String, FetchError> {
        let soon = until.checked_sub(PATIENCE / 2).unwrap_or(until);
        let turn = timeout_at(soon.into(), Arc::clone(&self.pdfs).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(FetchError::Busy) };
        let limits =
            pdf::Limits { pages: self.limits.max_pdf_pages, text: self.limits.max_text_bytes, until };
        let text = blocking(move || {
            // Kept until the file is let go of, also when nobody waits any more.
            let _turn = turn;
            pdf::text(&data, limits)
        });
        text.await.and_then(|text| if text.is_empty() { Err(FetchError::Empty) } else { Ok(text) })
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FetchError> + Send + 'static,
) -> Result<T, FetchError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(FetchError::Busy))
}

/// A PDF within the request.
fn inline(given: &str) -> Result<Vec<u8>, FetchError> {
    let given = given.trim();
    let encoded = if begins(given, DATA) {
        let (head, encoded) = given.split_once(',').ok_or(FetchError::NotBase64)?;
        let head = head.to_ascii_lowercase();
        let kind = head.get(DATA.len()..).and_then(|head| head.split(';').next()).unwrap_or_default();
        if !["application/pdf", "application/x-pdf"].contains(&kind) {
            return Err(FetchError::NotPdf);
        }
        Some(encoded).filter(|_| head.ends_with(";base64")).ok_or(FetchError::NotBase64)?
    } else {
        given
    };
    let engines = [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD];
    let decoded = engines.iter().find_map(|engine| engine.decode(encoded).ok());
    decoded.filter(|data| !data.is_empty()).ok_or(FetchError::NotBase64)
}

fn begins(text: &str, with: &str) -> bool {
    text.trim_start().get(..with.len()).is_some_and(|head| head.eq_ignore_ascii_case(with))
}

fn counted(error: FetchError) -> FetchError {
    count(error.code());
    error
}

fn count(outcome: &'static str) {
    metrics::counter!("farebox_fetches_total", "outcome" => outcome).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pdfs_come_as_data_urls_or_base64() {
        for (given, expected) in [
            ("JVBERi0xLjc=", Ok(b"%PDF-1.7".to_vec())),
            (" JVBERi0xLjc\n", Ok(b"%PDF-1.7".to_vec())),
            ("data:application/pdf;base64,JVBERi0xLjc=", Ok(b"%PDF-1.7".to_vec())),
            ("DATA:Application/PDF;name=x.pdf;Base64,JVBERi0xLjc=", Ok(b"%PDF-1.7".to_vec())),
            ("data:application/pdf,JVBERi0xLjc=", Err(FetchError::NotBase64)),
            ("data:text/html;base64,JVBERi0xLjc=", Err(FetchError::NotPdf)),
            ("data:application/pdf;base64", Err(FetchError::NotBase64)),
            ("file:///etc/passwd", Err(FetchError::NotBase64)),
            ("ftp://example.com/a.pdf", Err(FetchError::NotBase64)),
            ("", Err(FetchError::NotBase64)),
        ] {
            assert_eq!(inline(given), expected, "{given}");
        }
    }

    #[test]
    fn attack_28_what_is_wanted_is_not_printed() {
        let wanted = [Wanted::Page("https://example.com/?secret".into()), Wanted::Pdf("secret".into())];
        let text = Text { source: "secret".into(), text: "secret".into() };
        assert!(!format!("{wanted:?} {text:?}").contains("secret"));
    }
}
