//! Limits within an account, such as those of an API key.
//!
//! Money spent within a budget is counted when a hold closes, whoever closes it; the claims of its open holds are
//! added up from the holds. Both happen under the lock of the account.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Day, LedgerError, changes, sql};
use farebox_db::rows::{self, Column};
use farebox_db::statements::Statements;
use farebox_db::writes::Writes;
use farebox_db::{Db, Tx};
use farebox_types::id::{AccountId, Timestamp};
use farebox_types::money::Money;

/// The `day` that stands for all days together.
const EVER: &str = "";

/// Budget on a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// Name of the budget: the public id of a key.
    pub name: String,
    /// UTC day of the request: `2026-01-31`.
    pub day: String,
    /// Most that may be spent on one day.
    pub daily: Option<Money>,
    /// Most that may ever be spent.
    pub total: Option<Money>,
}

/// Limit that bounds a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitedBy {
    /// Balance of the account.
    Balance,
    /// Daily limit of the budget.
    Daily,
    /// Total limit of the budget.
    Total,
}

/// Amount that can be spent, and the limit that bounds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpendingLimit {
    pub affordable: Money,
    pub bound: LimitedBy,
}

impl Budget {
    /// Returns a budget on the day of `now`.
    #[must_use]
    pub fn on(name: &str, now: Timestamp, daily: Option<Money>, total: Option<Money>) -> Self {
        let day = now.to_rfc3339().chars().take(10).collect();
        Self { name: name.to_owned(), day, daily, total }
    }

    /// Returns true if it has a limit. Money spent is counted in any case.
    #[must_use]
    pub const fn is_limited(&self) -> bool {
        self.daily.is_some() || self.total.is_some()
    }
}

/// Money spent within budgets and claimed by their open holds, by name and day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BudgetUsage(BTreeMap<(String, String), Money>);

impl BudgetUsage {
    /// Returns the part of `available` that a request within `budget` can spend.
    #[must_use]
    pub fn left(&self, budget: Option<&Budget>, available: Money) -> SpendingLimit {
        let mut left = SpendingLimit { affordable: available, bound: LimitedBy::Balance };
        let Some(budget) = budget else { return left };
        let bounds =
            [(budget.daily, LimitedBy::Daily, budget.day.as_str()), (budget.total, LimitedBy::Total, EVER)];
        for (limit, bound, day) in bounds {
            let Some(limit) = limit else { continue };
            let rest = limit.checked_sub(self.of(&budget.name, day)).unwrap_or(Money::ZERO).max(Money::ZERO);
            if rest < left.affordable {
                left = SpendingLimit { affordable: rest, bound };
            }
        }
        left
    }

    fn of(&self, name: &str, day: &str) -> Money {
        self.0.get(&(name.to_owned(), day.to_owned())).copied().unwrap_or_default()
    }

    /// Adds `amount` to a budget, on its day and for ever. Returns `None`, and adds nothing, if a sum is beyond the
    /// largest that can be recorded.
    pub fn add(&mut self, name: &str, day: &str, amount: Money) -> Option<()> {
        let keys = [day, EVER].map(|day| (name.to_owned(), day.to_owned()));
        let [today, ever] = [self.of(name, day), self.of(name, EVER)].map(|used| used.checked_add(amount));
        let (sums, [today_key, ever_key]) = (today.zip(ever)?, keys);
        self.0.insert(today_key, sums.0);
        self.0.insert(ever_key, sums.1);
        Some(())
    }

    /// Reads the usage of those of `budgets` that have a limit, each with the account that its holds are on.
    pub(super) async fn read<'a>(
        tx: &mut impl Statements,
        budgets: impl Iterator<Item = (&'a AccountId, &'a Budget)>,
    ) -> Result<Self, LedgerError> {
        Self::read_all(tx, budgets.filter(|(_, budget)| budget.is_limited())).await
    }

    /// Reads the usage of budgets, each with the account that its holds are on.
    async fn read_all<'a>(
        tx: &mut impl Statements,
        budgets: impl Iterator<Item = (&'a AccountId, &'a Budget)>,
    ) -> Result<Self, LedgerError> {
        let wanted: BTreeSet<_> =
            budgets.map(|(account, budget)| (account.as_str(), &budget.name, &budget.day)).collect();
        if wanted.is_empty() {
            return Ok(Self::default());
        }
        let given = rows::given(
            tx.engine(),
            &[Column::Text("account"), Column::Text("name"), Column::Text("day")],
            wanted.len(),
        );
        // Around midnight a name may be given with two days, and is found once for each.
        let query = format!(
            "{given} SELECT budgets.name, budgets.day, spent AS used, CAST(0 AS BIGINT) AS is_open
               FROM given CROSS JOIN budgets
              WHERE budgets.name = given.name AND budgets.day IN (given.day, '{EVER}')
             UNION
             SELECT budget AS name, day,
                    CAST(SUM(CASE WHEN charged > reserved THEN charged ELSE reserved END) AS BIGINT) AS used,
                    CAST(1 AS BIGINT) AS is_open
               FROM holds
              WHERE account IN (SELECT account FROM given) AND state = 'open'
                AND budget IN (SELECT name FROM given)
              GROUP BY budget, day"
        );
        let rows = tx.fetch(&query, vec![rows::cells(&wanted)]).await?;
        let mut used = Self::default();
        for row in &rows {
            let (name, day) = (row.text("name")?, row.text("day")?);
            let amount = sql::money(row, "used")?;
            if row.whole("is_open")? == 1 {
                used.add(&name, &day, amount).ok_or(LedgerError::Overflow)?;
            } else {
                let sum = used.of(&name, &day).checked_add(amount).ok_or(LedgerError::Overflow)?;
                used.0.insert((name, day), sum);
            }
        }
        Ok(used)
    }

    /// Adds the statement that counts money spent.
    pub(super) fn count(&self, writes: &mut Writes) {
        let sums = self.0.iter().filter(|(_, spent)| spent.is_positive());
        let sums: Vec<_> = sums.map(|((name, day), spent)| (name, day, spent.micros())).collect();
        let columns = [Column::Text("name"), Column::Text("day"), Column::Whole("spent")];
        writes.add(
            &columns,
            &sums,
            "INSERT INTO budgets (name, day, spent) SELECT name, day, spent FROM given WHERE true
             ON CONFLICT (name, day) DO UPDATE SET spent = budgets.spent + excluded.spent",
        );
    }
}

