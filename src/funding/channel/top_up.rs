//! Topping up: more of a deposit, by the payer's transaction.

use alloy::network::ReceiptResponse as _;

use super::open::{Funded, OutgoingTx, pending, topped_up};
use super::state::{Channel, ChannelRefusal, Pending, Phase, TxPurpose};
use super::{ChannelError, Channels};
use crate::chain::reserve::{self, Funding};
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
        let transaction = self.signed(transaction, sponsored, now)?;
        let hash = format!("{:#x}", transaction.hash());
        match Funding::read(&transaction, self.terms.escrow) {
            Ok(Funding::TopUp { descriptor: named, additional: added })
                if named == channel.descriptor
                    && added == additional
                    && transaction.sender() == named.payer => {}
            Ok(_) => {
                return Err(ChannelError::Transaction(
                    "the transaction does not top up this channel by `additionalDeposit`".into(),
                ));
            }
            Err(error) => return Err(ChannelError::Transaction(error.to_string())),
        }
        let receipt = match self.chain.receipt(transaction.hash()).await {
            // Sent before: its outcome is on the chain, whoever asks again.
            Ok(Some(receipt)) => receipt,
            Ok(None) => self.send_top_up(&channel, &transaction, additional, sponsored, now).await?,
            Err(error) => {
                tracing::warn!(%error, "top-up cannot be looked up");
                return Err(ChannelError::Unavailable("the chain"));
            }
        };
        let channel = self.find(id).await?.ok_or(ChannelRefusal::Unknown)?;
        self.note_top_up(&channel, &receipt, now).await?;
        let channel = self.find(id).await?.ok_or(ChannelRefusal::Unknown)?;
        Ok(Funded { channel, tx_hash: Some(hash) })
    }

    /// Sends a top-up that is in no block. One that was written down before may
    /// never have arrived: the same bytes are the same transaction, so it is sent again.
    async fn send_top_up(
        &self,
        channel: &Channel,
        transaction: &SignedTransaction,
        additional: Money,
        sponsored: bool,
        now: Timestamp,
    ) -> Result<ChainReceipt, ChannelError> {
        let pending = pending(TxPurpose::TopUp, additional, transaction);
        if let Some(out) = channel.pending.as_ref().filter(|out| out.hash == pending.hash) {
            return self.send(channel.id, out, transaction, now).await;
        }
        self.refuse_reverting(transaction).await?;
        let pending = Pending { sponsored: self.sponsor_fee(transaction, sponsored, now)?, ..pending };
        let departure = OutgoingTx { pending: &pending, opens: None, payer: channel.descriptor.payer };
        if !self.record(channel.id, &departure, now).await? {
            return Err(ChannelError::Pending);
        }
        self.send(channel.id, &pending, transaction, now).await
    }

    /// A top-up found mined, whether or not we remember sending it.
    async fn note_top_up(
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
            return self.resolve(channel, pending, topped_up(channel, deposit, receipt), now).await;
        }
        self.observe(channel, deposit, channel.settled, 0, now).await
    }
}
