//! Topping up: raising a channel's deposit with the payer's transaction.

use alloy::network::ReceiptResponse as _;

use super::open::Funded;
use super::outgoing::{OutgoingTx, fee_of, pending_tx};
use super::state::{Channel, ChannelRefusal, PendingTx, Phase, TxPurpose};
use super::store::TxOutcome;
use super::{ChannelError, Channels};
use crate::chain::reserve::{self, FundingCall};
use crate::chain::{ChainReceipt, SignedTransaction};
use crate::id::Timestamp;
use crate::money::Money;
use crate::payments::methods::tempo::session::{ChannelId, Descriptor};

impl Channels {
    /// Adds to a channel's deposit with the payer's transaction. Safe to repeat.
    ///
    /// # Errors
    /// [`ChannelError`]; [`ChannelError::Pending`] when it may yet be included.
    pub async fn top_up(
        &self,
        id: ChannelId,
        descriptor: &Descriptor,
        transaction: &str,
        additional: Money,
        sponsored: bool,
        now: Timestamp,
    ) -> Result<Funded, ChannelError> {
        self.check_descriptor(descriptor, id)?;
        let channel = self.find(id).await?.ok_or(ChannelRefusal::Unknown)?;
        if channel.phase != Phase::Open {
            channel.usable()?;
        }
        let transaction = self.funding_tx(transaction, sponsored, now).await?;
        let hash = format!("{:#x}", transaction.hash());
        match FundingCall::parse(&transaction, self.terms.escrow) {
            Ok(FundingCall::TopUp { descriptor: named, additional: added })
                if named == channel.descriptor
                    && added == additional
                    && transaction.sender() == named.payer => {}
            Ok(_) => {
                return Err(ChannelError::Transaction(
                    "`transaction` does not top up the channel of `descriptor` by `additionalDeposit`".into(),
                ));
            }
            Err(error) => return Err(ChannelError::Transaction(error.to_string())),
        }
        let receipt = match self.chain.receipt(transaction.hash()).await {
            // Sent before: its outcome is on the chain, whoever asks again.
            Ok(Some(receipt)) => receipt,
            Ok(None) => self.send_top_up(&channel, &transaction, additional, sponsored, now).await?,
            Err(error) => {
                tracing::warn!(%error, "the receipt of a top-up cannot be read");
                return Err(ChannelError::Unavailable("the chain"));
            }
        };
        let channel = self.find(id).await?.ok_or(ChannelRefusal::Unknown)?;
        self.record_top_up(&channel, &receipt, now).await?;
        let channel = self.find(id).await?.ok_or(ChannelRefusal::Unknown)?;
        Ok(Funded { channel, tx_hash: Some(hash) })
    }

    /// Sends a top-up that is in no block. One that was recorded before may never
    /// have reached the network: the same bytes are the same transaction, so it is sent again.
    async fn send_top_up(
        &self,
        channel: &Channel,
        transaction: &SignedTransaction,
        additional: Money,
        sponsored: bool,
        now: Timestamp,
    ) -> Result<ChainReceipt, ChannelError> {
        let pending = pending_tx(TxPurpose::TopUp, additional, transaction);
        if let Some(recorded) = channel.pending.as_ref().filter(|recorded| recorded.hash == pending.hash) {
            return self.send(channel.id, recorded, transaction, now).await;
        }
        self.refuse_reverting(transaction).await?;
        let pending = PendingTx { sponsored: self.sponsor_fee(transaction, sponsored, now)?, ..pending };
        let outgoing = OutgoingTx { pending: &pending, opens: None, payer: channel.descriptor.payer };
        if !self.record_pending(channel.id, &outgoing, now).await? {
            return Err(ChannelError::Pending);
        }
        self.send(channel.id, &pending, transaction, now).await
    }

    /// Records a mined top-up, also one that is not recorded as pending.
    async fn record_top_up(
        &self,
        channel: &Channel,
        receipt: &ChainReceipt,
        now: Timestamp,
    ) -> Result<(), ChannelError> {
        if !self.succeeded(receipt, channel.id)? {
            return Err(ChannelError::Transaction("the transaction failed on the chain".into()));
        }
        let deposit =
            reserve::topped_up(receipt, self.terms.escrow, channel.id).ok_or(ChannelError::Pending)?;
        let hash = format!("{:#x}", receipt.transaction_hash());
        if let Some(pending) = channel.pending.as_ref().filter(|pending| pending.hash == hash) {
            return self.resolve(channel, pending, top_up_outcome(channel, deposit, receipt), now).await;
        }
        self.observe(channel, deposit, channel.settled, 0, now).await
    }
}

/// Returns the outcome of a mined top-up.
pub(super) fn top_up_outcome(channel: &Channel, deposit: Money, receipt: &ChainReceipt) -> TxOutcome {
    TxOutcome { phase: Phase::Open, deposit, settled: channel.settled, fee: fee_of(Some(receipt)) }
}
