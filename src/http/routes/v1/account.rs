//! Credits, limits and spending of a key: for chat clients, which have the key and no wallet.
//!
//! The members of `data` have the names that `OpenRouter` gave them, because clients read those.

use axum::Json;
use axum::extract::{Query, State as AppState};
use axum::http::header::{CACHE_CONTROL, VARY};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use time::Date;
use time::format_description::well_known::Iso8601;
use utoipa::ToSchema;

use crate::http::clock::ArrivedAt;
use crate::http::error::{HttpError, OpenAiError};
use crate::http::gates::Bearer;
use crate::http::gates::bearer::KEY_HEADERS;
use crate::http::prepaid::refusal::ledger_unavailable;
use crate::http::{BRIEF_CACHE_POLICY, State};
use crate::ledger::BudgetUse;
use crate::money::Money;
use crate::services::chat::dollars;

/// Most days of one answer.
const MAX_DAYS: i64 = 366;
/// Days of an answer that is not asked for others.
const DEFAULT_DAYS: i64 = 30;

/// Answer about one thing.
#[derive(Debug, Serialize, ToSchema)]
pub struct Data<T> {
    data: T,
}

/// Credits of the account that the key spends. Amounts are in dollars.
#[derive(Debug, Serialize, ToSchema)]
pub struct Credits {
    /// Sum of all credits.
    #[schema(value_type = f64, example = 25)]
    total_credits: serde_json::Number,
    /// Sum of all charges.
    #[schema(value_type = f64, example = 3.2)]
    total_usage: serde_json::Number,
    /// Amount that requests which are being served have set aside.
    #[schema(value_type = f64, example = 0)]
    reserved: serde_json::Number,
    /// Amount that can be spent.
    #[schema(value_type = f64, example = 21.8)]
    available: serde_json::Number,
}

/// A key, its limits and what is left of them. Amounts are in dollars; `null` is no limit.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyStatus {
    id: String,
    label: String,
    /// Amount used with the key in all, requests that are being served included.
    #[schema(value_type = f64)]
    usage: serde_json::Number,
    /// Amount used on this UTC day.
    #[schema(value_type = f64)]
    usage_daily: serde_json::Number,
    #[schema(value_type = Option<f64>)]
    limit: Option<serde_json::Number>,
    #[schema(value_type = Option<f64>)]
    limit_remaining: Option<serde_json::Number>,
    #[schema(value_type = Option<f64>)]
    daily_limit: Option<serde_json::Number>,
    #[schema(value_type = Option<f64>)]
    daily_limit_remaining: Option<serde_json::Number>,
    /// Requests a minute, and the part that is left of this minute.
    rpm: u64,
    rpm_remaining: u64,
    /// Tokens a minute, and the part that is left of this minute.
    tpm: u64,
    tpm_remaining: u64,
    /// Models that it may use.
    models: Option<Vec<String>>,
    expires_at: Option<String>,
}

/// Money that was spent with a key, by UTC day.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsageByDay {
    #[schema(example = "list")]
    object: &'static str,
    /// Days on which something was spent, the earliest first.
    data: Vec<DayUsage>,
    /// Sum of them, in dollars.
    #[schema(value_type = f64)]
    total_cost: serde_json::Number,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct DayUsage {
    #[schema(example = "2026-01-31")]
    date: String,
    /// Amount spent, in dollars.
    #[schema(value_type = f64)]
    cost: serde_json::Number,
}

/// Range of days.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DayRange {
    from: Option<String>,
    to: Option<String>,
}

impl DayRange {
    /// Makes a range of what was sent; an empty text is nothing.
    pub fn new(from: Option<String>, to: Option<String>) -> Self {
        let sent = |text: Option<String>| text.filter(|text| !text.is_empty());
        Self { from: sent(from), to: sent(to) }
    }
}

/// Returns the part of a limit that is left.
pub fn remaining(limit: Option<Money>, used: Money) -> Option<Money> {
    limit.map(|limit| limit.checked_sub(used).unwrap_or_default().max(Money::ZERO))
}

/// Read the credits of the account that the key spends.
#[utoipa::path(get, path = "/v1/credits", operation_id = "get_credits", tag = "prepaid", security(("apiKey" = [])),
    responses(
        (status = 200, description = "The account's credits", body = Data<Credits>),
        (status = 401, description = "missing_api_key, invalid_api_key, inactive_api_key", body = OpenAiError),
        (status = 429, description = "rate_limit_exceeded_rpm", body = OpenAiError),
    ))]
pub async fn credits(AppState(app): AppState<State>, bearer: Bearer) -> Response {
    let balance = app.ledger.balance(&bearer.key().account()).await;
    let answer = balance.map_err(|error| ledger_unavailable(&error)).map(|balance| {
        fresh(Data {
            data: Credits {
                total_credits: dollars(balance.credited()),
                total_usage: dollars(balance.spent()),
                reserved: dollars(balance.held()),
                available: dollars(balance.available()),
            },
        })
    });
    bearer.answer(answer)
}

/// Read the key's limits, and what is left of them.
#[utoipa::path(get, path = "/v1/key", operation_id = "get_key", tag = "prepaid", security(("apiKey" = [])),
    responses(
        (status = 200, description = "The key", body = Data<KeyStatus>),
        (status = 401, description = "missing_api_key, invalid_api_key, inactive_api_key", body = OpenAiError),
        (status = 429, description = "rate_limit_exceeded_rpm", body = OpenAiError),
    ))]
