//! Gas of batches: anvil 1.7.1 ignores the `calls` of a Tempo transaction in calls and estimates. It takes the request
//! for the creation of an empty contract: a call of a batch never reverts, but needs the gas of a creation, and its
//! estimate is one flat number, which suffices for one or two small calls and is too low for a larger batch.
//!
//! The calls are simulated one after the other on the same state. A simulated call pays its own
//! base cost and the price of its sender's first transaction, which a batch pays once.

use alloy::primitives::{U64, U256};
use serde_json::{Value, json};

use super::rpc::{Rpc, RpcError};

/// Base cost (21,000) and first-transaction cost (250,000) that each further simulated call counts
/// again.
const REPEATED_COST: u64 = 271_000;

/// Gas that a transaction can use beside its calls: a new nonce key, a larger signature, a key
/// authorisation.
const OVERHEAD: u64 = 300_000;

/// Gas of every transaction, and of each byte that is zero.
const BASE_COST: u64 = 21_000;
const BYTE_COST: u64 = 4;

/// JSON-RPC error code of a reverted call.
const REVERTED: i64 = 3;
/// JSON-RPC error code with which nodes refuse a transaction that no block can include.
const SERVER_ERROR: i64 = -32_000;

/// Gas estimate of a batch of calls.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BatchGas {
    /// The request has no batch; anvil's own answer holds.
    NoBatch,
    /// The batch succeeds, with this output of its last call, and gas that is enough for it.
    Sufficient { gas: u64, output: Value },
    /// A call of the batch reverts, or its gas does not even pay for its bytes: the JSON-RPC error to answer.
    Reverts(Value),
}

/// Probes whether anvil ignores `calls`: it then finds gas for a batch that must revert.
pub(super) async fn ignores_batches(rpc: &Rpc) -> Result<bool, RpcError> {
    // An approval from an account to itself with truncated arguments cannot be decoded.
    let batch = json!([{ "calls": [{ "to": super::TOKENS[0], "input": "0x095ea7b3" }] }]);
    match rpc.call::<Value>("eth_estimateGas", batch).await {
        Ok(_) => Ok(true),
        Err(RpcError::Refused { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Estimates the batch in `transaction`, if it has one.
pub(super) async fn estimate_batch(rpc: &Rpc, transaction: &Value) -> Result<BatchGas, RpcError> {
    let Some(calls) = batch(transaction) else {
        return Ok(BatchGas::NoBatch);
    };
    let least = intrinsic(&calls);
    if quantity(&transaction["gas"]).is_some_and(|gas| gas < least) {
        let message = format!("intrinsic gas too low: the transaction needs {least}");
        return Ok(BatchGas::Reverts(json!({ "code": SERVER_ERROR, "message": message })));
    }
    let request = json!([{ "blockStateCalls": [{ "calls": calls }], "validation": false }, "latest"]);
    let blocks: Value = rpc.call("eth_simulateV1", request).await?;
    let simulated = blocks[0]["calls"].as_array().map(Vec::as_slice).unwrap_or_default();
    if let Some(failed) = simulated.iter().find(|call| call["status"] != "0x1") {
        return Ok(BatchGas::Reverts(
            json!({ "code": REVERTED, "message": "execution reverted", "data": failed["returnData"] }),
        ));
    }
    let used: Option<Vec<u64>> = simulated.iter().map(|call| quantity(&call["gasUsed"])).collect();
    match used {
        Some(used) if used.len() == calls.len() => {
            let output = simulated.last().map_or(Value::Null, |call| call["returnData"].clone());
            Ok(BatchGas::Sufficient { gas: sufficient(&used), output })
        }
        Some(_) | None => {
            Err(RpcError::Malformed { method: "eth_simulateV1".to_owned(), answer: blocks.to_string() })
        }
    }
}

/// The least gas of a transaction of these calls: its base cost, and the cheapest price of its bytes.
fn intrinsic(calls: &[Value]) -> u64 {
    let bytes = |call: &Value| call["input"].as_str().map_or(0, |input| input.len().saturating_sub(2) / 2);
    let bytes: usize = calls.iter().map(bytes).sum();
    BASE_COST.saturating_add(BYTE_COST.saturating_mul(bytes as u64))
}

/// The gas for a batch whose calls use `used` each when simulated alone.
fn sufficient(used: &[u64]) -> u64 {
    let repeated = REPEATED_COST.saturating_mul(used.len().saturating_sub(1) as u64);
    let total = used.iter().fold(0u64, |sum, gas| sum.saturating_add(*gas));
    total.saturating_sub(repeated).saturating_add(OVERHEAD)
}

/// True if a request describes a Tempo transaction with calls.
pub(super) fn is_batch(transaction: &Value) -> bool {
    batch(transaction).is_some()
}

/// The calls of a Tempo transaction request, each as a call of its own.
fn batch(transaction: &Value) -> Option<Vec<Value>> {
    let calls = transaction["calls"].as_array().filter(|calls| !calls.is_empty())?;
    // With `to`, the request is a plain call to anvil, which it estimates well.
    if transaction.get("to").is_some_and(|to| !to.is_null()) {
        return None;
    }
    let plain = |call: &Value| {
        let input = ["input", "data"].iter().find_map(|key| call[*key].as_str()).unwrap_or("0x");
        let value = call["value"].as_str().unwrap_or("0x0");
        let mut plain = json!({ "input": input, "value": value });
        for (key, from) in [("to", &call["to"]), ("from", &transaction["from"])] {
            if !from.is_null() {
                plain[key] = from.clone();
            }
        }
        plain
    };
    Some(calls.iter().map(plain).collect())
}

/// A JSON-RPC quantity, or `None` when it is none or too large for gas.
fn quantity(value: &Value) -> Option<u64> {
    value.as_str()?.parse::<U256>().ok()?.try_into().ok()
}

/// Raises `gas` to at least `minimum`.
pub(super) fn raise(gas: &mut Value, minimum: u64) {
    if quantity(gas).is_none_or(|gas| gas < minimum) {
        *gas = json!(U64::from(minimum));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_of_a_transaction_count_once() {
        assert_eq!(sufficient(&[550_000]), 850_000);
        assert_eq!(sufficient(&[550_000, 550_000]), 550_000 + 279_000 + 300_000);
        assert_eq!(sufficient(&[21_000, 21_000]), 300_000);
    }

    #[test]
    fn gas_is_raised_and_never_lowered() {
        let mut gas = json!("0x64");
        raise(&mut gas, 50);
        assert_eq!(gas, "0x64");
        raise(&mut gas, 200);
        assert_eq!(gas, "0xc8");
    }

    #[test]
    fn a_batch_takes_its_sender_along() {
        let calls = batch(
            &json!({ "from": "0xaa", "calls": [{ "to": "0xbb", "data": "0x01" }, { "input": "0x02" }] }),
        );
        let expected = vec![
            json!({ "from": "0xaa", "to": "0xbb", "input": "0x01", "value": "0x0" }),
            json!({ "from": "0xaa", "input": "0x02", "value": "0x0" }),
        ];
        assert_eq!(calls, Some(expected));
        assert_eq!(batch(&json!({ "to": "0xbb", "calls": [{}] })), None);
        assert_eq!(batch(&json!({ "calls": [] })), None);
    }
}
