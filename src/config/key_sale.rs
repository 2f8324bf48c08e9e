//! Contract that sells keys and credit.

use alloy::primitives::Address;
use serde::{Deserialize, Serialize};

use super::ConfigError;

/// The key sale: purchases on the chain become credit. On when `address` is set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeySaleConfig {
    /// Address of the contract; `farebox contracts deploy` deploys one.
    pub address: Option<Address>,
    /// Account that the contract pays; `payments.recipient` when unset.
    pub payee: Option<Address>,
    /// Blocks on top of a purchase before it counts.
    pub confirmations: u64,
    /// Most blocks whose logs are asked for at once.
    pub blocks_per_query: u64,
}

impl Default for KeySaleConfig {
    fn default() -> Self {
        Self { address: None, payee: None, confirmations: 2, blocks_per_query: 2_000 }
    }
}

/// Upper bound of `confirmations`, more than any chain was ever reorganised by: beyond it is a typing error.
const MAX_CONFIRMATIONS: u64 = 10_000;
/// Upper bound of `blocks_per_query`: no node answers for more.
const MAX_BLOCKS_PER_QUERY: u64 = 1_000_000;

pub(super) fn validate(sale: &KeySaleConfig) -> Result<(), ConfigError> {
    for (key, address) in [("key_sale.address", sale.address), ("key_sale.payee", sale.payee)] {
        if address.is_some_and(|address| address.is_zero()) {
            return Err(ConfigError::invalid(key, "is the zero address; leave it out instead"));
        }
    }
    if sale.confirmations > MAX_CONFIRMATIONS {
        return Err(ConfigError::invalid(
            "key_sale.confirmations",
            format!("set a number of blocks up to {MAX_CONFIRMATIONS}"),
        ));
    }
    if !(1..=MAX_BLOCKS_PER_QUERY).contains(&sale.blocks_per_query) {
        return Err(ConfigError::invalid(
            "key_sale.blocks_per_query",
            format!("set a number of blocks from 1 to {MAX_BLOCKS_PER_QUERY}"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_values_name_their_key() {
        validate(&KeySaleConfig::default()).expect("valid");
        validate(&KeySaleConfig { confirmations: 0, ..KeySaleConfig::default() }).expect("valid");
        for (wrong, key) in [
            (KeySaleConfig { address: Some(Address::ZERO), ..KeySaleConfig::default() }, "key_sale.address"),
            (KeySaleConfig { payee: Some(Address::ZERO), ..KeySaleConfig::default() }, "key_sale.payee"),
            (KeySaleConfig { confirmations: u64::MAX, ..KeySaleConfig::default() }, "key_sale.confirmations"),
            (KeySaleConfig { blocks_per_query: 0, ..KeySaleConfig::default() }, "key_sale.blocks_per_query"),
            (
                KeySaleConfig { blocks_per_query: u64::MAX, ..KeySaleConfig::default() },
                "key_sale.blocks_per_query",
            ),
        ] {
            let error = validate(&wrong).expect_err("refused").to_string();
            assert!(error.starts_with(key), "{error}");
        }
    }
}
