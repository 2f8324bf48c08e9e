//! Statement of an account, as its owner sees it: entries and credits, page by page.

use std::fmt;

use serde::Serialize;

use super::LedgerError;
use super::usage::EntryUse;
use farebox_db::Db;
use farebox_db::statements::{self, Row};
use farebox_types::id::{AccountId, EntryId, RequestId, SourceRef, Timestamp};
use farebox_types::money::Money;

/// Most lines of a page.
const LARGEST_PAGE: u32 = 1000;
/// Longest service and longest key of an entry, in bytes: both are in an index, whose rows PostgreSQL limits.
const LONGEST_SERVICE: usize = 512;
const LONGEST_KEY: usize = 128;

/// Returns the query for a page of entries and credits together. Each side is cut to a page by itself, from its own
/// index: sorted only after both are joined, every line of the account would be read for every page. The
/// plain bound on `created_at` is what lets an index begin there and not at the newest line. Conditions on keys and
/// requests are only there where one is asked for, for the same reason: each has an index.
fn page_query(filter: &Filter) -> String {
    let key = if filter.key.is_some() { "AND key = $9" } else { "" };
    let request = if filter.request_id.is_some() { "AND request_id = $10" } else { "" };
    // No column by itself, so that the account's index is not taken for one that finds fewer lines.
    let account = if key.is_empty() && request.is_empty() { "account" } else { "account || ''" };
    // Parameters that a condition does not name are named here: PostgreSQL must know their types.
    let credits = "AND CAST($9 AS TEXT) IS NULL AND CAST($10 AS TEXT) IS NULL";
    format!(
        "SELECT * FROM (
           SELECT id, account, kind, amount, request_id, NULL AS source, service, units, unit_price, meta, created_at
             FROM entries
            WHERE {account} = $1 AND created_at <= $2 AND (created_at < $2 OR (created_at = $2 AND id < $3))
              AND ($5 = '' OR kind = $5) AND ($6 = '' OR service = $6) AND created_at >= $7 AND created_at < $8
              {key} {request}
            ORDER BY created_at DESC, id DESC LIMIT $4) AS charged
         UNION ALL
         SELECT * FROM (
           SELECT source AS id, account, 'credit' AS kind, amount, NULL AS request_id, source, '' AS service,
                  CAST(0 AS BIGINT) AS units, CAST(0 AS BIGINT) AS unit_price, '{{}}' AS meta, created_at
             FROM credits
            WHERE account = $1 AND created_at <= $2 AND (created_at < $2 OR (created_at = $2 AND source < $3))
              AND ($5 = '' OR $5 = 'credit') AND $6 = '' AND created_at >= $7 AND created_at < $8 {credits}
            ORDER BY created_at DESC, source DESC LIMIT $4) AS paid
          ORDER BY created_at DESC, id DESC LIMIT $4"
    )
}

/// Kind of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// Credit.
    Credit,
    /// Metered request: a stream, a completion.
    Usage,
    /// Request with a known price, paid at once.
    Purchase,
    /// Hold whose request never came to its end; the sweeper closed it at what was charged.
    Expired,
    /// Credit that was taken back, because its payment was.
    Refund,
}

impl EntryKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Credit, Self::Usage, Self::Purchase, Self::Expired, Self::Refund];

    /// Returns the stored and shown name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Credit => "credit",
            Self::Usage => "usage",
            Self::Purchase => "purchase",
            Self::Expired => "expired",
            Self::Refund => "refund",
        }
    }
}

/// Details of an entry, as given by whoever closes its hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryDetails {
    /// Anything but [`EntryKind::Credit`], which only a credit is.
    pub kind: EntryKind,
    /// The request that was served.
    pub request_id: Option<RequestId>,
    /// The model or service that was used.
    pub service: String,
    /// Number of units delivered. The payer can verify `units * unit_price`.
    pub units: u64,
    /// The price of one unit.
    pub unit_price: Money,
    /// Other details worth keeping. Never a prompt, a key or a signature.
    pub meta: serde_json::Value,
}

