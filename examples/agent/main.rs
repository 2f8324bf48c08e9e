//! An agent without an account: discovers the service, pays for one request,
//! and shows what it got and what it cost.
//!
//!     cargo run --example agent -- .farebox/dev.json
//!
//! All its knowledge comes from `dev.json` (a wallet and where to find the
//! server) and from the server's own documents. It pays with the `mpp` crate's
//! unmodified client.

mod chat;

use std::path::PathBuf;

use alloy::primitives::{Address, U256};
use alloy::providers::ProviderBuilder;
use alloy::signers::local::PrivateKeySigner;
use anyhow::{Context as _, Result, ensure};
use mpp::client::{Fetch as _, TempoProvider, TempoSessionProvider};
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tempo_alloy::TempoNetwork;
use tempo_alloy::contracts::precompiles::ITIP20;

/// The file that `farebox dev` writes for clients.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dev {
    url: String,
    rpc_url: String,
    chain_id: u64,
    currency: Address,
    recipient: Address,
    agent_private_key: String,
}

struct Agent {
    dev: Dev,
    http: Client,
    wallet: TempoProvider,
    address: Address,
}

/// The most the agent locks in a channel, in base units: $1.
const MAX_DEPOSIT: u128 = 1_000_000;
const TEXT: &str = "Jane's new card is 4111 1111 1111 1111, mail jane@example.com or call +1 415 555 2671.";

#[tokio::main]
async fn main() -> Result<()> {
    let path = std::env::args().nth(1).map_or_else(|| PathBuf::from(".farebox/dev.json"), PathBuf::from);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}; is `farebox dev` running?", path.display()))?;
    let dev: Dev = serde_json::from_str(&text)?;
    let signer: PrivateKeySigner = dev.agent_private_key.parse()?;
    let address = signer.address();
    let wallet = TempoProvider::new(signer, &dev.rpc_url)?.with_expected_chain_id(dev.chain_id);
    let agent = Agent { dev, http: Client::new(), wallet, address };

    agent.discover().await?;
    agent.look_before_paying().await?;
    agent.buy("/mpp/pii/preview", "pay $0.05 and its network fee").await?;
    agent.buy("/mpp/pii/preview?feePayer=true", "pay $0.05, the server pays the network fee").await?;
    agent.prove().await?;
    agent.chat().await
}

impl Agent {
    async fn discover(&self) -> Result<()> {
        title("Discover: GET /mpp");
        let index: Value = self.http.get(self.url("/mpp")).send().await?.json().await?;
        for operation in index["operations"].as_array().into_iter().flatten() {
            let price =
                operation["price"].as_str().map_or_else(|| "free".to_owned(), |price| format!("${price}"));
            let [method, path, summary] =
                ["method", "path", "summary"].map(|field| operation[field].as_str().unwrap_or_default());
            println!("  {method:4} {path:18} {price:6} {summary}");
        }
        Ok(())
    }

    async fn look_before_paying(&self) -> Result<()> {
        title("Bad input costs nothing");
        let refused = self.http.post(self.url("/mpp/pii/preview")).json(&json!({"txt": TEXT})).send().await?;
        ensure!(refused.status() == StatusCode::BAD_REQUEST, "expected 400, got {}", refused.status());
        println!("  400 {}", detail(refused).await?);

        title("Good input asks for payment");
        let asked = self.http.post(self.url("/mpp/pii/preview")).json(&json!({"text": TEXT})).send().await?;
        ensure!(asked.status() == StatusCode::PAYMENT_REQUIRED, "expected 402, got {}", asked.status());
        let header = asked.headers().get("www-authenticate").context("a 402 carries a challenge")?;
        let challenge = mpp::parse_www_authenticate(header.to_str()?)?;
        println!("  402 {}/{}: {}", challenge.method, challenge.intent, challenge.request.decode_value()?);
        println!("  {}", detail(asked).await?);
        Ok(())
    }

