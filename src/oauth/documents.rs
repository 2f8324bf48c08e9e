//! Finding a client by its `client_id`; Client ID Metadata Documents are fetched within the limits of attachments, and
//! stricter ones of their own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Oauth;
use super::client::{MetadataError, OauthClient, document_url};
use super::store::{self, OauthStoreError};
use crate::fetch::FetchError;
use crate::id::Timestamp;

/// Largest document, in bytes (draft-ietf-oauth-client-id-metadata-document, section 6.6).
const MAX_DOCUMENT_BYTES: usize = 5 << 10;
/// Time for which a document is not fetched again, in milliseconds.
const CACHED_MS: i64 = 300_000;
/// Number of cached documents at which the cache is emptied.
const MAX_CACHED: usize = 1_000;

/// Documents that were fetched a moment ago.
#[derive(Debug, Clone, Default)]
pub(super) struct DocumentCache(Arc<Mutex<HashMap<String, (OauthClient, Timestamp)>>>);

impl DocumentCache {
    fn get(&self, client_id: &str, now: Timestamp) -> Option<OauthClient> {
        let cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (client, read_at) = cache.get(client_id)?;
        let age = now.checked_millis_since(*read_at)?;
        (0..CACHED_MS).contains(&age).then(|| client.clone())
    }

    fn insert(&self, client: OauthClient, now: Timestamp) {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= MAX_CACHED {
            cache.clear();
        }
        cache.insert(client.client_id.clone(), (client, now));
    }
}

/// Reason that a `client_id` is nobody's.
#[derive(Debug, thiserror::Error)]
pub enum UnknownClient {
    /// Neither registered here nor the URL of a document that this server reads.
    #[error("this client is not known here")]
    Unknown,
    #[error("the document at the client_id {0}")]
    Fetch(FetchError),
    #[error("the document at the client_id cannot be used: {0}")]
    Metadata(#[from] MetadataError),
    /// Too many documents were asked for; seconds to wait.
    #[error("too many documents of clients were asked for from this address; try again in {0} s")]
    RateLimited(u32),
    #[error(transparent)]
    Store(#[from] OauthStoreError),
}

impl Oauth {
    /// Returns the client of a `client_id`. `may_fetch` says if this caller may make the server fetch a document now, and
    /// otherwise how many seconds to wait.
    ///
    /// # Errors
    /// [`UnknownClient`].
    pub async fn client(
        &self,
        client_id: &str,
        now: Timestamp,
        may_fetch: impl FnOnce() -> Result<(), u32>,
    ) -> Result<OauthClient, UnknownClient> {
        if let Some(client) = self.pinned.get(client_id) {
            return Ok(client.clone());
        }
        if let Some(client) = OauthClient::registered(&self.sealer, client_id, &self.schemes) {
            return Ok(client);
        }
        let document = document_url(client_id).filter(|_| self.fetches);
        let Some(url) = document else {
            // Registered under a secret that was rotated away, or published when documents were still fetched.
            let stored = store::client(&self.db, client_id, &self.schemes).await?;
            return stored.ok_or(UnknownClient::Unknown);
        };
        if let Some(client) = self.documents.get(client_id, now) {
            return Ok(client);
        }
        may_fetch().map_err(UnknownClient::RateLimited)?;
        let document =
            self.fetcher.document(client_id, MAX_DOCUMENT_BYTES).await.map_err(UnknownClient::Fetch)?;
        let client = OauthClient::of_document(&url, &document.0, &self.schemes)?;
        self.documents.insert(client.clone(), now);
        Ok(client)
    }
}
