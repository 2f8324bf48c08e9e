//! SQL of card payments, their checkouts and debts.

use super::CardError;
use super::checkout::{Checkout, CheckoutItem, CheckoutOrder, CheckoutState};
use super::state::{CardPaymentStanding, Refunds};
use crate::db::statements::{Row, Statements as _, Value};
use crate::db::{Db, DbError, Tx};
use crate::id::{AccountId, Timestamp};
use crate::ledger;
use crate::money::Money;

/// A row of `card_payments`.
#[derive(Debug)]
pub(super) struct PaymentRow {
    pub payment: String,
    /// Purchase that was paid; `None` until the payment itself is reported, which may be after its refund.
    pub purchase: Option<CardPurchase>,
    pub standing: CardPaymentStanding,
}

/// A checkout that was paid, with the account that was credited for it.
#[derive(Debug)]
pub(super) struct CardPurchase {
    pub account: AccountId,
    pub checkout: String,
}

const CHECKOUT: &str =
    "SELECT id, account, pack, price, credits, url, state, created_at FROM card_checkouts WHERE ";

fn money(row: &Row, column: &str) -> Result<Money, DbError> {
    row.whole(column).map(Money::from_micros)
}

fn account(id: &str, payment: &str) -> Result<AccountId, CardError> {
    AccountId::parse(id).map_err(|_| CardError::Corrupt(payment.to_owned()))
}

/// Returns the account of a payment: as recorded with it, or else its checkout's.
pub(super) async fn account_of(
    tx: &mut Tx,
    payment: &str,
    checkout: Option<&str>,
) -> Result<Option<AccountId>, CardError> {
    let text = "SELECT COALESCE((SELECT account FROM card_payments WHERE payment = $1), \
         (SELECT account FROM card_checkouts WHERE id = $2)) AS account";
    let row = tx.fetch_one(text, vec![payment.into(), checkout.unwrap_or_default().into()]).await?;
    row.text_or_null("account")?.map(|id| account(&id, payment)).transpose()
}

/// Reads a payment's row, made when missing, and locks it until the transaction ends.
pub(super) async fn lock_payment(
    tx: &mut Tx,
    payment: &str,
    now: Timestamp,
) -> Result<PaymentRow, CardError> {
    let text = "INSERT INTO card_payments \
         (payment, paid, credited, refunded, disputed, taken, created_at, updated_at) \
         VALUES ($1, 0, 0, 0, 0, 0, $2, $2) ON CONFLICT (payment) DO NOTHING";
    tx.execute(text, vec![payment.into(), now.millis().into()]).await?;
    let lock = tx.engine().for_update();
    let text = format!(
        "SELECT account, checkout, paid, credited, refunded, disputed, won, taken, returned \
         FROM card_payments WHERE payment = $1{lock}"
    );
    let row = tx.fetch_one(&text, vec![payment.into()]).await?;
    let purchase = match (row.text_or_null("account")?, row.text_or_null("checkout")?) {
        (Some(id), Some(checkout)) => Some(CardPurchase { account: account(&id, payment)?, checkout }),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => return Err(CardError::Corrupt(payment.to_owned())),
    };
    Ok(PaymentRow {
        payment: payment.to_owned(),
        purchase,
        standing: read_standing(&row, refunds(tx, payment).await?)?,
    })
}

/// Returns the checkout of an account with this id, and what is known of its payment.
pub(super) async fn checkout_of(
    tx: &mut Tx,
    account: &AccountId,
    id: &str,
) -> Result<Option<(Checkout, Option<String>)>, CardError> {
    let condition = "id = $1 AND account = $2";
    let Some(found) = checkout(tx, condition, vec![id.into(), account.as_str().into()]).await? else {
        return Ok(None);
    };
    let text = "SELECT payment FROM card_payments WHERE checkout = $1";
    let payment = tx.fetch_optional(text, vec![id.into()]).await?;
    let payment = payment.map(|row| row.text("payment")).transpose()?;
    Ok(Some((found, payment)))
}

/// Reads what is known of a payment.
pub(super) async fn standing(tx: &mut Tx, payment: &str) -> Result<Option<CardPaymentStanding>, CardError> {
    let text = "SELECT paid, credited, refunded, disputed, won, taken, returned FROM card_payments WHERE payment = $1";
    let Some(row) = tx.fetch_optional(text, vec![payment.into()]).await? else { return Ok(None) };
    let refunds = refunds(tx, payment).await?;
    Ok(Some(read_standing(&row, refunds)?))
}

