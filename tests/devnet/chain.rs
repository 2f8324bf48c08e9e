//! Starting, asking and ending the chain.

use std::process::Stdio;
use std::time::{Duration, Instant};

use alloy::primitives::{Address, U256};
use farebox::devnet::{Devnet, DevnetConfig, DevnetError, TOKENS};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::{devnet, post, request, result};

#[tokio::test]
async fn the_chain_is_a_tempo_chain_with_funded_accounts() {
    let devnet = devnet().await;
    assert_eq!(result(&devnet, "eth_chainId", json!([])).await, "0x539");
    for token in TOKENS {
        let balance = devnet.balance(token, devnet.accounts()[0].address()).await.unwrap();
        assert_eq!(balance, U256::from(u64::MAX));
    }
    let outsider = Address::repeat_byte(1);
    devnet.fund(outsider, TOKENS[1], 5).await.unwrap();
    assert_eq!(devnet.balance(TOKENS[1], outsider).await.unwrap(), U256::from(5));
    devnet.stop().await;
}

#[tokio::test]
async fn an_anvil_that_is_missing_or_too_old_is_explained() {
    let missing = DevnetConfig { anvil: Some("/nowhere/anvil".into()), ..DevnetConfig::default() };
    let error = Devnet::start(missing).await.unwrap_err();
    assert!(matches!(&error, DevnetError::AnvilMissing { .. }), "{error}");

    let unable = DevnetConfig { hardfork: "t999".to_owned(), ..DevnetConfig::default() };
    let error = Devnet::start(unable).await.unwrap_err();
    assert!(
        matches!(&error, DevnetError::AnvilEnded { .. }) && error.to_string().contains("t999"),
        "{error}"
    );
}

#[tokio::test]
async fn batches_are_answered_in_order_and_nonsense_is_refused() {
    let devnet = devnet().await;
    let batch = json!([request("eth_chainId", json!([])), request("eth_nonsense", json!([])), 5]);
    let answers = post(&devnet.rpc_url(), &batch).await.unwrap();
    assert_eq!(answers[0]["result"], "0x539");
    assert_eq!(answers[1]["error"]["code"], -32601);
    assert_eq!(answers[2]["error"]["code"], -32600);
    assert_eq!(post(&devnet.rpc_url(), &json!([])).await.unwrap()["error"]["code"], -32600);
    let broken = reqwest::Client::new().post(devnet.rpc_url()).body("{").send().await.unwrap();
    assert_eq!(broken.json::<Value>().await.unwrap()["error"]["code"], -32700);
    devnet.stop().await;
}

#[tokio::test]
async fn stopping_and_dropping_both_end_anvil() {
    let stopped = devnet().await;
    let url = stopped.anvil_url().to_owned();
    stopped.stop().await;
    assert!(post(&url, &request("eth_chainId", json!([]))).await.is_err());

    let dropped = devnet().await;
    let url = dropped.anvil_url().to_owned();
    drop(dropped);
    wait_until_gone(&url).await;
}

#[tokio::test]
async fn killing_the_owner_ends_anvil() {
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "chain::owner_that_never_cleans_up", "--nocapture"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let url = loop {
        let line = lines.next_line().await.unwrap().expect("the owner says where its chain is");
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
    tokio::time::sleep(Duration::from_mins(1)).await;
    drop(devnet);
}

async fn wait_until_gone(anvil: &str) {
    let patience = Instant::now() + Duration::from_secs(5);
    while post(anvil, &request("eth_chainId", json!([]))).await.is_ok() {
        assert!(Instant::now() < patience, "anvil outlives its owner");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
