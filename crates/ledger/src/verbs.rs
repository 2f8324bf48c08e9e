//! The verbs, as parts of a caller's transaction. Each locks the account first, then the hold.

#[cfg(doc)]
use super::Ledger;
use super::account::{Account, AccountRefusal, Hold};
use super::changes::{self, NewHold};
use super::holds::{Capture, Owed};
use super::orders::Orders;
use super::sql;
use super::statement::{Entry, EntryDetails};
use super::working_set::{Charge, StoredHold};
use super::{ChargeOutcome, CloseOutcome, Credited, HoldOutcome, LedgerError, SpendOutcome};
use farebox_db::Tx;
use farebox_db::writes::Writes;
use farebox_types::id::{AccountId, HoldId, RequestKey, SourceRef, Timestamp};
use farebox_types::money::Money;

/// Raises what the account was credited, once per source; makes the account when it is missing.
///
/// # Errors
/// [`LedgerError::CreditConflict`] when the source was credited to another account or with another
/// amount, [`LedgerError::Amount`] unless the amount is positive, [`LedgerError::Overflow`].
pub async fn credit(
    tx: &mut Tx,
    account: &AccountId,
    amount: Money,
    source: &SourceRef,
    now: Timestamp,
) -> Result<Credited, LedgerError> {
    if !amount.is_positive() {
        return Err(LedgerError::Amount(amount));
    }
    let before = open_account(tx, account, now).await?;
    // The insert is the claim: of two that race with one source, the second waits here for the
    // first to commit and then finds the source taken.
    if sql::insert_credit(tx, account, amount, source, now).await? {
        before.credit(amount).map_err(|_| LedgerError::Overflow)?;
        sql::raise_credited(tx, account, amount).await?;
        return Ok(Credited::Applied);
    }
    if sql::read_credit(tx, source).await? == (account.clone(), amount) {
        Ok(Credited::Replayed)
    } else {
        Err(LedgerError::CreditConflict(source.clone()))
    }
}

/// [`credit`] for several accounts at once, each named once, with sources that
/// were never credited: what the caller's own locked rows say.
///
/// # Errors
/// [`LedgerError::Amount`] unless every amount is positive, [`LedgerError::Corrupt`]
/// when a source was credited before, and the database's refusal of a sum that is too large.
pub async fn credit_all(
    tx: &mut Tx,
    credits: &[(AccountId, Money, SourceRef)],
    now: Timestamp,
) -> Result<(), LedgerError> {
    if let Some((_, amount, _)) = credits.iter().find(|(_, amount, _)| !amount.is_positive()) {
        return Err(LedgerError::Amount(*amount));
    }
    if credits.is_empty() {
        return Ok(());
    }
    sql::insert_credits(tx, credits, now).await
}

/// How an account stands, and stays until the transaction ends. One that was never credited
/// stands at zero.
///
/// # Errors
/// When the database fails.
pub async fn lock(tx: &mut Tx, account: &AccountId) -> Result<Account, LedgerError> {
    Ok(sql::lock_account(tx, account).await?.unwrap_or_default())
}

