//! Tools of the account: `get_balance`, `list_usage`, `list_keys`, `revoke_key`.

use serde::Deserialize;
use serde_json::json;

use super::models::NoArguments;
use super::{ToolCall, ToolOutput};
use crate::http::error::{Code, HttpError};
use crate::http::gates::wallet::{ActionError, unavailable};
use crate::http::prepaid::refusal::ledger_unavailable;
use crate::http::routes::v1::account::{DayRange, remaining};
use crate::id::Timestamp;
use crate::keys::{self, KeyId};
use crate::money::Money;

/// Keys that a list has at the most.
const MAX_KEYS: u32 = 100;

/// Shows the account's credits and the connection's limits.
pub(super) async fn balance(call: &ToolCall) -> Result<ToolOutput, HttpError> {
    let NoArguments {} = call.read()?;
    let (app, access) = (&call.app, call.access()?);
    let key = access.key();
    let balance = app.ledger.balance(&key.account()).await.map_err(|error| ledger_unavailable(&error))?;
    let budget = key.budget(call.request.at);
    let used =
        app.ledger.budget_use(&key.account(), &budget).await.map_err(|error| ledger_unavailable(&error))?;
    let dollars = |amount: Option<Money>| amount.map(Money::to_dollars);
    let structured = json!({
        "availableUsd": balance.available().to_dollars(),
        "heldUsd": balance.held().to_dollars(),
        "spentUsd": used.total.to_dollars(),
        "spentTodayUsd": used.today.to_dollars(),
        "dailyLimitUsd": dollars(key.limits.daily),
        "dailyLeftUsd": dollars(remaining(key.limits.daily, used.today)),
        "totalLimitUsd": dollars(key.limits.total),
        "totalLeftUsd": dollars(remaining(key.limits.total, used.total)),
        "models": key.limits.models,
        "scopes": access.scopes().names(),
        "expiresAt": key.expires_at.map(Timestamp::to_rfc3339),
    });
    Ok(structured.into())
}

/// Lists what the connection spent, by UTC day.
pub(super) async fn usage(call: &ToolCall) -> Result<ToolOutput, HttpError> {
    let range: DayRange = call.read()?;
    let key = call.key()?.key();
    let (from, to) = range.days(&key.budget(call.request.at).day)?;
    let days = call.app.ledger.budget_days(key.id.as_str(), &from, &to).await;
    let days = days.map_err(|error| ledger_unavailable(&error))?;
    let total = days.iter().try_fold(Money::ZERO, |sum, (_, spent)| sum.checked_add(*spent));
    let days: Vec<_> = days
        .into_iter()
        .map(|(date, spent)| json!({ "date": date, "spentUsd": spent.to_dollars() }))
        .collect();
    Ok(json!({ "days": days, "totalUsd": total.unwrap_or_default().to_dollars() }).into())
}

/// Lists the keys of the account's wallet.
pub(super) async fn keys(call: &ToolCall) -> Result<ToolOutput, HttpError> {
    let NoArguments {} = call.read()?;
    let owner = &call.key()?.key().owner;
    let keys = call.app.keys.list(owner, None, MAX_KEYS).await.map_err(|error| unavailable(&error))?;
    let shown = keys.into_iter().map(|key| {
        json!({
            "id": key.id.as_str(),
            "name": key.name,
            "status": key.status(call.request.at),
            "lastUsedAt": key.last_used_at.map(Timestamp::to_rfc3339),
            "expiresAt": key.expires_at.map(Timestamp::to_rfc3339),
        })
    });
    Ok(json!({ "keys": shown.collect::<Vec<_>>() }).into())
}

/// A key to revoke.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RevokeArguments {
    key_id: String,
}

/// Revokes a key of the account's wallet.
pub(super) async fn revoke_key(call: &ToolCall) -> Result<ToolOutput, HttpError> {
    let no_such_key =
        || HttpError::new(Code::NotFound, "the account has no key with that keyId; list_keys lists them");
    let arguments: RevokeArguments = call.read()?;
    let id = KeyId::parse(&arguments.key_id).ok_or_else(no_such_key)?;
    let (owner, now) = (&call.key()?.key().owner, call.request.at);
    let (app, key) = (&call.app, &id);
    let revoked = app
        .db
        .transaction(|mut tx| async move {
            let revoked = keys::revoke(&mut tx, owner, key, now).await?;
            Ok::<_, ActionError>((tx, revoked))
        })
        .await?;
    if revoked {
        app.keys.cancel_requests(&id);
        tracing::info!(wallet = owner, key = %id, "API key revoked by a tool");
    } else if app.keys.find(owner, &id).await.map_err(|error| unavailable(&error))?.is_none() {
        return Err(no_such_key());
    }
    Ok(json!({ "keyId": id.as_str(), "status": "revoked" }).into())
}
