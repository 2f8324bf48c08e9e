//! `tempo_fundAddress`, the faucet method of Tempo's test networks.

use alloy::primitives::{Address, B256, U256};
use alloy::sol_types::SolCall;
use serde_json::json;
use tempo_contracts::precompiles::ITIP20;
use tokio::sync::Mutex;

use super::TOKENS;
use super::rpc::{Rpc, RpcError};

/// Base units of each token that one call of the faucet transfers: a million dollars, as on the
/// public test network.
const AMOUNT: u64 = 1_000_000_000_000;

/// Attempts of one transfer. Between picking a nonce and taking the transaction anvil may have
/// made a block of the one before; then it refuses its own choice, and nothing was sent.
const ATTEMPTS: u32 = 5;

/// Transfers from an account whose key anvil holds.
#[derive(Debug)]
pub(super) struct Faucet {
    funder: Address,
    /// Anvil picks the nonce when it signs, so that two transfers at once could get the same one.
    transfer_lock: Mutex<()>,
}

impl Faucet {
    pub(super) fn new(funder: Address) -> Self {
        Self { funder, transfer_lock: Mutex::new(()) }
    }

    /// Transfers [`AMOUNT`] of every token to `to` and returns one transaction hash for each, as
    /// clients of the faucet expect.
    pub(super) async fn fund(&self, rpc: &Rpc, to: Address) -> Result<Vec<B256>, RpcError> {
        let mut hashes = Vec::with_capacity(TOKENS.len());
        for token in TOKENS {
            hashes.push(self.transfer(rpc, token, to, AMOUNT).await?);
        }
        Ok(hashes)
    }

    pub(super) async fn transfer(
        &self,
        rpc: &Rpc,
        token: Address,
        to: Address,
        amount: u64,
    ) -> Result<B256, RpcError> {
        let data = ITIP20::transferCall { to, amount: U256::from(amount) }.abi_encode();
        let transaction =
            json!([{ "from": self.funder, "to": token, "data": alloy::hex::encode_prefixed(data) }]);
        let _guard = self.transfer_lock.lock().await;
        for _ in 1..ATTEMPTS {
            match rpc.call("eth_sendTransaction", transaction.clone()).await {
                Err(RpcError::Refused { message, .. }) if message == "nonce too low" => {}
                answered => return answered,
            }
        }
        rpc.call("eth_sendTransaction", transaction).await
    }
}
