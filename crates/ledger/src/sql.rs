//! Statements of the verbs, one function each, but for those of [`changes`](super::changes). Conditions live in the
//! `WHERE`; a statement that changed fewer rows than it must is an error, because its caller holds the lock on the
//! account and has already decided.

use std::collections::BTreeSet;

use sqlx::AnyConnection;

use super::LedgerError;
use super::account::{Account, Balance, Hold, LARGEST};
use super::statement::Entry;
use super::working_set::{StoredHold, WorkingSet};
use farebox_db::rows::{self, Column};
use farebox_db::statements::{self, Row, Statements};
use farebox_db::{DbError, Tx};
use farebox_types::id::{AccountId, HoldId, RequestKey, SourceRef, Timestamp};
use farebox_types::money::Money;

/// True if a row was changed; the caller may go on either way.
type Changed = Result<bool, LedgerError>;
type Done = Result<(), LedgerError>;

pub(super) fn must(rows: u64, expected: usize, what: &str) -> Done {
    if usize::try_from(rows) == Ok(expected) {
        return Ok(());
    }
    Err(LedgerError::Corrupt(format!("{what} changed {rows} rows instead of {expected}")))
}

pub(super) fn money(row: &Row, column: &str) -> Result<Money, DbError> {
    row.whole(column).map(Money::from_micros)
}

pub(super) fn account_id(row: &Row, column: &str) -> Result<AccountId, LedgerError> {
    let text = row.text(column)?;
    AccountId::parse(&text).map_err(|_| LedgerError::Corrupt(format!("account id {text:?}")))
}

pub(super) fn hold_id(row: &Row, column: &str) -> Result<HoldId, LedgerError> {
    let text = row.text(column)?;
    HoldId::parse(&text).map_err(|_| LedgerError::Corrupt(format!("hold id {text:?}")))
}

/// Returns the balance of a row: the charges of its open holds are spent, and no longer set aside.
fn balance(row: &Row) -> Result<Balance, LedgerError> {
    let (account, charged) = (account(row)?, money(row, "charged")?);
    let sides = || {
        let (spent, held) = (account.posted().checked_add(charged)?, account.held().checked_sub(charged)?);
        Balance::new(account.credited(), spent, held)
    };
    sides().ok_or_else(|| LedgerError::Corrupt(format!("{account:?}, open holds were charged {charged}")))
}

fn account(row: &Row) -> Result<Account, LedgerError> {
    let (credited, posted, held) = (money(row, "credited")?, money(row, "posted")?, money(row, "held")?);
    Account::new(credited, posted, held)
        .ok_or_else(|| LedgerError::Corrupt(format!("credited {credited}, posted {posted}, held {held}")))
}

pub(super) fn stored_hold(row: &Row) -> Result<StoredHold, LedgerError> {
    let budget = row.text_or_null("budget")?.zip(row.text_or_null("day")?);
    let hold = Hold { reserved: money(row, "reserved")?, charged: money(row, "charged")? };
    if hold.reserved.min(hold.charged) < Money::ZERO || hold.claim() > LARGEST {
        return Err(LedgerError::Corrupt(format!("hold {hold:?}")));
    }
    let is_open = row.text("state")? == "open";
    Ok(StoredHold { account: account_id(row, "account")?, hold, is_open, budget })
}

pub(super) async fn read_balance(
    connection: &mut AnyConnection,
    account: &AccountId,
) -> Result<Option<Balance>, LedgerError> {
    let text = "SELECT credited, posted, held, charged FROM balances WHERE id = $1";
    let rows = statements::fetch(connection, text, vec![account.as_str().into()]).await?;
    rows.first().map(balance).transpose()
}

