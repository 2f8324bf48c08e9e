//! From a recorded transfer to a settled payment.
//!
//! A transfer is written down before it leaves; credit, entry
//! and `settled` are one database transaction.

#![expect(
    clippy::disallowed_methods,
    reason = "a transfer takes time, so what follows it has a moment of its own"
)]

use super::charge::Charges;
use super::goods::{self, Goods};
use super::income;
use super::method::{ChargeMethod, Due, HeldBack, TransferStatus};
use super::outcome::refused;
use super::recover;
use super::sponsor;
use super::store::{self, Dispatch, SettlementRecord, StoreError};
use super::uncredited::{self, HELD_BACK, OwedCredit, Reason};
use crate::db::statements::Statements as _;
use crate::db::{DbError, Tx, TxError};
use crate::id::{RequestId, RequestKey, SourceRef, Timestamp};
use crate::ledger::{self, EntryDetails, EntryKind, LedgerError, SpendOutcome};
use crate::money::Money;
use crate::payments::core::payment::{RefusalReason, transaction_of};
use crate::payments::{
    Delivery, Intent, Method, Payer, Payment, PaymentState, Receipt, RedeemError, Transfer, http,
};

/// Everything that settling a payment needs.
pub(super) struct ChargeSettlement<'a> {
    /// The challenge id.
    pub id: &'a str,
    pub method: &'a ChargeMethod,
    pub payer: &'a Payer,
    pub due: Due<'a>,
    pub request_id: &'a RequestId,
    pub service: &'a str,
    /// The account that is topped up; `None` when an answer is bought.
    pub top_up: Option<&'a crate::id::AccountId>,
    pub answer: &'a str,
    /// Goods that are bought beyond the answer.
    pub goods: Option<&'a Goods>,
}

impl ChargeSettlement<'_> {
    /// The source of the credit that a transfer is evidence of.
    pub(super) fn source(&self, reference: &str) -> Result<SourceRef, LedgerError> {
        source(self.method.id(), reference)
    }

    pub(super) fn corrupt(&self, what: &str) -> LedgerError {
        LedgerError::Corrupt(format!("{what} of payment {}", self.id))
    }
}

/// The source of the credit that a transfer is evidence of. On Tempo, whose transaction hashes
/// came first, it is `tx:<hash>`; other methods name themselves and their network.
pub(super) fn source(method: Method, reference: &str) -> Result<SourceRef, LedgerError> {
    let text = match method {
        Method::Tempo => format!("tx:{reference}"),
    };
    SourceRef::parse(&text).map_err(|_| LedgerError::Corrupt(format!("the transfer {reference}")))
}

impl Charges {
    /// Writes the transfer down, and reserves what it may cost the server, before
    /// anything leaves.
    pub(super) async fn record<E>(
        &self,
        settlement: &ChargeSettlement<'_>,
        transfer: &Transfer,
    ) -> Result<(), RedeemError<E>> {
        let goods = settlement.goods.map(Goods::to_json);
        let dispatch = &Dispatch {
            id: settlement.id,
            goods: goods.as_deref(),
            payer: settlement.payer,
            transfer,
            answer: settlement.answer,
        };
        let now = Timestamp::now();
        let recorded = self
            .payments
            .db()
            .transaction(|mut tx| async move {
                let reserved = settlement.method.reserve_fee(&mut tx, dispatch.payer, transfer, now).await?;
                if let Err(reason) = reserved {
                    return Err(RecordError::NotSponsored(reason));
                }
                let done = store::dispatch(&mut tx, dispatch, now).await?;
                Ok((tx, done))
            })
            .await;
        match recorded {
            Ok(true) => Ok(()),
            Ok(false) => Err(RedeemError::InProgress),
            Err(RecordError::NotSponsored(reason)) => Err(RedeemError::Invalid(reason)),
            // The same payer races itself with one idempotency key: one of them pays.
            Err(RecordError::Db(error)) if store::is_unique_violation(&error) => Err(RedeemError::InProgress),
            Err(RecordError::Db(error)) => Err(StoreError::Db(error).into()),
        }
    }

    /// Makes a recorded transfer happen, and settles its payment.
    pub(super) async fn execute<E>(
        &self,
        settlement: &ChargeSettlement<'_>,
        transfer: &Transfer,
    ) -> Result<Delivery, RedeemError<E>> {
        let status = settlement.method.execute(transfer, settlement.due).await;
        self.conclude(settlement, status).await
    }

