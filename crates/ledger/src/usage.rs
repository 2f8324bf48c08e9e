//! Usage of accounts: entries added up by UTC day, service, key and kind, in the transaction that posts them.
//!
//! The sums are exact whenever they are read, and after a crash too. [`audit`](super::audit) adds them up again.

use std::collections::BTreeMap;
use std::fmt;

use super::statement::Entry;
use super::{EntryKind, LedgerError, sql};
use farebox_db::Tx;
use farebox_db::rows::Column;
use farebox_db::statements::{Row, Statements as _};
use farebox_db::writes::Writes;
use farebox_types::id::{AccountId, Timestamp};
use farebox_types::money::Money;

const DAY_MS: i64 = 86_400_000;
/// Most tokens of one entry that are counted, of prompt and completion each: an upstream that reports more is mistaken,
/// and sums of these stay within what a column can hold.
const MOST_TOKENS: i64 = 1_000_000_000;

/// UTC day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(i64);

impl Day {
    /// Returns the day of a moment.
    #[must_use]
    pub const fn of(moment: Timestamp) -> Self {
        // As SQL divides.
        Self(moment.millis() / DAY_MS)
    }

    /// Reads a day such as `2026-01-31`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Timestamp::parse_rfc3339(&format!("{text}T00:00:00Z")).map(Self::of)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let begin = Timestamp::from_millis(self.0.saturating_mul(DAY_MS)).to_rfc3339();
        f.write_str(begin.split('T').next().unwrap_or_default())
    }
}

/// Key and tokens of an entry, as its details name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EntryUse<'e> {
    /// API key that the request was made with.
    pub key: Option<&'e str>,
    pub prompt_tokens: i64,
    pub completion_tokens: i64,
}

impl<'e> EntryUse<'e> {
    pub(super) fn of(meta: &'e serde_json::Value) -> Self {
        let tokens = |name: &str| {
            let tokens = meta[name].as_u64().unwrap_or_default();
            i64::try_from(tokens).map_or(MOST_TOKENS, |tokens| tokens.min(MOST_TOKENS))
        };
        Self {
            key: meta["key"].as_str().filter(|key| !key.is_empty()),
            prompt_tokens: tokens("promptTokens"),
            completion_tokens: tokens("completionTokens"),
        }
    }
}

/// Sums of some entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UsageSums {
    pub requests: i64,
    pub prompt_tokens: i64,
    pub completion_tokens: i64,
    pub cost: Money,
}

impl UsageSums {
    /// Adds other sums. Returns `None` if one is beyond the largest number.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        Some(Self {
            requests: self.requests.checked_add(other.requests)?,
            prompt_tokens: self.prompt_tokens.checked_add(other.prompt_tokens)?,
            completion_tokens: self.completion_tokens.checked_add(other.completion_tokens)?,
            cost: self.cost.checked_add(other.cost)?,
        })
    }
}

/// Adds the statement that counts new entries: one row for each account, day, service, key and kind among them, in this
/// order, so that two instances that count at once do not deadlock.
pub(super) fn count<'e>(writes: &mut Writes, entries: impl Iterator<Item = &'e Entry>) {
    let mut sums: BTreeMap<_, UsageSums> = BTreeMap::new();
    for entry in entries {
        let EntryUse { key, prompt_tokens, completion_tokens } = EntryUse::of(&entry.meta);
        let day = Day::of(entry.created_at);
        let place = (
            entry.account.as_str(),
            day.0,
            entry.service.as_str(),
            key.unwrap_or_default(),
            entry.kind.as_str(),
        );
        let one = UsageSums { requests: 1, prompt_tokens, completion_tokens, cost: entry.amount };
        let sum = sums.entry(place).or_default();
        *sum = sum.checked_add(one).expect("entries of an account are no more than it was credited");
    }
    let rows: Vec<_> = sums
        .iter()
        .map(|((account, day, service, key, kind), sums)| {
            let UsageSums { requests, prompt_tokens, completion_tokens, cost } = sums;
            (account, day, service, key, kind, requests, prompt_tokens, completion_tokens, cost.micros())
        })
        .collect();
    let columns = [
        Column::Text("account"),
        Column::Whole("day"),
        Column::Text("service"),
        Column::Text("key"),
        Column::Text("kind"),
        Column::Whole("requests"),
        Column::Whole("prompt_tokens"),
        Column::Whole("completion_tokens"),
        Column::Whole("cost"),
    ];
    writes.add(
        &columns,
        &rows,
        "INSERT INTO daily_usage
           (account, day, service, key, kind, requests, prompt_tokens, completion_tokens, cost)
         SELECT account, day, service, key, kind, requests, prompt_tokens, completion_tokens, cost
           FROM given WHERE true
         ON CONFLICT (account, day, service, key, kind) DO UPDATE
           SET requests = daily_usage.requests + excluded.requests,
               prompt_tokens = daily_usage.prompt_tokens + excluded.prompt_tokens,
               completion_tokens = daily_usage.completion_tokens + excluded.completion_tokens,
               cost = daily_usage.cost + excluded.cost",
    );
}

