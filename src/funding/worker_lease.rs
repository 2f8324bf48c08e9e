//! Leases: work that one instance does at a time.
//!
//! A lease saves work and order; money does not rest on it. An instance that
//! stalls past its lease, or whose clock is off, works beside another one and
//! must harm nothing by it.

use crate::db::statements::Statements as _;
use crate::db::{Db, DbError};
use crate::id::Timestamp;

/// Takes or renews a lease; `false` while another owner has it. One that ends far later than this one would was taken by a
/// clock that has been set back since.
pub(super) async fn acquire(
    db: &Db,
    name: &str,
    owner: &str,
    now: Timestamp,
    until: Timestamp,
) -> Result<bool, DbError> {
    db.transaction(|mut tx| async move {
        let text = "INSERT INTO leases (name, owner, until) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE \
             SET owner = excluded.owner, until = excluded.until \
             WHERE leases.owner = excluded.owner OR leases.until <= $4 OR leases.until > $3 + $3 - $4";
        let values = vec![name.into(), owner.into(), until.millis().into(), now.millis().into()];
        let is_owner = tx.execute(text, values).await? == 1;
        Ok::<_, DbError>((tx, is_owner))
    })
    .await
}

/// Ends an owner's lease, so that other instances need not wait for its end.
pub(super) async fn release(db: &Db, name: &str, owner: &str) -> Result<(), DbError> {
    db.transaction(|mut tx| async move {
        let text = "DELETE FROM leases WHERE name = $1 AND owner = $2";
        tx.execute(text, vec![name.into(), owner.into()]).await?;
        Ok::<_, DbError>((tx, ()))
    })
    .await
}

/// Ends a lease of any owner.
pub(super) async fn revoke(db: &Db, name: &str) -> Result<(), DbError> {
    db.transaction(|mut tx| async move {
        tx.execute("DELETE FROM leases WHERE name = $1", vec![name.into()]).await?;
        Ok::<_, DbError>((tx, ()))
    })
    .await
}