    /// Settles or fails a payment, as its transfer's status says.
    pub(super) async fn conclude<E>(
        &self,
        settlement: &ChargeSettlement<'_>,
        status: TransferStatus,
    ) -> Result<Delivery, RedeemError<E>> {
        let now = Timestamp::now();
        match status {
            TransferStatus::Settled { reference, fee } => {
                let settled = self.settle(settlement, Some(&reference), fee, now).await;
                if let Err(RedeemError::Spent(_)) = &settled {
                    // Its transfer has been used: this payment can never be settled by it.
                    self.fail(settlement.id, fee, now).await?;
                }
                settled
            }
            TransferStatus::HeldBack { reference, claim, fee } => {
                let held = HeldBack { payer: settlement.payer.clone(), reference, claim };
                let owed = OwedCredit {
                    account: settlement.top_up.unwrap_or(held.payer.account()),
                    amount: settlement.goods.map_or(settlement.due.amount, |goods| goods.credits),
                };
                self.hold_back(settlement.id, &held, owed, fee, now).await
            }
            TransferStatus::Failed { fee } => {
                self.fail(settlement.id, fee, now).await?;
                Err(refused(RefusalReason::Failed))
            }
            TransferStatus::Refused(reason) => Err(RedeemError::Invalid(format!(
                "the chain refused the transaction ({reason}); nothing was paid"
            ))),
            TransferStatus::Missing | TransferStatus::Unknown => Err(RedeemError::Pending),
        }
    }

    /// Records that a payment's transfer can never pay any more, and gives the sponsor's day back what its fee, where one
    /// is known, did not use. `false` when the payment's outcome had been recorded.
    pub(super) async fn fail(
        &self,
        id: &str,
        fee: Option<Money>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let failed = self.payments.db().transaction(|mut tx| async move {
            let failed = store::fail(&mut tx, id, now).await?;
            if let Some(fee) = fee.filter(|_| failed) {
                return_unused_fee(&mut tx, id, fee).await?;
            }
            Ok::<_, DbError>((tx, failed))
        });
        Ok(failed.await?)
    }

    /// Records a payment that the recipient's own policy keeps from it: the payer has paid and gets nothing, so the
    /// operator is told, and can give the credit once the money is there.
    pub(super) async fn hold_back<E>(
        &self,
        id: &str,
        held: &HeldBack,
        owed: OwedCredit<'_>,
        fee: Option<Money>,
        now: Timestamp,
    ) -> Result<Delivery, RedeemError<E>> {
        let (payer, reference, amount) = (held.payer.name(), held.reference.as_str(), owed.amount);
        tracing::error!(payment = id, payer, %amount, reference, "a payment is held back by the recipient's receive policy");
        let source = SourceRef::parse(&format!("held:{reference}")).ok();
        let source = source.as_ref();
        let recorded = self.payments.db().transaction(|mut tx| async move {
            let failed = store::hold_back(&mut tx, id, held, now).await?;
            if let Some(source) = source.filter(|_| failed && amount.is_positive()) {
                let why = Reason { text: HELD_BACK, claim: Some(&held.claim) };
                uncredited::insert(&mut tx, source, owed, why, now).await?;
            }
            if let Some(fee) = fee.filter(|_| failed) {
                return_unused_fee(&mut tx, id, fee).await?;
            }
            Ok::<_, LedgerError>((tx, failed))
        });
        let recorded = recorded.await.map_err(|error| {
            tracing::error!(payment = id, %error, "a payment that is held back cannot be recorded yet");
            RedeemError::Pending
        });
        if recorded? {
            metrics::counter!("farebox_payments_held_back_total").increment(1);
        }
        Err(refused(RefusalReason::HeldBack))
    }

