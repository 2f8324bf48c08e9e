//! `/api/v1/keys`: a wallet's API keys.

use axum::extract::State as AppState;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::State;
use crate::http::error::{Code, HttpError};
use crate::http::gates::wallet::{
    ActionError, Create, List, Revoke, Rotate, UnverifiedRequest, WalletAuth, WalletSigned, answer,
    unavailable,
};
use crate::http::params::Number;
use crate::id::{RequestId, Timestamp};
use crate::keys::{self, Key, KeyId, KeyLimits, KeysError, NewKey};
use crate::ledger;
use crate::money::Money;
use crate::wallet_auth::WalletAction;

/// Longest name of a key, in characters.
const MAX_NAME_CHARS: usize = 100;
/// Active keys of one wallet at the most.
const MAX_ACTIVE_KEYS: i64 = 100;
/// Models that a key's limits name at the most.
const MAX_MODELS: usize = 100;
/// Longest id of a model, in bytes.
const MAX_MODEL_ID: usize = 200;
/// Time for which the secret before a rotation works, unless another time is asked for, in seconds.
const DEFAULT_GRACE_SECONDS: u32 = 86_400;
/// Longest time for which the secret before a rotation works, in seconds.
const MAX_GRACE_SECONDS: u32 = 30 * 86_400;

/// A new key.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyBody {
    #[schema(example = "laptop")]
    name: Option<String>,
    limits: Option<LimitsBody>,
    /// RFC 3339.
    expires_at: Option<String>,
}

/// Limits of a key; nothing set is the server's defaults and no budget.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitsBody {
    /// Requests a minute.
    rpm: Option<u32>,
    /// Tokens a minute.
    tpm: Option<u32>,
    /// Dollars on a UTC day.
    #[schema(value_type = Option<String>)]
    daily_usd: Option<Number>,
    /// Dollars in all.
    #[schema(value_type = Option<String>)]
    total_usd: Option<Number>,
    /// Models that the key may use; all when unset.
    models: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RotateBody {
    /// Seconds for which the secret before still works, 86400 unless given.
    #[schema(value_type = Option<String>)]
    grace_seconds: Option<Number>,
}

impl KeyBody {
    /// Makes a key with a name and nothing else.
    pub fn named(name: Option<String>) -> Self {
        Self { name, ..Self::default() }
    }

    /// Returns the name, or a plain one.
    ///
    /// # Errors
    /// 400 for a name that is empty, too long or of several lines.
    pub fn name(&self) -> Result<&str, HttpError> {
        let name = self.name.as_deref().map_or("API key", str::trim);
        let fits =
            (1..=MAX_NAME_CHARS).contains(&name.chars().count()) && !name.chars().any(char::is_control);
        let wrong = || {
            HttpError::invalid(format!("name must be 1 to {MAX_NAME_CHARS} characters, without line breaks"))
        };
        fits.then_some(name).ok_or_else(wrong)
    }

    fn expiry(&self, now: Timestamp) -> Result<Option<Timestamp>, HttpError> {
        let Some(text) = &self.expires_at else { return Ok(None) };
        let moment = Timestamp::parse_rfc3339(text).filter(|moment| *moment > now);
        moment.map(Some).ok_or_else(|| {
            HttpError::invalid(
                "expiresAt must be an RFC 3339 time in the future, such as 2027-01-31T12:00:00Z",
            )
        })
    }

    fn limits(&self) -> Result<KeyLimits, HttpError> {
        let Some(limits) = &self.limits else { return Ok(KeyLimits::default()) };
        if limits.rpm == Some(0) || limits.tpm == Some(0) {
            return Err(HttpError::invalid(
                "limits.rpm and limits.tpm must be at least 1; revoke a key to stop it",
            ));
        }
        let models = limits.models.as_ref();
        if models.is_some_and(|ids| ids.len() > MAX_MODELS || ids.iter().any(|id| id.len() > MAX_MODEL_ID)) {
            return Err(HttpError::invalid(format!(
                "limits.models can name {MAX_MODELS} models, each id of at most {MAX_MODEL_ID} bytes"
            )));
        }
        let dollars = |name: &str, amount: &Option<Number>| {
            amount.as_ref().map(|amount| amount.dollars(name)).transpose()
        };
        Ok(KeyLimits {
            rpm: limits.rpm,
            tpm: limits.tpm,
            daily: dollars("limits.dailyUsd", &limits.daily_usd)?,
            total: dollars("limits.totalUsd", &limits.total_usd)?,
            models: limits.models.clone(),
        })
    }
}

/// Keys of a wallet, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyList {
    keys: Vec<KeyView>,
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

