//! Each fault switch.

use std::time::{Duration, Instant};

use alloy::primitives::{Address, B256};
use farebox::devnet::{Fault, Rule, TOKENS};
use serde_json::{Value, json};

use crate::{balance_of, block_number, devnet, exchange, payment, request, result};

#[tokio::test]
async fn fault_delay_and_drop_apply_to_the_next_requests_of_a_method() {
    let devnet = devnet().await;
    devnet.faults().set(Rule::new(Fault::Delay { ms: 300 }).on("eth_chainId").times(1));
    let begun = Instant::now();
    result(&devnet, "eth_chainId", json!([])).await;
    assert!(begun.elapsed() >= Duration::from_millis(300));

    devnet.faults().set(Rule::new(Fault::Drop).on("eth_sendRawTransaction").times(1));
    let (raw, hash) = payment(&devnet, 0);
    assert!(exchange(&devnet, "eth_sendRawTransaction", json!([raw])).await.is_err());
    assert_eq!(devnet.broadcasts(), 0);
    assert_eq!(result(&devnet, "eth_sendRawTransaction", json!([raw])).await, json!(hash));
    assert_eq!(devnet.broadcasts(), 1);
    devnet.stop().await;
}

#[tokio::test]
async fn fault_error_answers_for_the_chain() {
    let devnet = devnet().await;
    devnet.faults().set(Rule::new(Fault::Error { code: -32005, message: "too many requests".to_owned() }));
    let refused = exchange(&devnet, "eth_call", json!([])).await.unwrap();
    assert_eq!(refused["error"], json!({ "code": -32005, "message": "too many requests" }));
    devnet.faults().clear();
    result(&devnet, "eth_chainId", json!([])).await;
    devnet.stop().await;
}

