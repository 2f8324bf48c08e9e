//! `farebox dev`: a local chain, a scripted upstream and a funded wallet in one process, for development and
//! demonstrations. This module only chooses a configuration; the server it
//! starts is the one of `serve`.

#![expect(clippy::disallowed_methods, reason = "the development server is a program of its own")]

mod instructions;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use alloy::primitives::Address;
use alloy::signers::local::PrivateKeySigner;
use serde::Serialize;
use tokio::net::TcpListener;

use crate::app::App;
use crate::chain::key_sale::{self, DeployError, NewSale};
use crate::chain::{Chain, Fees};
use crate::config::{Config, ConfigError, ModelConfig, PATH_USD, Secret, UpstreamConfig};
use crate::devnet::{Devnet, DevnetConfig, DevnetError};
use crate::id::{AccountId, SourceRef, Timestamp};
use crate::keys::{self, KeyLimits, KeysError, NewKey};
use crate::ledger;
use crate::money::Money;
use crate::services::chat::scripted::ScriptedUpstream;

/// Funds of the agent's wallet, in base units: $100.
const AGENT_FUNDS: u64 = 100_000_000;
/// The local chain accepts expiring transactions at most 30 s ahead, and some
/// clients sign up to the challenge's expiry.
const CHALLENGE_TTL_SECONDS: u64 = 27;
/// Prices of the key sale's packs, in base units: $10, $25 and $100.
const PACKS: [i64; 3] = [10_000_000, 25_000_000, 100_000_000];
/// Least purchase from the key sale, in base units: $0.01, so that trying it out is cheap.
const SALE_MINIMUM: i64 = 10_000;
/// Funds of the account that deploys the key sale, in base units.
const DEPLOYER_FUNDS: u64 = 10_000_000;

/// Prepaid credits of the agent's wallet: $10.
const CREDITS: i64 = 10_000_000;

/// Folder, below the current directory, in which `scripts/models.sh` puts the models.
const MODELS_FOLDER: &str = "models";

/// Id of the scripted model.
const MODEL_ID: &str = "dev-scripted";

/// Flags of `farebox dev`.
#[derive(Debug, Clone)]
pub struct DevOptions {
    pub listen: std::net::SocketAddr,
    /// Folder for the database, `dev.json` and `dev.env`; made when missing.
    pub data: PathBuf,
    pub anvil: Option<PathBuf>,
    pub hardfork: String,
}

/// Content of `<data>/dev.json`: all that a client needs to pay.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DevInfo {
    pub url: String,
    /// Origin of the operator's own listener: `/metrics`.
    pub admin_url: String,
    pub rpc_url: String,
    pub chain_id: u64,
    /// pathUSD.
    pub currency: String,
    pub recipient: String,
    /// The channel reserve (TIP-1034), for sessions.
    pub escrow: String,
    /// Contract that sells API keys and credit.
    pub key_sale: String,
    /// A funded wallet. Only for this chain, which ends with the process.
    pub agent_private_key: String,
    /// A key for `/v1`, with prepaid credits of the same wallet.
    pub api_key: String,
}

/// Chain, listener and configuration of a development server.
pub struct DevServer {
    pub devnet: Devnet,
    /// The scripted upstream; it ends with this value.
    pub upstream: ScriptedUpstream,
    pub listener: TcpListener,
    /// The operator's own listener, on a free port.
    pub admin: TcpListener,
    pub config: Config,
    pub info: DevInfo,
    agent: Address,
}

/// Reason the development server did not start.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    #[error(transparent)]
    Devnet(#[from] DevnetError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("cannot use {path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("the API key cannot be stored: {0}")]
    Key(KeysError),
    #[error("the key sale cannot be deployed to the local chain: {0}")]
    KeySale(#[from] DeployError),
    #[error("the scripted upstream cannot start: {0}")]
    Upstream(std::io::Error),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: std::net::SocketAddr, source: std::io::Error },
}

/// Address of TIP-1034's channel reserve.
const ESCROW: &str = "0x4d50500000000000000000000000000000000000";

