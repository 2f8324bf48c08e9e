//! `/api/v1/keys`: a wallet's API keys.

mod body;

use axum::extract::State as AppState;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::State;
use crate::http::error::{Code, HttpError};
use crate::http::gates::wallet::{
    ActionError, Create, List, Revoke, Rotate, UnverifiedRequest, Update, WalletAuth, WalletSigned, answer,
    answer_briefly, unavailable,
};
use crate::id::{RequestId, Timestamp};
use crate::keys::{self, Key, KeyChanges, KeyId, KeyLimits, KeysError, NewKey};
use crate::ledger::{self, BudgetUse, Day};
use crate::money::Money;
use crate::oauth;
use crate::wallet_auth::WalletAction;

pub use body::{KeyBody, LimitsBody, RotateBody, UpdateBody, checked_expiry};
use body::{KeyListQuery, checked_name};

/// Time for which the secret before a rotation works, unless another time is asked for, in seconds.
const DEFAULT_GRACE_SECONDS: u32 = 86_400;
/// Longest time for which the secret before a rotation works, in seconds.
const MAX_GRACE_SECONDS: u32 = 30 * 86_400;

/// Keys of a page of a list.
const DEFAULT_PAGE_KEYS: u32 = 100;
const MAX_PAGE_KEYS: u32 = 1_000;

/// Keys of a wallet, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyList {
    keys: Vec<KeyView>,
    /// Value of `cursor` for the next page, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    #[schema(value_type = String)]
    request_id: RequestId,
}

/// A key as its owner sees it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyView {
    id: String,
    name: String,
    /// Beginning of the key's text.
    prefix: String,
    /// active, revoked or expired.
    #[schema(value_type = String)]
    status: &'static str,
    created_at: String,
    last_used_at: Option<String>,
    revoked_at: Option<String>,
    expires_at: Option<String>,
    limits: KeyLimitsView,
    /// key, grant (of an OAuth client) or bought (from the contract).
    #[schema(value_type = String)]
    kind: &'static str,
    spend: KeySpend,
    /// The whole key: in the answer that made it, and nowhere else.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// After a rotation: end of the time for which the secret before still works.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_valid_until: Option<String>,
    #[serde(rename = "request_id", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    request_id: Option<RequestId>,
}

/// Dollars spent with a key. What requests hold that still run is not among them.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeySpend {
    /// By requests that began on this UTC day.
    #[schema(value_type = String)]
    today_usd: Money,
    #[schema(value_type = String)]
    total_usd: Money,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyLimitsView {
    rpm: Option<u32>,
    tpm: Option<u32>,
    #[schema(value_type = Option<String>)]
    daily_usd: Option<Money>,
    #[schema(value_type = Option<String>)]
    total_usd: Option<Money>,
    models: Option<Vec<String>>,
}

impl From<KeyLimits> for KeyLimitsView {
    fn from(limits: KeyLimits) -> Self {
        let KeyLimits { rpm, tpm, daily, total, models } = limits;
        Self { rpm, tpm, daily_usd: daily, total_usd: total, models }
    }
}

impl KeyView {
    /// Shows a key without its secret.
    fn new(app: &State, key: Key, kind: &'static str, spent: BudgetUse, now: Timestamp) -> Self {
        let status = key.status(now);
        let rfc3339 = |time: Option<Timestamp>| time.map(Timestamp::to_rfc3339);
        Self {
            prefix: format!("{}{}", app.config.keys.prefix, key.id),
            id: key.id.to_string(),
            name: key.name,
            status,
            created_at: key.created_at.to_rfc3339(),
            last_used_at: rfc3339(key.last_used_at),
            revoked_at: rfc3339(key.revoked_at),
            expires_at: rfc3339(key.expires_at),
            limits: key.limits.into(),
            kind,
            spend: KeySpend { today_usd: spent.today, total_usd: spent.total },
            key: None,
            previous_valid_until: None,
            request_id: None,
        }
    }

