//! Failures of the local chain. The messages are read by people who just typed `make demo`.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::rpc::RpcError;

/// Failure to start the chain or to reach it.
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
        /// The program that was executed.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// Anvil ended before it was ready, most often because it is too old for `--network tempo`.
    #[error(
        "{path} ended before it was ready (Foundry 1.7.1 or newer is needed; `make tools` installs it):\n{log}"
    )]
    AnvilEnded {
        /// The program that was executed.
        path: PathBuf,
        /// The last lines it wrote.
        log: String,
    },
    /// Anvil did not become ready in time.
    #[error("{path} was not ready within {seconds} s:\n{log}")]
    AnvilSlow {
        /// The program that was executed.
        path: PathBuf,
        /// Seconds that were waited.
        seconds: u64,
        /// The last lines it wrote.
        log: String,
    },
    /// The proxy's address is taken or not ours.
    #[error("cannot listen on {address} for the chain's RPC: {source}")]
    Listen {
        /// The wanted address.
        address: SocketAddr,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The chain refused a request or did not answer.
    #[error(transparent)]
    Rpc(#[from] RpcError),
}
