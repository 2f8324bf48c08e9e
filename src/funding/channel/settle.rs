//! Settlements and closes: moving what was earned on a channel to the payee.

use alloy::primitives::{Bytes, TxKind, U256};
use tempo_alloy::primitives::transaction::Call;

use super::outgoing::{OutgoingTx, fee_of, pending_tx};
use super::state::{Channel, ChannelRefusal, ChannelRequest, PendingTx, Phase, TxPurpose};
use super::store::{self, TxOutcome};
use super::top_up::top_up_outcome;
use super::{ChannelError, Channels, TxFailure, holds};
use crate::chain::{ChainReceipt, Fees, SignedTransaction, held_back, reserve};
use crate::db::Tx;
use crate::id::{HoldId, Timestamp};
use crate::ledger::{self, EntryDetails, EntryKind, HoldOutcome, IdempotencyStatus};
use crate::money::Money;
use crate::payments::methods::tempo::session::{ChannelId, Descriptor, SignedVoucher};

/// Validity of the operator's transactions, in seconds: within the 30 that the
/// chain allows for expiring nonces.
const VALID_SECONDS: i64 = 25;

/// A settlement or close to be sent.
struct Settlement {
    purpose: TxPurpose,
    /// Amount to be settled, or captured by the close.
    amount: Money,
    input: Bytes,
}

impl Channels {
    /// Opens the hold of a request on a channel, and ends earlier requests on it:
    /// a channel serves one request at a time ("Concurrency Model").
    ///
    /// # Errors
    /// [`ChannelError::Refused`] when the channel cannot be used.
    pub async fn begin(
        &self,
        id: ChannelId,
        request: &ChannelRequest<'_>,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<HoldId, ChannelError> {
        let hold = self
            .db
            .transaction(|mut tx| async move {
                let channel = store::lock(&mut tx, id).await?.ok_or(ChannelRefusal::Unknown)?;
                channel.usable()?;
                let account = store::account(id);
                let key = match ledger::idempotency_status(&mut tx, &account, request.key, now).await? {
                    IdempotencyStatus::New(key) => key,
                    IdempotencyStatus::InProgress => return Err(ChannelRefusal::InProgress.into()),
                    IdempotencyStatus::Charged => return Err(ChannelRefusal::Repeated.into()),
                };
                close_holds(&mut tx, id, now).await?;
                // All that is available: no other request runs on the channel.
                let available = ledger::lock(&mut tx, &account).await?.available();
                let opened = ledger::hold(&mut tx, &account, &key, available, now, expires_at).await?;
                let (HoldOutcome::Opened(hold) | HoldOutcome::Existing(hold)) = opened else {
                    return Err(ChannelRefusal::Unknown.into());
                };
                holds::set_request(&mut tx, id, &hold, request).await?;
                Ok::<_, TxFailure>((tx, hold))
            })
            .await?;
        Ok(hold)
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
        if let Some(pending) = channel.closing() {
            self.reconcile(&channel, pending, now).await?;
            channel = self.find(id).await?.ok_or(ChannelRefusal::Unknown)?;
        }
        if channel.phase == Phase::Closed {
            return Ok(channel);
        }
        // Not closed, or by a transaction that failed. A signature taken from the chain must not end
        // the requests on the channel.
        channel.may_close(voucher.amount, authorized)?;
        let price = self.gas_price().await?;
        let channel = self.stop_requests(id, now).await?;
        // The same close came twice at once, and the other one is pending or done.
        if channel.closing().is_some() {
            return Err(ChannelError::Pending);
        }
        if channel.phase == Phase::Closed {
            return Ok(channel);
        }
        let capture = channel.may_close(voucher.amount, authorized)?;
        self.send_close(&channel, voucher, capture, price, now).await?;
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

    /// Closes every open hold of a channel; their streams end at what was charged.
    pub(super) async fn stop_requests(&self, id: ChannelId, now: Timestamp) -> Result<Channel, ChannelError> {
        self.db
            .transaction(|mut tx| async move {
                store::lock(&mut tx, id).await?.ok_or(ChannelRefusal::Unknown)?;
                close_holds(&mut tx, id, now).await?;
                Ok::<_, TxFailure>((tx, ()))
            })
            .await?;
        self.find(id).await?.ok_or_else(|| ChannelRefusal::Unknown.into())
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
                close_holds(&mut tx, id, now).await?;
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
        let Some(voucher) = store::settleable(&self.db, channel.id, channel.spent).await? else {
            return Ok(());
        };
        if voucher.amount <= channel.settled {
            return Ok(());
        }
        let settlement = Settlement {
            purpose: TxPurpose::Settle,
            amount: voucher.amount,
            input: reserve::settle_call(&channel.descriptor, voucher.amount, &voucher.signature),
        };
        let price = self.gas_price().await?;
        self.dispatch(channel, settlement, price, now).await
    }

    /// Closes a channel without its payer, with its highest voucher.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn close_now(&self, id: ChannelId, now: Timestamp) -> Result<(), ChannelError> {
        let price = self.gas_price().await?;
        let channel = self.stop_requests(id, now).await?;
        let Some(voucher) = channel.voucher.clone() else {
            return Ok(());
        };
        let capture = channel.capture();
        self.send_close(&channel, &voucher, capture, price, now).await
    }

