//! SQL of cursors over contracts' logs.

use alloy::primitives::Address;

use crate::chain::key_sale::logs::SaleLog;
use crate::db::statements::{Row, Statements as _};
use crate::db::{Db, DbError, Tx};
use crate::funding::StoreError;
use crate::id::Timestamp;

/// Position up to which a contract's logs have been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainCursor {
    /// First block of which not all logs are read.
    pub next_block: u64,
    /// First log of that block that is not read, by its index in the block.
    pub next_log: u64,
    /// Number of purchases read.
    pub seen: u64,
    /// `next_block` when the contract's count last agreed with `seen`.
    pub proven_block: u64,
    /// `seen` at that time.
    pub proven_seen: u64,
}

impl ChainCursor {
    /// Returns the cursor with which reading begins at a block.
    pub(super) fn at(block: u64) -> Self {
        Self { next_block: block, next_log: 0, seen: 0, proven_block: block, proven_seen: 0 }
    }

    /// Returns the cursor behind a log. Only purchases are counted, as the contract does.
    pub(super) fn past(self, log: &SaleLog) -> Self {
        let seen = self.seen.saturating_add(u64::from(log.sale.is_some()));
        Self { next_block: log.block, next_log: log.log_index.saturating_add(1), seen, ..self }
    }

    /// Returns the cursor behind a block.
    pub(super) fn past_block(self, block: u64) -> Self {
        Self { next_block: block.saturating_add(1), next_log: 0, ..self }
    }

    /// Returns the cursor after the contract's count agreed with `seen`.
    pub(super) fn proven(self) -> Self {
        Self { proven_block: self.next_block, proven_seen: self.seen, ..self }
    }

    /// Returns the cursor where the counts last agreed.
    pub(super) fn rewound(self) -> Self {
        Self { next_block: self.proven_block, next_log: 0, seen: self.proven_seen, ..self }
    }
}

/// Finds a cursor, or stores one at block `first`.
pub(super) async fn cursor(
    db: &Db,
    name: &str,
    first: u64,
    now: Timestamp,
) -> Result<ChainCursor, StoreError> {
    if let Some(cursor) = find(db, name).await? {
        return Ok(cursor);
    }
    let start = db
        .transaction(|mut tx| async move {
            let text = "INSERT INTO chain_cursors \
                 (name, next_block, next_log_index, seen, proven_block, proven_seen, updated_at) \
                 VALUES ($1, $2, 0, 0, $2, 0, $3) ON CONFLICT (name) DO NOTHING";
            tx.execute(text, vec![name.into(), stored(first).into(), now.millis().into()]).await?;
            Ok::<_, DbError>((tx, ChainCursor::at(first)))
        })
        .await?;
    // Another instance may have been first, and further by now.
    Ok(find(db, name).await?.unwrap_or(start))
}

/// Finds a cursor.
pub(super) async fn find(db: &Db, name: &str) -> Result<Option<ChainCursor>, StoreError> {
    let text = "SELECT next_block, next_log_index, seen, proven_block, proven_seen \
         FROM chain_cursors WHERE name = $1";
    let row = db.fetch_optional(text, vec![name.into()]).await?;
    row.map(|row| read(&row, name)).transpose()
}

/// Moves the cursor; `false` when it is not at `from` any more.
pub(super) async fn advance(
    tx: &mut Tx,
    name: &str,
    from: &ChainCursor,
    to: &ChainCursor,
    now: Timestamp,
) -> Result<bool, DbError> {
    let text = "UPDATE chain_cursors SET next_block = $5, next_log_index = $6, seen = $7, proven_block = $8, \
         proven_seen = $9, updated_at = $10 \
         WHERE name = $1 AND next_block = $2 AND next_log_index = $3 AND seen = $4";
    let numbers = [
        from.next_block,
        from.next_log,
        from.seen,
        to.next_block,
        to.next_log,
        to.seen,
        to.proven_block,
        to.proven_seen,
    ];
    let mut values = vec![name.into()];
    values.extend(numbers.map(|number| stored(number).into()));
    values.push(now.millis().into());
    Ok(tx.execute(text, values).await? == 1)
}

/// Returns the contracts of a chain that were followed before purchases' sources named them, as far as their cursors
/// were there when that changed.
pub(super) async fn contracts_before(db: &Db, chain_id: u64) -> Result<Vec<Address>, StoreError> {
    let rows = db.fetch("SELECT name FROM key_sale_origins", Vec::new()).await?;
    let prefix = format!("key_sale:{chain_id}:");
    let names = rows.iter().map(|row| row.text("name")).collect::<Result<Vec<_>, _>>()?;
    Ok(names.iter().filter_map(|name| name.strip_prefix(&prefix)?.parse().ok()).collect())
}

/// Returns the stored form. Block and log numbers are far below 2^63; one that is not sorts last.
fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn read(row: &Row, name: &str) -> Result<ChainCursor, StoreError> {
    Ok(ChainCursor {
        next_block: number(row, name, "next_block")?,
        next_log: number(row, name, "next_log_index")?,
        seen: number(row, name, "seen")?,
        proven_block: number(row, name, "proven_block")?,
        proven_seen: number(row, name, "proven_seen")?,
    })
}

fn number(row: &Row, name: &str, column: &'static str) -> Result<u64, StoreError> {
    let value = row.whole(column)?;
    let id = || name.to_owned();
    u64::try_from(value).map_err(|_| StoreError::Corrupt { id: id(), column, value: value.to_string() })
}

#[cfg(test)]
mod tests {
    use alloy::primitives::B256;

    use super::*;
    use crate::chain::key_sale::logs::{Sale, SalePayment};
    use crate::money::Money;

    #[test]
    fn a_cursor_moves_forward_and_rewinds_to_where_the_counts_agreed() {
        let sale = Sale {
            buyer: Address::ZERO,
            owner: Address::ZERO,
            amount: Money::from_micros(1),
            key: None,
            payment: SalePayment::Received,
        };
        let log =
            |block, log_index, sale| SaleLog { block, log_index, transaction: B256::ZERO, ordinal: 0, sale };
        let sold = |block, index| log(block, index, Some(sale.clone()));
        let first = ChainCursor::at(10).past(&sold(12, 3)).past(&sold(12, 4));
        assert_eq!((first.next_block, first.next_log, first.seen), (12, 5, 2));
        let sure = first.past_block(15).proven();
        assert_eq!((sure.next_block, sure.next_log, sure.seen), (16, 0, 2));
        let further = sure.past(&sold(20, 0)).past(&log(20, 1, None)).past_block(30);
        assert_eq!((further.next_block, further.seen), (31, 3));
        assert_eq!(further.rewound(), sure);
        assert_eq!(first.rewound(), ChainCursor::at(10));
    }
}