#[tokio::test]
async fn fault_after_including_loses_the_answer_and_not_the_payment() {
    let devnet = devnet().await;
    devnet.faults().set(Rule::new(Fault::ErrorAfterIncluding).times(1));
    let (raw, hash) = payment(&devnet, 0);
    let answer = exchange(&devnet, "eth_sendRawTransactionSync", json!([raw])).await.unwrap();
    assert_eq!(answer["error"]["code"], -32603);
    let receipt = result(&devnet, "eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!(receipt["status"], "0x1");

    devnet.faults().set(Rule::new(Fault::DropAfterIncluding).times(1));
    let (raw, hash) = payment(&devnet, 1);
    assert!(exchange(&devnet, "eth_sendRawTransaction", json!([raw])).await.is_err());
    let receipt = result(&devnet, "eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!(receipt["status"], "0x1");
    assert_eq!(devnet.broadcasts(), 2);
    devnet.stop().await;
}

#[tokio::test]
async fn fault_behind_hides_what_happened_after_a_block() {
    let devnet = devnet().await;
    let outsider = Address::repeat_byte(9);
    let balance = json!([
        { "to": TOKENS[0], "data": balance_of(outsider) },
        "latest"
    ]);
    let before = block_number(&devnet).await;
    let (raw, hash) = payment(&devnet, 0);
    let receipt = result(&devnet, "eth_sendRawTransactionSync", json!([raw])).await;
    assert_eq!(result(&devnet, "eth_call", balance.clone()).await, json!(B256::with_last_byte(1)));

    devnet.faults().set(Rule::new(Fault::Behind { block: before }));
    assert_eq!(result(&devnet, "eth_call", balance.clone()).await, json!(B256::ZERO));
    assert_eq!(result(&devnet, "eth_getTransactionReceipt", json!([hash])).await, Value::Null);
    assert_eq!(result(&devnet, "eth_getLogs", json!([{ "fromBlock": "0x0" }])).await, json!([]));
    assert_eq!(block_number(&devnet).await, before);
    let ahead = json!([balance[0], receipt["blockNumber"]]);
    assert_eq!(exchange(&devnet, "eth_call", ahead).await.unwrap()["error"]["message"], "header not found");

    devnet.faults().clear();
    assert_eq!(result(&devnet, "eth_call", balance).await, json!(B256::with_last_byte(1)));
    devnet.stop().await;
}

#[tokio::test]
async fn fault_lies_about_the_chain_and_about_success() {
    let devnet = devnet().await;
    devnet.faults().set(Rule::new(Fault::WrongChainId { chain_id: 1 }).times(1));
    assert_eq!(result(&devnet, "eth_chainId", json!([])).await, "0x1");
    assert_eq!(result(&devnet, "eth_chainId", json!([])).await, "0x539");

    devnet.faults().set(Rule::new(Fault::LyingReceipt).times(1));
    let (raw, hash) = payment(&devnet, 0);
    let lie = result(&devnet, "eth_sendRawTransactionSync", json!([raw])).await;
    let truth = result(&devnet, "eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!((&lie["status"], &truth["status"]), (&json!("0x0"), &json!("0x1")));

    // A transfer of more than there is.
    let input = format!("0xa9059cbb{:064x}{}", 1, "f".repeat(64));
    let excess = json!([{ "calls": [{ "to": TOKENS[0], "input": input }] }]);
    assert!(exchange(&devnet, "eth_call", excess.clone()).await.unwrap()["error"].is_object());
    devnet.faults().set(Rule::new(Fault::LyingSimulation).times(1));
    assert_eq!(result(&devnet, "eth_call", excess).await, "0x");

    devnet.faults().set(Rule::new(Fault::LyingLogs).times(1));
    let of_block = json!([{ "fromBlock": truth["blockNumber"], "toBlock": truth["blockNumber"] }]);
    let lie = result(&devnet, "eth_getLogs", of_block.clone()).await;
    let truth = result(&devnet, "eth_getLogs", of_block).await;
    let (lie, truth) = (lie.as_array().unwrap(), truth.as_array().unwrap());
    assert_eq!((&lie[..truth.len()], lie.len()), (&truth[..], 2 * truth.len()));
    assert_ne!(lie[truth.len()]["transactionHash"], truth[0]["transactionHash"]);
    devnet.stop().await;
}

#[tokio::test]
async fn fault_stop_refuses_connections_until_resumed() {
    let devnet = devnet().await;
    let client = reqwest::Client::new();
    let kept_alive =
        || async { client.post(devnet.rpc_url()).json(&request("eth_chainId", json!([]))).send().await };
    kept_alive().await.unwrap();

    devnet.faults().stop();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(kept_alive().await.unwrap_err().is_connect());
    // The chain goes on behind it.
    assert!(devnet.fund(Address::repeat_byte(1), TOKENS[0], 1).await.is_ok());

    devnet.faults().resume();
    tokio::time::sleep(Duration::from_millis(100)).await;
    kept_alive().await.unwrap();
    devnet.stop().await;
}

#[tokio::test]
async fn other_processes_switch_faults_over_rpc() {
    let devnet = devnet().await;
    let rule = json!([{ "fault": { "kind": "drop" }, "method": "eth_chainId", "times": 1 }]);
    assert_eq!(result(&devnet, "farebox_setFault", rule.clone()).await, true);
    let status = result(&devnet, "farebox_status", json!([])).await;
    assert_eq!(status, json!({ "broadcasts": 0, "faults": rule }));
    assert!(exchange(&devnet, "eth_chainId", json!([])).await.is_err());
    result(&devnet, "eth_chainId", json!([])).await;
    assert_eq!(
        exchange(&devnet, "farebox_setFault", json!([{ "fault": "x" }])).await.unwrap()["error"]["code"],
        -32602
    );

    assert_eq!(result(&devnet, "farebox_stop", json!([{ "forMs": 300 }])).await, true);
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(exchange(&devnet, "eth_chainId", json!([])).await.is_err());
    tokio::time::sleep(Duration::from_millis(400)).await;
    result(&devnet, "eth_chainId", json!([])).await;
    assert_eq!(result(&devnet, "farebox_clearFaults", json!([])).await, true);
    devnet.stop().await;
}
