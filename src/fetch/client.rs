//! One GET, as careful as if whoever asked for it meant harm.

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
use super::resolve::{Guarded, NoAddress};
use super::target::Policy;

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 3;
const WANTED: &str =
    "text/html, text/*;q=0.9, application/json;q=0.9, application/xml;q=0.9, application/pdf;q=0.9";

/// Fetches from public hosts only.
#[derive(Debug, Clone)]
pub(super) struct Getter {
    client: Client,
    policy: Arc<Policy>,
    most: usize,
}

/// What came, as it came.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) content_type: String,
    pub(super) gzip: bool,
    pub(super) body: Vec<u8>,
}

impl Getter {
    pub(super) fn new(
        policy: Arc<Policy>,
        inner: Arc<dyn Resolve>,
        connect_timeout: Duration,
        most: usize,
    ) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            // By hand, so that every hop is checked.
            .redirect(Redirects::none())
            .dns_resolver(Guarded { inner, policy: Arc::clone(&policy) })
            .connect_timeout(connect_timeout)
            // A connection serves one request: who fetches what is not shared.
            .pool_max_idle_per_host(0)
            .http1_only()
            // Unpacked here, where it can be counted.
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd()
            // A proxy would connect to what was never checked.
            .no_proxy()
            .referer(false)
            .user_agent(concat!("farebox/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, policy, most })
    }

    /// Reads a URL of a request.
    pub(super) fn target(&self, text: &str) -> Result<Url, FetchError> {
        self.policy.target(text)
    }

    /// The body at a URL that was checked, or where that redirects to.
    pub(super) async fn get(&self, url: Url) -> Result<Fetched, FetchError> {
        let mut url = url;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.hop(&url).await?;
            match response.status().as_u16() {
                301 | 302 | 303 | 307 | 308 => {
                    let location = text(response.headers(), LOCATION).ok_or(FetchError::Redirected)?;
                    url = self.policy.redirect(&url, location)?;
                }
                200 => return self.body(response).await,
                status => return Err(FetchError::Status(status)),
            }
        }
        Err(FetchError::Redirects(MAX_REDIRECTS))
    }

    async fn hop(&self, url: &Url) -> Result<Response, FetchError> {
        let request = self.client.get(url.clone()).header(ACCEPT, WANTED).header(ACCEPT_ENCODING, "gzip");
        request.send().await.map_err(|error| {
            let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
            while let Some(error) = cause {
                if error.is::<NoAddress>() {
                    return FetchError::NotPublic;
                }
                cause = error.source();
            }
            FetchError::Unreachable
        })
    }

    async fn body(&self, response: Response) -> Result<Fetched, FetchError> {
        let headers = response.headers();
        let content_type = text(headers, CONTENT_TYPE).unwrap_or_default().to_owned();
        let gzip = match text(headers, CONTENT_ENCODING).map(str::to_ascii_lowercase).as_deref() {
            None | Some("identity" | "") => false,
            Some("gzip" | "x-gzip") => true,
            Some(_) => return Err(FetchError::Compression),
        };
        // A length that is too high is believed; nothing more is read.
        if response.content_length().is_some_and(|length| length > self.most as u64) {
            return Err(FetchError::TooLarge(self.most));
        }
        let mut body = Vec::new();
        let mut pieces = response.bytes_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|_| FetchError::Interrupted)?;
            if body.len() + piece.len() > self.most {
                return Err(FetchError::TooLarge(self.most));
            }
            body.extend_from_slice(&piece);
        }
        Ok(Fetched { content_type, gzip, body })
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
