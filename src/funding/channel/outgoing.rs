//! Transactions about a channel: recorded before they are sent, and resolved when their outcome is known.

use alloy::network::ReceiptResponse as _;
use alloy::primitives::{Address, B256};

use super::state::{Channel, PendingTx, Phase, Reservation, TxPurpose};
use super::store::{self, TxOutcome};
use super::{ChannelError, Channels, TxFailure};
use crate::chain::{ChainReceipt, SendOutcome, SignedTransaction, fee_paid, reserve};
use crate::funding::{recover, sponsor};
use crate::id::Timestamp;
use crate::money::Money;
use crate::payments::methods::tempo::session::{ChannelId, Descriptor};

/// A transaction about a channel that is about to be sent.
pub(super) struct OutgoingTx<'a> {
    pub pending: &'a PendingTx,
    /// Descriptor of the channel that it opens; `None` when the channel exists.
    pub opens: Option<&'a Descriptor>,
    pub payer: Address,
}

impl Channels {
    /// Records a transaction before it is sent; `false` when it must not be sent now,
    /// because another one is pending.
    pub(super) async fn record_pending(
        &self,
        id: ChannelId,
        outgoing: &OutgoingTx<'_>,
        now: Timestamp,
    ) -> Result<bool, ChannelError> {
        let recorded = self
            .db
            .transaction(|mut tx| async move {
                if let Some(descriptor) = outgoing.opens
                    && !store::insert(&mut tx, id, descriptor, now).await?
                {
                    return Ok((tx, false));
                }
                let pending = outgoing.pending;
                if let (Some(reservation), Some(sponsor)) = (pending.sponsored, &self.sponsor) {
                    let payer = format!("{:#x}", outgoing.payer);
                    let reserved = sponsor.reserve(&mut tx, &payer, reservation.fee, now).await?;
                    reserved.map_err(TxFailure::Exhausted)?;
                }
                let recorded = store::set_pending(&mut tx, id, pending).await?;
                Ok::<_, TxFailure>((tx, recorded))
            })
            .await?;
        Ok(recorded)
    }

    /// Sends a recorded transaction and returns the receipt of its success.
    pub(super) async fn send(
        &self,
        id: ChannelId,
        pending: &PendingTx,
        transaction: &SignedTransaction,
        now: Timestamp,
    ) -> Result<ChainReceipt, ChannelError> {
        match self.chain.send(transaction).await {
            SendOutcome::Mined(receipt) if self.succeeded(&receipt, id)? => Ok(*receipt),
            SendOutcome::Mined(receipt) => {
                self.record_failure(id, pending, Some(&receipt), now).await?;
                Err(ChannelError::Transaction("the transaction failed on the chain".into()))
            }
            // Not believed alone: the worker reconciles it until it has expired.
            SendOutcome::Refused { reason } => {
                tracing::warn!(channel = %id, purpose = pending.purpose.as_str(), reason, "a node refused a transaction");
                Err(ChannelError::Pending)
            }
            SendOutcome::Unknown => Err(ChannelError::Pending),
        }
    }

    /// Returns true if a mined transaction about a channel succeeded. If status and
    /// events of its receipt disagree, the node contradicts itself: it stays pending.
    pub(super) fn succeeded(&self, receipt: &ChainReceipt, id: ChannelId) -> Result<bool, ChannelError> {
        let acted = reserve::acted_on(receipt, self.terms.escrow, id);
        if receipt.status() == acted {
            return Ok(acted);
        }
        tracing::error!(channel = %id, acted, "status and events of a receipt disagree");
        metrics::counter!("farebox_chain_contradictions_total").increment(1);
        Err(ChannelError::Pending)
    }

    /// Returns true if the pending transaction can never be included any more.
    pub(super) async fn has_expired(&self, pending: &PendingTx, hash: B256, now: Timestamp) -> bool {
        match pending.valid_until {
            Some(until) => recover::has_expired(&self.chain, hash, until, now).await,
            None => false,
        }
    }

