//! Rows that a batch reads and changes. Pure.
//!
//! A command is answered with a [`Step`], which changes nothing until it is [applied](WorkingSet::apply).

use std::collections::BTreeMap;

use super::account::{Account, AccountRefusal, Hold};
use super::budget::BudgetUsage;
use super::holds::{Capture, Charge, Estimate, HoldRequest, OpenOutcome, Owed};
use super::idempotency::IdempotencyStatus;
use super::statement::Entry;
use super::{ChargeOutcome, CloseOutcome, LedgerError};
use farebox_types::id::{AccountId, HoldId, RequestKey};
use farebox_types::money::Money;

/// Row of a hold, as it was found or as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredHold {
    /// Account whose money it holds.
    pub account: AccountId,
    pub hold: Hold,
    /// True if it can still be charged.
    pub is_open: bool,
    /// Budget that it was opened within, and the day.
    pub budget: Option<(String, String)>,
}

/// Rows of accounts and holds, and what else their commands need to know.
#[derive(Debug, Default)]
pub(super) struct WorkingSet {
    /// True if nobody else can change these rows before they are written. If not, they may be out of date.
    pub is_locked: bool,
    pub accounts: BTreeMap<AccountId, Account>,
    pub holds: BTreeMap<HoldId, StoredHold>,
    /// Entries of closed holds. Read with locked rows only.
    pub entries: BTreeMap<HoldId, Entry>,
    /// Status of openings with an idempotency key, by their new hold. Read with locked rows only.
    pub requests: BTreeMap<HoldId, IdempotencyStatus>,
    /// Money used within budgets that have a limit. Read with locked rows only.
    pub used: BudgetUsage,
    /// Rows that break a law and cannot be used, by their ids: errors of the commands that need them.
    pub corrupt: BTreeMap<String, LedgerError>,
    /// Changed accounts, as they were found.
    pub found_accounts: BTreeMap<AccountId, Account>,
    /// Changed holds, as they were found: open, all of them.
    pub found_holds: BTreeMap<HoldId, Hold>,
}

/// Answer to a command.
#[derive(Debug)]
pub(super) struct Step<T> {
    pub outcome: T,
    /// True if all that was asked for is granted.
    pub in_full: bool,
    /// Hold and account after it; `None` if nothing changes.
    pub change: Option<Change>,
}

/// Account and hold after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    pub account: Account,
    pub hold: Hold,
    pub closes: bool,
}

impl Change {
    /// Returns true if a hold may change to it: one that stays open is never charged less than before.
    fn is_lawful_after(&self, before: Hold) -> bool {
        self.closes || self.hold.charged >= before.charged
    }
}

/// Change of an open hold that is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HoldChange {
    pub found: Hold,
    pub now: Hold,
    pub closes: bool,
}

impl<T> Step<T> {
    fn refused(outcome: T) -> Self {
        Self { outcome, in_full: false, change: None }
    }

    /// Returns the outcome of a command that was executed before.
    fn repeated(outcome: T) -> Self {
        Self { outcome, in_full: true, change: None }
    }
}

impl WorkingSet {
    /// Charges a hold, drawing on its reserve first.
    ///
    /// # Errors
    /// There is no such hold, its rows are corrupt, or the sum is beyond the largest that can be recorded.
    pub(super) fn charge(
        &self,
        Charge { hold, amount, ahead, reached }: &Charge,
    ) -> Result<Step<ChargeOutcome>, LedgerError> {
        let (stored, account) = self.find(hold)?;
        // One instance alone charges a hold, the one that serves its request: a total that is reached is this charge's.
        let is_done =
            |total: &Money| stored.hold.charged >= *total && (stored.is_open || amount.is_positive());
        if let Some(total) = reached.filter(is_done) {
            return Ok(Step::repeated(ChargeOutcome::Charged { total }));
        }
        if !stored.is_open {
            return Ok(Step::refused(ChargeOutcome::Closed));
        }
        match account.charge(stored.hold, *amount, *ahead) {
            Ok((account, hold)) => {
                let in_full = *amount <= stored.hold.unused() || hold.unused() >= *ahead;
                let change = Some(Change { account, hold, closes: false });
                Ok(Step { outcome: ChargeOutcome::Charged { total: hold.charged }, in_full, change })
            }
            Err(AccountRefusal::Short(by)) => Ok(Step::refused(ChargeOutcome::Short { by })),
            Err(AccountRefusal::Overflow) => Err(LedgerError::Overflow),
        }
    }

