//! OAuth 2.1 authorization server of the MCP server.
//!
//! ```text
//! client      who asks: a registration, sealed in its client_id, or a document (client, documents)
//! request     what is asked: checked and sealed, nothing is written (request, redirect, pkce, scope, resource)
//! consent     what a wallet signs: the digest of request and terms (consent)
//! grant       an API key whose secret nobody holds, and a code: one transaction with the signature's nonce (grants)
//! tokens      codes and refresh tokens become tokens, once (tokens, token)
//! ```
//!
//! A grant is named by its key. Limits, spending, expiry and revocation are the key's; nothing is counted or ended twice.

pub mod client;
pub mod consent;
mod documents;
mod grants;
pub mod pkce;
pub mod redirect;
pub mod request;
pub mod resource;
pub mod scope;
pub mod store;
mod token;
mod tokens;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::{Config, ConfigError, PinnedClient};
use crate::db::Db;
use crate::fetch::Fetcher;
use crate::id::Timestamp;
use crate::keys::{Key, KeyId, KeyRejection, Keys};
use crate::limits::{Buckets, Rate};

use crate::seal::Sealer;
use client::{ClientMetadata, ClientOrigin, OauthClient};
use documents::DocumentCache;
pub use documents::UnknownClient;
pub use grants::{Consent, GrantError};
pub use redirect::{RedirectKind, RedirectUri};
pub use request::{AuthorizationRequest, RequestParameters, SealedRequest};
pub use resource::ResourceServer;
pub use scope::{Scope, Scopes};
pub use store::{Grant, OauthStoreError};
use token::{OauthTokenKind, TokenHash};
pub use tokens::{CodeExchange, Refresh, TokenRefused, TokenSet};

/// The authorization server. Clones share its caches.
#[derive(Clone)]
pub struct Oauth {
    db: Db,
    keys: Keys,
    fetcher: Fetcher,
    sealer: Sealer,
    /// Origin of this authorization server, which is its issuer identifier.
    issuer: Arc<str>,
    resource: ResourceServer,
    /// Schemes of applications that may be redirected to.
    schemes: Arc<[String]>,
    /// Clients of the configuration, by their `client_id`.
    pinned: Arc<BTreeMap<String, OauthClient>>,
    documents: DocumentCache,
    /// Limiter of tokens that are given, by grant.
    given: Arc<Buckets<KeyId>>,
    /// True if documents of clients are fetched.
    fetches: bool,
}

/// Proof that an access token counts, and what it may do.
#[derive(Debug, Clone)]
pub struct Access {
    /// Key of the grant.
    pub key: Key,
    pub grant: Grant,
    /// Scopes of the grant, as far as the client did not narrow the token.
    pub scopes: Scopes,
}

/// Reason that an access token is refused.
#[derive(Debug, thiserror::Error)]
pub enum AccessRefused {
    /// Another form, unknown, expired, for another resource, or of a grant that ended: clients cannot tell which.
    #[error("the access token is not valid, or not any more")]
    Invalid,
    #[error(transparent)]
    Store(#[from] OauthStoreError),
}

/// Returns the clients that a configuration names, by their `client_id`.
///
/// # Errors
/// [`ConfigError`] if one has a redirect URI that cannot be used.
pub fn pinned_clients(config: &Config) -> Result<BTreeMap<String, OauthClient>, ConfigError> {
    let read = |(client_id, client): (&String, &PinnedClient)| {
        let metadata = ClientMetadata {
            client_name: Some(client.name.clone()),
            redirect_uris: client.redirect_uris.clone(),
            ..ClientMetadata::default()
        };
        let read = OauthClient::published(client_id, &metadata, &config.mcp.redirect_schemes);
        let read = read.map(|client| OauthClient { origin: ClientOrigin::Pinned, ..client });
        let key = format!("mcp.clients.\"{client_id}\"");
        let read = read.map_err(|error| ConfigError::Invalid { key, why: error.to_string() })?;
        Ok((client_id.clone(), read))
    };
    config.mcp.clients.iter().map(read).collect()
}

impl Oauth {
    /// Makes the server of a configuration.
    ///
    /// # Errors
    /// [`ConfigError`] if a client of the configuration has a redirect URI that cannot be used.
    pub fn new(config: &Config, db: Db, keys: Keys, fetcher: Fetcher) -> Result<Self, ConfigError> {
        Ok(Self {
            db,
            keys,
            fetcher,
            sealer: Sealer::new(&config.payments.secret, config.payments.previous_secret.as_ref()),
            issuer: config.server.public_url.as_str().into(),
            resource: ResourceServer::new(config.mcp_url()),
            schemes: config.mcp.redirect_schemes.clone().into(),
            pinned: Arc::new(pinned_clients(config)?),
            documents: DocumentCache::default(),
            given: Arc::new(Buckets::new(Rate::per_minute(config.mcp.token_rpm))),
            fetches: config.mcp.fetch_clients && config.fetch.enabled,
        })
    }