/// Starts the chain and listens on the port.
///
/// # Errors
/// [`DevError`]; messages say what to do.
pub async fn prepare(options: &DevOptions) -> Result<DevServer, DevError> {
    let file = |path: &Path| {
        let path = path.to_owned();
        move |source| DevError::File { path, source }
    };
    std::fs::create_dir_all(&options.data).map_err(file(&options.data))?;
    let listener = TcpListener::bind(options.listen)
        .await
        .map_err(|source| DevError::Listen { address: options.listen, source })?;
    let address =
        listener.local_addr().map_err(|source| DevError::Listen { address: options.listen, source })?;
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let admin = TcpListener::bind(local).await;
    let admin = admin.map_err(|source| DevError::Listen { address: local, source })?;
    let admin_address = admin.local_addr().map_err(|source| DevError::Listen { address: local, source })?;
    let devnet = Devnet::start(DevnetConfig {
        anvil: options.anvil.clone(),
        hardfork: options.hardfork.clone(),
        ..DevnetConfig::default()
    })
    .await?;
    // The chain is new with every start, and so are its accounts. Records of
    // earlier chains in the database stay true of those.
    let [sponsor, operator] = [1, 2].map(|index| devnet.accounts()[index].clone());
    let [recipient, agent] = [(); 2].map(|()| PrivateKeySigner::random());
    devnet.fund(agent.address(), PATH_USD, AGENT_FUNDS).await?;

    let mut config = Config::default();
    config.server.listen = address;
    config.server.admin_listen = admin_address;
    config.server.public_url = origin(address);
    config.server.drain_seconds = 5;
    config.database.url = Secret::from(format!("sqlite://{}", options.data.join("farebox.db").display()));
    config.payments.secret = Secret::from(hex::encode(PrivateKeySigner::random().to_bytes()));
    config.payments.recipient = recipient.address();
    config.payments.challenge_ttl_seconds = CHALLENGE_TTL_SECONDS;
    config.chain.rpc_url = Secret::from(devnet.rpc_url());
    config.chain.chain_id = DevnetConfig::default().chain_id;
    config.sponsor.private_key = Some(Secret::from(hex::encode(sponsor.to_bytes())));
    config.sessions.operator_key = Some(Secret::from(hex::encode(operator.to_bytes())));
    let upstream = ScriptedUpstream::start().await.map_err(DevError::Upstream)?;
    config.upstreams = vec![UpstreamConfig {
        name: "scripted".into(),
        base_url: upstream.base_url(),
        ..UpstreamConfig::default()
    }];
    config.models = vec![ModelConfig {
        id: MODEL_ID.into(),
        description: "Echoes the prompt: a scripted stand-in for a model".into(),
        upstreams: vec!["scripted".into()],
        price_per_chunk: Money::from_micros(100),
        price_per_million_input: Money::from_micros(1_000_000),
        price_per_million_output: Money::from_micros(100_000_000),
        context_length: 32_768,
        max_output_tokens: 4_096,
        ..ModelConfig::default()
    }];
    // Clients register themselves: documents of clients are on the internet, which is not needed here.
    config.mcp.fetch_clients = false;
    config.billing.test_checkout = true;
    config.pii.models = Some(PathBuf::from(MODELS_FOLDER)).filter(|folder| folder.is_dir());
    let sale = deploy_key_sale(&devnet, &config).await?;
    config.key_sale.addresses = vec![sale];
    // The local chain never takes a block back.
    config.key_sale.confirmations = 0;
    config.validate()?;

    let info = DevInfo {
        url: config.server.public_url.clone(),
        admin_url: format!("http://{admin_address}"),
        rpc_url: devnet.rpc_url(),
        chain_id: config.chain.chain_id,
        currency: format!("{PATH_USD:#x}"),
        recipient: format!("{:#x}", config.payments.recipient),
        escrow: ESCROW.to_owned(),
        key_sale: format!("{sale:#x}"),
        agent_private_key: format!("0x{}", hex::encode(agent.to_bytes())),
        api_key: String::new(),
    };
    Ok(DevServer { devnet, upstream, listener, admin, config, info, agent: agent.address() })
}

impl DevServer {
    /// Gives the agent's wallet prepaid credits and a key, writes `dev.json` and `dev.env`, and returns instructions
    /// for the terminal.
    ///
    /// # Errors
    /// If the database or a file cannot be written.
    pub async fn fund_agent(&mut self, app: &App, data: &Path) -> Result<String, DevError> {
        let (owner, now) = (format!("{:#x}", self.agent), Timestamp::now());
        let account = AccountId::wallet(&owner).expect("an address is one");
        let source = SourceRef::parse(&format!("dev:{owner}")).expect("an address is a token");
        let minted = app.keys.mint();
        let new = &NewKey {
            id: &minted.id,
            owner: &owner,
            name: "dev",
            limits: &KeyLimits::default(),
            expires_at: None,
            hash: &minted.hash,
        };
        let (account, source) = (&account, &source);
        let opened = app.db.transaction(|mut tx| async move {
            ledger::credit(&mut tx, account, Money::from_micros(CREDITS), source, now).await?;
            keys::create(&mut tx, new, now).await?;
            Ok::<_, KeysError>((tx, ()))
        });
        opened.await.map_err(DevError::Key)?;
        minted.text.expose().clone_into(&mut self.info.api_key);
        let json = serde_json::to_string_pretty(&self.info).expect("plain strings are valid JSON");
        // Clients wait for dev.json, so it comes last.
        for (name, text) in [("dev.env", instructions::environment(&self.info)), ("dev.json", json)] {
            let path = data.join(name);
            std::fs::write(&path, text).map_err(|source| DevError::File { path, source })?;
        }
        Ok(instructions::for_terminal(&self.info, MODEL_ID, data))
    }
}

/// Origin that people type: `localhost` for an address of this machine.
fn origin(address: SocketAddr) -> String {
    if address.ip().is_loopback() || address.ip().is_unspecified() {
        format!("http://localhost:{}", address.port())
    } else {
        format!("http://{address}")
    }
}

/// Deploys the key sale from a new account: the contract's address follows from
/// its sender, and records of an earlier chain's contract
/// must not be taken for this one's.
async fn deploy_key_sale(devnet: &Devnet, config: &Config) -> Result<Address, DevError> {
    let deployer = PrivateKeySigner::random();
    devnet.fund(deployer.address(), PATH_USD, DEPLOYER_FUNDS).await?;
    let chain = Chain::new(&config.chain).map_err(DeployError::from)?;
    let packs = PACKS.map(Money::from_micros);
    let sale = NewSale {
        token: config.chain.currency,
        payee: config.payments.recipient,
        minimum: Money::from_micros(SALE_MINIMUM),
        packs: &packs,
    };
    let fees = Fees {
        token: PATH_USD,
        gas: key_sale::DEPLOYMENT_GAS,
        max_fee_per_gas: 0,
        max_priority_fee_per_gas: 0,
    };
    let until = u64::try_from(Timestamp::now().seconds()).unwrap_or(0) + key_sale::VALID_SECONDS;
    Ok(chain.deploy_sale(&deployer, &sale, fees, until).await?.0)
}
