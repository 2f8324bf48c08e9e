//! `/api/v1/oauth/grants`: the OAuth clients that a wallet lets use its account.
//!
//! A grant is named by its key, so the key's limits, its end and its place in `/api/v1/keys` are the grant's.

use axum::extract::State as AppState;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::keys::{KeyLimitsView, LimitsBody, no_such_key};
use crate::http::State;
use crate::http::error::HttpError;
use crate::http::gates::wallet::{
    ActionError, List, Revoke, Update, WalletAuth, WalletSigned, answer, unavailable,
};
use crate::http::routes::oauth::terms::{grant_expiry, scopes};
use crate::id::{RequestId, Timestamp};
use crate::keys::{self, Key, KeyChanges, KeyExpiry, KeyId};
use crate::oauth::{Grant, store};

/// Living grants of a wallet, the latest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct GrantList {
    grants: Vec<GrantView>,
    #[schema(value_type = String)]
    request_id: RequestId,
}

/// A grant as its wallet sees it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrantView {
    /// Id of the grant, and of its key.
    id: String,
    client: GrantClient,
    resource: String,
    #[schema(value_type = Vec<String>)]
    scopes: Vec<&'static str>,
    /// active, revoked or expired.
    #[schema(value_type = String)]
    status: &'static str,
    /// Latest time at which the wallet signed for it.
    granted_at: String,
    last_used_at: Option<String>,
    expires_at: Option<String>,
    limits: KeyLimitsView,
    #[serde(rename = "request_id", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    request_id: Option<RequestId>,
}

/// Client of a grant.
#[derive(Debug, Serialize, ToSchema)]
pub struct GrantClient {
    id: String,
    /// Its own claim, unless its id is the URL of a document.
    name: String,
}

/// Changes of a grant; what is not given stays as it is.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrantChanges {
    /// All scopes of the grant from now on.
    #[schema(example = json!(["chat", "pii", "account:read"]))]
    scopes: Option<Vec<String>>,
    /// All limits of the grant from now on: `{}` is none.
    limits: Option<LimitsBody>,
    /// RFC 3339.
    expires_at: Option<String>,
}

impl GrantView {
    fn new(grant: Grant, key: Key, now: Timestamp) -> Self {
        let status = key.status(now);
        let rfc3339 = |time: Option<Timestamp>| time.map(Timestamp::to_rfc3339);
        Self {
            id: grant.key.to_string(),
            client: GrantClient { id: grant.client_id, name: grant.client_name },
            resource: grant.resource,
            scopes: grant.scopes.names(),
            status,
            granted_at: grant.granted_at.to_rfc3339(),
            last_used_at: rfc3339(key.last_used_at),
            expires_at: rfc3339(key.expires_at),
            limits: key.limits.into(),
            request_id: None,
        }
    }
}

/// List the OAuth clients that may use a wallet's account.
#[utoipa::path(get, path = "/api/v1/oauth/grants", operation_id = "list_grants", tag = "oauth",
    params(("walletAddress" = String, Query), ("message" = String, Query), ("signature" = String, Query)),
    security(("walletMessage" = [])),
    responses((status = 200, description = "`grants` that are active", body = GrantList),
        (status = 401, description = "missing_wallet_auth"), (status = 403, description = "The signature does not count")))]
pub async fn list(AppState(app): AppState<State>, signed: WalletSigned<List>) -> Result<Response, HttpError> {
    let (now, wallet) = (signed.at(), signed.wallet());
    signed.authorize_read(&app).await?;
    let found = app.oauth.grants(&wallet, now).await.map_err(|error| unavailable(&error))?;
    let mut grants = Vec::with_capacity(found.len());
    for grant in found {
        let key = app.keys.find(&wallet, &grant.key).await.map_err(|error| unavailable(&error))?;
        grants.extend(key.map(|key| GrantView::new(grant, key, now)));
    }
    Ok(answer(StatusCode::OK, &GrantList { grants, request_id: signed.request_id().clone() }))
}

/// List the OAuth clients that may use a wallet's account, with the signature in the body.
#[utoipa::path(post, path = "/api/v1/oauth/grants", operation_id = "list_grants_by_post", tag = "oauth", request_body = WalletAuth,
    security(("walletMessage" = [])),
    responses((status = 200, description = "`grants` that are active", body = GrantList),
        (status = 401, description = "missing_wallet_auth"), (status = 403, description = "The signature does not count")))]
pub async fn list_by_post(app: AppState<State>, signed: WalletSigned<List>) -> Result<Response, HttpError> {
    list(app, signed).await
}

/// End the access of an OAuth client.
///
/// Its key is revoked: its tokens open nothing from now on, and what runs with them ends within a second.
#[utoipa::path(delete, path = "/api/v1/oauth/grants/{keyId}", operation_id = "revoke_grant", tag = "oauth", params(("keyId" = String, Path)),
    request_body = WalletAuth,
    security(("walletMessage" = [])),
    responses((status = 200, description = "It is revoked", body = GrantView), (status = 401, description = "missing_wallet_auth"),
        (status = 403, description = "The signature does not count"), (status = 404, description = "No such grant of this wallet")))]
