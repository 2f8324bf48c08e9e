//! Reads for callers whose own work needs to know about holds and accounts. No other crate names the
//! ledger's tables in its SQL, but for the audit of payments, which compares both sides.

use super::{LedgerError, sql};
use farebox_db::statements::Statements;
use farebox_db::{Db, Tx};
use farebox_types::id::{AccountId, HoldId, RequestKey};
use farebox_types::money::Money;

/// An open hold of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenHold {
    pub id: HoldId,
    /// Money charged so far.
    pub charged: Money,
}

/// Returns the open holds of an account, in the order of their ids. Account and holds stay locked, so
/// what the holds were charged stays so until the transaction ends.
///
/// # Errors
/// If the database fails.
pub async fn open_holds(tx: &mut impl Statements, account: &AccountId) -> Result<Vec<OpenHold>, LedgerError> {
    // In two statements: whoever waited for the account's lock in the first must see in the second
    // which holds were opened meanwhile.
    sql::lock_account(tx, account).await?;
    let holds = sql::lock_open_holds(tx, account).await?;
    Ok(holds.into_iter().map(|(id, charged)| OpenHold { id, charged }).collect())
}

/// Returns true if a hold is open. Nothing is locked: it may be closed a moment later.
///
/// # Errors
/// If the database fails.
pub async fn is_open(db: &Db, hold: &HoldId) -> Result<bool, LedgerError> {
    let text = "SELECT 1 AS found FROM holds WHERE id = $1 AND state = 'open'";
    Ok(db.fetch_optional(text, vec![hold.to_string().into()]).await?.is_some())
}

/// Returns true if a request key has a hold already, open or closed.
///
/// # Errors
/// If the database fails.
pub async fn is_known(
    tx: &mut Tx,
    account: &AccountId,
    request_key: &RequestKey,
) -> Result<bool, LedgerError> {
    Ok(sql::find_hold(tx, account, request_key).await?.is_some())
}

/// Returns an SQL expression for the money spent of an account, open holds included; zero for an account
/// that does not exist. `account` is an SQL expression for its id. For queries of other tables that
/// would need a second round trip otherwise.
#[must_use]
pub fn spent_of(account: &str) -> String {
    format!("coalesce((SELECT posted + charged FROM balances WHERE balances.id = {account}), 0)")
}

/// Returns an SQL condition: an account has an open hold. `account` is an SQL expression for its id.
#[must_use]
pub fn has_open_hold(account: &str) -> String {
    format!("EXISTS (SELECT 1 FROM holds WHERE holds.account = {account} AND holds.state = 'open')")
}

/// Returns an SQL condition: an account has money available. `account` is an SQL expression for its id.
#[must_use]
pub fn has_available(account: &str) -> String {
    format!(
        "EXISTS (SELECT 1 FROM accounts WHERE accounts.id = {account} \
         AND accounts.credited - accounts.posted - accounts.held > 0)"
    )
}
