//! Charges that the payer has paid itself, before it presented the credential (draft-tempo-charge-00, "Hash
//! Settlement"): which transfers of a transaction were made for a challenge, and if they pay it.
//!
//! A transfer is for the challenge that its memo names ("Challenge-Bound Memos"), so one transaction can pay several.
//! Whatever was paid for a challenge of this server and cannot buy what it offers is credit of its payer's wallet:
//! that decides the driver, which is told here what there is.

use std::time::Duration;

use alloy::network::ReceiptResponse as _;
use alloy::primitives::{Address, B256};
use mpp::protocol::intents::ChargeRequest;

use super::{Binding, TempoCharges, unavailable};
use crate::chain::{ChainReceipt, TransferResult, memo_transfers};
use crate::funding::method::{Due, HeldBack, MethodError, PushedTransfer, Validated};
use crate::id::Timestamp;
use crate::money::Money;
use crate::payments::methods::tempo::{self, SubmissionMode};
use crate::payments::{Credential, Offer, Payer, Payment};

/// Longest wait of a request for a pushed transaction's block.
const PUSH_WAIT: Duration = Duration::from_secs(4);

impl TempoCharges {
    /// The hash of the transaction that a credential names, in the one form in which it is stored.
    pub(in crate::funding) fn pushed(credential: &Credential) -> Result<String, MethodError> {
        let hash: B256 = super::payload(credential)?
            .data()
            .parse()
            .map_err(|_| MethodError::Invalid("the transaction hash is not 0x and 64 hex digits".into()))?;
        Ok(format!("{hash:#x}"))
    }

