//! `/api/v1/billing/ledger`: what happened to a wallet's credits.

use axum::extract::State as AppState;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::super::State;
use super::super::error::HttpError;
use super::super::params::Number;
use super::super::request::Received;
use super::super::schema::LedgerPage;
use super::super::wallet::{Ledger, WalletSigned, answer, unavailable};
use super::csv;
use crate::app::App;
use crate::id::{AccountId, Timestamp};
use crate::ledger::{Entry, EntryKind, Filter, Page, StatementCursor};

/// Lines of a page, unless another number is asked for.
const PAGE: u32 = 100;
const LARGEST_PAGE: u32 = 1000;
/// Lines of one export.
const LARGEST_EXPORT: usize = 20_000;

/// Where an export that has more lines goes on.
pub const NEXT_CURSOR: HeaderName = HeaderName::from_static("x-next-cursor");

/// Which lines are wanted; each field may be left out.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LedgerQuery {
    /// credit, usage, purchase, expired or refund.
    kind: Option<String>,
    /// The model or service, exactly.
    service: Option<String>,
    /// From this moment on (RFC 3339), and before that one.
    from: Option<String>,
    to: Option<String>,
    /// 1 to 1000.
    #[schema(value_type = Option<String>)]
    limit: Option<Number>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// json or csv.
    format: Option<String>,
}

/// List what happened to a wallet's credits.
///
/// Newest first. `format=csv`, or `Accept: text/csv`, exports up to 20000 lines.
#[utoipa::path(get, path = "/api/v1/billing/ledger", tag = "billing",
    params(("walletAddress" = String, Query), ("message" = String, Query), ("signature" = String, Query),
        ("kind" = Option<String>, Query), ("service" = Option<String>, Query), ("from" = Option<String>, Query),
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
        Some(text) => Some(
            StatementCursor::parse(text).ok_or_else(|| HttpError::invalid("cursor is not one of ours"))?,
        ),
        None => None,
    };
    let account = signed.read_only(&app).await?;
    let page = lines(&app, account, &filter, cursor, limit).await?;
    let next = page.next.as_ref().map(ToString::to_string);
    if !as_csv {
        let entries: Vec<Value> = page.entries.iter().map(view).collect();
        let fields = json!({ "entries": entries, "next": next });
        return Ok(answer(StatusCode::OK, signed.request_id(), fields));
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
#[utoipa::path(post, path = "/api/v1/billing/ledger", tag = "billing", request_body = LedgerQuery,
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
        let moment = |name: &str, text: &Option<String>| match text.as_deref() {
            None | Some("") => Ok(None),
            Some(text) => Timestamp::parse_rfc3339(text).map(Some).ok_or_else(|| {
                HttpError::invalid(format!("{name} is not a time such as 2026-01-31T12:00:00Z"))
            }),
        };
        Ok(Filter {
            kind: kind.transpose().map_err(|()| {
                HttpError::invalid("kind must be credit, usage, purchase, expired or refund")
            })?,
            service: self.service.clone().filter(|service| !service.is_empty()),
            from: moment("from", &self.from)?,
            until: moment("to", &self.to)?,
        })
    }

    fn limit(&self, as_csv: bool) -> Result<usize, HttpError> {
        match &self.limit {
            Some(limit) => Ok(limit.whole("limit", 1..=LARGEST_PAGE)? as usize),
            None if as_csv => Ok(LARGEST_EXPORT),
            None => Ok(PAGE as usize),
        }
    }
}

/// So many lines, page by page.
async fn lines(
    app: &App,
    account: &AccountId,
    filter: &Filter,
    mut cursor: Option<StatementCursor>,
    limit: usize,
) -> Result<Page, HttpError> {
    let mut entries = Vec::new();
    loop {
        let left = u32::try_from(limit - entries.len()).unwrap_or(LARGEST_PAGE).min(LARGEST_PAGE);
        let page = app.ledger.matching(account, filter, cursor.as_ref(), left).await;
        let page = page.map_err(|error| unavailable(&error))?;
        entries.extend(page.entries);
        cursor = page.next;
        if cursor.is_none() || entries.len() >= limit {
            return Ok(Page { entries, next: cursor });
        }
    }
}

fn view(entry: &Entry) -> Value {
    json!({
        "id": entry.id,
        "kind": entry.kind,
        "direction": csv::direction(entry.kind),
        "amount": entry.amount,
        "service": entry.service,
        "units": entry.units,
        "unitPrice": entry.unit_price,
        "requestId": entry.request_id,
        "source": entry.source,
        "meta": entry.meta,
        "createdAt": entry.created_at.to_rfc3339(),
    })
}
