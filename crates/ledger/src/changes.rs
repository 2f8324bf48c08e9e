//! What is written of accounts, holds and entries, many rows in a statement each. Conditions live in
//! the `WHERE`: what the caller found, or decided on. A statement that changed fewer rows than it must
//! is an error where the caller holds their locks, and a reason to look again where it does not.

use super::LedgerError;
use super::account::Hold;
use super::budget::Budget;
use super::statement::Entry;
use super::working_set::HoldChange;
use farebox_db::rows::Column;
use farebox_db::statements::Statements;
use farebox_db::writes::Writes;
use farebox_types::id::{AccountId, HoldId, RequestKey, Timestamp};
use farebox_types::money::Money;

/// Runs what was gathered.
pub(super) async fn write(tx: &mut impl Statements, writes: &Writes) -> Result<(), LedgerError> {
    if writes.run(tx).await? {
        return Ok(());
    }
    Err(LedgerError::Corrupt("a batch did not change every row it was to change".into()))
}

/// Adds to what is posted to accounts and held for their holds, if that much is available.
pub(super) fn change_accounts<'a>(
    writes: &mut Writes,
    changes: impl Iterator<Item = (&'a AccountId, (Money, Money))>,
) {
    let columns = [Column::Text("id"), Column::Whole("posted"), Column::Whole("held")];
    let rows: Vec<_> =
        changes.map(|(account, (posted, held))| (account.as_str(), posted.micros(), held.micros())).collect();
    writes.add(
        &columns,
        &rows,
        "UPDATE accounts
            SET posted = accounts.posted + given.posted, held = accounts.held + given.held FROM given
          WHERE accounts.id = given.id AND accounts.held + given.held >= 0
            AND accounts.credited - accounts.posted - accounts.held >= given.posted + given.held",
    );
}

/// A hold to be written.
pub(super) struct NewHold<'a> {
    pub id: HoldId,
    pub account: &'a AccountId,
    pub request_key: &'a RequestKey,
    pub tab: Hold,
    pub state: &'static str,
    /// What it is to be counted within.
    pub budget: Option<&'a Budget>,
    pub now: Timestamp,
    pub expires_at: Timestamp,
}

/// Writes new holds.
pub(super) fn insert_holds(writes: &mut Writes, holds: &[NewHold<'_>]) {
    let mut rows = Vec::with_capacity(holds.len());
    for hold in holds {
        let (budget, day) = hold.budget.map(|budget| (&budget.name, &budget.day)).unzip();
        rows.push((
            &hold.id,
            hold.account,
            hold.request_key,
            hold.tab.reserved.micros(),
            hold.tab.charged.micros(),
            hold.state,
            budget,
            day,
            hold.now.millis(),
            hold.expires_at.millis(),
        ));
    }
    let columns = [
        Column::Text("id"),
        Column::Text("account"),
        Column::Text("request_key"),
        Column::Whole("reserved"),
        Column::Whole("charged"),
        Column::Text("state"),
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
         SELECT id, account, request_key, reserved, charged, state, budget, day, created_at, expires_at
           FROM given",
    );
}

/// Changes open holds, if they are as they were found.
pub(super) fn change_tabs<'a>(writes: &mut Writes, changes: impl Iterator<Item = (&'a HoldId, HoldChange)>) {
    let columns = [
        Column::Text("id"),
        Column::Whole("found_reserved"),
        Column::Whole("found_charged"),
        Column::Whole("reserved"),
        Column::Whole("charged"),
        Column::Text("state"),
    ];
    let mut any_closes = false;
    let row = |(hold, HoldChange { found, now, closes }): (&'a HoldId, HoldChange)| {
        any_closes |= closes;
        let [found, now] = [found, now].map(|tab| (tab.reserved.micros(), tab.charged.micros()));
        (hold.as_str(), found.0, found.1, now.0, now.1, if closes { "closed" } else { "open" })
    };
    let rows: Vec<_> = changes.map(row).collect();
    // One statement for all, so that rows are locked in the order of their ids. Where no hold closes it
    // says nothing of states: SQLite would write its index of open holds anew. `CASE` keeps PostgreSQL
    // from that index, which is full of holds that were closed since it last vacuumed.
    macro_rules! update {
        ($state:literal) => {
            concat!(
                "UPDATE holds SET reserved = given.reserved, charged = given.charged",
                $state,
                " FROM given
                  WHERE holds.id = given.id
                    AND CASE holds.state WHEN 'open'
                        THEN holds.reserved = given.found_reserved AND holds.charged = given.found_charged
                        ELSE FALSE END"
            )
        };
    }
    writes.add(&columns, &rows, if any_closes { update!(", state = given.state") } else { update!("") });
}

/// Posts the entries of holds.
pub(super) fn insert_entries(writes: &mut Writes, entries: &[(HoldId, Entry)]) -> Result<(), LedgerError> {
    let mut rows = Vec::with_capacity(entries.len());
    for (hold, entry) in entries {
        let units = i64::try_from(entry.units).map_err(|_| LedgerError::Overflow)?;
        rows.push((
            &entry.id,
            &entry.account,
            hold,
            entry.kind,
            entry.amount.micros(),
            &entry.request_id,
            &entry.service,
            units,
            entry.unit_price.micros(),
            entry.meta.to_string(),
            entry.created_at.millis(),
        ));
    }
    let columns = [
        Column::Text("id"),
        Column::Text("account"),
        Column::Text("hold"),
        Column::Text("kind"),
        Column::Whole("amount"),
        Column::Text("request_id"),
        Column::Text("service"),
        Column::Whole("units"),
        Column::Whole("unit_price"),
        Column::Text("meta"),
        Column::Whole("created_at"),
    ];
    writes.add(
        &columns,
        &rows,
        "INSERT INTO entries
           (id, account, hold, kind, amount, request_id, service, units, unit_price, meta, created_at)
         SELECT id, account, hold, kind, amount, request_id, service, units, unit_price, meta, created_at
           FROM given",
    );
    Ok(())
}