    /// Charges what is owed for a hold, and closes it.
    ///
    /// # Errors
    /// Those of [`charge`](Self::charge), and details that cannot be recorded.
    pub(super) fn capture(&self, capture: &Capture) -> Result<Step<CloseOutcome>, LedgerError> {
        let Capture { hold: id, entry, owed, details, now } = capture;
        details.check()?;
        let (stored, account) = self.find(id)?;
        if !stored.is_open {
            let found = self.entries.get(id).cloned();
            let corrupt = || self.missing(&id.to_string(), id);
            let found = found.ok_or_else(corrupt)?;
            if found.id == entry.to_string() {
                return Ok(Step::repeated(CloseOutcome::Closed {
                    entry: found,
                    released: stored.hold.unused(),
                }));
            }
            return Ok(Step::refused(CloseOutcome::AlreadyClosed { entry: found }));
        }
        let (wanted, returned) = owed.after(stored.hold.charged);
        let mut amount = wanted;
        if let Err(AccountRefusal::Short(by)) = account.charge(stored.hold, amount, Money::ZERO) {
            if matches!(owed, Owed::Exactly(_)) {
                return Ok(Step::refused(CloseOutcome::Short { by }));
            }
            amount = amount.checked_sub(by).unwrap_or_default();
        }
        let charged = account.charge(stored.hold, amount, Money::ZERO);
        let closed = charged.and_then(|(account, hold)| account.close(hold, returned));
        let Ok((account, hold)) = closed else { return Err(LedgerError::Overflow) };
        let key = stored.budget.as_ref().map(|(name, _)| name.as_str());
        let entry = Entry::of(entry, &stored.account, hold.charged, details, key, *now);
        Ok(Step {
            outcome: CloseOutcome::Closed { entry, released: hold.unused() },
            in_full: amount == wanted,
            change: Some(Change { account, hold, closes: true }),
        })
    }

    /// Sets the estimate of a new hold aside, or as much of it as is available.
    ///
    /// # Errors
    /// The account's row is corrupt.
    pub(super) fn open(&self, request: &HoldRequest) -> Result<Step<OpenOutcome>, LedgerError> {
        if let Some(stored) = self.holds.get(&request.hold) {
            return match stored {
                stored if stored.account != request.account => {
                    Err(LedgerError::Corrupt(format!("hold {} was opened on another account", request.hold)))
                }
                StoredHold { hold: Hold { reserved, .. }, is_open: true, .. } => {
                    let hold = request.hold.clone();
                    Ok(Step::repeated(OpenOutcome::Open { hold, reserved: *reserved }))
                }
                _ => Ok(Step::refused(OpenOutcome::Charged)),
            };
        }
        match self.requests.get(&request.hold) {
            Some(IdempotencyStatus::InProgress) => return Ok(Step::refused(OpenOutcome::InProgress)),
            Some(IdempotencyStatus::Charged) => return Ok(Step::refused(OpenOutcome::Charged)),
            Some(IdempotencyStatus::New(_)) | None => {}
        }
        let Some(account) = self.accounts.get(&request.account).copied() else {
            if let Some(error) = self.corrupt.get(request.account.as_str()) {
                return Err(error.clone());
            }
            let left = self.used.left(request.budget.as_ref(), Money::ZERO);
            return Ok(Step::refused(OpenOutcome::Short(left)));
        };
        let left = self.used.left(request.budget.as_ref(), account.available());
        let Estimate { wanted, .. } = request.estimate;
        let Some(reserved) = request.estimate.within(left.affordable) else {
            return Ok(Step::refused(OpenOutcome::Short(left)));
        };
        let account = account.reserve(reserved).map_err(|_| LedgerError::Overflow)?;
        let hold = Hold { reserved, charged: Money::ZERO };
        Ok(Step {
            outcome: OpenOutcome::Open { hold: request.hold.clone(), reserved },
            in_full: reserved == wanted,
            change: Some(Change { account, hold, closes: false }),
        })
    }

