//! Decides, one after the other, which of a batch's orders fit. Pure.

use std::collections::BTreeSet;

use super::account::Tab;
use super::books::{Books, Charge, OpenedTab, Settled};
use super::budget::Used;
use super::changes::{self, NewHold};
use super::orders::{Orders, Outcomes};
use super::repeat::Known;
use super::statement::Entry;
use super::tabs::{Opened, Opening, Settling};
use super::{ChargeOutcome, CloseOutcome, LedgerError};
use crate::db::writes::Writes;
use crate::id::{AccountId, HoldId, RequestKey};
use crate::money::Money;

/// What is to become of a batch.
#[derive(Default)]
pub(super) struct Decided {
    /// Settlings that found their tab closed have no true one yet.
    pub outcomes: Outcomes,
    /// These settlings, by their places.
    pub closed_before: Vec<usize>,
    /// What makes it so.
    pub writes: Writes,
    /// The tabs that open.
    pub opened: Vec<(HoldId, OpenedTab)>,
    /// Accounts on which something is refused, or less is granted than was asked for.
    pub grudging: BTreeSet<AccountId>,
}

/// Decides what fits: tabs are settled first, which frees money, then opened, then charged. The
/// books change accordingly. `requests` is what each opening is known by.
///
/// # Errors
/// When what there is to record of one of them cannot be.
pub(super) fn decide(orders: &Orders, requests: &[Known], books: &mut Books) -> Result<Decided, LedgerError> {
    let mut deciding = Deciding { books, decided: Decided::default(), entries: Vec::new() };
    for (at, settling) in orders.settlings.iter().enumerate() {
        let outcome = deciding.settle(at, settling);
        deciding.decided.outcomes.settlings.push(outcome);
    }
    let mut taken = BTreeSet::new();
    let mut new = Vec::new();
    for (opening, known) in orders.openings.iter().zip(requests) {
        let outcome = match known {
            Known::New(request) if taken.insert((&opening.account, request)) => {
                deciding.open(opening, request, &mut new)
            }
            Known::New(_) | Known::InProgress => Opened::InProgress,
            Known::Charged => Opened::Charged,
        };
        deciding.decided.outcomes.openings.push(Ok(outcome));
    }
    for charge in &orders.charges {
        let outcome = deciding.charge(charge);
        deciding.decided.outcomes.charges.push(outcome);
    }
    let mut decided = deciding.written(&new)?;
    if orders.charges.is_empty() && orders.settlings.is_empty() {
        // Money that is set aside need only be seen by others.
        decided.writes.let_be_undone();
    }
    Ok(decided)
}

struct Deciding<'b> {
    books: &'b mut Books,
    decided: Decided,
    entries: Vec<(HoldId, Entry)>,
}

impl Deciding<'_> {
    fn settle(&mut self, at: usize, settling: &Settling) -> Result<CloseOutcome, LedgerError> {
        let Settling { hold, owed, details, now } = settling;
        let settled = self.books.settle(hold, *owed);
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
        opening: &'o Opening,
        request: &'o RequestKey,
        new: &mut Vec<NewHold<'o>>,
    ) -> Opened {
        let reserved = self.books.reserve(opening);
        if reserved != Ok(opening.estimate.wanted) {
            self.decided.grudging.insert(opening.account.clone());
        }
        let reserved = match reserved {
            Ok(reserved) => reserved,
            Err(left) => return Opened::Short(left),
        };
        let hold = HoldId::new(opening.now);
        let tab = Tab { reserved, charged: Money::ZERO };
        let budget = opening.budget.as_ref().map(|budget| (budget.name.clone(), budget.day.clone()));
        let opened = OpenedTab { account: opening.account.clone(), tab, is_open: true, budget };
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
        Opened::Open { hold, reserved }
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

    /// With what makes it so. Accounts come first, then tabs, each in the order of their ids.
    fn written(mut self, new: &[NewHold<'_>]) -> Result<Decided, LedgerError> {
        let mut spent = Used::default();
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