fn read_standing(row: &Row, refunds: Refunds) -> Result<CardPaymentStanding, DbError> {
    Ok(CardPaymentStanding {
        paid: money(row, "paid")?,
        credited: money(row, "credited")?,
        refunded: money(row, "refunded")?,
        refunds,
        disputed: money(row, "disputed")?,
        won: money(row, "won")?,
        taken_back: money(row, "taken")?,
        returned: money(row, "returned")?,
    })
}

/// Records one refund of a payment whose row is locked; one that has failed stays so. Returns the sums of all.
pub(super) async fn record_refund(
    tx: &mut Tx,
    payment: &str,
    refund: &str,
    amount: Money,
    failed: bool,
) -> Result<Refunds, DbError> {
    let text = "INSERT INTO card_refunds (refund, payment, amount, failed) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (refund) DO UPDATE SET failed = CASE WHEN card_refunds.failed = 1 THEN 1 ELSE excluded.failed END";
    let values = vec![refund.into(), payment.into(), amount.micros().into(), i64::from(failed).into()];
    tx.execute(text, values).await?;
    refunds(tx, payment).await
}

async fn refunds(tx: &mut Tx, payment: &str) -> Result<Refunds, DbError> {
    let text = "SELECT CAST(COALESCE(SUM(CASE WHEN failed = 0 THEN amount ELSE 0 END), 0) AS BIGINT) AS made, \
         CAST(COALESCE(SUM(CASE WHEN failed = 1 THEN amount ELSE 0 END), 0) AS BIGINT) AS failed \
         FROM card_refunds WHERE payment = $1";
    let row = tx.fetch_one(text, vec![payment.into()]).await?;
    Ok(Refunds { made: money(&row, "made")?, failed: money(&row, "failed")? })
}

pub(super) async fn save_payment(tx: &mut Tx, row: &PaymentRow, now: Timestamp) -> Result<(), DbError> {
    let standing = &row.standing;
    let text = "UPDATE card_payments SET account = $2, checkout = $3, paid = $4, credited = $5, refunded = $6, \
         disputed = $7, won = $8, taken = $9, returned = $10, updated_at = $11 WHERE payment = $1";
    let values = vec![
        row.payment.as_str().into(),
        row.purchase.as_ref().map(|purchase| purchase.account.as_str()).into(),
        row.purchase.as_ref().map(|purchase| purchase.checkout.as_str()).into(),
        standing.paid.micros().into(),
        standing.credited.micros().into(),
        standing.refunded.micros().into(),
        standing.disputed.micros().into(),
        standing.won.micros().into(),
        standing.taken_back.micros().into(),
        standing.returned.micros().into(),
        now.millis().into(),
    ];
    tx.execute(text, values).await?;
    Ok(())
}

/// Records the debt of an account for a payment; zero pays an earlier one.
pub(super) async fn set_debt(
    tx: &mut Tx,
    source: &str,
    account: &AccountId,
    amount: Money,
    now: Timestamp,
) -> Result<(), DbError> {
    let text = if amount.is_zero() {
        "UPDATE debts SET amount = $3, updated_at = $4 WHERE source = $1 AND account = $2"
    } else {
        "INSERT INTO debts (source, account, amount, created_at, updated_at) VALUES ($1, $2, $3, $4, $4) \
         ON CONFLICT (source) DO UPDATE SET amount = excluded.amount, updated_at = excluded.updated_at"
    };
    let values = vec![source.into(), account.as_str().into(), amount.micros().into(), now.millis().into()];
    tx.execute(text, values).await?;
    Ok(())
}

/// Returns the sources of an account's open debts, the oldest first.
pub(super) async fn open_debts(tx: &mut Tx, account: &AccountId) -> Result<Vec<String>, DbError> {
    let text = "SELECT source FROM debts WHERE account = $1 AND amount > 0 ORDER BY created_at, source";
    let rows = tx.fetch(text, vec![account.as_str().into()]).await?;
    rows.iter().map(|row| row.text("source")).collect()
}