/// Reads an account and keeps everybody else from changing it, and from opening and closing holds of it that claim
/// anything, until the transaction ends. Its holds may still be charged within what they set aside.
pub(super) async fn lock_account(
    tx: &mut impl Statements,
    id: &AccountId,
) -> Result<Option<Account>, LedgerError> {
    let lock = tx.engine().for_update();
    let query = format!("SELECT credited, posted, held FROM accounts WHERE id = $1{lock}");
    let rows = tx.fetch(&query, vec![id.as_str().into()]).await?;
    rows.first().map(account).transpose()
}

/// Reads accounts and holds as they are at one moment: the accounts that are named and those of `holds`, and these holds.
pub(super) async fn read(
    tx: &mut impl Statements,
    accounts: &BTreeSet<&AccountId>,
    holds: &BTreeSet<&HoldId>,
) -> Result<WorkingSet, LedgerError> {
    read_rows(tx, accounts, holds, "", "").await
}

/// [`read`]s rows and locks them until the transaction ends, in one round trip: the accounts in the order of their ids,
/// then the holds in the order of theirs.
pub(super) async fn lock(
    tx: &mut impl Statements,
    accounts: &BTreeSet<&AccountId>,
    holds: &BTreeSet<&HoldId>,
) -> Result<WorkingSet, LedgerError> {
    let (lock_accounts, lock_holds) = (tx.engine().for_update(), tx.engine().for_update_of("holds"));
    let rows = read_rows(tx, accounts, holds, lock_accounts, &lock_holds).await?;
    Ok(WorkingSet { is_locked: true, ..rows })
}

async fn read_rows(
    tx: &mut impl Statements,
    accounts: &BTreeSet<&AccountId>,
    holds: &BTreeSet<&HoldId>,
    lock_accounts: &str,
    lock_holds: &str,
) -> Result<WorkingSet, LedgerError> {
    let accounts = accounts.iter().map(|account| [account.to_string()]);
    let ids: Vec<_> = accounts.chain(holds.iter().map(|hold| [hold.to_string()])).collect();
    let given = rows::given(tx.engine(), &[Column::Text("id")], ids.len());
    // One look at the index of holds for each id: PostgreSQL would read the whole table for a join. The
    // count is there to have accounts locked before holds.
    let query = format!(
        "{given}, wanted AS (
           SELECT COALESCE((SELECT holds.account FROM holds WHERE holds.id = given.id), given.id) AS id
             FROM given),
         of_accounts AS (
           SELECT id, credited, posted, held FROM accounts
            WHERE id IN (SELECT id FROM wanted) ORDER BY id{lock_accounts}),
         of_holds AS (
           SELECT holds.id, account, reserved, charged, state, budget, day
             FROM given CROSS JOIN holds
            WHERE holds.id = given.id AND (SELECT count(*) FROM of_accounts) >= 0
            ORDER BY holds.id{lock_holds})
         SELECT id, '' AS account, credited, posted, held, 0 AS reserved, 0 AS charged, '' AS state,
                NULL AS budget, NULL AS day FROM of_accounts
         UNION ALL
         SELECT id, account, 0, 0, 0, reserved, charged, state, budget, day FROM of_holds"
    );
    let mut found = WorkingSet::default();
    for row in tx.fetch(&query, vec![rows::cells(&ids)]).await? {
        match insert_row(&mut found, &row) {
            Ok(()) => {}
            // An error of the commands that need this row, not of all.
            Err(error @ LedgerError::Corrupt(_)) => drop(found.corrupt.insert(row.text("id")?, error)),
            Err(error) => return Err(error),
        }
    }
    assert!(found.accounts.len() + found.holds.len() <= ids.len() + holds.len(), "no row was found twice");
    Ok(found)
}

fn insert_row(found: &mut WorkingSet, row: &Row) -> Result<(), LedgerError> {
    if row.text("account")?.is_empty() {
        found.accounts.insert(account_id(row, "id")?, account(row)?);
    } else {
        found.holds.insert(hold_id(row, "id")?, stored_hold(row)?);
    }
    Ok(())
}

