//! Settlements and closes: moving what was earned on a channel to the payee.

use alloy::primitives::{Bytes, TxKind, U256};
use tempo_alloy::primitives::transaction::Call;

use super::outgoing::{OutgoingTx, fee_of, pending_tx, report_failing};
use super::policy::{DueAction, due};
use super::state::{Channel, ChannelRefusal, ChannelRequest, PendingTx, Phase, TxPurpose};
use super::store::{self, Publish, TxOutcome};
use super::top_up::top_up_outcome;
use super::{ChannelError, Channels, TxFailure, holds};
use crate::chain::{ChainReceipt, Fees, SignedTransaction, held_back, reserve};
use crate::id::{HoldId, Timestamp};
use crate::ledger::{self, HoldOutcome, IdempotencyStatus};
use crate::money::Money;
use crate::payments::methods::tempo::session::{ChannelId, Descriptor, SignedVoucher};

/// Validity of the operator's transactions, in seconds: within the 30 that the
/// chain allows for expiring nonces.
const VALID_SECONDS: i64 = 25;

/// Party that wants a settlement or close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Initiator {
    /// The worker, by policy: its tries count.
    Worker,
    /// The channel's payer, or an operator.
    Request,
}

/// Terms on which a channel is closed.
struct CloseTerms {
    voucher: SignedVoucher,
    /// Amount that the payee gets.
    capture: Money,
}

impl CloseTerms {
    /// Returns the terms of a close without the payer. A channel whose first voucher never came owes nothing: the reserve
    /// looks at the signature only where the capture is more than was settled (TIP-1034, `close`).
    fn without_payer(channel: &Channel) -> Self {
        let capture = channel.capture();
        let unsigned = || SignedVoucher { channel: channel.id, amount: capture, signature: Bytes::new() };
        Self { voucher: channel.voucher.clone().unwrap_or_else(unsigned), capture }
    }
}

impl Channels {
    /// Opens the hold of a request on a channel, and ends earlier requests on it:
    /// a channel serves one request at a time ("Concurrency Model"). Returns the hold, and the channel after what those
    /// came to.
    ///
    /// # Errors
    /// [`ChannelError::Refused`] when the channel cannot be used, [`ChannelError::Insufficient`] when too little is left;
    /// earlier requests go on then.
    pub async fn begin(
        &self,
        id: ChannelId,
        request: &ChannelRequest<'_>,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<(HoldId, Channel), ChannelError> {
        let opened = self
            .db
            .transaction(|mut tx| async move {
                let mut channel = store::lock(&mut tx, id).await?.ok_or(ChannelRefusal::Unknown)?;
                channel.usable()?;
                let account = store::account(id);
                let key = match ledger::idempotency_status(&mut tx, &account, request.key, now).await? {
                    IdempotencyStatus::New(key) => key,
                    IdempotencyStatus::InProgress => return Err(ChannelRefusal::InProgress.into()),
                    IdempotencyStatus::Charged => return Err(ChannelRefusal::Repeated.into()),
                };
                if holds::close_holds(&mut tx, id, now).await? > 0 {
                    channel = store::lock(&mut tx, id).await?.ok_or(ChannelRefusal::Unknown)?;
                }
                // All that is available: no other request runs on the channel.
                let available = ledger::lock(&mut tx, &account).await?.available();
                if available < request.least {
                    return Err(TxFailure::Insufficient(available));
                }
                let opened = ledger::hold(&mut tx, &account, &key, available, now, expires_at).await?;
                let (HoldOutcome::Opened(hold) | HoldOutcome::Existing(hold)) = opened else {
                    return Err(ChannelRefusal::Unknown.into());
                };
                holds::set_request(&mut tx, id, &hold, request).await?;
                Ok::<_, TxFailure>((tx, (hold, channel)))
            })
            .await?;
        Ok(opened)
    }

