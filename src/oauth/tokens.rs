//! Token endpoint: codes and refresh tokens become tokens, each in one transaction; revocation (RFC 7009).

use super::client::stored_id;
use super::pkce::CodeChallenge;
use super::scope::Scopes;
use super::store::{self, OauthStoreError, PresentedGrant};
use super::token::{ACCESS_TTL_MS, MintedToken, OauthTokenKind, Rotation, TokenHash};
use super::{Oauth, ResourceServer};
use crate::config::Secret;
use crate::db::Tx;
use crate::id::Timestamp;
use crate::keys::{self, KeyId};
use crate::limits::RateLimited;

/// Tokens that a client gets.
#[derive(Debug)]
pub struct TokenSet {
    pub access: Secret,
    pub refresh: Secret,
    /// Seconds for which the access token lives.
    pub expires_in: i64,
    pub scopes: Scopes,
}

/// Reason that a client gets no tokens.
#[derive(Debug, thiserror::Error)]
pub enum TokenRefused {
    /// Unknown, expired, of another client, used, or of a grant that ended: clients cannot tell which.
    #[error("the {0} does not count (any more); authorize again")]
    Grant(&'static str),
    #[error("resource is not the one that was granted")]
    Target,
    #[error("scope asks for more than was granted; authorize again to be granted more")]
    Scope,
    #[error("too many tokens were given for this grant in a minute; use those that there are")]
    TooOften(RateLimited),
    #[error(transparent)]
    Store(#[from] OauthStoreError),
}

const CODE: TokenRefused = TokenRefused::Grant("code");
const REFRESH: TokenRefused = TokenRefused::Grant("refresh token");

/// Request to exchange a code.
#[derive(Debug)]
pub struct CodeExchange<'a> {
    pub code: &'a str,
    pub client_id: &'a str,
    /// Checked where it is sent: OAuth 2.1 has PKCE in its place.
    pub redirect_uri: Option<&'a str>,
    pub code_verifier: &'a str,
    pub resource: &'a [String],
}

/// Request to exchange a refresh token.
#[derive(Debug)]
pub struct Refresh<'a> {
    pub token: &'a str,
    pub client_id: &'a str,
    pub scope: Option<&'a str>,
    pub resource: &'a [String],
}

/// Outcome of a transaction at the token endpoint.
enum Exchange {
    Done(TokenSet),
    Refused(TokenRefused),
    /// The family ended with it: what was presented had been used before.
    Reused {
        key: KeyId,
        ended: Ended,
        reason: TokenRefused,
    },
}

/// Extent to which access ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// One family of a grant that has others.
    Family,
    /// The last family, and with it the grant.
    Grant,
}

impl Oauth {
    /// Exchanges a code, once. A code that comes again, from the client that it was given to, ends its family.
    ///
    /// # Errors
    /// [`TokenRefused`].
    pub async fn exchange(
        &self,
        exchange: &CodeExchange<'_>,
        now: Timestamp,
    ) -> Result<TokenSet, TokenRefused> {
        let hash = &TokenHash::read(OauthTokenKind::Code, exchange.code).ok_or(CODE)?;
        let (access, refresh) =
            (&MintedToken::random(OauthTokenKind::Access), &MintedToken::random(OauthTokenKind::Refresh));
        let done = self.db.transaction(|mut tx| async move {
            let outcome = self.exchange_in(&mut tx, exchange, hash, (access, refresh), now).await?;
            Ok::<_, OauthStoreError>((tx, outcome))
        });
        self.finish(done.await?)
    }