/// Columns by which usage is told apart. Kinds always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UsageGrouping {
    pub by_day: bool,
    pub by_service: bool,
    pub by_key: bool,
}

/// Question for the usage of an account: on the days from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageQuery {
    pub first: Day,
    pub last: Day,
    pub grouping: UsageGrouping,
    /// Most rows of an answer.
    pub limit: u32,
}

/// Usage of an account, for one value of each column by which it is told apart; others are `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRow {
    pub day: Option<Day>,
    pub service: Option<String>,
    /// Empty for requests without a key.
    pub key: Option<String>,
    pub kind: EntryKind,
    pub sums: UsageSums,
}

/// Answer to a question for usage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UsageOutcome {
    /// All rows, ordered by their columns.
    Rows(Vec<UsageRow>),
    /// There are more rows than asked for.
    TooMany,
}

/// Reads the usage of an account. Credit that was taken back is no use of it, and not among it.
pub(super) async fn read(
    tx: &mut Tx,
    account: &AccountId,
    query: &UsageQuery,
) -> Result<UsageOutcome, LedgerError> {
    let UsageQuery { first, last, grouping, limit } = query;
    let UsageGrouping { by_day, by_service, by_key } = *grouping;
    let chosen = [(by_day, "day"), (by_service, "service"), (by_key, "key"), (true, "kind")];
    let chosen: Vec<_> = chosen.iter().filter(|(is_chosen, _)| *is_chosen).map(|(_, name)| *name).collect();
    let columns = chosen.join(", ");
    let text = format!(
        "SELECT {columns}, CAST(SUM(requests) AS BIGINT) AS requests,
                CAST(SUM(prompt_tokens) AS BIGINT) AS prompt_tokens,
                CAST(SUM(completion_tokens) AS BIGINT) AS completion_tokens, CAST(SUM(cost) AS BIGINT) AS cost
           FROM daily_usage
          WHERE account = $1 AND day >= $2 AND day <= $3 AND kind <> 'refund'
          GROUP BY {columns} ORDER BY {columns} LIMIT $4"
    );
    let most = i64::from(*limit);
    let values = vec![account.as_str().into(), first.0.into(), last.0.into(), (most + 1).into()];
    let rows = tx.fetch(&text, values).await?;
    if rows.len() > *limit as usize {
        return Ok(UsageOutcome::TooMany);
    }
    let rows = rows.iter().map(|row| read_row(row, *grouping));
    Ok(UsageOutcome::Rows(rows.collect::<Result<_, _>>()?))
}

fn read_row(row: &Row, grouping: UsageGrouping) -> Result<UsageRow, LedgerError> {
    let kind = row.text("kind")?;
    let known = EntryKind::ALL.into_iter().find(|known| known.as_str() == kind);
    Ok(UsageRow {
        day: grouping.by_day.then(|| row.whole("day").map(Day)).transpose()?,
        service: grouping.by_service.then(|| row.text("service")).transpose()?,
        key: grouping.by_key.then(|| row.text("key")).transpose()?,
        kind: known.ok_or_else(|| LedgerError::Corrupt(format!("usage of kind {kind:?}")))?,
        sums: sums(row)?,
    })
}

fn sums(row: &Row) -> Result<UsageSums, LedgerError> {
    Ok(UsageSums {
        requests: row.whole("requests")?,
        prompt_tokens: row.whole("prompt_tokens")?,
        completion_tokens: row.whole("completion_tokens")?,
        cost: sql::money(row, "cost")?,
    })
}

/// Accounts whose entries are added up at once: SQLite sorts them in memory.
const AUDITED_ACCOUNTS: i64 = 500;

