//! `/api/v1/billing/ledger`: the statement of a wallet's account.

use axum::extract::State as AppState;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::csv;
use crate::app::App;
use crate::http::State;
use crate::http::error::HttpError;
use crate::http::gates::wallet::{Ledger, WalletSigned, answer, unavailable};
use crate::http::params::Number;
use crate::http::request::Received;
use crate::id::{AccountId, RequestId, SourceRef, Timestamp};
use crate::keys::KeyId;
use crate::ledger::{Entry, EntryKind, Filter, Page, StatementCursor};
use crate::money::Money;

/// Lines of a page, unless another number is asked for.
const DEFAULT_PAGE_LINES: u32 = 100;
/// Lines of a page at the most.
const MAX_PAGE_LINES: u32 = 1000;
/// Lines of one export at the most.
const MAX_EXPORT_LINES: usize = 20_000;

/// Header with the cursor at which an export that has more lines goes on.
pub const NEXT_CURSOR: HeaderName = HeaderName::from_static("x-next-cursor");

/// Filter of a statement's lines; each field may be left out.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LedgerQuery {
    /// credit, usage, purchase, expired or refund.
    kind: Option<String>,
    /// The model or service, exactly.
    service: Option<String>,
    /// Id of the API key that the request was made with.
    key: Option<String>,
    /// The request's `X-Request-Id`, exactly.
    request_id: Option<String>,
    /// Time (RFC 3339) of the oldest line, or a UTC day.
    from: Option<String>,
    /// Time (RFC 3339) before which lines are shown, or the last UTC day.
    to: Option<String>,
    /// 1 to 1000.
    #[schema(value_type = Option<String>)]
    limit: Option<Number>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// json or csv.
    format: Option<String>,
}

/// A page of a wallet's statement, the newest line first.
#[derive(Debug, Serialize, ToSchema)]
pub struct LedgerPage {
    entries: Vec<LedgerEntry>,
    /// Value of `cursor` for the next page, where there is one.
    next: Option<String>,
    #[schema(value_type = String)]
    request_id: RequestId,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LedgerEntry {
    id: String,
    /// credit, usage, purchase, expired or refund.
    #[schema(value_type = String)]
    kind: EntryKind,
    /// in or out.
    #[schema(value_type = String)]
    direction: &'static str,
    /// Dollars.
    #[schema(value_type = String)]
    amount: Money,
    service: String,
    units: u64,
    /// Dollars; `null` where the units have several prices: `meta.items` has each of them.
    #[schema(value_type = Option<String>)]
    unit_price: Option<Money>,
    /// The request's `X-Request-Id`.
    #[schema(value_type = Option<String>)]
    request_id: Option<RequestId>,
    #[schema(value_type = Option<String>)]
    source: Option<SourceRef>,
    meta: Value,
    created_at: String,
}

/// List what happened to a wallet's credits.
///
/// Newest first. `format=csv`, or `Accept: text/csv`, exports up to 20000 lines.
#[utoipa::path(get, path = "/api/v1/billing/ledger", operation_id = "get_ledger", tag = "billing",
    params(("walletAddress" = String, Query), ("message" = String, Query), ("signature" = String, Query),
        ("kind" = Option<String>, Query), ("service" = Option<String>, Query), ("key" = Option<String>, Query),
        ("requestId" = Option<String>, Query), ("from" = Option<String>, Query),
        ("to" = Option<String>, Query), ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query),
        ("format" = Option<String>, Query)),
    security(("walletMessage" = [])),
    responses((status = 200, description = "`entries`, and `next` where there are more",
            content((LedgerPage = "application/json"), (String = "text/csv"))),
        (status = 401, description = "missing_wallet_auth"), (status = 403, description = "The signature does not count")))]
pub async fn ledger(
    AppState(app): AppState<State>,
    mut signed: WalletSigned<Ledger>,
) -> Result<Response, HttpError> {
    let query: LedgerQuery = signed.read()?;
    let as_csv = query.is_csv(signed.request())?;
    let (filter, limit) = (query.filter()?, query.limit(as_csv)?);
    let cursor = match &query.cursor {
        Some(text) => Some(StatementCursor::parse(text).ok_or_else(|| {
            HttpError::invalid("cursor is malformed; send the `next` of an earlier page unchanged")
        })?),
        None => None,
    };
    let account = signed.authorize_read(&app).await?;
    let page = lines(&app, account, &filter, cursor, limit).await?;
    let next = page.next.as_ref().map(ToString::to_string);
    if !as_csv {
        let entries = page.entries.into_iter().map(LedgerEntry::from).collect();
        let page = LedgerPage { entries, next, request_id: signed.request_id().clone() };
        return Ok(answer(StatusCode::OK, &page));
    }
    let headers = [
        (CONTENT_TYPE, "text/csv; charset=utf-8; header=present"),
        (CONTENT_DISPOSITION, "attachment; filename=\"ledger.csv\""),
        (CACHE_CONTROL, "no-store"),
    ];
    let mut response = (headers, csv::lines(&page.entries)).into_response();
    if let Some(next) = next.and_then(|next| HeaderValue::try_from(next).ok()) {
        response.headers_mut().insert(NEXT_CURSOR, next);
    }
    Ok(response)
}

/// List what happened to a wallet's credits, with the signature in the body.
#[utoipa::path(post, path = "/api/v1/billing/ledger", operation_id = "get_ledger_by_post", tag = "billing", request_body = LedgerQuery,
    security(("walletMessage" = [])),
    responses((status = 200, description = "As with GET", content((LedgerPage = "application/json"), (String = "text/csv"))), (status = 401, description = "missing_wallet_auth"),
        (status = 403, description = "The signature does not count")))]
