//! Changes of card payments, applied to the ledger: the record, the credit, its reversal and the debt
//! are one transaction, so an event whose transaction failed can simply come again.

use super::CardError;
use super::checkout::CheckoutState;
use super::state::CardPaymentStanding;
use super::store::{self, CardPurchase, PaymentRow};
use crate::db::{Db, DbError, Tx};
use crate::id::{AccountId, RequestKey, SourceRef, Timestamp};
use crate::ledger::{self, Credited, EntryDetails, EntryKind, LedgerError, SpendOutcome};
use crate::money::Money;

/// A change of a payment that the processor reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CardChange {
    /// It was paid, for this checkout.
    Paid { checkout: String, amount: Money },
    /// Sum of all its refunds.
    Refunded(Money),
    /// One refund of it, by the processor's id.
    Refund { refund: String, amount: Money, failed: bool },
    /// Amount in dispute.
    Disputed(Money),
    /// Disputed amount that the payer's bank gave back.
    DisputeWon(Money),
    /// Amount of an inquiry that ended without a dispute: it took nothing, unless it was recorded as one.
    InquiryClosed(Money),
}

/// Effect of a change on the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BookingOutcome {
    /// Credit that was added.
    pub credited: Money,
    /// Credit that was taken back.
    pub taken_back: Money,
    /// Credit that was returned after a won dispute.
    pub returned: Money,
    /// Debt for this payment after the change.
    pub debt: Money,
}

/// Beginning of the source of each credit that was paid by card.
const PREFIX: &str = "card:";

/// Returns the payment of a credit's source; `None` if it was not paid by card.
pub(super) fn payment(source: &SourceRef) -> Option<&str> {
    source.as_str().strip_prefix(PREFIX)
}

/// Returns the source of a payment's credit, the same for every event that reports it.
pub(super) fn source(payment: &str) -> Result<SourceRef, CardError> {
    SourceRef::parse(&format!("{PREFIX}{payment}")).map_err(|_| CardError::Corrupt(payment.to_owned()))
}

/// Applies a change in a transaction of its own.
pub(super) async fn apply_change(
    db: &Db,
    payment: &str,
    change: &CardChange,
    now: Timestamp,
) -> Result<BookingOutcome, CardError> {
    let outcome = db
        .transaction(|mut tx| async move {
            let outcome = apply_in(&mut tx, payment, change, now).await?;
            Ok::<_, CardError>((tx, outcome))
        })
        .await?;
    report(payment, outcome);
    Ok(outcome)
}

async fn apply_in(
    tx: &mut Tx,
    payment: &str,
    change: &CardChange,
    now: Timestamp,
) -> Result<BookingOutcome, CardError> {
    let checkout = match change {
        CardChange::Paid { checkout, .. } => Some(checkout.as_str()),
        CardChange::Refunded(_)
        | CardChange::Refund { .. }
        | CardChange::Disputed(_)
        | CardChange::DisputeWon(_)
        | CardChange::InquiryClosed(_) => None,
    };
    // The account before the payment, as in credits that pay debts: so they never deadlock.
    if let Some(account) = store::account_of(tx, payment, checkout).await? {
        ledger::lock(tx, &account).await?;
    }
    let mut row = store::lock_payment(tx, payment, now).await?;
    let mut outcome = BookingOutcome::default();
    match change {
        CardChange::Paid { checkout, amount } => {
            if row.purchase.is_none() && amount.is_positive() {
                outcome.credited = credit_purchase(tx, &mut row, checkout, *amount, now).await?;
            }
        }
        CardChange::Refunded(amount) => row.standing.refunded = row.standing.refunded.max(*amount),
        CardChange::Refund { refund, amount, failed } => {
            row.standing.refunds = store::record_refund(tx, payment, refund, *amount, *failed).await?;
        }
        CardChange::Disputed(amount) => row.standing.disputed = row.standing.disputed.max(*amount),
        CardChange::DisputeWon(amount) => row.standing.won = row.standing.won.max(*amount),
        CardChange::InquiryClosed(amount) => {
            row.standing.won = row.standing.won.max(*amount.min(&row.standing.disputed));
        }
    }
    outcome.returned = return_credit(tx, &mut row, now).await?;
    (outcome.taken_back, outcome.debt) = take_back(tx, &mut row, now).await?;
    store::save_payment(tx, &row, now).await?;
    let is_new = outcome.credited.is_positive() || outcome.returned.is_positive();
    if let Some(purchase) = row.purchase.filter(|_| is_new) {
        pay_debts(tx, &purchase.account, now).await?;
    }
    Ok(outcome)
}

/// Credits a payment to the account that ordered its checkout.
async fn credit_purchase(
    tx: &mut Tx,
    row: &mut PaymentRow,
    checkout: &str,
    amount: Money,
    now: Timestamp,
) -> Result<Money, CardError> {
    let Some(order) = store::checkout_by_id(tx, checkout).await? else {
        // Of another server that shares the processor's account with this one.
        tracing::warn!(payment = row.payment, "a card payment is for a checkout that is not known here");
        metrics::counter!("farebox_card_payments_unknown_total").increment(1);
        return Ok(Money::ZERO);
    };
    let credits = if amount == order.price {
        order.credits
    } else {
        // Somebody changed the price at the processor: the amount paid is the amount credited.
        tracing::error!(payment = row.payment, %amount, price = %order.price, "another amount was paid");
        amount
    };
    if ledger::credit(tx, &order.account, credits, &source(&row.payment)?, now).await? == Credited::Replayed {
        return Err(LedgerError::Corrupt(format!("card payment {} was credited before", row.payment)).into());
    }
    store::set_state(tx, checkout, CheckoutState::Paid).await?;
    row.standing.paid = amount;
    row.standing.credited = credits;
    row.purchase = Some(CardPurchase { account: order.account, checkout: order.id });
    Ok(credits)
}

