//! Opening a channel: the payer's transaction, and its outcome on the chain.

use super::outgoing::{OutgoingTx, fee_of, pending_tx};
use super::state::{Channel, ChannelRefusal, PendingTx, Phase, Reservation, TxPurpose};
use super::store::TxOutcome;
use super::{ChannelError, Channels};
use crate::chain::reserve::{self, FundingCall};
use crate::chain::{ChainReceipt, SignedTransaction, SimulationOutcome};
use crate::funding::sponsor::{self, Exhausted};
use crate::funding::tempo::AUTHORIZED_BEFORE;
use crate::id::Timestamp;
use crate::money::Money;
use crate::payments::methods::tempo::session::{
    ChannelId, Descriptor, SessionAction, SessionCredential, SignedVoucher, VoucherError,
};

/// Longest validity of a funding transaction, in seconds. Clients sign for 25 to 270;
/// the payer's grace period, after which it may withdraw, is 900.
const MAX_VALIDITY_SECONDS: u64 = 300;

/// A channel after its deposit was made or raised.
#[derive(Debug)]
pub struct Funded {
    pub channel: Channel,
    pub tx_hash: Option<String>,
}

impl Channels {
    /// Opens a channel with the payer's transaction and accepts its first
    /// voucher. Safe to repeat: the same transaction opens the same channel,
    /// and an open channel is not sent again.
    ///
    /// # Errors
    /// [`ChannelError`]; [`ChannelError::Pending`] when it may yet open.
    pub async fn open(
        &self,
        descriptor: &Descriptor,
        transaction: &str,
        voucher: &SignedVoucher,
        sponsored: bool,
        least: Money,
        now: Timestamp,
    ) -> Result<Funded, ChannelError> {
        self.check_descriptor(descriptor, voucher.channel)?;
        voucher.verify(descriptor.signer(), self.terms.escrow, self.terms.chain_id)?;
        let transaction = self.funding_tx(transaction, sponsored, now).await?;
        let deposit = match FundingCall::parse(&transaction, self.terms.escrow) {
            Ok(FundingCall::Open { descriptor: opened, deposit }) if opened == *descriptor => deposit,
            Ok(_) => return Err(other_channel()),
            Err(error) => return Err(ChannelError::Transaction(error.to_string())),
        };
        if deposit < least || voucher.amount > deposit {
            return Err(ChannelRefusal::Deposit.into());
        }
        match self.find(voucher.channel).await? {
            Some(channel) if channel.phase != Phase::Opening && channel.phase != Phase::Failed => {
                channel.usable()?;
            }
            Some(channel) => self.finish_opening(&channel, now).await?,
            None => {
                let sponsored = self.sponsor_fee(&transaction, sponsored, now)?;
                let pending = PendingTx { sponsored, ..pending_tx(TxPurpose::Open, deposit, &transaction) };
                self.send_opening(voucher.channel, descriptor, &pending, &transaction, now).await?;
            }
        }
        let channel = self.credit(voucher, now).await?;
        Ok(Funded { channel, tx_hash: Some(format!("{:#x}", transaction.hash())) })
    }