impl KeyView {
    /// Shows a key without its secret.
    fn new(app: &State, key: Key, now: Timestamp) -> Self {
        let status = match key.revoked_at {
            Some(_) => "revoked",
            None if key.is_active(now) => "active",
            None => "expired",
        };
        let rfc3339 = |time: Option<Timestamp>| time.map(Timestamp::to_rfc3339);
        let KeyLimits { rpm, tpm, daily, total, models } = key.limits;
        Self {
            prefix: format!("{}{}", app.config.keys.prefix, key.id),
            id: key.id.to_string(),
            name: key.name,
            status,
            created_at: key.created_at.to_rfc3339(),
            last_used_at: rfc3339(key.last_used_at),
            revoked_at: rfc3339(key.revoked_at),
            expires_at: rfc3339(key.expires_at),
            limits: KeyLimitsView { rpm, tpm, daily_usd: daily, total_usd: total, models },
            key: None,
            previous_valid_until: None,
            request_id: None,
        }
    }
}

/// List a wallet's API keys.
#[utoipa::path(get, path = "/api/v1/keys", tag = "keys",
    params(("walletAddress" = String, Query), ("message" = String, Query), ("signature" = String, Query)),
    security(("walletMessage" = [])),
    responses((status = 200, description = "`keys`, without their secrets", body = KeyList),
        (status = 401, description = "missing_wallet_auth"), (status = 403, description = "The signature does not count")))]
pub async fn list(AppState(app): AppState<State>, signed: WalletSigned<List>) -> Result<Response, HttpError> {
    signed.authorize_read(&app).await?;
    let keys = app.keys.list(&signed.wallet()).await.map_err(|error| unavailable(&error))?;
    let keys = keys.into_iter().map(|key| KeyView::new(&app, key, signed.at())).collect();
    Ok(answer(StatusCode::OK, &KeyList { keys, request_id: signed.request_id().clone() }))
}

/// Create an API key, or list them with the signature in the body.
///
/// A message with `action=create` creates one: its secret is in this answer and nowhere else. A
/// message with `action=list` lists.
#[utoipa::path(post, path = "/api/v1/keys", tag = "keys", request_body = KeyBody,
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
    let (name, limits, expires_at) = (body.name()?, body.limits()?, body.expiry(now)?);
    let minted = app.keys.mint();
    let owner = signed.wallet();
    let new = NewKey { id: &minted.id, owner: &owner, name, limits: &limits, expires_at, hash: &minted.hash };
    let (signed, new) = (&signed, &new);
    app.db
        .transaction(|mut tx| async move {
            let authorized = signed.consume(&mut tx).await?;
            // Two at once count one after the other, once there is money to spend.
            ledger::lock(&mut tx, authorized.account()).await.map_err(KeysError::from)?;
            if keys::count_active(&mut tx, new.owner, now).await? >= MAX_ACTIVE_KEYS {
                return Err(ActionError::Refused(HttpError::invalid(format!(
                    "this wallet has {MAX_ACTIVE_KEYS} active keys, the most it can have; revoke one first"
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
        ..KeyView::new(app, find(app, &owner, &minted.id).await?, now)
    };
    Ok(answer(StatusCode::CREATED, &view))
}

/// Revoke an API key.
#[utoipa::path(delete, path = "/api/v1/keys/{keyId}", tag = "keys", params(("keyId" = String, Path)),
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
        ..KeyView::new(&app, find(&app, owner, &id).await?, now)
    };
    Ok(answer(StatusCode::OK, &view))
}

/// Revoke an API key, for clients whose DELETE has no body.
#[utoipa::path(post, path = "/api/v1/keys/{keyId}", tag = "keys", params(("keyId" = String, Path)),
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
#[utoipa::path(post, path = "/api/v1/keys/{keyId}/rotate", tag = "keys", params(("keyId" = String, Path)),
    request_body = RotateBody,
    security(("walletMessage" = [])),
    responses((status = 200, description = "`key`: shown once", body = KeyView), (status = 401, description = "missing_wallet_auth"),
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
        ..KeyView::new(&app, find(&app, owner, &id).await?, now)
    };
    Ok(answer(StatusCode::OK, &view))
}

async fn find(app: &State, owner: &str, id: &KeyId) -> Result<Key, HttpError> {
    let found = app.keys.find(owner, id).await.map_err(|error| unavailable(&error))?;
    found.ok_or_else(no_such_key)
}

fn no_such_key() -> HttpError {
    HttpError::new(
        Code::NotFound,
        "this wallet has no active key with that keyId; GET /api/v1/keys lists its keys",
    )
}
