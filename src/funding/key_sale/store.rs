//! SQL of what a contract sold, and of how far it has been read.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::db::{Db, DbError, Tx};
use crate::funding::StoreError;
use crate::id::{SourceRef, Timestamp};
use crate::money::Money;

/// How far a contract has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainCursor {
    /// The first block that is not read whole.
    pub next_block: u64,
    /// The first log of that block, by its place in the block, that is not read.
    pub next_log: u64,
    /// How many purchases were read.
    pub seen: u64,
    /// `next_block` when the contract had last counted as many as were read.
    pub proven_block: u64,
    /// How many that were.
    pub proven_seen: u64,
}

impl ChainCursor {
    /// Nothing is read yet.
    pub(super) fn at(block: u64) -> Self {
        Self { next_block: block, next_log: 0, seen: 0, proven_block: block, proven_seen: 0 }
    }

    /// Behind one purchase.
    pub(super) fn past(self, block: u64, log: u64) -> Self {
        Self { next_block: block, next_log: log.saturating_add(1), seen: self.seen.saturating_add(1), ..self }
    }

    /// Behind a block.
    pub(super) fn past_block(self, block: u64) -> Self {
        Self { next_block: block.saturating_add(1), next_log: 0, ..self }
    }

    /// The contract counted as many as were read, up to here.
    pub(super) fn proven(self) -> Self {
        Self { proven_block: self.next_block, proven_seen: self.seen, ..self }
    }

    /// Back to where that was so.
    pub(super) fn rewound(self) -> Self {
        Self { next_block: self.proven_block, next_log: 0, seen: self.proven_seen, ..self }
    }
}

/// The cursor, made at `first` when there is none.
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
            sqlx::query(
                "INSERT INTO chain_cursors (name, next_block, next_log, seen, proven_block, proven_seen, \
                 updated_at) VALUES ($1, $2, 0, 0, $2, 0, $3) ON CONFLICT (name) DO NOTHING",
            )
            .bind(name.to_owned())
            .bind(stored(first))
            .bind(now.millis())
            .execute(tx.conn())
            .await?;
            Ok::<_, DbError>((tx, ChainCursor::at(first)))
        })
        .await?;
    // Another instance may have been first, and further by now.
    Ok(find(db, name).await?.unwrap_or(start))
}

/// The cursor, if there is one.
pub(super) async fn find(db: &Db, name: &str) -> Result<Option<ChainCursor>, StoreError> {
    let row = sqlx::query(
        "SELECT next_block, next_log, seen, proven_block, proven_seen FROM chain_cursors WHERE name = $1",
    )
    .bind(name.to_owned())
    .fetch_optional(&db.pool)
    .await?;
    row.map(|row| read(&row, name)).transpose()
}

/// Moves the cursor, unless it is not where it was when `from` was read.
pub(super) async fn advance(
    tx: &mut Tx,
    name: &str,
    from: &ChainCursor,
    to: &ChainCursor,
    now: Timestamp,
) -> Result<bool, DbError> {
    let done = sqlx::query(
        "UPDATE chain_cursors SET next_block = $5, next_log = $6, seen = $7, proven_block = $8, \
         proven_seen = $9, updated_at = $10 \
         WHERE name = $1 AND next_block = $2 AND next_log = $3 AND seen = $4",
    )
    .bind(name.to_owned())
    .bind(stored(from.next_block))
    .bind(stored(from.next_log))
    .bind(stored(from.seen))
    .bind(stored(to.next_block))
    .bind(stored(to.next_log))
    .bind(stored(to.seen))
    .bind(stored(to.proven_block))
    .bind(stored(to.proven_seen))
    .bind(now.millis())
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes a purchase that the ledger refused, once.
pub(super) async fn refuse(
    tx: &mut Tx,
    source: &SourceRef,
    owner: &str,
    amount: Money,
    why: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO uncredited_sales (source, owner, amount, why, created_at) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (source) DO NOTHING",
    )
    .bind(source.as_str().to_owned())
    .bind(owner.to_owned())
    .bind(amount.micros())
    .bind(why.to_owned())
    .bind(now.millis())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Block and log numbers are far below 2^63; one that is not sorts last.
fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn read(row: &AnyRow, name: &str) -> Result<ChainCursor, StoreError> {
    let number = |column: &'static str| {
        let value: i64 = row.try_get(column)?;
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
    fn a_cursor_goes_on_from_where_it_was_and_back_to_what_is_certain() {
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
