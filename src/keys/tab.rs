//! Spending with a key: its budgets are checked in the transaction that sets
//! the money aside or takes it, under the lock of its owner's account.

use sha2::{Digest as _, Sha256};
use sqlx::Row as _;

use super::{Key, KeyId, Keys, KeysError};
use crate::db::Tx;
use crate::id::{HoldId, RequestKey, Timestamp};
use crate::ledger::{self, EntryDetails, HoldOutcome, Known, LedgerError, SpendOutcome};
use crate::money::Money;

/// What became of a request for a tab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// A tab is open; what could have been set aside for it altogether.
    Open {
        hold: HoldId,
        affordable: Money,
    },
    /// The same request, by its `Idempotency-Key`, is being served.
    InProgress,
    /// The same request was charged before.
    Charged,
    Short(Short),
}

/// There is less than the request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Short {
    /// What can be spent.
    pub affordable: Money,
    /// What it is that ends there.
    pub bound: Bound,
}

/// What bounds a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    Balance,
    Daily,
    Total,
}

/// Proof that an answer of known price was charged. Only [`Keys::spend`] makes one.
#[derive(Debug)]
pub struct Bought(());

/// What became of a purchase.
#[derive(Debug)]
pub enum Purchase {
    /// Charged, now or by the same request before.
    Done(Bought),
    /// The `Idempotency-Key` belongs to a request with another body.
    KeyReused,
    Short(Short),
}

impl Keys {
    /// Opens a tab on the account of a key's owner. `estimate` is what to set
    /// aside, of what can be; `None` when that is not enough.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open(
        &self,
        key: &Key,
        idempotency_key: Option<&str>,
        estimate: impl Fn(Money) -> Option<Money>,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Opened, KeysError> {
        let own = idempotency_key.map(|given| format!("{}\n{given}", key.id));
        let (own, estimate) = (own.as_deref(), &estimate);
        self.db
            .transaction(|mut tx| async move {
                let opened = open(&mut tx, key, own, estimate, now, expires_at).await?;
                Ok((tx, opened))
            })
            .await
    }

    /// Charges a known price. `digest` names the request's body: the same
    /// `Idempotency-Key` with the same body is charged once.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn spend(
        &self,
        key: &Key,
        price: Money,
        repeat: Option<(&str, &str)>,
        details: &EntryDetails,
        now: Timestamp,
    ) -> Result<Purchase, KeysError> {
        self.db
            .transaction(|mut tx| async move {
                let bought = spend(&mut tx, key, price, repeat, details, now).await?;
                Ok((tx, bought))
            })
            .await
    }
}

