//! Compiled contracts: the code that is deployed, and whether an address holds it.

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

    /// True if deployed code is this contract's, whatever its immutable values.
    pub(super) fn is_code(&self, code: &[u8]) -> bool {
        let mut masked = code.to_vec();
        for ImmutableReference { start, length } in &self.immutable_references {
            if let Some(value) = start.checked_add(*length).and_then(|end| masked.get_mut(*start..end)) {
                value.fill(0);
            }
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
        let mut code = KEY_SALE.deployed_bytecode.clone();
        let ImmutableReference { start, length } = KEY_SALE.immutable_references[0];
        code[start..start + length].fill(7);
        assert!(KEY_SALE.is_code(&code) && !KEY_SALE_V1.is_code(&code));
        code[start - 1] ^= 1;
        assert!(!KEY_SALE.is_code(&code));
        for other in [&[][..], &KEY_SALE.deployed_bytecode[..start], &KEY_SALE_V1.deployed_bytecode] {
            assert!(!KEY_SALE.is_code(other));
        }
    }
}
