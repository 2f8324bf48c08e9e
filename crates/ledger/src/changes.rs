//! Statements that change accounts, holds and entries, many rows each. Conditions live in the `WHERE`: what the
//! caller found, or decided on. A statement that changed fewer rows than were given is an error if the caller holds
//! their locks, and a conflict if not.

use super::LedgerError;
use super::account::Hold;
use super::budget::Budget;
use super::statement::Entry;
use super::usage::{self, EntryUse};
use super::working_set::HoldChange;
use farebox_db::rows::Column;
use farebox_db::statements::Statements;
use farebox_db::writes::Writes;
use farebox_types::id::{AccountId, HoldId, RequestKey, Timestamp};
use farebox_types::money::Money;

/// Runs `writes` on rows whose locks the caller holds.
pub(super) async fn write(tx: &mut impl Statements, writes: &Writes) -> Result<(), LedgerError> {
    if writes.run(tx).await? {
        return Ok(());
    }
    Err(LedgerError::Corrupt("locked rows are not as they were read".into()))
}

/// Adds to `posted` and `held` of accounts, if that much is available.
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

/// Row of a new hold.
pub(super) struct NewHold<'a> {
    pub id: &'a HoldId,
    pub account: &'a AccountId,
    pub request_key: RequestKey,
    pub hold: Hold,
    pub state: &'static str,
    /// Budget that its charges are counted within.
    pub budget: Option<&'a Budget>,
    pub now: Timestamp,
    pub expires_at: Timestamp,
}

/// Inserts holds.
pub(super) fn insert_holds(writes: &mut Writes, holds: &[NewHold<'_>]) {
    let mut rows = Vec::with_capacity(holds.len());
    for hold in holds {
        let (budget, day) = hold.budget.map(|budget| (&budget.name, &budget.day)).unzip();
        rows.push((
            hold.id,
            hold.account,
            &hold.request_key,
            hold.hold.reserved.micros(),
            hold.hold.charged.micros(),
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

/// Changes open holds, if they are still as they were found.
pub(super) fn change_holds<'a>(writes: &mut Writes, changes: impl Iterator<Item = (&'a HoldId, HoldChange)>) {
    let columns = [
        Column::Text("id"),
        Column::Whole("found_reserved"),
        Column::Whole("found_charged"),
        Column::Whole("reserved"),
        Column::Whole("charged"),
        Column::Text("state"),
    ];
    let mut any_closes = false;
    let row = |(id, HoldChange { found, now, closes }): (&'a HoldId, HoldChange)| {
        any_closes |= closes;
        let [found, now] = [found, now].map(|hold| (hold.reserved.micros(), hold.charged.micros()));
        (id, found.0, found.1, now.0, now.1, if closes { "closed" } else { "open" })
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

/// Inserts entries, each with the hold that it closes, and counts them as usage. Their details were
/// [checked](super::EntryDetails::check).
pub(super) fn insert_entries(writes: &mut Writes, entries: &[(HoldId, Entry)]) {
    let mut rows = Vec::with_capacity(entries.len());
    for (hold, entry) in entries {
        let units = i64::try_from(entry.units).expect("the units of an entry were checked");
        let EntryUse { key, prompt_tokens, completion_tokens } = EntryUse::of(&entry.meta);
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
            key,
            prompt_tokens,
            completion_tokens,
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
        Column::Text("key"),
        Column::Whole("prompt_tokens"),
        Column::Whole("completion_tokens"),
    ];
    writes.add(
        &columns,
        &rows,
        "INSERT INTO entries
           (id, account, hold, kind, amount, request_id, service, units, unit_price, meta, created_at,
            key, prompt_tokens, completion_tokens)
         SELECT id, account, hold, kind, amount, request_id, service, units, unit_price, meta, created_at,
                key, prompt_tokens, completion_tokens
           FROM given",
    );
    usage::count(writes, entries.iter().map(|(_, entry)| entry));
}
