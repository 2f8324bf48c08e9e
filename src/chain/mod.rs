//! The Tempo RPC client: reads and sends, and never takes a missing answer for a verdict.
//!
//! Every request has a time limit. A transaction's outcome is one of three: it is
//! in a block, the node refused it, or it is unknown ([`SendOutcome`]). The
//! callers' rules about money rest on the third one.

pub mod key_sale;
mod receipt;
mod receive_policy;
pub mod reserve;
pub mod signer;
mod transaction;

use std::sync::Arc;
use std::time::Duration;

use alloy::consensus::BlockHeader as _;
use alloy::consensus::transaction::TxHashRef as _;
use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::network::ReceiptResponse as _;
use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use alloy::providers::{Provider as _, RootProvider};
use alloy::rpc::client::RpcClient;
use alloy::rpc::types::TransactionRequest;
use alloy::sol_types::SolError as _;
use alloy::transports::{RpcError, TransportErrorKind};
use tempo_alloy::TempoNetwork;
use tempo_alloy::contracts::precompiles::ITIP20;
use tempo_alloy::rpc::TempoTransactionReceipt;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::config;

pub use receipt::{
    BlockedTransfer, MemoTransfer, TransferResult, fee_paid, held_back, memo_transfers, transfer_result,
};
pub use transaction::{Fees, KnownTransaction, SignedTransaction, TransactionError, TransactionSigner};

/// Pause between two requests for the same transaction.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// "Method not found" (JSON-RPC 2.0, section 5.1).
const METHOD_NOT_FOUND: i64 = -32601;
/// "Execution reverted" (geth and its descendants).
const REVERTED: i64 = 3;

/// Codes with which nodes refuse a transaction that no block can include: "server error", which geth and its descendants
/// use for it, and "transaction rejected" (EIP-1474). Other errors are the node's own trouble.
const SERVER_ERROR: i64 = -32000;
const TRANSACTION_REJECTED: i64 = -32003;

/// A provider that the `mpp` crate's verifier can share.
pub type Provider = RootProvider<TempoNetwork>;
/// A transaction's receipt.
pub type ChainReceipt = TempoTransactionReceipt;

/// One Tempo node.
#[derive(Debug, Clone)]
pub struct Chain {
    provider: Provider,
    chain_id: u64,
    request_timeout: Duration,
    confirm_timeout: Duration,
    /// Set once the node has named the configured chain.
    confirmed: Arc<OnceCell<()>>,
}

