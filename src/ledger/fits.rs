//! A batch of which every charge fits, which is nearly every batch: the database works the sums out
//! and its `CHECK`s decide, so that no row has to travel. One that does not fit is left to
//! [`Books`](super::books::Books), charge by charge.

use std::collections::{BTreeMap, HashMap};

use super::ChargeOutcome;
use super::books::Verdict;
use crate::db::rows::{self, Column};
use crate::db::statements::{Row, Statements};
use crate::db::{DbError, Engine};
use crate::id::HoldId;
use crate::money::Money;

/// Charges all; or `None` when not all fit, and nothing of the transaction may be kept. The
/// accounts are locked.
///
/// # Errors
/// When the database fails. On PostgreSQL a violated `CHECK` is such an error too.
pub(super) async fn charge(
    tx: &mut impl Statements,
    charges: &[(HoldId, Money)],
) -> Result<Option<Vec<Verdict>>, DbError> {
    let Some(sums) = sums(charges) else { return Ok(None) };
    let totals = write(tx, &sums).await?;
    Ok(totals.map(|totals| verdicts(charges, totals)))
}

/// What each tab is charged, in the order of their ids.
fn sums(charges: &[(HoldId, Money)]) -> Option<Vec<(&str, i64)>> {
    let mut sums = BTreeMap::new();
    for (hold, amount) in charges {
        let sum: &mut Money = sums.entry(hold.as_str()).or_default();
        *sum = sum.checked_add(*amount)?;
    }
    Some(sums.into_iter().map(|(hold, sum)| (hold, sum.micros())).collect())
}

/// Raises accounts and tabs; answers what each tab was charged altogether, or `None` when a tab
/// cannot be charged.
async fn write(
    tx: &mut impl Statements,
    sums: &[(&str, i64)],
) -> Result<Option<HashMap<String, i64>>, DbError> {
    let engine = tx.engine();
    let given = rows::given(engine, &[Column::Text("id"), Column::Whole("amount")], sums.len());
    // From what a tab has set aside first, then from what is available.
    let accounts = format!(
        "{given}, sums AS (
           SELECT holds.account AS account, CAST(sum(given.amount) AS BIGINT) AS spent,
                  CAST(sum(CASE WHEN holds.charged >= holds.reserved THEN 0
                                WHEN holds.reserved - holds.charged < given.amount
                                THEN holds.reserved - holds.charged
                                ELSE given.amount END) AS BIGINT) AS drawn
             FROM given CROSS JOIN holds WHERE holds.id = given.id GROUP BY holds.account)
         UPDATE accounts SET spent = accounts.spent + sums.spent, held = accounts.held - sums.drawn
           FROM sums WHERE accounts.id = sums.account"
    );
    let tabs = format!(
        "{given} UPDATE holds SET charged = holds.charged + given.amount FROM given
          WHERE holds.id = given.id AND CASE holds.state WHEN 'open' THEN TRUE ELSE FALSE END"
    );
    let values = vec![rows::cells(&sums)];
    let rows = match engine {
        Engine::Sqlite => {
            tx.execute(&accounts, values.clone()).await?;
            tx.fetch(&format!("{tabs} RETURNING holds.id AS id, holds.charged AS charged"), values).await?
        }
        // In one: both see the tabs as they were before.
        Engine::Postgres => {
            let both = format!(
                "WITH raised AS ({accounts} RETURNING 1), charged AS ({tabs} RETURNING holds.id, holds.charged)
                 SELECT id, charged FROM charged"
            );
            tx.fetch(&both, values).await?
        }
    };
    let total = |row: &Row| Ok::<_, DbError>((row.text("id")?, row.whole("charged")?));
    let totals = rows.iter().map(total).collect::<Result<HashMap<_, _>, _>>()?;
    Ok((totals.len() == sums.len()).then_some(totals))
}

/// What each charge made of its tab: the totals, less what came after it.
fn verdicts(charges: &[(HoldId, Money)], mut totals: HashMap<String, i64>) -> Vec<Verdict> {
    let mut verdicts = Vec::with_capacity(charges.len());
    for (hold, amount) in charges.iter().rev() {
        verdicts.push(totals.get_mut(hold.as_str()).map_or(Verdict::Unknown, |total| {
            let charged = Money::from_micros(*total);
            *total -= amount.micros();
            Verdict::Outcome(ChargeOutcome::Charged { total: charged })
        }));
    }
    verdicts.reverse();
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Timestamp;

    const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

    #[test]
    fn each_charge_is_told_the_total_behind_it() {
        let (a, b) = (HoldId::new(NOW), HoldId::new(NOW));
        let money = Money::from_micros;
        let charges =
            [(a.clone(), money(5)), (b.clone(), money(1)), (a.clone(), money(0)), (a.clone(), money(2))];
        let mut expected = vec![(a.as_str(), 7), (b.as_str(), 1)];
        expected.sort_unstable();
        assert_eq!(sums(&charges), Some(expected));
        let totals = HashMap::from([(a.to_string(), 107), (b.to_string(), 11)]);
        let told = verdicts(&charges, totals).into_iter().map(|verdict| match verdict {
            Verdict::Outcome(ChargeOutcome::Charged { total }) => total.micros(),
            wrong => panic!("{wrong:?}"),
        });
        assert_eq!(told.collect::<Vec<_>>(), [105, 11, 105, 107]);
    }

    #[test]
    fn sums_beyond_what_fits_are_left_to_the_books() {
        let hold = HoldId::new(NOW);
        let largest = Money::from_micros(i64::MAX);
        assert_eq!(sums(&[(hold.clone(), largest), (hold, Money::from_micros(1))]), None);
    }
}
