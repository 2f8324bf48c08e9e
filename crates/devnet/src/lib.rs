//! A local Tempo chain for development and tests.
//!
//! [`Devnet::start`] runs `anvil --network tempo` and puts a thin JSON-RPC proxy in front of it.
//! The proxy adds what the released anvil lacks (`additions`), each addition only where anvil does
//! not do it by itself, and breaks on demand ([`Faults`]), so that a test can run the server
//! on a chain that is slow, behind, lying or gone. The server itself only ever sees a JSON-RPC
//! URL.
//!
//! Used by `farebox dev` and by tests, never by `farebox serve`.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod additions;
mod anvil;
mod behind;
mod control;
mod error;
mod faucet;
mod faults;
mod gas;
mod proxy;
mod receipts;
mod receive_policy;
mod reserve;
mod rpc;
mod server;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use alloy::primitives::{Address, B256, U256, address};
use alloy::signers::local::coins_bip39::English;
use alloy::signers::local::{MnemonicBuilder, PrivateKeySigner};
use alloy::sol_types::SolCall;
use serde_json::json;
use tempo_contracts::precompiles::ITIP20;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use additions::Additions;
pub use error::DevnetError;
pub use faults::{Fault, Faults, Rule};
pub use rpc::RpcError;

use anvil::Anvil;
use proxy::Proxy;
use reserve::Reserve;
use rpc::Rpc;

/// The stablecoins that exist from the first block on: pathUSD and three more, 6 decimals each.
pub const TOKENS: [Address; 4] = [
    address!("0x20c0000000000000000000000000000000000000"),
    address!("0x20c0000000000000000000000000000000000001"),
    address!("0x20c0000000000000000000000000000000000002"),
    address!("0x20c0000000000000000000000000000000000003"),
];

/// The mnemonic behind [`Devnet::accounts`]. It is public: never use it on another chain.
pub const MNEMONIC: &str = "test test test test test test test test test test test junk";

/// Accounts that anvil derives from [`MNEMONIC`] and funds at genesis.
const ACCOUNTS: u32 = 10;

/// The account that the faucet transfers from: the last, because tests take accounts from the front and
/// count their nonces themselves.
const FAUCET_ACCOUNT: usize = ACCOUNTS as usize - 1;

/// Settings of the chain.
#[derive(Debug, Clone)]
pub struct DevnetConfig {
    /// The anvil to run. When `None`, the first of `FAREBOX_ANVIL`, the `PATH` and `.tools/bin`.
    pub anvil: Option<PathBuf>,
    /// The Tempo hardfork that the chain follows, as anvil names it.
    pub hardfork: String,
    /// The chain id; transactions are bound to it.
    pub chain_id: u64,
    /// Address that the proxy listens on; port 0 takes a free one.
    pub rpc_listen: SocketAddr,
}

impl Default for DevnetConfig {
    fn default() -> Self {
        Self {
            anvil: None,
            hardfork: "t4".to_owned(),
            chain_id: 1337,
            rpc_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        }
    }
}

/// A running local chain. Dropping it ends the chain; [`Devnet::stop`] does so and waits.
#[derive(Debug)]
pub struct Devnet {
    anvil: Anvil,
    proxy: Arc<Proxy>,
    server: JoinHandle<()>,
    address: SocketAddr,
    accounts: Vec<PrivateKeySigner>,
}

impl Devnet {
    /// Starts anvil and the proxy, and returns when both answer.
    ///
    /// # Errors
    /// See [`DevnetError`]; each message says what to do.
    pub async fn start(config: DevnetConfig) -> Result<Self, DevnetError> {
        let listen_error = |source| DevnetError::Listen { address: config.rpc_listen, source };
        let listener = TcpListener::bind(config.rpc_listen).await.map_err(listen_error)?;
        let address = listener.local_addr().map_err(listen_error)?;

        let anvil = Anvil::start(&config).await?;
        let rpc = Rpc::new(anvil.url().to_owned());
        let accounts = accounts();
        let additions = Additions::probe(&rpc).await?;
        let reserve = if additions.reserve { Some(Reserve::install(rpc.clone()).await?) } else { None };
        let proxy = Arc::new(Proxy::new(rpc, additions, reserve, accounts[FAUCET_ACCOUNT].address()));
        let server = tokio::spawn(server::serve(listener, address, Arc::clone(&proxy)));
        Ok(Self { anvil, proxy, server, address, accounts })
    }

    /// Stops the chain and waits until anvil is gone.
    pub async fn stop(mut self) {
        self.server.abort();
        self.anvil.stop().await;
    }

    /// The URL to give to the server and to clients: the proxy's.
    #[must_use]
    pub fn rpc_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Anvil's own URL, past additions and faults.
    #[must_use]
    pub fn anvil_url(&self) -> &str {
        self.anvil.url()
    }

    /// The accounts of [`MNEMONIC`]; each holds `u64::MAX` units of every token in [`TOKENS`] at
    /// genesis. The last one pays for [`Devnet::fund`].
    #[must_use]
    pub fn accounts(&self) -> &[PrivateKeySigner] {
        &self.accounts
    }

    /// The fault switches.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        self.proxy.faults()
    }

    /// Additions of the proxy to this anvil.
    #[must_use]
    pub fn additions(&self) -> Additions {
        self.proxy.additions()
    }

    /// Number of `eth_sendRawTransaction` and `eth_sendRawTransactionSync` requests that reached anvil.
    #[must_use]
    pub fn broadcasts(&self) -> u64 {
        self.proxy.broadcasts()
    }

    /// Sends `amount` units of `token` to `to`, past all faults, and returns the transaction once
    /// it is in a block.
    ///
    /// # Errors
    /// [`DevnetError::Rpc`] when the chain refuses the transfer or does not include it.
    pub async fn fund(&self, to: Address, token: Address, amount: u64) -> Result<B256, DevnetError> {
        let (rpc, faucet) = (self.proxy.rpc(), self.proxy.faucet());
        let hash = faucet.transfer(rpc, token, to, amount).await?;
        rpc.wait_included(hash).await?;
        Ok(hash)
    }

    /// The balance of `owner` in units of `token`, past all faults.
    ///
    /// # Errors
    /// [`DevnetError::Rpc`] when the chain refuses, as it does for an address that is no token.
    pub async fn balance(&self, token: Address, owner: Address) -> Result<U256, DevnetError> {
        let data = ITIP20::balanceOfCall { account: owner }.abi_encode();
        let call = json!([{ "to": token, "data": alloy::hex::encode_prefixed(data) }, "latest"]);
        Ok(self.proxy.rpc().call("eth_call", call).await?)
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn accounts() -> Vec<PrivateKeySigner> {
    (0..ACCOUNTS)
        .map(|index| {
            MnemonicBuilder::<English>::default()
                .phrase(MNEMONIC)
                .index(index)
                .and_then(|builder| builder.build())
                .expect("a constant phrase and a small index are always valid")
        })
        .collect()
}
