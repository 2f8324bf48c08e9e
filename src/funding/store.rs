//! SQL of the `payments` table. Every change of state is a compare-and-set.

use super::method::HeldBack;
use super::row;
use crate::db::{Db, DbError, Tx};
use crate::id::{AccountId, SourceRef, Timestamp};
use crate::ledger::{self, LedgerError};
use crate::money::Money;
use crate::payments::{Method, Network, Payer, Payment, Submission, Transfer};

/// Reason that the table could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error("payment {id} holds the unknown {column} \"{value}\"")]
    Corrupt { id: String, column: &'static str, value: String },
    #[error(transparent)]
    Ledger(Box<LedgerError>),
}

impl From<LedgerError> for StoreError {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(Box::new(error))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Db(error.into())
    }
}

/// The `payments` table.
#[derive(Debug, Clone)]
pub struct Payments {
    db: Db,
}

/// A new row: a credential presented for the first time.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    pub id: &'a str,
    pub fingerprint: &'a str,
    pub method: Method,
    pub network: &'a Network,
    pub submission: Submission,
    /// The transaction that a push names.
    pub pushed: Option<&'a str>,
    pub resource: &'a str,
    pub digest: &'a str,
    pub amount: Money,
    pub currency: &'a str,
    pub idempotency_key: Option<&'a str>,
    pub request_id: &'a str,
    pub top_up: Option<&'a AccountId>,
    pub expires: Timestamp,
    pub lease_until: Timestamp,
}

/// The record that is written before a transfer leaves.
#[derive(Debug)]
pub(super) struct Dispatch<'a> {
    pub id: &'a str,
    pub payer: &'a Payer,
    pub transfer: &'a Transfer,
    pub answer: &'a str,
    pub goods: Option<&'a str>,
}

/// The record that is written when the money arrived.
#[derive(Debug)]
pub(super) struct SettlementRecord<'a> {
    pub payer: &'a Payer,
    pub reference: Option<&'a str>,
    pub answer: &'a str,
    pub goods: Option<&'a str>,
    pub receipt: &'a str,
}

const COLUMNS: &str = "id, fingerprint, method, network, proof, state, route, digest, amount, currency, \
    payer, idempotency_key, request_id, reference, instruction, answer, goods, receipt, fee_limit, \
    valid_before, expires_at, lease_until, created_at, updated_at, account, failure, pushed";

impl Payments {
    #[must_use]
    pub fn new(db: Db) -> Self {
        Self { db }
    }

    pub(super) fn db(&self) -> &Db {
        &self.db
    }

