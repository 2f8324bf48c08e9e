//! Compiled contracts: the code that is deployed, and whether an address holds it.

use std::collections::HashMap;
use std::sync::LazyLock;

use alloy::hex;
use alloy::primitives::Bytes;
use serde::Deserialize;

pub(super) static KEY_SALE: LazyLock<Artifact> =
    LazyLock::new(|| Artifact::parse(include_str!("../../../contracts/artifacts/KeySale.json")));
pub(super) static KEY_SALE_V1: LazyLock<Artifact> =
    LazyLock::new(|| Artifact::parse(include_str!("../../../contracts/artifacts/KeySaleV1.json")));

/// The part of a compiler's output that is used.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Artifact {
    #[serde(deserialize_with = "from_hex")]
    bytecode: Vec<u8>,
    #[serde(deserialize_with = "from_hex")]
    deployed_bytecode: Vec<u8>,
    /// Places of the deployed code that the constructor fills in; zero in `deployed_bytecode`.
    immutable_references: Vec<ImmutableReference>,
}

#[derive(Debug, Deserialize)]
struct ImmutableReference {
    /// Name of the variable.
    name: String,
    start: usize,
    length: usize,
}

impl Artifact {
    fn parse(json: &str) -> Self {
        serde_json::from_str(json).expect("the artifact is a compiler's output")
    }

    /// The transaction data that deploys the contract with these encoded arguments.
    pub(super) fn deployment(&self, arguments: &[u8]) -> Bytes {
        [self.bytecode.as_slice(), arguments].concat().into()
    }

    /// True if deployed code is this contract's, whatever its immutable values. Each of those stands at several places;
    /// code with another payee at the transfer than in the view is not this contract's.
    pub(super) fn is_code(&self, code: &[u8]) -> bool {
        let mut masked = code.to_vec();
        let mut values = HashMap::new();
        for ImmutableReference { name, start, length } in &self.immutable_references {
            let place = start.checked_add(*length).map(|end| *start..end);
            let Some(value) = place.and_then(|place| masked.get_mut(place)) else { return false };
            if values.entry(name).or_insert_with(|| value.to_vec()) != value {
                return false;
            }
            value.fill(0);
        }
        masked == self.deployed_bytecode
    }

    #[cfg(test)]
    pub(super) fn code_in_hex(&self) -> String {
        hex::encode(&self.deployed_bytecode)
    }
}

fn from_hex<'de, D: serde::Deserializer<'de>>(text: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(text)?;
    hex::decode(text).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_recognised_by_all_but_its_immutable_values() {
        let payee: Vec<_> = KEY_SALE.immutable_references.iter().filter(|at| at.name == "payee").collect();
        assert!(payee.len() > 1, "it stands at several places");
        let mut code = KEY_SALE.deployed_bytecode.clone();
        for ImmutableReference { start, length, .. } in &payee {
            code[*start..start + length].fill(7);
        }
        assert!(KEY_SALE.is_code(&code) && !KEY_SALE_V1.is_code(&code));
        let start = payee[0].start;
        let mut other_payee = code.clone();
        other_payee[start] = 8;
        code[start - 1] ^= 1;
        assert!(!KEY_SALE.is_code(&other_payee) && !KEY_SALE.is_code(&code));
        for other in [&[][..], &KEY_SALE.deployed_bytecode[..start], &KEY_SALE_V1.deployed_bytecode] {
            assert!(!KEY_SALE.is_code(other));
        }
    }
}
