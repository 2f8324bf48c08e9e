//! `farebox contracts deploy`, and what `farebox dev` does by itself.

use std::path::Path;
use std::process::Stdio;

use alloy::primitives::Address;
use alloy::signers::local::PrivateKeySigner;
use farebox::chain::Chain;
use farebox::chain::key_sale::{SaleKey, SaleVersion, buy_call};
use farebox::config::{self, PATH_USD, Secret};
use farebox::db::Db;
use farebox::money::Money;
use farebox_test_support::agent::{Agent, call};
use farebox_test_support::db;
use farebox_test_support::harness::{client, funded, run, shared_chain};
use farebox_test_support::process::{Setup, program, signal, wait_until};
use serde_json::{Value, json};
use sqlx::Row as _;
use tempo_contracts::precompiles::ITIP20;
use tempo_primitives::transaction::TempoTransaction;

use crate::fixture::reader;

#[test]
fn deploy_prints_the_address_of_a_sale_on_the_configured_terms() {
    run(async {
        let (chain, database) = (shared_chain().await, db::sqlite().await);
        let signer = funded(chain).await;
        let setup = Setup::new(crate::FAREBOX, chain, &database.url)
            .with("FAREBOX_SPONSOR_PRIVATE_KEY", hex::encode(signer.signer.to_bytes()));
        let mut command = setup.command("contracts");
        let output = command.args(["deploy", "--packs", "5,12.50"]).output().await.expect("it runs");
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{message}");
        assert!(
            message.contains("key_sale.addresses") && message.contains("packs: $5.00, $12.50"),
            "{message}"
        );
        let address = String::from_utf8(output.stdout).expect("text");
        let address: Address = address.trim_end().parse().expect("an address and nothing else");
        let terms = reader(chain).sale_terms(address).await.expect("a sale is there");
        assert_eq!((terms.version, terms.token, terms.payee), (SaleVersion::V2, PATH_USD, setup.recipient));
        assert_eq!(terms.minimum, Some(Money::from_micros(1_000_000)));
        assert_eq!(terms.packs, [5_000_000, 12_500_000].map(Money::from_micros));
        assert!(terms.first_block > 0);
        assert_eq!(reader(chain).sale_count(address, terms.first_block).await.expect("it answers"), 0);
    });
}

#[test]
fn deploy_says_what_is_missing() {
    run(async {
        let (chain, database) = (shared_chain().await, db::sqlite().await);
        let setup = || Setup::new(crate::FAREBOX, chain, &database.url);
        // A wallet without money: the chain refuses, and nothing is printed as an address.
        let poor = hex::encode(PrivateKeySigner::random().to_bytes());
        for (setup, arguments, expected) in [
            (setup(), vec!["deploy"], "sponsor.private_key"),
            (setup(), vec!["deploy", "--packs", "5,0"], "--packs"),
            (
                setup().with("FAREBOX_SPONSOR_PRIVATE_KEY", poor.clone()),
                vec!["deploy", "--packs", "5,10", "--minimum", "6"],
                "--minimum",
            ),
            (setup().with("FAREBOX_SPONSOR_PRIVATE_KEY", poor), vec!["deploy"], "refused the deployment"),
        ] {
            let output = setup.command("contracts").args(arguments).output().await.expect("it runs");
            let message = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success() && output.stdout.is_empty(), "{message}");
            assert!(message.contains(expected), "{message}");
        }
    });
}

/// Twice in one folder: the second chain is another one, and so is its contract.
#[test]
fn dev_places_a_sale_and_follows_it() {
    run(async {
        let folder = tempfile::tempdir().expect("temporary folder");
        for round in 1..=2 {
            let _gone = std::fs::remove_file(folder.path().join("dev.json"));
            let mut command = program(crate::FAREBOX);
            command.args(["dev", "--listen", "127.0.0.1:0", "--data"]).arg(folder.path());
            let mut dev =
                command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts");
            let info = info(folder.path()).await;
            buy(&info).await;
            let db = folder.path().join("farebox.db");
            let url = format!("sqlite://{}?mode=rw", db.display());
            wait_until("bought", async || keys(&url).await == round).await;
            signal("TERM", dev.id().expect("it runs")).await;
            assert!(dev.wait().await.expect("it ends").success());
        }
    });
}

/// `dev.json`, once the server answers.
async fn info(folder: &Path) -> Value {
    let path = folder.join("dev.json");
    wait_until("dev answers", async || {
        let Ok(text) = std::fs::read_to_string(&path) else { return false };
        let Ok(info) = serde_json::from_str::<Value>(&text) else { return false };
        let health = format!("{}/healthz", info["url"].as_str().expect("a URL"));
        client().get(health).send().await.is_ok_and(|answer| answer.status().is_success())
    })
    .await;
    serde_json::from_str(&std::fs::read_to_string(path).expect("it is there")).expect("JSON")
}

/// Buys pack 1 with nothing but what `dev.json` says.
async fn buy(info: &Value) {
    let text = |name: &str| info[name].as_str().unwrap_or_else(|| panic!("{name} in {info}"));
    let agent = Agent { signer: text("agentPrivateKey").parse().expect("a key") };
    let contract: Address = text("keySale").parse().expect("an address");
    let config = config::ChainConfig {
        rpc_url: Secret::from(text("rpcUrl")),
        chain_id: info["chainId"].as_u64().expect("a number"),
        ..config::ChainConfig::default()
    };
    let terms = Chain::new(&config).expect("a URL").sale_terms(contract).await.expect("a sale is there");
    let price = u64::try_from(terms.packs[0].micros()).expect("positive");
    let key = SaleKey { hash: alloy::primitives::B256::random(), pack: 1 };
    let approve = ITIP20::approveCall { spender: contract, amount: alloy::primitives::U256::from(price) };
    let calls = vec![
        call(terms.token, alloy::sol_types::SolCall::abi_encode(&approve)),
        call(contract, buy_call(key).to_vec()),
    ];
    let transaction = TempoTransaction { gas_limit: 5_000_000, ..agent.transaction(calls) };
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransactionSync",
        "params": [agent.sign(transaction).raw] });
    let answer = client().post(text("rpcUrl")).json(&request).send().await.expect("the chain answers");
    let answer: Value = answer.json().await.expect("JSON");
    assert_eq!(answer["result"]["status"], "0x1", "{answer}");
}

async fn keys(url: &str) -> i64 {
    let db = Db::connect(url, 1).await.expect("connect");
    let row = sqlx::query("SELECT count(*) FROM api_keys").fetch_one(&db.pool).await;
    let count = row.expect("the database answers").try_get(0).expect("a number");
    db.close().await;
    count
}