    /// The payment of a challenge.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn find(&self, id: &str) -> Result<Option<Payment>, StoreError> {
        self.one("id = $1", &[id]).await
    }

    /// The payment that a transfer made, once it is settled; for a transaction, one of those that its transfers made.
    pub(super) async fn find_reference(&self, reference: &str) -> Result<Option<Payment>, StoreError> {
        let condition = "(reference = $1 OR (reference > $1 || ':' AND reference < $1 || ';')) \
             AND state IN ('settled', 'delivered') ORDER BY reference LIMIT 1";
        self.one(condition, &[reference]).await
    }

    /// The payment that uses some transfer of a transaction, where it is not known which: one that is on its way, or was
    /// settled by a version that did not say.
    pub(super) async fn find_transaction(&self, transaction: &str) -> Result<Option<Payment>, StoreError> {
        self.one("reference = $1 AND state IN ('broadcast', 'settled', 'delivered')", &[transaction]).await
    }

    /// True if a transfer has been credited, to whomever.
    pub(super) async fn is_credited(&self, source: &SourceRef) -> Result<bool, StoreError> {
        let found = self.db.transaction(|mut tx| async move {
            let found = ledger::credited_by(&mut tx, source).await?;
            Ok::<_, LedgerError>((tx, found))
        });
        Ok(found.await?.is_some())
    }

    /// The payment a payer made under an idempotency key.
    pub(super) async fn find_key(&self, payer: &Payer, key: &str) -> Result<Option<Payment>, StoreError> {
        self.one("payer = $1 AND idempotency_key = $2", &[payer.name(), key]).await
    }

    async fn one(&self, condition: &str, values: &[&str]) -> Result<Option<Payment>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM payments WHERE {condition}");
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for value in values {
            query = query.bind((*value).to_owned());
        }
        let row = query.fetch_optional(&self.db.pool).await?;
        row.as_ref().map(row::payment).transpose()
    }

    /// A payer's payments, newest first.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn of_payer(&self, payer: &str, limit: i64) -> Result<Vec<Payment>, StoreError> {
        let sql =
            format!("SELECT {COLUMNS} FROM payments WHERE payer = $1 ORDER BY created_at DESC, id LIMIT $2");
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(payer.to_owned())
            .bind(limit)
            .fetch_all(&self.db.pool)
            .await?;
        // One that cannot be read hides no other.
        let read =
            |row| row::payment(row).inspect_err(|error| tracing::error!(%error, "a payment cannot be read"));
        Ok(rows.iter().filter_map(|row| read(row).ok()).collect())
    }

    /// Claims a credential; `false` when its challenge is taken.
    pub(super) async fn claim(&self, claim: &Claim<'_>, now: Timestamp) -> Result<bool, StoreError> {
        let done = self
            .db
            .transaction(|mut tx| async move {
                let done = sqlx::query(
                    "INSERT INTO payments (id, fingerprint, proof, state, route, digest, amount, \
                     currency, idempotency_key, request_id, expires_at, lease_until, created_at, \
                     updated_at, account, method, network, pushed) \
                     VALUES ($1, $2, $3, 'claimed', $4, $5, $6, $7, $8, $9, $10, $11, $12, $12, $13, $14, \
                     $15, $16) \
                     ON CONFLICT (id) DO NOTHING",
                )
                .bind(claim.id.to_owned())
                .bind(claim.fingerprint.to_owned())
                .bind(claim.submission.as_str())
                .bind(claim.resource.to_owned())
                .bind(claim.digest.to_owned())
                .bind(claim.amount.micros())
                .bind(claim.currency.to_owned())
                .bind(claim.idempotency_key.map(str::to_owned))
                .bind(claim.request_id.to_owned())
                .bind(claim.expires.millis())
                .bind(claim.lease_until.millis())
                .bind(now.millis())
                .bind(claim.top_up.map(|account| account.as_str().to_owned()))
                .bind(claim.method.as_str())
                .bind(claim.network.as_str().to_owned())
                .bind(claim.pushed.map(str::to_owned))
                .execute(tx.conn())
                .await
                .map_err(DbError::from)?;
                Ok::<_, DbError>((tx, done))
            })
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Takes over a row whose lease is over, under the key of the request that
    /// does; `false` when someone was faster.
    pub(super) async fn take_over(
        &self,
        seen: &Payment,
        key: Option<&str>,
        lease_until: Timestamp,
    ) -> Result<bool, StoreError> {
        self.update(
            "UPDATE payments SET lease_until = $1, idempotency_key = $2 \
             WHERE id = $3 AND state = $4 AND lease_until = $5",
            &[
                Bind::Int(lease_until.millis()),
                Bind::OptionalText(key),
                Bind::Text(&seen.id),
                Bind::Text(seen.state.as_str()),
                Bind::Int(seen.lease_until.millis()),
            ],
        )
        .await
    }

    /// Prolongs the lease that its holder took until `held`; `false` when the
    /// payment went on or changed hands.
    pub(super) async fn renew(
        &self,
        id: &str,
        held: Timestamp,
        lease_until: Timestamp,
    ) -> Result<bool, StoreError> {
        self.update(
            "UPDATE payments SET lease_until = $1 \
             WHERE id = $2 AND lease_until = $3 AND state IN ('claimed', 'broadcast')",
            &[Bind::Int(lease_until.millis()), Bind::Text(id), Bind::Int(held.millis())],
        )
        .await
    }

    /// Ends the lease early, so that a retry need not wait for it.
    pub(super) async fn release(&self, id: &str) -> Result<bool, StoreError> {
        self.update(
            "UPDATE payments SET lease_until = 0 WHERE id = $1 \
             AND state IN ('claimed', 'broadcast', 'settled')",
            &[Bind::Text(id)],
        )
        .await
    }

    /// Forgets a claim that came to nothing.
    pub(super) async fn forget(&self, id: &str) -> Result<bool, StoreError> {
        self.update("DELETE FROM payments WHERE id = $1 AND state = 'claimed'", &[Bind::Text(id)]).await
    }

    /// The answer left. It is kept only for a request that can ask for it again, which one for goods
    /// always can: a key whose only copy got lost would be lost money. An empty answer is none: what
    /// was bought is credit for one call, which was made.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn delivered(&self, id: &str, now: Timestamp) -> Result<bool, StoreError> {
        self.update(
            "UPDATE payments SET state = 'delivered', updated_at = $2, \
             answer = CASE WHEN idempotency_key IS NULL AND (goods IS NULL OR answer = '') THEN NULL ELSE answer END \
             WHERE id = $1 AND state = 'settled'",
            &[Bind::Text(id), Bind::Int(now.millis())],
        )
        .await
    }

    pub(super) async fn update(&self, sql: &'static str, values: &[Bind<'_>]) -> Result<bool, StoreError> {
        let done = self
            .db
            .transaction(|mut tx| async move {
                let done = run(&mut tx, sql, values).await?;
                Ok::<_, DbError>((tx, done))
            })
            .await?;
        Ok(done > 0)
    }
}

