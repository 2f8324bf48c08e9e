//! Opens tabs and settles them, many in a few statements.

use std::collections::{BTreeMap, BTreeSet};

use super::books::{Books, Settled};
use super::budget::{Budget, Limit, Used};
use super::repeat::{Known, known};
use super::statement::{Entry, EntryDetails};
use super::{CloseOutcome, LedgerError, sql};
use crate::db::TxError as _;
use crate::db::rows::Column;
use crate::db::statements::Statements;
use crate::db::writes::Writes;
use crate::id::{AccountId, HoldId, RequestKey, Timestamp};
use crate::money::Money;

/// What is to be set aside for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// What it may cost.
    pub wanted: Money,
    /// What it costs at the least. With no less than this available, all of it is set aside.
    pub least: Money,
}

impl Estimate {
    /// What is set aside of what is affordable; nothing when that is not enough.
    #[must_use]
    pub fn within(self, affordable: Money) -> Option<Money> {
        (self.least <= affordable).then_some(self.wanted.min(affordable))
    }
}

/// A tab to be opened.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Who pays.
    pub account: AccountId,
    /// What the request is known by when it comes again.
    pub idempotency_key: Option<String>,
    /// What it is to be counted within.
    pub budget: Option<Budget>,
    /// What to set aside.
    pub estimate: Estimate,
    /// The moment it is opened at.
    pub now: Timestamp,
    /// When the [sweeper](super::sweep) may take the request for lost.
    pub expires_at: Timestamp,
}

/// What became of a request for a tab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// A tab is open; what could have been set aside for it altogether.
    Open {
        /// The new tab.
        hold: HoldId,
        /// What there was when it was opened.
        affordable: Money,
    },
    /// The same request, by its `Idempotency-Key`, is being served.
    InProgress,
    /// The same request was charged before.
    Charged,
    /// There is less than the least it costs.
    Short(Limit),
}

/// What is still to be charged for a tab when it closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owed {
    /// This, or the tab stays open.
    Exactly(Money),
    /// This, or as much of it as there is: it has been delivered, and refusing it now would leave
    /// all of it unpaid.
    AtMost(Money),
}

impl Owed {
    /// All that was delivered is charged.
    pub const NOTHING: Self = Self::AtMost(Money::ZERO);

    /// How much it is.
    #[must_use]
    pub const fn amount(self) -> Money {
        match self {
            Self::Exactly(amount) | Self::AtMost(amount) => amount,
        }
    }
}

/// A tab to be closed.
#[derive(Debug, Clone)]
pub struct Settling {
    /// The tab.
    pub hold: HoldId,
    /// What is charged before it closes.
    pub owed: Owed,
    /// What is posted of it.
    pub details: EntryDetails,
    /// The moment it is closed at.
    pub now: Timestamp,
}

type Each<T> = Vec<Result<T, LedgerError>>;

/// Settles and opens tabs, each on its own terms: one that cannot be leaves the others alone. Also
/// locks the tabs `also`, for what is done to these next.
///
/// # Errors
/// When the database fails, and for all of them.
pub(super) async fn serve(
    tx: &mut impl Statements,
    settlings: &[Settling],
    openings: &[Opening],
    also: &BTreeSet<&HoldId>,
) -> Result<(Each<CloseOutcome>, Each<Opened>), LedgerError> {
    if settlings.is_empty() && openings.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let mut books = read(tx, settlings, openings, also).await?;
    let requests = name(tx, openings).await?;
    let before = books.clone();
    let mut closing = Closing::default();
    let settled: Vec<_> =
        settlings.iter().map(|settling| closing.settle(&mut books, &before, settling)).collect();
    let mut opening = Vec::new();
    let mut taken = BTreeSet::new();
    let opened = openings.iter().zip(&requests).map(|(order, request)| {
        let request = match request {
            Known::New(request) if taken.insert((&order.account, request)) => request,
            Known::New(_) | Known::InProgress => return Opened::InProgress,
            Known::Charged => return Opened::Charged,
        };
        match books.reserve(order) {
            Ok((reserved, left)) => {
                let new = New { hold: HoldId::new(order.now), request, reserved, order };
                let opened = Opened::Open { hold: new.hold.clone(), affordable: left.affordable };
                opening.push(new);
                opened
            }
            Err(left) => Opened::Short(left),
        }
    });
    let opened = opened.map(Ok).collect();
    let mut writes = Writes::default();
    sql::change_accounts(&mut writes, &books.changes_since(&before).accounts);
    closing.write(&mut writes)?;
    insert(&mut writes, &opening);
    sql::write(tx, writes).await?;
    let mut outcomes = Vec::with_capacity(settled.len());
    for (settling, settled) in settlings.iter().zip(settled) {
        outcomes.push(match settled {
            // Closed before, maybe a moment ago by another of these.
            Ok(None) => match sql::read_entry(tx, &settling.hold).await {
                Ok(entry) => Ok(CloseOutcome::AlreadyClosed { entry }),
                // After a statement that failed nothing of the transaction is kept.
                Err(error) if error.db().is_some() => return Err(error),
                Err(error) => Err(error),
            },
            Ok(Some(outcome)) => Ok(outcome),
            Err(error) => Err(error),
        });
    }
    Ok((outcomes, opened))
}