    /// Checks that a credential could pay for something, and changes nothing: its signature first, then what the database
    /// and the chain know.
    ///
    /// # Errors
    /// The first reason that it could not.
    pub async fn could_pay(
        &self,
        session: &SessionCredential,
        sponsored: bool,
        now: Timestamp,
    ) -> Result<(), ChannelError> {
        let SessionCredential { channel, descriptor, action, .. } = session;
        self.check_descriptor(descriptor, *channel)?;
        match action {
            SessionAction::Voucher(voucher) => {
                self.check_signature(descriptor, voucher)?;
                let channel = self.find(*channel).await?.ok_or(ChannelRefusal::Unknown)?;
                channel.usable()?;
                if voucher.amount > channel.deposit {
                    // It may have been topped up elsewhere.
                    let channel = self.refresh(&channel, now).await?;
                    if voucher.amount > channel.deposit {
                        return Err(ChannelRefusal::Deposit.into());
                    }
                }
                Ok(())
            }
            SessionAction::Open { transaction, voucher } => {
                self.check_signature(descriptor, voucher)?;
                if self.find(*channel).await?.is_some() {
                    return Ok(());
                }
                let transaction = self.funding_tx(transaction, sponsored, now).await?;
                match FundingCall::parse(&transaction, self.terms.escrow) {
                    Ok(FundingCall::Open { descriptor: opened, .. }) if opened == *descriptor => {
                        self.refuse_reverting(&transaction).await
                    }
                    Ok(_) => Err(other_channel()),
                    Err(error) => Err(ChannelError::Transaction(error.to_string())),
                }
            }
            SessionAction::TopUp { .. } | SessionAction::Close { .. } => Ok(()),
        }
    }

    /// Checks the fields of a descriptor that servers must verify ("Channel Descriptor").
    pub(super) fn check_descriptor(
        &self,
        descriptor: &Descriptor,
        channel: ChannelId,
    ) -> Result<(), VoucherError> {
        let terms = &self.terms;
        for (name, good) in [
            ("descriptor.payee", descriptor.payee == terms.recipient),
            ("descriptor.token", descriptor.token == terms.currency),
            ("descriptor.operator", descriptor.operator == terms.operator),
        ] {
            if !good {
                return Err(VoucherError::Field(name));
            }
        }
        if descriptor.channel_id(terms.escrow, terms.chain_id) == channel {
            Ok(())
        } else {
            Err(VoucherError::Channel)
        }
    }

    /// Returns the payer's transaction, ready to send. While it is pending no other
    /// can be, so it must expire well before a payer that asked to close may
    /// withdraw; the reserve takes only expiring nonces anyway.
    pub(super) async fn funding_tx(
        &self,
        text: &str,
        sponsored: bool,
        now: Timestamp,
    ) -> Result<SignedTransaction, ChannelError> {
        let transaction = sponsor::ready(self.sponsor.as_ref(), text, sponsored)
            .map_err(|error| ChannelError::Transaction(error.to_string()))?;
        let latest = u64::try_from(now.seconds()).unwrap_or(0) + MAX_VALIDITY_SECONDS;
        let expires_soon = transaction.valid_before().is_some_and(|until| until <= latest);
        if expires_soon && transaction.is_plain() {
            if let Some(signer) = transaction.signer()
                && self
                    .chain
                    .authorizes_again(&signer)
                    .await
                    .map_err(|_| ChannelError::Unavailable("the chain"))?
            {
                return Err(ChannelError::Transaction(AUTHORIZED_BEFORE.into()));
            }
            return Ok(transaction);
        }
        Err(ChannelError::Transaction(format!(
            "`transaction` must use the expiring nonce, with a `validBefore` at most \
             {MAX_VALIDITY_SECONDS} seconds from now"
        )))
    }

    /// Refuses a transaction that fails in a simulation, before it is recorded or sent.
    pub(super) async fn refuse_reverting(&self, transaction: &SignedTransaction) -> Result<(), ChannelError> {
        match self.chain.simulate(transaction).await {
            Ok(SimulationOutcome::Succeeds) => Ok(()),
            Ok(SimulationOutcome::Insufficient) => Err(ChannelError::Transaction(
                "the account's token balance does not cover the deposit; nothing was sent".into(),
            )),
            Ok(SimulationOutcome::Reverts(reason)) => Err(ChannelError::Transaction(format!(
                "the transaction would fail on the chain ({reason}); nothing was sent"
            ))),
            Err(error) => {
                tracing::warn!(%error, "a transaction cannot be simulated");
                Err(ChannelError::Unavailable("the chain"))
            }
        }
    }

