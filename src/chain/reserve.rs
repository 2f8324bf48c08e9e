//! The channel reserve (TIP-1034): the state of channels, the transactions that fund
//! them, and the calls that settle and close.

use alloy::primitives::aliases::U96;
use alloy::primitives::{Address, Bytes, TxKind};
use alloy::sol_types::SolCall as _;
use tempo_contracts::precompiles::ITIP20ChannelReserve as Reserve;

use super::{Chain, ChainError, ChainReceipt, SignedTransaction};
use crate::money::Money;
use crate::payments::methods::tempo::session::{ChannelId, Descriptor};

/// Greatest difference between our clock and a validator's, in seconds.
const CLOCK_SKEW_SECONDS: u64 = 10;

/// Channel state on the chain. All zero once it is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelOnChain {
    pub settled: Money,
    pub deposit: Money,
    /// Time of the payer's request to close, in Unix seconds; zero without one.
    pub close_requested_at: u64,
    /// Time of the block that this state was read at, in Unix seconds.
    pub block_time: u64,
}

impl ChannelOnChain {
    /// True if the channel is closed, given that it was open at `known` (Unix
    /// seconds). All zero alone is no proof: a node that is behind has all zero
    /// for a channel that it has not seen yet. A later block with all zero is one.
    #[must_use]
    pub fn is_closed_since(&self, known: u64) -> bool {
        self.deposit.is_zero() && self.block_time > known.saturating_add(CLOCK_SKEW_SECONDS)
    }
}

/// The one call of a transaction that funds a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FundingCall {
    Open { descriptor: Descriptor, deposit: Money },
    TopUp { descriptor: Descriptor, additional: Money },
}

/// Reason to refuse a funding transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FundingError {
    #[error("the transaction must make exactly one call, to the channel reserve")]
    Calls,
    #[error("the call is neither `open` nor `topUp` of the channel reserve")]
    Method,
    #[error("the amount exceeds what this server can account for")]
    Amount,
}

impl FundingCall {
    /// Parses the one call of a funding transaction.
    ///
    /// # Errors
    /// [`FundingError`].
    pub fn parse(transaction: &SignedTransaction, escrow: Address) -> Result<Self, FundingError> {
        let [call] = transaction.calls() else {
            return Err(FundingError::Calls);
        };
        if call.to != TxKind::Call(escrow) || !call.value.is_zero() {
            return Err(FundingError::Calls);
        }
        if let Ok(open) = Reserve::openCall::abi_decode_validate(&call.input) {
            let payer = transaction.sender();
            let descriptor = Descriptor {
                payer,
                payee: open.payee,
                operator: open.operator,
                token: open.token,
                salt: open.salt,
                authorized_signer: open.authorizedSigner,
                expiring_nonce_hash: transaction.expiring_nonce_hash(),
            };
            return Ok(Self::Open { descriptor, deposit: money(open.deposit)? });
        }
        if let Ok(top_up) = Reserve::topUpCall::abi_decode_validate(&call.input) {
            let additional = money(top_up.additionalDeposit)?;
            return Ok(Self::TopUp { descriptor: from_abi(&top_up.descriptor), additional });
        }
        Err(FundingError::Method)
    }
}

fn money(amount: U96) -> Result<Money, FundingError> {
    i64::try_from(amount).map(Money::from_micros).map_err(|_| FundingError::Amount)
}

fn units(amount: Money) -> U96 {
    U96::from(u64::try_from(amount.micros()).unwrap_or(0))
}

fn from_abi(abi: &Reserve::ChannelDescriptor) -> Descriptor {
    Descriptor {
        payer: abi.payer,
        payee: abi.payee,
        operator: abi.operator,
        token: abi.token,
        salt: abi.salt,
        authorized_signer: abi.authorizedSigner,
        expiring_nonce_hash: abi.expiringNonceHash,
    }
}

fn to_abi(descriptor: &Descriptor) -> Reserve::ChannelDescriptor {
    Reserve::ChannelDescriptor {
        payer: descriptor.payer,
        payee: descriptor.payee,
        operator: descriptor.operator,
        token: descriptor.token,
        salt: descriptor.salt,
        authorizedSigner: descriptor.authorized_signer,
        expiringNonceHash: descriptor.expiring_nonce_hash,
    }
}

/// The call that pays the payee up to a voucher's amount.
#[must_use]
pub fn settle_call(descriptor: &Descriptor, cumulative: Money, signature: &Bytes) -> Bytes {
    Reserve::settleCall {
        descriptor: to_abi(descriptor),
        cumulativeAmount: units(cumulative),
        signature: signature.clone(),
    }
    .abi_encode()
    .into()
}

