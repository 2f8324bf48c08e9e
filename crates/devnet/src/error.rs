//! Why there is no local chain. The messages are read by people who just typed `make demo`.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::rpc::RpcError;

/// Why the chain could not be started or asked.
#[derive(Debug, thiserror::Error)]
pub enum DevnetError {
    /// There is no anvil.
    #[error("no anvil at {looked_at}: run `make tools`, or name one with --anvil or FAREBOX_ANVIL")]
    AnvilMissing {
        /// The places that were tried.
        looked_at: String,
    },
    /// The anvil that was found could not be executed.
    #[error("cannot run {path}: {source}")]
    Spawn {
        /// What was executed.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Anvil ended before it was ready, most often because it is too old for `--network tempo`.
    #[error(
        "{path} ended before it was ready (Foundry 1.7.1 or newer is needed; `make tools` installs it):\n{log}"
    )]
    AnvilEnded {
        /// What was executed.
        path: PathBuf,
        /// The last lines it wrote.
        log: String,
    },
    /// Anvil did not become ready in time.
    #[error("{path} was not ready within {seconds} s:\n{log}")]
    AnvilSlow {
        /// What was executed.
        path: PathBuf,
        /// How long we waited.
        seconds: u64,
        /// The last lines it wrote.
        log: String,
    },
    /// The proxy's address is taken or not ours.
    #[error("cannot listen on {address} for the chain's RPC: {source}")]
    Listen {
        /// The wanted address.
        address: SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The chain refused a request or did not answer.
    #[error(transparent)]
    Rpc(#[from] RpcError),
}
