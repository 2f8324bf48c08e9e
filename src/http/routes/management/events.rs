//! `GET /api/v1/events`: what happens to an account, told to the pages of its owner as it happens.
//!
//! Each stream looks at its account's row, and at new lines of the ledger where the row has changed: instances need not
//! tell each other, and the ledger's hot path knows nothing of who looks on.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State as AppState;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_stream::wrappers::ReceiverStream;

use crate::browser_sessions::BrowserSession;
use crate::browser_sessions::event_streams::MAX_OF_ACCOUNT;
use crate::http::State;
use crate::http::clock;
use crate::http::error::{Code, HttpError};
use crate::http::gates::browser::SignedIn;
use crate::http::gates::wallet::unavailable as ledger_unavailable;
use crate::http::sse::PING;
use crate::id::Timestamp;
use crate::ledger::{Balance, Entry, Filter};
use crate::money::Money;

/// Time between two looks at an account.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Time between two looks at an account that never had credit.
const NEWCOMER_INTERVAL: Duration = Duration::from_secs(2);
/// Time between two looks if the session lives, and between pings.
const SESSION_INTERVAL: Duration = Duration::from_secs(5);
/// Lines that one look tells at the most; a page reads the rest from the ledger.
const MAX_LINES: u32 = 50;
/// Time for which lines are remembered as told: those of one moment may be written one after the other.
const OVERLAP_MS: i64 = 10_000;

/// Follow an account, as server-sent events.
///
/// `balance` at once and whenever it changes, `usage` for each new line of the ledger, `end` when the session has ended.
#[utoipa::path(get, path = "/api/v1/events", operation_id = "follow_account", tag = "billing",
    responses((status = 200, description = "Events `balance`, `usage` and `end`", content_type = "text/event-stream"),
        (status = 401, description = "missing_wallet_auth"), (status = 429, description = "Too many streams of this account are open")))]
pub async fn events(AppState(app): AppState<State>, signed_in: SignedIn) -> Result<Response, HttpError> {
    let SignedIn { session, request } = signed_in;
    let balance = app.ledger.balance(&session.account).await.map_err(|error| ledger_unavailable(&error))?;
    let is_newcomer = balance.credited() == Money::ZERO;
    let place = app.event_streams.take(&session.account, is_newcomer).ok_or_else(|| {
        let detail = format!(
            "too many event streams are open: an account can have {MAX_OF_ACCOUNT}; close one, or try again later"
        );
        HttpError::new(Code::RateLimitExceededRpm, detail).retry_soon()
    })?;
    let (events, received) = mpsc::channel(8);
    let watch = Watch { lines_from: request.at, told: BTreeMap::new(), balance: None, session, events };
    let stopping = app.stopping.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = stopping.cancelled() => {}
            () = watch.run(&app) => {}
        }
        drop(place);
    });
    let headers = [(CONTENT_TYPE, "text/event-stream; charset=utf-8"), (CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(ReceiverStream::new(received))).into_response())
}

/// One stream's knowledge of its account.
struct Watch {
    session: BrowserSession,
    events: mpsc::Sender<Result<Bytes, std::convert::Infallible>>,
    balance: Option<Balance>,
    /// Earliest moment of lines that may be new.
    lines_from: Timestamp,
    /// Lines from then on that were told, by their id.
    told: BTreeMap<String, Timestamp>,
}

/// Reason that a stream ends.
enum WatchEnd {
    ClientGone,
    Session,
    Unavailable,
}

impl Watch {
    async fn run(mut self, app: &State) {
        let mut session_checked = Instant::now();
        let mut pause = Duration::ZERO;
        loop {
            tokio::select! {
                () = sleep(pause) => {}
                () = self.events.closed() => return,
            }
            let mut looked = self.look(app).await;
            let had_credit = self.balance.as_ref().is_some_and(|balance| balance.credited() > Money::ZERO);
            pause = if had_credit { LOOK_INTERVAL } else { NEWCOMER_INTERVAL };
            if looked.is_ok() && session_checked.elapsed() >= SESSION_INTERVAL {
                session_checked = Instant::now();
                looked = self.check_session(app).await;
            }
            match looked {
                Ok(()) => {}
                Err(WatchEnd::Session) => {
                    let _ =
                        self.send("end", &json!({"reason": "the session has ended; sign in again"})).await;
                    return;
                }
                // Where the database fails the client opens another stream after a moment, by the rules of
                // server-sent events.
                Err(WatchEnd::ClientGone | WatchEnd::Unavailable) => return,
            }
        }
    }

    async fn check_session(&self, app: &State) -> Result<(), WatchEnd> {
        let lives = app.browser_sessions.lives(&self.session, clock::after_wait()).await;
        if !lives.map_err(|error| unavailable(&error))? {
            return Err(WatchEnd::Session);
        }
        self.events.send(Ok(PING)).await.map_err(|_| WatchEnd::ClientGone)
    }

    async fn look(&mut self, app: &State) -> Result<(), WatchEnd> {
        let balance = app.ledger.balance(&self.session.account).await.map_err(|error| unavailable(&error))?;
        if self.balance.as_ref() == Some(&balance) {
            return Ok(());
        }
        let event = json!({
            "availableUsd": balance.available().to_dollars(),
            "creditedUsd": balance.credited().to_dollars(),
            "spentUsd": balance.spent().to_dollars(),
            "heldUsd": balance.held().to_dollars(),
        });
        self.send("balance", &event).await?;
        self.balance = Some(balance);
        self.tell_lines(app).await
    }

    async fn tell_lines(&mut self, app: &State) -> Result<(), WatchEnd> {
        let filter = Filter { from: Some(self.lines_from), ..Filter::default() };
        let page = app.ledger.matching(&self.session.account, &filter, None, MAX_LINES).await;
        let page = page.map_err(|error| unavailable(&error))?;
        let new: Vec<Entry> =
            page.entries.into_iter().filter(|entry| !self.told.contains_key(&entry.id)).collect();
        for entry in new.into_iter().rev() {
            self.told.insert(entry.id.clone(), entry.created_at);
            let from = entry.created_at.checked_sub_millis(OVERLAP_MS).unwrap_or(entry.created_at);
            self.lines_from = self.lines_from.max(from);
            self.send("usage", &line(&entry)).await?;
        }
        let from = self.lines_from;
        self.told.retain(|_, at| *at >= from);
        Ok(())
    }

    async fn send(&self, name: &str, data: &serde_json::Value) -> Result<(), WatchEnd> {
        let event = Bytes::from(format!("event: {name}\ndata: {data}\n\n"));
        self.events.send(Ok(event)).await.map_err(|_| WatchEnd::ClientGone)
    }
}

/// A line as pages are told of it; the ledger has the rest.
fn line(entry: &Entry) -> serde_json::Value {
    json!({
        "id": entry.id,
        "kind": entry.kind.as_str(),
        "service": entry.service,
        "key": entry.meta.get("key"),
        "costUsd": entry.amount.to_dollars(),
        "requestId": entry.request_id.as_ref().map(crate::id::RequestId::as_str),
        "createdAt": entry.created_at.to_rfc3339(),
    })
}

fn unavailable(error: &dyn std::error::Error) -> WatchEnd {
    tracing::warn!(%error, "an account cannot be followed");
    WatchEnd::Unavailable
}
