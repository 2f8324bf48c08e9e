//! `/api/v1/keys`: a wallet's API keys.

use axum::extract::State as AppState;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::State;
use super::error::{Code, HttpError};
use super::params::Number;
use super::schema::{KeyList, KeyView};
use super::wallet::{
    ActionError, Create, List, Revoke, Rotate, UnverifiedRequest, WalletAuth, WalletSigned, answer,
    unavailable,
};
use crate::id::Timestamp;
use crate::keys::{self, Key, KeyId, KeyLimits, KeysError, NewKey};
use crate::ledger;
use crate::wallet_auth::WalletAction;

/// Longest name of a key, in characters.
const LONGEST_NAME: usize = 100;
/// Keys that a wallet can have and use.
const MOST_KEYS: i64 = 100;
/// How long the secret before a rotation works, unless another time is asked for, and at most.
const GRACE_SECONDS: u32 = 86_400;
const LONGEST_GRACE: u32 = 30 * 86_400;

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

/// What a key may do; nothing set is the server's defaults and no budget.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitsBody {
    /// Requests, and tokens, a minute.
    rpm: Option<u32>,
    tpm: Option<u32>,
    /// Dollars on a UTC day, and ever.
    #[schema(value_type = Option<String>)]
    daily_usd: Option<Number>,
    #[schema(value_type = Option<String>)]
    total_usd: Option<Number>,
    /// The models it may use.
    models: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RotateBody {
    /// How long the secret before still works; 86400 unless said otherwise.
    #[schema(value_type = Option<String>)]
    grace_seconds: Option<Number>,
}

impl KeyBody {
    /// A key with a name and nothing else.
    pub fn named(name: Option<String>) -> Self {
        Self { name, ..Self::default() }
    }

    /// The name, or a plain one.
    ///
    /// # Errors
    /// 400.
    pub fn name(&self) -> Result<&str, HttpError> {
        let name = self.name.as_deref().map_or("API key", str::trim);
        let fits = (1..=LONGEST_NAME).contains(&name.chars().count()) && !name.chars().any(char::is_control);
        let wrong =
            || HttpError::invalid(format!("name must be 1 to {LONGEST_NAME} characters, no line breaks"));
        fits.then_some(name).ok_or_else(wrong)
    }

    fn expiry(&self, now: Timestamp) -> Result<Option<Timestamp>, HttpError> {
        let Some(text) = &self.expires_at else { return Ok(None) };
        let moment = Timestamp::parse_rfc3339(text).filter(|moment| *moment > now);
        moment.map(Some).ok_or_else(|| {
            HttpError::invalid("expiresAt must be a time to come, such as 2027-01-31T12:00:00Z")
        })
    }