    async fn send_opening(
        &self,
        id: ChannelId,
        descriptor: &Descriptor,
        pending: &PendingTx,
        transaction: &SignedTransaction,
        now: Timestamp,
    ) -> Result<(), ChannelError> {
        self.refuse_reverting(transaction).await?;
        let outgoing = OutgoingTx { pending, opens: Some(descriptor), payer: descriptor.payer };
        if !self.record_pending(id, &outgoing, now).await? {
            return Err(ChannelError::Pending);
        }
        let receipt = self.send(id, pending, transaction, now).await?;
        self.record_opening(id, pending, &receipt, now).await
    }

    /// Returns the reservation of a sponsored transaction's fee, after checking that
    /// it is within the limits; `None` when the payer pays the fee.
    pub(super) fn sponsor_fee(
        &self,
        transaction: &SignedTransaction,
        sponsored: bool,
        now: Timestamp,
    ) -> Result<Option<Reservation>, ChannelError> {
        let Some(sponsor) = self.sponsor.as_ref().filter(|_| sponsored) else {
            return Ok(None);
        };
        let fee = sponsor.check_fee(transaction).map_err(not_sponsored)?;
        Ok(Some(Reservation { fee, at: now }))
    }

    /// Records the deposit of a mined opening transaction.
    pub(super) async fn record_opening(
        &self,
        id: ChannelId,
        pending: &PendingTx,
        receipt: &ChainReceipt,
        now: Timestamp,
    ) -> Result<(), ChannelError> {
        let Some(deposit) = reserve::opened(receipt, self.terms.escrow, id) else {
            tracing::error!(channel = %id, "an opening transaction was mined without its event");
            metrics::counter!("farebox_chain_contradictions_total").increment(1);
            return Err(ChannelError::Pending);
        };
        let channel = self.find(id).await?.ok_or(ChannelRefusal::Unknown)?;
        let fee = fee_of(Some(receipt));
        let outcome = TxOutcome { phase: Phase::Open, deposit, settled: Money::ZERO, fee };
        self.resolve(&channel, pending, outcome, now).await?;
        tracing::info!(channel = %id, %deposit, "channel opened");
        Ok(())
    }

    /// Reconciles an opening transaction that was recorded before, and sends it again if it is in no block.
    pub(super) async fn finish_opening(&self, channel: &Channel, now: Timestamp) -> Result<(), ChannelError> {
        let Some(pending) = &channel.pending else {
            return Err(ChannelRefusal::Unknown.into());
        };
        let transaction = SignedTransaction::parse(&pending.raw)
            .map_err(|error| ChannelError::Transaction(error.to_string()))?;
        match self.chain.receipt(transaction.hash()).await {
            Ok(Some(receipt)) if self.succeeded(&receipt, channel.id)? => {
                self.record_opening(channel.id, pending, &receipt, now).await
            }
            Ok(Some(receipt)) => {
                self.record_failure(channel.id, pending, Some(&receipt), now).await?;
                Err(ChannelError::Transaction("the transaction failed on the chain".into()))
            }
            Ok(None) if self.has_expired(pending, transaction.hash(), now).await => {
                self.record_failure(channel.id, pending, None, now).await?;
                Err(ChannelError::Transaction(
                    "the transaction expired before it was included; sign a new one".into(),
                ))
            }
            Ok(None) => {
                let receipt = self.send(channel.id, pending, &transaction, now).await?;
                self.record_opening(channel.id, pending, &receipt, now).await
            }
            Err(error) => {
                tracing::warn!(%error, "the receipt of an opening cannot be read");
                Err(ChannelError::Pending)
            }
        }
    }
}

fn other_channel() -> ChannelError {
    ChannelError::Transaction("`transaction` does not open the channel of `descriptor`".into())
}

pub(super) fn not_sponsored(reason: Exhausted) -> ChannelError {
    ChannelError::Transaction(format!(
        "the network fee is not sponsored: {reason}; pay it with a challenge that does not say `feePayer`"
    ))
}
