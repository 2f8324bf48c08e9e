//! Payment channels.

use alloy::primitives::{Address, address};
use serde::{Deserialize, Serialize};

use super::Secret;
use crate::money::Money;

/// Payment channels (sessions), for streamed chat. On when `operator_key` and
/// at least one model are set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionsConfig {
    /// Key that settles and closes channels: of `payments.recipient` itself, or
    /// of an operator that new channels then name.
    pub operator_key: Option<Secret>,
    /// The key before, which channels that were opened with it still need; its account pays their network fees.
    pub previous_operator_key: Option<Secret>,
    /// Address of the channel reserve (TIP-1034).
    pub escrow: Address,
    /// Time for which a session challenge can be used, in seconds. Vouchers echo it for a whole stream.
    pub challenge_ttl_seconds: u64,
    /// Deposit that is suggested, in units of the model's price.
    pub suggested_deposit_units: u64,
    /// Units left to spend below which a voucher is asked for, at least; a fast
    /// stream asks earlier.
    pub window_low: u64,
    /// Units that a voucher is asked for, at least; a fast stream asks for more.
    pub window_size: u64,
    /// Least amount that a voucher must add to the one before it.
    pub min_voucher_delta: Money,
    /// Vouchers of one channel that are taken per second on average; ten times
    /// as many at once.
    pub vouchers_per_second: u32,
    /// Operator's balance of the fee token below which a warning is given.
    pub low_fee_balance: Money,
    /// Amount spent and not settled above which a channel is settled.
    pub settle_above: Money,
    /// Idle time after which a channel is settled, in seconds.
    pub settle_after_seconds: u64,
    /// Idle time after which a channel is closed, in seconds.
    pub close_idle_seconds: u64,
    /// Gas limit of a settlement.
    pub gas: u64,
}

impl Default for SessionsConfig {
    fn default() -> Self {
        Self {
            operator_key: None,
            previous_operator_key: None,
            escrow: address!("4d50500000000000000000000000000000000000"),
            challenge_ttl_seconds: 6 * 3600,
            suggested_deposit_units: 2_000,
            window_low: 16,
            window_size: 64,
            min_voucher_delta: Money::ZERO,
            vouchers_per_second: 10,
            low_fee_balance: Money::from_micros(1_000_000),
            settle_above: Money::from_micros(1_000_000),
            settle_after_seconds: 600,
            close_idle_seconds: 7 * 24 * 3600,
            gas: 1_500_000,
        }
    }
}