/// Returns the query for the rows of usage, of a range of accounts, that entries do not add up to, each with the part by
/// which it is too much. A range without an end has none in its condition: an index must find it.
fn differences_within(range: &str) -> String {
    format!(
        "SELECT account, day, service, key, kind, CAST(SUM(requests) AS BIGINT) AS requests,
                CAST(SUM(prompt_tokens) AS BIGINT) AS prompt_tokens,
                CAST(SUM(completion_tokens) AS BIGINT) AS completion_tokens, CAST(SUM(cost) AS BIGINT) AS cost
           FROM (SELECT account, day, service, key, kind, requests, prompt_tokens, completion_tokens, cost
                   FROM daily_usage WHERE {range}
                 UNION ALL
                 SELECT account, created_at / 86400000 AS day, service, COALESCE(key, '') AS key, kind, -COUNT(*),
                        -SUM(prompt_tokens), -SUM(completion_tokens), -SUM(amount)
                   FROM entries WHERE {range}
                  GROUP BY account, created_at / 86400000, service, COALESCE(key, ''), kind) AS sides
          GROUP BY account, day, service, key, kind
         HAVING SUM(requests) <> 0 OR SUM(prompt_tokens) <> 0 OR SUM(completion_tokens) <> 0 OR SUM(cost) <> 0
          ORDER BY account, day, service, key, kind"
    )
}

/// Row of usage that entries do not add up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageDifference {
    pub account: String,
    pub day: Day,
    pub service: String,
    pub key: String,
    pub kind: String,
    /// Part by which the row is too much.
    pub by: UsageSums,
}

impl fmt::Display for UsageDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { account, day, service, key, kind, by } = self;
        let UsageSums { requests, prompt_tokens, completion_tokens, cost } = by;
        write!(
            f,
            "{account}: usage of {day}, service {service:?}, key {key:?}, {kind}: {requests} requests, \
             {prompt_tokens} and {completion_tokens} tokens, {cost} more than its entries add up to"
        )
    }
}

/// Adds up the usage of all accounts from their entries, and returns the differences.
pub(super) async fn differences(tx: &mut Tx) -> Result<Vec<UsageDifference>, LedgerError> {
    let read = |row: &Row| {
        Ok(UsageDifference {
            account: row.text("account")?,
            day: Day(row.whole("day")?),
            service: row.text("service")?,
            key: row.text("key")?,
            kind: row.text("kind")?,
            by: sums(row)?,
        })
    };
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let text = "SELECT id FROM accounts WHERE id > $1 ORDER BY id LIMIT 1 OFFSET $2";
        let last =
            tx.fetch_optional(text, vec![after.as_str().into(), (AUDITED_ACCOUNTS - 1).into()]).await?;
        let last = last.map(|row| row.text("id")).transpose()?;
        let rows = match &last {
            Some(last) => {
                let values = vec![after.as_str().into(), last.as_str().into()];
                tx.fetch(&differences_within("account > $1 AND account <= $2"), values).await?
            }
            None => tx.fetch(&differences_within("account > $1"), vec![after.as_str().into()]).await?,
        };
        found.extend(rows.iter().map(read).collect::<Result<Vec<_>, LedgerError>>()?);
        match last {
            Some(last) => after = last,
            None => return Ok(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_utc() {
        for (millis, day) in
            [(0, "1970-01-01"), (86_399_999, "1970-01-01"), (1_767_225_600_000, "2026-01-01")]
        {
            let found = Day::of(Timestamp::from_millis(millis));
            assert_eq!((found.to_string().as_str(), Day::parse(day)), (day, Some(found)));
        }
        for wrong in ["", "2026-02-30", "2026-01-31T00:00:00Z", "yesterday"] {
            assert_eq!(Day::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn tokens_are_whole_numbers_within_reason() {
        let used = |meta| {
            let EntryUse { key, prompt_tokens, completion_tokens } = EntryUse::of(&meta);
            (key.map(str::to_owned), prompt_tokens, completion_tokens)
        };
        for (meta, expected) in [
            (serde_json::json!({}), (None, 0, 0)),
            (serde_json::json!([]), (None, 0, 0)),
            (serde_json::json!({"key": "k", "promptTokens": 3, "completionTokens": 4}), (Some("k"), 3, 4)),
            (serde_json::json!({"key": "", "promptTokens": -3, "completionTokens": 0.5}), (None, 0, 0)),
            (
                serde_json::json!({"key": 7, "promptTokens": u64::MAX, "completionTokens": i64::MAX}),
                (None, MOST_TOKENS, MOST_TOKENS),
            ),
        ] {
            let (key, prompt, completion) = expected;
            assert_eq!(used(meta), (key.map(str::to_owned), prompt, completion));
        }
    }
}
