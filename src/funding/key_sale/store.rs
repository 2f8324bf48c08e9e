//! SQL of cursors over a contract's logs, and of purchases that were refused.

use crate::db::statements::{Row, Statements as _};
use crate::db::{Db, DbError, Tx};
use crate::funding::StoreError;
use crate::id::{SourceRef, Timestamp};
use crate::money::Money;

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

    /// Returns the cursor behind a purchase.
    pub(super) fn past(self, block: u64, log: u64) -> Self {
        Self { next_block: block, next_log: log.saturating_add(1), seen: self.seen.saturating_add(1), ..self }
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
                 (name, next_block, next_log, seen, proven_block, proven_seen, updated_at) \
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
    let text = "SELECT next_block, next_log, seen, proven_block, proven_seen \
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
    let text = "UPDATE chain_cursors SET next_block = $5, next_log = $6, seen = $7, proven_block = $8, \
         proven_seen = $9, updated_at = $10 \
         WHERE name = $1 AND next_block = $2 AND next_log = $3 AND seen = $4";
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

/// Records a purchase that the ledger refused, once.
pub(super) async fn insert_uncredited(
    tx: &mut Tx,
    source: &SourceRef,
    owner: &str,
    amount: Money,
    reason: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    let text = "INSERT INTO uncredited_sales (source, owner, amount, why, created_at) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (source) DO NOTHING";
    let values = vec![
        source.as_str().into(),
        owner.into(),
        amount.micros().into(),
        reason.into(),
        now.millis().into(),
    ];
    tx.execute(text, values).await?;
    Ok(())
}

/// Returns the stored form. Block and log numbers are far below 2^63; one that is not sorts last.
fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn read(row: &Row, name: &str) -> Result<ChainCursor, StoreError> {
    let number = |column: &'static str| {
        let value = row.whole(column)?;
        let id = || name.to_owned();
        u64::try_from(value).map_err(|_| StoreError::Corrupt { id: id(), column, value: value.to_string() })
    };
    Ok(ChainCursor {
        next_block: number("next_block")?,
        next_log: number("next_log")?,
        seen: number("seen")?,
        proven_block: number("proven_block")?,
        proven_seen: number("proven_seen")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_moves_forward_and_rewinds_to_where_the_counts_agreed() {
        let first = ChainCursor::at(10).past(12, 3).past(12, 4);
        assert_eq!((first.next_block, first.next_log, first.seen), (12, 5, 2));
        let sure = first.past_block(15).proven();
        assert_eq!((sure.next_block, sure.next_log, sure.seen), (16, 0, 2));
        let further = sure.past(20, 0).past_block(30);
        assert_eq!((further.next_block, further.seen), (31, 3));
        assert_eq!(further.rewound(), sure);
        assert_eq!(first.rewound(), ChainCursor::at(10));
    }
}
