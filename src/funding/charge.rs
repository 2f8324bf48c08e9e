//! The driver of one-time charges: from a presented credential to a delivered
//! answer, one durable step at a time.
//!
//! ```text
//! claim -> validate -> work -> record the transaction -> broadcast -> settle -> deliver
//! ```
//!
//! Invariants:
//! * the answer is made before money moves and stored with the transaction, so
//!   whoever finds the transaction mined can hand the answer over;
//! * the bytes of a transaction are written down before they leave, so after a
//!   crash the chain can be asked what became of them;
//! * credit, entry and `settled` are one database transaction;
//! * an outcome nobody knows is never answered with a new challenge.

use std::sync::Arc;

use alloy::network::ReceiptResponse as _;
use alloy::primitives::Address;
use mpp::protocol::traits::{ChargeMethod as _, ErrorCode, VerificationError};
use mpp::server::TempoChargeMethod;

use super::payment::{self, Payment, Presented, Step, Why};
use super::sponsor::{self, Exhausted, Sponsor};
use super::store::{self, Claim, Dispatch, Payments, StoreError};
use crate::chain::{Chain, ChainReceipt, Provider, Sent, SignedTransaction, Verdict};
use crate::config::Config;
use crate::db::{DbError, TxError};
use crate::id::{AccountId, RequestId, RequestKey, SourceRef, Timestamp};
use crate::ledger::{self, EntryDetails, EntryKind, LedgerError, SpendOutcome};
use crate::money::Money;
use crate::mpp::{Credential, Issuer, Offer, Proof, Receipt, Refusal, Route};

/// How much longer than the wait for the chain a lease lasts: time for the work
/// and the database.
const LEASE_MARGIN_MS: i64 = 15_000;

/// One-time charges on Tempo.
#[derive(Clone)]
pub struct Charges {
    payments: Payments,
    chain: Chain,
    issuer: Issuer,
    verifier: TempoChargeMethod<Provider>,
    sponsor: Option<Sponsor>,
    currency: Address,
    recipient: Address,
    lease_ms: i64,
}

/// What a request wants to buy.
#[derive(Debug, Clone)]
pub struct Order {
    pub route: Route,
    /// RFC 9530 digest of the request body.
    pub digest: Option<String>,
    /// Every offer this route makes; a credential must be for one of them.
    pub offers: Arc<[Offer]>,
    /// The ledger's name of what is sold.
    pub service: &'static str,
    pub request_id: RequestId,
    pub idempotency_key: Option<String>,
}

/// Proof that a credential was validated and claimed for exactly this request.
/// Only [`Charges::redeem`] makes one, so work that demands it cannot run unpaid.
#[derive(Debug)]
pub struct Paid {
    payer: Address,
    amount: Money,
}

impl Paid {
    /// The paying account.
    #[must_use]
    pub fn payer(&self) -> Address {
        self.payer
    }

    #[must_use]
    pub fn amount(&self) -> Money {
        self.amount
    }
}

/// A paid answer, ready to leave.
#[derive(Debug)]
pub struct Delivery {
    /// The payment, to be marked once the answer left.
    pub payment: String,
    pub answer: String,
    /// The value of the `Payment-Receipt` header.
    pub receipt: String,
}

/// Why there is no answer. Nothing was lost: what was paid stays paid and can
/// be completed by sending the same request with the same credential.
#[derive(Debug)]
pub enum Denied<E> {
    /// The challenge is not good for this request. A new one may be paid.
    Challenge(Refusal),
    /// The challenge's time is over, nothing was paid with it.
    Expired,
    /// The challenge was used with another credential.
    UsedChallenge,
    /// The payment is not what was asked for, or cannot be made. Nothing was
    /// taken. The text is for the payer.
    Invalid(String),
    /// The payer's balance does not cover the amount. Nothing was taken.
    Insufficient(String),
    /// The payment has been used, or can never buy this. Asking for another
    /// would charge twice.
    Spent(String),
    /// Another request works on the same credential.
    InProgress,
    /// A transaction is out and its outcome open: send the same request again.
    Pending,
    /// The idempotency key was used for another request.
    KeyReused,
    /// Chain or database cannot be asked. Nothing was taken for this request.
    Unavailable(&'static str),
    /// The work failed; nothing was taken.
    Work(E),
}

impl<E> From<StoreError> for Denied<E> {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "payments cannot be read or written");
        Self::Unavailable("the payment records")
    }
}

