//! Payer and token of a transaction's fee: anvil 1.7.1 names the sender as `feePayer` always and
//! leaves `feeToken` out.
//!
//! The logs tell: the fee is the last token transfer to the fee manager that a transaction
//! emits, also when its calls revert. A transaction without fee emits none; its receipt keeps the
//! sender as payer and has no token.

use alloy::primitives::{Address, B256};
use alloy::sol_types::SolEvent;
use serde_json::{Value, json};
use tempo_contracts::precompiles::{ITIP20, TIP_FEE_MANAGER_ADDRESS};

/// True if the answer to `method` is a receipt or a list of receipts.
pub(super) fn are_returned_by(method: &str) -> bool {
    matches!(
        method,
        "eth_getTransactionReceipt"
            | "eth_getBlockReceipts"
            | "eth_sendRawTransactionSync"
            | "eth_sendTransactionSync"
    )
}

/// Runs `change` on the receipt or receipts that `result` consists of.
pub(super) fn each(result: &mut Value, mut change: impl FnMut(&mut Value)) {
    match result {
        Value::Array(receipts) => receipts.iter_mut().for_each(change),
        Value::Object(_) => change(result),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Fills in fee payer and fee token, unless the chain has named a token itself.
pub(super) fn name_fee_payer(receipt: &mut Value) {
    if receipt.get("feeToken").is_some_and(|token| !token.is_null()) {
        return;
    }
    let fee = receipt["logs"].as_array().and_then(|logs| logs.iter().rev().find_map(fee_transfer));
    if let Some((payer, token)) = fee {
        receipt["feePayer"] = json!(payer);
        receipt["feeToken"] = json!(token);
    }
}

/// The payer and the token, if `log` is a transfer to the fee manager.
fn fee_transfer(log: &Value) -> Option<(Address, Address)> {
    let topic = |index: usize| log["topics"].get(index)?.as_str()?.parse::<B256>().ok();
    let is_fee =
        topic(0)? == ITIP20::Transfer::SIGNATURE_HASH && topic(2)? == TIP_FEE_MANAGER_ADDRESS.into_word();
    let token = log["address"].as_str()?.parse().ok()?;
    is_fee.then_some((Address::from_word(topic(1)?), token))
}

/// Turns success into failure and the other way round: the lie of [`super::Fault::LyingReceipt`].
pub(super) fn flip_status(receipt: &mut Value) {
    let flipped = if receipt["status"] == "0x1" { "0x0" } else { "0x1" };
    receipt["status"] = json!(flipped);
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0x20c0000000000000000000000000000000000002";
    const SENDER: &str = "0x00000000000000000000000000000000000000aa";
    const SPONSOR: &str = "0x00000000000000000000000000000000000000bb";

    fn transfer(from: &str, to: &str) -> Value {
        let word = |address: &str| address.parse::<Address>().unwrap().into_word();
        json!({ "address": TOKEN, "topics": [ITIP20::Transfer::SIGNATURE_HASH, word(from), word(to)] })
    }

    fn fee_manager() -> String {
        TIP_FEE_MANAGER_ADDRESS.to_string()
    }

    fn corrected(logs: &[Value]) -> Value {
        let mut receipt = json!({ "feePayer": SENDER, "logs": logs });
        name_fee_payer(&mut receipt);
        receipt
    }

    #[test]
    fn the_last_transfer_to_the_fee_manager_names_payer_and_token() {
        let receipt = corrected(&[
            transfer(SENDER, &fee_manager()),
            transfer(SPONSOR, &fee_manager()),
            transfer(SENDER, SPONSOR),
        ]);
        assert_eq!(receipt["feePayer"], SPONSOR);
        assert_eq!(receipt["feeToken"], TOKEN);
    }

    #[test]
    fn without_a_fee_the_sender_stays_and_no_token_is_named() {
        let receipt = corrected(&[transfer(SENDER, SPONSOR)]);
        assert_eq!(receipt["feePayer"], SENDER);
        assert_eq!(receipt.get("feeToken"), None);
    }

    #[test]
    fn a_chain_that_names_the_token_is_left_alone() {
        let mut receipt =
            json!({ "feePayer": SENDER, "feeToken": TOKEN, "logs": [transfer(SPONSOR, &fee_manager())] });
        let before = receipt.clone();
        name_fee_payer(&mut receipt);
        assert_eq!(receipt, before);
    }
}
