//! `/api/v1/billing/usage`: the usage of a wallet's account, added up.

use axum::extract::State as AppState;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use crate::http::State;
use crate::http::error::HttpError;
use crate::http::gates::wallet::{Ledger, WalletSigned, answer, unavailable};
use crate::http::routes::v1::account::DayRange;
use crate::id::RequestId;
use crate::ledger::{Day, EntryKind, UsageGrouping, UsageOutcome, UsageQuery, UsageRow, UsageSums};
use crate::money::Money;

/// Rows of one answer at the most.
const MAX_ROWS: u32 = 20_000;

/// Range of days and columns; each field may be left out.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UsageBody {
    /// First UTC day; 29 days before `to` if left out.
    #[schema(example = "2026-11-01")]
    from: Option<String>,
    /// Last UTC day; today if left out. A range has 366 days at the most.
    #[schema(example = "2026-11-30")]
    to: Option<String>,
    /// Columns by which usage is told apart, with commas between them: day, service, key, kind. `day` if left out; kinds
    /// always are.
    #[schema(example = "day,service,key")]
    by: Option<String>,
}

/// Usage of a wallet's account.
#[derive(Debug, Serialize, ToSchema)]
pub struct AccountUsage {
    /// Ordered by their columns. Nothing was used where there is no row.
    rows: Vec<UsageLine>,
    /// Sums of all rows.
    total: UsageTotal,
    #[schema(example = "2026-11-01")]
    from: String,
    #[schema(example = "2026-11-30")]
    to: String,
    #[schema(value_type = String)]
    request_id: RequestId,
}

/// Usage of one day, service and key, as far as they were asked for, and of one kind.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsageLine {
    /// UTC day of the entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    day: Option<String>,
    /// Model or service.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    /// Id of the API key; `null` for requests without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    key: Option<RowKey>,
    /// usage, purchase or expired, as in the ledger.
    #[schema(value_type = String)]
    kind: EntryKind,
    #[serde(flatten)]
    sums: UsageTotal,
}

/// Id of a row's API key; empty, and written as `null`, for requests without one.
#[derive(Debug)]
struct RowKey(String);

impl Serialize for RowKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Some(&self.0).filter(|key| !key.is_empty()).serialize(serializer)
    }
}

/// Sums of ledger entries.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageTotal {
    requests: i64,
    prompt_tokens: i64,
    completion_tokens: i64,
    /// Dollars.
    #[schema(value_type = String)]
    cost_usd: Money,
}

impl From<UsageSums> for UsageTotal {
    fn from(sums: UsageSums) -> Self {
        let UsageSums { requests, prompt_tokens, completion_tokens, cost } = sums;
        Self { requests, prompt_tokens, completion_tokens, cost_usd: cost }
    }
}

impl From<UsageRow> for UsageLine {
    fn from(row: UsageRow) -> Self {
        Self {
            day: row.day.map(|day| day.to_string()),
            service: row.service,
            key: row.key.map(RowKey),
            kind: row.kind,
            sums: row.sums.into(),
        }
    }
}

impl UsageBody {
    fn grouping(&self) -> Result<UsageGrouping, HttpError> {
        let by = self.by.as_deref().filter(|by| !by.is_empty()).unwrap_or("day");
        let mut grouping = UsageGrouping::default();
        for column in by.split(',') {
            match column.trim() {
                "day" => grouping.by_day = true,
                "service" => grouping.by_service = true,
                "key" => grouping.by_key = true,
                "kind" => {}
                _ => {
                    let reason = "by must be day, service, key or kind, or several with commas between them";
                    return Err(HttpError::invalid(reason).param("by"));
                }
            }
        }
        Ok(grouping)
    }
}

/// Add up what a wallet's credits were used for.
///
/// By UTC day, service and API key. A request is counted when its ledger entry is written, in the same transaction. Credit
/// that was taken back is not counted.
#[utoipa::path(get, path = "/api/v1/billing/usage", operation_id = "get_account_usage", tag = "billing",
    params(("walletAddress" = String, Query), ("message" = String, Query), ("signature" = String, Query),
        ("from" = Option<String>, Query), ("to" = Option<String>, Query), ("by" = Option<String>, Query)),
    security(("walletMessage" = [])),
    responses((status = 200, description = "`rows`, up to 20000, and their `total`", body = AccountUsage),
        (status = 400, description = "More than 366 days or 20000 rows, or a column that there is not"),
        (status = 401, description = "missing_wallet_auth"), (status = 403, description = "The signature does not count")))]
pub async fn usage(
    AppState(app): AppState<State>,
    mut signed: WalletSigned<Ledger>,
) -> Result<Response, HttpError> {
    let body: UsageBody = signed.read()?;
    let grouping = body.grouping()?;
    let today = Day::of(signed.at()).to_string();
    let (from, to) = DayRange::new(body.from, body.to).days(&today)?;
    let day = |text: &str| Day::parse(text).ok_or_else(|| HttpError::invalid("from and to must be days"));
    let query = UsageQuery { first: day(&from)?, last: day(&to)?, grouping, limit: MAX_ROWS };
    let account = signed.authorize_read(&app).await?;
    let found = app.ledger.usage(account, &query).await.map_err(|error| unavailable(&error))?;
    let UsageOutcome::Rows(rows) = found else {
        return Err(HttpError::invalid(format!(
            "the answer would have more than {MAX_ROWS} rows; ask for fewer days, or leave a column out of `by`"
        )));
    };
    let total = rows.iter().try_fold(UsageSums::default(), |sum, row| sum.checked_add(row.sums));
    let report = AccountUsage {
        total: total.unwrap_or_default().into(),
        rows: rows.into_iter().map(UsageLine::from).collect(),
        from,
        to,
        request_id: signed.request_id().clone(),
    };
    Ok(answer(StatusCode::OK, &report))
}

/// Add up what a wallet's credits were used for, with the signature in the body.
#[utoipa::path(post, path = "/api/v1/billing/usage", operation_id = "get_account_usage_by_post", tag = "billing",
    request_body(content = UsageBody, description = "With walletAddress, message and signature"),
    security(("walletMessage" = [])),
    responses((status = 200, description = "As with GET", body = AccountUsage),
        (status = 400, description = "More than 366 days or 20000 rows, or a column that there is not"),
        (status = 401, description = "missing_wallet_auth"), (status = 403, description = "The signature does not count")))]
pub async fn usage_by_post(
    app: AppState<State>,
    signed: WalletSigned<Ledger>,
) -> Result<Response, HttpError> {
    usage(app, signed).await
}
