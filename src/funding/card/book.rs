//! What the processor said, made true on the ledger: record, credit, what is taken back and what
//! stays owed are one transaction, so an event whose transaction failed can simply come again.

use super::CardError;
use super::state::CardPaymentStanding;
use super::store::{self, PaymentRow};
use crate::db::{Db, DbError, Tx};
use crate::id::{AccountId, RequestKey, SourceRef, Timestamp};
use crate::ledger::{self, Credited, EntryDetails, EntryKind, LedgerError, SpendOutcome};
use crate::money::Money;

/// What was said about a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It was made, for this checkout.
    Paid { checkout: String, amount: Money },
    /// So much was refunded, altogether.
    Refunded(Money),
    /// So much was disputed.
    Disputed(Money),
    /// So much that was disputed is ours after all.
    DisputeWon(Money),
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BookingOutcome {
    /// What was credited now.
    pub credited: Money,
    /// What was taken back now.
    pub taken: Money,
    /// What was given again now.
    pub returned: Money,
    /// What is owed for this payment after that.
    pub debt: Money,
}

/// The credit of a card payment, by whatever event it became known.
fn source(payment: &str) -> Result<SourceRef, CardError> {
    SourceRef::parse(&format!("card:{payment}")).map_err(|_| CardError::Corrupt(payment.to_owned()))
}

pub(super) async fn book(
    db: &Db,
    payment: &str,
    change: &Change,
    now: Timestamp,
) -> Result<BookingOutcome, CardError> {
    let booked = db
        .transaction(|mut tx| async move {
            let booked = book_in(&mut tx, payment, change, now).await?;
            Ok::<_, CardError>((tx, booked))
        })
        .await?;
    report(payment, booked);
    Ok(booked)
}

async fn book_in(
    tx: &mut Tx,
    payment: &str,
    change: &Change,
    now: Timestamp,
) -> Result<BookingOutcome, CardError> {
    let checkout = match change {
        Change::Paid { checkout, .. } => Some(checkout.as_str()),
        Change::Refunded(_) | Change::Disputed(_) | Change::DisputeWon(_) => None,
    };
    // The account before the payment, as credit does that meets debts: so they never deadlock.
    if let Some(account) = store::account_of(tx, payment, checkout).await? {
        ledger::lock(tx, &account).await?;
    }
    let mut row = store::lock_payment(tx, payment, now).await?;
    let mut booked = BookingOutcome::default();
    match change {
        Change::Paid { checkout, amount } => {
            if row.account.is_none() && amount.is_positive() {
                booked.credited = pay(tx, &mut row, checkout, *amount, now).await?;
            }
        }
        Change::Refunded(amount) => row.standing.refunded = row.standing.refunded.max(*amount),
        Change::Disputed(amount) => row.standing.disputed = row.standing.disputed.max(*amount),
        Change::DisputeWon(amount) => row.standing.won = row.standing.won.max(*amount),
    }
    booked.returned = give_again(tx, &mut row, now).await?;
    (booked.taken, booked.debt) = take_back(tx, &mut row, now).await?;
    store::save_payment(tx, &row, now).await?;
    let is_new = booked.credited.is_positive() || booked.returned.is_positive();
    if let Some(account) = row.account.filter(|_| is_new) {
        meet_debts(tx, &account, now).await?;
    }
    Ok(booked)
}

/// Credits a payment to whoever asked for its checkout.
async fn pay(
    tx: &mut Tx,
    row: &mut PaymentRow,
    checkout: &str,
    amount: Money,
    now: Timestamp,
) -> Result<Money, CardError> {
    let Some(order) = store::checkout_by_id(tx, checkout).await? else {
        // Another server's, that shares the processor's account with us.
        tracing::warn!(payment = row.payment, "a card payment is for a checkout that is not known here");
        metrics::counter!("farebox_card_payments_unknown_total").increment(1);
        return Ok(Money::ZERO);
    };
    let credits = if amount == order.price {
        order.credits
    } else {
        // Somebody changed the price at the processor: what was paid is what is credited.
        tracing::error!(payment = row.payment, %amount, asked = %order.price, "another amount was paid");
        amount
    };
    if ledger::credit(tx, &order.account, credits, &source(&row.payment)?, now).await? == Credited::Replayed {
        return Err(LedgerError::Corrupt(format!("card payment {} was credited before", row.payment)).into());
    }
    store::set_state(tx, checkout, "paid").await?;
    row.standing.paid = amount;
    row.standing.credited = credits;
    row.checkout = Some(order.id);
    row.account = Some(order.account);
    Ok(credits)
}

