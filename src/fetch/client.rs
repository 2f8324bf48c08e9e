//! HTTP client for URLs of untrusted callers: permitted hosts only, within limits.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::dns::Resolve;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, LOCATION,
};
use reqwest::redirect::Policy as Redirects;
use reqwest::{Client, Response};
use url::Url;

use super::error::FetchError;
use super::resolve::{NoPublicAddress, PublicResolver};
use super::target::TargetPolicy;

/// Most redirects that are followed.
const MAX_REDIRECTS: usize = 3;
/// `Accept` header of a request.
const ACCEPTED_TYPES: &str =
    "text/html, text/*;q=0.9, application/json;q=0.9, application/xml;q=0.9, application/pdf;q=0.9";

/// Client that fetches from permitted hosts only.
#[derive(Debug, Clone)]
pub(super) struct HttpFetcher {
    client: Client,
    policy: Arc<TargetPolicy>,
    max_bytes: usize,
}

/// Body of a response as it was sent, and its headers.
#[derive(Debug)]
pub(super) struct HttpBody {
    pub(super) content_type: String,
    pub(super) gzip: bool,
    pub(super) body: Vec<u8>,
}

impl HttpFetcher {
    pub(super) fn new(
        policy: Arc<TargetPolicy>,
        inner: Arc<dyn Resolve>,
        connect_timeout: Duration,
        max_bytes: usize,
    ) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            // Followed here, so that every hop is checked.
            .redirect(Redirects::none())
            .dns_resolver(PublicResolver { inner, policy: Arc::clone(&policy) })
            .connect_timeout(connect_timeout)
            // A connection serves one request, so that callers share none.
            .pool_max_idle_per_host(0)
            .http1_only()
            // Decompressed here, where the bytes are counted.
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd()
            // A proxy would connect to addresses that were never checked.
            .no_proxy()
            .referer(false)
            .user_agent(concat!("farebox/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, policy, max_bytes })
    }

    /// Reads and checks a URL of a request.
    pub(super) fn target(&self, text: &str) -> Result<Url, FetchError> {
        self.policy.target(text)
    }

    /// Fetches a JSON document at a checked URL, without following a redirect.
    pub(super) async fn document(&self, url: &Url, max_bytes: usize) -> Result<HttpBody, FetchError> {
        let response = self.hop(url).await?;
        match response.status().as_u16() {
            200 => {}
            status => return Err(FetchError::Status(status)),
        }
        let kind = text(response.headers(), CONTENT_TYPE).unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if essence != "application/json"
            && !(essence.starts_with("application/") && essence.ends_with("+json"))
        {
            return Err(FetchError::Kind);
        }
        self.body(response, max_bytes).await
    }

    /// Fetches the body at a checked URL, following redirects.
    pub(super) async fn get(&self, url: Url) -> Result<HttpBody, FetchError> {
        let mut url = url;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.hop(&url).await?;
            match response.status().as_u16() {
                301 | 302 | 303 | 307 | 308 => {
                    let location = text(response.headers(), LOCATION).ok_or(FetchError::Redirected)?;
                    url = self.policy.redirect(&url, location)?;
                }
                200 => return self.body(response, self.max_bytes).await,
                status => return Err(FetchError::Status(status)),
            }
        }
        Err(FetchError::Redirects(MAX_REDIRECTS))
    }

    async fn hop(&self, url: &Url) -> Result<Response, FetchError> {
        let request =
            self.client.get(url.clone()).header(ACCEPT, ACCEPTED_TYPES).header(ACCEPT_ENCODING, "gzip");
        request.send().await.map_err(|error| {
            let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
            while let Some(error) = cause {
                if error.is::<NoPublicAddress>() {
                    return FetchError::NotPublic;
                }
                cause = error.source();
            }
            FetchError::Unreachable
        })
    }

    async fn body(&self, response: Response, max_bytes: usize) -> Result<HttpBody, FetchError> {
        let headers = response.headers();
        let content_type = text(headers, CONTENT_TYPE).unwrap_or_default().to_owned();
        let gzip = match text(headers, CONTENT_ENCODING).map(str::to_ascii_lowercase).as_deref() {
            None | Some("identity" | "") => false,
            Some("gzip" | "x-gzip") => true,
            Some(_) => return Err(FetchError::Compression),
        };
        // A declared length that is too high is enough to refuse the body unread.
        if response.content_length().is_some_and(|length| length > max_bytes as u64) {
            return Err(FetchError::TooLarge(max_bytes));
        }
        let mut body = Vec::new();
        let mut pieces = response.bytes_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|_| FetchError::Interrupted)?;
            if body.len() + piece.len() > max_bytes {
                return Err(FetchError::TooLarge(max_bytes));
            }
            body.extend_from_slice(&piece);
        }
        Ok(HttpBody { content_type, gzip, body })
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
