//! Contract that sells keys and credit.

use alloy::primitives::Address;
use serde::{Deserialize, Serialize};

use super::ConfigError;

/// The key sale: purchases on the chain become credit. On when a contract is named.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeySaleConfig {
    /// Address of the one contract that is followed; `addresses` for several.
    pub address: Option<Address>,
    /// Addresses of the contracts that are followed, of which the first is shown to buyers; `farebox contracts deploy`
    /// deploys one.
    pub addresses: Vec<Address>,
    /// Account that contracts pay; `payments.recipient` when unset.
    pub payee: Option<Address>,
    /// Further accounts of the operator that contracts may pay: of sales before `payee` was another.
    pub other_payees: Vec<Address>,
    /// Blocks on top of a purchase before it counts.
    pub confirmations: u64,
    /// Most blocks whose logs are asked for at once.
    pub blocks_per_query: u64,
}

impl Default for KeySaleConfig {
    fn default() -> Self {
        Self {
            address: None,
            addresses: Vec::new(),
            payee: None,
            other_payees: Vec::new(),
            confirmations: 2,
            blocks_per_query: 2_000,
        }
    }
}

impl KeySaleConfig {
    /// Contracts that are followed, each once; buyers are shown the first.
    #[must_use]
    pub fn contracts(&self) -> Vec<Address> {
        let mut contracts = Vec::new();
        for contract in self.address.iter().chain(&self.addresses) {
            if !contracts.contains(contract) {
                contracts.push(*contract);
            }
        }
        contracts
    }
}

/// Most contracts that are followed at once.
const MAX_CONTRACTS: usize = 20;
/// Upper bound of `confirmations`, more than any chain was ever reorganised by: beyond it is a typing error.
const MAX_CONFIRMATIONS: u64 = 10_000;
/// Upper bound of `blocks_per_query`: no node answers for more.
const MAX_BLOCKS_PER_QUERY: u64 = 1_000_000;

pub(super) fn validate(sale: &KeySaleConfig) -> Result<(), ConfigError> {
    for (key, addresses) in [
        ("key_sale.address", sale.address.as_slice()),
        ("key_sale.addresses", &sale.addresses),
        ("key_sale.payee", sale.payee.as_slice()),
        ("key_sale.other_payees", &sale.other_payees),
    ] {
        if addresses.iter().any(|address| address.is_zero()) {
            return Err(ConfigError::invalid(key, "is the zero address; leave it out instead"));
        }
    }
    if sale.contracts().len() > MAX_CONTRACTS {
        return Err(ConfigError::invalid(
            "key_sale.addresses",
            format!("name {MAX_CONTRACTS} contracts at the most"),
        ));
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
            (
                KeySaleConfig { addresses: vec![Address::ZERO], ..KeySaleConfig::default() },
                "key_sale.addresses",
            ),
            (
                KeySaleConfig {
                    addresses: (1..=21).map(Address::with_last_byte).collect(),
                    ..KeySaleConfig::default()
                },
                "key_sale.addresses",
            ),
            (KeySaleConfig { payee: Some(Address::ZERO), ..KeySaleConfig::default() }, "key_sale.payee"),
            (
                KeySaleConfig { other_payees: vec![Address::ZERO], ..KeySaleConfig::default() },
                "key_sale.other_payees",
            ),
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
