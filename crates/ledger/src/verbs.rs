//! Verbs as parts of a caller's transaction. Each locks the account first, then the hold.

#[cfg(doc)]
use super::Ledger;
use super::account::{Account, AccountRefusal, Hold};
use super::batch::{Batch, CommandResult};
use super::changes::{self, NewHold};
use super::holds::{Capture, Charge, Owed};
use super::statement::{Entry, EntryDetails};
use super::working_set::StoredHold;
use super::{ChargeOutcome, CloseOutcome, Credited, HoldOutcome, LedgerError, SpendOutcome, locked, sql};
use farebox_db::Tx;
use farebox_db::writes::Writes;
use farebox_types::id::{AccountId, EntryId, HoldId, RequestKey, SourceRef, Timestamp};
use farebox_types::money::Money;

/// Raises `credited` of an account, once per source; makes the account if it is missing.
///
/// # Errors
/// [`LedgerError::CreditConflict`] if the source was credited to another account or with another
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
    if sql::find_credit(tx, source).await? == Some((account.clone(), amount)) {
        Ok(Credited::Replayed)
    } else {
        Err(LedgerError::CreditConflict(source.clone()))
    }
}

/// Returns the account that a source was credited to, and the amount; `None` when it was credited to nobody.
///
/// # Errors
/// If the database fails.
pub async fn credited_by(tx: &mut Tx, source: &SourceRef) -> Result<Option<(AccountId, Money)>, LedgerError> {
    sql::find_credit(tx, source).await
}

/// Credits several accounts at once, each named once, under sources that were never credited, according to the
/// caller's own locked rows.
///
/// # Errors
/// [`LedgerError::Amount`] unless every amount is positive, [`LedgerError::Corrupt`] if a source was credited before, and the database's refusal of a sum that is too large.
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

/// Returns an account as it stays until the transaction ends. One that was never credited has nothing.
///
/// # Errors
/// The database fails.
pub async fn lock(tx: &mut Tx, account: &AccountId) -> Result<Account, LedgerError> {
    Ok(sql::lock_account(tx, account).await?.unwrap_or_default())
}

/// Opens a hold for a request and sets `estimate` aside for it; zero is legal and sets nothing aside. A request key
/// that has a hold already gets that one, whatever its state.
///
/// `expires_at` is the moment from which on the [sweeper](super::sweep) may take the request for lost: later than any
/// request lives, or moved on with [`extend`] while it lives.
///
/// # Errors
/// [`LedgerError::Amount`] if the estimate is negative.
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
        Ok(_) => {}
        Err(AccountRefusal::Short(by)) => return Ok(HoldOutcome::Short { by }),
        Err(AccountRefusal::Overflow) => return Err(LedgerError::Overflow),
    }
    let id = HoldId::new(now);
    let mut writes = Writes::default();
    change_account(&mut writes, account, Money::ZERO, estimate);
    let new = NewHold {
        id: &id,
        account,
        request_key: request_key.clone(),
        hold: Hold { reserved: estimate, charged: Money::ZERO },
        state: "open",
        budget: None,
        now,
        expires_at,
    };
    changes::insert_holds(&mut writes, &[new]);
    changes::write(tx, &writes).await?;
    Ok(HoldOutcome::Opened(id))
}

/// Raises what a hold was charged by `amount`, drawing on its reserve first and on what is available
/// then. For a charge that must happen together with something else; [`Ledger::charge`] shares
/// its commit with others and is faster.
///
/// # Errors
/// [`LedgerError::UnknownHold`], and [`LedgerError::Amount`] if the amount is negative.
pub async fn charge(tx: &mut Tx, hold: &HoldId, amount: Money) -> Result<ChargeOutcome, LedgerError> {
    not_negative(amount)?;
    let charge = Charge { hold: hold.clone(), amount, ahead: Money::ZERO, reached: None };
    let batch = Batch { charges: vec![charge], ..Batch::default() };
    only(locked::execute(&batch, tx).await?.0.charges)
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
    let entry = EntryId::new(now);
    let capture = Capture { hold: hold.clone(), entry, owed: Owed::NOTHING, details: details.clone(), now };
    let batch = Batch { captures: vec![capture], ..Batch::default() };
    only(locked::execute(&batch, tx).await?.0.captures)
}