/// Returns the amount that can be spent within `budget`, of what the locked `account` has `available`.
///
/// # Errors
/// The database fails.
pub async fn left(
    tx: &mut Tx,
    account: &AccountId,
    budget: &Budget,
    available: Money,
) -> Result<SpendingLimit, LedgerError> {
    Ok(BudgetUsage::read(tx, std::iter::once((account, budget))).await?.left(Some(budget), available))
}

/// Money used within a budget: spent, and claimed by open holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetUse {
    /// On the budget's day.
    pub today: Money,
    /// On all days.
    pub total: Money,
}

impl BudgetUse {
    /// Nothing.
    pub const NOTHING: Self = Self { today: Money::ZERO, total: Money::ZERO };
}

/// Returns the money used within `budget`, whether it has limits or not.
///
/// # Errors
/// The database fails.
pub async fn used(tx: &mut Tx, account: &AccountId, budget: &Budget) -> Result<BudgetUse, LedgerError> {
    let used = BudgetUsage::read_all(tx, std::iter::once((account, budget))).await?;
    Ok(BudgetUse { today: used.of(&budget.name, &budget.day), total: used.of(&budget.name, EVER) })
}

/// Returns the money spent within budgets on a UTC day and in all, by their names; those within which nothing was spent are
/// missing. Open holds are not counted: their requests run still.
///
/// # Errors
/// The database fails.
pub async fn spent(db: &Db, names: &[&str], day: Day) -> Result<HashMap<String, BudgetUse>, LedgerError> {
    let mut found: HashMap<String, BudgetUse> = HashMap::new();
    if names.is_empty() {
        return Ok(found);
    }
    let names: Vec<_> = names.iter().map(|name| [*name]).collect();
    let given = rows::given(db.engine, &[Column::Text("name")], names.len());
    let query = format!(
        "{given} SELECT budgets.name, day, spent FROM given CROSS JOIN budgets
          WHERE budgets.name = given.name AND day IN ($2, '{EVER}')"
    );
    for row in db.fetch(&query, vec![rows::cells(&names), day.to_string().into()]).await? {
        let spent = sql::money(&row, "spent")?;
        let used = found.entry(row.text("name")?).or_insert(BudgetUse::NOTHING);
        if row.text("day")? == EVER { used.total = spent } else { used.today = spent }
    }
    Ok(found)
}

/// Returns the money spent within the budget of this name on each UTC day of a range, `2026-01-31` to `2026-02-02`, both
/// included. Days without spending are left out.
///
/// # Errors
/// The database fails.
pub async fn days(
    tx: &mut Tx,
    name: &str,
    from: &str,
    to: &str,
) -> Result<Vec<(String, Money)>, LedgerError> {
    let text =
        "SELECT day, spent FROM budgets WHERE name = $1 AND day BETWEEN $2 AND $3 AND day <> '' ORDER BY day";
    let rows = tx.fetch(text, vec![name.into(), from.into(), to.into()]).await?;
    rows.iter().map(|row| Ok((row.text("day")?, sql::money(row, "spent")?))).collect()
}

/// Counts money spent within `budget` by another way than a hold.
///
/// # Errors
/// The database fails.
pub async fn count(tx: &mut Tx, budget: &Budget, spent: Money) -> Result<(), LedgerError> {
    let mut used = BudgetUsage::default();
    used.add(&budget.name, &budget.day, spent).ok_or(LedgerError::Overflow)?;
    let mut writes = Writes::default();
    used.count(&mut writes);
    changes::write(tx, &writes).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(micros: i64) -> Money {
        Money::from_micros(micros)
    }

    #[test]
    fn the_tightest_limit_binds() {
        let mut used = BudgetUsage::default();
        used.add("k", "2026-01-30", money(50)).expect("small");
        used.add("k", "2026-01-31", money(7)).expect("small");
        used.add("other", "2026-01-31", money(1_000)).expect("small");
        for (daily, total, affordable, bound) in [
            (None, None, 100, LimitedBy::Balance),
            (Some(10), None, 3, LimitedBy::Daily),
            (Some(5), None, 0, LimitedBy::Daily),
            (None, Some(60), 3, LimitedBy::Total),
            (Some(10), Some(58), 1, LimitedBy::Total),
            (Some(200), Some(200), 100, LimitedBy::Balance),
        ] {
            let (daily, total) = (daily.map(money), total.map(money));
            let budget = Budget { name: "k".into(), day: "2026-01-31".into(), daily, total };
            let left = used.left(Some(&budget), money(100));
            assert_eq!(left, SpendingLimit { affordable: money(affordable), bound });
        }
        assert_eq!(used.left(None, money(5)).affordable, money(5));
        assert_eq!(used.add("k", "2026-02-01", Money::from_micros(i64::MAX)), None);
    }
}