impl<E> From<LedgerError> for Denied<E> {
    fn from(error: LedgerError) -> Self {
        tracing::error!(%error, "the ledger cannot be written");
        Self::Unavailable("the ledger")
    }
}

impl Charges {
    /// Wires the parts of a charge together.
    #[must_use]
    pub fn new(
        config: &Config,
        payments: Payments,
        chain: Chain,
        issuer: Issuer,
        sponsor: Option<Sponsor>,
    ) -> Self {
        let mut verifier = TempoChargeMethod::new(chain.provider().clone());
        if let Some(sponsor) = &sponsor {
            verifier = verifier
                .with_fee_payer(sponsor.signer())
                .with_fee_payer_fee_token(sponsor.fee_token())
                .with_fee_payer_allowed_fee_tokens(vec![sponsor.fee_token()])
                .with_fee_payer_policy_override(sponsor.policy());
        }
        let wait = i64::try_from(config.chain.confirm_timeout_ms).unwrap_or(i64::MAX / 2);
        Self {
            payments,
            chain,
            issuer,
            verifier,
            sponsor,
            currency: config.chain.currency,
            recipient: config.payments.recipient,
            lease_ms: wait.saturating_add(LEASE_MARGIN_MS),
        }
    }

    /// The table behind the charges.
    #[must_use]
    pub fn payments(&self) -> &Payments {
        &self.payments
    }

    pub(super) fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Turns a credential into an answer. `work` makes the answer and runs only
    /// with a validated credential in hand, at most once at a time.
    ///
    /// Run it in a task of its own: a caller that goes away must not stop it.
    ///
    /// # Errors
    /// [`Denied`] says what the payer should do next.
    pub async fn redeem<E, F, W>(
        &self,
        order: &Order,
        credential: &Credential,
        now: Timestamp,
        work: F,
    ) -> Result<Delivery, Denied<E>>
    where
        F: FnOnce(Paid) -> W,
        W: Future<Output = Result<String, E>>,
    {
        let verified = self
            .issuer
            .verify(
                credential.challenge(),
                &order.offers,
                &order.route,
                order.digest.as_deref(),
            )
            .map_err(Denied::Challenge)?;
        let presented = Presented {
            fingerprint: credential.fingerprint(),
            proof: credential.proof(),
            idempotency_key: order.idempotency_key.as_deref(),
            expires: verified.expires,
        };
        let stored = self.payments.find(&credential.challenge().id).await?;
        let step = payment::decide(stored.as_ref(), &presented, now);
        tracing::debug!(?step, "credential presented");
        match (step, stored) {
            (Step::Claim, _) => {
                self.claim(order, credential, verified.offer, verified.expires, now).await?;
                self.earn(order, credential, verified.offer, verified.expires, work).await
            }
            (Step::TakeOver, Some(stored)) => {
                self.take_over(&stored, now).await?;
                self.earn(order, credential, verified.offer, verified.expires, work).await
            }
            (Step::Reconcile, Some(stored)) => {
                self.take_over(&stored, now).await?;
                self.reconcile(&stored, now).await
            }
            (Step::Deliver | Step::Repeat, Some(stored)) => deliver(stored),
            (Step::Refuse(why), _) => Err(refused(why)),
            (Step::TakeOver | Step::Reconcile | Step::Deliver | Step::Repeat, None) => {
                unreachable!("these steps are decided from a stored payment")
            }
        }
    }