/// The call that pays `capture`, returns the rest to the payer and ends the channel.
#[must_use]
pub fn close_call(descriptor: &Descriptor, cumulative: Money, capture: Money, signature: &Bytes) -> Bytes {
    Reserve::closeCall {
        descriptor: to_abi(descriptor),
        cumulativeAmount: units(cumulative),
        captureAmount: units(capture),
        signature: signature.clone(),
    }
    .abi_encode()
    .into()
}

/// The deposit with which a mined transaction opened a channel.
#[must_use]
pub fn opened(receipt: &ChainReceipt, escrow: Address, channel: ChannelId) -> Option<Money> {
    events::<Reserve::ChannelOpened>(receipt, escrow)
        .find(|event| event.channelId == channel.0)
        .and_then(|event| money(event.deposit).ok())
}

/// The deposit of a channel after a mined transaction topped it up.
#[must_use]
pub fn topped_up(receipt: &ChainReceipt, escrow: Address, channel: ChannelId) -> Option<Money> {
    events::<Reserve::TopUp>(receipt, escrow)
        .find(|event| event.channelId == channel.0)
        .and_then(|event| money(event.newDeposit).ok())
}

/// Total that a channel has paid out after a mined settlement.
#[must_use]
pub fn settled(receipt: &ChainReceipt, escrow: Address, channel: ChannelId) -> Option<Money> {
    events::<Reserve::Settled>(receipt, escrow)
        .find(|event| event.channelId == channel.0)
        .and_then(|event| money(event.newSettled).ok())
}

/// Total that the payee has got after a mined close, the earlier settlements included.
#[must_use]
pub fn closed(receipt: &ChainReceipt, escrow: Address, channel: ChannelId) -> Option<Money> {
    events::<Reserve::ChannelClosed>(receipt, escrow)
        .find(|event| event.channelId == channel.0)
        .and_then(|event| money(event.settledToPayee).ok())
}

/// True if a mined transaction changed a channel. Every event of the reserve names its
/// channel first, and a transaction that failed has none.
#[must_use]
pub fn acted_on(receipt: &ChainReceipt, escrow: Address, channel: ChannelId) -> bool {
    let logs = receipt.inner.logs().iter().filter(|log| log.address() == escrow);
    logs.filter_map(|log| log.topics().get(1)).any(|named| *named == channel.0)
}

fn events<E: alloy::sol_types::SolEvent>(receipt: &ChainReceipt, escrow: Address) -> impl Iterator<Item = E> {
    receipt
        .inner
        .logs()
        .iter()
        .filter(move |log| log.address() == escrow)
        .filter_map(|log| E::decode_log(&log.inner).ok().map(|event| event.data))
}

impl Chain {
    /// The state of a channel at the newest block. The block is read first and the
    /// state at just that one: an answer cannot be older than its block time. The
    /// chain id is checked before: another chain has no channel of ours.
    ///
    /// # Errors
    /// [`ChainError`] when the node is unreachable or its answer is invalid.
    pub async fn channel(&self, escrow: Address, channel: ChannelId) -> Result<ChannelOnChain, ChainError> {
        self.confirm().await?;
        let (number, block_time) = self.newest_block().await?;
        let input = Reserve::getChannelStateCall { channelId: channel.0 }.abi_encode();
        let output = self.call_at(number, escrow, input.into()).await?;
        let invalid = |_| ChainError::InvalidAnswer { method: "eth_call" };
        let state = Reserve::getChannelStateCall::abi_decode_returns(&output)
            .map_err(|_| ChainError::InvalidAnswer { method: "eth_call" })?;
        Ok(ChannelOnChain {
            settled: money(state.settled).map_err(invalid)?,
            deposit: money(state.deposit).map_err(invalid)?,
            close_requested_at: u64::from(state.closeRequestedAt),
            block_time,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_15_a_node_that_is_behind_does_not_end_a_channel() {
        let at = |deposit, block_time| ChannelOnChain {
            settled: Money::ZERO,
            deposit: Money::from_micros(deposit),
            close_requested_at: 0,
            block_time,
        };
        assert!(!at(0, 1_000).is_closed_since(1_000), "no later than the known moment");
        assert!(!at(0, 1_010).is_closed_since(1_000), "within the skew of clocks");
        assert!(at(0, 1_011).is_closed_since(1_000));
        assert!(!at(1, 9_999).is_closed_since(1_000));
    }
}
