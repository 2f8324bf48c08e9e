//! Opening: the payer's transaction, and the outcome on the chain.

use alloy::network::ReceiptResponse as _;
use alloy::primitives::{Address, B256};

use super::state::{Channel, ChannelRefusal, Pending, Phase, Reservation, TxPurpose};
use super::store::{self, TxOutcome};
use super::{ChannelError, Channels, TxFailure, holds};
use crate::chain::reserve::{self, Funding};
use crate::chain::{ChainReceipt, SendOutcome, SignedTransaction, SimulationOutcome, fee_paid};
use crate::db::Tx;
use crate::funding::sponsor::{self, Exhausted};
use crate::funding::{StoreError, recover};
use crate::id::Timestamp;
use crate::money::Money;
use crate::payments::methods::tempo::session::{ChannelId, Descriptor, SignedVoucher, VoucherError};

/// The longest a funding transaction may be valid, in seconds. Clients sign for
/// 25; the payer's grace period, after which it may withdraw, is 900.
const LONGEST_VALIDITY_SECONDS: u64 = 120;

/// A transaction about a channel, about to leave.
pub(super) struct OutgoingTx<'a> {
    pub pending: &'a Pending,
    /// The channel that it opens.
    pub opens: Option<&'a Descriptor>,
    pub payer: Address,
}