/// Locks and reads what will be decided on. Makes the accounts of requests that may cost nothing.
async fn read(
    tx: &mut impl Statements,
    settlings: &[Settling],
    openings: &[Opening],
    also: &BTreeSet<&HoldId>,
) -> Result<Books, LedgerError> {
    let holds: BTreeSet<&HoldId> = settlings.iter().map(|settling| &settling.hold).collect();
    let owners: BTreeSet<_> = openings.iter().map(|opening| &opening.account).collect();
    let free = openings.iter().filter(|opening| opening.estimate.least.is_zero());
    let free: BTreeMap<_, _> = free.map(|opening| (&opening.account, opening.now)).collect();
    for (account, now) in free {
        sql::insert_account(tx, account, now).await?;
    }
    // Only who holds other tabs already must have these in their order.
    let none = BTreeSet::new();
    let also = if holds.is_empty() { &none } else { also };
    let (accounts, tabs) = sql::lock(tx, owners.into_iter(), &holds, also).await?;
    let budgets = openings.iter().filter_map(|opening| Some((&opening.account, opening.budget.as_ref()?)));
    let used = Used::read(tx, budgets).await?;
    Ok(Books { accounts, tabs, used })
}

/// What each request is known by.
async fn name(tx: &mut impl Statements, openings: &[Opening]) -> Result<Vec<Known>, LedgerError> {
    let mut requests = Vec::with_capacity(openings.len());
    for opening in openings {
        requests.push(known(tx, &opening.account, opening.idempotency_key.as_deref(), opening.now).await?);
    }
    Ok(requests)
}

/// Tabs that close, with their entries.
#[derive(Default)]
struct Closing {
    /// What each is charged at the last.
    tabs: BTreeMap<HoldId, Money>,
    entries: Vec<(HoldId, Entry)>,
    spent: Used,
}

impl Closing {
    /// `None` when the tab is closed already.
    fn settle(
        &mut self,
        books: &mut Books,
        before: &Books,
        Settling { hold, owed, details, now }: &Settling,
    ) -> Result<Option<CloseOutcome>, LedgerError> {
        let (charged, released) = match books.settle(hold, *owed) {
            Settled::Closed { charged, released } => (charged, released),
            Settled::Short { by } => return Ok(Some(CloseOutcome::Short { by })),
            Settled::Before => return Ok(None),
            Settled::Unknown => return Err(LedgerError::UnknownHold(hold.clone())),
            Settled::Overflow => return Err(LedgerError::Overflow),
        };
        let tab = &before.tabs[hold];
        let risen = charged.checked_sub(tab.tab.charged).ok_or(LedgerError::Overflow)?;
        if let Some((name, day)) = &tab.budget {
            self.spent.add(name, day, charged).ok_or(LedgerError::Overflow)?;
        }
        let entry = Entry::of(&tab.account, charged, details, *now);
        self.tabs.insert(hold.clone(), risen);
        self.entries.push((hold.clone(), entry.clone()));
        Ok(Some(CloseOutcome::Closed { entry, released }))
    }

    fn write(&self, writes: &mut Writes) -> Result<(), LedgerError> {
        sql::close_holds(writes, &self.tabs);
        sql::insert_entries(writes, &self.entries)?;
        self.spent.count(writes);
        Ok(())
    }
}

/// A tab that opens.
struct New<'a> {
    hold: HoldId,
    request: &'a RequestKey,
    reserved: Money,
    order: &'a Opening,
}

fn insert(writes: &mut Writes, new: &[New<'_>]) {
    let rows: Vec<_> = new
        .iter()
        .map(|New { hold, request, reserved, order }| {
            let (name, day) = order.budget.as_ref().map(|budget| (&budget.name, &budget.day)).unzip();
            let (now, until) = (order.now.millis(), order.expires_at.millis());
            (
                hold.as_str(),
                order.account.as_str(),
                request.as_str(),
                reserved.micros(),
                name,
                day,
                now,
                until,
            )
        })
        .collect();
    let columns = [
        Column::Text("id"),
        Column::Text("account"),
        Column::Text("request_key"),
        Column::Whole("reserved"),
        Column::Text("budget"),
        Column::Text("day"),
        Column::Whole("created_at"),
        Column::Whole("expires_at"),
    ];
    writes.add(
        &columns,
        &rows,
        "INSERT INTO holds
           (id, account, request_key, reserved, charged, state, budget, day, created_at, expires_at)
         SELECT id, account, request_key, reserved, 0, 'open', budget, day, created_at, expires_at FROM given",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_takes_what_there_is_down_to_the_least() {
        let estimate = Estimate { wanted: Money::from_micros(100), least: Money::from_micros(10) };
        for (affordable, expected) in
            [(500, Some(100)), (100, Some(100)), (99, Some(99)), (10, Some(10)), (9, None)]
        {
            let within = estimate.within(Money::from_micros(affordable));
            assert_eq!(within.map(Money::micros), expected);
        }
    }
}
