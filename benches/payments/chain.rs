//! The local chain, in a process of its own, and who pays on it.

use std::str::FromStr as _;

use alloy::primitives::Address;
use alloy::signers::local::PrivateKeySigner;
use anyhow::{Context as _, Result};
use farebox::devnet::{Devnet, DevnetConfig, TOKENS};
use mpp::PaymentChallenge;
use mpp::client::tempo::charge::{SignOptions, TempoCharge};
use serde::{Deserialize, Serialize};

use crate::program::{Program, end_with_parent};

/// Token of the agents' network fees.
const FEES: Address = TOKENS[1];
/// Enough for a transfer; given, so that signing asks the chain nothing.
const GAS: u64 = 1_000_000;
/// Accounts of the chain that pay. The last one is its faucet.
const AGENTS: usize = 9;

/// Description of the chain once it is up.
#[derive(Serialize, Deserialize)]
struct Started {
    rpc_url: String,
    keys: Vec<String>,
}

/// `chain`: runs until its parent ends.
pub fn run() -> Result<()> {
    end_with_parent();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let devnet = Devnet::start(DevnetConfig::default()).await?;
        let keys = devnet.accounts().iter().take(AGENTS).map(|key| hex::encode(key.to_bytes())).collect();
        println!("{}", serde_json::to_string(&Started { rpc_url: devnet.rpc_url(), keys })?);
        std::future::pending().await
    })
}

/// A running chain and its funded agents.
pub struct Chain {
    pub rpc_url: String,
    agents: Vec<PrivateKeySigner>,
    _process: Program,
}

impl Chain {
    pub fn start() -> Result<Self> {
        let (process, line) = Program::own(&["chain"])?;
        let up: Started = serde_json::from_str(&line).with_context(|| format!("the chain said {line}"))?;
        let agents = up.keys.iter().map(|key| PrivateKeySigner::from_str(key)).collect::<Result<_, _>>()?;
        Ok(Self { rpc_url: up.rpc_url, agents, _process: process })
    }

    /// Signs a payment of the `n`th challenge; returns the `Authorization` value.
    pub async fn sign(&self, n: usize, challenge: &str) -> Result<String> {
        let challenge: PaymentChallenge = mpp::parse_www_authenticate(challenge)?;
        let options = SignOptions {
            rpc_url: Some(self.rpc_url.clone()),
            gas_limit: Some(GAS),
            fee_token: Some(FEES),
            ..SignOptions::default()
        };
        let agent = &self.agents[n % self.agents.len()];
        let signed = TempoCharge::from_challenge(&challenge)?.sign_with_options(agent, options).await?;
        Ok(mpp::format_authorization(&signed.into_credential())?)
    }
}