    async fn claim<E>(
        &self,
        order: &Order,
        credential: &Credential,
        offer: &Offer,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<(), Denied<E>> {
        let claim = Claim {
            id: &credential.challenge().id,
            fingerprint: credential.fingerprint(),
            proof: credential.proof(),
            route: order.route.name(),
            digest: order.digest.as_deref().unwrap_or_default(),
            amount: offer.amount(),
            // The key becomes binding with the payer, who is known only later.
            idempotency_key: order.idempotency_key.as_deref(),
            request_id: order.request_id.as_str(),
            expires,
            lease_until: self.lease(now),
        };
        if self.payments.claim(&claim, now).await? {
            Ok(())
        } else {
            Err(Denied::InProgress)
        }
    }

    pub(super) fn lease(&self, now: Timestamp) -> Timestamp {
        now.checked_add_millis(self.lease_ms).unwrap_or(now)
    }

    async fn take_over<E>(&self, stored: &Payment, now: Timestamp) -> Result<(), Denied<E>> {
        if self.payments.take_over(stored, self.lease(now)).await? {
            Ok(())
        } else {
            Err(Denied::InProgress)
        }
    }

    /// Everything after the claim. Whatever goes wrong, the claim does not stay
    /// behind to block a retry.
    async fn earn<E, F, W>(
        &self,
        order: &Order,
        credential: &Credential,
        offer: &Offer,
        expires: Timestamp,
        work: F,
    ) -> Result<Delivery, Denied<E>>
    where
        F: FnOnce(Paid) -> W,
        W: Future<Output = Result<String, E>>,
    {
        let id = &credential.challenge().id;
        let result = self.earn_claimed(order, credential, offer, expires, work).await;
        match &result {
            Ok(_) => {}
            // The payer of a push has paid already: its claim stays, so that it
            // can come back after the challenge's expiry.
            Err(Denied::Unavailable(_) | Denied::Work(_) | Denied::Pending)
                if credential.proof() == Proof::Hash =>
            {
                self.payments.release(id).await?;
            }
            Err(Denied::Pending) => {
                self.payments.release(id).await?;
            }
            Err(_) => {
                // Only a row still `claimed` is forgotten; a refused broadcast
                // keeps its row, because the chain may yet contradict the node.
                self.payments.forget(id).await?;
                self.payments.release(id).await?;
            }
        }
        result
    }

    async fn earn_claimed<E, F, W>(
        &self,
        order: &Order,
        credential: &Credential,
        offer: &Offer,
        expires: Timestamp,
        work: F,
    ) -> Result<Delivery, Denied<E>>
    where
        F: FnOnce(Paid) -> W,
        W: Future<Output = Result<String, E>>,
    {
        let payer = self.validate(credential, offer).await?;
        if let Some(earlier) = self.same_key(order, credential, payer).await? {
            return deliver(earlier);
        }
        let answer = work(Paid { payer, amount: offer.amount() })
            .await
            .map_err(Denied::Work)?;
        let settling = Settling {
            id: &credential.challenge().id,
            payer,
            amount: offer.amount(),
            request_id: &order.request_id,
            service: order.service,
            answer: &answer,
        };
        match credential.proof() {
            Proof::Transaction => {
                let transaction = self.prepare(credential, offer)?;
                self.refuse_reverting(&transaction).await?;
                if expires <= Timestamp::now() {
                    return Err(Denied::Expired);
                }
                self.record(&settling, &transaction, offer).await?;
                self.broadcast(&settling, &transaction).await
            }
            Proof::Hash => {
                let hash = credential.payload().data().to_ascii_lowercase();
                self.settle(&settling, Some(&hash), None, Timestamp::now()).await
            }
            Proof::Signature => {
                if expires <= Timestamp::now() {
                    return Err(Denied::Expired);
                }
                self.settle(&settling, None, None, Timestamp::now()).await
            }
        }
    }

    /// Checks the payment itself; returns who pays.
    async fn validate<E>(
        &self,
        credential: &Credential,
        offer: &Offer,
    ) -> Result<Address, Denied<E>> {
        // draft-tempo-charge-00, "Hash Settlement": a sponsored charge cannot
        // have been broadcast by the payer.
        if offer.is_sponsored() && credential.proof() == Proof::Hash {
            return Err(Denied::Invalid(
                "a sponsored charge is paid with a transaction credential, not with a hash".into(),
            ));
        }
        if offer.is_sponsored() && self.sponsor.is_none() {
            return Err(Denied::Invalid("this server no longer sponsors network fees".into()));
        }
        if credential.proof() == Proof::Hash {
            // A pushed transaction may be a moment away from its block.
            let hash = credential.payload().data().parse().map_err(|_| {
                Denied::Invalid("the transaction hash is not 0x and 64 hex digits".into())
            })?;
            if !matches!(
                self.chain.await_receipt(hash, PUSH_WAIT).await,
                Ok(Some(_))
            ) {
                return Err(Denied::Pending);
            }
        }
        let checked = self
            .verifier
            .validate(credential.as_wire(), offer.request())
            .await
            .map_err(|error| invalid(&error))?;
        checked
            .payer
            .as_deref()
            .and_then(|payer| payer.parse().ok())
            .ok_or_else(|| Denied::Invalid("the payment's transfers come from several accounts".into()))
    }

    /// The payment this payer made before under the same idempotency key.
    async fn same_key<E>(
        &self,
        order: &Order,
        credential: &Credential,
        payer: Address,
    ) -> Result<Option<Payment>, Denied<E>> {
        let Some(key) = &order.idempotency_key else {
            return Ok(None);
        };
        let payer = format!("{payer:#x}");
        let Some(earlier) = self.payments.find_key(&payer, key).await? else {
            return Ok(None);
        };
        if earlier.id == credential.challenge().id {
            return Ok(None);
        }
        if earlier.route != order.route.name()
            || earlier.digest != order.digest.as_deref().unwrap_or_default()
        {
            return Err(Denied::KeyReused);
        }
        match (credential.proof(), earlier.answer.is_some(), &earlier.receipt) {
            // A second transaction that is already on the chain is not covered
            // by the first one's answer; it buys an answer of its own.
            (Proof::Hash, ..) => Err(Denied::KeyReused),
            (_, true, Some(_)) => Ok(Some(earlier)),
            _ => Err(Denied::InProgress),
        }
    }

    fn prepare<E>(
        &self,
        credential: &Credential,
        offer: &Offer,
    ) -> Result<SignedTransaction, Denied<E>> {
        let payload = credential.payload();
        let signed = match (&self.sponsor, offer.is_sponsored()) {
            (Some(sponsor), true) => sponsor.sign(payload.data()),
            (_, false) | (None, true) => SignedTransaction::parse(payload.data()),
        };
        signed.map_err(|error| Denied::Invalid(error.to_string()))
    }

    /// A transaction that would fail in its block would cost its fee for
    /// nothing, the payer's or ours.
    async fn refuse_reverting<E>(&self, transaction: &SignedTransaction) -> Result<(), Denied<E>> {
        match self.chain.simulate(transaction).await {
            Ok(Verdict::Succeeds) => Ok(()),
            Ok(Verdict::Insufficient) => Err(Denied::Insufficient(
                "the account's token balance does not cover the amount; nothing was sent".into(),
            )),
            Ok(Verdict::Reverts(reason)) => Err(Denied::Invalid(format!(
                "the transaction would fail on the chain ({reason}); nothing was sent"
            ))),
            Err(error) => {
                tracing::warn!(%error, "transaction cannot be simulated");
                Err(Denied::Unavailable("the chain"))
            }
        }
    }

    /// Writes the transaction down, and reserves the sponsor's budget, before
    /// anything leaves.
    async fn record<E>(
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
            Some(_) => transaction
                .highest_fee()
                .ok_or_else(|| Denied::Invalid(Exhausted::Fee.to_string()))?,
            None => Money::ZERO,
        };
        let dispatch = &Dispatch {
            id: settling.id,
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
                    && let Err(exhausted) =
                        sponsor.reserve(&mut tx, dispatch.payer, fee_limit, now).await?
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
            Err(RecordError::Db(error)) => Err(StoreError::Db(error).into()),
        }
    }