    /// Returns the key under which a request is new; `None` if it is not.
    pub(super) fn request_key(&self, request: &HoldRequest) -> Option<RequestKey> {
        if request.idempotency_key.is_none() {
            return Some(RequestKey::of(&request.hold));
        }
        match self.requests.get(&request.hold) {
            Some(IdempotencyStatus::New(key)) => Some(key.clone()),
            _ => None,
        }
    }

    fn find(&self, id: &HoldId) -> Result<(&StoredHold, Account), LedgerError> {
        let stored = self.holds.get(id).ok_or_else(|| self.missing(&id.to_string(), id))?;
        let account = self.accounts.get(&stored.account);
        Ok((stored, *account.ok_or_else(|| self.missing(stored.account.as_str(), id))?))
    }

    fn missing(&self, row: &str, hold: &HoldId) -> LedgerError {
        self.corrupt.get(row).cloned().unwrap_or_else(|| LedgerError::UnknownHold(hold.clone()))
    }

    /// Makes a step that changes an open hold.
    pub(super) fn apply(&mut self, id: &HoldId, change: Change) {
        let stored = self.holds.get_mut(id).expect("a hold that changes was found");
        assert!(stored.is_open, "a closed hold does not change");
        assert!(change.is_lawful_after(stored.hold), "what an open hold was charged never falls");
        // Also if nothing is charged: the database must confirm that the hold is open.
        self.found_holds.entry(id.clone()).or_insert(stored.hold);
        (stored.hold, stored.is_open) = (change.hold, !change.closes);
        let before = self.accounts.get(&stored.account).expect("the account of a hold was found");
        // A charge within the reserve leaves the account as it is, and copies no account id.
        if *before != change.account {
            let owner = stored.account.clone();
            self.apply_to_account(&owner, change.account);
        }
    }

    /// Makes a step that changes an account.
    pub(super) fn apply_to_account(&mut self, id: &AccountId, after: Account) {
        let account = self.accounts.get_mut(id).expect("an account that changes was found");
        if *account != after {
            assert_eq!(account.credited(), after.credited(), "no command of a batch credits an account");
            self.found_accounts.entry(id.clone()).or_insert(*account);
            *account = after;
        }
    }

    /// Returns what is added to the accounts' `posted` and `held`; the second may be negative.
    pub(super) fn account_changes(&self) -> impl Iterator<Item = (&AccountId, (Money, Money))> {
        self.found_accounts.iter().filter_map(|(id, found)| {
            let now = self.accounts.get(id)?;
            let by = (difference(now.posted(), found.posted()), difference(now.held(), found.held()));
            (by != (Money::ZERO, Money::ZERO)).then_some((id, by))
        })
    }

    /// Returns how open holds change.
    pub(super) fn hold_changes(&self) -> impl Iterator<Item = (&HoldId, HoldChange)> {
        self.found_holds.iter().filter_map(|(id, found)| {
            let stored = self.holds.get(id)?;
            Some((id, HoldChange { found: *found, now: stored.hold, closes: !stored.is_open }))
        })
    }

    /// Asserts the laws that every decision keeps, whatever was asked: no account is overdrawn, and no hold that stays
    /// open is charged less than before.
    pub(super) fn assert_lawful(&self) {
        for id in self.found_accounts.keys() {
            let account = &self.accounts[id];
            let used = account.posted().checked_add(account.held());
            assert!(used.is_some_and(|used| used <= account.credited()), "{id} is overdrawn: {account:?}");
        }
        for (id, change) in self.hold_changes() {
            assert!(
                change.closes || change.now.charged >= change.found.charged,
                "hold {id} is charged less: {change:?}"
            );
        }
    }
}

fn difference(now: Money, found: Money) -> Money {
    now.checked_sub(found).expect("both lie between zero and LARGEST")
}
