//! SQL of card payments, their checkouts and debts.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::CardError;
use super::checkout::{Checkout, CheckoutOrder};
use super::state::CardPaymentStanding;
use crate::db::{Db, DbError, Tx};
use crate::id::{AccountId, Timestamp};
use crate::money::Money;

/// A row of `card_payments`.
#[derive(Debug)]
pub(super) struct PaymentRow {
    pub payment: String,
    /// Known once the payment itself was reported.
    pub account: Option<AccountId>,
    pub checkout: Option<String>,
    pub standing: CardPaymentStanding,
}

const CHECKOUT: &str =
    "SELECT id, account, pack, price, credits, session, url, state FROM card_checkouts WHERE ";

fn money(row: &AnyRow, column: &str) -> Result<Money, sqlx::Error> {
    row.try_get(column).map(Money::from_micros)
}

/// Whose a payment is: its own word for it, or its checkout's.
pub(super) async fn account_of(
    tx: &mut Tx,
    payment: &str,
    checkout: Option<&str>,
) -> Result<Option<AccountId>, CardError> {
    let row = sqlx::query(
        "SELECT COALESCE((SELECT account FROM card_payments WHERE payment = $1), \
         (SELECT account FROM card_checkouts WHERE id = $2)) AS account",
    )
    .bind(payment.to_owned())
    .bind(checkout.unwrap_or_default().to_owned())
    .fetch_one(tx.conn())
    .await?;
    let account: Option<String> = row.try_get("account")?;
    let account = account.map(|id| AccountId::parse(&id)).transpose();
    account.map_err(|_| CardError::Corrupt(payment.to_owned()))
}

/// Reads a payment's row, made when missing, and keeps others from changing it.
pub(super) async fn lock_payment(
    tx: &mut Tx,
    payment: &str,
    now: Timestamp,
) -> Result<PaymentRow, CardError> {
    sqlx::query(
        "INSERT INTO card_payments (payment, paid, credited, refunded, disputed, taken, created_at, updated_at) \
         VALUES ($1, 0, 0, 0, 0, 0, $2, $2) ON CONFLICT (payment) DO NOTHING",
    )
    .bind(payment.to_owned())
    .bind(now.millis())
    .execute(tx.conn())
    .await?;
    let lock = tx.engine().for_update();
    let select = format!(
        "SELECT account, checkout, paid, credited, refunded, disputed, won, taken, returned \
         FROM card_payments WHERE payment = $1{lock}"
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(select)).bind(payment.to_owned()).fetch_one(tx.conn()).await?;
    let account: Option<String> = row.try_get("account")?;
    let account = account.map(|id| AccountId::parse(&id)).transpose();
    Ok(PaymentRow {
        payment: payment.to_owned(),
        account: account.map_err(|_| CardError::Corrupt(payment.to_owned()))?,
        checkout: row.try_get("checkout")?,
        standing: CardPaymentStanding {
            paid: money(&row, "paid")?,
            credited: money(&row, "credited")?,
            refunded: money(&row, "refunded")?,
            disputed: money(&row, "disputed")?,
            won: money(&row, "won")?,
            taken: money(&row, "taken")?,
            returned: money(&row, "returned")?,
        },
    })
}