    /// Credits the payer, posts the entry and marks the payment: one transaction.
    pub(super) async fn settle<E>(
        &self,
        settlement: &ChargeSettlement<'_>,
        reference: Option<&str>,
        fee: Option<Money>,
        now: Timestamp,
    ) -> Result<Delivery, RedeemError<E>> {
        let receipt = receipt(settlement, reference, now);
        let header = http::receipt(&receipt);
        let goods = settlement.goods.map(Goods::to_json);
        let record = &SettlementRecord {
            payer: settlement.payer,
            reference,
            answer: settlement.answer,
            goods: goods.as_deref(),
            receipt: &header,
        };
        let credited = reference.filter(|_| settlement.due.amount.is_positive());
        let done = self
            .payments
            .db()
            .transaction(|mut tx| async move {
                if !store::settle(&mut tx, settlement.id, record, now).await? {
                    return Ok((tx, SettleOutcome::Before));
                }
                match (credited, settlement.goods) {
                    (Some(reference), Some(goods)) => {
                        goods::hand_over(&mut tx, settlement, goods, reference, now).await?;
                    }
                    (Some(reference), None) => credit_and_spend(&mut tx, settlement, reference, now).await?,
                    (None, _) => {}
                }
                if let Some(fee) = fee {
                    return_unused_fee(&mut tx, settlement.id, fee).await?;
                }
                Ok::<_, LedgerError>((tx, SettleOutcome::Now))
            })
            .await;
        match done {
            Ok(SettleOutcome::Now) => {
                let (payer, amount) = (settlement.payer.name(), settlement.due.amount);
                tracing::info!(payment = settlement.id, payer, %amount, reference, "settled");
                metrics::counter!("farebox_settled_micros_total")
                    .increment(u64::try_from(amount.micros()).unwrap_or(0));
                metrics::counter!("farebox_payments_settled_total").increment(1);
                Ok(Delivery {
                    payment: settlement.id.to_owned(),
                    answer: settlement.answer.to_owned(),
                    receipt,
                })
            }
            Ok(SettleOutcome::Before) => Err(RedeemError::InProgress),
            Err(LedgerError::CreditConflict(_)) => Err(refused(RefusalReason::Spent)),
            Err(LedgerError::Database(error)) if store::is_unique_violation(&error) => {
                Err(RedeemError::KeyReused)
            }
            // The money arrived and the row says where: retry completes it.
            Err(error) => {
                tracing::error!(payment = settlement.id, %error, "paid, but not recorded yet");
                Err(RedeemError::Pending)
            }
        }
    }

    /// Finds out what became of a transfer that was handed out before, and
    /// makes it happen again where that can still help.
    pub(super) async fn reconcile<E>(
        &self,
        stored: &Payment,
        now: Timestamp,
    ) -> Result<Delivery, RedeemError<E>> {
        let result = self.reconcile_leased(stored, now).await;
        if result.is_err() {
            self.payments.release(&stored.id).await?;
        }
        result
    }

    async fn reconcile_leased<E>(
        &self,
        stored: &Payment,
        now: Timestamp,
    ) -> Result<Delivery, RedeemError<E>> {
        let Some(open) = OpenPayment::read(self, stored)? else {
            tracing::warn!(payment = stored.id, network = %stored.network, "its network is not served any more");
            return Err(RedeemError::Pending);
        };
        let (settlement, transfer) = (open.settlement(), open.transfer);
        match settlement.method.status(&transfer.reference, settlement.due).await {
            TransferStatus::Missing => {}
            known => return self.conclude(&settlement, known).await,
        }
        if stored.expires_at > now {
            return self.execute(&settlement, transfer).await;
        }
        let last = recover::last_moment(stored);
        if settlement.method.is_dead(&transfer.reference, last, now).await {
            self.fail(&stored.id, Some(Money::ZERO), now).await?;
            return Err(RedeemError::Expired);
        }
        Err(RedeemError::Pending)
    }
}

fn receipt(settlement: &ChargeSettlement<'_>, reference: Option<&str>, now: Timestamp) -> Receipt {
    let amount = settlement.due.amount.to_base_units();
    Receipt {
        status: "success".into(),
        method: settlement.method.id().as_str().into(),
        intent: Intent::Charge.as_str().into(),
        timestamp: now.to_rfc3339(),
        reference: reference.map_or(settlement.id, |made| transaction_of(made)).to_owned(),
        challenge_id: settlement.id.to_owned(),
        currency: settlement.due.currency.to_owned(),
        chain_id: settlement.method.network().chain_id(),
        units: "1".into(),
        unit_price: amount.clone(),
        amount,
    }
}

