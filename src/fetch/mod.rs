//! Fetching of web pages, PDFs and files that a request attaches for its model.
//!
//! ```text
//! Wanted -> target: scheme, port, literal address -> resolve: public addresses only
//!        -> client: hops, limits -> body, html, pdf: text
//! ```
//!
//! A caller's URL makes this server send a request from its own network. So a URL is
//! checked before anything is sent, the addresses of a name where the connection is
//! made, and every redirect like the first URL.

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
pub use target::{TargetPolicy, refuse_passed_url};

use crate::config;
use body::ContentKind;
use client::{HttpBody, HttpFetcher};
use farebox_pii::pdf::open::is_pdf;
use resolve::SystemResolver;

/// Time that a request waits for a permit.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(2);
/// Scheme of a PDF within the request.
const DATA_SCHEME: &str = "data:";

/// Attachment to fetch.
#[derive(Clone, PartialEq, Eq)]
pub enum FetchRequest {
    /// URL of a page or a PDF, to be read as text.
    Page(String),
    /// PDF to be read as text: a URL, a `data:` URL, or base64.
    Pdf(String),
    /// URL of a file whose bytes are returned as they are.
    File(String),
}

/// Omits the content: URLs may have tokens, and PDFs personal data.
impl fmt::Debug for FetchRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Page(_) => "Page",
            Self::Pdf(_) => "Pdf",
            Self::File(_) => "File",
        })
    }
}

/// Attachment that was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchedItem {
    Text(FetchedText),
    File(FetchedBytes),
}

/// Bytes of a file.
#[derive(Clone, PartialEq, Eq)]
pub struct FetchedBytes(pub Vec<u8>);

impl fmt::Debug for FetchedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FetchedBytes").field(&self.0.len()).finish()
    }
}

/// Text of a page or a PDF.
#[derive(Clone, PartialEq, Eq)]
pub struct FetchedText {
    /// URL without its query, or `PDF` if it was within the request.
    pub source: String,
    pub text: String,
}

impl fmt::Debug for FetchedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchedText").field("bytes", &self.text.len()).finish_non_exhaustive()
    }
}

/// Attachment that could not be fetched, by its index in the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchFailure {
    pub index: usize,
    pub error: FetchError,
}

/// Fetcher of attachments. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Fetcher {
    http: HttpFetcher,
    limits: config::FetchConfig,
    /// Permits for attachments.
    fetch_permits: Arc<Semaphore>,
    /// Permits for PDFs, which take processor time and memory.
    pdf_permits: Arc<Semaphore>,
}

impl Fetcher {
    /// Builds a fetcher with the resolver of the operating system.
    ///
    /// # Errors
    /// [`reqwest::Error`] if the system's TLS roots cannot be loaded.
    pub fn new(config: &config::FetchConfig) -> Result<Self, reqwest::Error> {
        Self::resolving(config, Arc::new(SystemResolver))
    }

    /// Builds a fetcher with another resolver, whose addresses are checked as well.
    ///
    /// # Errors
    /// [`reqwest::Error`] if the system's TLS roots cannot be loaded.
    pub fn resolving(
        config: &config::FetchConfig,
        resolver: Arc<dyn Resolve>,
    ) -> Result<Self, reqwest::Error> {
        let policy = TargetPolicy { ports: config.ports.clone(), networks: config.allow_networks.clone() };
        let connect = Duration::from_millis(config.connect_timeout_ms);
        Ok(Self {
            http: HttpFetcher::new(Arc::new(policy), resolver, connect, config.max_bytes)?,
            limits: config.clone(),
            fetch_permits: Arc::new(Semaphore::new(config.max_at_once)),
            pdf_permits: Arc::new(Semaphore::new(config.max_pdfs_at_once)),
        })
    }

    /// Fetches all attachments of one request concurrently. Dropping the future ends it.
    ///
    /// # Errors
    /// [`FetchFailure`] for the first attachment that cannot be fetched.
    pub async fn read(&self, requests: &[FetchRequest]) -> Result<Vec<FetchedItem>, FetchFailure> {
        let permits_needed = u32::try_from(requests.len()).unwrap_or(u32::MAX);
        let permits =
            tokio::time::timeout(QUEUE_TIMEOUT, self.fetch_permits.acquire_many(permits_needed)).await;
        let Ok(Ok(_permits)) = permits else {
            return Err(FetchFailure { index: 0, error: counted(FetchError::Busy) });
        };
        let deadline = Instant::now() + Duration::from_millis(self.limits.total_timeout_ms);
        let each = requests.iter().enumerate().map(|(index, request)| async move {
            let read = timeout_at(deadline.into(), self.read_one(request, deadline)).await;
            let read = read.unwrap_or(Err(FetchError::Slow)).map_err(counted);
            read.inspect(|_| count("read")).map_err(|error| FetchFailure { index, error })
        });
        try_join_all(each).await
    }

