//! Charges within what their tabs have set aside, which is nearly all of them. Their accounts need
//! no lock and no change: a batch of charges to tabs that were opened lately changes a few pages at
//! the end of one table, however many accounts and tabs there are.

use std::collections::{BTreeMap, HashMap};

use super::ChargeOutcome;
use super::books::{Charge, Verdict};
use crate::db::DbError;
use crate::db::rows::{self, Column};
use crate::db::statements::Statements;
use crate::money::Money;

/// Charges the tabs that have enough set aside for all that is asked of them here. Of the others
/// the verdict is [`Verdict::Beyond`], and nothing has changed.
///
/// # Errors
/// When the database fails.
pub(super) async fn charge(tx: &mut impl Statements, charges: &[Charge]) -> Result<Vec<Verdict>, DbError> {
    let sums = sums(charges);
    if sums.is_empty() {
        return Ok(vec![Verdict::Beyond; charges.len()]);
    }
    let given = rows::given(tx.engine(), &[Column::Text("id"), Column::Whole("amount")], sums.len());
    // Where rows are locked it is in the order of their ids, as they are given. `CASE` keeps
    // PostgreSQL from the indexes of open tabs: see `sql::charge_holds`.
    let text = format!(
        "{given} UPDATE holds SET charged = holds.charged + given.amount FROM given
          WHERE holds.id = given.id
            AND CASE holds.state WHEN 'open' THEN given.amount <= holds.reserved - holds.charged ELSE FALSE END
         RETURNING holds.id AS id, holds.charged AS charged"
    );
    let mut totals = HashMap::with_capacity(sums.len());
    for row in tx.fetch(&text, vec![rows::cells(&sums)]).await? {
        totals.insert(row.text("id")?, row.whole("charged")?);
    }
    Ok(verdicts(charges, totals))
}

/// What each tab is charged, in the order of their ids. Without those whose sum cannot be recorded.
fn sums(charges: &[Charge]) -> Vec<(&str, i64)> {
    let mut sums = BTreeMap::new();
    for Charge { hold, amount, .. } in charges {
        let sum = sums.entry(hold.as_str()).or_insert(Some(Money::ZERO));
        *sum = sum.and_then(|sum: Money| sum.checked_add(*amount));
    }
    sums.into_iter().filter_map(|(hold, sum)| Some((hold, sum?.micros()))).collect()
}

/// What each charge made of its tab: the totals, less what came after it.
fn verdicts(charges: &[Charge], mut totals: HashMap<String, i64>) -> Vec<Verdict> {
    let mut verdicts = Vec::with_capacity(charges.len());
    for Charge { hold, amount, .. } in charges.iter().rev() {
        verdicts.push(totals.get_mut(hold.as_str()).map_or(Verdict::Beyond, |total| {
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
    use crate::id::{HoldId, Timestamp};

    const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

    fn charge(hold: &HoldId, amount: Money) -> Charge {
        Charge { hold: hold.clone(), amount, ahead: Money::ZERO }
    }

    #[test]
    fn each_charge_is_told_the_total_behind_it() {
        let (a, b, c) = (HoldId::new(NOW), HoldId::new(NOW), HoldId::new(NOW));
        let money = Money::from_micros;
        let asked = [(&a, 5), (&b, 1), (&a, 0), (&c, 3), (&a, 2)];
        let charges = asked.map(|(hold, amount)| charge(hold, money(amount)));
        let mut expected = vec![(a.as_str(), 7), (b.as_str(), 1), (c.as_str(), 3)];
        expected.sort_unstable();
        assert_eq!(sums(&charges), expected);
        let totals = HashMap::from([(a.to_string(), 107), (b.to_string(), 11)]);
        let told = |total| Verdict::Outcome(ChargeOutcome::Charged { total: money(total) });
        let expected = [told(105), told(11), told(105), Verdict::Beyond, told(107)];
        assert_eq!(verdicts(&charges, totals), expected);
    }

    #[test]
    fn sums_that_cannot_be_recorded_are_left_to_the_books() {
        let (hold, other) = (HoldId::new(NOW), HoldId::new(NOW));
        let largest = Money::from_micros(i64::MAX);
        let one = Money::from_micros(1);
        let charges = [charge(&hold, largest), charge(&other, one), charge(&hold, one)];
        assert_eq!(sums(&charges), [(other.as_str(), 1)]);
    }
}