    async fn send_close(
        &self,
        channel: &Channel,
        voucher: &SignedVoucher,
        capture: Money,
        price: u128,
        now: Timestamp,
    ) -> Result<(), ChannelError> {
        let settlement = Settlement {
            purpose: TxPurpose::Close,
            amount: capture,
            input: reserve::close_call(&channel.descriptor, voucher.amount, capture, &voucher.signature),
        };
        self.dispatch(channel, settlement, price, now).await
    }

    /// Returns the network's gas price. Read before requests are stopped: while it is
    /// read after that, a new request could be charged, which the capture would lack.
    async fn gas_price(&self) -> Result<u128, ChannelError> {
        self.chain.gas_price().await.map_err(|error| {
            tracing::warn!(%error, "the gas price cannot be read from the chain");
            ChannelError::Unavailable("the chain")
        })
    }

    /// Signs, records, sends and resolves a transaction of the operator.
    async fn dispatch(
        &self,
        channel: &Channel,
        settlement: Settlement,
        price: u128,
        now: Timestamp,
    ) -> Result<(), ChannelError> {
        let Settlement { purpose, amount, input } = settlement;
        let call = Call { to: TxKind::Call(self.terms.escrow), value: U256::ZERO, input };
        // Twice the price: room for the base fee to rise while it is valid.
        let fees = Fees {
            max_fee_per_gas: price.saturating_mul(2),
            max_priority_fee_per_gas: 0,
            ..self.operator.fees
        };
        let until = u64::try_from(now.seconds() + VALID_SECONDS).unwrap_or(u64::MAX);
        let transaction =
            SignedTransaction::sign(&self.operator.signer, self.terms.chain_id, call, &fees, until)
                .map_err(|error| ChannelError::Transaction(error.to_string()))?;
        // One that reverts would cost its fee each time that the worker comes by.
        if let Err(error) = self.refuse_reverting(&transaction).await {
            // It may be that another settlement or close came first, here or at another instance.
            let is_behind = |now: Channel| {
                now.pending.is_some() || now.phase != channel.phase || now.settled != channel.settled
            };
            let behind = self.find(channel.id).await?.is_none_or(is_behind);
            return Err(if behind { ChannelError::Pending } else { error });
        }
        let pending = pending_tx(purpose, amount, &transaction);
        let outgoing = OutgoingTx { pending: &pending, opens: None, payer: channel.descriptor.payer };
        if !self.record_pending(channel.id, &outgoing, now).await? {
            return Err(ChannelError::Pending);
        }
        let receipt = self.send(channel.id, &pending, &transaction, now).await?;
        self.record_settlement(channel, &pending, &receipt, now).await
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

/// Closes the open holds of a channel at what they were charged.
async fn close_holds(tx: &mut Tx, id: ChannelId, now: Timestamp) -> Result<(), TxFailure> {
    for open in holds::open_holds(tx, id).await? {
        let units = open.charged.micros().checked_div(open.unit_price.micros()).unwrap_or(0);
        let details = EntryDetails {
            kind: EntryKind::Usage,
            request_id: open.request_id,
            service: open.service,
            units: u64::try_from(units).unwrap_or(0),
            unit_price: open.unit_price,
            meta: serde_json::json!({
                "channel": id.to_string(), "challenge": open.challenge, "end": "superseded",
            }),
        };
        ledger::close(tx, &open.hold, &details, now).await?;
    }
    Ok(())
}