/// Makes the account unless it exists. Waits for another transaction that makes the same one.
pub(super) async fn insert_account(tx: &mut impl Statements, account: &AccountId, now: Timestamp) -> Done {
    let text = "INSERT INTO accounts (id, credited, posted, held, created_at) VALUES ($1, 0, 0, 0, $2)
                ON CONFLICT (id) DO NOTHING";
    tx.execute(text, vec![account.as_str().into(), now.millis().into()]).await?;
    Ok(())
}

/// Claims a source. False when it was credited before.
pub(super) async fn insert_credit(
    tx: &mut Tx,
    account: &AccountId,
    amount: Money,
    source: &SourceRef,
    now: Timestamp,
) -> Changed {
    let text = "INSERT INTO credits (source, account, amount, created_at) VALUES ($1, $2, $3, $4)
                ON CONFLICT (source) DO NOTHING";
    let source = source.as_str().into();
    let values = vec![source, account.as_str().into(), amount.micros().into(), now.millis().into()];
    Ok(tx.execute(text, values).await? == 1)
}

/// Makes missing accounts, locks all in the order of their ids, claims the sources and raises `credited`.
pub(super) async fn insert_credits(
    tx: &mut Tx,
    credits: &[(AccountId, Money, SourceRef)],
    now: Timestamp,
) -> Done {
    let rows: Vec<_> = credits
        .iter()
        .map(|(account, amount, source)| (account.as_str(), amount.micros(), source.as_str(), now.millis()))
        .collect();
    let columns = [Column::Text("id"), Column::Whole("amount"), Column::Text("source"), Column::Whole("now")];
    let given = rows::given(tx.engine(), &columns, rows.len());
    let lock = tx.engine().for_update();
    let accounts = format!(
        "{given} INSERT INTO accounts (id, credited, posted, held, created_at)
         SELECT id, 0, 0, 0, now FROM given WHERE true ORDER BY id ON CONFLICT (id) DO NOTHING"
    );
    let rows = vec![rows::cells(&rows)];
    tx.execute(&accounts, rows.clone()).await?;
    if !lock.is_empty() {
        let lock =
            format!("{given} SELECT id FROM accounts WHERE id IN (SELECT id FROM given) ORDER BY id{lock}");
        tx.fetch(&lock, rows.clone()).await?;
    }
    let claims = format!(
        "{given} INSERT INTO credits (source, account, amount, created_at)
         SELECT source, id, amount, now FROM given WHERE true ON CONFLICT (source) DO NOTHING"
    );
    must(tx.execute(&claims, rows.clone()).await?, credits.len(), "a batch of credits")?;
    let raise = format!(
        "{given} UPDATE accounts SET credited = accounts.credited + given.amount FROM given WHERE accounts.id = given.id"
    );
    must(tx.execute(&raise, rows).await?, credits.len(), "a batch of credits, on accounts,")
}

/// Returns the account and the amount that a source was credited.
pub(super) async fn find_credit(
    tx: &mut Tx,
    source: &SourceRef,
) -> Result<Option<(AccountId, Money)>, LedgerError> {
    let text = "SELECT account, amount FROM credits WHERE source = $1";
    let rows = tx.fetch(text, vec![source.as_str().into()]).await?;
    let read = |row| Ok((account_id(row, "account")?, money(row, "amount")?));
    rows.first().map(read).transpose()
}

pub(super) async fn raise_credited(tx: &mut Tx, account: &AccountId, amount: Money) -> Done {
    let text = "UPDATE accounts SET credited = credited + $2 WHERE id = $1";
    let values = vec![account.as_str().into(), amount.micros().into()];
    must(tx.execute(text, values).await?, 1, "a credit")
}

/// Returns the hold of a request key, if it has one.
pub(super) async fn find_hold(
    tx: &mut Tx,
    account: &AccountId,
    request_key: &RequestKey,
) -> Result<Option<HoldId>, LedgerError> {
    let text = "SELECT id FROM holds WHERE account = $1 AND request_key = $2";
    let rows = tx.fetch(text, vec![account.as_str().into(), request_key.as_str().into()]).await?;
    rows.first().map(|row| hold_id(row, "id")).transpose()
}