pub(super) async fn save_payment(tx: &mut Tx, row: &PaymentRow, now: Timestamp) -> Result<(), DbError> {
    let standing = &row.standing;
    sqlx::query(
        "UPDATE card_payments SET account = $2, checkout = $3, paid = $4, credited = $5, refunded = $6, \
         disputed = $7, won = $8, taken = $9, returned = $10, updated_at = $11 WHERE payment = $1",
    )
    .bind(row.payment.clone())
    .bind(row.account.as_ref().map(|id| id.as_str().to_owned()))
    .bind(row.checkout.clone())
    .bind(standing.paid.micros())
    .bind(standing.credited.micros())
    .bind(standing.refunded.micros())
    .bind(standing.disputed.micros())
    .bind(standing.won.micros())
    .bind(standing.taken.micros())
    .bind(standing.returned.micros())
    .bind(now.millis())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Writes down what an account still owes for a payment; zero makes an earlier debt good.
pub(super) async fn set_debt(
    tx: &mut Tx,
    source: &str,
    account: &AccountId,
    amount: Money,
    now: Timestamp,
) -> Result<(), DbError> {
    let statement = if amount.is_zero() {
        "UPDATE debts SET amount = $3, updated_at = $4 WHERE source = $1 AND account = $2"
    } else {
        "INSERT INTO debts (source, account, amount, created_at, updated_at) VALUES ($1, $2, $3, $4, $4) \
         ON CONFLICT (source) DO UPDATE SET amount = excluded.amount, updated_at = excluded.updated_at"
    };
    sqlx::query(statement)
        .bind(source.to_owned())
        .bind(account.as_str().to_owned())
        .bind(amount.micros())
        .bind(now.millis())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// The sources of an account's open debts, the oldest first.
pub(super) async fn open_debts(tx: &mut Tx, account: &AccountId) -> Result<Vec<String>, DbError> {
    let rows =
        sqlx::query("SELECT source FROM debts WHERE account = $1 AND amount > 0 ORDER BY created_at, source")
            .bind(account.as_str().to_owned())
            .fetch_all(tx.conn())
            .await?;
    rows.iter().map(|row| Ok(row.try_get("source")?)).collect()
}

/// Accounts that owe something and have something.
pub(super) async fn able_debtors(db: &Db, limit: i64) -> Result<Vec<String>, DbError> {
    let rows = sqlx::query(
        "SELECT DISTINCT debts.account AS account FROM debts JOIN accounts ON accounts.id = debts.account \
         WHERE debts.amount > 0 AND accounts.credited - accounts.posted - accounts.held > 0 LIMIT $1",
    )
    .bind(limit)
    .fetch_all(&db.pool)
    .await?;
    rows.iter().map(|row| Ok(row.try_get("account")?)).collect()
}

/// What all accounts owe together.
pub(super) async fn owed(db: &Db) -> Result<Money, DbError> {
    let row =
        sqlx::query("SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) AS owed FROM debts WHERE amount > 0")
            .fetch_one(&db.pool)
            .await?;
    Ok(money(&row, "owed")?)
}

pub(super) async fn debt(db: &Db, account: &AccountId) -> Result<Money, DbError> {
    let row =
        sqlx::query("SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) AS owed FROM debts WHERE account = $1")
            .bind(account.as_str().to_owned())
            .fetch_one(&db.pool)
            .await?;
    Ok(money(&row, "owed")?)
}

/// Writes a checkout down; `false` when its account has one under the same idempotency key.
pub(super) async fn insert_checkout(
    tx: &mut Tx,
    id: &str,
    account: &AccountId,
    order: &CheckoutOrder<'_>,
    now: Timestamp,
) -> Result<bool, DbError> {
    let done = sqlx::query(
        "INSERT INTO card_checkouts (id, account, pack, price, credits, idempotency_key, nonce, request_id, \
         state, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'open', $9) \
         ON CONFLICT (account, idempotency_key) DO NOTHING",
    )
    .bind(id.to_owned())
    .bind(account.as_str().to_owned())
    .bind(order.pack.to_owned())
    .bind(order.price.micros())
    .bind(order.credits.micros())
    .bind(order.idempotency_key.map(str::to_owned))
    .bind(order.nonce.to_owned())
    .bind(order.request_id.as_str().to_owned())
    .bind(now.millis())
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn checkout_by_id(tx: &mut Tx, id: &str) -> Result<Option<Checkout>, CardError> {
    checkout(tx, "id = $1", &[id]).await
}

pub(super) async fn checkout_by_key(
    tx: &mut Tx,
    account: &AccountId,
    key: &str,
) -> Result<Option<Checkout>, CardError> {
    checkout(tx, "account = $1 AND idempotency_key = $2", &[account.as_str(), key]).await
}

/// The checkout that this very message asked for before, under this key.
pub(super) async fn checkout_by_nonce(
    tx: &mut Tx,
    account: &AccountId,
    key: &str,
    nonce: &str,
) -> Result<Option<Checkout>, CardError> {
    let condition = "account = $1 AND idempotency_key = $2 AND nonce = $3";
    checkout(tx, condition, &[account.as_str(), key, nonce]).await
}

async fn checkout(tx: &mut Tx, condition: &str, values: &[&str]) -> Result<Option<Checkout>, CardError> {
    let mut query = sqlx::query(sqlx::AssertSqlSafe(format!("{CHECKOUT}{condition}")));
    for value in values {
        query = query.bind((*value).to_owned());
    }
    let Some(row) = query.fetch_optional(tx.conn()).await? else {
        return Ok(None);
    };
    let id: String = row.try_get("id")?;
    let account = AccountId::parse(&row.try_get::<String, _>("account")?);
    Ok(Some(Checkout {
        account: account.map_err(|_| CardError::Corrupt(id.clone()))?,
        pack: row.try_get("pack")?,
        price: money(&row, "price")?,
        credits: money(&row, "credits")?,
        session: row.try_get("session")?,
        url: row.try_get("url")?,
        is_open: row.try_get::<String, _>("state")? == "open",
        id,
    }))
}

/// Keeps where a checkout is paid. Who asks twice gets the same page, so the first stays.
pub(super) async fn set_session(tx: &mut Tx, id: &str, session: &str, url: &str) -> Result<(), DbError> {
    sqlx::query("UPDATE card_checkouts SET session = $2, url = $3 WHERE id = $1 AND session IS NULL")
        .bind(id.to_owned())
        .bind(session.to_owned())
        .bind(url.to_owned())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// How a checkout ended. One that was paid stays paid, whatever is said later.
pub(super) async fn set_state(tx: &mut Tx, id: &str, state: &'static str) -> Result<(), DbError> {
    sqlx::query("UPDATE card_checkouts SET state = $2 WHERE id = $1 AND state <> 'paid'")
        .bind(id.to_owned())
        .bind(state)
        .execute(tx.conn())
        .await?;
    Ok(())
}
