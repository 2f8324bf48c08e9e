//! From a recorded transaction to a settled payment.
//!
//! The bytes of a transaction are written down before they leave; credit, entry
//! and `settled` are one database transaction.

use alloy::network::ReceiptResponse as _;
use alloy::primitives::Address;

use super::charge::Charges;
use super::goods::{self, Goods};
use super::income;
use super::outcome::{Delivery, Denied, refused};
use super::payment::{Payment, Why};
use super::recover;
use super::sponsor::{self, Exhausted};
use super::store::{self, Dispatch, StoreError};
use crate::chain::{ChainReceipt, SendOutcome, SignedTransaction};
use crate::db::{DbError, Tx, TxError};
use crate::id::{AccountId, RequestId, RequestKey, SourceRef, Timestamp};
use crate::ledger::{self, EntryDetails, EntryKind, LedgerError, SpendOutcome};
use crate::money::Money;
use crate::mpp::{Offer, Receipt};

impl Charges {
    /// Writes the transaction down, and reserves the sponsor's budget, before
    /// anything leaves.
    pub(super) async fn record<E>(
        &self,
        settling: &Settling<'_>,
        transaction: &SignedTransaction,
        offer: &Offer,
    ) -> Result<(), Denied<E>> {
        let payer = settling.payer_text();
        let tx_hash = format!("{:#x}", transaction.hash());
        let raw_tx = alloy::hex::encode_prefixed(transaction.raw());
        let sponsor = self.sponsor.as_ref().filter(|_| offer.is_sponsored());
        let fee_limit = match sponsor {
            Some(_) => {
                transaction.highest_fee().ok_or_else(|| Denied::Invalid(Exhausted::Fee.to_string()))?
            }
            None => Money::ZERO,
        };
        let goods = settling.goods.map(Goods::to_json);
        let dispatch = &Dispatch {
            id: settling.id,
            goods: goods.as_deref(),
            payer: &payer,
            tx_hash: &tx_hash,
            raw_tx: &raw_tx,
            answer: settling.answer,
            fee_limit,
            valid_before: transaction
                .valid_before()
                .and_then(|s| i64::try_from(s).ok()?.checked_mul(1000))
                .map(Timestamp::from_millis),
        };
        let now = Timestamp::now();
        let recorded = self
            .payments
            .db()
            .transaction(|mut tx| async move {
                if let Some(sponsor) = sponsor
                    && let Err(exhausted) = sponsor.reserve(&mut tx, dispatch.payer, fee_limit, now).await?
                {
                    return Err(RecordError::Exhausted(exhausted));
                }
                let done = store::dispatch(&mut tx, dispatch, now).await?;
                Ok((tx, done))
            })
            .await;
        match recorded {
            Ok(true) => Ok(()),
            Ok(false) => Err(Denied::InProgress),
            Err(RecordError::Exhausted(why)) => Err(Denied::Invalid(format!(
                "the network fee is not sponsored now: {why}; pay it with a new challenge"
            ))),
            // The same payer races itself with one idempotency key: one of them pays.
            Err(RecordError::Db(error)) if store::is_unique_violation(&error) => Err(Denied::InProgress),
            Err(RecordError::Db(error)) => Err(StoreError::Db(error).into()),
        }
    }

    pub(super) async fn broadcast<E>(
        &self,
        settling: &Settling<'_>,
        transaction: &SignedTransaction,
    ) -> Result<Delivery, Denied<E>> {
        match self.chain.send(transaction).await {
            SendOutcome::Mined(receipt) => self.mined(settling, &receipt).await,
            SendOutcome::Refused { reason } => Err(Denied::Invalid(format!(
                "the chain refused the transaction ({reason}); nothing was paid"
            ))),
            SendOutcome::Unknown => Err(Denied::Pending),
        }
    }

    /// A transaction of ours is in a block: money moved, or it failed for good.
    pub(super) async fn mined<E>(
        &self,
        settling: &Settling<'_>,
        receipt: &ChainReceipt,
    ) -> Result<Delivery, Denied<E>> {
        let now = Timestamp::now();
        let moved = crate::chain::transferred(receipt, settling.currency, self.recipient, settling.amount);
        if receipt.status() != moved {
            // The validated calls cannot succeed without this transfer, nor
            // can it be left of a failure: the node contradicts itself. Taking
            // no decision keeps every way open.
            tracing::error!(payment = settling.id, moved, "status and transfers of a receipt disagree");
            metrics::counter!("farebox_chain_contradictions_total").increment(1);
            return Err(Denied::Pending);
        }
        if !moved {
            self.payments.fail(settling.id, now).await?;
            return Err(refused(Why::Failed));
        }
        let hash = format!("{:#x}", receipt.transaction_hash());
        let fee = crate::chain::fee_paid(receipt);
        self.settle(settling, Some(&hash), fee, now).await
    }

