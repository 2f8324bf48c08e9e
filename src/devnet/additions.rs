//! What the proxy adds to anvil. Each addition is probed for at the start and stays off where anvil
//! does it itself.
//!
//! Receipts need no probe: [`super::receipts`] looks at each answer. `tempo_simulateV1` needs no
//! addition: anvil answers "method not found", on which clients fall back to `eth_call`.

use serde_json::Value;

use super::gas;
use super::rpc::{Rpc, RpcError};

/// Which additions are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Additions {
    /// `tempo_fundAddress` is answered by the proxy.
    pub faucet: bool,
    /// Calls and gas estimates look at the calls of a batch.
    pub batch_gas: bool,
}

impl Additions {
    pub(super) async fn probe(rpc: &Rpc) -> Result<Self, RpcError> {
        Ok(Self { faucet: !rpc.knows("tempo_fundAddress").await?, batch_gas: gas::is_flat(rpc).await? })
    }

    /// Whether `method` runs or estimates a transaction whose batch has to be looked at.
    pub(super) fn looks_at_batch(self, method: &str) -> bool {
        self.batch_gas && matches!(method, "eth_call" | "eth_estimateGas" | "eth_fillTransaction")
    }
}

/// Where the answer to `method` carries its gas, if the request did not fix it.
pub(super) fn gas_of<'a>(method: &str, transaction: &Value, result: &'a mut Value) -> Option<&'a mut Value> {
    match method {
        "eth_estimateGas" => Some(result),
        "eth_fillTransaction" if transaction.get("gas").is_none_or(Value::is_null) => {
            result.get_mut("tx")?.get_mut("gas")
        }
        _ => None,
    }
}