    /// Records that an upstream has the prompt of a request: from now on `amount` is owed of its hold, whichever
    /// request or close ends it. Zero takes it back, when that upstream failed.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn owe_prompt(&self, hold: &HoldId, amount: Money) -> Result<(), ChannelError> {
        let recorded = self.db.transaction(|mut tx| async move {
            holds::owe_prompt(&mut tx, hold, amount).await?;
            Ok::<_, TxFailure>((tx, ()))
        });
        Ok(recorded.await?)
    }

    /// Closes a channel for its payer: captures what was delivered and returns the
    /// rest of the deposit. Safe to repeat.
    ///
    /// # Errors
    /// [`ChannelError`]; [`ChannelError::Pending`] when it may yet close.
    pub async fn close(
        &self,
        voucher: &SignedVoucher,
        authorized: bool,
        now: Timestamp,
    ) -> Result<Channel, ChannelError> {
        let id = voucher.channel;
        let mut channel = self.find(id).await?.ok_or(ChannelRefusal::Unknown)?;
        self.check_signature(&channel.descriptor, voucher)?;
        if let Some(pending) = &channel.pending {
            self.reconcile(&channel, pending, now).await?;
            channel = self.find(id).await?.ok_or(ChannelRefusal::Unknown)?;
        }
        // Not closed, or by a transaction that failed. A signature taken from the chain must not end
        // the requests on the channel.
        if !channel.is_closed_by_operator() {
            let by_payer = |stored: &Channel| {
                let capture = stored.may_close(voucher.amount, authorized)?;
                Ok(Some(CloseTerms { voucher: voucher.clone(), capture }))
            };
            self.send_close(&channel, by_payer, Initiator::Request, now).await?;
        }
        self.find(id).await?.ok_or_else(|| ChannelRefusal::Unknown.into())
    }

    /// Returns true if the payer authorised this close with a signature made for it
    /// (EIP-712 `CloseAuthorization` in the vouchers' domain).
    #[must_use]
    pub fn authorizes(
        &self,
        descriptor: &Descriptor,
        voucher: &SignedVoucher,
        authorization: Option<&str>,
    ) -> bool {
        authorization.is_some_and(|signature| {
            voucher.close_is_authorized(
                descriptor.signer(),
                self.terms.escrow,
                self.terms.chain_id,
                signature,
            )
        })
    }

    /// Records that a channel was closed externally, and ends the requests on it: nothing can be
    /// settled on it any more.
    pub(super) async fn record_external_close(
        &self,
        channel: &Channel,
        now: Timestamp,
    ) -> Result<(), ChannelError> {
        let id = channel.id;
        self.db
            .transaction(|mut tx| async move {
                store::lock(&mut tx, id).await?.ok_or(ChannelRefusal::Unknown)?;
                holds::close_holds(&mut tx, id, now).await?;
                store::set_closed_externally(&mut tx, id, now).await?;
                Ok::<_, TxFailure>((tx, ()))
            })
            .await?;
        Ok(())
    }

    /// Settles up to the highest voucher within the spent amount.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn settle(&self, channel: &Channel, now: Timestamp) -> Result<(), ChannelError> {
        match self.unsettled(channel, Publish::All).await? {
            Some(voucher) => self.send_settlement(channel, &voucher, Initiator::Request, now).await,
            None => Ok(()),
        }
    }

    /// Settles by policy. The channel's last voucher is kept for the close: once it is public anybody could present it,
    /// and the payer, whose clients close with the last voucher that they signed, could not close any more.
    pub(super) async fn settle_if_due(&self, channel: &Channel, now: Timestamp) -> Result<(), ChannelError> {
        match self.unsettled(channel, Publish::AllButLast).await? {
            Some(voucher) => self.send_settlement(channel, &voucher, Initiator::Worker, now).await,
            None => Ok(()),
        }
    }

    /// Finds the voucher that a settlement would carry, if it moves anything.
    async fn unsettled(
        &self,
        channel: &Channel,
        publish: Publish,
    ) -> Result<Option<SignedVoucher>, ChannelError> {
        let voucher = store::settleable(&self.db, channel.id, channel.spent, publish).await?;
        Ok(voucher.filter(|voucher| voucher.amount > channel.settled))
    }

    async fn send_settlement(
        &self,
        channel: &Channel,
        voucher: &SignedVoucher,
        initiator: Initiator,
        now: Timestamp,
    ) -> Result<(), ChannelError> {
        let call = reserve::settle_call(&channel.descriptor, voucher.amount, &voucher.signature);
        let transaction = self.sign(&channel.descriptor, call, self.gas_price().await?, now)?;
        self.refuse_failing(channel, &transaction, initiator, now).await?;
        let pending = pending_tx(TxPurpose::Settle, voucher.amount, &transaction);
        let outgoing = OutgoingTx { pending: &pending, opens: None, payer: channel.descriptor.payer };
        if !self.record_pending(channel.id, &outgoing, now).await? {
            return Err(ChannelError::Pending);
        }
        let receipt = self.send(channel.id, &pending, &transaction, now).await?;
        self.record_settlement(channel, &pending, &receipt, now).await
    }

    /// Records a try of the worker to settle or close a channel, and returns the channel with it.
    async fn count_try(&self, channel: &Channel, now: Timestamp) -> Result<Channel, ChannelError> {
        let id = channel.id;
        let counted = self.db.transaction(|mut tx| async move {
            store::count_try(&mut tx, id, now).await?;
            Ok::<_, TxFailure>((tx, ()))
        });
        counted.await?;
        Ok(Channel { tries: channel.tries.next(now), ..channel.clone() })
    }

    /// Closes a channel without its payer, with its highest voucher.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn close_now(&self, id: ChannelId, now: Timestamp) -> Result<(), ChannelError> {
        let channel = self.find(id).await?.ok_or(ChannelRefusal::Unknown)?;
        let by_operator = |stored: &Channel| {
            stored.closable()?;
            Ok(Some(CloseTerms::without_payer(stored)))
        };
        self.send_close(&channel, by_operator, Initiator::Request, now).await
    }

    /// Closes a channel without its payer, if that is still due when nothing else can happen on it.
    pub(super) async fn close_if_due(&self, channel: &Channel, now: Timestamp) -> Result<(), ChannelError> {
        let if_due = |stored: &Channel| {
            let is_due = due(stored, &self.policy, now) == DueAction::Close;
            Ok(is_due.then(|| CloseTerms::without_payer(stored)))
        };
        self.send_close(channel, if_due, Initiator::Worker, now).await
    }

    /// Closes a channel, and ends the requests on it. `terms` returns the terms for its state, `None` if
    /// it is not to be closed now, or the reason it refuses to be.
    async fn send_close(
        &self,
        channel: &Channel,
        terms: impl Fn(&Channel) -> Result<Option<CloseTerms>, ChannelRefusal> + Send + Sync,
        initiator: Initiator,
        now: Timestamp,
    ) -> Result<(), ChannelError> {
        let price = self.gas_price().await?;
        let sign = |channel: &Channel| {
            let Some(CloseTerms { voucher, capture }) = terms(channel)? else { return Ok(None) };
            let call = reserve::close_call(&channel.descriptor, voucher.amount, capture, &voucher.signature);
            let transaction = self.sign(&channel.descriptor, call, price, now)?;
            Ok::<_, TxFailure>(Some((pending_tx(TxPurpose::Close, capture, &transaction), transaction)))
        };
        // Only its amounts may change until the close is recorded.
        let (_, transaction) = sign(channel)?.ok_or(ChannelError::Pending)?;
        self.refuse_failing(channel, &transaction, initiator, now).await?;
        let (id, sign) = (channel.id, &sign);
        // Requests end, and the close is pending, in one step: a request that comes between the two
        // would be charged, and the capture would lack it.
        let recorded = self.db.transaction(|mut tx| async move {
            let stored = store::lock(&mut tx, id).await?.ok_or(ChannelRefusal::Unknown)?;
            // Another transaction of the channel is on its way, or has closed it.
            if stored.pending.is_some() || stored.phase != Phase::Open {
                return Ok((tx, None));
            }
            holds::close_holds(&mut tx, id, now).await?;
            // Read again: what its requests were charged is posted now.
            let stored = store::lock(&mut tx, id).await?.ok_or(ChannelRefusal::Unknown)?;
            // Where it is not due any more, its requests go on.
            let (pending, transaction) = sign(&stored)?.ok_or(TxFailure::NotDue)?;
            store::set_pending(&mut tx, id, &pending).await?;
            Ok::<_, TxFailure>((tx, Some((pending, transaction))))
        });
        let (pending, transaction) = recorded.await?.ok_or(ChannelError::Pending)?;
        let receipt = self.send(id, &pending, &transaction, now).await?;
        self.record_settlement(channel, &pending, &receipt, now).await
    }

    /// Returns the network's gas price. Read before a close is recorded, as all that takes long is:
    /// the channel is locked then.
    async fn gas_price(&self) -> Result<u128, ChannelError> {
        self.chain.gas_price().await.map_err(|error| {
            tracing::warn!(%error, "the gas price cannot be read from the chain");
            ChannelError::Unavailable("the chain")
        })
    }

    /// Signs a call of the reserve by a channel's operator.
    fn sign(
        &self,
        descriptor: &Descriptor,
        input: Bytes,
        price: u128,
        now: Timestamp,
    ) -> Result<SignedTransaction, TxFailure> {
        let call = Call { to: TxKind::Call(self.terms.escrow), value: U256::ZERO, input };
        // Twice the price: room for the base fee to rise while it is valid.
        let fees = Fees {
            max_fee_per_gas: price.saturating_mul(2),
            max_priority_fee_per_gas: 0,
            ..self.operator.fees
        };
        let until = u64::try_from(now.seconds() + VALID_SECONDS).unwrap_or(u64::MAX);
        let signer = self.operator.signer_of(descriptor);
        SignedTransaction::sign(signer, self.terms.chain_id, call, &fees, until)
            .map_err(|error| TxFailure::Transaction(error.to_string()))
    }

    /// Refuses a transaction of the operator that would revert: it would cost its fee each time that
    /// the worker comes by. A try of the worker counts from here on, whatever becomes of the transaction.
    async fn refuse_failing(
        &self,
        channel: &Channel,
        transaction: &SignedTransaction,
        initiator: Initiator,
        now: Timestamp,
    ) -> Result<(), ChannelError> {
        let simulated = self.refuse_reverting(transaction).await;
        if matches!(simulated, Err(ChannelError::Unavailable(_))) {
            return simulated;
        }
        let channel = match initiator {
            Initiator::Worker => &self.count_try(channel, now).await?,
            Initiator::Request => channel,
        };
        let Err(error) = simulated else { return Ok(()) };
        // It may be that another settlement or close came first, here or at another instance.
        let is_behind = |stored: Channel| {
            stored.pending.is_some() || stored.phase != channel.phase || stored.settled != channel.settled
        };
        if self.find(channel.id).await?.is_none_or(is_behind) {
            return Err(ChannelError::Pending);
        }
        metrics::counter!("farebox_channel_settlements_refused_total").increment(1);
        report_failing(channel, &error);
        Err(error)
    }

    /// Records a mined settlement or close.
    async fn record_settlement(
        &self,
        channel: &Channel,
        pending: &PendingTx,
        receipt: &ChainReceipt,
        now: Timestamp,
    ) -> Result<(), ChannelError> {
        let escrow = self.terms.escrow;
        let (phase, settled) = match pending.purpose {
            TxPurpose::Close => (Phase::Closed, reserve::closed(receipt, escrow, channel.id)),
            TxPurpose::Settle => (Phase::Open, reserve::settled(receipt, escrow, channel.id)),
            TxPurpose::Open | TxPurpose::TopUp => (Phase::Open, None),
        };
        let Some(settled) = settled else {
            tracing::error!(channel = %channel.id, "a transaction was mined without its event");
            metrics::counter!("farebox_chain_contradictions_total").increment(1);
            return Err(ChannelError::Pending);
        };
        let Descriptor { payee, token, .. } = channel.descriptor;
        if let Some(blocked) = held_back(receipt, token, payee).next() {
            self.record_held_back(channel.id, &pending.hash, &blocked, now).await?;
        }
        let fee = fee_of(Some(receipt));
        self.resolve(channel, pending, TxOutcome { phase, deposit: channel.deposit, settled, fee }, now)
            .await?;
        tracing::info!(channel = %channel.id, %settled, phase = phase.as_str(), "channel settled");
        Ok(())
    }

    /// Finds out on the chain what became of a pending transaction, and records it.
    ///
    /// # Errors
    /// [`ChannelError::Pending`] when its outcome is not known yet.
    pub(super) async fn reconcile(
        &self,
        channel: &Channel,
        pending: &PendingTx,
        now: Timestamp,
    ) -> Result<(), ChannelError> {
        let hash = pending.hash.parse().map_err(|_| ChannelError::Pending)?;
        let receipt = match self.chain.receipt(hash).await {
            Ok(Some(receipt)) => receipt,
            Ok(None) if self.has_expired(pending, hash, now).await => {
                return self.record_failure(channel.id, pending, None, now).await;
            }
            Ok(None) => return Err(ChannelError::Pending),
            Err(error) => {
                tracing::warn!(%error, "the receipt of a pending transaction cannot be read");
                return Err(ChannelError::Pending);
            }
        };
        if !self.succeeded(&receipt, channel.id)? {
            return self.record_failure(channel.id, pending, Some(&receipt), now).await;
        }
        match pending.purpose {
            TxPurpose::Open => self.record_opening(channel.id, pending, &receipt, now).await,
            TxPurpose::TopUp => {
                let deposit = reserve::topped_up(&receipt, self.terms.escrow, channel.id)
                    .ok_or(ChannelError::Pending)?;
                self.resolve(channel, pending, top_up_outcome(channel, deposit, &receipt), now).await
            }
            TxPurpose::Settle | TxPurpose::Close => {
                self.record_settlement(channel, pending, &receipt, now).await
            }
        }
    }
}