pub async fn key(AppState(app): AppState<State>, ArrivedAt(now): ArrivedAt, bearer: Bearer) -> Response {
    let key = bearer.key();
    let used = app.ledger.budget_use(&key.account(), &key.budget(now)).await;
    let answer = used.map_err(|error| ledger_unavailable(&error)).map(|BudgetUse { today, total }| {
        let rates = app.rates.view(key, now);
        let limits = key.limits.clone();
        let left = |limit: Option<Money>, used: Money| remaining(limit, used).map(dollars);
        fresh(Data {
            data: KeyStatus {
                id: key.id.to_string(),
                label: key.name.clone(),
                usage: dollars(total),
                usage_daily: dollars(today),
                limit: limits.total.map(dollars),
                limit_remaining: left(limits.total, total),
                daily_limit: limits.daily.map(dollars),
                daily_limit_remaining: left(limits.daily, today),
                rpm: rates.requests.limit(),
                rpm_remaining: rates.requests.remaining(),
                tpm: rates.tokens.limit(),
                tpm_remaining: rates.tokens.remaining(),
                models: limits.models,
                expires_at: key.expires_at.map(crate::id::Timestamp::to_rfc3339),
            },
        })
    });
    bearer.answer(answer)
}

/// Read what was spent with the key, by UTC day.
#[utoipa::path(get, path = "/v1/usage", operation_id = "get_usage", tag = "prepaid", security(("apiKey" = [])),
    params(("from" = Option<String>, Query, description = "First day, such as 2026-01-31; 29 days before `to` if left out"),
        ("to" = Option<String>, Query, description = "Last day; today if left out")),
    responses(
        (status = 200, description = "Days on which something was spent", body = UsageByDay),
        (status = 400, description = "invalid_params", body = OpenAiError),
        (status = 401, description = "missing_api_key, invalid_api_key, inactive_api_key", body = OpenAiError),
        (status = 429, description = "rate_limit_exceeded_rpm", body = OpenAiError),
    ))]
pub async fn usage(
    AppState(app): AppState<State>,
    ArrivedAt(now): ArrivedAt,
    bearer: Bearer,
    query: Result<Query<DayRange>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let today = bearer.key().budget(now).day;
    let answer = async {
        let Query(query) =
            query.map_err(|_| HttpError::invalid("the query is not valid; send `from` and `to`"))?;
        let (from, to) = query.days(&today)?;
        let days = app.ledger.budget_days(bearer.key().id.as_str(), &from, &to).await;
        let days = days.map_err(|error| ledger_unavailable(&error))?;
        let total = days.iter().try_fold(Money::ZERO, |sum, (_, spent)| sum.checked_add(*spent));
        let data = days.into_iter().map(|(date, spent)| DayUsage { date, cost: dollars(spent) }).collect();
        Ok(fresh(UsageByDay { object: "list", data, total_cost: dollars(total.unwrap_or_default()) }))
    };
    bearer.answer(answer.await)
}

impl DayRange {
    /// Returns the first and the last day that are asked for.
    ///
    /// # Errors
    /// 400 with the name of the day that cannot be used.
    pub fn days(&self, today: &str) -> Result<(String, String), HttpError> {
        let day = |name: &str, text: &str| {
            Date::parse(text, &Iso8601::DATE).map_err(|_| {
                HttpError::invalid(format!("{name} must be a day such as 2026-01-31")).param(name)
            })
        };
        let to = day("to", self.to.as_deref().unwrap_or(today))?;
        let default = to.saturating_sub(time::Duration::days(DEFAULT_DAYS - 1));
        let from = self.from.as_deref().map_or(Ok(default), |text| day("from", text))?;
        if !(0..MAX_DAYS).contains(&(to - from).whole_days()) {
            let problem = format!("from must be a day before `to`, {} days at the most", MAX_DAYS - 1);
            return Err(HttpError::invalid(problem).param("from"));
        }
        Ok((from.to_string(), to.to_string()))
    }
}

/// Makes an answer that may be shown again for a few seconds.
fn fresh(body: impl Serialize) -> Response {
    ([(CACHE_CONTROL, BRIEF_CACHE_POLICY), (VARY, KEY_HEADERS)], Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_days_is_read() {
        let read = |from: Option<&str>, to: Option<&str>| {
            let query = DayRange { from: from.map(str::to_owned), to: to.map(str::to_owned) };
            query.days("2026-03-01").map_err(|error| error.detail)
        };
        let range = |from: &str, to: &str| Ok((from.to_owned(), to.to_owned()));
        assert_eq!(read(None, None), range("2026-01-31", "2026-03-01"));
        assert_eq!(read(Some("2026-03-01"), None), range("2026-03-01", "2026-03-01"));
        assert_eq!(read(None, Some("2024-02-29")), range("2024-01-31", "2024-02-29"));
        for (from, to, said) in [
            (Some("2026-03-02"), None, "before `to`"),
            (Some("2025-02-28"), None, "365 days"),
            (Some("yesterday"), None, "from must be a day"),
            (None, Some("2026-02-30"), "to must be a day"),
        ] {
            let error = read(from, to).expect_err("refused");
            assert!(error.contains(said), "{error}");
        }
    }
}
