//! Payments that were made and cannot buy what they were made for: they came too late, the terms are others by now, the
//! challenge was paid twice, or the work cannot be done. Whatever a payer has sent for a challenge of this server is
//! credit of its wallet then, once ([`income`]).
//!
//! That a transfer has been used nothing stores: a payment is settled by it, or its source has been credited.

use super::charge::Charges;
use super::income;
use super::method::{ChargeMethod, MethodError, PushedTransfer};
use super::settle::source;
use super::store::StoreError;
use crate::id::Timestamp;
use crate::ledger::{Credited, LedgerError};
use crate::money::Money;
use crate::payments::core::payment::transaction_of;
use crate::payments::{ChallengeError, Credential, Payer, Payment, RedeemError, Submission};

/// Use of a transfer by payments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TransferUse {
    None,
    /// A payment whose transaction is on its way may be settled by it.
    Perhaps,
    Paid,
}

impl Charges {
    /// Credits what a credential's payer has sent for its challenge, where a refusal would leave it without; `because`
    /// is why it buys nothing. The caller knows that the challenge is of this server.
    pub(super) async fn credit_unused<E>(
        &self,
        method: &ChargeMethod,
        credential: &Credential,
        because: RedeemError<E>,
        now: Timestamp,
    ) -> RedeemError<E> {
        if credential.submission() != Submission::Push {
            return because;
        }
        let transfers = match method.pushed_transfers(credential).await {
            Ok(transfers) => transfers,
            // What is not on the chain is not there to be credited, and may be the next time.
            Err(MethodError::Pending) => return because,
            Err(error @ MethodError::Unavailable(_)) => return error.into(),
            Err(error) => {
                tracing::debug!(?error, "no transfers are known of a refused payment");
                return because;
            }
        };
        match self.credit_each(method, transfers, now).await {
            Ok(Some((wallet, amount))) => {
                RedeemError::Credited { because: Box::new(because), wallet: wallet.name().to_owned(), amount }
            }
            Ok(None) => because,
            Err(error) => {
                tracing::error!(challenge = credential.challenge().id, %error, "an unused payment cannot be credited");
                RedeemError::Unavailable("the ledger")
            }
        }
    }

    /// Credits what was sent for a challenge beyond its payment. The same credential presented again does it too.
    pub(super) async fn credit_surplus(
        &self,
        method: &ChargeMethod,
        surplus: Vec<PushedTransfer>,
        now: Timestamp,
    ) {
        if let Err(error) = self.credit_each(method, surplus, now).await {
            tracing::error!(%error, "what was paid beyond the price cannot be credited yet");
        }
    }

    /// Credits transfers that no payment is settled by. Returns to whom, and how much it is together; credit of an
    /// earlier time counts.
    async fn credit_each(
        &self,
        method: &ChargeMethod,
        transfers: Vec<PushedTransfer>,
        now: Timestamp,
    ) -> Result<Option<(Payer, Money)>, StoreError> {
        let mut credited: Option<(Payer, Money)> = None;
        for PushedTransfer { reference, payer, amount } in transfers {
            if self.use_of(&reference).await? != TransferUse::None {
                continue;
            }
            let source = source(method.id(), &reference)?;
            let (account, from) = (payer.account(), &source);
            let done = self.payments.db().transaction(|mut tx| async move {
                let done = income::credit(&mut tx, account, amount, from, now).await?;
                Ok::<_, LedgerError>((tx, done))
            });
            let done = match done.await {
                // Whoever has it, it is not without an owner.
                Err(LedgerError::CreditConflict(_)) => continue,
                done => done?,
            };
            if done == Credited::Applied {
                tracing::info!(payer = payer.name(), %amount, reference, "an unused payment is credited");
                metrics::counter!("farebox_payments_unused_total").increment(1);
            }
            let sum = credited.take().map_or(Money::ZERO, |(_, sum)| sum);
            credited = Some((payer, sum.checked_add(amount).unwrap_or(sum)));
        }
        Ok(credited)
    }

    /// Use of a transfer by payments.
    pub(super) async fn use_of(&self, reference: &str) -> Result<TransferUse, StoreError> {
        let transaction = transaction_of(reference);
        Ok(match self.payments.find_transaction(transaction).await? {
            Some(payment) if payment.state.as_str() == "broadcast" => TransferUse::Perhaps,
            Some(_) => TransferUse::Paid,
            None if self.payments.find_reference(reference).await?.is_some() => TransferUse::Paid,
            None => TransferUse::None,
        })
    }

    /// Refuses a transfer that has been used, for a payment or as credit.
    pub(super) async fn refuse_used<E>(
        &self,
        method: &ChargeMethod,
        made: &PushedTransfer,
    ) -> Result<(), RedeemError<E>> {
        let source = source(method.id(), &made.reference).map_err(StoreError::from)?;
        match self.use_of(&made.reference).await? {
            TransferUse::None if !self.payments.is_credited(&source).await? => Ok(()),
            TransferUse::Perhaps => Err(RedeemError::Pending),
            TransferUse::None | TransferUse::Paid => {
                Err(RedeemError::Spent("this transaction has been used".into()))
            }
        }
    }

    /// The refusal of a credential whose challenge is not good any more, after what was paid for it is credited.
    pub(super) async fn refuse_challenge<E>(
        &self,
        credential: &Credential,
        error: ChallengeError,
        now: Timestamp,
    ) -> RedeemError<E> {
        let because = RedeemError::Challenge(error);
        // One for another request or another body still buys that.
        let is_stale = matches!(error, ChallengeError::OtherTerms | ChallengeError::Unsupported);
        if !is_stale || !self.issuer.has_issued(credential.challenge()) {
            return because;
        }
        let mut refusal = because;
        for method in self.methods.iter() {
            if matches!(refusal, RedeemError::Credited { .. }) {
                break;
            }
            refusal = self.credit_unused(method, credential, refusal, now).await;
        }
        refusal
    }

    /// Ends a claim that nobody has come back for: what it names is credited if it was paid. False while that is not
    /// known.
    ///
    /// # Errors
    /// If the table or the ledger cannot be written.
    pub(super) async fn end_claim(&self, claim: &Payment, now: Timestamp) -> Result<bool, StoreError> {
        let Some(method) = self.method(claim.method, &claim.network) else { return Ok(false) };
        match method.claimed_transfers(self.issuer.realm(), claim).await {
            Ok(transfers) => {
                self.credit_each(method, transfers, now).await?;
            }
            Err(error) => {
                tracing::warn!(payment = claim.id, ?error, "a claim cannot be looked up");
                return Ok(false);
            }
        }
        self.payments.forget(&claim.id).await
    }
}