    async fn exchange_in(
        &self,
        tx: &mut Tx,
        exchange: &CodeExchange<'_>,
        hash: &TokenHash,
        (access, refresh): (&MintedToken, &MintedToken),
        now: Timestamp,
    ) -> Result<Exchange, OauthStoreError> {
        let refused = |reason| Ok(Exchange::Refused(reason));
        let Some(code) = store::code(tx, hash, now).await? else { return refused(CODE) };
        let grant = &code.grant;
        if grant.client != stored_id(exchange.client_id) {
            return refused(CODE);
        }
        // Before all else: whoever finds a used code in a log ends nothing with it.
        let is_of_verifier = CodeChallenge::parse(&code.challenge)
            .is_some_and(|challenge| challenge.is_of(exchange.code_verifier));
        let is_for_redirect = exchange.redirect_uri.is_none_or(|uri| uri == code.redirect_uri);
        if !grant.is_active || !is_of_verifier || !is_for_redirect {
            return refused(CODE);
        }
        if grant.used_at.is_some() {
            return reused(tx, grant, hash.as_str(), CODE, now).await;
        }
        if now >= code.expires_at {
            return refused(CODE);
        }
        if !is_granted(&self.resource, grant, exchange.resource) {
            return refused(TokenRefused::Target);
        }
        store::use_code(tx, hash, now).await?;
        store::put_refresh_token(tx, &refresh.hash, &grant.key, hash.as_str(), now).await?;
        store::put_access_token(tx, &access.hash, &grant.key, hash.as_str(), None, now).await?;
        Ok(Exchange::Done(tokens(grant, access, refresh, grant.scopes.clone(), now)))
    }

    /// Exchanges a refresh token for its successor, and again for the same one while that is unused. Once it was used, the
    /// token gets the newest of its chain for a minute; one that comes later ends its family.
    ///
    /// # Errors
    /// [`TokenRefused`].
    pub async fn refresh(&self, refresh: &Refresh<'_>, now: Timestamp) -> Result<TokenSet, TokenRefused> {
        let hash = &TokenHash::read(OauthTokenKind::Refresh, refresh.token).ok_or(REFRESH)?;
        let access = &MintedToken::random(OauthTokenKind::Access);
        let done = self.db.transaction(|mut tx| async move {
            let outcome = self.refresh_in(&mut tx, refresh, hash, access, now).await?;
            Ok::<_, OauthStoreError>((tx, outcome))
        });
        self.finish(done.await?)
    }

    async fn refresh_in(
        &self,
        tx: &mut Tx,
        refresh: &Refresh<'_>,
        hash: &TokenHash,
        access: &MintedToken,
        now: Timestamp,
    ) -> Result<Exchange, OauthStoreError> {
        let refused = |reason| Ok(Exchange::Refused(reason));
        let Some(presented) = store::refresh_token(tx, hash, now).await? else { return refused(REFRESH) };
        let (grant, family) = (&presented.grant, &presented.family);
        if grant.client != stored_id(refresh.client_id) || !grant.is_active {
            return refused(REFRESH);
        }
        let rotation = Rotation::of(grant.used_at, now);
        let successor = match rotation {
            Rotation::First => MintedToken::successors(&self.sealer, refresh.token).next(),
            Rotation::Retry | Rotation::Late => self.unused_after(tx, refresh.token, rotation).await?,
        };
        let Some(successor) = successor else {
            return match rotation {
                Rotation::Late => reused(tx, grant, family, REFRESH, now).await,
                Rotation::First | Rotation::Retry => refused(REFRESH),
            };
        };
        if !is_granted(&self.resource, grant, refresh.resource) {
            return refused(TokenRefused::Target);
        }
        if let Err(limited) = self.given.take(grant.key.clone(), now) {
            return refused(TokenRefused::TooOften(limited));
        }
        // All of the grant unless the client asks for less, also when the grant was raised meanwhile.
        let narrowed = match refresh.scope.map(|scope| Scopes::requested(Some(scope))) {
            None => None,
            Some(Some(scopes)) if scopes.is_within(&grant.scopes) => Some(scopes),
            Some(_) => return refused(TokenRefused::Scope),
        };
        if rotation == Rotation::First {
            store::use_refresh_token(tx, hash, now).await?;
            store::put_refresh_token(tx, &successor.hash, &grant.key, family, now).await?;
        }
        store::put_access_token(tx, &access.hash, &grant.key, family, narrowed.as_ref(), now).await?;
        let scopes = narrowed.unwrap_or_else(|| grant.scopes.clone());
        Ok(Exchange::Done(tokens(grant, access, &successor, scopes, now)))
    }