    /// Credits the payer, posts the entry and marks the payment: one transaction.
    pub(super) async fn settle<E>(
        &self,
        settling: &Settling<'_>,
        tx_hash: Option<&str>,
        fee: Option<Money>,
        now: Timestamp,
    ) -> Result<Delivery, Denied<E>> {
        let payer = settling.payer_text();
        let receipt = self.receipt(settling, tx_hash, now).to_header();
        let credit = tx_hash.filter(|_| settling.amount.is_positive());
        let goods = settling.goods.map(Goods::to_json);
        let (payer, receipt, goods) = (payer.as_str(), receipt.as_str(), goods.as_deref());
        let done = self
            .payments
            .db()
            .transaction(|mut tx| async move {
                let paid = store::Paid { payer, tx_hash, answer: settling.answer, goods, receipt };
                if !store::settle(&mut tx, settling.id, &paid, now).await? {
                    return Ok((tx, Settled::Before));
                }
                match (credit, settling.goods) {
                    (Some(hash), Some(goods)) => {
                        goods::hand_over(&mut tx, settling, goods, hash, now).await?;
                    }
                    (Some(hash), None) => credit_and_spend(&mut tx, settling, hash, now).await?,
                    (None, _) => {}
                }
                if let Some(fee) = fee {
                    return_unused_fee(&mut tx, settling.id, fee).await?;
                }
                Ok::<_, LedgerError>((tx, Settled::Now))
            })
            .await;
        match done {
            Ok(Settled::Now) => {
                tracing::info!(payment = settling.id, payer, amount = %settling.amount, tx_hash, "settled");
                metrics::counter!("farebox_settled_micros_total")
                    .increment(u64::try_from(settling.amount.micros()).unwrap_or(0));
                metrics::counter!("farebox_payments_settled_total").increment(1);
                Ok(Delivery {
                    payment: settling.id.to_owned(),
                    answer: settling.answer.to_owned(),
                    receipt: receipt.to_owned(),
                })
            }
            Ok(Settled::Before) => Err(Denied::InProgress),
            Err(LedgerError::CreditConflict(_)) => Err(refused(Why::Spent)),
            Err(LedgerError::Database(error)) if store::is_unique_violation(&error) => Err(Denied::KeyReused),
            // The money is on the chain and the row says where: retry completes it.
            Err(error) => {
                tracing::error!(payment = settling.id, %error, "paid, but not recorded yet");
                Err(Denied::Pending)
            }
        }
    }

    fn receipt(&self, settling: &Settling<'_>, tx_hash: Option<&str>, now: Timestamp) -> Receipt {
        let amount = settling.amount.to_base_units();
        Receipt {
            status: "success".into(),
            method: crate::mpp::offer::METHOD.into(),
            intent: crate::mpp::offer::CHARGE.into(),
            timestamp: now.to_rfc3339(),
            reference: tx_hash.unwrap_or(settling.id).to_owned(),
            challenge_id: settling.id.to_owned(),
            currency: format!("{:#x}", settling.currency),
            chain_id: self.chain.chain_id(),
            units: "1".into(),
            unit_price: amount.clone(),
            amount,
        }
    }

    /// Finds out what became of a transaction that was handed out before, and
    /// sends the same bytes again where that can still help.
    pub(super) async fn reconcile<E>(&self, stored: &Payment, now: Timestamp) -> Result<Delivery, Denied<E>> {
        let result = self.reconcile_leased(stored, now).await;
        if result.is_err() {
            self.payments.release(&stored.id).await?;
        }
        result
    }

    async fn reconcile_leased<E>(&self, stored: &Payment, now: Timestamp) -> Result<Delivery, Denied<E>> {
        let open = OpenPayment::read(stored)?;
        let settling = open.settling(stored);
        let hash = open.transaction.hash();
        match self.chain.receipt(hash).await {
            Ok(Some(receipt)) => return self.mined(&settling, &receipt).await,
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "open payment cannot be looked up");
                return Err(Denied::Pending);
            }
        }
        if stored.expires_at > now {
            return self.broadcast(&settling, &open.transaction).await;
        }
        if recover::is_dead(&self.chain, hash, recover::last_moment(stored), now).await {
            self.payments.fail(&stored.id, now).await?;
            return Err(Denied::Expired);
        }
        Err(Denied::Pending)
    }
}

/// Everything that settling a payment needs.
#[derive(Debug)]
pub(super) struct Settling<'a> {
    pub id: &'a str,
    pub payer: Address,
    pub amount: Money,
    pub currency: Address,
    pub request_id: &'a RequestId,
    pub service: &'a str,
    /// The account that is topped up; none when an answer is bought.
    pub account: Option<&'a AccountId>,
    pub answer: &'a str,
    /// What is bought beyond the answer.
    pub goods: Option<&'a Goods>,
}