    async fn broadcast<E>(
        &self,
        settling: &Settling<'_>,
        transaction: &SignedTransaction,
    ) -> Result<Delivery, Denied<E>> {
        match self.chain.send(transaction).await {
            Sent::Mined(receipt) => self.mined(settling, &receipt).await,
            Sent::Refused { reason } => Err(Denied::Invalid(format!(
                "the chain refused the transaction ({reason}); nothing was paid"
            ))),
            Sent::Unknown => Err(Denied::Pending),
        }
    }

    /// A transaction of ours is in a block: money moved, or it failed for good.
    pub(super) async fn mined<E>(
        &self,
        settling: &Settling<'_>,
        receipt: &ChainReceipt,
    ) -> Result<Delivery, Denied<E>> {
        let now = Timestamp::now();
        if !receipt.status() {
            self.payments.fail(settling.id, now).await?;
            return Err(refused(Why::Failed));
        }
        if !crate::chain::transferred(receipt, self.currency, self.recipient, settling.amount) {
            // The validated calls cannot succeed without this transfer: the
            // node contradicts itself. Taking no decision keeps every way open.
            tracing::error!(payment = settling.id, "mined transaction without its transfer");
            metrics::counter!("farebox_chain_contradictions_total").increment(1);
            return Err(Denied::Pending);
        }
        let hash = format!("{:#x}", receipt.transaction_hash());
        let fee = crate::chain::fee_paid(receipt);
        self.settle(settling, Some(&hash), fee, now).await
    }