    fn limits(&self) -> Result<KeyLimits, HttpError> {
        let Some(limits) = &self.limits else { return Ok(KeyLimits::default()) };
        if limits.rpm == Some(0) || limits.tpm == Some(0) {
            return Err(HttpError::invalid(
                "limits.rpm and limits.tpm are at least 1; revoke a key to stop it",
            ));
        }
        let models = limits.models.as_ref();
        if models.is_some_and(|models| models.len() > 100 || models.iter().any(|id| id.len() > 200)) {
            return Err(HttpError::invalid("limits.models names at most 100 models"));
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

/// List a wallet's API keys.
#[utoipa::path(get, path = "/api/v1/keys", tag = "keys",
    params(("walletAddress" = String, Query), ("message" = String, Query), ("signature" = String, Query)),
    security(("walletMessage" = [])),
    responses((status = 200, description = "`keys`, without their secrets", body = KeyList),
        (status = 401, description = "missing_wallet_auth"), (status = 403, description = "The signature does not count")))]
pub async fn list(AppState(app): AppState<State>, signed: WalletSigned<List>) -> Result<Response, HttpError> {
    signed.read_only(&app).await?;
    let now = Timestamp::now();
    let keys = app.keys.list(&signed.wallet()).await.map_err(|error| unavailable(&error))?;
    let keys: Vec<Value> = keys.iter().map(|key| view(&app, key, now)).collect();
    Ok(answer(StatusCode::OK, signed.request_id(), json!({ "keys": keys })))
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
pub async fn create_or_list(app: AppState<State>, asked: UnverifiedRequest) -> Result<Response, HttpError> {
    if asked.claims_action(WalletAction::List) {
        let signed = asked.signed_for(&app).await?;
        return list(app, signed).await;
    }
    let signed = asked.signed_for(&app).await?;
    create(&app, signed).await
}

async fn create(app: &State, mut signed: WalletSigned<Create>) -> Result<Response, HttpError> {
    let now = Timestamp::now();
    let body: KeyBody = signed.read()?;
    let (name, limits, expires_at) = (body.name()?, body.limits()?, body.expiry(now)?);
    let minted = app.keys.mint();
    let owner = signed.wallet();
    let new = NewKey { id: &minted.id, owner: &owner, name, limits: &limits, expires_at, hash: &minted.hash };
    let (by, new) = (&signed, &new);
    app.db
        .transaction(|mut tx| async move {
            let account = by.consume(&mut tx, now).await?;
            // Two at once count one after the other, once there is money to spend.
            ledger::lock(&mut tx, account.account()).await.map_err(KeysError::from)?;
            if keys::count_active(&mut tx, new.owner, now).await? >= MOST_KEYS {
                return Err(ActionError::Refused(HttpError::invalid(format!(
                    "this wallet has {MOST_KEYS} active keys; revoke one first"
                ))));
            }
            keys::create(&mut tx, new, now).await?;
            Ok((tx, ()))
        })
        .await?;
    tracing::info!(wallet = owner, key = %minted.id, "API key created");
    metrics::counter!("farebox_keys_created_total").increment(1);
    let key = find(app, &owner, &minted.id).await?;
    let mut fields = view(app, &key, now);
    fields["key"] = json!(minted.text.expose());
    Ok(answer(StatusCode::CREATED, signed.request_id(), fields))
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
    let (now, owner) = (Timestamp::now(), signed.wallet());
    let id = KeyId::parse(signed.key_id()).ok_or_else(no_such_key)?;
    let (by, owned, named) = (&signed, owner.as_str(), &id);
    let revoked = app
        .db
        .transaction(|mut tx| async move {
            by.consume(&mut tx, now).await?;
            let revoked = keys::revoke(&mut tx, owned, named, now).await?;
            Ok::<_, ActionError>((tx, revoked))
        })
        .await?;
    if revoked {
        app.keys.cancel_requests(&id);
        tracing::info!(wallet = owner, key = %id, "API key revoked");
    }
    let key = find(&app, &owner, &id).await?;
    Ok(answer(StatusCode::OK, signed.request_id(), view(&app, &key, now)))
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
/// Id, limits and what was spent stay. The secret before works for a time of grace.
#[utoipa::path(post, path = "/api/v1/keys/{keyId}/rotate", tag = "keys", params(("keyId" = String, Path)),
    request_body = RotateBody,
    security(("walletMessage" = [])),
    responses((status = 200, description = "`key`: shown once", body = KeyView), (status = 401, description = "missing_wallet_auth"),
        (status = 403, description = "The signature does not count"), (status = 404, description = "No such active key of this wallet")))]
pub async fn rotate(
    AppState(app): AppState<State>,
    mut signed: WalletSigned<Rotate>,
) -> Result<Response, HttpError> {
    let (now, owner) = (Timestamp::now(), signed.wallet());
    let body: RotateBody = signed.read()?;
    let grace = match &body.grace_seconds {
        Some(seconds) => seconds.whole("graceSeconds", 0..=LONGEST_GRACE)?,
        None => GRACE_SECONDS,
    };
    let id = KeyId::parse(signed.key_id()).ok_or_else(no_such_key)?;
    let until = now.checked_add_millis(i64::from(grace) * 1000).unwrap_or(now);
    let minted = app.keys.mint_secret(&id);
    let (by, owned, new) = (&signed, owner.as_str(), &minted);
    app.db
        .transaction(|mut tx| async move {
            by.consume(&mut tx, now).await?;
            if !keys::rotate(&mut tx, owned, &new.id, &new.hash, until, now).await? {
                return Err(ActionError::Refused(no_such_key()));
            }
            Ok((tx, ()))
        })
        .await?;
    app.keys.forget_cached(&id);
    tracing::info!(wallet = owner, key = %id, grace, "API key rotated");
    let key = find(&app, &owner, &id).await?;
    let mut fields = view(&app, &key, now);
    fields["key"] = json!(minted.text.expose());
    fields["previousValidUntil"] = json!(until.to_rfc3339());
    Ok(answer(StatusCode::OK, signed.request_id(), fields))
}

async fn find(app: &State, owner: &str, id: &KeyId) -> Result<Key, HttpError> {
    let found = app.keys.find(owner, id).await.map_err(|error| unavailable(&error))?;
    found.ok_or_else(no_such_key)
}

fn no_such_key() -> HttpError {
    HttpError::new(Code::NotFound, "this wallet has no such active key")
}

/// A key as its owner sees it: never its secret.
fn view(app: &State, key: &Key, now: Timestamp) -> Value {
    let status = match key.revoked_at {
        Some(_) => "revoked",
        None if key.is_active(now) => "active",
        None => "expired",
    };
    let moment = |moment: Option<Timestamp>| moment.map(Timestamp::to_rfc3339);
    let limits = &key.limits;
    json!({
        "id": key.id.as_str(),
        "name": key.name,
        "prefix": format!("{}{}", app.config.keys.prefix, key.id),
        "status": status,
        "createdAt": key.created_at.to_rfc3339(),
        "lastUsedAt": moment(key.last_used_at),
        "revokedAt": moment(key.revoked_at),
        "expiresAt": moment(key.expires_at),
        "limits": {
            "rpm": limits.rpm, "tpm": limits.tpm, "dailyUsd": limits.daily, "totalUsd": limits.total,
            "models": limits.models,
        },
    })
}
