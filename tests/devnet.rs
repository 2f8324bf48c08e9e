//! The local chain: what it adds to anvil, and each of its fault switches, against a real anvil.

use std::time::{Duration, Instant};

use alloy::consensus::transaction::TxHashRef;
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{Address, B256, U256};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolCall;
use farebox::devnet::{Devnet, DevnetConfig, DevnetError, Fault, Rule, TOKENS};
use serde_json::{Value, json};
use tempo_contracts::precompiles::ITIP20;
use tempo_primitives::transaction::{Call, TempoSignature, TempoTransaction, TempoTxEnvelope};
use tokio::io::{AsyncBufReadExt, BufReader};

const CHAIN_ID: u64 = 1337;

async fn devnet() -> Devnet {
    Devnet::start(DevnetConfig::default())
        .await
        .expect("the chain starts")
}

async fn post(url: &str, message: &Value) -> Result<Value, reqwest::Error> {
    reqwest::Client::new()
        .post(url)
        .json(message)
        .send()
        .await?
        .json()
        .await
}

fn request(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params })
}

/// The whole answer of the proxy.
async fn ask(devnet: &Devnet, method: &str, params: Value) -> Result<Value, reqwest::Error> {
    post(&devnet.rpc_url(), &request(method, params)).await
}

/// The result in the answer of the proxy.
async fn result(devnet: &Devnet, method: &str, params: Value) -> Value {
    let mut answer = ask(devnet, method, params)
        .await
        .expect("the proxy answers");
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
    let input = ITIP20::transferCall {
        to,
        amount: U256::from(amount),
    }
    .abi_encode()
    .into();
    Call {
        to: TOKENS[0].into(),
        value: U256::ZERO,
        input,
    }
}

/// A transaction of type 0x76 in account 0's name.
fn transaction(
    devnet: &Devnet,
    nonce: u64,
    calls: Vec<Call>,
) -> (TempoTransaction, PrivateKeySigner) {
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
    let signature = sender
        .sign_hash_sync(&transaction.signature_hash())
        .unwrap();
    let envelope = TempoTxEnvelope::from(transaction.into_signed(TempoSignature::from(signature)));
    (
        alloy::hex::encode_prefixed(envelope.encoded_2718()),
        *envelope.tx_hash(),
    )
}

/// A signed transfer of one unit to a stranger.
fn payment(devnet: &Devnet, nonce: u64) -> (String, B256) {
    let (transaction, sender) =
        transaction(devnet, nonce, vec![transfer(Address::repeat_byte(9), 1)]);
    signed(transaction, &sender)
}

