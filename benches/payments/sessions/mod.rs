//! Streams that are paid chunk by chunk from channels, against the same streams without a charge
//! and against the meters of the peers.
//!
//! There is no chain: channels stand in the databases, and in the peers' stores, before the
//! servers start, and nobody has a reason to ask a chain about them.

mod contender;
mod latency;
mod load;
mod memory;
mod peers;
mod seed;
mod throughput;
mod upstream;
mod vouchers;

use std::net::SocketAddr;

use alloy::primitives::{Address, address};
use alloy::signers::local::PrivateKeySigner;
use anyhow::Result;
use farebox::config::{ModelConfig, UpstreamConfig};
use farebox::money::Money;
use farebox_test_support::db;

use crate::program::Program;
use crate::report::title;
use contender::Contender;

pub use load::run as run_streams;
pub use peers::{run_mpp_rs, run_unmetered};
pub use upstream::run as run_upstream;

pub const CHAT: &str = "/mpp/chat/completions";
/// A channel's deposit and its voucher, in millionths of a dollar: more than any run takes.
pub const FUNDS: i64 = 1_000_000_000_000;
pub const CHAIN_ID: u64 = 1337;
const ESCROW: Address = address!("4d50500000000000000000000000000000000000");
/// As [`Program`] configures it.
const RECIPIENT: Address = address!("8f3a2b1c4d5e6f708192a3b4c5d6e7f8091a2b3c");
const OPERATOR_KEY: &str = "0x1111111111111111111111111111111111111111111111111111111111111111";
/// The most streams of any part.
const CHANNELS: usize = 1000;

/// One section of the bench: `memory`, `throughput`, `latency` or `vouchers`.
pub async fn measure(section: &str) -> Result<()> {
    if section == "vouchers" {
        title("9. Vouchers, from the signed amount to what is stored, synced and credited");
        return vouchers::measure().await;
    }
    let (model, _) = Program::own(&["upstream"])?;
    let mut contenders = contenders(model.address).await?;
    match section {
        "memory" => {
            title("6. Resident memory of the server, with 1000 streams that have begun and say nothing");
            memory::measure(&mut contenders)
        }
        "throughput" => {
            title("7. Streams: every chunk is charged, and the charge synced, before it is sent");
            throughput::measure(&mut contenders)
        }
        _ => {
            title("8. Streams at a rate that models have: what a charge adds to the way of a chunk");
            latency::measure(&mut contenders)
        }
    }
}

/// All contenders.
async fn contenders(model: SocketAddr) -> Result<Vec<Contender>> {
    let mut contenders = vec![Contender::farebox("farebox, SQLite", model, CHANNELS, None).await?];
    match db::postgres().await {
        Some(database) => {
            let postgres = Contender::farebox("farebox, PostgreSQL", model, CHANNELS, Some(database)).await?;
            contenders.push(postgres);
        }
        None => println!("  SKIPPED: PostgreSQL does not answer and cannot be started"),
    }
    let (address, channels) = (model.to_string(), CHANNELS.to_string());
    let unmetered = address.clone();
    let unmetered = move || Ok(Program::own(&["unmetered", &unmetered])?.0);
    contenders.push(Contender::peer(throughput::BASELINE, CHANNELS, unmetered)?);
    let mpp_rs = move || Ok(Program::own(&["mpp-rs", &address, &channels])?.0);
    contenders.push(Contender::peer("mpp-rs, in memory", CHANNELS, mpp_rs)?);
    match Contender::peer("mppx, in memory", CHANNELS, move || Program::mppx_streams(model, CHANNELS, FUNDS))
    {
        Ok(mppx) => contenders.push(mppx),
        Err(error) => println!("  SKIPPED: the mppx server: {error:#}"),
    }
    Ok(contenders)
}

/// The body of a chat request that tells the upstream what to do.
fn prompt(streams: usize, rate: u64) -> String {
    serde_json::json!({
        "model": "bench", "stream": true,
        "messages": [{ "role": "user", "content": format!("streams={streams} rate={rate}") }],
    })
    .to_string()
}

/// The model and its upstream, for those who take no configuration file.
fn model() -> ModelConfig {
    ModelConfig {
        id: "bench".into(),
        upstreams: vec!["bench".into()],
        price_per_chunk: Money::from_micros(1),
        context_length: 100_000_000,
        max_output_tokens: 100_000_000,
        ..ModelConfig::default()
    }
}

fn upstream(address: SocketAddr) -> UpstreamConfig {
    UpstreamConfig {
        name: "bench".into(),
        base_url: format!("http://{address}/v1"),
        idle_timeout_ms: 600_000,
        ..UpstreamConfig::default()
    }
}

fn operator() -> PrivateKeySigner {
    OPERATOR_KEY.parse().expect("a private key")
}