    /// Finds the unused token that a used one led to: its successor, or for a retry the end of its chain. `None` if there is
    /// none, or it follows from a secret that was rotated away.
    async fn unused_after(
        &self,
        tx: &mut Tx,
        used: &str,
        rotation: Rotation,
    ) -> Result<Option<MintedToken>, OauthStoreError> {
        let mut last = Secret::from(used);
        loop {
            let mut following = None;
            for successor in MintedToken::successors(&self.sealer, last.expose()) {
                if let Some(is_used) = store::is_used(tx, &successor.hash).await? {
                    following = Some((successor, is_used));
                    break;
                }
            }
            match following {
                Some((successor, false)) => return Ok(Some(successor)),
                Some((successor, true)) if rotation == Rotation::Retry => last = successor.text,
                Some(_) | None => return Ok(None),
            }
        }
    }

    /// Revokes a token of a client: an access token alone, with a refresh token its whole family, and with the last family
    /// the grant. A token that is unknown, or another client's, changes nothing.
    ///
    /// # Errors
    /// [`OauthStoreError`] if the database fails.
    pub async fn revoke_token(
        &self,
        token: &str,
        client_id: &str,
        now: Timestamp,
    ) -> Result<(), OauthStoreError> {
        let access = &TokenHash::read(OauthTokenKind::Access, token);
        let refresh = &TokenHash::read(OauthTokenKind::Refresh, token);
        let ended = self.db.transaction(|mut tx| async move {
            if let Some(hash) = access {
                store::delete_access_token(&mut tx, hash, client_id).await?;
            }
            let mut ended = None;
            if let Some(hash) = refresh
                && let Some(found) = store::refresh_token(&mut tx, hash, now).await?
                && found.grant.client == stored_id(client_id)
                && end_family(&mut tx, &found.grant, &found.family, now).await? == Ended::Grant
            {
                ended = Some(found.grant.key);
            }
            Ok::<_, OauthStoreError>((tx, ended))
        });
        if let Some(key) = ended.await? {
            self.keys.cancel_requests(&key);
        }
        Ok(())
    }

    fn finish(&self, outcome: Exchange) -> Result<TokenSet, TokenRefused> {
        match outcome {
            Exchange::Done(tokens) => Ok(tokens),
            Exchange::Refused(reason) => Err(reason),
            Exchange::Reused { key, ended, reason } => {
                if ended == Ended::Grant {
                    self.keys.cancel_requests(&key);
                }
                tracing::warn!(%key, ?ended, "a code or refresh token was used again");
                metrics::counter!("farebox_oauth_reuse_total").increment(1);
                Err(reason)
            }
        }
    }
}

/// Ends a family, because what was presented had been used before.
async fn reused(
    tx: &mut Tx,
    grant: &PresentedGrant,
    family: &str,
    reason: TokenRefused,
    now: Timestamp,
) -> Result<Exchange, OauthStoreError> {
    let ended = end_family(tx, grant, family, now).await?;
    Ok(Exchange::Reused { key: grant.key.clone(), ended, reason })
}

/// Ends a family, and with the last one the grant: nobody could use it.
async fn end_family(
    tx: &mut Tx,
    grant: &PresentedGrant,
    family: &str,
    now: Timestamp,
) -> Result<Ended, OauthStoreError> {
    if store::delete_family(tx, &grant.key, family, now).await? {
        return Ok(Ended::Family);
    }
    keys::revoke(tx, &grant.owner, &grant.key, now).await?;
    Ok(Ended::Grant)
}

/// Returns true if a request's resources are what was granted, which still is the resource of this server.
fn is_granted(own: &ResourceServer, grant: &PresentedGrant, named: &[String]) -> bool {
    grant.resource == own.as_str() && named.iter().all(|named| own.is_named_by(named))
}

fn tokens(
    grant: &PresentedGrant,
    access: &MintedToken,
    refresh: &MintedToken,
    scopes: Scopes,
    now: Timestamp,
) -> TokenSet {
    let left = grant.ends_at.and_then(|ends_at| ends_at.checked_millis_since(now)).unwrap_or(i64::MAX);
    TokenSet {
        access: access.text.clone(),
        refresh: refresh.text.clone(),
        expires_in: left.min(ACCESS_TTL_MS) / 1000,
        scopes,
    }
}
