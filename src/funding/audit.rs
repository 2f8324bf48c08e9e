//! Audit of payments and purchases against the ledger: the records of each must agree with the other's.
//!
//! Each rule joins a table of payments with one of the ledger's, in one snapshot. So these queries name
//! the ledger's tables, as no others outside of its crate do.

use std::fmt;

use crate::db::statements::Statements as _;
use crate::db::{Db, DbError};

/// A payment or purchase that the ledger disagrees with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disagreement {
    /// Rule that is broken.
    pub rule: &'static str,
    /// Id of the payment, source of the credit, or id of the key.
    pub id: String,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.id)
    }
}

/// Rules, each with a query for the records that break it.
const RULES: [(&str, &str); 7] = [
    (
        "a settled payment is not credited with its amount to its payer, or the account it tops up",
        "SELECT p.id AS id FROM payments p LEFT JOIN credits c ON c.source = 'tx:' || p.reference \
         WHERE p.state IN ('settled', 'delivered') AND p.amount > 0 \
         AND (c.source IS NULL OR c.amount <> p.amount OR c.account <> coalesce(p.account, 'wallet:' || p.payer))",
    ),
    (
        "a settled payment was not charged with its amount to its payer",
        "SELECT p.id AS id FROM payments p LEFT JOIN holds h \
         ON h.account = 'wallet:' || p.payer AND h.request_key = 'charge:' || p.id \
         WHERE p.state IN ('settled', 'delivered') AND p.amount > 0 \
         AND p.account IS NULL AND p.goods IS NULL \
         AND (h.id IS NULL OR h.charged <> p.amount)",
    ),
    (
        "a transaction is credited although its payment is not settled",
        "SELECT c.source AS id FROM credits c JOIN payments p ON c.source = 'tx:' || p.reference \
         WHERE p.state NOT IN ('settled', 'delivered')",
    ),
    (
        "a bought key came without credit for its owner",
        "SELECT k.id AS id FROM api_keys k LEFT JOIN credits c ON c.source = k.source \
         WHERE k.source IS NOT NULL AND (c.source IS NULL OR c.account <> 'wallet:' || k.owner)",
    ),
    (
        "a card payment is not credited as its record says",
        "SELECT p.payment AS id FROM card_payments p LEFT JOIN credits c ON c.source = 'card:' || p.payment \
         WHERE p.credited > 0 AND (c.source IS NULL OR c.amount <> p.credited OR c.account <> p.account)",
    ),
    (
        "the credit taken back for an account's card payments is not the sum of its refunds",
        "SELECT p.account AS id FROM \
         (SELECT account, CAST(SUM(taken + returned) AS BIGINT) AS reversed FROM card_payments \
          WHERE account IS NOT NULL GROUP BY account) p \
         LEFT JOIN (SELECT account, CAST(SUM(amount) AS BIGINT) AS refunds FROM entries \
          WHERE kind = 'refund' GROUP BY account) e ON e.account = p.account \
         WHERE p.reversed <> COALESCE(e.refunds, 0)",
    ),
    (
        "a debt belongs to another account than its payment, or exceeds the rest of its credit",
        "SELECT d.source AS id FROM debts d LEFT JOIN card_payments p ON d.source = 'card:' || p.payment \
         WHERE d.amount > 0 \
         AND (p.payment IS NULL OR p.account <> d.account OR d.amount > p.credited - p.taken)",
    ),
];

/// Returns everything that payments and ledger disagree about, as of one moment.
///
/// # Errors
/// If the database cannot be read.
pub async fn audit(db: &Db) -> Result<Vec<Disagreement>, DbError> {
    let mut found = Vec::new();
    let mut snapshot = db.snapshot().await?;
    for (rule, query) in RULES {
        for row in snapshot.fetch(query, Vec::new()).await? {
            found.push(Disagreement { rule, id: row.text("id")? });
        }
    }
    Ok(found)
}
