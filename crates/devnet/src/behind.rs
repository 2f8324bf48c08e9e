//! Answers of an endpoint whose newest block is an older one ([`super::Fault::Behind`]): pure.

use alloy::primitives::{U64, U256};
use serde_json::{Value, json};

/// Handling of a request by the proxy.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StaleHandling {
    /// Send it on, as rewritten.
    Forward,
    /// Answer without asking the chain.
    Answer(Value),
    /// Refuse with the text of a node that has not seen that block.
    UnknownBlock,
}

/// True if the answer to `method` depends on the newest block.
pub(super) fn applies_to(method: &str) -> bool {
    names_its_block(method) || block_parameter(method).is_some() || method == "eth_blockNumber"
}

/// True if the answer to `method` names the block that it is from.
fn names_its_block(method: &str) -> bool {
    matches!(
        method,
        "eth_getTransactionReceipt" | "eth_getTransactionByHash" | "eth_getBlockByHash" | "eth_getLogs"
    )
}

/// Index of the parameter of `method` that names the block to read from.
fn block_parameter(method: &str) -> Option<usize> {
    match method {
        "eth_getBlockByNumber" | "eth_getBlockReceipts" => Some(0),
        "eth_call" | "eth_getBalance" | "eth_getCode" | "eth_getTransactionCount" => Some(1),
        "eth_getStorageAt" => Some(2),
        _ => None,
    }
}

/// Rewrites a request for the latest state to one for the state at `newest`.
pub(super) fn rewrite_request(method: &str, params: &mut Value, newest: u64) -> StaleHandling {
    if method == "eth_blockNumber" {
        return StaleHandling::Answer(json!(U64::from(newest)));
    }
    let (Some(index), Some(params)) = (block_parameter(method), params.as_array_mut()) else {
        return StaleHandling::Forward;
    };
    if params.len() < index {
        // Other parameters are missing too: the chain's own error is the better one.
        return StaleHandling::Forward;
    }
    if params.len() == index {
        params.push(json!("latest"));
    }
    let block = &mut params[index];
    match block.as_str() {
        Some("latest" | "pending" | "safe" | "finalized") => *block = json!(U64::from(newest)),
        Some(number) if number.parse::<U256>().is_ok_and(|number| number > U256::from(newest)) => {
            return if index == 0 { StaleHandling::Answer(Value::Null) } else { StaleHandling::UnknownBlock };
        }
        None if block.is_null() => *block = json!(U64::from(newest)),
        // An older block, or one named by its hash, which a client only knows from an answer.
        Some(_) | None => {}
    }
    StaleHandling::Forward
}

/// Removes everything after `newest` from `result`.
pub(super) fn remove_later(method: &str, result: &mut Value, newest: u64) {
    if !names_its_block(method) {
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

    fn rewritten(method: &str, mut params: Value) -> (StaleHandling, Value) {
        let handling = rewrite_request(method, &mut params, 16);
        (handling, params)
    }

    #[test]
    fn the_latest_state_is_that_of_the_newest_block() {
        for tag in [json!(["to", "latest"]), json!(["to", "pending"]), json!(["to", null]), json!(["to"])] {
            assert_eq!(rewritten("eth_call", tag), (StaleHandling::Forward, json!(["to", "0x10"])));
        }
        assert_eq!(
            rewritten("eth_call", json!(["to", "0x9"])),
            (StaleHandling::Forward, json!(["to", "0x9"]))
        );
        assert_eq!(rewritten("eth_blockNumber", json!([])).0, StaleHandling::Answer(json!("0x10")));
    }

    #[test]
    fn later_blocks_are_unknown() {
        assert_eq!(rewritten("eth_call", json!(["to", "0x11"])).0, StaleHandling::UnknownBlock);
        assert_eq!(
            rewritten("eth_getBlockByNumber", json!(["0x11", false])).0,
            StaleHandling::Answer(Value::Null)
        );
    }

    #[test]
    fn later_receipts_and_logs_are_not_there() {
        let (old, new) = (json!({ "blockNumber": "0x10" }), json!({ "blockNumber": "0x11" }));
        let seen = |method: &str, mut result: Value| {
            remove_later(method, &mut result, 16);
            result
        };
        assert_eq!(seen("eth_getTransactionReceipt", old.clone()), old);
        assert_eq!(seen("eth_getTransactionReceipt", new.clone()), Value::Null);
        assert_eq!(seen("eth_getLogs", json!([old, new])), json!([old]));
    }
}