/// Line of an account's statement. Never changes once written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// [`EntryId`], or the source of a credit.
    pub id: String,
    /// Account that it is a line of.
    pub account: AccountId,
    /// Kind of line.
    pub kind: EntryKind,
    /// Amount: in for a credit, out for everything else. Never negative.
    pub amount: Money,
    /// The request that was served.
    pub request_id: Option<RequestId>,
    /// Source of a credit.
    pub source: Option<SourceRef>,
    /// The model or service that was used.
    pub service: String,
    /// Number of units delivered.
    pub units: u64,
    /// The price of one unit.
    pub unit_price: Money,
    /// Other details worth keeping.
    pub meta: serde_json::Value,
    /// Moment at which the line was written.
    pub created_at: Timestamp,
}

/// Part of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Lines, newest first.
    pub entries: Vec<Entry>,
    /// Cursor of the next page; `None` if this is the last.
    pub next: Option<StatementCursor>,
}

/// Filter of the lines of a statement; all by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub kind: Option<EntryKind>,
    /// The model or service, exactly.
    pub service: Option<String>,
    /// API key that the request was made with.
    pub key: Option<String>,
    /// The request that was served.
    pub request_id: Option<RequestId>,
    /// Earliest moment.
    pub from: Option<Timestamp>,
    /// Moment that lines must precede.
    pub until: Option<Timestamp>,
}

/// Credit of an account, as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credit {
    pub source: SourceRef,
    pub amount: Money,
    /// Moment at which it was credited.
    pub created_at: Timestamp,
}

/// Place in a statement: after the line written at this moment under this id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementCursor {
    created_at: Timestamp,
    id: String,
}

impl StatementCursor {
    /// Reads the text that a [`StatementCursor`] displays as; `None` if it is something else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (millis, id) = text.split_once('-')?;
        let created_at = Timestamp::from_millis(millis.parse().ok()?);
        Some(Self { created_at, id: id.to_owned() })
    }
}

impl fmt::Display for StatementCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.created_at.millis(), self.id)
    }
}

impl EntryDetails {
    /// Checks what the database would refuse, and with it all other commands of the batch.
    pub(super) fn check(&self) -> Result<(), LedgerError> {
        if self.kind == EntryKind::Credit {
            return Err(LedgerError::Details("its kind is `credit`, which is for credits alone"));
        }
        if self.service.contains('\0') {
            return Err(LedgerError::Details(
                "its service has a NUL character, which PostgreSQL cannot store",
            ));
        }
        if self.unit_price < Money::ZERO {
            return Err(LedgerError::Amount(self.unit_price));
        }
        if self.service.len() > LONGEST_SERVICE {
            return Err(LedgerError::Details("its service is longer than 512 bytes"));
        }
        // Keys are in an index, as services are.
        if EntryUse::of(&self.meta).key.is_some_and(|key| key.len() > LONGEST_KEY || key.contains('\0')) {
            return Err(LedgerError::Details("its key is longer than 128 bytes or has a NUL character"));
        }
        i64::try_from(self.units).map_err(|_| LedgerError::Overflow)?;
        Ok(())
    }
}

impl Entry {
    /// Returns the entry of a hold that closes at `amount`. One of a request that was made with an API key names it, also
    /// where whoever closes the hold does not know of the key. The budget of a call that was paid by itself is no key's.
    pub(super) fn of(
        id: &EntryId,
        account: &AccountId,
        amount: Money,
        details: &EntryDetails,
        key: Option<&str>,
        now: Timestamp,
    ) -> Self {
        let mut meta = details.meta.clone();
        if let (Some(key), Some(meta)) = (key, meta.as_object_mut())
            && !meta.contains_key("payment")
        {
            meta.entry("key").or_insert_with(|| key.into());
        }
        Self {
            id: id.to_string(),
            account: account.clone(),
            kind: details.kind,
            amount,
            request_id: details.request_id.clone(),
            source: None,
            service: details.service.clone(),
            units: details.units,
            unit_price: details.unit_price,
            meta,
            created_at: now,
        }
    }