    /// Checks the pushed payment of an offer, which expires at `expires` by the time of blocks.
    pub(super) async fn validate_push(
        &self,
        credential: &Credential,
        offer: &Offer,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<Validated, MethodError> {
        let invalid = |detail: &str| Err(MethodError::Invalid(detail.to_owned()));
        if offer.is_sponsored() {
            // A sponsored charge cannot have been broadcast by the payer.
            return invalid("a sponsored charge is paid with a transaction credential, not with a hash");
        }
        if !accepts_push(offer) {
            return invalid("this server takes a signed transaction, not a hash: see supportedModes");
        }
        let receipt = self.await_push(credential, expires, now).await?;
        if !receipt.status() {
            return invalid("the transaction failed on the chain; nothing was paid");
        }
        let due = Due { amount: offer.amount(), currency: offer.currency() };
        if let TransferResult::HeldBack(blocked) = self.result(&receipt, due)
            && let Some(payer) = self.payer_of_blocked(credential, &blocked)
        {
            let (reference, claim) = (Self::pushed(credential)?, alloy::hex::encode_prefixed(&blocked.claim));
            return Err(MethodError::HeldBack(HeldBack { payer, reference, claim }));
        }
        let Ok(currency) = offer.currency().parse() else {
            return invalid("the offer is not a charge on Tempo");
        };
        let mut made = bound_transfers(&receipt, &Binding::of(credential), currency, self.recipient);
        if made.is_empty() {
            let detail = "the transaction has no transfer to the recipient with the memo of this challenge";
            return Err(MethodError::Unbound(detail.into()));
        }
        if made.iter().any(|transfer| !self.is_source(credential, transfer.payer.name())) {
            return invalid(
                "the transfer was not made by the account that the credential names as its source",
            );
        }
        if expires <= now && self.mined_after(&receipt, expires).await? {
            return invalid("the payment was mined after its challenge had expired");
        }
        let Some(paid) = made.iter().position(|transfer| transfer.amount == offer.amount()) else {
            let amount = offer.amount().to_dollars();
            return invalid(&format!("the payment is not of the amount that was asked for, ${amount}"));
        };
        let paid = made.remove(paid);
        Ok(Validated { payer: paid.payer.clone(), transfer: Some(paid), surplus: made })
    }

    /// The transfers that a pushed transaction made for the credential's challenge, on that challenge's own terms.
    /// Only for a challenge that this server has issued.
    pub(in crate::funding) async fn pushed_transfers(
        &self,
        credential: &Credential,
    ) -> Result<Vec<PushedTransfer>, MethodError> {
        let hash = Self::pushed(credential)?;
        let terms = credential.challenge().request.decode::<ChargeRequest>().ok();
        let chain = |terms: &ChargeRequest| terms.method_details.as_ref()?.get("chainId")?.as_u64();
        // For nothing nobody pays.
        let terms = terms.filter(|terms| chain(terms) == Some(self.chain.chain_id()) && terms.amount != "0");
        let parties = terms.and_then(|terms| {
            Some((terms.currency.parse().ok()?, terms.recipient?.parse::<Address>().ok()?))
        });
        let Some((currency, recipient)) = parties else { return Ok(Vec::new()) };
        let hash = hash.parse().expect("a hash as it is written here");
        let receipt = self.chain.receipt(hash).await.map_err(|error| unavailable(&error))?;
        let receipt = receipt.ok_or(MethodError::Pending)?;
        let made = bound_transfers(&receipt, &Binding::of(credential), currency, recipient);
        // Nobody speaks for an account but itself.
        let is_named = |transfer: &PushedTransfer| self.is_source(credential, transfer.payer.name());
        Ok(made.into_iter().filter(is_named).collect())
    }

    /// The transfers that the transaction of a stored claim made for its challenge; none if it is in no block, for the
    /// time in which it would have paid is long over.
    pub(in crate::funding) async fn claimed_transfers(
        &self,
        realm: &str,
        claim: &Payment,
    ) -> Result<Vec<PushedTransfer>, MethodError> {
        let hash = claim.pushed.as_deref().and_then(|hash| hash.parse().ok());
        let Some((hash, currency)) = hash.zip(claim.currency.parse().ok()) else { return Ok(Vec::new()) };
        let receipt = self.chain.receipt(hash).await.map_err(|error| unavailable(&error))?;
        let binding = Binding { realm, challenge: &claim.id };
        let made = |receipt| bound_transfers(&receipt, &binding, currency, self.recipient);
        Ok(receipt.map_or_else(Vec::new, made))
    }

    /// Waits for a pushed transaction, which may be a moment away from its block.
    async fn await_push(
        &self,
        credential: &Credential,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<ChainReceipt, MethodError> {
        let hash = Self::pushed(credential)?.parse().expect("a hash as it is written here");
        // Whatever is mined now is too late.
        let wait = if expires <= now { Duration::ZERO } else { PUSH_WAIT };
        if let Ok(Some(receipt)) = self.chain.await_receipt(hash, wait).await {
            return Ok(receipt);
        }
        let last = u64::try_from(expires.seconds()).unwrap_or(0);
        match self.chain.never_included(hash, last).await {
            Ok(true) => Err(MethodError::Expired),
            Ok(false) => Err(MethodError::Pending),
            Err(error) => {
                tracing::warn!(%error, "a pushed transaction cannot be looked up");
                Err(MethodError::Pending)
            }
        }
    }

    /// True if a transaction is in a block of after `expires`.
    async fn mined_after(&self, receipt: &ChainReceipt, expires: Timestamp) -> Result<bool, MethodError> {
        let mined = self.chain.mined_at(receipt).await.map_err(|error| unavailable(&error))?;
        Ok(i64::try_from(mined).unwrap_or(i64::MAX) > expires.seconds())
    }
}

/// True if an offer can be paid by the payer itself ("Submission Modes").
fn accepts_push(offer: &Offer) -> bool {
    let details = tempo::charge_request(offer).and_then(|request| request.method_details);
    let modes = details.as_ref().and_then(|details| details.get("supportedModes")?.as_array());
    modes.is_none_or(|modes| modes.iter().any(|mode| mode == SubmissionMode::Push.as_str()))
}

/// The transfers of `currency` to `recipient` that are for a challenge.
fn bound_transfers(
    receipt: &ChainReceipt,
    binding: &Binding<'_>,
    currency: Address,
    recipient: Address,
) -> Vec<PushedTransfer> {
    let transaction = receipt.transaction_hash();
    memo_transfers(receipt, currency, recipient)
        .filter(|made| binding.names(&made.memo))
        .filter_map(|made| {
            let amount = i64::try_from(made.amount).ok().map(Money::from_micros)?;
            Some(PushedTransfer {
                reference: name(transaction, made.position),
                payer: Payer::wallet(&format!("{:#x}", made.payer)).ok()?,
                amount,
            })
        })
        .filter(|made| made.amount.is_positive())
        .collect()
}

/// The name of a transfer: its transaction's hash, and the position of its event there. Every transfer has one name, in
/// whatever way it is submitted. Payments that were settled by 0.1.0 are named by the hash alone, as are those whose
/// transaction is on its way.
pub(super) fn name(transaction: B256, position: usize) -> String {
    format!("{transaction:#x}:{position}")
}