    /// Records that the pending transaction failed, or expired without a receipt.
    pub(super) async fn record_failure(
        &self,
        id: ChannelId,
        pending: &PendingTx,
        receipt: Option<&ChainReceipt>,
        now: Timestamp,
    ) -> Result<(), ChannelError> {
        let Some(channel) = self.find(id).await? else {
            return Ok(());
        };
        let phase = if pending.purpose == TxPurpose::Open { Phase::Failed } else { channel.phase };
        if receipt.is_some() && matches!(pending.purpose, TxPurpose::Settle | TxPurpose::Close) {
            metrics::counter!("farebox_channel_settlements_reverted_total").increment(1);
            report_failing(&channel, &"it was reverted in its block, and has cost its fee");
        }
        let fee = fee_of(receipt);
        self.resolve(
            &channel,
            pending,
            TxOutcome { phase, deposit: channel.deposit, settled: channel.settled, fee },
            now,
        )
        .await
    }

    /// Ends the pending transaction, and releases the part of its sponsored fee that it did not use.
    pub(super) async fn resolve(
        &self,
        channel: &Channel,
        pending: &PendingTx,
        outcome: TxOutcome,
        now: Timestamp,
    ) -> Result<(), ChannelError> {
        self.db
            .transaction(|mut tx| async move {
                let resolved = store::resolve(&mut tx, channel.id, pending, outcome, now).await?;
                if let Some(Reservation { fee, at }) = pending.sponsored.filter(|_| resolved)
                    && let Some(unused) = fee.checked_sub(outcome.fee).filter(|unused| unused.is_positive())
                {
                    let payer = format!("{:#x}", channel.descriptor.payer);
                    sponsor::release_unused(&mut tx, &payer, unused, at).await?;
                }
                Ok::<_, TxFailure>((tx, ()))
            })
            .await?;
        Ok(())
    }

    /// Records a channel's state as the chain reports it.
    pub(super) async fn observe(
        &self,
        channel: &Channel,
        deposit: Money,
        settled: Money,
        close_requested_at: i64,
        now: Timestamp,
    ) -> Result<(), ChannelError> {
        let id = channel.id;
        self.db
            .transaction(|mut tx| async move {
                store::observe(&mut tx, id, deposit, settled, close_requested_at, now).await?;
                Ok::<_, TxFailure>((tx, ()))
            })
            .await?;
        Ok(())
    }
}

/// Reports that a channel could be neither settled nor closed: the worker's first failure as an error, those that follow
/// it in silence, because the metrics count them.
pub(super) fn report_failing(channel: &Channel, reason: &dyn std::fmt::Display) {
    let text = "a channel can be neither settled nor closed; it is tried again, ever more seldom. \
         See sessions.previous_operator_key";
    match channel.tries.count {
        // Its payer asked, or an operator, who is told.
        0 => tracing::warn!(channel = %channel.id, %reason, text),
        1 => tracing::error!(channel = %channel.id, %reason, text),
        _ => tracing::debug!(channel = %channel.id, %reason, text),
    }
}

/// Returns the network fee of a transaction; zero when no block has it.
pub(super) fn fee_of(receipt: Option<&ChainReceipt>) -> Money {
    receipt.and_then(fee_paid).unwrap_or(Money::ZERO)
}

/// Returns the record of a transaction that is about to be sent.
pub(super) fn pending_tx(purpose: TxPurpose, amount: Money, transaction: &SignedTransaction) -> PendingTx {
    PendingTx {
        purpose,
        amount,
        hash: format!("{:#x}", transaction.hash()),
        raw: alloy::hex::encode_prefixed(transaction.raw()),
        valid_until: transaction
            .valid_before()
            .and_then(|seconds| i64::try_from(seconds).ok()?.checked_mul(1000))
            .map(Timestamp::from_millis),
        sponsored: None,
    }
}