/// Returns credit that was taken back for a dispute that is won or a refund that has failed, and ends the debt for it.
async fn return_credit(tx: &mut Tx, row: &mut PaymentRow, now: Timestamp) -> Result<Money, CardError> {
    let corrupt = || CardError::Corrupt(row.payment.clone());
    let returnable = row.standing.returnable();
    let Some(purchase) = row.purchase.as_ref().filter(|_| row.standing.may_return()) else {
        return Ok(Money::ZERO);
    };
    let account = &purchase.account;
    if row.standing.owed().is_zero() {
        store::set_debt(tx, source(&row.payment)?.as_str(), account, Money::ZERO, now).await?;
    }
    if !returnable.is_positive() {
        return Ok(Money::ZERO);
    }
    // Each return has a source of its own: the sum that was returned before it.
    let again = format!("card-again:{}:{}", row.payment, row.standing.returned.micros());
    let again = SourceRef::parse(&again).map_err(|_| corrupt())?;
    if ledger::credit(tx, account, returnable, &again, now).await? == Credited::Replayed {
        return Err(corrupt());
    }
    row.standing.taken_back = row.standing.taken_back.checked_sub(returnable).ok_or_else(corrupt)?;
    row.standing.returned = row.standing.returned.checked_add(returnable).ok_or_else(corrupt)?;
    Ok(returnable)
}

/// Takes back the credit that is owed, as far as it is available; the rest is a debt. Returns both.
async fn take_back(tx: &mut Tx, row: &mut PaymentRow, now: Timestamp) -> Result<(Money, Money), CardError> {
    let corrupt = || CardError::Corrupt(row.payment.clone());
    let owed = row.standing.owed();
    let Some(purchase) = row.purchase.as_ref().filter(|_| owed.is_positive()) else {
        return Ok((Money::ZERO, Money::ZERO));
    };
    let account = &purchase.account;
    // Each reversal has a request key of its own: the sums taken back and returned before it.
    let CardPaymentStanding { taken_back, returned, .. } = row.standing;
    let key = format!("card-back:{}:{}:{}", row.payment, taken_back.micros(), returned.micros());
    let key = RequestKey::parse(&key).map_err(|_| corrupt())?;
    let details = |amount| EntryDetails {
        kind: EntryKind::Refund,
        request_id: None,
        service: "card".to_owned(),
        units: 1,
        unit_price: amount,
        meta: serde_json::json!({ "payment": row.payment }),
    };
    let mut amount = owed;
    if let SpendOutcome::Short { by } = ledger::spend(tx, account, owed, &key, &details(owed), now).await? {
        // The account is locked since that answer, so what is available stays so.
        amount = owed.checked_sub(by).ok_or_else(corrupt)?;
        if amount.is_positive() {
            let SpendOutcome::Spent(_) =
                ledger::spend(tx, account, amount, &key, &details(amount), now).await?
            else {
                return Err(corrupt());
            };
        }
    }
    let debt = owed.checked_sub(amount).ok_or_else(corrupt)?;
    row.standing.taken_back = taken_back.checked_add(amount).ok_or_else(corrupt)?;
    store::set_debt(tx, source(&row.payment)?.as_str(), account, debt, now).await?;
    Ok((amount, debt))
}

/// Pays the debts of an account from the money it has available, the oldest debt first. The caller has
/// locked the account.
pub(in crate::funding) async fn pay_debts(
    tx: &mut Tx,
    account: &AccountId,
    now: Timestamp,
) -> Result<(), CardError> {
    for debt in store::open_debts(tx, account).await? {
        let payment = debt.strip_prefix("card:").ok_or_else(|| CardError::Corrupt(debt.clone()))?;
        let mut row = store::lock_payment(tx, payment, now).await?;
        let (paid, rest) = take_back(tx, &mut row, now).await?;
        store::save_payment(tx, &row, now).await?;
        if paid.is_positive() {
            tracing::info!(payment, %account, %paid, %rest, "a debt is paid from new credit");
        }
    }
    Ok(())
}

/// Records that a checkout will not be paid.
pub(super) async fn fail(db: &Db, checkout: &str) -> Result<(), DbError> {
    db.transaction(|mut tx| async move {
        store::set_state(&mut tx, checkout, CheckoutState::Failed).await?;
        Ok((tx, ()))
    })
    .await
}

fn report(payment: &str, outcome: BookingOutcome) {
    let BookingOutcome { credited, taken_back, returned, debt } = outcome;
    let count = |name: &'static str, amount: Money| {
        metrics::counter!(name).increment(u64::try_from(amount.micros()).unwrap_or(0));
    };
    if credited.is_positive() {
        tracing::info!(payment, %credited, "a card payment is credited");
        count("farebox_card_credited_micros_total", credited);
    }
    if taken_back.is_positive() {
        tracing::info!(payment, %taken_back, "a card payment was refunded or disputed; its credit is taken back");
        count("farebox_card_taken_back_micros_total", taken_back);
    }
    if returned.is_positive() {
        tracing::info!(payment, %returned, "a dispute of a card payment is won; its credit is returned");
        count("farebox_card_returned_micros_total", returned);
    }
    if debt.is_positive() {
        tracing::warn!(payment, %debt, "credit of a refunded or disputed card payment is spent already: it is a debt");
        count("farebox_card_debt_micros_total", debt);
    }
}
