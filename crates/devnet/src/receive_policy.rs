//! Receive policies as T6 has them (TIP-1028), for the fault of the same name: anvil 1.7.1 knows none.

use alloy::primitives::{Address, B256, Bytes, U64, U256};
use alloy::sol_types::{SolCall, SolEvent, SolValue as _};
use serde_json::{Value, json};
use tempo_contracts::precompiles::IReceivePolicyGuard::{ClaimReceiptV1, InboundKind, TransferBlocked};
use tempo_contracts::precompiles::ITIP403Registry::{self, BlockedReason, PolicyType};
use tempo_contracts::precompiles::{ITIP20, RECEIVE_POLICY_GUARD_ADDRESS, TIP403_REGISTRY_ADDRESS};

/// The registry's answer about `account`'s policy, which blocks every sender and token; `None` for any other question.
pub(super) fn answer(method: &str, params: &Value, account: Address) -> Option<Bytes> {
    let to: Address = params[0]["to"].as_str()?.parse().ok()?;
    if method != "eth_call" || to != TIP403_REGISTRY_ADDRESS {
        return None;
    }
    let data = params[0]["data"].as_str().or(params[0]["input"].as_str())?;
    let data: Bytes = data.parse().ok()?;
    if let Ok(call) = ITIP403Registry::receivePolicyCall::abi_decode(&data) {
        let policy = ITIP403Registry::receivePolicyReturn {
            hasReceivePolicy: call.account == account,
            senderPolicyId: 0,
            senderPolicyType: PolicyType::WHITELIST,
            tokenFilterId: 0,
            tokenFilterType: PolicyType::WHITELIST,
            recoveryAuthority: account,
        };
        return Some(ITIP403Registry::receivePolicyCall::abi_encode_returns(&policy).into());
    }
    let call = ITIP403Registry::validateReceivePolicyCall::abi_decode(&data).ok()?;
    let authorized = call.receiver != account;
    let reason = if authorized { BlockedReason::NONE } else { BlockedReason::RECEIVE_POLICY };
    let verdict = ITIP403Registry::validateReceivePolicyReturn { authorized, blockedReason: reason };
    Some(ITIP403Registry::validateReceivePolicyCall::abi_encode_returns(&verdict).into())
}

/// Rewrites a receipt as if every transfer to `account` had been blocked: the guard got the money, and says so at the
/// end of the logs.
pub(super) fn hold_back(receipt: &mut Value, account: Address) {
    let mut blocked: Vec<(Value, Address, B256)> = Vec::new();
    let Some(logs) = receipt["logs"].as_array_mut() else { return };
    for log in logs.iter_mut() {
        let topic = |index: usize| log["topics"].get(index)?.as_str()?.parse::<B256>().ok();
        let is_transfer = topic(0).is_some_and(|event| {
            [ITIP20::Transfer::SIGNATURE_HASH, ITIP20::TransferWithMemo::SIGNATURE_HASH].contains(&event)
        });
        if !is_transfer || topic(2) != Some(account.into_word()) {
            continue;
        }
        if topic(0) == Some(ITIP20::Transfer::SIGNATURE_HASH)
            && let Some(from) = topic(1)
        {
            blocked.push((log.clone(), Address::from_word(from), B256::ZERO));
        } else if let Some((last, memo)) = blocked.last_mut().zip(topic(3)) {
            // The event of a transfer with a memo follows that of the transfer.
            last.2 = memo;
        }
        log["topics"][2] = json!(RECEIVE_POLICY_GUARD_ADDRESS.into_word());
    }
    let last = logs.last().and_then(|log| log["logIndex"].as_str()?.parse::<U64>().ok());
    let mut index = last.unwrap_or_default();
    for (transfer, from, memo) in blocked {
        let mut log = block(&transfer, from, account, memo);
        index += U64::from(1);
        log["logIndex"] = json!(index);
        logs.push(log);
    }
}

/// The guard's event about a transfer.
fn block(transfer: &Value, from: Address, account: Address, memo: B256) -> Value {
    let token = transfer["address"].as_str().and_then(|token| token.parse().ok()).unwrap_or_default();
    let amount = transfer["data"].as_str().and_then(|data| data.parse::<B256>().ok()).unwrap_or_default();
    let claim = ClaimReceiptV1 {
        version: 1,
        token,
        recoveryAuthority: account,
        originator: from,
        recipient: account,
        blockedAt: 0,
        blockedNonce: 1,
        blockedReason: 2,
        kind: InboundKind::TRANSFER,
        memo,
    };
    let event = TransferBlocked {
        token,
        receiver: account,
        blockedNonce: 1,
        amount: U256::from_be_bytes(amount.0),
        receiptVersion: 1,
        receipt: claim.abi_encode().into(),
    };
    let data = event.encode_log_data();
    let mut log = transfer.clone();
    log["address"] = json!(RECEIVE_POLICY_GUARD_ADDRESS);
    log["topics"] = json!(data.topics());
    log["data"] = json!(data.data);
    log
}