pub(super) enum Bind<'a> {
    Text(&'a str),
    OptionalText(Option<&'a str>),
    Int(i64),
    OptionalInt(Option<i64>),
}

async fn run(tx: &mut Tx, sql: &'static str, values: &[Bind<'_>]) -> Result<u64, DbError> {
    let mut query = sqlx::query(sql);
    for value in values {
        query = match value {
            Bind::Text(text) => query.bind((*text).to_owned()),
            Bind::OptionalText(text) => query.bind(text.map(str::to_owned)),
            Bind::Int(number) => query.bind(*number),
            Bind::OptionalInt(number) => query.bind(*number),
        };
    }
    Ok(query.execute(tx.conn()).await?.rows_affected())
}

/// True if a row was refused because another one has its unique value.
pub(super) fn is_unique_violation(error: &DbError) -> bool {
    match error {
        DbError::Sqlx(sqlx::Error::Database(error)) => error.is_unique_violation(),
        DbError::Sqlx(_)
        | DbError::Sqlite(_)
        | DbError::Unsynced(_)
        | DbError::Wal(_)
        | DbError::Url(_)
        | DbError::Migrate(_) => false,
    }
}

/// Records, before it leaves, the transfer that will pay.
pub(super) async fn dispatch(tx: &mut Tx, dispatch: &Dispatch<'_>, now: Timestamp) -> Result<bool, DbError> {
    let done = run(
        tx,
        "UPDATE payments SET state = 'broadcast', payer = $2, reference = $3, instruction = $4, \
         answer = $5, fee_limit = $6, valid_before = $7, updated_at = $8, goods = $9 \
         WHERE id = $1 AND state = 'claimed'",
        &[
            Bind::Text(dispatch.id),
            Bind::Text(dispatch.payer.name()),
            Bind::Text(&dispatch.transfer.reference),
            Bind::Text(&dispatch.transfer.instruction),
            Bind::Text(dispatch.answer),
            Bind::Int(dispatch.transfer.fee_limit.map_or(0, Money::micros)),
            Bind::OptionalInt(dispatch.transfer.valid_before.map(Timestamp::millis)),
            Bind::Int(now.millis()),
            Bind::OptionalText(dispatch.goods),
        ],
    )
    .await?;
    Ok(done == 1)
}

/// Records that the transfer can never pay any more; its idempotency key is free for one that does. `false` when the
/// payment's outcome had been recorded.
pub(super) async fn fail(tx: &mut Tx, id: &str, now: Timestamp) -> Result<bool, DbError> {
    let done = run(
        tx,
        "UPDATE payments SET state = 'failed', idempotency_key = NULL, instruction = NULL, answer = NULL, \
         updated_at = $2 WHERE id = $1 AND state = 'broadcast'",
        &[Bind::Text(id), Bind::Int(now.millis())],
    )
    .await?;
    Ok(done == 1)
}

/// Records that the payer has paid and the money did not arrive. `false` when the payment's outcome had been recorded.
pub(super) async fn hold_back(
    tx: &mut Tx,
    id: &str,
    held: &HeldBack,
    now: Timestamp,
) -> Result<bool, DbError> {
    let done = run(
        tx,
        "UPDATE payments SET state = 'failed', failure = 'held_back', payer = $2, reference = $3, \
         idempotency_key = NULL, instruction = NULL, answer = NULL, updated_at = $4 WHERE id = $1 AND state IN ('claimed', 'broadcast')",
        &[
            Bind::Text(id),
            Bind::Text(held.payer.name()),
            Bind::Text(&held.reference),
            Bind::Int(now.millis()),
        ],
    )
    .await?;
    Ok(done == 1)
}

/// Records that the money arrived. `false` when that had been recorded before.
pub(super) async fn settle(
    tx: &mut Tx,
    id: &str,
    record: &SettlementRecord<'_>,
    now: Timestamp,
) -> Result<bool, DbError> {
    let done = run(
        tx,
        "UPDATE payments SET state = 'settled', payer = $2, reference = $3, answer = $4, \
         receipt = $5, instruction = NULL, updated_at = $6, goods = $7 \
         WHERE id = $1 AND state IN ('claimed', 'broadcast')",
        &[
            Bind::Text(id),
            Bind::Text(record.payer.name()),
            Bind::OptionalText(record.reference),
            Bind::Text(record.answer),
            Bind::Text(record.receipt),
            Bind::Int(now.millis()),
            Bind::OptionalText(record.goods),
        ],
    )
    .await?;
    Ok(done == 1)
}