/// A stored payment whose transfer is out.
pub(super) struct OpenPayment<'a> {
    stored: &'a Payment,
    method: &'a ChargeMethod,
    payer: &'a Payer,
    pub transfer: &'a Transfer,
    answer: &'a str,
    goods: Option<Goods>,
    request_id: RequestId,
}

impl<'a> OpenPayment<'a> {
    /// Reads what its settlement needs; `None` when it was made on a network that is not served any more.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the payment is in another state, or its goods cannot be read.
    pub(super) fn read(charges: &'a Charges, stored: &'a Payment) -> Result<Option<Self>, StoreError> {
        let corrupt =
            |column, value: &str| StoreError::Corrupt { id: stored.id.clone(), column, value: value.into() };
        let PaymentState::Broadcast { payer, transfer, purchase } = &stored.state else {
            return Err(corrupt("state", stored.state.as_str()));
        };
        let Some(method) = charges.method(stored.method, &stored.network) else { return Ok(None) };
        let goods = purchase.goods.as_deref().map(serde_json::from_str).transpose();
        let goods = goods.map_err(|_| corrupt("goods", "(not shown)"))?;
        let request_id = RequestId::accept(Some(&stored.request_id), stored.created_at);
        Ok(Some(Self { stored, method, payer, transfer, answer: &purchase.answer, goods, request_id }))
    }

    pub(super) fn settlement(&self) -> ChargeSettlement<'_> {
        ChargeSettlement {
            id: &self.stored.id,
            method: self.method,
            payer: self.payer,
            due: Due { amount: self.stored.amount, currency: &self.stored.currency },
            request_id: &self.request_id,
            service: &self.stored.resource,
            top_up: self.stored.top_up.as_ref(),
            answer: self.answer,
            goods: self.goods.as_ref(),
        }
    }
}

enum SettleOutcome {
    Now,
    Before,
}

#[derive(Debug)]
enum RecordError {
    /// The text is for the payer.
    NotSponsored(String),
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
            Self::NotSponsored(_) => None,
            Self::Db(error) => Some(error),
        }
    }
}

async fn credit_and_spend(
    tx: &mut Tx,
    settlement: &ChargeSettlement<'_>,
    reference: &str,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let (id, amount) = (settlement.id, settlement.due.amount);
    let account = settlement.top_up.unwrap_or(settlement.payer.account());
    let source = settlement.source(reference)?;
    let key = RequestKey::parse(&format!("charge:{id}")).map_err(|_| settlement.corrupt("id"))?;
    let topped_up = settlement.top_up.is_some();
    let credited = if topped_up {
        income::credit(tx, account, amount, &source, now).await?
    } else {
        ledger::credit(tx, account, amount, &source, now).await?
    };
    if credited == ledger::Credited::Replayed {
        return Err(LedgerError::CreditConflict(source));
    }
    if topped_up {
        return Ok(());
    }
    let details = EntryDetails {
        kind: EntryKind::Purchase,
        request_id: Some(settlement.request_id.clone()),
        service: settlement.service.to_owned(),
        units: 1,
        unit_price: amount,
        meta: serde_json::json!({ "challenge": id, "transaction": transaction_of(reference) }),
    };
    match ledger::spend(tx, account, amount, &key, &details, now).await? {
        SpendOutcome::Spent(_) => Ok(()),
        SpendOutcome::Replayed(_) => {
            Err(LedgerError::Corrupt(format!("payment {id} was charged before it was credited")))
        }
        SpendOutcome::Short { .. } => {
            Err(LedgerError::Corrupt(format!("payment {id} is not covered by its own credit")))
        }
    }
}

/// Gives the sponsor's day back the part of a payment's reservation that its fee did not use.
async fn return_unused_fee(tx: &mut Tx, id: &str, fee: Money) -> Result<(), DbError> {
    let text = "SELECT fee_limit, payer, created_at FROM payments WHERE id = $1";
    let row = tx.fetch_one(text, vec![id.into()]).await?;
    let limit = Money::from_micros(row.whole("fee_limit")?);
    let payer = row.text("payer")?;
    let created = Timestamp::from_millis(row.whole("created_at")?);
    if let Some(unused) = limit.checked_sub(fee).filter(|m| m.is_positive()) {
        sponsor::release_unused(tx, &payer, unused, created).await?;
    }
    Ok(())
}
