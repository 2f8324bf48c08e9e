//! The driver of one-time charges: from a presented credential to a delivered
//! answer, one durable step at a time.
//!
//! ```text
//! claim -> validate -> work -> record the transfer -> execute -> settle -> deliver
//! ```
//!
//! Invariants:
//! * the answer is made before money moves and stored with the transfer, so
//!   whoever finds that it happened can hand the answer over;
//! * a transfer is written down before it leaves, so after a
//!   crash the network can be asked what became of it;
//! * credit, entry and `settled` are one database transaction;
//! * an outcome nobody knows is never answered with a new challenge.

#![expect(clippy::disallowed_methods, reason = "work takes time, so the expiry is checked again after it")]

use std::sync::Arc;

use super::goods::WorkResult;
use super::idempotency::is_for;
use super::method::{Authority, ChargeMethod, Due, MethodError, Validated};
use super::outcome::{deliver, is_final, refused};
use super::payment_lease;
use super::settle::ChargeSettlement;
use super::sponsor::Sponsor;
use super::store::{Claim, Payments, StoreError};
use super::tempo::TempoCharges;
use super::uncredited::OwedCredit;
use crate::chain::Chain;
use crate::config::Config;
use crate::id::Timestamp;
use crate::money::Money;
use crate::payments::core::payment::{self, NextStep, Presented, RefusalReason};
use crate::payments::{
    ChallengeError, Credential, Delivery, Issuer, Method, Network, Offer, Offered as _, Payer, Payment,
    RedeemError, Requirement, Submission, WorkError,
};

/// One-time charges of this server.
#[derive(Clone)]
pub struct Charges {
    pub(super) payments: Payments,
    pub(super) issuer: Issuer,
    pub(super) methods: Arc<[ChargeMethod]>,
}

/// Proof that a credential was validated and claimed for exactly this request.
/// Only [`Charges::redeem`] makes one, so work that demands it cannot run unpaid.
#[derive(Debug)]
pub struct Paid {
    payer: Payer,
    amount: Money,
    authority: Authority,
}

impl Paid {
    /// The paying party.
    #[must_use]
    pub const fn payer(&self) -> &Payer {
        &self.payer
    }

    /// The amount that was paid.
    #[must_use]
    pub const fn amount(&self) -> Money {
        self.amount
    }

    /// The authority over the payer's account that the payment was authorised with; none where the requirement does
    /// not ask for any.
    #[must_use]
    pub const fn authority(&self) -> Authority {
        self.authority
    }
}

