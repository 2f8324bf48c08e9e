//! SQL of payments that nobody works on any more: those that the recoverer looks at, and what is dropped in the end.

use sqlx::Row as _;

use super::store::{Bind, Payments, StoreError};
use crate::id::Timestamp;
use crate::payments::Network;
use crate::payments::core::payment::LONGEST_LEASE_MS;

impl Payments {
    /// Ids of payments on one of `networks` whose transfer's outcome is open and that nobody works on.
    /// Only ids: a row that cannot be read must not hide the others.
    pub(super) async fn abandoned(
        &self,
        networks: &[Network],
        now: Timestamp,
        limit: i64,
    ) -> Result<Vec<String>, StoreError> {
        let places: Vec<_> = (3..networks.len() + 3).map(|n| format!(", ${n}")).collect();
        let sql = format!(
            "SELECT id FROM payments WHERE state = 'broadcast' AND (lease_until <= $1 OR lease_until > $1 + {LONGEST_LEASE_MS}) \
             AND network IN (''{}) ORDER BY checked_at, id LIMIT $2",
            places.concat()
        );
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(now.millis()).bind(limit);
        for network in networks {
            query = query.bind(network.as_str().to_owned());
        }
        let rows = query.fetch_all(&self.db().pool).await?;
        rows.iter().map(|row| row.try_get("id").map_err(StoreError::from)).collect()
    }

    /// Records that an open payment was looked at: it goes behind those that were not.
    pub(super) async fn checked(&self, id: &str, now: Timestamp) -> Result<bool, StoreError> {
        self.update(
            "UPDATE payments SET checked_at = $1 WHERE id = $2",
            &[Bind::Int(now.millis()), Bind::Text(id)],
        )
        .await
    }

    /// Leaves an open payment alone until a moment.
    pub(super) async fn postpone(&self, id: &str, until: Timestamp) -> Result<bool, StoreError> {
        self.update(
            "UPDATE payments SET lease_until = $1 WHERE id = $2 AND state = 'broadcast'",
            &[Bind::Int(until.millis()), Bind::Text(id)],
        )
        .await
    }

    /// Ids of claims of pushed payments from before `before` that nobody works on: their payers have perhaps paid.
    pub(super) async fn abandoned_pushes(
        &self,
        before: Timestamp,
        now: Timestamp,
        limit: i64,
    ) -> Result<Vec<String>, StoreError> {
        let text = "SELECT id FROM payments WHERE state = 'claimed' AND pushed IS NOT NULL AND lease_until <= $1 \
             AND created_at < $2 ORDER BY checked_at, id LIMIT $3";
        let query = sqlx::query(text).bind(now.millis()).bind(before.millis()).bind(limit);
        let rows = query.fetch_all(&self.db().pool).await?;
        rows.iter().map(|row| row.try_get("id").map_err(StoreError::from)).collect()
    }

    /// Drops answers that are older than `before`, and claims that no money belongs to.
    pub(super) async fn expire(&self, before: Timestamp) -> Result<(), StoreError> {
        self.update(
            "UPDATE payments SET answer = NULL WHERE answer IS NOT NULL \
             AND state IN ('settled', 'delivered') AND updated_at < $1",
            &[Bind::Int(before.millis())],
        )
        .await?;
        // What cost nothing is no record of money, and its challenge is long over.
        self.update(
            "DELETE FROM payments WHERE amount = 0 AND state IN ('settled', 'delivered', 'failed') \
             AND expires_at < $1 AND updated_at < $1",
            &[Bind::Int(before.millis())],
        )
        .await?;
        self.update(
            "DELETE FROM payments WHERE state = 'claimed' AND pushed IS NULL AND lease_until < $1 \
             AND created_at < $1",
            &[Bind::Int(before.millis())],
        )
        .await?;
        Ok(())
    }

    /// Ends every lease. Only for a process that knows it is alone.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn release_all(&self) -> Result<(), StoreError> {
        self.update(
            "UPDATE payments SET lease_until = 0 WHERE state IN ('claimed', 'broadcast', 'settled')",
            &[],
        )
        .await?;
        Ok(())
    }
}