    pub(super) fn from_row(row: &Row) -> Result<Self, LedgerError> {
        let (text, number) = (|column| row.text(column), |column| row.whole(column));
        let id = text("id")?;
        let corrupt = |what: &str| LedgerError::Corrupt(format!("entry {id} has a malformed {what}"));

        let kind = text("kind")?;
        let kind = EntryKind::ALL.into_iter().find(|known| known.as_str() == kind);
        let request_id = match row.text_or_null("request_id")? {
            Some(text) => Some(RequestId::from_client(&text).ok_or_else(|| corrupt("request id"))?),
            None => None,
        };
        let source = row.text_or_null("source")?.map(|text| SourceRef::parse(&text)).transpose();
        Ok(Self {
            account: AccountId::parse(&text("account")?).map_err(|_| corrupt("account"))?,
            kind: kind.ok_or_else(|| corrupt("kind"))?,
            amount: Money::from_micros(number("amount")?),
            request_id,
            source: source.map_err(|_| corrupt("source"))?,
            service: text("service")?,
            units: u64::try_from(number("units")?).map_err(|_| corrupt("count of units"))?,
            unit_price: Money::from_micros(number("unit_price")?),
            meta: serde_json::from_str(&text("meta")?).map_err(|_| corrupt("meta"))?,
            created_at: Timestamp::from_millis(number("created_at")?),
            id,
        })
    }
}

/// Reads a page, the newest line first.
pub(super) async fn page(
    db: &Db,
    account: &AccountId,
    filter: &Filter,
    cursor: Option<&StatementCursor>,
    limit: u32,
) -> Result<Page, LedgerError> {
    let limit = limit.clamp(1, LARGEST_PAGE);
    // Without a cursor, from a moment after every line.
    let (moment, id) = cursor.map_or((i64::MAX, ""), |c| (c.created_at.millis(), c.id.as_str()));
    let values = vec![
        account.as_str().into(),
        moment.into(),
        id.into(),
        (i64::from(limit) + 1).into(),
        filter.kind.map_or("", EntryKind::as_str).into(),
        filter.service.clone().unwrap_or_default().into(),
        filter.from.map_or(i64::MIN, Timestamp::millis).into(),
        filter.until.map_or(i64::MAX, Timestamp::millis).into(),
        filter.key.clone().into(),
        filter.request_id.as_ref().map(RequestId::as_str).into(),
    ];
    let mut connection = db.pool.acquire().await?;
    let rows = statements::fetch(&mut connection, &page_query(filter), values).await?;
    let mut entries = rows.iter().map(Entry::from_row).collect::<Result<Vec<_>, _>>()?;
    let more = entries.len() > limit as usize;
    entries.truncate(limit as usize);
    let last = entries.last().filter(|_| more);
    let next = last.map(|entry| StatementCursor { created_at: entry.created_at, id: entry.id.clone() });
    Ok(Page { entries, next })
}

/// Reads the credit of a source, if it was this account's.
pub(super) async fn credit(
    db: &Db,
    account: &AccountId,
    source: &SourceRef,
) -> Result<Option<Credit>, LedgerError> {
    let text = "SELECT amount, created_at FROM credits WHERE source = $1 AND account = $2";
    let row = db.fetch_optional(text, vec![source.as_str().into(), account.as_str().into()]).await?;
    let read = |row: Row| {
        Ok(Credit {
            source: source.clone(),
            amount: Money::from_micros(row.whole("amount")?),
            created_at: Timestamp::from_millis(row.whole("created_at")?),
        })
    };
    row.map(read).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_as_they_are_written() {
        for text in ["1767225600500-tx:0x1f-2", "0-a", "5-"] {
            assert_eq!(StatementCursor::parse(text).unwrap().to_string(), text);
        }
        for wrong in ["", "5", "x-a", "--", "99999999999999999999-a"] {
            assert_eq!(StatementCursor::parse(wrong), None, "{wrong}");
        }
    }
}