/// Gives again what was taken for a dispute that is won. Nothing is owed for it then.
async fn give_again(tx: &mut Tx, row: &mut PaymentRow, now: Timestamp) -> Result<Money, CardError> {
    let corrupt = || CardError::Corrupt(row.payment.clone());
    let due = row.standing.due();
    let Some(account) = row.account.as_ref().filter(|_| row.standing.won.is_positive()) else {
        return Ok(Money::ZERO);
    };
    if row.standing.owed().is_zero() {
        store::set_debt(tx, source(&row.payment)?.as_str(), account, Money::ZERO, now).await?;
    }
    if !due.is_positive() {
        return Ok(Money::ZERO);
    }
    // Each giving has a source of its own: how much was given before it.
    let again = format!("card-again:{}:{}", row.payment, row.standing.returned.micros());
    let again = SourceRef::parse(&again).map_err(|_| corrupt())?;
    if ledger::credit(tx, account, due, &again, now).await? == Credited::Replayed {
        return Err(corrupt());
    }
    row.standing.taken = row.standing.taken.checked_sub(due).ok_or_else(corrupt)?;
    row.standing.returned = row.standing.returned.checked_add(due).ok_or_else(corrupt)?;
    Ok(due)
}

/// Takes back what is owed, as far as it is there; the rest is a debt. Returns both.
async fn take_back(tx: &mut Tx, row: &mut PaymentRow, now: Timestamp) -> Result<(Money, Money), CardError> {
    let corrupt = || CardError::Corrupt(row.payment.clone());
    let owed = row.standing.owed();
    let Some(account) = row.account.as_ref().filter(|_| owed.is_positive()) else {
        return Ok((Money::ZERO, Money::ZERO));
    };
    // Each taking has a key of its own: how much was taken, and given again, before it.
    let CardPaymentStanding { taken, returned, .. } = row.standing;
    let key = format!("card-back:{}:{}:{}", row.payment, taken.micros(), returned.micros());
    let key = RequestKey::parse(&key).map_err(|_| corrupt())?;
    let details = |amount| EntryDetails {
        kind: EntryKind::Refund,
        request_id: None,
        service: "card".to_owned(),
        units: 1,
        unit_price: amount,
        meta: serde_json::json!({ "payment": row.payment }),
    };
    let mut taken = owed;
    if let SpendOutcome::Short { by } = ledger::spend(tx, account, owed, &key, &details(owed), now).await? {
        // The account is locked since that answer, so what is there stays there.
        taken = owed.checked_sub(by).ok_or_else(corrupt)?;
        if taken.is_positive() {
            let SpendOutcome::Spent(_) =
                ledger::spend(tx, account, taken, &key, &details(taken), now).await?
            else {
                return Err(corrupt());
            };
        }
    }
    let debt = owed.checked_sub(taken).ok_or_else(corrupt)?;
    row.standing.taken = row.standing.taken.checked_add(taken).ok_or_else(corrupt)?;
    store::set_debt(tx, source(&row.payment)?.as_str(), account, debt, now).await?;
    Ok((taken, debt))
}

/// Takes what an account owes from what it has, the oldest debt first. The caller has locked the
/// account.
pub(in crate::funding) async fn meet_debts(
    tx: &mut Tx,
    account: &AccountId,
    now: Timestamp,
) -> Result<(), CardError> {
    for debt in store::open_debts(tx, account).await? {
        let payment = debt.strip_prefix("card:").ok_or_else(|| CardError::Corrupt(debt.clone()))?;
        let mut row = store::lock_payment(tx, payment, now).await?;
        let (taken, left) = take_back(tx, &mut row, now).await?;
        store::save_payment(tx, &row, now).await?;
        if taken.is_positive() {
            tracing::info!(payment, %account, %taken, %left, "a debt is met from new credit");
        }
    }
    Ok(())
}

/// A checkout that will not be paid.
pub(super) async fn fail(db: &Db, checkout: &str) -> Result<(), DbError> {
    db.transaction(|mut tx| async move {
        store::set_state(&mut tx, checkout, "failed").await?;
        Ok((tx, ()))
    })
    .await
}

fn report(payment: &str, booked: BookingOutcome) {
    let BookingOutcome { credited, taken, returned, debt } = booked;
    let count = |name: &'static str, amount: Money| {
        metrics::counter!(name).increment(u64::try_from(amount.micros()).unwrap_or(0));
    };
    if credited.is_positive() {
        tracing::info!(payment, %credited, "a card payment is credited");
        count("farebox_card_credited_micros_total", credited);
    }
    if taken.is_positive() {
        tracing::info!(payment, %taken, "a card payment was refunded or disputed; its credit is taken back");
        count("farebox_card_taken_back_micros_total", taken);
    }
    if returned.is_positive() {
        tracing::info!(payment, %returned, "a dispute of a card payment is won; its credit is given again");
        count("farebox_card_returned_micros_total", returned);
    }
    if debt.is_positive() {
        tracing::warn!(payment, %debt, "credit of a refunded or disputed card payment is spent: it is owed");
        count("farebox_card_debt_micros_total", debt);
    }
}