/// Reads a hold, and the moment at which it expires.
pub(super) async fn read_hold(
    tx: &mut Tx,
    hold: &HoldId,
) -> Result<Option<(StoredHold, Timestamp)>, LedgerError> {
    let text = "SELECT account, reserved, charged, state, budget, day, expires_at FROM holds WHERE id = $1";
    let rows = tx.fetch(text, vec![hold.to_string().into()]).await?;
    let read = |row| Ok((stored_hold(row)?, Timestamp::from_millis(row.whole("expires_at")?)));
    rows.first().map(read).transpose()
}

/// Moves the moment at which a hold expires. Returns false if it is closed or unknown.
pub(super) async fn set_expiry(tx: &mut Tx, hold: &HoldId, expires_at: Timestamp) -> Changed {
    let text = "UPDATE holds SET expires_at = $2 WHERE id = $1 AND state = 'open'";
    Ok(tx.execute(text, vec![hold.to_string().into(), expires_at.millis().into()]).await? == 1)
}

/// Moves the moment at which open holds expire, but for rows that another transaction has locked: waiting for several
/// could end in a deadlock.
pub(super) async fn extend_all(
    tx: &mut impl Statements,
    holds: &[HoldId],
    expires_at: Timestamp,
) -> Result<(), LedgerError> {
    let places: Vec<_> = (2..holds.len() + 2).map(|place| format!("${place}")).collect();
    let lock = tx.engine().for_update_of_free();
    let text = format!(
        "UPDATE holds SET expires_at = $1 WHERE id IN \
         (SELECT id FROM holds WHERE id IN ({}) AND state = 'open'{lock})",
        places.join(", ")
    );
    let ids = holds.iter().map(|hold| hold.to_string().into());
    tx.execute(&text, std::iter::once(expires_at.millis().into()).chain(ids).collect()).await?;
    Ok(())
}

/// Reads the holds whose time is over, the oldest first.
pub(super) async fn expired_holds(
    connection: &mut AnyConnection,
    now: Timestamp,
    accounts: &str,
    limit: u32,
) -> Result<Vec<HoldId>, LedgerError> {
    let text = "SELECT id FROM holds WHERE state = 'open' AND expires_at <= $1 AND account LIKE $2 || '%' \
         ORDER BY expires_at LIMIT $3";
    let values = vec![now.millis().into(), accounts.into(), i64::from(limit).into()];
    let rows = statements::fetch(connection, text, values).await?;
    rows.iter().map(|row| hold_id(row, "id")).collect()
}

/// Locks the open holds of an account in the order of their ids, and reads them with their charges.
pub(super) async fn lock_open_holds(
    tx: &mut impl Statements,
    account: &AccountId,
) -> Result<Vec<(HoldId, Money)>, LedgerError> {
    let lock = tx.engine().for_update();
    let text =
        format!("SELECT id, charged FROM holds WHERE account = $1 AND state = 'open' ORDER BY id{lock}");
    let rows = tx.fetch(&text, vec![account.as_str().into()]).await?;
    rows.iter().map(|row| Ok((hold_id(row, "id")?, money(row, "charged")?))).collect()
}

/// Reads the entry of a closed hold.
pub(super) async fn read_entry(tx: &mut impl Statements, hold: &HoldId) -> Result<Entry, LedgerError> {
    let text =
        "SELECT id, account, kind, amount, request_id, NULL AS source, service, units, unit_price, meta, created_at
           FROM entries WHERE hold = $1";
    let rows = tx.fetch(text, vec![hold.to_string().into()]).await?;
    match rows.first() {
        Some(row) => Entry::from_row(row),
        None => Err(LedgerError::Corrupt(format!("closed hold {hold} has no entry"))),
    }
}