    async fn buy(&self, path: &str, what: &str) -> Result<()> {
        title(&format!("Buy: {what}"));
        let before = self.balances().await?;
        let answer = self
            .http
            .post(self.url(path))
            .header("Accept-Payment", "tempo/charge")
            .json(&json!({"text": TEXT}))
            .send_with_payment(&self.wallet)
            .await?;
        ensure!(
            answer.status() == StatusCode::OK,
            "expected 200, got {}: {}",
            answer.status(),
            detail(answer).await?
        );
        let receipt = receipt(&answer)?;
        let body: Value = answer.json().await?;
        println!("  sent      {TEXT}");
        println!("  got       {}", body["redactedText"].as_str().unwrap_or_default());
        println!("  found     {}", body["counts"]);
        println!("  receipt   {} {}", receipt.reference, receipt.timestamp);
        let after = self.balances().await?;
        let paid = before.0.saturating_sub(after.0);
        println!("  agent     {} -> {}  ({} units, network fee included)", before.0, after.0, paid);
        println!("  server    {} -> {}  (+{} units)", before.1, after.1, after.1.saturating_sub(before.1));
        Ok(())
    }

    async fn prove(&self) -> Result<()> {
        title("Prove the wallet (free): GET /mpp/account");
        let answer = self
            .http
            .get(self.url("/mpp/account"))
            .header("Accept-Payment", "tempo/charge")
            .send_with_payment(&self.wallet)
            .await?;
        ensure!(
            answer.status() == StatusCode::OK,
            "expected 200, got {}: {}",
            answer.status(),
            detail(answer).await?
        );
        let account: Value = answer.json().await?;
        println!("  balance   {}", account["balance"]);
        for payment in account["payments"].as_array().into_iter().flatten() {
            let [state, amount, route] =
                ["state", "amount", "route"].map(|field| payment[field].as_str().unwrap_or_default());
            println!("  {state:9} ${amount} {route}");
        }
        Ok(())
    }

    async fn chat(&self) -> Result<()> {
        title("Chat on a payment channel: pay per chunk, then close");
        let models: Value = self.http.get(self.url("/mpp/models")).send().await?.json().await?;
        let model = models["data"][0]["id"].as_str().context("a model is offered")?;
        let price = models["data"][0]["pricePerChunk"].as_str().unwrap_or_default();
        let signer: PrivateKeySigner = self.dev.agent_private_key.parse()?;
        let wallet = TempoSessionProvider::new(signer, &self.dev.rpc_url)?.with_max_deposit(MAX_DEPOSIT);
        let url = self.url("/mpp/chat/completions");
        let before = self.balances().await?;
        for prompt in
            ["Every word of this answer is paid before it leaves.", r#"{"chunks":200,"intervalMs":5}"#]
        {
            let chat = chat::stream(&self.http, &wallet, &url, model, prompt).await?;
            let of = |field: &str| chat.receipt[field].as_str().unwrap_or_default().to_owned();
            let text: String = chat.text.chars().take(60).collect();
            println!("  streamed  {} chunks at ${price}, {} vouchers: {text}…", chat.chunks, chat.vouchers);
            println!("  receipt   accepted {} spent {} units", of("acceptedCumulative"), of("spent"));
        }
        let closed = wallet.close(&self.http, &url).await?;
        println!(
            "  closed    {}",
            closed.map_or_else(|| "(no receipt)".to_owned(), |receipt| receipt.reference)
        );
        let after = self.balances().await?;
        println!("  agent     {} -> {}  (network fees included)", before.0, after.0);
        println!("  server    {} -> {}  (+{} units)", before.1, after.1, after.1.saturating_sub(before.1));
        Ok(())
    }

    /// The agent's and the server's token balance, in base units.
    async fn balances(&self) -> Result<(U256, U256)> {
        let node =
            ProviderBuilder::new_with_network::<TempoNetwork>().connect_http(self.dev.rpc_url.parse()?);
        let token = ITIP20::new(self.dev.currency, &node);
        Ok((token.balanceOf(self.address).call().await?, token.balanceOf(self.dev.recipient).call().await?))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.dev.url)
    }
}

fn title(text: &str) {
    println!("\n{text}");
}

async fn detail(response: Response) -> Result<String> {
    let problem: Value = response.json().await?;
    Ok(problem["detail"].as_str().unwrap_or_default().to_owned())
}

fn receipt(response: &Response) -> Result<mpp::Receipt> {
    let header = response.headers().get("payment-receipt").context("a paid answer carries a receipt")?;
    Ok(mpp::parse_receipt(header.to_str()?)?)
}
