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
use std::time::Duration;

use alloy::primitives::Address;
use mpp::protocol::traits::ChargeMethod as _;
use mpp::server::TempoChargeMethod;

use super::goods::Made;
use super::outcome::{Delivery, Denied, deliver, invalid, refused};
use super::payment::{self, Payment, Presented, Step};
use super::payment_lease;
use super::settle::Settling;
use super::sponsor::{self, Sponsor};
use super::store::{Claim, Payments, StoreError};
use crate::chain::{Chain, Provider, SignedTransaction, SimulationOutcome};
use crate::config::Config;
use crate::id::{AccountId, RequestId, Timestamp};
use crate::money::Money;
use crate::mpp::{Credential, Issuer, Offer, Proof, Refusal, Route};

/// How long a request waits for a pushed transaction's block.
const PUSH_WAIT: Duration = Duration::from_secs(4);

/// One-time charges on Tempo.
#[derive(Clone)]
pub struct Charges {
    pub(super) payments: Payments,
    pub(super) chain: Chain,
    pub(super) sponsor: Option<Sponsor>,
    pub(super) recipient: Address,
    issuer: Issuer,
    verifier: TempoChargeMethod<Provider>,
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
    /// The account that is topped up; none when an answer is bought.
    pub account: Option<AccountId>,
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
        Self { payments, chain, issuer, verifier, sponsor, recipient: config.payments.recipient }
    }

    /// The table behind the charges.
    #[must_use]
    pub fn payments(&self) -> &Payments {
        &self.payments
    }

    /// The answer to a settled payment was not delivered: the same credential
    /// may come again at once.
    ///
    /// # Errors
    /// When the database cannot be written; it may come again a little later then.
    pub async fn undelivered(&self, payment: &str) -> Result<(), StoreError> {
        self.payments.release(payment).await.map(drop)
    }

    /// Turns a credential into an answer. `work` makes the answer and runs only
    /// with a validated credential in hand, at most once at a time.
    ///
    /// Run it in a task of its own: a caller that goes away must not stop it.
    ///
    /// # Errors
    /// [`Denied`] says what the payer should do next.
    pub async fn redeem<E, A, F, W>(
        &self,
        order: &Order,
        credential: &Credential,
        now: Timestamp,
        work: F,
    ) -> Result<Delivery, Denied<E>>
    where
        F: FnOnce(Paid) -> W,
        W: Future<Output = Result<A, E>>,
        A: Into<Made>,
    {
        let id = &credential.challenge().id;
        let verified =
            self.issuer.verify(credential.challenge(), &order.offers, &order.route, order.digest.as_deref());
        let (offer, expires) = match verified {
            Ok(verified) => (verified.offer, verified.expires),
            // A secret rotated away or a price changed since then must not ask
            // for money again: what was paid is known by its row.
            Err(refusal @ (Refusal::Foreign | Refusal::OtherTerms)) => {
                return self.complete_known(order, credential, refusal, now).await;
            }
            Err(refusal) => return Err(Denied::Challenge(refusal)),
        };
        let stored = self.payments.find(id).await?;
        let step = payment::decide(stored.as_ref(), &presented(order, credential, expires), now);
        tracing::debug!(?step, "credential presented");
        let lease = payment_lease::until(now);
        match (step, stored) {
            (Step::Claim, _) => {
                self.claim(order, credential, offer, expires, lease, now).await?;
                self.holding(id, lease, self.earn(order, credential, offer, expires, work)).await
            }
            (Step::TakeOver, Some(stored)) => {
                self.take_over(&stored, order.idempotency_key.as_deref(), lease).await?;
                self.holding(id, lease, self.earn(order, credential, offer, expires, work)).await
            }
            (Step::Refuse(why), _) => Err(refused(why)),
            (Step::Reconcile | Step::Deliver | Step::Repeat, Some(stored)) => {
                self.complete(step, stored, now).await
            }
            (Step::TakeOver | Step::Reconcile | Step::Deliver | Step::Repeat, None) => {
                unreachable!("these steps are decided from a stored payment")
            }
        }
    }

    /// A credential whose challenge we would not issue any more. Only a payment
    /// that is under way or made goes on; nothing new begins on old terms.
    async fn complete_known<E>(
        &self,
        order: &Order,
        credential: &Credential,
        refusal: Refusal,
        now: Timestamp,
    ) -> Result<Delivery, Denied<E>> {
        let known = self.payments.find(&credential.challenge().id).await?.filter(|stored| {
            stored.fingerprint == credential.fingerprint()
                && stored.route == order.route.name()
                && stored.digest == order.digest.as_deref().unwrap_or_default()
        });
        let Some(stored) = known else {
            return Err(Denied::Challenge(refusal));
        };
        match payment::decide(Some(&stored), &presented(order, credential, stored.expires_at), now) {
            step @ (Step::Reconcile | Step::Deliver | Step::Repeat) => self.complete(step, stored, now).await,
            Step::Refuse(why) => Err(refused(why)),
            Step::Claim | Step::TakeOver => Err(Denied::Challenge(refusal)),
        }
    }

    /// Goes on with a payment whose transaction is out, or hands its answer over.
    async fn complete<E>(&self, step: Step, stored: Payment, now: Timestamp) -> Result<Delivery, Denied<E>> {
        if step != Step::Repeat {
            self.take_over(&stored, stored.idempotency_key.as_deref(), payment_lease::until(now)).await?;
        }
        if step == Step::Reconcile {
            return self.holding(&stored.id, payment_lease::until(now), self.reconcile(&stored, now)).await;
        }
        deliver(stored)
    }

    async fn claim<E>(
        &self,
        order: &Order,
        credential: &Credential,
        offer: &Offer,
        expires: Timestamp,
        lease: Timestamp,
        now: Timestamp,
    ) -> Result<(), Denied<E>> {
        let claim = Claim {
            id: &credential.challenge().id,
            fingerprint: credential.fingerprint(),
            proof: credential.proof(),
            route: order.route.name(),
            digest: order.digest.as_deref().unwrap_or_default(),
            amount: offer.amount(),
            currency: &format!("{:#x}", offer.currency()),
            // The key becomes binding with the payer, who is known only later.
            idempotency_key: order.idempotency_key.as_deref(),
            request_id: order.request_id.as_str(),
            account: order.account.as_ref(),
            expires,
            lease_until: lease,
        };
        if self.payments.claim(&claim, now).await? { Ok(()) } else { Err(Denied::InProgress) }
    }

    async fn take_over<E>(
        &self,
        stored: &Payment,
        key: Option<&str>,
        lease: Timestamp,
    ) -> Result<(), Denied<E>> {
        if self.payments.take_over(stored, key, lease).await? { Ok(()) } else { Err(Denied::InProgress) }
    }

    /// Everything after the claim. Whatever goes wrong, the claim does not stay
    /// behind to block a retry.
    async fn earn<E, A, F, W>(
        &self,
        order: &Order,
        credential: &Credential,
        offer: &Offer,
        expires: Timestamp,
        work: F,
    ) -> Result<Delivery, Denied<E>>
    where
        F: FnOnce(Paid) -> W,
        W: Future<Output = Result<A, E>>,
        A: Into<Made>,
    {
        let id = &credential.challenge().id;
        let result = self.earn_claimed(order, credential, offer, expires, work).await;
        if let Err(denied) = &result {
            // Whoever pushed has paid already. Unless that payment is known to
            // be no good, its claim stays, so that it can come back after the
            // challenge's expiry.
            let no_good = matches!(denied, Denied::Invalid(_) | Denied::Spent(_) | Denied::Expired);
            if no_good || credential.proof() != Proof::Hash {
                // Only a row still `claimed` is forgotten: the chain may yet
                // contradict the node that refused a broadcast.
                self.payments.forget(id).await?;
            }
            self.payments.release(id).await?;
        }
        result
    }

    async fn earn_claimed<E, A, F, W>(
        &self,
        order: &Order,
        credential: &Credential,
        offer: &Offer,
        expires: Timestamp,
        work: F,
    ) -> Result<Delivery, Denied<E>>
    where
        F: FnOnce(Paid) -> W,
        W: Future<Output = Result<A, E>>,
        A: Into<Made>,
    {
        let payer = self.validate(credential, offer).await?;
        if let Some(earlier) = self.same_key(order, credential, payer).await? {
            return deliver(earlier);
        }
        let paid = Paid { payer, amount: offer.amount() };
        let made: Made = work(paid).await.map_err(Denied::Work)?.into();
        let settling = Settling {
            id: &credential.challenge().id,
            payer,
            amount: offer.amount(),
            currency: offer.currency(),
            request_id: &order.request_id,
            service: order.service,
            account: order.account.as_ref(),
            answer: &made.answer,
            goods: made.goods.as_ref(),
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
    async fn validate<E>(&self, credential: &Credential, offer: &Offer) -> Result<Address, Denied<E>> {
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
        // The verifier keeps the first chain id it hears: it must not be a wrong one.
        if let Err(error) = self.chain.confirm().await {
            tracing::warn!(%error, "payment cannot be verified");
            return Err(Denied::Unavailable("the chain"));
        }
        if credential.proof() == Proof::Hash {
            // A pushed transaction may be a moment away from its block.
            let hash =
                credential.payload().data().parse().map_err(|_| {
                    Denied::Invalid("the transaction hash is not 0x and 64 hex digits".into())
                })?;
            if !matches!(self.chain.await_receipt(hash, PUSH_WAIT).await, Ok(Some(_))) {
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

    fn prepare<E>(&self, credential: &Credential, offer: &Offer) -> Result<SignedTransaction, Denied<E>> {
        sponsor::ready(self.sponsor.as_ref(), credential.payload().data(), offer.is_sponsored())
            .map_err(|error| Denied::Invalid(error.to_string()))
    }

    /// A transaction that would fail in its block would cost its fee for
    /// nothing, the payer's or ours.
    async fn refuse_reverting<E>(&self, transaction: &SignedTransaction) -> Result<(), Denied<E>> {
        match self.chain.simulate(transaction).await {
            Ok(SimulationOutcome::Succeeds) => Ok(()),
            Ok(SimulationOutcome::Insufficient) => Err(Denied::Insufficient(
                "the account's token balance does not cover the amount; nothing was sent".into(),
            )),
            Ok(SimulationOutcome::Reverts(reason)) => Err(Denied::Invalid(format!(
                "the transaction would fail on the chain ({reason}); nothing was sent"
            ))),
            Err(error) => {
                tracing::warn!(%error, "transaction cannot be simulated");
                Err(Denied::Unavailable("the chain"))
            }
        }
    }
}

fn presented<'a>(order: &'a Order, credential: &'a Credential, expires: Timestamp) -> Presented<'a> {
    Presented {
        fingerprint: credential.fingerprint(),
        proof: credential.proof(),
        idempotency_key: order.idempotency_key.as_deref(),
        expires,
    }
}
