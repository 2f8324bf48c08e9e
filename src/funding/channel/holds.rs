//! SQL of a channel's holds: what its requests are charged on.

use sqlx::Row as _;

use super::state::ChannelRequest;
use super::store::{account, corrupt};
use crate::db::{DbError, Tx};
use crate::funding::StoreError;
use crate::id::{HoldId, RequestId};
use crate::money::Money;
use crate::payments::methods::tempo::session::ChannelId;

/// An open hold of a channel's account, and what it is for.
#[derive(Debug, Clone)]
pub(super) struct OpenChannelHold {
    pub hold: HoldId,
    pub charged: Money,
    pub request_id: Option<RequestId>,
    pub challenge: String,
    pub service: String,
    pub unit_price: Money,
}

/// The open holds of a channel's account. Both are locked, so what they were
/// charged stays so until the transaction ends.
pub(super) async fn open_holds(tx: &mut Tx, channel: ChannelId) -> Result<Vec<OpenChannelHold>, StoreError> {
    let account = account(channel).as_str().to_owned();
    let sql = format!("SELECT id FROM accounts WHERE id = $1{}", tx.engine().for_update());
    sqlx::query(sqlx::AssertSqlSafe(sql)).bind(account.clone()).fetch_optional(tx.conn()).await?;
    let lock = tx.engine().for_update_of("h");
    let sql = format!(
        "SELECT h.id, h.charged, r.request_id, coalesce(r.challenge, '') AS challenge, \
         coalesce(r.service, 'chat') AS service, coalesce(r.unit_price, 0) AS unit_price \
         FROM holds h LEFT JOIN channel_requests r ON r.hold = h.id \
         WHERE h.account = $1 AND h.state = 'open' ORDER BY h.id{lock}"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(account).fetch_all(tx.conn()).await?;
    rows.iter()
        .map(|row| {
            let id: String = row.try_get("id")?;
            let request: Option<String> = row.try_get("request_id")?;
            Ok(OpenChannelHold {
                hold: HoldId::parse(&id).map_err(|_| corrupt(channel, "hold", &id))?,
                charged: Money::from_micros(row.try_get("charged")?),
                request_id: request.as_deref().and_then(RequestId::from_client),
                challenge: row.try_get("challenge")?,
                service: row.try_get("service")?,
                unit_price: Money::from_micros(row.try_get("unit_price")?),
            })
        })
        .collect()
}

/// Remembers what a new hold is for, in place of what earlier ones were for.
pub(super) async fn set_request(
    tx: &mut Tx,
    channel: ChannelId,
    hold: &HoldId,
    request: &ChannelRequest<'_>,
) -> Result<(), DbError> {
    sqlx::query("DELETE FROM channel_requests WHERE channel = $1")
        .bind(channel.to_string())
        .execute(tx.conn())
        .await?;
    sqlx::query(
        "INSERT INTO channel_requests (hold, channel, request_id, challenge, service, unit_price) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(hold.as_str().to_owned())
    .bind(channel.to_string())
    .bind(request.id.as_str().to_owned())
    .bind(request.challenge.to_owned())
    .bind(request.service.to_owned())
    .bind(request.unit_price.micros())
    .execute(tx.conn())
    .await?;
    Ok(())
}
