//! How an endpoint answers whose newest block is an older one ([`super::Fault::Behind`]): pure.

use alloy::primitives::{U64, U256};
use serde_json::{Value, json};

/// What the proxy does with a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StaleAnswer {
    /// Send it on, as rewritten.
    Forward,
    /// Answer without asking the chain.
    Answer(Value),
    /// Refuse with the text of a node that has not seen that block.
    UnknownBlock,
}

/// Whether the answer to `method` depends on the newest block.
pub(super) fn concerns(method: &str) -> bool {
    is_dated(method) || block_parameter(method).is_some() || method == "eth_blockNumber"
}

/// Methods whose answer says itself which block it is from.
fn is_dated(method: &str) -> bool {
    matches!(
        method,
        "eth_getTransactionReceipt" | "eth_getTransactionByHash" | "eth_getBlockByHash" | "eth_getLogs"
    )
}

/// Where the parameters of `method` name the block to read from.
fn block_parameter(method: &str) -> Option<usize> {
    match method {
        "eth_getBlockByNumber" | "eth_getBlockReceipts" => Some(0),
        "eth_call" | "eth_getBalance" | "eth_getCode" | "eth_getTransactionCount" => Some(1),
        "eth_getStorageAt" => Some(2),
        _ => None,
    }
}

/// Makes a request ask for the state at `newest` where it asks for the latest.
pub(super) fn before(method: &str, params: &mut Value, newest: u64) -> StaleAnswer {
    if method == "eth_blockNumber" {
        return StaleAnswer::Answer(json!(U64::from(newest)));
    }
    let (Some(index), Some(params)) = (block_parameter(method), params.as_array_mut()) else {
        return StaleAnswer::Forward;
    };
    if params.len() < index {
        // Other parameters are missing too: the chain says so better than we could.
        return StaleAnswer::Forward;
    }
    if params.len() == index {
        params.push(json!("latest"));
    }
    let block = &mut params[index];
    match block.as_str() {
        Some("latest" | "pending" | "safe" | "finalized") => *block = json!(U64::from(newest)),
        Some(number) if number.parse::<U256>().is_ok_and(|number| number > U256::from(newest)) => {
            return if index == 0 { StaleAnswer::Answer(Value::Null) } else { StaleAnswer::UnknownBlock };
        }
        None if block.is_null() => *block = json!(U64::from(newest)),
        // An older block, or one named by its hash, which a client only knows from an answer.
        Some(_) | None => {}
    }
    StaleAnswer::Forward
}

/// Removes from `result` what happened after `newest`.
pub(super) fn after(method: &str, result: &mut Value, newest: u64) {
    if !is_dated(method) {
        return;
    }
    let later = |item: &Value| {
        let number = ["blockNumber", "number"].iter().find_map(|key| item.get(key)?.as_str());
        number
            .and_then(|number| number.parse::<U256>().ok())
            .is_some_and(|number| number > U256::from(newest))
    };
    if let Value::Array(items) = result {
        items.retain(|item| !later(item));
    } else if later(result) {
        *result = Value::Null;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(method: &str, mut params: Value) -> (StaleAnswer, Value) {
        let step = before(method, &mut params, 16);
        (step, params)
    }

    #[test]
    fn the_latest_state_is_that_of_the_newest_block() {
        for tag in [json!(["to", "latest"]), json!(["to", "pending"]), json!(["to", null]), json!(["to"])] {
            assert_eq!(rewritten("eth_call", tag), (StaleAnswer::Forward, json!(["to", "0x10"])));
        }
        assert_eq!(rewritten("eth_call", json!(["to", "0x9"])), (StaleAnswer::Forward, json!(["to", "0x9"])));
        assert_eq!(rewritten("eth_blockNumber", json!([])).0, StaleAnswer::Answer(json!("0x10")));
    }

    #[test]
    fn later_blocks_are_unknown() {
        assert_eq!(rewritten("eth_call", json!(["to", "0x11"])).0, StaleAnswer::UnknownBlock);
        assert_eq!(
            rewritten("eth_getBlockByNumber", json!(["0x11", false])).0,
            StaleAnswer::Answer(Value::Null)
        );
    }

    #[test]
    fn later_receipts_and_logs_are_not_there() {
        let (old, new) = (json!({ "blockNumber": "0x10" }), json!({ "blockNumber": "0x11" }));
        let seen = |method: &str, mut result: Value| {
            after(method, &mut result, 16);
            result
        };
        assert_eq!(seen("eth_getTransactionReceipt", old.clone()), old);
        assert_eq!(seen("eth_getTransactionReceipt", new.clone()), Value::Null);
        assert_eq!(seen("eth_getLogs", json!([old, new])), json!([old]));
    }
}