    /// Shows keys, with one query each for what all of them spent and which are of grants.
    async fn all(app: &State, keys: Vec<Key>, now: Timestamp) -> Result<Vec<Self>, HttpError> {
        let ids: Vec<_> = keys.iter().map(|key| &key.id).collect();
        let names: Vec<_> = ids.iter().map(|id| id.as_str()).collect();
        let spent = ledger::budget::spent(&app.db, &names, Day::of(now)).await;
        let mut spent = spent.map_err(|error| unavailable(&error))?;
        let grants = oauth::store::grants_among(&app.db, &ids).await.map_err(|error| unavailable(&error))?;
        let show = |key: Key| {
            let kind = if grants.contains(key.id.as_str()) {
                "grant"
            } else if key.is_bought {
                "bought"
            } else {
                "key"
            };
            let spent = spent.remove(key.id.as_str()).unwrap_or(BudgetUse::NOTHING);
            Self::new(app, key, kind, spent, now)
        };
        Ok(keys.into_iter().map(show).collect())
    }

    /// Shows a key of a wallet.
    async fn of(app: &State, owner: &str, id: &KeyId, now: Timestamp) -> Result<Self, HttpError> {
        let found = app.keys.find(owner, id).await.map_err(|error| unavailable(&error))?;
        let shown = Self::all(app, found.into_iter().collect(), now).await?;
        shown.into_iter().next().ok_or_else(no_such_key)
    }
}

/// List a wallet's API keys.
#[utoipa::path(get, path = "/api/v1/keys", operation_id = "list_keys", tag = "keys",
    params(("walletAddress" = String, Query), ("message" = String, Query), ("signature" = String, Query),
        ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    security(("walletMessage" = [])),
    responses((status = 200, description = "`keys`, without their secrets, and `next` where there may be more", body = KeyList),
        (status = 401, description = "missing_wallet_auth"), (status = 403, description = "The signature does not count")))]
pub async fn list(
    AppState(app): AppState<State>,
    mut signed: WalletSigned<List>,
) -> Result<Response, HttpError> {
    let query: KeyListQuery = signed.read()?;
    let limit = query.limit.map_or(Ok(DEFAULT_PAGE_KEYS), |limit| limit.whole("limit", 1..=MAX_PAGE_KEYS))?;
    let after = query.cursor.map(|text| {
        KeyId::parse(&text).ok_or_else(|| {
            HttpError::invalid("cursor is malformed; send the `next` of an earlier page unchanged")
        })
    });
    let after = after.transpose()?;
    signed.authorize_read(&app).await?;
    let keys = app.keys.list(&signed.wallet(), after.as_ref(), limit).await;
    let keys = keys.map_err(|error| unavailable(&error))?;
    let is_full = keys.len() == limit as usize;
    let next = keys.last().filter(|_| is_full).map(|key| key.id.to_string());
    let keys = KeyView::all(&app, keys, signed.at()).await?;
    Ok(answer_briefly(&KeyList { keys, next, request_id: signed.request_id().clone() }))
}

/// Create an API key, or list them with the signature in the body.
///
/// A message with `action=create` creates one: its secret is in this answer and nowhere else. A
/// message with `action=list` lists.
#[utoipa::path(post, path = "/api/v1/keys", operation_id = "create_or_list_keys", tag = "keys", request_body = KeyBody,
    security(("walletMessage" = [])),
    responses((status = 200, description = "The list", body = KeyList), (status = 201, description = "`key`: shown once", body = KeyView),
        (status = 400, description = "Name or limits cannot be used"), (status = 401, description = "missing_wallet_auth"),
        (status = 403, description = "The signature does not count")))]
pub async fn create_or_list(app: AppState<State>, request: UnverifiedRequest) -> Result<Response, HttpError> {
    if request.claims_action(WalletAction::List) {
        let signed = request.verify(&app).await?;
        return list(app, signed).await;
    }
    let signed = request.verify(&app).await?;
    create(&app, signed).await
}