/// Returns accounts that have both an open debt and money available.
pub(super) async fn able_debtors(db: &Db, limit: i64) -> Result<Vec<String>, DbError> {
    let is_able = ledger::has_available("debts.account");
    let text = format!("SELECT DISTINCT account FROM debts WHERE amount > 0 AND {is_able} LIMIT $1");
    let rows = db.fetch(&text, vec![limit.into()]).await?;
    rows.iter().map(|row| row.text("account")).collect()
}

/// Returns the sum of all open debts.
pub(super) async fn total_debt(db: &Db) -> Result<Money, DbError> {
    let text = "SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) AS debt FROM debts WHERE amount > 0";
    money(&db.fetch_one(text, Vec::new()).await?, "debt")
}

/// Returns the sum of an account's debts.
pub(super) async fn debt(db: &Db, account: &AccountId) -> Result<Money, DbError> {
    let text = "SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) AS debt FROM debts WHERE account = $1";
    money(&db.fetch_one(text, vec![account.as_str().into()]).await?, "debt")
}

/// Stores a checkout; `false` when its account has one under the same idempotency key.
pub(super) async fn insert_checkout(
    tx: &mut Tx,
    id: &str,
    account: &AccountId,
    order: &CheckoutOrder<'_>,
    now: Timestamp,
) -> Result<bool, DbError> {
    let text = "INSERT INTO card_checkouts \
         (id, account, pack, price, credits, idempotency_key, nonce, request_id, state, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'open', $9) \
         ON CONFLICT (account, idempotency_key) DO NOTHING";
    let values = vec![
        id.into(),
        account.as_str().into(),
        order.item.as_str().into(),
        order.price.micros().into(),
        order.credits.micros().into(),
        order.idempotency_key.into(),
        order.nonce.into(),
        order.request_id.as_str().into(),
        now.millis().into(),
    ];
    Ok(tx.execute(text, values).await? == 1)
}

pub(super) async fn checkout_by_id(tx: &mut Tx, id: &str) -> Result<Option<Checkout>, CardError> {
    checkout(tx, "id = $1", vec![id.into()]).await
}

pub(super) async fn checkout_by_key(
    tx: &mut Tx,
    account: &AccountId,
    key: &str,
) -> Result<Option<Checkout>, CardError> {
    checkout(tx, "account = $1 AND idempotency_key = $2", vec![account.as_str().into(), key.into()]).await
}

/// Returns the checkout that a wallet message with this nonce asked for before, under the same key.
pub(super) async fn checkout_by_nonce(
    tx: &mut Tx,
    account: &AccountId,
    key: &str,
    nonce: &str,
) -> Result<Option<Checkout>, CardError> {
    let condition = "account = $1 AND idempotency_key = $2 AND nonce = $3";
    checkout(tx, condition, vec![account.as_str().into(), key.into(), nonce.into()]).await
}

async fn checkout(tx: &mut Tx, condition: &str, values: Vec<Value>) -> Result<Option<Checkout>, CardError> {
    let Some(row) = tx.fetch_optional(&format!("{CHECKOUT}{condition}"), values).await? else {
        return Ok(None);
    };
    let id = row.text("id")?;
    let corrupt = || CardError::Corrupt(id.clone());
    Ok(Some(Checkout {
        account: account(&row.text("account")?, &id)?,
        item: CheckoutItem::parse(row.text("pack")?),
        price: money(&row, "price")?,
        credits: money(&row, "credits")?,
        url: row.text_or_null("url")?,
        state: CheckoutState::parse(&row.text("state")?).ok_or_else(corrupt)?,
        created_at: Timestamp::from_millis(row.whole("created_at")?),
        id,
    }))
}

/// Records the payment page of a checkout. The first one stays: of two requests that ask for a page at
/// once, both get the same.
pub(super) async fn set_session(tx: &mut Tx, id: &str, session: &str, url: &str) -> Result<(), DbError> {
    let text = "UPDATE card_checkouts SET session = $2, url = $3 WHERE id = $1 AND session IS NULL";
    tx.execute(text, vec![id.into(), session.into(), url.into()]).await?;
    Ok(())
}

/// Records the end of a checkout. One that was paid stays paid, whatever is reported later.
pub(super) async fn set_state(tx: &mut Tx, id: &str, state: CheckoutState) -> Result<(), DbError> {
    let text = "UPDATE card_checkouts SET state = $2 WHERE id = $1 AND state <> 'paid'";
    tx.execute(text, vec![id.into(), state.as_str().into()]).await?;
    Ok(())
}
