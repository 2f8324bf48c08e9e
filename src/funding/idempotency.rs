//! Idempotency keys of charges: one key of a payer buys one answer.

use super::charge::Charges;
use crate::payments::{Credential, Payer, Payment, PaymentState, RedeemError, Requirement, Submission};

impl Charges {
    /// The payment this payer made before under the same idempotency key.
    pub(super) async fn same_key<E>(
        &self,
        requirement: &Requirement,
        credential: &Credential,
        payer: &Payer,
    ) -> Result<Option<Payment>, RedeemError<E>> {
        let Some(key) = &requirement.idempotency_key else {
            return Ok(None);
        };
        let Some(earlier) = self.payments.find_key(payer, key).await? else {
            return Ok(None);
        };
        if earlier.id == credential.challenge().id {
            return Ok(None);
        }
        if !is_for(&earlier, requirement) {
            return Err(RedeemError::KeyReused);
        }
        match (credential.submission(), &earlier.state) {
            // A second transfer that has happened already is not covered
            // by the first one's answer; it buys an answer of its own.
            (Submission::Push, _) => Err(RedeemError::KeyReused),
            (_, PaymentState::Settled(settled) | PaymentState::Delivered(settled))
                if settled.answer.is_some() =>
            {
                Ok(Some(earlier))
            }
            _ => Err(RedeemError::InProgress),
        }
    }
}

/// True if a stored payment was made for this very request.
pub(super) fn is_for(stored: &Payment, requirement: &Requirement) -> bool {
    stored.resource == requirement.resource.name()
        && stored.digest == requirement.digest.as_deref().unwrap_or_default()
}
