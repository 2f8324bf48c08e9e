// cargo add mpp@0.18.2 --features client,tempo
// cargo add reqwest@0.13 --features json; cargo add tokio@1 --features full; cargo add anyhow@1 serde_json@1
use anyhow::{Context as _, Result};
use mpp::PrivateKeySigner;
use mpp::client::{Fetch as _, TempoProvider};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<()> {
    let dev: Value = serde_json::from_str(&std::fs::read_to_string(".farebox/dev.json")?)?;
    let field = |name: &str| dev[name].as_str().context("dev.json has it");
    let signer: PrivateKeySigner = field("agentPrivateKey")?.parse()?;
    let wallet = TempoProvider::new(signer, field("rpcUrl")?)?.with_expected_chain_id(1337);
    let request = reqwest::Client::new()
        .post(format!("{}/mpp/pii/preview", field("url")?))
        .header("Accept-Payment", "tempo/charge") // without it nothing is paid
        .json(&json!({"text": "Mail jane@example.com"}));
    let answer = request.send_with_payment(&wallet).await?.error_for_status()?;
    println!("{}", answer.json::<Value>().await?["redactedText"]);
    Ok(())
}
