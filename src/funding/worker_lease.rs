//! Whose turn it is: work that one instance does at a time.
//!
//! A lease saves work and order; money does not rest on it. An instance that
//! stalls past its lease, or whose clock is off, works beside another one and
//! must harm nothing by it.

use crate::db::{Db, DbError};
use crate::id::Timestamp;

/// Takes or renews a lease; `false` while another owner has it.
pub(super) async fn lease(
    db: &Db,
    name: &'static str,
    owner: &str,
    now: Timestamp,
    until: Timestamp,
) -> Result<bool, DbError> {
    let owner = owner.to_owned();
    let owner = &owner;
    db.transaction(|mut tx| async move {
        let done = sqlx::query(
            "INSERT INTO leases (name, owner, until) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE \
             SET owner = excluded.owner, until = excluded.until \
             WHERE leases.owner = excluded.owner OR leases.until <= $4",
        )
        .bind(name)
        .bind(owner.clone())
        .bind(until.millis())
        .bind(now.millis())
        .execute(tx.conn())
        .await?;
        Ok::<_, DbError>((tx, done.rows_affected() == 1))
    })
    .await
}

/// Ends a lease of one's own, so that another need not wait for its end.
pub(super) async fn give_back(db: &Db, name: &'static str, owner: &str) -> Result<(), DbError> {
    db.transaction(|mut tx| async move {
        sqlx::query("DELETE FROM leases WHERE name = $1 AND owner = $2")
            .bind(name)
            .bind(owner.to_owned())
            .execute(tx.conn())
            .await?;
        Ok::<_, DbError>((tx, ()))
    })
    .await
}

/// Ends a lease, whoever has it.
pub(super) async fn release(db: &Db, name: &'static str) -> Result<(), DbError> {
    db.transaction(|mut tx| async move {
        sqlx::query("DELETE FROM leases WHERE name = $1").bind(name).execute(tx.conn()).await?;
        Ok::<_, DbError>((tx, ()))
    })
    .await
}