async fn create(app: &State, mut signed: WalletSigned<Create>) -> Result<Response, HttpError> {
    let now = signed.at();
    let body: KeyBody = signed.read()?;
    let limits =
        body.limits.as_ref().map(|limits| limits.checked(&app.config.keys)).transpose()?.unwrap_or_default();
    let expires_at = body.expires_at.as_deref().map(|text| checked_expiry(text, now)).transpose()?;
    let name = body.name()?;
    let minted = app.keys.mint();
    let owner = signed.wallet();
    let new = NewKey { id: &minted.id, owner: &owner, name, limits: &limits, expires_at, hash: &minted.hash };
    let (signed, new) = (&signed, &new);
    app.db
        .transaction(|mut tx| async move {
            let authorized = signed.consume(&mut tx).await?;
            // Two at once count one after the other, once there is money to spend.
            ledger::lock(&mut tx, authorized.account()).await.map_err(KeysError::from)?;
            if keys::count_active(&mut tx, new.owner, now).await? >= keys::MAX_ACTIVE_KEYS {
                return Err(ActionError::Refused(HttpError::invalid(format!(
                    "this wallet has {} active keys, the most it can have; revoke one first",
                    keys::MAX_ACTIVE_KEYS
                ))));
            }
            keys::create(&mut tx, new, now).await?;
            Ok((tx, ()))
        })
        .await?;
    tracing::info!(wallet = owner, key = %minted.id, "API key created");
    metrics::counter!("farebox_keys_created_total").increment(1);
    let view = KeyView {
        key: Some(minted.text.expose().to_owned()),
        request_id: Some(signed.request_id().clone()),
        ..KeyView::of(app, &owner, &minted.id, now).await?
    };
    Ok(answer(StatusCode::CREATED, &view))
}

/// Revoke an API key.
#[utoipa::path(delete, path = "/api/v1/keys/{keyId}", operation_id = "revoke_key", tag = "keys", params(("keyId" = String, Path)),
    request_body = WalletAuth,
    security(("walletMessage" = [])),
    responses((status = 200, description = "It is revoked", body = KeyView), (status = 401, description = "missing_wallet_auth"),
        (status = 403, description = "The signature does not count"), (status = 404, description = "No such key of this wallet")))]
pub async fn revoke(
    AppState(app): AppState<State>,
    signed: WalletSigned<Revoke>,
) -> Result<Response, HttpError> {
    let (now, wallet) = (signed.at(), signed.wallet());
    let id = KeyId::parse(signed.key_id()).ok_or_else(no_such_key)?;
    let (signed, owner, key_id) = (&signed, wallet.as_str(), &id);
    let revoked = app
        .db
        .transaction(|mut tx| async move {
            signed.consume(&mut tx).await?;
            let revoked = keys::revoke(&mut tx, owner, key_id, now).await?;
            Ok::<_, ActionError>((tx, revoked))
        })
        .await?;
    if revoked {
        app.keys.cancel_requests(&id);
        tracing::info!(wallet = owner, key = %id, "API key revoked");
    }
    let view = KeyView {
        request_id: Some(signed.request_id().clone()),
        ..KeyView::of(&app, owner, &id, now).await?
    };
    Ok(answer(StatusCode::OK, &view))
}

/// Revoke an API key, for clients whose DELETE has no body.
#[utoipa::path(post, path = "/api/v1/keys/{keyId}", operation_id = "revoke_key_by_post", tag = "keys", params(("keyId" = String, Path)),
    request_body = WalletAuth,
    security(("walletMessage" = [])),
    responses((status = 200, description = "It is revoked", body = KeyView), (status = 401, description = "missing_wallet_auth"),
        (status = 403, description = "The signature does not count"), (status = 404, description = "No such key of this wallet")))]
pub async fn revoke_by_post(
    app: AppState<State>,
    signed: WalletSigned<Revoke>,
) -> Result<Response, HttpError> {
    revoke(app, signed).await
}

/// Give an API key a new secret.
///
/// Id, limits and what was spent stay. The secret before works for a period of grace.
#[utoipa::path(post, path = "/api/v1/keys/{keyId}/rotate", operation_id = "rotate_key", tag = "keys", params(("keyId" = String, Path)),
    request_body = RotateBody,
    security(("walletMessage" = [])),
    responses((status = 200, description = "`key`: shown once", body = KeyView), (status = 400, description = "A grant's key, or a wrong graceSeconds"), (status = 401, description = "missing_wallet_auth"),
        (status = 403, description = "The signature does not count"), (status = 404, description = "No such active key of this wallet")))]