pub async fn ledger_by_post(
    app: AppState<State>,
    signed: WalletSigned<Ledger>,
) -> Result<Response, HttpError> {
    ledger(app, signed).await
}

impl LedgerQuery {
    fn is_csv(&self, request: &Received) -> Result<bool, HttpError> {
        match self.format.as_deref() {
            Some("csv") => Ok(true),
            Some("json") => Ok(false),
            Some(_) => Err(HttpError::invalid("format must be json or csv")),
            None => Ok(request.header(ACCEPT.as_str()).is_some_and(|accept| accept.contains("text/csv"))),
        }
    }

    fn filter(&self) -> Result<Filter, HttpError> {
        let kind = self.kind.as_deref().filter(|kind| !kind.is_empty());
        let kind = kind.map(|kind| EntryKind::ALL.into_iter().find(|known| known.as_str() == kind).ok_or(()));
        let time = |name: &str, text: &Option<String>| match text.as_deref() {
            None | Some("") => Ok(None),
            Some(text) => moment(text, name == "to").map(Some).ok_or_else(|| {
                HttpError::invalid(format!(
                    "{name} must be a day or an RFC 3339 time, such as 2026-01-31 or 2026-01-31T12:00:00Z"
                ))
            }),
        };
        let key = self.key.as_deref().filter(|key| !key.is_empty());
        if self.service.as_ref().is_some_and(|service| service.contains('\0')) {
            return Err(HttpError::invalid("service has a NUL character, which no service has"));
        }
        let request_id = self.request_id.as_deref().filter(|id| !id.is_empty());
        Ok(Filter {
            key: key.map(|key| KeyId::parse(key).map(|key| key.to_string()).ok_or(())).transpose().map_err(
                |()| HttpError::invalid("key must be the id of an API key; GET /api/v1/keys lists them"),
            )?,
            request_id: request_id.map(|id| RequestId::from_client(id).ok_or(())).transpose().map_err(
                |()| {
                    HttpError::invalid("requestId must be the X-Request-Id of an answer, 1 to 128 characters")
                },
            )?,
            kind: kind.transpose().map_err(|()| {
                HttpError::invalid("kind must be credit, usage, purchase, expired or refund")
            })?,
            service: self.service.clone().filter(|service| !service.is_empty()),
            from: time("from", &self.from)?,
            until: time("to", &self.to)?,
        })
    }

    fn limit(&self, as_csv: bool) -> Result<usize, HttpError> {
        match &self.limit {
            Some(limit) => Ok(limit.whole("limit", 1..=MAX_PAGE_LINES)? as usize),
            None if as_csv => Ok(MAX_EXPORT_LINES),
            None => Ok(DEFAULT_PAGE_LINES as usize),
        }
    }
}

/// Reads a moment, or a UTC day: its beginning, or its end.
fn moment(text: &str, is_end: bool) -> Option<Timestamp> {
    const DAY_MS: i64 = 86_400_000;
    if text.len() == "2026-01-31".len() {
        let begins = Timestamp::parse_rfc3339(&format!("{text}T00:00:00Z"))?;
        return if is_end { begins.checked_add_millis(DAY_MS) } else { Some(begins) };
    }
    // A plus sign in a query is read as a space.
    let (time, offset) = text.split_at_checked("2026-01-31T12:00:00".len())?;
    Timestamp::parse_rfc3339(&format!("{time}{}", offset.replace(' ', "+")))
}

/// Reads up to `limit` lines, page by page.
async fn lines(
    app: &App,
    account: &AccountId,
    filter: &Filter,
    mut cursor: Option<StatementCursor>,
    limit: usize,
) -> Result<Page, HttpError> {
    let mut entries = Vec::new();
    loop {
        let left = u32::try_from(limit - entries.len()).unwrap_or(MAX_PAGE_LINES).min(MAX_PAGE_LINES);
        let page = app.ledger.matching(account, filter, cursor.as_ref(), left).await;
        let page = page.map_err(|error| unavailable(&error))?;
        entries.extend(page.entries);
        cursor = page.next;
        if cursor.is_none() || entries.len() >= limit {
            return Ok(Page { entries, next: cursor });
        }
    }
}

impl From<Entry> for LedgerEntry {
    fn from(entry: Entry) -> Self {
        let unit_price = csv::unit_price(&entry);
        Self {
            id: entry.id,
            kind: entry.kind,
            direction: csv::direction(entry.kind),
            amount: entry.amount,
            service: entry.service,
            units: entry.units,
            unit_price,
            request_id: entry.request_id,
            source: entry.source,
            meta: entry.meta,
            created_at: entry.created_at.to_rfc3339(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_days_are_read() {
        for (text, is_end, expected) in [
            ("2026-01-31T12:00:00Z", false, Some("2026-01-31T12:00:00Z")),
            ("2026-01-31T12:00:00+02:00", false, Some("2026-01-31T10:00:00Z")),
            ("2026-01-31T12:00:00 02:00", false, Some("2026-01-31T10:00:00Z")),
            ("2026-01-31T12:00:00.5 02:00", true, Some("2026-01-31T10:00:00.5Z")),
            ("2026-01-31", false, Some("2026-01-31T00:00:00Z")),
            ("2026-01-31", true, Some("2026-02-01T00:00:00Z")),
            ("2026-02-30", false, None),
            ("yesterday", false, None),
            ("ééééééééééééé", false, None),
        ] {
            let read = moment(text, is_end).map(Timestamp::to_rfc3339);
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }
}
