//! Recomputes the ledger from its records and lists every difference.

use std::fmt;

use super::LedgerError;
use super::sql::money;
use super::usage::{self, UsageDifference};
use farebox_db::statements::{Row, Statements as _};
use farebox_db::{Db, Engine, Tx};
use farebox_types::money::Money;

/// Result of an audit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditReport {
    /// Number of accounts that were recomputed.
    pub accounts: u64,
    /// Sum of all credits.
    pub credited: i128,
    /// Sum of all charges.
    pub spent: i128,
    /// Sum that open holds have set aside and not charged.
    pub held: i128,
    /// Differences between stored and recomputed values.
    pub differences: Vec<Difference>,
}

/// Violation of a law of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// Stored sum of an account that its records do not add up to.
    Sum {
        /// Account.
        account: String,
        /// `credited`, `posted` or `held`.
        column: &'static str,
        /// Sum in the account's row.
        stored: Money,
        /// Sum of the records.
        rebuilt: Money,
    },
    /// Account with less than nothing available.
    Overdrawn {
        /// Account.
        account: String,
    },
    /// Broken rule between two records.
    Record {
        /// Rule.
        rule: &'static str,
        /// Id of the record that breaks it.
        id: String,
    },
    /// Stored usage that entries do not add up to.
    Usage(UsageDifference),
}

impl AuditReport {
    /// Returns true if there are no differences.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.differences.is_empty()
    }
}

impl fmt::Display for AuditReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { accounts, credited, spent, held, differences } = self;
        let available = credited - spent - held;
        writeln!(f, "{accounts} accounts, in millionths of a dollar:")?;
        writeln!(f, "credited {credited} - spent {spent} - held {held} = available {available}")?;
        for difference in differences {
            writeln!(f, "{difference}")?;
        }
        write!(f, "{} differences", differences.len())
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sum { account, column, stored, rebuilt } => {
                write!(f, "{account}: {column} is {stored}, its records add up to {rebuilt}")
            }
            Self::Overdrawn { account } => write!(f, "{account}: less than nothing is available"),
            Self::Record { rule, id } => write!(f, "{id}: {rule}"),
            Self::Usage(difference) => difference.fmt(f),
        }
    }
}

/// Query for one row per account: its sums, and those of its records.
const SUMS: &str = "
    SELECT a.id, a.credited, a.posted, a.held,
           COALESCE(c.amount, 0) AS credits,
           COALESCE(e.amount, 0) AS entries,
           COALESCE(h.charged, 0) AS charges,
           COALESCE(h.claims, 0) AS claims
      FROM accounts a
      LEFT JOIN (SELECT account, CAST(SUM(amount) AS BIGINT) AS amount
                   FROM credits GROUP BY account) c ON c.account = a.id
      LEFT JOIN (SELECT account, CAST(SUM(amount) AS BIGINT) AS amount
                   FROM entries GROUP BY account) e ON e.account = a.id
      LEFT JOIN (SELECT account, CAST(SUM(charged) AS BIGINT) AS charged,
                        CAST(SUM(CASE WHEN reserved > charged THEN reserved ELSE charged END)
                             AS BIGINT) AS claims
                   FROM holds WHERE state = 'open' GROUP BY account) h ON h.account = a.id
     ORDER BY a.id";

/// Rules between records, each with a query that finds the records that break it.
const RULES: [(&str, &str); 7] = [
    (
        "an entry belongs to a closed hold of the same account",
        "SELECT e.id FROM entries e LEFT JOIN holds h ON h.id = e.hold
          WHERE h.id IS NULL OR h.state <> 'closed' OR h.account <> e.account",
    ),
    (
        "an entry says what its hold was charged",
        "SELECT e.id FROM entries e JOIN holds h ON h.id = e.hold WHERE h.charged <> e.amount",
    ),
    (
        "a closed hold has exactly one entry",
        "SELECT h.id FROM holds h LEFT JOIN entries e ON e.hold = h.id
          WHERE h.state = 'closed' GROUP BY h.id HAVING COUNT(e.id) <> 1",
    ),
    (
        "a hold is charged no more than its account was ever credited",
        "SELECT h.id FROM holds h JOIN accounts a ON a.id = h.account WHERE h.charged > a.credited",
    ),
    (
        "a hold belongs to an account",
        "SELECT h.id FROM holds h LEFT JOIN accounts a ON a.id = h.account WHERE a.id IS NULL",
    ),
    (
        "a credit belongs to an account",
        "SELECT c.source AS id FROM credits c LEFT JOIN accounts a ON a.id = c.account WHERE a.id IS NULL",
    ),
    ("a source is credited once", "SELECT source AS id FROM credits GROUP BY source HAVING COUNT(*) > 1"),
];

/// Recomputes every account from credits, entries and open holds, and its usage from its entries, as they all were at one
/// moment.
/// The server may go on working meanwhile.
///
/// # Errors
/// The database fails, or a sum is beyond the largest number. A difference is no error.
pub async fn audit(db: &Db) -> Result<AuditReport, LedgerError> {
    let mut tx = db.snapshot().await?;
    if tx.engine() == Engine::Postgres {
        // A large ledger may take longer to read than a request may take.
        tx.execute("SET LOCAL statement_timeout = 0", Vec::new()).await?;
    }
    let mut report = AuditReport::default();
    for row in tx.fetch(SUMS, Vec::new()).await? {
        report.add_account(&row)?;
    }
    for (rule, query) in RULES {
        report.add_broken(&mut tx, rule, query).await?;
    }
    report.differences.extend(usage::differences(&mut tx).await?.into_iter().map(Difference::Usage));
    tx.rollback().await?;
    Ok(report)
}

impl AuditReport {
    fn add_account(&mut self, row: &Row) -> Result<(), LedgerError> {
        let account = row.text("id")?;
        let (credited, posted, held) = (money(row, "credited")?, money(row, "posted")?, money(row, "held")?);
        let rebuilt = [
            ("credited", credited, money(row, "credits")?),
            ("posted", posted, money(row, "entries")?),
            ("held", held, money(row, "claims")?),
        ];
        for (column, stored, rebuilt) in rebuilt {
            if stored != rebuilt {
                let account = account.clone();
                self.differences.push(Difference::Sum { account, column, stored, rebuilt });
            }
        }
        let wide = |money: Money| i128::from(money.micros());
        if wide(credited) - wide(posted) - wide(held) < 0 {
            self.differences.push(Difference::Overdrawn { account });
        }
        self.accounts += 1;
        self.credited += wide(credited);
        let charges = wide(money(row, "charges")?);
        self.spent += wide(posted) + charges;
        self.held += wide(held) - charges;
        Ok(())
    }

    async fn add_broken(
        &mut self,
        tx: &mut Tx,
        rule: &'static str,
        query: &'static str,
    ) -> Result<(), LedgerError> {
        for row in tx.fetch(query, Vec::new()).await? {
            self.differences.push(Difference::Record { rule, id: row.text("id")? });
        }
        Ok(())
    }
}