async fn wait_for_receipt(devnet: &Devnet, hash: B256) -> Value {
    let patience = Instant::now() + Duration::from_secs(10);
    loop {
        let receipt = post(
            devnet.anvil_url(),
            &request("eth_getTransactionReceipt", json!([hash])),
        )
        .await
        .unwrap();
        if !receipt["result"].is_null() {
            return receipt["result"].clone();
        }
        assert!(Instant::now() < patience, "no receipt for {hash}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_chain_is_a_tempo_chain_with_funded_accounts() {
    let devnet = devnet().await;
    assert_eq!(result(&devnet, "eth_chainId", json!([])).await, "0x539");
    for token in TOKENS {
        let balance = devnet
            .balance(token, devnet.accounts()[0].address())
            .await
            .unwrap();
        assert_eq!(balance, U256::from(u64::MAX));
    }
    let stranger = Address::repeat_byte(1);
    devnet.fund(stranger, TOKENS[1], 5).await.unwrap();
    assert_eq!(
        devnet.balance(TOKENS[1], stranger).await.unwrap(),
        U256::from(5)
    );
    devnet.stop().await;
}

#[tokio::test]
async fn an_anvil_that_is_missing_or_too_old_is_explained() {
    let missing = DevnetConfig {
        anvil: Some("/nowhere/anvil".into()),
        ..DevnetConfig::default()
    };
    let error = Devnet::start(missing).await.unwrap_err();
    assert!(
        matches!(&error, DevnetError::AnvilMissing { .. }),
        "{error}"
    );

    let unable = DevnetConfig {
        hardfork: "t999".to_owned(),
        ..DevnetConfig::default()
    };
    let error = Devnet::start(unable).await.unwrap_err();
    assert!(
        matches!(&error, DevnetError::AnvilEnded { .. }) && error.to_string().contains("t999"),
        "{error}"
    );
}

#[tokio::test]
async fn batches_are_answered_in_order_and_nonsense_is_refused() {
    let devnet = devnet().await;
    let batch = json!([
        request("eth_chainId", json!([])),
        request("eth_nonsense", json!([])),
        5
    ]);
    let answers = post(&devnet.rpc_url(), &batch).await.unwrap();
    assert_eq!(answers[0]["result"], "0x539");
    assert_eq!(answers[1]["error"]["code"], -32601);
    assert_eq!(answers[2]["error"]["code"], -32600);
    assert_eq!(
        post(&devnet.rpc_url(), &json!([])).await.unwrap()["error"]["code"],
        -32600
    );
    let broken = reqwest::Client::new()
        .post(devnet.rpc_url())
        .body("{")
        .send()
        .await
        .unwrap();
    assert_eq!(
        broken.json::<Value>().await.unwrap()["error"]["code"],
        -32700
    );
    devnet.stop().await;
}

#[tokio::test]
async fn the_faucet_gives_every_token_also_to_many_at_once() {
    let devnet = devnet().await;
    assert!(devnet.additions().faucet);
    let people = [
        Address::repeat_byte(1),
        Address::repeat_byte(2),
        Address::repeat_byte(3),
    ];
    let funding = people.map(|person| result(&devnet, "tempo_fundAddress", json!([person])));
    for hashes in futures_util::future::join_all(funding).await {
        let hashes: Vec<B256> = serde_json::from_value(hashes).unwrap();
        assert_eq!(hashes.len(), TOKENS.len());
        for hash in hashes {
            assert_eq!(wait_for_receipt(&devnet, hash).await["status"], "0x1");
        }
    }
    for person in people {
        for token in TOKENS {
            assert_eq!(
                devnet.balance(token, person).await.unwrap(),
                U256::from(1_000_000_000_000_u64)
            );
        }
    }
    assert_eq!(
        ask(&devnet, "tempo_fundAddress", json!(["x"]))
            .await
            .unwrap()["error"]["code"],
        -32602
    );
    devnet.stop().await;
}

#[tokio::test]
async fn simulation_is_refused_with_the_code_on_which_clients_fall_back() {
    let devnet = devnet().await;
    let answer = ask(
        &devnet,
        "tempo_simulateV1",
        json!([{ "blockStateCalls": [] }]),
    )
    .await
    .unwrap();
    assert_eq!(answer["error"]["code"], -32601);
    devnet.stop().await;
}

#[tokio::test]
async fn receipts_name_who_paid_the_fee_and_in_what() {
    let devnet = devnet().await;
    let sponsor = devnet.accounts()[1].clone();
    let (mut sponsored, sender) =
        transaction(&devnet, 0, vec![transfer(Address::repeat_byte(9), 1)]);
    sponsored.fee_payer_signature = Some(alloy::primitives::Signature::test_signature());
    let approval = sponsored.fee_payer_signature_hash(sender.address());
    sponsored.fee_payer_signature = Some(sponsor.sign_hash_sync(&approval).unwrap());
    let (raw, hash) = signed(sponsored, &sender);

    let sent = result(&devnet, "eth_sendRawTransactionSync", json!([raw])).await;
    let read = result(&devnet, "eth_getTransactionReceipt", json!([hash])).await;
    let block = result(
        &devnet,
        "eth_getBlockReceipts",
        json!([read["blockNumber"]]),
    )
    .await;
    for receipt in [&sent, &read, &block[0]] {
        assert_eq!(
            receipt["feePayer"].as_str().unwrap().parse(),
            Ok(sponsor.address())
        );
        assert_eq!(receipt["feeToken"].as_str().unwrap().parse(), Ok(TOKENS[2]));
        assert_eq!(
            receipt["from"].as_str().unwrap().parse(),
            Ok(sender.address())
        );
    }
    let parsed: Result<tempo_alloy::rpc::TempoTransactionReceipt, _> = serde_json::from_value(read);
    assert_eq!(parsed.unwrap().fee_token, Some(TOKENS[2]));
    devnet.stop().await;
}

#[tokio::test]
async fn estimates_look_at_every_call_of_a_batch_and_suffice() {
    let devnet = devnet().await;
    assert!(devnet.additions().batch_gas);
    let calls: Vec<Call> = (20..26)
        .map(|byte| transfer(Address::repeat_byte(byte), 1))
        .collect();
    let (mut batch, sender) = transaction(&devnet, 0, calls);
    let asked = json!([{ "from": sender.address(), "type": "0x76", "calls": batch.calls }]);
    let estimate = result(&devnet, "eth_estimateGas", asked.clone()).await;
    let filled = result(&devnet, "eth_fillTransaction", asked).await;
    assert_eq!(filled["tx"]["gas"], estimate);

    batch.gas_limit = estimate.as_str().unwrap().parse::<U256>().unwrap().to();
    let receipt = result(
        &devnet,
        "eth_sendRawTransactionSync",
        json!([signed(batch, &sender).0]),
    )
    .await;
    assert_eq!(receipt["status"], "0x1", "{receipt}");

    let overdraft =
        json!([{ "from": Address::repeat_byte(77), "calls": [transfer(sender.address(), 1)] }]);
    let refused = ask(&devnet, "eth_estimateGas", overdraft).await.unwrap();
    assert_eq!(refused["error"]["code"], 3);
    devnet.stop().await;
}

#[tokio::test]
async fn fault_delay_and_drop_befall_the_next_requests_of_a_method() {
    let devnet = devnet().await;
    devnet.faults().set(
        Rule::new(Fault::Delay { ms: 300 })
            .on("eth_chainId")
            .times(1),
    );
    let begun = Instant::now();
    result(&devnet, "eth_chainId", json!([])).await;
    assert!(begun.elapsed() >= Duration::from_millis(300));

    devnet
        .faults()
        .set(Rule::new(Fault::Drop).on("eth_sendRawTransaction").times(1));
    let (raw, hash) = payment(&devnet, 0);
    assert!(
        ask(&devnet, "eth_sendRawTransaction", json!([raw]))
            .await
            .is_err()
    );
    assert_eq!(devnet.broadcasts(), 0);
    assert_eq!(
        result(&devnet, "eth_sendRawTransaction", json!([raw])).await,
        json!(hash)
    );
    assert_eq!(devnet.broadcasts(), 1);
    devnet.stop().await;
}

#[tokio::test]
async fn fault_error_answers_for_the_chain() {
    let devnet = devnet().await;
    devnet.faults().set(Rule::new(Fault::Error {
        code: -32005,
        message: "too many requests".to_owned(),
    }));
    let refused = ask(&devnet, "eth_call", json!([])).await.unwrap();
    assert_eq!(
        refused["error"],
        json!({ "code": -32005, "message": "too many requests" })
    );
    devnet.faults().clear();
    result(&devnet, "eth_chainId", json!([])).await;
    devnet.stop().await;
}

#[tokio::test]
async fn fault_after_including_loses_the_answer_and_not_the_payment() {
    let devnet = devnet().await;
    devnet
        .faults()
        .set(Rule::new(Fault::ErrorAfterIncluding).times(1));
    let (raw, hash) = payment(&devnet, 0);
    let answer = ask(&devnet, "eth_sendRawTransactionSync", json!([raw]))
        .await
        .unwrap();
    assert_eq!(answer["error"]["code"], -32603);
    let receipt = result(&devnet, "eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!(receipt["status"], "0x1");

    devnet
        .faults()
        .set(Rule::new(Fault::DropAfterIncluding).times(1));
    let (raw, hash) = payment(&devnet, 1);
    assert!(
        ask(&devnet, "eth_sendRawTransaction", json!([raw]))
            .await
            .is_err()
    );
    let receipt = result(&devnet, "eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!(receipt["status"], "0x1");
    assert_eq!(devnet.broadcasts(), 2);
    devnet.stop().await;
}

#[tokio::test]
async fn fault_behind_hides_what_happened_after_a_block() {
    let devnet = devnet().await;
    let stranger = Address::repeat_byte(9);
    let balance = json!([
        { "to": TOKENS[0], "data": alloy::hex::encode_prefixed(ITIP20::balanceOfCall { account: stranger }.abi_encode()) },
        "latest"
    ]);
    let before = block_number(&devnet).await;
    let (raw, hash) = payment(&devnet, 0);
    let receipt = result(&devnet, "eth_sendRawTransactionSync", json!([raw])).await;
    assert_eq!(
        result(&devnet, "eth_call", balance.clone()).await,
        json!(B256::with_last_byte(1))
    );

    devnet
        .faults()
        .set(Rule::new(Fault::Behind { block: before }));
    assert_eq!(
        result(&devnet, "eth_call", balance.clone()).await,
        json!(B256::ZERO)
    );
    assert_eq!(
        result(&devnet, "eth_getTransactionReceipt", json!([hash])).await,
        Value::Null
    );
    assert_eq!(
        result(&devnet, "eth_getLogs", json!([{ "fromBlock": "0x0" }])).await,
        json!([])
    );
    assert_eq!(block_number(&devnet).await, before);
    let ahead = json!([balance[0], receipt["blockNumber"]]);
    assert_eq!(
        ask(&devnet, "eth_call", ahead).await.unwrap()["error"]["message"],
        "header not found"
    );

    devnet.faults().clear();
    assert_eq!(
        result(&devnet, "eth_call", balance).await,
        json!(B256::with_last_byte(1))
    );
    devnet.stop().await;
}

#[tokio::test]
async fn fault_lies_about_the_chain_and_about_success() {
    let devnet = devnet().await;
    devnet
        .faults()
        .set(Rule::new(Fault::WrongChainId { chain_id: 1 }).times(1));
    assert_eq!(result(&devnet, "eth_chainId", json!([])).await, "0x1");
    assert_eq!(result(&devnet, "eth_chainId", json!([])).await, "0x539");

    devnet.faults().set(Rule::new(Fault::LyingReceipt).times(1));
    let (raw, hash) = payment(&devnet, 0);
    let lie = result(&devnet, "eth_sendRawTransactionSync", json!([raw])).await;
    let truth = result(&devnet, "eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!(
        (&lie["status"], &truth["status"]),
        (&json!("0x0"), &json!("0x1"))
    );
    devnet.stop().await;
}

#[tokio::test]
async fn fault_stop_refuses_connections_until_resumed() {
    let devnet = devnet().await;
    let client = reqwest::Client::new();
    let kept_alive = || async {
        client
            .post(devnet.rpc_url())
            .json(&request("eth_chainId", json!([])))
            .send()
            .await
    };
    kept_alive().await.unwrap();

    devnet.faults().stop();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(kept_alive().await.unwrap_err().is_connect());
    // The chain goes on behind it.
    assert!(
        devnet
            .fund(Address::repeat_byte(1), TOKENS[0], 1)
            .await
            .is_ok()
    );

    devnet.faults().resume();
    tokio::time::sleep(Duration::from_millis(100)).await;
    kept_alive().await.unwrap();
    devnet.stop().await;
}

#[tokio::test]
async fn other_processes_switch_faults_over_rpc() {
    let devnet = devnet().await;
    let rule = json!([{ "fault": { "kind": "drop" }, "method": "eth_chainId", "times": 1 }]);
    assert_eq!(
        result(&devnet, "farebox_setFault", rule.clone()).await,
        true
    );
    let status = result(&devnet, "farebox_status", json!([])).await;
    assert_eq!(status, json!({ "broadcasts": 0, "faults": rule }));
    assert!(ask(&devnet, "eth_chainId", json!([])).await.is_err());
    result(&devnet, "eth_chainId", json!([])).await;
    assert_eq!(
        ask(&devnet, "farebox_setFault", json!([{ "fault": "x" }]))
            .await
            .unwrap()["error"]["code"],
        -32602
    );

    assert_eq!(
        result(&devnet, "farebox_stop", json!([{ "forMs": 300 }])).await,
        true
    );
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(ask(&devnet, "eth_chainId", json!([])).await.is_err());
    tokio::time::sleep(Duration::from_millis(400)).await;
    result(&devnet, "eth_chainId", json!([])).await;
    assert_eq!(
        result(&devnet, "farebox_clearFaults", json!([])).await,
        true
    );
    devnet.stop().await;
}

#[tokio::test]
async fn stopping_and_dropping_both_end_anvil() {
    let stopped = devnet().await;
    let url = stopped.anvil_url().to_owned();
    stopped.stop().await;
    assert!(
        post(&url, &request("eth_chainId", json!([])))
            .await
            .is_err()
    );

    let dropped = devnet().await;
    let url = dropped.anvil_url().to_owned();
    drop(dropped);
    wait_until_gone(&url).await;
}

#[tokio::test]
async fn killing_the_owner_ends_anvil() {
    let mut owner = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "owner_that_never_cleans_up",
            "--nocapture",
        ])
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let url = loop {
        let line = lines
            .next_line()
            .await
            .unwrap()
            .expect("the owner says where its chain is");
        if let Some((_, url)) = line.split_once("anvil at ") {
            break url.to_owned();
        }
    };
    assert!(post(&url, &request("eth_chainId", json!([]))).await.is_ok());
    owner.kill().await.unwrap();
    wait_until_gone(&url).await;
}

/// The other process of [`killing_the_owner_ends_anvil`].
#[tokio::test]
#[ignore = "waits to be killed"]
async fn owner_that_never_cleans_up() {
    let devnet = devnet().await;
    println!("anvil at {}", devnet.anvil_url());
    tokio::time::sleep(Duration::from_secs(60)).await;
    drop(devnet);
}

async fn wait_until_gone(anvil: &str) {
    let patience = Instant::now() + Duration::from_secs(5);
    while post(anvil, &request("eth_chainId", json!([])))
        .await
        .is_ok()
    {
        assert!(Instant::now() < patience, "anvil outlives its owner");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
