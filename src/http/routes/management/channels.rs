//! `/api/v1/channels`: the payment channels of a wallet.

use axum::extract::State as AppState;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::funding::channel::{ChannelCursor, PayerChannel, Phase, channels_of};
use crate::http::State;
use crate::http::error::HttpError;
use crate::http::gates::wallet::{List, WalletSigned, answer, unavailable};
use crate::http::params::Number;
use crate::id::RequestId;

/// Channels of a page.
const DEFAULT_PAGE_CHANNELS: u32 = 100;
const MAX_PAGE_CHANNELS: u32 = 1000;

/// Page of a list of channels.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChannelQuery {
    limit: Option<Number>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Channels that a wallet opened, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChannelList {
    channels: Vec<ChannelView>,
    /// Value of `cursor` for the next page, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    #[schema(value_type = String)]
    request_id: RequestId,
}

/// A channel as its payer sees it. Amounts are in dollars.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChannelView {
    id: String,
    /// opening, open, closing (its payer asked the chain for that), closed or failed (it was never opened).
    #[schema(value_type = String)]
    state: &'static str,
    deposit_usd: String,
    /// Charged, over all requests.
    spent_usd: String,
    /// The highest voucher.
    accepted_usd: String,
    opened_at: String,
    /// Moment of the last voucher, opening or top-up.
    last_used_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_at: Option<String>,
}

impl From<PayerChannel> for ChannelView {
    fn from(channel: PayerChannel) -> Self {
        Self {
            id: channel.id.to_string(),
            state: match channel.phase {
                Phase::Open if channel.is_closing => "closing",
                phase => phase.as_str(),
            },
            deposit_usd: channel.deposit.to_dollars(),
            spent_usd: channel.spent.to_dollars(),
            accepted_usd: channel.accepted.to_dollars(),
            opened_at: channel.opened_at.to_rfc3339(),
            last_used_at: channel.active_at.to_rfc3339(),
            closed_at: channel.closed_at.map(crate::id::Timestamp::to_rfc3339),
        }
    }
}

/// List the payment channels that a wallet opened.
#[utoipa::path(get, path = "/api/v1/channels", operation_id = "list_channels", tag = "channels",
    params(("walletAddress" = String, Query), ("message" = String, Query), ("signature" = String, Query),
        ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    security(("walletMessage" = [])),
    responses((status = 200, description = "`channels`, the newest first, and `next` where there may be more", body = ChannelList),
        (status = 401, description = "missing_wallet_auth"), (status = 403, description = "The signature does not count")))]
pub async fn list(
    AppState(app): AppState<State>,
    mut signed: WalletSigned<List>,
) -> Result<Response, HttpError> {
    let query: ChannelQuery = signed.read()?;
    let limit =
        query.limit.map_or(Ok(DEFAULT_PAGE_CHANNELS), |limit| limit.whole("limit", 1..=MAX_PAGE_CHANNELS))?;
    let after = query.cursor.map(|text| {
        ChannelCursor::parse(&text).ok_or_else(|| {
            HttpError::invalid("cursor is malformed; send the `next` of an earlier page unchanged")
        })
    });
    let after = after.transpose()?;
    signed.authorize_read(&app).await?;
    let found = channels_of(&app.db, &signed.wallet(), after.as_ref(), limit).await;
    let found = found.map_err(|error| unavailable(&error))?;
    let is_full = found.len() == limit as usize;
    let next = found.last().filter(|_| is_full).map(|last| ChannelCursor::after(last).to_string());
    let channels = found.into_iter().map(ChannelView::from).collect();
    let list = ChannelList { channels, next, request_id: signed.request_id().clone() };
    Ok(answer(StatusCode::OK, &list))
}