    /// Credits the payer, posts the entry and marks the payment: one transaction.
    async fn settle<E>(
        &self,
        settling: &Settling<'_>,
        tx_hash: Option<&str>,
        fee: Option<Money>,
        now: Timestamp,
    ) -> Result<Delivery, Denied<E>> {
        let payer = settling.payer_text();
        let receipt = self.receipt(settling, tx_hash, now).to_header();
        let credit = tx_hash.filter(|_| settling.amount.is_positive());
        let (payer, receipt) = (payer.as_str(), receipt.as_str());
        let done = self
            .payments
            .db()
            .transaction(|mut tx| async move {
                if !store::settle(&mut tx, settling.id, payer, tx_hash, settling.answer, receipt, now).await? {
                    return Ok((tx, Settled::Before));
                }
                if let Some(hash) = credit {
                    credit_and_spend(&mut tx, settling, hash, now).await?;
                }
                if let Some(fee) = fee {
                    return_unused_fee(&mut tx, settling.id, fee).await?;
                }
                Ok::<_, LedgerError>((tx, Settled::Now))
            })
            .await;
        match done {
            Ok(Settled::Now) => {
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
            Err(error) if already_used(&error) => Err(refused(Why::Spent)),
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
            currency: format!("{:#x}", self.currency),
            chain_id: self.chain.chain_id(),
            units: "1".into(),
            unit_price: amount.clone(),
            amount,
        }
    }

    /// Finds out what became of a transaction that was handed out before, and
    /// sends the same bytes again where that can still help.
    async fn reconcile<E>(&self, stored: &Payment, now: Timestamp) -> Result<Delivery, Denied<E>> {
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
    ) -> Result<Delivery, Denied<E>> {
        let open = OpenPayment::read(stored)?;
        let settling = open.settling(stored);
        match self.chain.receipt(open.transaction.hash()).await {
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
        if super::recover::is_dead(stored, now) {
            self.payments.fail(&stored.id, now).await?;
            return Err(Denied::Expired);
        }
        Err(Denied::Pending)
    }
}

/// How long a request waits for a pushed transaction's block.
const PUSH_WAIT: std::time::Duration = std::time::Duration::from_secs(4);

/// Everything that settling a payment needs.
#[derive(Debug)]
pub(super) struct Settling<'a> {
    pub id: &'a str,
    pub payer: Address,
    pub amount: Money,
    pub request_id: &'a RequestId,
    pub service: &'a str,
    pub answer: &'a str,
}

impl Settling<'_> {
    fn payer_text(&self) -> String {
        format!("{:#x}", self.payer)
    }
}

/// A stored payment whose transaction is out.
pub(super) struct OpenPayment {
    pub transaction: SignedTransaction,
    request_id: RequestId,
    answer: String,
}