/// A credential with the offer that it is for.
struct Redemption<'a> {
    requirement: &'a Requirement,
    credential: &'a Credential,
    offer: &'a Offer,
    method: &'a ChargeMethod,
    expires: Timestamp,
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
        let tempo = TempoCharges::new(chain, sponsor, config.payments.recipient);
        Self { payments, issuer, methods: [ChargeMethod::Tempo(Box::new(tempo))].into() }
    }

    /// The table behind the charges.
    #[must_use]
    pub const fn payments(&self) -> &Payments {
        &self.payments
    }

    /// The method that makes payments on a network; `None` when this server serves it not, or no more.
    /// An empty name is of the time when there was one network only.
    pub(super) fn method(&self, method: Method, network: &Network) -> Option<&ChargeMethod> {
        let is_it = |own: &&ChargeMethod| {
            own.id() == method && (network.as_str().is_empty() || own.network() == *network)
        };
        self.methods.iter().find(is_it)
    }

    /// The networks that payments are made on here.
    pub(super) fn networks(&self) -> Vec<Network> {
        self.methods.iter().map(ChargeMethod::network).collect()
    }

    /// Releases a settled payment whose answer was not delivered: the same credential
    /// may come again at once.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails; it may come again a little later then.
    pub async fn undelivered(&self, payment: &str) -> Result<(), StoreError> {
        self.payments.release(payment).await.map(drop)
    }

    /// Turns a credential into an answer. `work` makes the answer and runs only
    /// with a validated credential in hand, at most once at a time.
    ///
    /// Run it in a task of its own: a caller that goes away must not stop it.
    ///
    /// # Errors
    /// [`RedeemError`] says what the payer should do next.
    pub async fn redeem<E, A, F, W>(
        &self,
        requirement: &Requirement,
        credential: &Credential,
        now: Timestamp,
        work: F,
    ) -> Result<Delivery, RedeemError<E>>
    where
        F: FnOnce(Paid) -> W,
        W: Future<Output = Result<A, WorkError<E>>>,
        A: Into<WorkResult>,
    {
        let id = &credential.challenge().id;
        let Requirement { offers, resource, digest, .. } = requirement;
        let verified = match self.issuer.verify(credential.challenge(), offers, resource, digest.as_deref()) {
            Ok(verified) => verified,
            // A secret rotated away, a price or a method changed since then must not ask
            // for money again: what was paid is known by its row.
            Err(
                error @ (ChallengeError::Unsupported | ChallengeError::Foreign | ChallengeError::OtherTerms),
            ) => {
                return self.complete_known(requirement, credential, error, now).await;
            }
            Err(error) => return Err(RedeemError::Challenge(error)),
        };
        let offer = verified.offer;
        let Some(method) = self.method(offer.method(), offer.network()) else {
            return Err(RedeemError::Challenge(ChallengeError::Unsupported));
        };
        let redemption = Redemption { requirement, credential, offer, method, expires: verified.expires };
        let stored = self.payments.find(id).await?;
        let step = payment::decide(
            stored.as_ref(),
            &presented(requirement, credential, stored.as_ref(), verified.expires),
            now,
        );
        tracing::debug!(?step, "credential presented");
        let lease = payment_lease::until(now);
        match (step, stored) {
            (NextStep::Claim, _) => {
                self.claim(&redemption, lease, now).await?;
                self.holding(id, lease, self.earn(&redemption, work)).await
            }
            (NextStep::TakeOver, Some(stored)) => {
                self.take_over(&stored, requirement.idempotency_key.as_deref(), lease).await?;
                self.holding(id, lease, self.earn(&redemption, work)).await
            }
            (NextStep::Refuse(reason @ (RefusalReason::Spent | RefusalReason::UsedChallenge)), _) => {
                Err(self.credit_unused(method, credential, refused(reason), now).await)
            }
            (NextStep::Refuse(reason), _) => Err(refused(reason)),
            (NextStep::Reconcile | NextStep::Deliver | NextStep::Repeat, Some(stored)) => {
                self.complete(step, stored, now).await
            }
            (NextStep::TakeOver | NextStep::Reconcile | NextStep::Deliver | NextStep::Repeat, None) => {
                unreachable!("these steps are decided from a stored payment")
            }
        }
    }

    /// A credential whose challenge we would not issue any more. Only a payment
    /// that is under way or made goes on; nothing new begins on old terms.
    async fn complete_known<E>(
        &self,
        requirement: &Requirement,
        credential: &Credential,
        error: ChallengeError,
        now: Timestamp,
    ) -> Result<Delivery, RedeemError<E>> {
        let known = self
            .payments
            .find(&credential.challenge().id)
            .await?
            .filter(|stored| credential.is_of(&stored.fingerprint) && is_for(stored, requirement));
        let Some(stored) = known else {
            return Err(self.refuse_challenge(credential, error, now).await);
        };
        let presented = presented(requirement, credential, Some(&stored), stored.expires_at);
        match payment::decide(Some(&stored), &presented, now) {
            step @ (NextStep::Reconcile | NextStep::Deliver | NextStep::Repeat) => {
                self.complete(step, stored, now).await
            }
            NextStep::Refuse(reason) => Err(refused(reason)),
            NextStep::Claim | NextStep::TakeOver => Err(self.refuse_challenge(credential, error, now).await),
        }
    }

    /// Goes on with a payment whose transfer is out, or hands its answer over.
    async fn complete<E>(
        &self,
        step: NextStep,
        stored: Payment,
        now: Timestamp,
    ) -> Result<Delivery, RedeemError<E>> {
        if step != NextStep::Repeat {
            self.take_over(&stored, stored.idempotency_key.as_deref(), payment_lease::until(now)).await?;
        }
        if step == NextStep::Reconcile {
            let lease = payment_lease::until(now);
            return self.holding(&stored.id, lease, self.reconcile(&stored, now)).await;
        }
        deliver(stored)
    }

    async fn claim<E>(
        &self,
        redemption: &Redemption<'_>,
        lease: Timestamp,
        now: Timestamp,
    ) -> Result<(), RedeemError<E>> {
        let Redemption { requirement, credential, offer, method, expires } = redemption;
        let is_push = credential.submission() == Submission::Push;
        let pushed = is_push.then(|| method.pushed(credential)).transpose()?;
        let claim = Claim {
            pushed: pushed.as_deref(),
            id: &credential.challenge().id,
            fingerprint: credential.fingerprint(),
            method: method.id(),
            network: offer.network(),
            submission: credential.submission(),
            resource: requirement.resource.name(),
            digest: requirement.digest.as_deref().unwrap_or_default(),
            amount: offer.amount(),
            currency: offer.currency(),
            // The key becomes binding with the payer, who is known only later.
            idempotency_key: requirement.idempotency_key.as_deref(),
            request_id: requirement.request_id.as_str(),
            top_up: requirement.top_up.as_ref(),
            expires: *expires,
            lease_until: lease,
        };
        if self.payments.claim(&claim, now).await? { Ok(()) } else { Err(RedeemError::InProgress) }
    }

    async fn take_over<E>(
        &self,
        stored: &Payment,
        key: Option<&str>,
        lease: Timestamp,
    ) -> Result<(), RedeemError<E>> {
        if self.payments.take_over(stored, key, lease).await? { Ok(()) } else { Err(RedeemError::InProgress) }
    }

    /// Everything after the claim. Whatever goes wrong, the claim does not stay
    /// behind to block a retry.
    async fn earn<E, A, F, W>(&self, redemption: &Redemption<'_>, work: F) -> Result<Delivery, RedeemError<E>>
    where
        F: FnOnce(Paid) -> W,
        W: Future<Output = Result<A, WorkError<E>>>,
        A: Into<WorkResult>,
    {
        let Redemption { credential, method, .. } = redemption;
        let id = &credential.challenge().id;
        let mut error = match self.earn_claimed(redemption, work).await {
            Ok(delivery) => return Ok(delivery),
            Err(error) => error,
        };
        if is_final(&error) {
            error = self.credit_unused(method, credential, error, Timestamp::now()).await;
        }
        // Whoever pushed has paid already: its claim stays until what was paid has bought something, or is credited.
        if is_final(&error) || credential.submission() != Submission::Push {
            // Only a row still `claimed` is forgotten: the network may yet
            // contradict the node that refused a transfer.
            self.payments.forget(id).await?;
        }
        self.payments.release(id).await?;
        Err(error)
    }

    async fn earn_claimed<E, A, F, W>(
        &self,
        redemption: &Redemption<'_>,
        work: F,
    ) -> Result<Delivery, RedeemError<E>>
    where
        F: FnOnce(Paid) -> W,
        W: Future<Output = Result<A, WorkError<E>>>,
        A: Into<WorkResult>,
    {
        let Redemption { requirement, credential, offer, method, expires } = redemption;
        let validated = match method.validate(credential, offer, *expires, Timestamp::now()).await {
            Err(MethodError::HeldBack(held)) => {
                let id = &credential.challenge().id;
                let owed = OwedCredit {
                    account: requirement.top_up.as_ref().unwrap_or(held.payer.account()),
                    amount: offer.amount(),
                };
                return self.hold_back(id, &held, owed, None, Timestamp::now()).await;
            }
            Err(MethodError::Unbound(detail)) => {
                let reference = method.pushed(credential)?;
                return Err(match self.payments.find_reference(&reference).await? {
                    Some(paid) => RedeemError::Spent(format!(
                        "this transaction paid for the challenge {}; present it with that one",
                        paid.id
                    )),
                    None => RedeemError::Invalid(detail),
                });
            }
            validated => validated?,
        };
        let Validated { payer, transfer: pushed, surplus } = validated;
        if let Some(made) = &pushed {
            self.refuse_used(method, made).await?;
        }
        let authority = if requirement.gives_authority {
            method.authority(credential, offer, &payer).await?
        } else {
            Authority::Nothing
        };
        if let Some(earlier) = self.same_key(requirement, credential, &payer).await? {
            // What was bought before is handed to nobody who could not have bought it.
            if requirement.gives_authority && authority != Authority::Full {
                return Err(RedeemError::KeyReused);
            }
            return deliver(earlier);
        }
        if requirement.is_costly && credential.submission() == Submission::Pull {
            // Who cannot pay gets no work done. What is sent is looked at again after it.
            method.prepare(credential, offer, Timestamp::now()).await?;
        }
        let paid = Paid { payer: payer.clone(), amount: offer.amount(), authority };
        let made: WorkResult = work(paid).await.map_err(RedeemError::Work)?.into();
        let settlement = ChargeSettlement {
            id: &credential.challenge().id,
            method,
            payer: &payer,
            due: Due { amount: offer.amount(), currency: offer.currency() },
            request_id: &requirement.request_id,
            service: requirement.service,
            top_up: requirement.top_up.as_ref(),
            answer: &made.answer,
            goods: made.goods.as_ref(),
        };
        match credential.submission() {
            Submission::Pull => {
                let transfer = method.prepare(credential, offer, Timestamp::now()).await?;
                if *expires <= Timestamp::now() {
                    return Err(RedeemError::Expired);
                }
                self.record(&settlement, &transfer).await?;
                self.execute(&settlement, &transfer).await
            }
            Submission::Push => {
                let made = pushed.ok_or(RedeemError::Pending)?;
                let settled = self.settle(&settlement, Some(&made.reference), None, Timestamp::now()).await;
                if settled.is_ok() {
                    self.credit_surplus(method, surplus, Timestamp::now()).await;
                }
                settled
            }
            Submission::Proof => {
                if *expires <= Timestamp::now() {
                    return Err(RedeemError::Expired);
                }
                self.settle(&settlement, None, None, Timestamp::now()).await
            }
        }
    }
}

fn presented<'a>(
    requirement: &'a Requirement,
    credential: &Credential,
    stored: Option<&Payment>,
    expires: Timestamp,
) -> Presented<'a> {
    Presented {
        is_same: stored.is_some_and(|stored| credential.is_of(&stored.fingerprint)),
        submission: credential.submission(),
        idempotency_key: requirement.idempotency_key.as_deref(),
        expires,
    }
}
