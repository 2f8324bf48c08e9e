//! Decides, one after the other, which of a batch's orders fit. Pure.

use std::collections::BTreeSet;

use super::account::Hold;
use super::budget::BudgetUsage;
use super::changes::{self, NewHold};
use super::holds::{Capture, HoldRequest, OpenOutcome};
use super::idempotency::IdempotencyStatus;
use super::orders::{Orders, Outcomes};
use super::statement::Entry;
use super::working_set::{Charge, Settled, StoredHold, WorkingSet};
use super::{ChargeOutcome, CloseOutcome, LedgerError};
use farebox_db::writes::Writes;
use farebox_types::id::{AccountId, HoldId, RequestKey};
use farebox_types::money::Money;

/// What is to become of a batch.
#[derive(Default)]
pub(super) struct Decided {
    /// Settlings that found their hold closed have no true one yet.
    pub outcomes: Outcomes,
    /// These captures, by their places.
    pub closed_before: Vec<usize>,
    /// What makes it so.
    pub writes: Writes,
    /// The holds that open.
    pub opened: Vec<(HoldId, StoredHold)>,
    /// Accounts on which something is refused, or less is granted than was asked for.
    pub grudging: BTreeSet<AccountId>,
}

/// Decides what fits: holds are settled first, which frees money, then opened, then charged. The
/// books change accordingly. `requests` is what each opening is known by.
///
/// # Errors
/// When what there is to record of one of them cannot be.
pub(super) fn decide(
    orders: &Orders,
    requests: &[IdempotencyStatus],
    books: &mut WorkingSet,
) -> Result<Decided, LedgerError> {
    let mut deciding = Deciding { books, decided: Decided::default(), entries: Vec::new() };
    for (at, capture) in orders.captures.iter().enumerate() {
        let outcome = deciding.capture(at, capture);
        deciding.decided.outcomes.captures.push(outcome);
    }
    let mut taken = BTreeSet::new();
    let mut new = Vec::new();
    for (opening, known) in orders.openings.iter().zip(requests) {
        let outcome = match known {
            IdempotencyStatus::New(request) if taken.insert((&opening.account, request)) => {
                deciding.open(opening, request, &mut new)
            }
            IdempotencyStatus::New(_) | IdempotencyStatus::InProgress => OpenOutcome::InProgress,
            IdempotencyStatus::Charged => OpenOutcome::Charged,
        };
        deciding.decided.outcomes.openings.push(Ok(outcome));
    }
    for charge in &orders.charges {
        let outcome = deciding.charge(charge);
        deciding.decided.outcomes.charges.push(outcome);
    }
    let mut decided = deciding.written(&new)?;
    if orders.charges.is_empty() && orders.captures.is_empty() {
        // Money that is set aside need only be seen by others.
        decided.writes.relaxed_durability();
    }
    Ok(decided)
}

struct Deciding<'b> {
    books: &'b mut WorkingSet,
    decided: Decided,
    entries: Vec<(HoldId, Entry)>,
}

impl Deciding<'_> {
    fn capture(&mut self, at: usize, capture: &Capture) -> Result<CloseOutcome, LedgerError> {
        let Capture { hold, owed, details, now } = capture;
        let settled = self.books.capture(hold, *owed);
        if !matches!(settled, Ok(Settled::Closed { risen, .. }) if risen == owed.amount()) {
            self.grudge(hold);
        }
        match settled? {
            Settled::Closed { charged, released, .. } => {
                let entry = Entry::of(&self.books.tabs[hold].account, charged, details, *now);
                self.entries.push((hold.clone(), entry.clone()));
                Ok(CloseOutcome::Closed { entry, released })
            }
            Settled::Short { by } => Ok(CloseOutcome::Short { by }),
            Settled::Before => {
                self.decided.closed_before.push(at);
                Err(LedgerError::UnknownHold(hold.clone()))
            }
        }
    }

    fn open<'o>(
        &mut self,
        opening: &'o HoldRequest,
        request: &'o RequestKey,
        new: &mut Vec<NewHold<'o>>,
    ) -> OpenOutcome {
        let reserved = self.books.reserve(opening);
        if reserved != Ok(opening.estimate.wanted) {
            self.decided.grudging.insert(opening.account.clone());
        }
        let reserved = match reserved {
            Ok(reserved) => reserved,
            Err(left) => return OpenOutcome::Short(left),
        };
        let hold = HoldId::new(opening.now);
        let tab = Hold { reserved, charged: Money::ZERO };
        let budget = opening.budget.as_ref().map(|budget| (budget.name.clone(), budget.day.clone()));
        let opened = StoredHold { account: opening.account.clone(), tab, is_open: true, budget };
        self.decided.opened.push((hold.clone(), opened));
        new.push(NewHold {
            id: hold.clone(),
            account: &opening.account,
            request_key: request,
            tab,
            state: "open",
            budget: opening.budget.as_ref(),
            now: opening.now,
            expires_at: opening.expires_at,
        });
        OpenOutcome::Open { hold, reserved }
    }

    fn charge(&mut self, charge: &Charge) -> Result<ChargeOutcome, LedgerError> {
        let charged = self.books.charge(charge);
        if !matches!(charged, Ok((_, true))) {
            self.grudge(&charge.hold);
        }
        Ok(charged?.0)
    }

    fn grudge(&mut self, hold: &HoldId) {
        let account = self.books.tabs.get(hold).map(|opened| opened.account.clone());
        self.decided.grudging.extend(account);
    }

    /// With what makes it so. Accounts come first, then holds, each in the order of their ids.
    fn written(mut self, new: &[NewHold<'_>]) -> Result<Decided, LedgerError> {
        let mut spent = BudgetUsage::default();
        for (hold, entry) in &self.entries {
            if let Some((name, day)) = &self.books.tabs[hold].budget {
                spent.add(name, day, entry.amount).ok_or(LedgerError::Overflow)?;
            }
        }
        let writes = &mut self.decided.writes;
        changes::change_accounts(writes, self.books.account_changes());
        changes::change_tabs(writes, self.books.tab_changes());
        changes::insert_holds(writes, new);
        changes::insert_entries(writes, &self.entries)?;
        spent.count(writes);
        Ok(self.decided)
    }
}