/// Opens a hold for a request and sets `estimate` aside for it; zero is legal and sets nothing
/// aside. A request key that has a hold already gets that one, whatever its state.
///
/// `expires_at` is when the [sweeper](super::sweep) may take the request for lost: later than any
/// request lives, or moved on with [`extend`] while it lives.
///
/// # Errors
/// [`LedgerError::Amount`] when the estimate is negative.
pub async fn hold(
    tx: &mut Tx,
    account: &AccountId,
    request_key: &RequestKey,
    estimate: Money,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<HoldOutcome, LedgerError> {
    not_negative(estimate)?;
    let before = match sql::lock_account(tx, account).await? {
        Some(found) => found,
        None if estimate.is_zero() => open_account(tx, account, now).await?,
        None => return Ok(HoldOutcome::Short { by: estimate }),
    };
    if let Some(existing) = sql::find_hold(tx, account, request_key).await? {
        return Ok(HoldOutcome::Existing(existing));
    }
    match before.reserve(estimate) {
        Ok(_) => sql::raise_held(tx, account, estimate).await?,
        Err(AccountRefusal::Short(by)) => return Ok(HoldOutcome::Short { by }),
        Err(AccountRefusal::Overflow) => return Err(LedgerError::Overflow),
    }
    let id = HoldId::new(now);
    let tab = Hold { reserved: estimate, charged: Money::ZERO };
    let budget = None;
    let new = NewHold { id: id.clone(), account, request_key, tab, state: "open", budget, now, expires_at };
    let mut writes = Writes::default();
    changes::insert_holds(&mut writes, &[new]);
    changes::write(tx, &writes).await?;
    Ok(HoldOutcome::Opened(id))
}

/// Raises what a hold was charged by `amount`, drawing on its reserve first and on what is available
/// then. For a charge that must happen together with something else; [`Ledger::charge`] shares
/// its commit with others and is faster.
///
/// # Errors
/// [`LedgerError::UnknownHold`], and [`LedgerError::Amount`] when the amount is negative.
pub async fn charge(tx: &mut Tx, hold: &HoldId, amount: Money) -> Result<ChargeOutcome, LedgerError> {
    not_negative(amount)?;
    let charge = Charge { hold: hold.clone(), amount, ahead: Money::ZERO };
    let orders = Orders { charges: vec![charge], ..Orders::default() };
    orders.execute(None, tx).await?.0.charges.pop().ok_or(LedgerError::Stopped)?
}

/// Closes a hold at what it was charged: posts its one entry and frees what it had set aside and
/// not used.
///
/// # Errors
/// [`LedgerError::UnknownHold`].
pub async fn close(
    tx: &mut Tx,
    hold: &HoldId,
    details: &EntryDetails,
    now: Timestamp,
) -> Result<CloseOutcome, LedgerError> {
    let capture = Capture { hold: hold.clone(), owed: Owed::NOTHING, details: details.clone(), now };
    let orders = Orders { captures: vec![capture], ..Orders::default() };
    orders.execute(None, tx).await?.0.captures.pop().ok_or(LedgerError::Stopped)?
}

/// [`close`], provided that the hold is open and its time is over. `None` when it is not.
pub(super) async fn close_expired(
    tx: &mut Tx,
    hold: &HoldId,
    details: &EntryDetails,
    now: Timestamp,
) -> Result<Option<CloseOutcome>, LedgerError> {
    let (opened, expires_at) = lock_hold(tx, hold).await?;
    if !opened.is_open || expires_at > now {
        return Ok(None);
    }
    // One that claims nothing may have been closed meanwhile.
    let closed = close(tx, hold, details, now).await?;
    Ok(Some(closed).filter(|closed| matches!(closed, CloseOutcome::Closed { .. })))
}

/// Charges a known price at once: `hold`, `charge` and `close` in one. A request key that was
/// charged before gets the entry posted then, whatever amount is asked now.
///
/// # Errors
/// [`LedgerError::StillOpen`] when the request key belongs to an open hold,
/// [`LedgerError::Amount`] when the amount is negative.
pub async fn spend(
    tx: &mut Tx,
    account: &AccountId,
    amount: Money,
    request_key: &RequestKey,
    details: &EntryDetails,
    now: Timestamp,
) -> Result<SpendOutcome, LedgerError> {
    not_negative(amount)?;
    let before = match sql::lock_account(tx, account).await? {
        Some(found) => found,
        None if amount.is_zero() => open_account(tx, account, now).await?,
        None => return Ok(SpendOutcome::Short { by: amount }),
    };
    if let Some(existing) = sql::find_hold(tx, account, request_key).await? {
        let (opened, _) = lock_hold(tx, &existing).await?;
        if opened.is_open {
            return Err(LedgerError::StillOpen(request_key.clone()));
        }
        return Ok(SpendOutcome::Replayed(sql::read_entry(tx, &existing).await?));
    }
    match before.reserve(amount) {
        Ok(_) => sql::raise_posted(tx, account, amount).await?,
        Err(AccountRefusal::Short(by)) => return Ok(SpendOutcome::Short { by }),
        Err(AccountRefusal::Overflow) => return Err(LedgerError::Overflow),
    }
    let id = HoldId::new(now);
    let tab = Hold { reserved: Money::ZERO, charged: amount };
    let (state, budget, expires_at) = ("closed", None, now);
    let new = NewHold { id: id.clone(), account, request_key, tab, state, budget, now, expires_at };
    let entry = Entry::of(account, amount, details, now);
    let mut writes = Writes::default();
    changes::insert_holds(&mut writes, &[new]);
    changes::insert_entries(&mut writes, &[(id, entry.clone())])?;
    changes::write(tx, &writes).await?;
    Ok(SpendOutcome::Spent(entry))
}

/// Moves the time at which the sweeper may close a hold. False when it is closed already, and the
/// request must stop.
///
/// # Errors
/// [`LedgerError::UnknownHold`].
pub async fn extend(tx: &mut Tx, hold: &HoldId, expires_at: Timestamp) -> Result<bool, LedgerError> {
    lock_hold(tx, hold).await?;
    sql::set_expiry(tx, hold, expires_at).await
}

/// The account, made when missing, and locked.
async fn open_account(tx: &mut Tx, account: &AccountId, now: Timestamp) -> Result<Account, LedgerError> {
    if let Some(found) = sql::lock_account(tx, account).await? {
        return Ok(found);
    }
    sql::insert_account(tx, account, now).await?;
    let made = sql::lock_account(tx, account).await?;
    made.ok_or_else(|| LedgerError::Corrupt(format!("account {account} vanished")))
}

/// Locks the account of a hold, then reads the hold, which nobody else can extend any more, or close if
/// it claims anything. Whose hold it is never changes, so that may be read before.
async fn lock_hold(tx: &mut Tx, hold: &HoldId) -> Result<(StoredHold, Timestamp), LedgerError> {
    let unknown = || LedgerError::UnknownHold(hold.clone());
    let (before, _) = sql::read_hold(tx, hold).await?.ok_or_else(unknown)?;
    sql::lock_account(tx, &before.account).await?;
    sql::read_hold(tx, hold).await?.ok_or_else(unknown)
}

pub(super) fn not_negative(amount: Money) -> Result<(), LedgerError> {
    if amount < Money::ZERO { Err(LedgerError::Amount(amount)) } else { Ok(()) }
}