    /// Returns the issuer identifier (RFC 8414).
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns the resource that tokens are for.
    #[must_use]
    pub fn resource(&self) -> &ResourceServer {
        &self.resource
    }

    /// Returns true if a `client_id` may be the URL of a document: there are some that this server knows, or it fetches them.
    #[must_use]
    pub fn reads_documents(&self) -> bool {
        self.fetches || !self.pinned.is_empty()
    }

    /// Registers a client (RFC 7591). Nothing is written: the registration is in its `client_id`.
    ///
    /// # Errors
    /// [`client::MetadataError`].
    pub fn register(
        &self,
        metadata: &ClientMetadata,
        nonce: &str,
        now: Timestamp,
    ) -> Result<OauthClient, client::MetadataError> {
        OauthClient::register(&self.sealer, metadata, &self.schemes, nonce, now)
    }

    /// Checks an access token of a request.
    ///
    /// # Errors
    /// [`AccessRefused`].
    pub async fn authenticate(&self, text: &str, now: Timestamp) -> Result<Access, AccessRefused> {
        let hash = TokenHash::read(OauthTokenKind::Access, text).ok_or(AccessRefused::Invalid)?;
        let found = store::access_token(&self.db, &hash).await?.ok_or(AccessRefused::Invalid)?;
        if now >= found.expires_at || found.grant.resource != self.resource.as_str() {
            return Err(AccessRefused::Invalid);
        }
        let key = self.keys.of_grant(&found.grant.key, now).await.map_err(|refused| match refused {
            KeyRejection::Unavailable(error) => AccessRefused::Store(error.into()),
            KeyRejection::Missing
            | KeyRejection::Invalid
            | KeyRejection::Inactive
            | KeyRejection::Unverified => AccessRefused::Invalid,
        })?;
        Ok(Access { key, grant: found.grant, scopes: found.scopes })
    }

    /// Returns the living grants of a wallet.
    ///
    /// # Errors
    /// [`OauthStoreError`] if the database fails.
    pub async fn grants(&self, owner: &str, now: Timestamp) -> Result<Vec<Grant>, OauthStoreError> {
        store::grants(&self.db, owner, now).await
    }

    /// Returns one grant of a wallet, living or not.
    ///
    /// # Errors
    /// [`OauthStoreError`] if the database fails.
    pub async fn find_grant(&self, owner: &str, key: &KeyId) -> Result<Option<Grant>, OauthStoreError> {
        store::find_grant(&self.db, owner, key).await
    }

    /// Deletes expired tokens and codes, and clients that nobody lets in any more; returns the number of rows.
    ///
    /// # Errors
    /// [`OauthStoreError`] if the database fails.
    pub async fn forget_ended(&self, now: Timestamp) -> Result<u64, OauthStoreError> {
        store::forget_ended(&self.db, now).await
    }
}