    /// Fetches a JSON document of at most `max_bytes` bytes: by the URL as it is, without redirects.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn document(&self, url: &str, max_bytes: usize) -> Result<FetchedBytes, FetchError> {
        let permit = tokio::time::timeout(QUEUE_TIMEOUT, self.fetch_permits.acquire()).await;
        let Ok(Ok(_permit)) = permit else { return Err(counted(FetchError::Busy)) };
        let read = async {
            let fetched = self.http.document(&self.http.target(url)?, max_bytes).await?;
            if fetched.gzip { body::decompress(&fetched.body, max_bytes) } else { Ok(fetched.body) }
        };
        let limit = Duration::from_millis(self.limits.total_timeout_ms);
        let read = tokio::time::timeout(limit, read).await.unwrap_or(Err(FetchError::Slow));
        read.inspect(|_| count("read")).map(FetchedBytes).map_err(counted)
    }

    async fn read_one(&self, request: &FetchRequest, deadline: Instant) -> Result<FetchedItem, FetchError> {
        let text = match request {
            FetchRequest::File(url) => return self.file(url).await.map(FetchedItem::File),
            FetchRequest::Page(url) => self.fetch(url, false, deadline).await?,
            FetchRequest::Pdf(given) if begins(given, "http://") || begins(given, "https://") => {
                self.fetch(given, true, deadline).await?
            }
            FetchRequest::Pdf(given) => {
                let data = inline(given)?;
                if data.len() > self.limits.max_bytes {
                    return Err(FetchError::TooLarge(self.limits.max_bytes));
                }
                FetchedText { source: "PDF".to_owned(), text: self.pdf(data, deadline).await? }
            }
        };
        Ok(FetchedItem::Text(text))
    }

    async fn file(&self, url: &str) -> Result<FetchedBytes, FetchError> {
        let fetched = self.http.get(self.http.target(url)?).await?;
        self.decompressed(fetched.gzip, fetched.body).await.map(FetchedBytes)
    }

    async fn decompressed(&self, gzip: bool, body: Vec<u8>) -> Result<Vec<u8>, FetchError> {
        let max_bytes = self.limits.max_bytes;
        if gzip { blocking(move || body::decompress(&body, max_bytes)).await } else { Ok(body) }
    }

    async fn fetch(&self, url: &str, pdf: bool, deadline: Instant) -> Result<FetchedText, FetchError> {
        let url = self.http.target(url)?;
        let source = target::name(&url);
        let HttpBody { content_type, gzip, body } = self.http.get(url).await?;
        let kind =
            if pdf { ContentKind::Pdf } else { ContentKind::of(&content_type).ok_or(FetchError::Kind)? };
        let body = self.decompressed(gzip, body).await?;
        let text = match kind {
            ContentKind::Pdf => self.pdf(body, deadline).await?,
            ContentKind::Binary if is_pdf(&body) => self.pdf(body, deadline).await?,
            ContentKind::Binary => return Err(FetchError::Kind),
            ContentKind::Html | ContentKind::Plain => {
                blocking(move || Ok(body::text(&body, &content_type, kind))).await?
            }
        };
        if text.len() > self.limits.max_text_bytes {
            return Err(FetchError::TooLong(self.limits.max_text_bytes));
        }
        if text.trim().is_empty() { Err(FetchError::Empty) } else { Ok(FetchedText { source, text }) }
    }

    async fn pdf(&self, data: Vec<u8>, deadline: Instant) -> Result<String, FetchError> {
        let soon = deadline.checked_sub(QUEUE_TIMEOUT / 2).unwrap_or(deadline);
        let permit = timeout_at(soon.into(), Arc::clone(&self.pdf_permits).acquire_owned()).await;
        let Ok(Ok(permit)) = permit else { return Err(FetchError::Busy) };
        let limits = pdf::PdfTextLimits {
            pages: self.limits.max_pdf_pages,
            text_bytes: self.limits.max_text_bytes,
            deadline,
        };
        let text = blocking(move || {
            // Held until the file is freed, also when nobody waits any more.
            let _permit = permit;
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

/// Decodes a PDF within the request: a `data:` URL or base64.
fn inline(given: &str) -> Result<Vec<u8>, FetchError> {
    let given = given.trim();
    let encoded = if begins(given, DATA_SCHEME) {
        let (head, encoded) = given.split_once(',').ok_or(FetchError::NotBase64)?;
        let head = head.to_ascii_lowercase();
        let kind = head.get(DATA_SCHEME.len()..).and_then(|head| head.split(';').next()).unwrap_or_default();
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
        let wanted =
            [FetchRequest::Page("https://example.com/?secret".into()), FetchRequest::Pdf("secret".into())];
        let text = FetchedText { source: "secret".into(), text: "secret".into() };
        assert!(!format!("{wanted:?} {text:?}").contains("secret"));
    }
}