/// Closes a hold, provided that it is open and its time is over at `end`. Returns `None` if it is not.
pub(super) async fn close_expired(
    tx: &mut Tx,
    hold: &HoldId,
    details: &EntryDetails,
    end: Timestamp,
    now: Timestamp,
) -> Result<Option<CloseOutcome>, LedgerError> {
    let (stored, expires_at) = lock_hold(tx, hold).await?;
    if !stored.is_open || expires_at > end {
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
/// [`LedgerError::StillOpen`] if the request key belongs to an open hold,
/// [`LedgerError::Amount`] if the amount is negative.
pub async fn spend(
    tx: &mut Tx,
    account: &AccountId,
    amount: Money,
    request_key: &RequestKey,
    details: &EntryDetails,
    now: Timestamp,
) -> Result<SpendOutcome, LedgerError> {
    not_negative(amount)?;
    details.check()?;
    let before = match sql::lock_account(tx, account).await? {
        Some(found) => found,
        None if amount.is_zero() => open_account(tx, account, now).await?,
        None => return Ok(SpendOutcome::Short { by: amount }),
    };
    if let Some(existing) = sql::find_hold(tx, account, request_key).await? {
        let (stored, _) = lock_hold(tx, &existing).await?;
        if stored.is_open {
            return Err(LedgerError::StillOpen(request_key.clone()));
        }
        return Ok(SpendOutcome::Replayed(sql::read_entry(tx, &existing).await?));
    }
    match before.reserve(amount) {
        Ok(_) => {}
        Err(AccountRefusal::Short(by)) => return Ok(SpendOutcome::Short { by }),
        Err(AccountRefusal::Overflow) => return Err(LedgerError::Overflow),
    }
    let id = HoldId::new(now);
    let entry = Entry::of(&EntryId::new(now), account, amount, details, None, now);
    let mut writes = Writes::default();
    change_account(&mut writes, account, amount, Money::ZERO);
    let new = NewHold {
        id: &id,
        account,
        request_key: request_key.clone(),
        hold: Hold { reserved: Money::ZERO, charged: amount },
        state: "closed",
        budget: None,
        now,
        expires_at: now,
    };
    changes::insert_holds(&mut writes, &[new]);
    changes::insert_entries(&mut writes, &[(id.clone(), entry.clone())]);
    changes::write(tx, &writes).await?;
    Ok(SpendOutcome::Spent(entry))
}

/// Moves the moment from which on the sweeper may close a hold. Returns false if it is closed already, and the request
/// must stop.
///
/// # Errors
/// [`LedgerError::UnknownHold`].
pub async fn extend(tx: &mut Tx, hold: &HoldId, expires_at: Timestamp) -> Result<bool, LedgerError> {
    lock_hold(tx, hold).await?;
    sql::set_expiry(tx, hold, expires_at).await
}

fn change_account(writes: &mut Writes, account: &AccountId, posted: Money, held: Money) {
    if (posted, held) != (Money::ZERO, Money::ZERO) {
        changes::change_accounts(writes, std::iter::once((account, (posted, held))));
    }
}

/// Returns the result of the one command of a locked batch.
fn only<T>(mut results: Vec<CommandResult<T>>) -> Result<T, LedgerError> {
    assert_eq!(results.len(), 1, "the batch has one command");
    results.pop().flatten().expect("a command on locked rows has a result")
}

/// Returns the account, made if it is missing, and locked.
async fn open_account(tx: &mut Tx, account: &AccountId, now: Timestamp) -> Result<Account, LedgerError> {
    if let Some(found) = sql::lock_account(tx, account).await? {
        return Ok(found);
    }
    sql::insert_account(tx, account, now).await?;
    let made = sql::lock_account(tx, account).await?;
    made.ok_or_else(|| LedgerError::Corrupt(format!("account {account} vanished")))
}

/// Locks the account of a hold, then reads the hold, which nobody else can extend any more, or close if it claims
/// anything. The account of a hold never changes, so it may be read before.
async fn lock_hold(tx: &mut Tx, hold: &HoldId) -> Result<(StoredHold, Timestamp), LedgerError> {
    let unknown = || LedgerError::UnknownHold(hold.clone());
    let (before, _) = sql::read_hold(tx, hold).await?.ok_or_else(unknown)?;
    sql::lock_account(tx, &before.account).await?;
    sql::read_hold(tx, hold).await?.ok_or_else(unknown)
}

pub(super) fn not_negative(amount: Money) -> Result<(), LedgerError> {
    if amount < Money::ZERO { Err(LedgerError::Amount(amount)) } else { Ok(()) }
}
