//! The local chain: what it adds to anvil, and each of its fault switches, against a real anvil.

mod additions;
mod chain;
mod faults;
mod reserve;

use std::time::{Duration, Instant};

use alloy::consensus::transaction::TxHashRef;
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{Address, B256, U256};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolCall;
use farebox::devnet::{Devnet, DevnetConfig, TOKENS};
use serde_json::{Value, json};
use tempo_contracts::precompiles::ITIP20;
use tempo_primitives::transaction::{Call, TempoSignature, TempoTransaction, TempoTxEnvelope};

const CHAIN_ID: u64 = 1337;

async fn devnet() -> Devnet {
    Devnet::start(DevnetConfig::default()).await.expect("the chain starts")
}

async fn post(url: &str, message: &Value) -> Result<Value, reqwest::Error> {
    reqwest::Client::new().post(url).json(message).send().await?.json().await
}

fn request(method: &str, params: Value) -> Value {
    let mut request = json!({ "jsonrpc": "2.0", "id": 7, "method": method });
    request["params"] = params;
    request
}

/// The whole answer of the proxy.
async fn exchange(devnet: &Devnet, method: &str, params: Value) -> Result<Value, reqwest::Error> {
    post(&devnet.rpc_url(), &request(method, params)).await
}

/// The result in the answer of the proxy.
async fn result(devnet: &Devnet, method: &str, params: Value) -> Value {
    let mut answer = exchange(devnet, method, params).await.expect("the proxy answers");
    assert_eq!(answer["id"], 7);
    assert_eq!(answer.get("error"), None, "{method}");
    answer["result"].take()
}

async fn block_number(devnet: &Devnet) -> u64 {
    result(devnet, "eth_blockNumber", json!([]))
        .await
        .as_str()
        .and_then(|hex| hex.parse::<U256>().ok())
        .unwrap()
        .to()
}

fn transfer(to: Address, amount: u64) -> Call {
    let input = ITIP20::transferCall { to, amount: U256::from(amount) }.abi_encode().into();
    Call { to: TOKENS[0].into(), value: U256::ZERO, input }
}

/// A transaction of type 0x76 in account 0's name.
fn transaction(devnet: &Devnet, nonce: u64, calls: Vec<Call>) -> (TempoTransaction, PrivateKeySigner) {
    let transaction = TempoTransaction {
        chain_id: CHAIN_ID,
        fee_token: Some(TOKENS[2]),
        max_priority_fee_per_gas: 1_000_000_000,
        max_fee_per_gas: 40_000_000_000,
        gas_limit: 2_000_000,
        calls,
        nonce,
        ..TempoTransaction::default()
    };
    (transaction, devnet.accounts()[0].clone())
}

fn signed(transaction: TempoTransaction, sender: &PrivateKeySigner) -> (String, B256) {
    let signature = sender.sign_hash_sync(&transaction.signature_hash()).unwrap();
    let envelope = TempoTxEnvelope::from(transaction.into_signed(TempoSignature::from(signature)));
    (alloy::hex::encode_prefixed(envelope.encoded_2718()), *envelope.tx_hash())
}

/// A signed transfer of one unit to another account.
fn payment(devnet: &Devnet, nonce: u64) -> (String, B256) {
    let (transaction, sender) = transaction(devnet, nonce, vec![transfer(Address::repeat_byte(9), 1)]);
    signed(transaction, &sender)
}

async fn wait_for_receipt(devnet: &Devnet, hash: B256) -> Value {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let receipt =
            post(devnet.anvil_url(), &request("eth_getTransactionReceipt", json!([hash]))).await.unwrap();
        if !receipt["result"].is_null() {
            return receipt["result"].clone();
        }
        assert!(Instant::now() < deadline, "no receipt for {hash}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The data of a call that reads `account`'s balance.
fn balance_of(account: Address) -> String {
    alloy::hex::encode_prefixed(ITIP20::balanceOfCall { account }.abi_encode())
}
