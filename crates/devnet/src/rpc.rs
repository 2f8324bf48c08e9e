//! A JSON-RPC client for the proxy's own requests to anvil. It passes bodies through unread where
//! it can.

use std::time::Duration;

use alloy::primitives::B256;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// JSON-RPC 2.0: the method does not exist.
pub(super) const METHOD_NOT_FOUND: i64 = -32601;

/// Longest wait for a transaction's block. With `--mixed-mining` it is there within milliseconds,
/// and within one second at the latest.
pub(super) const INCLUSION_LIMIT: Duration = Duration::from_secs(30);

/// Failure of a request to the chain.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// No HTTP answer.
    #[error("the local chain does not answer: {0}")]
    Transport(#[from] reqwest::Error),
    /// The chain answered with a JSON-RPC error.
    #[error("{method} was refused: {message} ({code})")]
    Refused {
        /// The method that was called.
        method: String,
        /// The JSON-RPC error code.
        code: i64,
        /// The chain's message.
        message: String,
    },
    /// The answer has another shape than the method promises.
    #[error("{method} answered something unexpected: {answer}")]
    Malformed {
        /// The method that was called.
        method: String,
        /// The answer.
        answer: String,
    },
    /// A transaction stayed out of every block for too long.
    #[error("transaction {0} was not included in time")]
    NotIncluded(B256),
}

#[derive(Debug, Clone)]
pub(super) struct Rpc {
    http: reqwest::Client,
    url: String,
}

impl Rpc {
    pub(super) fn new(url: String) -> Self {
        Self { http: reqwest::Client::builder().no_proxy().build().unwrap_or_default(), url }
    }

    /// Sends one request object and returns the whole answer object.
    pub(super) async fn forward(&self, request: &Value) -> Result<Value, RpcError> {
        Ok(self.http.post(&self.url).json(request).send().await?.json().await?)
    }

    pub(super) async fn call<T: DeserializeOwned>(&self, method: &str, params: Value) -> Result<T, RpcError> {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let mut answer = self.forward(&request).await?;
        if let Some(error) = answer.get("error") {
            return Err(RpcError::Refused {
                method: method.to_owned(),
                code: error["code"].as_i64().unwrap_or_default(),
                message: error["message"].as_str().unwrap_or_default().to_owned(),
            });
        }
        let result = answer.get_mut("result").map(Value::take).unwrap_or_default();
        serde_json::from_value(result)
            .map_err(|_| RpcError::Malformed { method: method.to_owned(), answer: answer.to_string() })
    }

    /// Probes whether the chain has `method`, with parameters that cannot do anything.
    pub(super) async fn supports(&self, method: &str) -> Result<bool, RpcError> {
        match self.call::<Value>(method, json!([])).await {
            Err(RpcError::Refused { code, .. }) => Ok(code != METHOD_NOT_FOUND),
            Err(error) => Err(error),
            Ok(_) => Ok(true),
        }
    }

    /// Returns once `hash` is in a block, whatever became of it there.
    pub(super) async fn wait_included(&self, hash: B256) -> Result<(), RpcError> {
        let deadline = Instant::now() + INCLUSION_LIMIT;
        while Instant::now() < deadline {
            let receipt: Value = self.call("eth_getTransactionReceipt", json!([hash])).await?;
            if !receipt.is_null() {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Err(RpcError::NotIncluded(hash))
    }
}
