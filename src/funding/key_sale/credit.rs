//! Purchases become credit and keys, in the transaction that moves the cursor past them.

use alloy::primitives::Address;

use super::SaleError;
use super::store::{self, ChainCursor};
use crate::chain::key_sale::SaleVersion;
use crate::chain::key_sale::logs::{Sale, SaleLog, SalePayment};
use crate::db::{Db, Tx};
use crate::funding::income;
use crate::funding::uncredited::{self, HELD_BACK, OwedCredit, Reason};
use crate::id::{AccountId, SourceRef, Timestamp};
use crate::keys::{self, BoughtKey, KeyId, KeysError, SecretHash};
use crate::ledger::{self, Credited, LedgerError};
use crate::money::Money;

/// Writer of the purchases of one contract.
pub(super) struct Crediting<'a> {
    pub db: &'a Db,
    pub cursor_name: &'a str,
    pub contract: Address,
    pub version: SaleVersion,
    /// True if the contract may have been followed when sources did not name it.
    pub may_be_earlier: bool,
}

/// Outcomes of the purchases of one transaction.
#[derive(Debug, Default)]
struct Tally {
    credited: u64,
    amount: i64,
    held_back: u64,
    taken_ids: u64,
}

impl Crediting<'_> {
    /// Credits purchases and moves the cursor past them; returns the new cursor, or `None` when another instance has
    /// moved it.
    pub(super) async fn credit(
        &self,
        from: ChainCursor,
        logs: &[&SaleLog],
        now: Timestamp,
    ) -> Result<Option<ChainCursor>, SaleError> {
        let to = logs.iter().fold(from, |cursor, log| cursor.past(log));
        match self.credit_at_once(&from, &to, logs, now).await {
            Ok(true) => Ok(Some(to)),
            Ok(false) => Ok(None),
            // One of them is refused, and the others must not wait for it.
            Err(KeysError::Ledger(error)) if is_final(&error) => self.credit_each(from, logs, now).await,
            Err(error) => Err(error.into()),
        }
    }

    async fn credit_each(
        &self,
        from: ChainCursor,
        logs: &[&SaleLog],
        now: Timestamp,
    ) -> Result<Option<ChainCursor>, SaleError> {
        let mut cursor = from;
        for log in logs {
            let next = cursor.past(log);
            let moved = match self.credit_at_once(&cursor, &next, &[*log], now).await {
                Err(KeysError::Ledger(error)) if is_final(&error) => {
                    self.record_refused(&cursor, &next, log, &error, now).await?
                }
                moved => moved?,
            };
            if !moved {
                return Ok(None);
            }
            cursor = next;
        }
        Ok(Some(cursor))
    }

    async fn credit_at_once(
        &self,
        from: &ChainCursor,
        to: &ChainCursor,
        logs: &[&SaleLog],
        now: Timestamp,
    ) -> Result<bool, KeysError> {
        let tally = self
            .db
            .transaction(|mut tx| async move {
                if !store::advance(&mut tx, self.cursor_name, from, to, now).await? {
                    return Ok::<_, KeysError>((tx, None));
                }
                let mut tally = Tally::default();
                for log in logs {
                    if let Some(sale) = &log.sale {
                        self.credit_one(&mut tx, log, sale, &mut tally, now).await?;
                    }
                }
                Ok((tx, Some(tally)))
            })
            .await?;
        let Some(tally) = tally else { return Ok(false) };
        tally.record(self.contract);
        Ok(true)
    }

    async fn credit_one(
        &self,
        tx: &mut Tx,
        log: &SaleLog,
        sale: &Sale,
        tally: &mut Tally,
        now: Timestamp,
    ) -> Result<(), KeysError> {
        let owner = &format!("{:#x}", sale.owner);
        let account = &AccountId::wallet(owner).expect("an address is 0x and 40 hex digits");
        let owed = OwedCredit { account, amount: sale.amount };
        let source = &self.source(tx, log, owed).await?;
        if let Some(why) = missing(&sale.payment) {
            tracing::error!(%source, owner, amount = %sale.amount, reason = why.0, "a purchase was not paid");
            let why = Reason { text: why.0, claim: why.1.as_deref() };
            uncredited::insert(tx, source, owed, why, now).await?;
            tally.held_back += 1;
            return Ok(());
        }
        if income::credit(tx, account, sale.amount, source, now).await? == Credited::Applied {
            uncredited::remove(tx, source).await?;
            tracing::debug!(%source, owner, amount = %sale.amount, key = sale.key.is_some(), "purchase credited");
            tally.credited += 1;
            tally.amount = tally.amount.saturating_add(sale.amount.micros());
        }
        // Anybody may give credit, but nobody else a key to somebody's account.
        let Some(key) = sale.key.filter(|_| sale.buyer == sale.owner) else { return Ok(()) };
        let hash = &SecretHash::from_bytes(key.hash.0);
        let id = &match self.version {
            SaleVersion::V1 => KeyId::of_purchase_v1(hash),
            SaleVersion::V2 => KeyId::of_purchase(hash, &sale.owner.0),
        };
        let bought = BoughtKey { id, hash, owner, source, budget: sale.amount };
        if !keys::create_bought(tx, &bought, now).await? {
            tracing::error!(%source, owner, "a bought key's id is taken; its owner has the credit and no key");
            tally.taken_ids += 1;
        }
        Ok(())
    }

    /// Records a purchase that the ledger will refuse for ever.
    async fn record_refused(
        &self,
        from: &ChainCursor,
        to: &ChainCursor,
        log: &SaleLog,
        error: &LedgerError,
        now: Timestamp,
    ) -> Result<bool, KeysError> {
        let Some(sale) = &log.sale else { return Ok(false) };
        let owner = &format!("{:#x}", sale.owner);
        let account = &AccountId::wallet(owner).expect("an address is 0x and 40 hex digits");
        let owed = OwedCredit { account, amount: sale.amount };
        tracing::error!(transaction = %log.transaction, owner, amount = %sale.amount, %error, "the ledger refused to credit a purchase");
        metrics::counter!("farebox_key_sale_uncredited_total").increment(1);
        let reason = &error.to_string();
        self.db
            .transaction(|mut tx| async move {
                let moved = store::advance(&mut tx, self.cursor_name, from, to, now).await?;
                if moved {
                    let source = &self.source(&mut tx, log, owed).await?;
                    uncredited::insert(&mut tx, source, owed, Reason { text: reason, claim: None }, now)
                        .await?;
                }
                Ok::<_, KeysError>((tx, moved))
            })
            .await
    }

    /// Returns the source of a purchase's credit. Not by the log's index in its block, which changes when the chain is
    /// reorganised. Of two contracts in one transaction each has its own; a purchase that was credited when sources did
    /// not name the contract keeps the one that it has, wherever the cursor was at the time.
    async fn source(
        &self,
        tx: &mut Tx,
        log: &SaleLog,
        owed: OwedCredit<'_>,
    ) -> Result<SourceRef, LedgerError> {
        let (transaction, ordinal) = (log.transaction, log.ordinal);
        let parse = |text: String| SourceRef::parse(&text).expect("digits and colons are a source");
        if self.may_be_earlier {
            let earlier = parse(format!("log:{transaction:#x}:{ordinal}"));
            let credited = ledger::credited_by(tx, &earlier).await?;
            if credited.is_some_and(|(account, amount)| account == *owed.account && amount == owed.amount) {
                return Ok(earlier);
            }
        }
        Ok(parse(format!("sale:{:#x}:{transaction:#x}:{ordinal}", self.contract)))
    }
}

/// Reason that a purchase is not paid, with the guard's receipt; `None` when it is.
fn missing(payment: &SalePayment) -> Option<(&'static str, Option<String>)> {
    match payment {
        SalePayment::Received => None,
        SalePayment::HeldBack(claim) => Some((HELD_BACK, Some(alloy::hex::encode_prefixed(claim)))),
        SalePayment::Missing => Some(("no payment stands behind the purchase in its receipt", None)),
    }
}

impl Tally {
    fn record(&self, contract: Address) {
        if self.credited > 0 {
            let amount = Money::from_micros(self.amount);
            tracing::info!(%contract, purchases = self.credited, %amount, "purchases credited");
        }
        metrics::counter!("farebox_key_sale_credited_total").increment(self.credited);
        metrics::counter!("farebox_key_sale_uncredited_total").increment(self.held_back);
        metrics::counter!("farebox_key_sale_taken_ids_total").increment(self.taken_ids);
    }
}

/// Returns true if the ledger will refuse the same credit for ever.
fn is_final(error: &LedgerError) -> bool {
    matches!(error, LedgerError::Overflow | LedgerError::Amount(_) | LedgerError::CreditConflict(_))
}