async fn open(
    tx: &mut Tx,
    key: &Key,
    idempotency_key: Option<&str>,
    estimate: impl Fn(Money) -> Option<Money>,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<Opened, KeysError> {
    let account = key.account();
    let balance = ledger::lock(tx, &account).await?;
    let request_key = match ledger::known(tx, &account, idempotency_key).await? {
        Known::New(request_key) => request_key,
        Known::InProgress => return Ok(Opened::InProgress),
        Known::Charged => return Ok(Opened::Charged),
    };
    let day = day(now);
    let short = spendable(tx, key, balance.available(), &day).await?;
    let Some(amount) = estimate(short.affordable) else {
        return Ok(Opened::Short(short));
    };
    match ledger::hold(tx, &account, &request_key, amount, now, expires_at).await? {
        HoldOutcome::Opened(hold) => {
            sqlx::query("INSERT INTO key_tabs (hold, key, day) VALUES ($1, $2, $3)")
                .bind(hold.as_str().to_owned())
                .bind(key.id.as_str().to_owned())
                .bind(day)
                .execute(tx.conn())
                .await?;
            Ok(Opened::Open { hold, affordable: short.affordable })
        }
        HoldOutcome::Existing(_) => Ok(Opened::InProgress),
        HoldOutcome::Short { .. } => Ok(Opened::Short(short)),
    }
}

async fn spend(
    tx: &mut Tx,
    key: &Key,
    price: Money,
    repeat: Option<(&str, &str)>,
    details: &EntryDetails,
    now: Timestamp,
) -> Result<Purchase, KeysError> {
    let account = key.account();
    let balance = ledger::lock(tx, &account).await?;
    let (request_key, digest) = match repeat {
        Some((given, digest)) => {
            let hash = hex::encode(Sha256::digest(format!("{}\n{given}", key.id)));
            let name = format!("purchase:{hash}");
            let request_key = RequestKey::parse(&name).map_err(|_| KeysError::Corrupt(key.id.clone()))?;
            (request_key, digest)
        }
        None => (RequestKey::random(), ""),
    };
    let mut details = details.clone();
    details.meta["key"] = key.id.as_str().into();
    details.meta["digest"] = digest.into();
    let day = day(now);
    let short = spendable(tx, key, balance.available(), &day).await?;
    // A repetition costs nothing, so the ledger is asked before the budget.
    if price > short.affordable && !is_known(tx, &account, &request_key).await? {
        return Ok(Purchase::Short(short));
    }
    match ledger::spend(tx, &account, price, &request_key, &details, now).await? {
        SpendOutcome::Spent(_) => {
            count(tx, &key.id, &day, price).await?;
            count(tx, &key.id, EVER, price).await?;
            Ok(Purchase::Done(Bought(())))
        }
        SpendOutcome::Replayed(entry) if entry.meta["digest"] == details.meta["digest"] => {
            Ok(Purchase::Done(Bought(())))
        }
        SpendOutcome::Replayed(_) => Ok(Purchase::KeyReused),
        SpendOutcome::Short { .. } => Ok(Purchase::Short(short)),
    }
}

/// The `day` of all days together.
const EVER: &str = "";

/// The UTC day of a moment.
fn day(now: Timestamp) -> String {
    now.to_rfc3339().chars().take(10).collect()
}

/// What a key can spend, and what bounds it.
async fn spendable(tx: &mut Tx, key: &Key, available: Money, day: &str) -> Result<Short, KeysError> {
    let open = count_closed(tx, &key.id, day).await?;
    let mut short = Short { affordable: available, bound: Bound::Balance };
    for (limit, bound, day, open) in
        [(key.limits.daily, Bound::Daily, day, open.today), (key.limits.total, Bound::Total, EVER, open.ever)]
    {
        let Some(limit) = limit else { continue };
        let spent = counted(tx, &key.id, day).await?.checked_add(open).ok_or(LedgerError::Overflow)?;
        let left = limit.checked_sub(spent).unwrap_or(Money::ZERO).max(Money::ZERO);
        if left < short.affordable {
            short = Short { affordable: left, bound };
        }
    }
    Ok(short)
}

/// What the open tabs of a key may come to.
struct Open {
    today: Money,
    ever: Money,
}

/// Counts what closed tabs of a key were charged, whoever closed them, and sums
/// up what its open ones may come to. The account is locked: no tab of it
/// changes meanwhile.
async fn count_closed(tx: &mut Tx, key: &KeyId, today: &str) -> Result<Open, KeysError> {
    let rows = sqlx::query(
        "SELECT t.hold, t.day, h.charged, h.reserved, h.state FROM key_tabs t \
         JOIN holds h ON h.id = t.hold WHERE t.key = $1",
    )
    .bind(key.as_str().to_owned())
    .fetch_all(tx.conn())
    .await?;
    let sum = |a: Money, b: Money| a.checked_add(b).ok_or(LedgerError::Overflow);
    let mut open = Open { today: Money::ZERO, ever: Money::ZERO };
    let mut closed: Vec<(String, Money)> = Vec::new();
    for row in &rows {
        let (day, charged) = (row.try_get::<String, _>("day")?, Money::from_micros(row.try_get("charged")?));
        if row.try_get::<String, _>("state")? == "open" {
            let most = charged.max(Money::from_micros(row.try_get("reserved")?));
            open.ever = sum(open.ever, most)?;
            if day == today {
                open.today = sum(open.today, most)?;
            }
            continue;
        }
        sqlx::query("DELETE FROM key_tabs WHERE hold = $1")
            .bind(row.try_get::<String, _>("hold")?)
            .execute(tx.conn())
            .await?;
        for day in [day, EVER.to_owned()] {
            match closed.iter_mut().find(|(known, _)| *known == day) {
                Some((_, total)) => *total = sum(*total, charged)?,
                None => closed.push((day, charged)),
            }
        }
    }
    for (day, charged) in closed {
        count(tx, key, &day, charged).await?;
    }
    Ok(open)
}

async fn count(tx: &mut Tx, key: &KeyId, day: &str, amount: Money) -> Result<(), KeysError> {
    sqlx::query(
        "INSERT INTO key_spend (key, day, spent) VALUES ($1, $2, $3) \
         ON CONFLICT (key, day) DO UPDATE SET spent = key_spend.spent + excluded.spent",
    )
    .bind(key.as_str().to_owned())
    .bind(day.to_owned())
    .bind(amount.micros())
    .execute(tx.conn())
    .await?;
    Ok(())
}

async fn counted(tx: &mut Tx, key: &KeyId, day: &str) -> Result<Money, KeysError> {
    let row = sqlx::query("SELECT spent FROM key_spend WHERE key = $1 AND day = $2")
        .bind(key.as_str().to_owned())
        .bind(day.to_owned())
        .fetch_optional(tx.conn())
        .await?;
    Ok(row.map(|row| row.try_get("spent")).transpose()?.map_or(Money::ZERO, Money::from_micros))
}

async fn is_known(
    tx: &mut Tx,
    account: &crate::id::AccountId,
    request_key: &RequestKey,
) -> Result<bool, KeysError> {
    let row = sqlx::query("SELECT id FROM holds WHERE account = $1 AND request_key = $2")
        .bind(account.as_str().to_owned())
        .bind(request_key.as_str().to_owned())
        .fetch_optional(tx.conn())
        .await?;
    Ok(row.is_some())
}
