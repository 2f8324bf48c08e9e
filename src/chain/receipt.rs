//! Receipts: what a mined transaction moved, and what it cost.

use alloy::network::ReceiptResponse as _;
use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::sol_types::{SolEvent as _, SolValue as _};
use tempo_alloy::contracts::precompiles::ITIP20;
use tempo_contracts::precompiles::IReceivePolicyGuard::{ClaimReceiptV1, InboundKind, TransferBlocked};
use tempo_contracts::precompiles::RECEIVE_POLICY_GUARD_ADDRESS;

use super::{ChainReceipt, transaction};
use crate::money::Money;

/// Result of a transfer, as a receipt tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransferResult {
    /// The recipient has the money.
    Arrived,
    /// The recipient's receive policy blocked it (TIP-1028): the sender has paid, and the guard has the money.
    HeldBack(BlockedTransfer),
    /// There was none.
    Absent,
}

/// The result of a TIP-20 transfer of exactly `amount` of `token` to
/// `recipient`. Other transfers beside it are normal: fees are some.
#[must_use]
pub fn transfer_result(
    receipt: &ChainReceipt,
    token: Address,
    recipient: Address,
    amount: Money,
) -> TransferResult {
    let Ok(amount) = u64::try_from(amount.micros()).map(U256::from) else { return TransferResult::Absent };
    let mut logs = receipt.inner.logs().iter().filter(|log| log.address() == token);
    let arrived = logs.any(|log| {
        ITIP20::Transfer::decode_log(&log.inner)
            .is_ok_and(|moved| moved.to == recipient && moved.amount == amount)
    });
    if arrived {
        return TransferResult::Arrived;
    }
    let blocked = held_back(receipt, token, recipient).find(|blocked| blocked.amount == amount);
    blocked.map_or(TransferResult::Absent, TransferResult::HeldBack)
}

/// A transfer with a memo that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoTransfer {
    /// Position of its event among all of its transaction's.
    pub position: usize,
    /// Account that was debited.
    pub payer: Address,
    pub memo: B256,
    /// Amount, in base units of the token.
    pub amount: U256,
}

/// The transfers with a memo of `token` to `recipient` in a transaction that succeeded, in their order.
pub fn memo_transfers(
    receipt: &ChainReceipt,
    token: Address,
    recipient: Address,
) -> impl Iterator<Item = MemoTransfer> {
    let logs = receipt.inner.logs().iter().enumerate();
    logs.filter(move |(_, log)| receipt.status() && log.address() == token)
        .filter_map(|(position, log)| {
            Some((position, ITIP20::TransferWithMemo::decode_log(&log.inner).ok()?))
        })
        .filter(move |(_, moved)| moved.to == recipient)
        .map(|(position, moved)| MemoTransfer {
            position,
            payer: moved.from,
            memo: moved.memo,
            amount: moved.amount,
        })
}

/// A transfer that a receive policy blocked (TIP-1028).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockedTransfer {
    /// Account that was debited; `None` when the guard's receipt is of a version that is not known here.
    pub payer: Option<Address>,
    pub memo: B256,
    /// Amount, in base units of the token.
    pub amount: U256,
    /// The guard's receipt, which its `claim` is given.
    pub claim: Bytes,
}

/// The transfers of `token` to `recipient` that its receive policy blocked.
pub fn held_back(
    receipt: &ChainReceipt,
    token: Address,
    recipient: Address,
) -> impl Iterator<Item = BlockedTransfer> {
    let logs = receipt.inner.logs().iter().filter(|log| log.address() == RECEIVE_POLICY_GUARD_ADDRESS);
    logs.filter_map(|log| TransferBlocked::decode_log(&log.inner).ok())
        .map(|log| log.data)
        .filter(move |blocked| blocked.token == token && blocked.receiver == recipient)
        .filter_map(|blocked| {
            let claim = ClaimReceiptV1::abi_decode(&blocked.receipt).ok();
            // What was minted to the recipient is nobody's payment.
            let is_transfer = claim.as_ref().is_none_or(|claim| claim.kind == InboundKind::TRANSFER);
            is_transfer.then(|| BlockedTransfer {
                payer: claim.as_ref().map(|claim| claim.originator),
                memo: claim.map(|claim| claim.memo).unwrap_or_default(),
                amount: blocked.amount,
                claim: blocked.receipt,
            })
        })
}

/// The network fee of a mined transaction, rounded up; `None` when it does not fit.
#[must_use]
pub fn fee_paid(receipt: &ChainReceipt) -> Option<Money> {
    transaction::fee(u128::from(receipt.gas_used()), receipt.effective_gas_price())
}