/// Failure of a request to the node. Nothing is known about its subject then, except
/// for [`Self::Refused`].
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// Configuration: the URL cannot be used.
    #[error("chain.rpc_url is not an http(s) URL")]
    Url,
    /// Configuration: the proxy cannot be used.
    #[error("chain.proxy is not the URL of a proxy")]
    Proxy,
    #[error("the node did not answer {method} in time")]
    Timeout { method: &'static str },
    /// No connection. The text never holds the URL, which may hold a key.
    #[error("the node is unreachable for {method}")]
    Unreachable { method: &'static str },
    #[error("the node answered {method} with error {code}")]
    Refused {
        method: &'static str,
        code: i64,
        message: String,
        /// Revert data, where the node gave any.
        data: Vec<u8>,
    },
    #[error("the node serves chain {actual}, configured is {expected}")]
    WrongChain { expected: u64, actual: u64 },
    #[error("the node's answer to {method} contradicts the request")]
    InvalidAnswer { method: &'static str },
}

/// Result of simulating a transaction's calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SimulationOutcome {
    Succeeds,
    /// The sender holds too little of the token.
    Insufficient,
    /// The calls revert; the text is the node's reason.
    Reverts(String),
}

/// Outcome of sending a transaction.
#[derive(Debug)]
pub enum SendOutcome {
    /// The transaction is in a block; its receipt says whether it succeeded.
    Mined(Box<ChainReceipt>),
    /// The node refused the transaction and does not know it: it did not happen.
    Refused { reason: String },
    /// The outcome is not known yet. The transaction may still happen.
    Unknown,
}

impl Chain {
    /// A client for the configured node. Connects on first use.
    ///
    /// # Errors
    /// [`ChainError::Url`].
    pub fn new(config: &config::ChainConfig) -> Result<Self, ChainError> {
        let url = config.rpc_url.expose().parse().map_err(|_| ChainError::Url)?;
        let http = crate::outbound::client(config.proxy.as_ref())
            .map_err(|_| ChainError::Proxy)?
            .connect_timeout(Duration::from_millis(config.request_timeout_ms))
            .tcp_nodelay(true)
            .build()
            .map_err(|_| ChainError::Url)?;
        let transport = alloy::transports::http::Http::with_client(http, url);
        Ok(Self {
            provider: RootProvider::new(RpcClient::new(transport, false)),
            chain_id: config.chain_id,
            request_timeout: Duration::from_millis(config.request_timeout_ms),
            confirm_timeout: Duration::from_millis(config.confirm_timeout_ms),
            confirmed: Arc::default(),
        })
    }

    /// The provider, for the `mpp` crate's verifier.
    #[must_use]
    pub fn provider(&self) -> &Provider {
        &self.provider
    }

    #[must_use]
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// Longest wait of a request for its transaction.
    #[must_use]
    pub fn confirm_timeout(&self) -> Duration {
        self.confirm_timeout
    }

    /// Checks that the node answers and serves the configured chain.
    ///
    /// # Errors
    /// [`ChainError::WrongChain`] when it serves another; any other when it is unreachable.
    pub async fn check(&self) -> Result<(), ChainError> {
        let actual = self.call("eth_chainId", self.provider.get_chain_id()).await?;
        if actual == self.chain_id {
            Ok(())
        } else {
            Err(ChainError::WrongChain { expected: self.chain_id, actual })
        }
    }

    /// Runs [`Self::check`] until it has succeeded once.
    ///
    /// # Errors
    /// Those of [`Self::check`].
    pub async fn confirm(&self) -> Result<(), ChainError> {
        self.confirmed.get_or_try_init(|| self.check()).await.copied()
    }

    /// The receipt of a transaction, `None` while it is in no block.
    ///
    /// # Errors
    /// [`ChainError`] when the node is unreachable or its answer is invalid.
    pub async fn receipt(&self, hash: B256) -> Result<Option<ChainReceipt>, ChainError> {
        let method = "eth_getTransactionReceipt";
        let receipt = self.call(method, self.provider.get_transaction_receipt(hash)).await?;
        match receipt {
            Some(receipt) if receipt.transaction_hash() != hash => Err(ChainError::InvalidAnswer { method }),
            receipt => Ok(receipt),
        }
    }

    /// A transaction; `None` while the node does not know it.
    ///
    /// # Errors
    /// [`ChainError`] when the node is unreachable or its answer is invalid.
    pub async fn transaction(&self, hash: B256) -> Result<Option<KnownTransaction>, ChainError> {
        let method = "eth_getTransactionByHash";
        let found = self.call(method, self.provider.get_transaction_by_hash(hash)).await?;
        let Some(found) = found else { return Ok(None) };
        let envelope = found.inner.inner();
        if *envelope.tx_hash() != hash {
            return Err(ChainError::InvalidAnswer { method });
        }
        KnownTransaction::of(envelope).map(Some).ok_or(ChainError::InvalidAnswer { method })
    }

    /// True if a transaction that no block later than `last` (Unix seconds) can
    /// include is in none at all. Our own clock is no evidence, because a node can
    /// be behind: its own newest block must be past that moment, and the receipt
    /// missing after that.
    ///
    /// # Errors
    /// [`ChainError`] when the node is unreachable or its answer is invalid.
    pub async fn never_included(&self, hash: B256, last: u64) -> Result<bool, ChainError> {
        let (_, time) = self.newest_block().await?;
        Ok(time > last && self.receipt(hash).await?.is_none())
    }

    /// Waits for a receipt until `wait` has passed.
    ///
    /// # Errors
    /// [`ChainError`] of the last request, when the node was unreachable until the end.
    pub async fn await_receipt(
        &self,
        hash: B256,
        wait: Duration,
    ) -> Result<Option<ChainReceipt>, ChainError> {
        let deadline = Instant::now() + wait;
        loop {
            let answer = self.receipt(hash).await;
            if matches!(answer, Ok(Some(_))) || Instant::now() + POLL_INTERVAL >= deadline {
                return answer;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// A TIP-20 balance, in base units.
    ///
    /// # Errors
    /// [`ChainError`] when the node is unreachable or its answer is invalid.
    pub async fn balance(&self, token: Address, account: Address) -> Result<U256, ChainError> {
        let token = ITIP20::new(token, &self.provider);
        let call = token.balanceOf(account);
        match tokio::time::timeout(self.request_timeout, call.call()).await {
            Ok(Ok(balance)) => Ok(balance),
            Ok(Err(_)) => Err(ChainError::Unreachable { method: "eth_call" }),
            Err(_) => Err(ChainError::Timeout { method: "eth_call" }),
        }
    }

    /// Number and time (Unix seconds) of the newest block.
    async fn newest_block(&self) -> Result<(u64, u64), ChainError> {
        self.block(BlockNumberOrTag::Latest).await
    }

    /// Time of the newest block, in Unix seconds.
    ///
    /// # Errors
    /// [`ChainError`] when the node is unreachable or its answer is invalid.
    pub async fn newest_time(&self) -> Result<u64, ChainError> {
        Ok(self.newest_block().await?.1)
    }

    /// Time of the block that a transaction is in, in Unix seconds.
    ///
    /// # Errors
    /// [`ChainError`] when the node is unreachable or its answer is invalid.
    pub async fn mined_at(&self, receipt: &ChainReceipt) -> Result<u64, ChainError> {
        let method = "eth_getTransactionReceipt";
        let number = receipt.block_number().ok_or(ChainError::InvalidAnswer { method })?;
        Ok(self.block(number.into()).await?.1)
    }

    async fn block(&self, number: BlockNumberOrTag) -> Result<(u64, u64), ChainError> {
        let method = "eth_getBlockByNumber";
        let block = self.provider.get_block_by_number(number);
        let block =
            self.call(method, async { block.await }).await?.ok_or(ChainError::InvalidAnswer { method })?;
        Ok((block.header.number(), block.header.timestamp()))
    }

    /// Calls a contract at a block without changing anything.
    async fn call_at(&self, block: u64, to: Address, input: Bytes) -> Result<Bytes, ChainError> {
        let request =
            TransactionRequest { to: Some(to.into()), input: input.into(), ..TransactionRequest::default() };
        let call = self.provider.call(request.into()).block(BlockId::number(block));
        self.call("eth_call", async { call.await }).await
    }

    /// Current price of one gas, in 10^-18 dollars.
    ///
    /// # Errors
    /// [`ChainError`] when the node is unreachable or its answer is invalid.
    pub async fn gas_price(&self) -> Result<u128, ChainError> {
        self.confirm().await?;
        self.call("eth_gasPrice", self.provider.get_gas_price()).await
    }

    /// Simulates the transaction's calls on the newest block.
    ///
    /// # Errors
    /// [`ChainError`] when the node is unreachable or its answer is invalid.
    pub async fn simulate(&self, transaction: &SignedTransaction) -> Result<SimulationOutcome, ChainError> {
        self.confirm().await?;
        let call = self.provider.call(transaction.as_call());
        match self.call("eth_call", async { call.await }).await {
            Ok(_) => Ok(SimulationOutcome::Succeeds),
            Err(ChainError::Refused { code: REVERTED, message, data, .. }) => {
                if ITIP20::InsufficientBalance::abi_decode(&data).is_ok() {
                    Ok(SimulationOutcome::Insufficient)
                } else {
                    Ok(SimulationOutcome::Reverts(message))
                }
            }
            Err(ChainError::Refused { code: SERVER_ERROR | TRANSACTION_REJECTED, message, .. }) => {
                Ok(SimulationOutcome::Reverts(message))
            }
            Err(error) => Err(error),
        }
    }

    /// Sends a signed transaction and waits for its block.
    ///
    /// Safe to repeat: the same bytes are the same transaction. An error of the
    /// node is not believed by itself; the transaction is looked up by its hash
    /// first, because a node can include a transaction and then fail to answer.
    pub async fn send(&self, transaction: &SignedTransaction) -> SendOutcome {
        let deadline = Instant::now() + self.confirm_timeout;
        let hash = transaction.hash();
        debug_assert_eq!(hash, keccak256(transaction.raw()));
        let refused = match self.submit(transaction, deadline).await {
            Ok(Some(receipt)) => return SendOutcome::Mined(Box::new(receipt)),
            Ok(None) => None,
            Err(ChainError::Refused { message, .. }) => Some(message),
            Err(error) => {
                tracing::warn!(%hash, %error, "broadcast without an answer; asking for the receipt");
                None
            }
        };
        if let Some(reason) = refused {
            return self.after_refusal(hash, reason, deadline).await;
        }
        let remaining = deadline.saturating_duration_since(Instant::now());
        match self.await_receipt(hash, remaining).await {
            Ok(Some(receipt)) => SendOutcome::Mined(Box::new(receipt)),
            Ok(None) | Err(_) => SendOutcome::Unknown,
        }
    }

    /// `eth_sendRawTransactionSync` (EIP-7966), or the plain method where the
    /// node has only that. `None`: accepted, block unknown.
    async fn submit(
        &self,
        transaction: &SignedTransaction,
        deadline: Instant,
    ) -> Result<Option<ChainReceipt>, ChainError> {
        let raw = alloy::hex::encode_prefixed(transaction.raw());
        let method = "eth_sendRawTransactionSync";
        let sync = self.provider.raw_request::<_, ChainReceipt>(method.into(), [raw.clone()]);
        let remaining = deadline.saturating_duration_since(Instant::now());
        match tokio::time::timeout(remaining, sync).await {
            Ok(Ok(receipt)) if receipt.transaction_hash() == transaction.hash() => Ok(Some(receipt)),
            Ok(Ok(_)) => Err(ChainError::InvalidAnswer { method }),
            Ok(Err(error)) => match classify(method, error) {
                ChainError::Refused { code: METHOD_NOT_FOUND, .. } => {
                    let method = "eth_sendRawTransaction";
                    let plain = self.provider.raw_request::<_, B256>(method.into(), [raw]);
                    self.call(method, plain).await.map(|_| None)
                }
                error => Err(error),
            },
            Err(_) => Err(ChainError::Timeout { method }),
        }
    }

    /// Outcome after the node refused a transaction. It is refused only when the node
    /// also does not know it; "already known" and "nonce too low" are often our
    /// own earlier attempt.
    async fn after_refusal(&self, hash: B256, reason: String, deadline: Instant) -> SendOutcome {
        let known = self
            .call(
                "eth_getTransactionByHash",
                self.provider.raw_request::<_, serde_json::Value>("eth_getTransactionByHash".into(), [hash]),
            )
            .await;
        let wait = match known {
            Ok(serde_json::Value::Null) => Duration::ZERO,
            Ok(_) | Err(_) => deadline.saturating_duration_since(Instant::now()),
        };
        match self.await_receipt(hash, wait).await {
            Ok(Some(receipt)) => SendOutcome::Mined(Box::new(receipt)),
            Ok(None) if wait.is_zero() => SendOutcome::Refused { reason },
            Ok(None) | Err(_) => SendOutcome::Unknown,
        }
    }

    /// Awaits a request to the node within its time limit.
    async fn call<T>(
        &self,
        method: &'static str,
        request: impl Future<Output = Result<T, RpcError<TransportErrorKind>>>,
    ) -> Result<T, ChainError> {
        match tokio::time::timeout(self.request_timeout, request).await {
            Ok(answer) => answer.map_err(|error| classify(method, error)),
            Err(_) => Err(ChainError::Timeout { method }),
        }
    }
}

fn classify(method: &'static str, error: RpcError<TransportErrorKind>) -> ChainError {
    match error {
        RpcError::ErrorResp(payload) => ChainError::Refused {
            method,
            code: payload.code,
            message: payload.message.chars().take(200).collect(),
            data: payload.as_revert_data().map(|data| data.to_vec()).unwrap_or_default(),
        },
        RpcError::DeserError { .. } | RpcError::NullResp => ChainError::InvalidAnswer { method },
        _ => ChainError::Unreachable { method },
    }
}