/// A channel after its deposit rose.
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
        let transaction = self.signed(transaction, sponsored, now)?;
        let deposit = match Funding::read(&transaction, self.terms.escrow) {
            Ok(Funding::Open { descriptor: opened, deposit }) if opened == *descriptor => deposit,
            Ok(_) => {
                return Err(ChannelError::Transaction(
                    "the transaction does not open the channel of the descriptor".into(),
                ));
            }
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
                let pending = Pending { sponsored, ..pending(TxPurpose::Open, deposit, &transaction) };
                self.send_opening(voucher.channel, descriptor, &pending, &transaction, now).await?;
            }
        }
        let channel = self.credit(voucher, now).await?;
        Ok(Funded { channel, tx_hash: Some(format!("{:#x}", transaction.hash())) })
    }

    /// "Channel Descriptor": what servers must verify of it.
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

    /// The payer's transaction, ready to send. While it is out nothing else can
    /// be, so it must be over well before a payer that asked to close may
    /// withdraw; the reserve takes only expiring nonces anyway.
    pub(super) fn signed(
        &self,
        text: &str,
        sponsored: bool,
        now: Timestamp,
    ) -> Result<SignedTransaction, ChannelError> {
        let transaction = sponsor::ready(self.sponsor.as_ref(), text, sponsored)
            .map_err(|error| ChannelError::Transaction(error.to_string()))?;
        let latest = u64::try_from(now.seconds()).unwrap_or(0) + LONGEST_VALIDITY_SECONDS;
        let soon = transaction.valid_before().is_some_and(|until| until <= latest);
        if soon && transaction.is_plain() {
            return Ok(transaction);
        }
        Err(ChannelError::Transaction(format!(
            "the transaction must use the expiring nonce and be valid for at most {LONGEST_VALIDITY_SECONDS} seconds"
        )))
    }

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
                tracing::warn!(%error, "transaction cannot be simulated");
                Err(ChannelError::Unavailable("the chain"))
            }
        }
    }

    async fn send_opening(
        &self,
        id: ChannelId,
        descriptor: &Descriptor,
        pending: &Pending,
        transaction: &SignedTransaction,
        now: Timestamp,
    ) -> Result<(), ChannelError> {
        self.refuse_reverting(transaction).await?;
        let departure = OutgoingTx { pending, opens: Some(descriptor), payer: descriptor.payer };
        if !self.record(id, &departure, now).await? {
            return Err(ChannelError::Pending);
        }
        let receipt = self.send(id, pending, transaction, now).await?;
        self.opened(id, pending, &receipt, now).await
    }

    /// What a sponsored transaction reserves of the budget, once it is known to
    /// be within the limits.
    pub(super) fn sponsor_fee(
        &self,
        transaction: &SignedTransaction,
        sponsored: bool,
        now: Timestamp,
    ) -> Result<Option<Reservation>, ChannelError> {
        let Some(sponsor) = self.sponsor.as_ref().filter(|_| sponsored) else {
            return Ok(None);
        };
        let fee = sponsor.affords(transaction).map_err(not_sponsored)?;
        Ok(Some(Reservation { fee, at: now }))
    }

    /// Writes down what is about to leave. `false`: not now, another one is out.
    pub(super) async fn record(
        &self,
        id: ChannelId,
        departure: &OutgoingTx<'_>,
        now: Timestamp,
    ) -> Result<bool, ChannelError> {
        let recorded = self
            .db
            .transaction(|mut tx| async move {
                if let Some(descriptor) = departure.opens
                    && !store::insert(&mut tx, id, descriptor, now).await?
                {
                    return Ok((tx, false));
                }
                let pending = departure.pending;
                if let (Some(reservation), Some(sponsor)) = (pending.sponsored, &self.sponsor) {
                    let payer = format!("{:#x}", departure.payer);
                    let reserved = sponsor.reserve(&mut tx, &payer, reservation.fee, now).await?;
                    reserved.map_err(TxFailure::Exhausted)?;
                }
                // A request that began since the capture was computed: not now.
                if pending.purpose == TxPurpose::Close && !nothing_charged_since(&mut tx, id, pending).await?
                {
                    return Ok((tx, false));
                }
                let recorded = store::set_pending(&mut tx, id, pending).await?;
                Ok::<_, TxFailure>((tx, recorded))
            })
            .await?;
        Ok(recorded)
    }

    /// Sends a recorded transaction; returns the receipt of its success.
    pub(super) async fn send(
        &self,
        id: ChannelId,
        pending: &Pending,
        transaction: &SignedTransaction,
        now: Timestamp,
    ) -> Result<ChainReceipt, ChannelError> {
        match self.chain.send(transaction).await {
            SendOutcome::Mined(receipt) if self.succeeded(&receipt, id)? => Ok(*receipt),
            SendOutcome::Mined(receipt) => {
                self.undo(id, pending, Some(&receipt), now).await?;
                Err(ChannelError::Transaction("the transaction failed on the chain".into()))
            }
            // Not believed alone: the worker asks until the transaction is dead.
            SendOutcome::Refused { reason } => {
                tracing::warn!(channel = %id, purpose = pending.purpose.as_str(), reason, "transaction refused");
                Err(ChannelError::Pending)
            }
            SendOutcome::Unknown => Err(ChannelError::Pending),
        }
    }

    /// Whether a mined transaction about a channel succeeded. Success without an
    /// event, or a failure that has one, is a node that contradicts itself: taking
    /// no decision keeps every way open.
    pub(super) fn succeeded(&self, receipt: &ChainReceipt, id: ChannelId) -> Result<bool, ChannelError> {
        let acted = reserve::acted_on(receipt, self.terms.escrow, id);
        if receipt.status() == acted {
            return Ok(acted);
        }
        tracing::error!(channel = %id, acted, "status and events of a receipt disagree");
        metrics::counter!("farebox_chain_contradictions_total").increment(1);
        Err(ChannelError::Pending)
    }

    /// Whether the pending transaction can never be included any more.
    pub(super) async fn is_dead(&self, pending: &Pending, hash: B256, now: Timestamp) -> bool {
        match pending.until {
            Some(until) => recover::is_dead(&self.chain, hash, until, now).await,
            None => false,
        }
    }

    /// The pending transaction came to nothing: it failed, or was never included.
    pub(super) async fn undo(
        &self,
        id: ChannelId,
        pending: &Pending,
        receipt: Option<&ChainReceipt>,
        now: Timestamp,
    ) -> Result<(), ChannelError> {
        let Some(channel) = self.find(id).await? else {
            return Ok(());
        };
        let phase = if pending.purpose == TxPurpose::Open { Phase::Failed } else { channel.phase };
        let fee = cost(receipt);
        self.resolve(
            &channel,
            pending,
            TxOutcome { phase, deposit: channel.deposit, settled: channel.settled, fee },
            now,
        )
        .await
    }

    pub(super) async fn opened(
        &self,
        id: ChannelId,
        pending: &Pending,
        receipt: &ChainReceipt,
        now: Timestamp,
    ) -> Result<(), ChannelError> {
        let Some(deposit) = reserve::opened(receipt, self.terms.escrow, id) else {
            tracing::error!(channel = %id, "opening transaction mined without its event");
            metrics::counter!("farebox_chain_contradictions_total").increment(1);
            return Err(ChannelError::Pending);
        };
        let channel = self.find(id).await?.ok_or(ChannelRefusal::Unknown)?;
        let fee = cost(Some(receipt));
        let outcome = TxOutcome { phase: Phase::Open, deposit, settled: Money::ZERO, fee };
        self.resolve(&channel, pending, outcome, now).await?;
        tracing::info!(channel = %id, %deposit, "channel opened");
        Ok(())
    }

    pub(super) async fn resolve(
        &self,
        channel: &Channel,
        pending: &Pending,
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
                    sponsor::give_back(&mut tx, &payer, unused, at).await?;
                }
                Ok::<_, TxFailure>((tx, ()))
            })
            .await?;
        Ok(())
    }

    /// Asks what became of an opening transaction that was sent before.
    pub(super) async fn finish_opening(&self, channel: &Channel, now: Timestamp) -> Result<(), ChannelError> {
        let Some(pending) = &channel.pending else {
            return Err(ChannelRefusal::Unknown.into());
        };
        let transaction = SignedTransaction::parse(&pending.raw)
            .map_err(|error| ChannelError::Transaction(error.to_string()))?;
        match self.chain.receipt(transaction.hash()).await {
            Ok(Some(receipt)) if self.succeeded(&receipt, channel.id)? => {
                self.opened(channel.id, pending, &receipt, now).await
            }
            Ok(Some(receipt)) => {
                self.undo(channel.id, pending, Some(&receipt), now).await?;
                Err(ChannelError::Transaction("the transaction failed on the chain".into()))
            }
            Ok(None) if self.is_dead(pending, transaction.hash(), now).await => {
                self.undo(channel.id, pending, None, now).await?;
                Err(ChannelError::Transaction("the transaction expired before it was included".into()))
            }
            Ok(None) => {
                let receipt = self.send(channel.id, pending, &transaction, now).await?;
                self.opened(channel.id, pending, &receipt, now).await
            }
            Err(error) => {
                tracing::warn!(%error, "opening cannot be looked up");
                Err(ChannelError::Pending)
            }
        }
    }

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

