//! Channels as their payer sees them.

use super::{Phase, StoreError};
use crate::db::Db;
use crate::db::statements::Row;
use crate::id::Timestamp;
use crate::ledger;
use crate::money::Money;
use crate::payments::methods::tempo::session::ChannelId;

/// A channel of a payer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayerChannel {
    pub id: ChannelId,
    pub phase: Phase,
    /// True if its payer asked the chain for a close.
    pub is_closing: bool,
    pub deposit: Money,
    /// Amount charged, over all requests.
    pub spent: Money,
    /// Highest cumulative amount of a voucher.
    pub accepted: Money,
    pub opened_at: Timestamp,
    /// Moment of the last voucher, opening or top-up.
    pub active_at: Timestamp,
    /// Moment at which it was known that it is closed, or can never be opened.
    pub closed_at: Option<Timestamp>,
}

/// Place in a list: after the channel that was opened at this moment under this id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelCursor {
    opened_at: Timestamp,
    id: String,
}

impl ChannelCursor {
    /// Returns the place after a channel.
    #[must_use]
    pub fn after(channel: &PayerChannel) -> Self {
        Self { opened_at: channel.opened_at, id: channel.id.to_string() }
    }

    /// Reads the text that a cursor displays as; `None` if it is something else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (millis, id) = text.split_once('-')?;
        let id: ChannelId = id.parse().ok()?;
        Some(Self { opened_at: Timestamp::from_millis(millis.parse().ok()?), id: id.to_string() })
    }
}

impl std::fmt::Display for ChannelCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.opened_at.millis(), self.id)
    }
}

/// Returns up to `limit` channels of a payer (an address in lower case), the newest first.
///
/// # Errors
/// [`StoreError`] if the database fails.
pub async fn channels_of(
    db: &Db,
    payer: &str,
    after: Option<&ChannelCursor>,
    limit: u32,
) -> Result<Vec<PayerChannel>, StoreError> {
    let spent = ledger::spent_of("'channel:' || c.id");
    // The plain bound on `created_at` lets the index begin there.
    let text = format!(
        "SELECT c.id, c.state, c.close_requested_at, c.deposit, c.created_at, c.active_at, c.checked_at, \
         {spent} AS spent, coalesce((SELECT max(amount) FROM vouchers WHERE channel = c.id), 0) AS accepted \
         FROM channels c WHERE c.payer = $1 AND c.created_at <= $2 \
         AND (c.created_at < $2 OR (c.created_at = $2 AND c.id < $3)) \
         ORDER BY c.created_at DESC, c.id DESC LIMIT $4"
    );
    let (moment, id) = after.map_or((i64::MAX, ""), |after| (after.opened_at.millis(), after.id.as_str()));
    let values = vec![payer.into(), moment.into(), id.into(), i64::from(limit).into()];
    db.fetch(&text, values).await?.iter().map(read).collect()
}

fn read(row: &Row) -> Result<PayerChannel, StoreError> {
    let id = row.text("id")?;
    let corrupt =
        |column, value: &str| StoreError::Corrupt { id: id.clone(), column, value: value.to_owned() };
    let state = row.text("state")?;
    let phase = Phase::ALL.into_iter().find(|phase| phase.as_str() == state);
    let phase = phase.ok_or_else(|| corrupt("state", &state))?;
    let money = |column| row.whole(column).map(Money::from_micros);
    let moment = |column| row.whole(column).map(Timestamp::from_millis);
    let is_over = matches!(phase, Phase::Closed | Phase::Failed);
    Ok(PayerChannel {
        id: id.parse().map_err(|_| corrupt("id", &id))?,
        phase,
        is_closing: !is_over && row.whole("close_requested_at")? > 0,
        deposit: money("deposit")?,
        spent: money("spent")?,
        accepted: money("accepted")?,
        opened_at: moment("created_at")?,
        active_at: moment("active_at")?,
        // The chain is not asked about it any more.
        closed_at: if is_over { Some(moment("checked_at")?) } else { None },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_as_they_are_written() {
        let text = format!("1767225600500-0x{}", "1f".repeat(32));
        assert_eq!(ChannelCursor::parse(&text).expect("a cursor").to_string(), text);
        for wrong in ["", "5", "5-", "5-0x1f", "x-0x1f"] {
            assert_eq!(ChannelCursor::parse(wrong), None, "{wrong}");
        }
    }
}