impl Settling<'_> {
    pub(super) fn payer_text(&self) -> String {
        format!("{:#x}", self.payer)
    }
}

/// A stored payment whose transaction is out.
pub(super) struct OpenPayment {
    pub transaction: SignedTransaction,
    request_id: RequestId,
    currency: Address,
    answer: String,
    goods: Option<Goods>,
}

impl OpenPayment {
    pub(super) fn read(stored: &Payment) -> Result<Self, StoreError> {
        let corrupt = |column, value: &str| StoreError::Corrupt {
            id: stored.id.clone(),
            column,
            value: value.to_owned(),
        };
        let raw = stored.raw_tx.as_deref().unwrap_or_default();
        let transaction = SignedTransaction::parse(raw).map_err(|_| corrupt("raw_tx", "(not shown)"))?;
        let currency = stored.currency.parse().map_err(|_| corrupt("currency", &stored.currency))?;
        let answer = stored.answer.clone().ok_or_else(|| corrupt("answer", "(none)"))?;
        let goods = stored.goods.as_deref().map(serde_json::from_str).transpose();
        let goods = goods.map_err(|_| corrupt("goods", "(not shown)"))?;
        Ok(Self {
            goods,
            transaction,
            request_id: RequestId::accept(Some(&stored.request_id)),
            currency,
            answer,
        })
    }

    pub(super) fn settling<'a>(&'a self, stored: &'a Payment) -> Settling<'a> {
        Settling {
            id: &stored.id,
            payer: self.transaction.sender(),
            amount: stored.amount,
            currency: self.currency,
            request_id: &self.request_id,
            service: &stored.route,
            account: stored.account.as_ref(),
            answer: &self.answer,
            goods: self.goods.as_ref(),
        }
    }
}

enum Settled {
    Now,
    Before,
}

#[derive(Debug)]
enum RecordError {
    Exhausted(Exhausted),
    Db(DbError),
}

impl From<DbError> for RecordError {
    fn from(error: DbError) -> Self {
        Self::Db(error)
    }
}

impl TxError for RecordError {
    fn db(&self) -> Option<&DbError> {
        match self {
            Self::Exhausted(_) => None,
            Self::Db(error) => Some(error),
        }
    }
}

async fn credit_and_spend(
    tx: &mut Tx,
    settling: &Settling<'_>,
    hash: &str,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let corrupt = |what: &str| LedgerError::Corrupt(format!("{what} of payment {}", settling.id));
    let account = match settling.account {
        Some(account) => account.clone(),
        None => AccountId::wallet(&settling.payer_text()).map_err(|_| corrupt("payer"))?,
    };
    let source = SourceRef::parse(&format!("tx:{hash}")).map_err(|_| corrupt("transaction"))?;
    let key = RequestKey::parse(&format!("charge:{}", settling.id)).map_err(|_| corrupt("id"))?;
    let topped_up = settling.account.is_some();
    let credited = if topped_up {
        income::credit(tx, &account, settling.amount, &source, now).await?
    } else {
        ledger::credit(tx, &account, settling.amount, &source, now).await?
    };
    if credited == ledger::Credited::Replayed {
        return Err(LedgerError::CreditConflict(source));
    }
    if topped_up {
        return Ok(());
    }
    let details = EntryDetails {
        kind: EntryKind::Purchase,
        request_id: Some(settling.request_id.clone()),
        service: settling.service.to_owned(),
        units: 1,
        unit_price: settling.amount,
        meta: serde_json::json!({ "challenge": settling.id, "transaction": hash }),
    };
    match ledger::spend(tx, &account, settling.amount, &key, &details, now).await? {
        SpendOutcome::Spent(_) => Ok(()),
        SpendOutcome::Replayed(_) => {
            Err(LedgerError::Corrupt(format!("payment {} was charged before it was credited", settling.id)))
        }
        SpendOutcome::Short { .. } => {
            Err(LedgerError::Corrupt(format!("payment {} is not covered by its own credit", settling.id)))
        }
    }
}

async fn return_unused_fee(tx: &mut Tx, id: &str, fee: Money) -> Result<(), LedgerError> {
    use sqlx::Row as _;
    let row = sqlx::query("SELECT fee_limit, payer, created_at FROM payments WHERE id = $1")
        .bind(id.to_owned())
        .fetch_one(tx.conn())
        .await?;
    let limit = Money::from_micros(row.try_get("fee_limit")?);
    let payer: String = row.try_get("payer")?;
    let created = Timestamp::from_millis(row.try_get("created_at")?);
    if let Some(unused) = limit.checked_sub(fee).filter(|m| m.is_positive()) {
        sponsor::give_back(tx, &payer, unused, created).await?;
    }
    Ok(())
}