/// Whether a close still takes all that was charged. With the channel locked no
/// request begins, and with no hold open nothing is charged: what was is read after that is sure.
async fn nothing_charged_since(tx: &mut Tx, id: ChannelId, close: &Pending) -> Result<bool, StoreError> {
    if store::lock(tx, id).await?.is_none() || !holds::open_holds(tx, id).await?.is_empty() {
        return Ok(false);
    }
    Ok(store::lock(tx, id).await?.is_some_and(|channel| channel.capture() == close.amount))
}

/// How a channel stands after a top-up.
pub(super) fn topped_up(channel: &Channel, deposit: Money, receipt: &ChainReceipt) -> TxOutcome {
    TxOutcome { phase: Phase::Open, deposit, settled: channel.settled, fee: cost(Some(receipt)) }
}

/// What a transaction's fee came to; nothing when no block has it.
pub(super) fn cost(receipt: Option<&ChainReceipt>) -> Money {
    receipt.and_then(fee_paid).unwrap_or(Money::ZERO)
}

pub(super) fn not_sponsored(why: Exhausted) -> ChannelError {
    ChannelError::Transaction(format!(
        "the network fee is not sponsored: {why}; pay it with a challenge that does not say `feePayer`"
    ))
}

/// What is written down of a transaction before it leaves.
pub(super) fn pending(purpose: TxPurpose, amount: Money, transaction: &SignedTransaction) -> Pending {
    Pending {
        purpose,
        amount,
        hash: format!("{:#x}", transaction.hash()),
        raw: alloy::hex::encode_prefixed(transaction.raw()),
        until: transaction
            .valid_before()
            .and_then(|seconds| i64::try_from(seconds).ok()?.checked_mul(1000))
            .map(Timestamp::from_millis),
        sponsored: None,
    }
}
