//! Additions of the proxy to anvil. Each is probed for at the start and stays off where anvil does
//! it itself.
//!
//! Receipts need no probe: [`super::receipts`] looks at each answer. `tempo_simulateV1` needs no
//! addition: anvil answers "method not found", on which clients fall back to `eth_call`.

use serde_json::Value;

use super::rpc::{Rpc, RpcError};
use super::{gas, reserve};

/// Additions that are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Additions {
    /// `tempo_fundAddress` is answered by the proxy.
    pub faucet: bool,
    /// Calls and gas estimates look at the calls of a batch.
    pub batch_gas: bool,
    /// The channel reserve of TIP-1034 is a contract of ours.
    pub reserve: bool,
}

impl Additions {
    pub(super) async fn probe(rpc: &Rpc) -> Result<Self, RpcError> {
        Ok(Self {
            faucet: !rpc.supports("tempo_fundAddress").await?,
            batch_gas: gas::ignores_batches(rpc).await?,
            reserve: reserve::is_missing(rpc).await?,
        })
    }

    /// True if `method` runs or estimates a transaction whose batch has to be examined.
    pub(super) fn examines_batch(self, method: &str) -> bool {
        self.batch_gas && matches!(method, "eth_call" | "eth_estimateGas" | "eth_fillTransaction")
    }
}

/// True if the first parameter of `method` describes a transaction that is not signed yet.
pub(super) fn describes_transaction(method: &str) -> bool {
    matches!(
        method,
        "eth_call"
            | "eth_createAccessList"
            | "eth_estimateGas"
            | "eth_fillTransaction"
            | "eth_sendTransaction"
            | "eth_sendTransactionSync"
    )
}

/// True if anvil signs the transaction that `method` describes, and sends it.
pub(super) fn sends_unsigned(method: &str) -> bool {
    matches!(method, "eth_sendTransaction" | "eth_sendTransactionSync")
}

/// Gas in the answer to `method`, if the request did not fix it.
pub(super) fn gas_field<'a>(
    method: &str,
    transaction: &Value,
    result: &'a mut Value,
) -> Option<&'a mut Value> {
    match method {
        "eth_estimateGas" => Some(result),
        "eth_fillTransaction" if transaction.get("gas").is_none_or(Value::is_null) => {
            result.get_mut("tx")?.get_mut("gas")
        }
        _ => None,
    }
}