pub async fn revoke(
    AppState(app): AppState<State>,
    signed: WalletSigned<Revoke>,
) -> Result<Response, HttpError> {
    let (now, wallet) = (signed.at(), signed.wallet());
    let id = KeyId::parse(signed.key_id()).ok_or_else(no_such_grant)?;
    let (signed, owner, key) = (&signed, wallet.as_str(), &id);
    let revoked = app
        .db
        .transaction(|mut tx| async move {
            signed.consume(&mut tx).await?;
            let is_grant = store::is_grant(&mut tx, key).await?;
            let revoked = is_grant && keys::revoke(&mut tx, owner, key, now).await?;
            Ok::<_, ActionError>((tx, revoked))
        })
        .await?;
    if revoked {
        app.keys.cancel_requests(&id);
        tracing::info!(wallet = owner, key = %id, "OAuth grant revoked");
    }
    view(&app, signed, &id).await
}

/// End the access of an OAuth client, for clients whose DELETE has no body.
#[utoipa::path(post, path = "/api/v1/oauth/grants/{keyId}", operation_id = "revoke_grant_by_post", tag = "oauth", params(("keyId" = String, Path)),
    request_body = WalletAuth,
    security(("walletMessage" = [])),
    responses((status = 200, description = "It is revoked", body = GrantView), (status = 401, description = "missing_wallet_auth"),
        (status = 403, description = "The signature does not count"), (status = 404, description = "No such grant of this wallet")))]
pub async fn revoke_by_post(
    app: AppState<State>,
    signed: WalletSigned<Revoke>,
) -> Result<Response, HttpError> {
    revoke(app, signed).await
}

/// Change what an OAuth client may do, and spend.
///
/// The client needs no new login: its tokens have the new rights at once.
#[utoipa::path(patch, path = "/api/v1/oauth/grants/{keyId}", operation_id = "update_grant", tag = "oauth", params(("keyId" = String, Path)),
    request_body = GrantChanges,
    security(("walletMessage" = [])),
    responses((status = 200, description = "The grant as it is now", body = GrantView),
        (status = 400, description = "Scopes, limits or expiry cannot be used"), (status = 401, description = "missing_wallet_auth"),
        (status = 403, description = "The signature does not count"), (status = 404, description = "No such active grant of this wallet")))]
pub async fn update(
    AppState(app): AppState<State>,
    mut signed: WalletSigned<Update>,
) -> Result<Response, HttpError> {
    let (now, wallet) = (signed.at(), signed.wallet());
    let body: GrantChanges = signed.read()?;
    let limits = body.limits.as_ref().map(|limits| limits.checked(&app.config.keys)).transpose()?;
    let scopes = &body.scopes.as_deref().map(scopes).transpose()?;
    let expires_at = body.expires_at.as_deref().map(|text| grant_expiry(text, now)).transpose()?;
    let changes = &KeyChanges { name: None, limits: limits.as_ref(), expiry: expires_at.map(KeyExpiry::At) };
    let id = KeyId::parse(signed.key_id()).ok_or_else(no_such_grant)?;
    let (signed, owner, key) = (&signed, wallet.as_str(), &id);
    app.db
        .transaction(|mut tx| async move {
            signed.consume(&mut tx).await?;
            if !store::is_grant(&mut tx, key).await?
                || !keys::update(&mut tx, owner, key, changes, now).await?
            {
                return Err(ActionError::Refused(no_such_grant()));
            }
            if let Some(scopes) = scopes {
                store::set_scopes(&mut tx, key, scopes).await?;
            }
            Ok((tx, ()))
        })
        .await?;
    app.keys.forget_cached(&id);
    tracing::info!(wallet = owner, key = %id, "OAuth grant changed");
    view(&app, signed, &id).await
}

async fn view<A>(app: &State, signed: &WalletSigned<A>, id: &KeyId) -> Result<Response, HttpError> {
    let wallet = signed.wallet();
    let grant = app.oauth.find_grant(&wallet, id).await.map_err(|error| unavailable(&error))?;
    let key = app.keys.find(&wallet, id).await.map_err(|error| unavailable(&error))?;
    let (grant, key) = grant.zip(key).ok_or_else(no_such_grant)?;
    let request_id = Some(signed.request_id().clone());
    Ok(answer(StatusCode::OK, &GrantView { request_id, ..GrantView::new(grant, key, signed.at()) }))
}

fn no_such_grant() -> HttpError {
    HttpError {
        detail: "this wallet has no such grant; GET /api/v1/oauth/grants lists those that are active".into(),
        ..no_such_key()
    }
}