impl OpenPayment {
    pub(super) fn read(stored: &Payment) -> Result<Self, StoreError> {
        let corrupt = |column, value: &str| StoreError::Corrupt {
            id: stored.id.clone(),
            column,
            value: value.to_owned(),
        };
        let raw = stored.raw_tx.as_deref().unwrap_or_default();
        let transaction =
            SignedTransaction::parse(raw).map_err(|_| corrupt("raw_tx", "(not shown)"))?;
        let answer = stored.answer.clone().ok_or_else(|| corrupt("answer", "(none)"))?;
        Ok(Self {
            transaction,
            request_id: RequestId::accept(Some(&stored.request_id)),
            answer,
        })
    }

    pub(super) fn settling<'a>(&'a self, stored: &'a Payment) -> Settling<'a> {
        Settling {
            id: &stored.id,
            payer: self.transaction.sender(),
            amount: stored.amount,
            request_id: &self.request_id,
            service: &stored.route,
            answer: &self.answer,
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
    tx: &mut crate::db::Tx,
    settling: &Settling<'_>,
    hash: &str,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let corrupt = |what: &str| LedgerError::Corrupt(format!("{what} of payment {}", settling.id));
    let account = AccountId::wallet(&settling.payer_text()).map_err(|_| corrupt("payer"))?;
    let source = SourceRef::parse(&format!("tx:{hash}")).map_err(|_| corrupt("transaction"))?;
    let key = RequestKey::parse(&format!("charge:{}", settling.id)).map_err(|_| corrupt("id"))?;
    if ledger::credit(tx, &account, settling.amount, &source, now).await? == ledger::Credited::Replayed {
        return Err(LedgerError::CreditConflict(source));
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
        SpendOutcome::Replayed(_) => Err(LedgerError::Corrupt(format!(
            "payment {} was charged before it was credited",
            settling.id
        ))),
        SpendOutcome::Short { .. } => Err(LedgerError::Corrupt(format!(
            "payment {} is not covered by its own credit",
            settling.id
        ))),
    }
}

async fn return_unused_fee(tx: &mut crate::db::Tx, id: &str, fee: Money) -> Result<(), LedgerError> {
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

/// The transaction has been credited for another payment.
fn already_used(error: &LedgerError) -> bool {
    match error {
        LedgerError::CreditConflict(_) => true,
        LedgerError::Database(error) => match error.as_ref() {
            DbError::Sqlx(sqlx::Error::Database(error)) => error.is_unique_violation(),
            DbError::Sqlx(_) | DbError::Url(_) | DbError::Migrate(_) => false,
        },
        LedgerError::StillOpen(_)
        | LedgerError::UnknownHold(_)
        | LedgerError::Amount(_)
        | LedgerError::Overflow
        | LedgerError::Corrupt(_)
        | LedgerError::Stopped => false,
    }
}

fn deliver<E>(stored: Payment) -> Result<Delivery, Denied<E>> {
    match (stored.answer, stored.receipt) {
        (Some(answer), Some(receipt)) => Ok(Delivery {
            payment: stored.id,
            answer,
            receipt,
        }),
        _ => Err(Denied::Spent(
            "this payment was settled and its answer is no longer kept".into(),
        )),
    }
}

fn refused<E>(why: Why) -> Denied<E> {
    match why {
        Why::Expired => Denied::Expired,
        Why::InProgress => Denied::InProgress,
        Why::UsedChallenge => Denied::UsedChallenge,
        Why::Spent => Denied::Spent(
            "this credential has been used and its answer was delivered; send an Idempotency-Key \
             with a paid request to be able to fetch its answer again"
                .into(),
        ),
        Why::Failed => Denied::Invalid(
            "the transaction failed on the chain; nothing was paid, pay a new challenge".into(),
        ),
    }
}

fn invalid<E>(error: &VerificationError) -> Denied<E> {
    if error.retryable {
        return Denied::Unavailable("the chain");
    }
    match error.code {
        Some(ErrorCode::NetworkError | ErrorCode::Internal | ErrorCode::ChainIdMismatch) => {
            tracing::error!(code = ?error.code, "payment cannot be verified");
            Denied::Unavailable("the chain")
        }
        Some(ErrorCode::CredentialReplayed) => Denied::Spent(error.message.clone()),
        Some(ErrorCode::Expired) => Denied::Expired,
        _ => Denied::Invalid(error.message.clone()),
    }
}