pub async fn rotate(
    AppState(app): AppState<State>,
    mut signed: WalletSigned<Rotate>,
) -> Result<Response, HttpError> {
    let (now, wallet) = (signed.at(), signed.wallet());
    let body: RotateBody = signed.read()?;
    let grace = match &body.grace_seconds {
        Some(seconds) => seconds.whole("graceSeconds", 0..=MAX_GRACE_SECONDS)?,
        None => DEFAULT_GRACE_SECONDS,
    };
    let id = KeyId::parse(signed.key_id()).ok_or_else(no_such_key)?;
    let until = now.checked_add_millis(i64::from(grace) * 1000).unwrap_or(now);
    let minted = app.keys.mint_secret(&id);
    let (signed, owner, new) = (&signed, wallet.as_str(), &minted);
    app.db
        .transaction(|mut tx| async move {
            signed.consume(&mut tx).await?;
            if oauth::store::is_grant(&mut tx, &new.id).await? {
                return Err(ActionError::Refused(HttpError::invalid(
                    "this key is that of an OAuth grant: it has no secret, and its tokens change by themselves",
                )));
            }
            if !keys::rotate(&mut tx, owner, &new.id, &new.hash, until, now).await? {
                return Err(ActionError::Refused(no_such_key()));
            }
            Ok((tx, ()))
        })
        .await?;
    app.keys.forget_cached(&id);
    tracing::info!(wallet = owner, key = %id, grace, "API key rotated");
    let view = KeyView {
        key: Some(minted.text.expose().to_owned()),
        previous_valid_until: Some(until.to_rfc3339()),
        request_id: Some(signed.request_id().clone()),
        ..KeyView::of(&app, owner, &id, now).await?
    };
    Ok(answer(StatusCode::OK, &view))
}

/// Change an API key.
///
/// Its name, its limits as a whole, its expiry. The secret and what was spent stay.
#[utoipa::path(patch, path = "/api/v1/keys/{keyId}", operation_id = "update_key", tag = "keys", params(("keyId" = String, Path)),
    request_body = UpdateBody,
    security(("walletMessage" = [])),
    responses((status = 200, description = "The key as it is now", body = KeyView),
        (status = 400, description = "Name, limits or expiry cannot be used"), (status = 401, description = "missing_wallet_auth"),
        (status = 403, description = "The signature does not count"), (status = 404, description = "No such active key of this wallet")))]
pub async fn update(
    AppState(app): AppState<State>,
    mut signed: WalletSigned<Update>,
) -> Result<Response, HttpError> {
    let (now, wallet) = (signed.at(), signed.wallet());
    let body: UpdateBody = signed.read()?;
    let limits = body.limits.as_ref().map(|limits| limits.checked(&app.config.keys)).transpose()?;
    let changes = &KeyChanges {
        name: body.name.as_deref().map(checked_name).transpose()?,
        limits: limits.as_ref(),
        expiry: body.expires_at.as_ref().map(|expiry| expiry.checked(now)).transpose()?,
    };
    let id = KeyId::parse(signed.key_id()).ok_or_else(no_such_key)?;
    let (signed, owner, key_id) = (&signed, wallet.as_str(), &id);
    app.db
        .transaction(|mut tx| async move {
            signed.consume(&mut tx).await?;
            if !keys::update(&mut tx, owner, key_id, changes, now).await? {
                return Err(ActionError::Refused(no_such_key()));
            }
            Ok((tx, ()))
        })
        .await?;
    app.keys.forget_cached(&id);
    tracing::info!(wallet = owner, key = %id, "API key changed");
    let view = KeyView {
        request_id: Some(signed.request_id().clone()),
        ..KeyView::of(&app, owner, &id, now).await?
    };
    Ok(answer(StatusCode::OK, &view))
}

pub fn no_such_key() -> HttpError {
    HttpError::new(
        Code::NotFound,
        "this wallet has no active key with that keyId; GET /api/v1/keys lists its keys",
    )
}
