//! Granting: what a wallet signed becomes a key, a grant and a code, in the transaction that consumes the signature.

use super::Oauth;
use super::client::OauthClient;
use super::consent::{self, GrantTerms};
use super::redirect::RedirectUri;
use super::request::{AuthorizationRequest, SealedRequest};
use super::store::{self, NewCode, OauthStoreError};
use super::token::{MintedToken, OauthTokenKind};
use crate::config::Secret;
use crate::db::{DbError, Tx, TxError};
use crate::id::{AccountId, Timestamp};
use crate::keys::{self, KeyChanges, KeyExpiry, KeyId, KeysError, NewKey};
use crate::ledger;

/// Consent of a wallet, after its signature was verified.
#[derive(Debug, Clone, Copy)]
pub struct Consent<'a> {
    pub request: &'a AuthorizationRequest,
    pub terms: &'a GrantTerms,
    /// Account of the wallet, and its address in lower case.
    pub account: &'a AccountId,
    pub owner: &'a str,
}

/// A grant that was made or changed.
#[derive(Debug)]
pub struct Granted {
    pub key: KeyId,
    /// Text of the code.
    pub code: Secret,
}

/// Reason that a consent became no grant.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// The wallet has as many active keys as it can have.
    #[error("this wallet has {} active keys, the most it can have; revoke one first", keys::MAX_ACTIVE_KEYS)]
    TooManyKeys,
    #[error(transparent)]
    Store(#[from] OauthStoreError),
}

impl From<DbError> for GrantError {
    fn from(error: DbError) -> Self {
        Self::Store(error.into())
    }
}

impl From<KeysError> for GrantError {
    fn from(error: KeysError) -> Self {
        Self::Store(error.into())
    }
}

impl TxError for GrantError {
    fn db(&self) -> Option<&DbError> {
        match self {
            Self::TooManyKeys => None,
            Self::Store(error) => error.db(),
        }
    }
}

impl Oauth {
    /// Returns the redirect URI of a request, if the client has it. Left out, it is the client's only one.
    #[must_use]
    pub fn redirect(&self, client: &OauthClient, presented: Option<&str>) -> Option<RedirectUri> {
        match presented {
            Some(presented) => client.redirect(presented, &self.schemes),
            None => client.only_redirect(),
        }
    }

    /// Seals a request, for the page to send back with the signature.
    #[must_use]
    pub fn seal(&self, request: &AuthorizationRequest, now: Timestamp) -> String {
        SealedRequest::seal(&self.sealer, request, now)
    }

    /// Opens a request; `None` if this server did not seal it, or too long ago.
    #[must_use]
    pub fn open(&self, sealed: &str, now: Timestamp) -> Option<SealedRequest> {
        SealedRequest::open(&self.sealer, sealed, now)
    }

    /// Returns the request of its client, which may have changed its redirect URIs meanwhile.
    #[must_use]
    pub fn request_of(&self, sealed: SealedRequest, client: OauthClient) -> Option<AuthorizationRequest> {
        sealed.of(client, &self.schemes)
    }

    /// Returns the summary and the digest of the terms that a wallet signs.
    #[must_use]
    pub fn signed_terms(&self, request: &AuthorizationRequest, terms: &GrantTerms) -> (String, String) {
        (consent::summary(request, terms), consent::digest(request, terms, &self.resource))
    }

    /// Grants what was signed. A living grant of the same wallet to the same client for the same resource is changed: its
    /// key and what was spent stay, its rights and limits are those of this consent.
    ///
    /// # Errors
    /// [`GrantError`]; nothing is granted then.
    pub async fn grant(
        &self,
        tx: &mut Tx,
        consent: Consent<'_>,
        now: Timestamp,
    ) -> Result<Granted, GrantError> {
        let Consent { request, terms, account, owner } = consent;
        let client_id = &request.client.client_id;
        let resource = self.resource.as_str();
        // Of two at once for one client the second waits here.
        store::put_client(tx, &request.client, now).await?;
        let name = request.client.display_name();
        let key = match store::living_grant(tx, owner, client_id, resource, now).await? {
            Some(key) => {
                let changes = KeyChanges {
                    name: Some(&name),
                    limits: Some(&terms.limits),
                    expiry: Some(KeyExpiry::At(terms.expires_at)),
                };
                keys::update(tx, owner, &key, &changes, now).await?;
                key
            }
            None => self.create_key(tx, account, owner, &name, terms, now).await?,
        };
        store::put_grant(tx, &key, client_id, resource, &terms.scopes, now).await?;
        let code = MintedToken::random(OauthTokenKind::Code);
        let new = NewCode {
            hash: &code.hash,
            key: &key,
            redirect_uri: request.redirect_uri.as_str(),
            challenge: request.challenge.as_str(),
        };
        store::put_code(tx, &new, now).await?;
        Ok(Granted { key, code: code.text })
    }

    /// Creates a key whose secret is forgotten here and now.
    async fn create_key(
        &self,
        tx: &mut Tx,
        account: &AccountId,
        owner: &str,
        name: &str,
        terms: &GrantTerms,
        now: Timestamp,
    ) -> Result<KeyId, GrantError> {
        ledger::lock(tx, account).await.map_err(KeysError::from)?;
        if keys::count_active(tx, owner, now).await? >= keys::MAX_ACTIVE_KEYS {
            return Err(GrantError::TooManyKeys);
        }
        let keys::MintedKey { id, hash, text: _ } = self.keys.mint();
        let new = NewKey {
            id: &id,
            owner,
            name,
            limits: &terms.limits,
            expires_at: Some(terms.expires_at),
            hash: &hash,
        };
        keys::create(tx, &new, now).await?;
        Ok(id)
    }
}
