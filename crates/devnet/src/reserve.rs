//! The channel reserve of TIP-1034, for an anvil that does not have it built in: our own contract at
//! its address, and in this module the parts that a contract cannot do.
//!
//! - A channel's id contains a hash of the transaction that opens it. The contract reads it from a
//!   storage slot, which is written before such a transaction is sent. One at a time: until the
//!   chain has decided about one, no other is sent. Between them the slot holds [`SIMULATED`], so
//!   that calls and estimates of an open do not revert, as they do not on Tempo.
//! - The reserve takes deposits without an approval. The contract uses `transferFrom`, so that each
//!   account that opens a channel or adds to one gets an unlimited allowance written. The contract
//!   takes from its caller only.
//!
//! An open that reaches the reserve by way of another contract is not seen here and has no allowance.

use std::sync::Arc;
use std::time::Duration;

use alloy::consensus::transaction::{SignerRecoverable, TxHashRef};
use alloy::eips::eip2718::Decodable2718;
use alloy::primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use alloy::sol_types::{SolInterface, SolValue};
use serde_json::{Value, json};
use tempo_contracts::precompiles::ITIP20ChannelReserve::ITIP20ChannelReserveCalls as ReserveCalls;
use tempo_contracts::precompiles::TIP20_CHANNEL_RESERVE_ADDRESS;
use tempo_primitives::transaction::{TIP20_PAYMENT_PREFIX, TempoTxEnvelope};
use tokio::sync::{Mutex, oneshot};
use tokio::time::{Instant, sleep};

use super::rpc::{INCLUSION_LIMIT, Rpc, RpcError};

/// `{abi, bytecode, deployedBytecode}` of `contracts/dev/ChannelReserve.sol`.
const ARTIFACT: &str = include_str!("../../../contracts/artifacts/ChannelReserve.json");
/// The slot of `_openContext`.
const CONTEXT_SLOT: B256 = B256::with_last_byte(1);
/// The hash of an open that is only simulated.
const SIMULATED: B256 = B256::repeat_byte(0x51);
/// The slot of a TIP-20 token's allowances: owner to spender to amount.
const ALLOWANCES: U256 = U256::from_limbs([10, 0, 0, 0]);

/// The reserve's stand-in on one chain.
#[derive(Debug, Clone)]
pub(super) struct Reserve {
    rpc: Rpc,
    /// Held while the context slot belongs to one transaction.
    context_lock: Arc<Mutex<()>>,
}

/// Probes whether the chain lacks the reserve.
pub(super) async fn is_missing(rpc: &Rpc) -> Result<bool, RpcError> {
    let code: Bytes = rpc.call("eth_getCode", json!([TIP20_CHANNEL_RESERVE_ADDRESS, "latest"])).await?;
    Ok(code.is_empty())
}

impl Reserve {
    /// Puts the contract at the reserve's address.
    pub(super) async fn install(rpc: Rpc) -> Result<Self, RpcError> {
        let artifact: Value = serde_json::from_str(ARTIFACT).expect("the artifact is a compiler's output");
        let code = json!([TIP20_CHANNEL_RESERVE_ADDRESS, artifact["deployedBytecode"]]);
        rpc.call::<Value>("anvil_setCode", code).await?;
        let reserve = Self { rpc, context_lock: Arc::default() };
        reserve.write_context(SIMULATED).await?;
        Ok(reserve)
    }

    /// Prepares the chain for a transaction that a request describes; true if it opens a channel.
    pub(super) async fn prepare(&self, transaction: &Value) -> Result<bool, RpcError> {
        let deposits = Deposits::of_calls(described_calls(transaction));
        let payer = transaction["from"].as_str().and_then(|from| from.parse().ok()).unwrap_or_default();
        self.write_allowances(payer, &deposits).await?;
        Ok(deposits.open)
    }

    /// Sends the signed transaction in `request`, an `eth_sendRawTransaction` or its `Sync` form, and
    /// returns the chain's whole answer.
    pub(super) async fn broadcast(&self, request: &Value) -> Result<Value, RpcError> {
        let Some((transaction, payer)) = signed_transaction(&request["params"][0]) else {
            return self.rpc.forward(request).await;
        };
        let deposits = Deposits::of_calls(transaction.calls());
        if !deposits.open {
            self.write_allowances(payer, &deposits).await?;
            return self.rpc.forward(request).await;
        }
        let (answer, answered) = oneshot::channel();
        let (reserve, request) = (self.clone(), request.clone());
        // A task of its own: the lock must not be released early because the client has hung up.
        tokio::spawn(async move {
            let _guard = reserve.context_lock.lock().await;
            let sent = reserve.send_open(&transaction, payer, &deposits, &request).await;
            // Nobody waits for the answer when the client has hung up.
            let _unreceived = answer.send(sent);
            let decided = reserve.wait_decided(*transaction.tx_hash()).await;
            let ended = reserve.write_context(SIMULATED).await;
            if let Err(error) = decided.and(ended) {
                tracing::warn!(%error, "a channel may open with the hash of another transaction");
            }
        });
        answered.await.expect("the task answers before it ends")
    }

    async fn send_open(
        &self,
        transaction: &TempoTxEnvelope,
        payer: Address,
        deposits: &Deposits,
        request: &Value,
    ) -> Result<Value, RpcError> {
        self.write_allowances(payer, deposits).await?;
        self.write_context(transaction.unique_tx_identifier(payer)).await?;
        self.rpc.forward(request).await
    }

    /// Returns once `hash` is in a block or no longer waits for one.
    async fn wait_decided(&self, hash: B256) -> Result<(), RpcError> {
        let deadline = Instant::now() + INCLUSION_LIMIT;
        loop {
            let known: Value = self.rpc.call("eth_getTransactionByHash", json!([hash])).await?;
            if known.is_null() || !known["blockNumber"].is_null() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(RpcError::NotIncluded(hash));
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn write_context(&self, context: B256) -> Result<(), RpcError> {
        self.write(TIP20_CHANNEL_RESERVE_ADDRESS, CONTEXT_SLOT, context).await
    }

    /// Writes the allowances that are missing, and mines a block over them: anvil answers a call from
    /// the newest block, and while others are mined that is one which a write has not reached.
    async fn write_allowances(&self, payer: Address, deposits: &Deposits) -> Result<(), RpcError> {
        let unlimited = B256::from(U256::MAX);
        for token in &deposits.tokens {
            let slot = allowance_slot(payer);
            let allowed: B256 = self.rpc.call("eth_getStorageAt", json!([token, slot, "latest"])).await?;
            if allowed != unlimited {
                self.write(*token, slot, unlimited).await?;
                self.rpc.call::<Value>("evm_mine", json!([])).await?;
            }
        }
        Ok(())
    }

    async fn write(&self, contract: Address, slot: B256, value: B256) -> Result<(), RpcError> {
        self.rpc.call::<Value>("anvil_setStorageAt", json!([contract, slot, value])).await.map(drop)
    }
}

/// Deposits that the calls of a transaction make into the reserve.
#[derive(Debug, Default, PartialEq, Eq)]
struct Deposits {
    /// True if a call opens a channel.
    open: bool,
    /// The token of each deposit.
    tokens: Vec<Address>,
}

impl Deposits {
    fn of_calls(calls: impl IntoIterator<Item = (TxKind, impl AsRef<[u8]>)>) -> Self {
        let mut deposits = Self::default();
        for (to, input) in calls {
            if to != TxKind::Call(TIP20_CHANNEL_RESERVE_ADDRESS) {
                continue;
            }
            match ReserveCalls::abi_decode(input.as_ref()) {
                Ok(ReserveCalls::open(call)) => {
                    deposits.open = true;
                    deposits.tokens.push(call.token);
                }
                Ok(ReserveCalls::topUp(call)) => deposits.tokens.push(call.descriptor.token),
                // No deposit, or nothing that the contract understands.
                Ok(_) | Err(_) => {}
            }
        }
        // Another address may have a storage of its own.
        deposits.tokens.retain(|token| token.as_slice().starts_with(&TIP20_PAYMENT_PREFIX));
        deposits
    }
}

/// The transaction in a raw one, and its sender; `None` when it cannot be read: the chain's own
/// error is the better one.
fn signed_transaction(raw: &Value) -> Option<(TempoTxEnvelope, Address)> {
    let raw: Bytes = raw.as_str()?.parse().ok()?;
    let transaction = TempoTxEnvelope::decode_2718_exact(&raw).ok()?;
    let sender = transaction.recover_signer().ok()?;
    Some((transaction, sender))
}

/// The calls of a transaction request: those of its batch, or else its own.
fn described_calls(transaction: &Value) -> Vec<(TxKind, Bytes)> {
    let own = std::slice::from_ref(transaction);
    let batch = transaction["calls"].as_array().filter(|_| transaction["to"].is_null());
    let calls = batch.map_or(own, Vec::as_slice);
    let described = |call: &Value| {
        let to = call["to"].as_str()?.parse().ok()?;
        let input = ["input", "data"].iter().find_map(|key| call[*key].as_str())?.parse().ok()?;
        Some((TxKind::Call(to), input))
    };
    calls.iter().filter_map(described).collect()
}

/// Storage slot of a token that holds the allowance of the reserve from `owner`.
fn allowance_slot(owner: Address) -> B256 {
    let of_owner = keccak256((owner, ALLOWANCES).abi_encode());
    keccak256((TIP20_CHANNEL_RESERVE_ADDRESS, of_owner).abi_encode())
}

#[cfg(test)]
mod tests {
    use alloy::primitives::aliases::U96;
    use alloy::sol_types::SolCall;
    use tempo_contracts::precompiles::ITIP20ChannelReserve::{
        ChannelDescriptor, openCall, requestCloseCall, topUpCall,
    };

    use super::*;
    use crate::TOKENS;

    fn open(token: Address) -> openCall {
        openCall {
            payee: Address::ZERO,
            operator: Address::ZERO,
            token,
            deposit: U96::ZERO,
            salt: B256::ZERO,
            authorizedSigner: Address::ZERO,
        }
    }

    fn descriptor(token: Address) -> ChannelDescriptor {
        ChannelDescriptor {
            payer: Address::ZERO,
            payee: Address::ZERO,
            operator: Address::ZERO,
            token,
            salt: B256::ZERO,
            authorizedSigner: Address::ZERO,
            expiringNonceHash: B256::ZERO,
        }
    }

    fn top_up(token: Address) -> topUpCall {
        topUpCall { descriptor: descriptor(token), additionalDeposit: U96::ZERO }
    }

    fn call(to: Address, call: &impl SolCall) -> Value {
        json!({ "to": to, "input": alloy::hex::encode_prefixed(call.abi_encode()) })
    }

    fn to_reserve(data: &impl SolCall) -> Value {
        call(TIP20_CHANNEL_RESERVE_ADDRESS, data)
    }

    fn deposits_of(transaction: &Value) -> Deposits {
        Deposits::of_calls(described_calls(transaction))
    }

    #[test]
    fn deposits_are_found_alone_and_anywhere_in_a_batch() {
        let alone = to_reserve(&open(TOKENS[3]));
        assert_eq!(deposits_of(&alone), Deposits { open: true, tokens: vec![TOKENS[3]] });
        let alone = to_reserve(&top_up(TOKENS[2]));
        assert_eq!(deposits_of(&alone), Deposits { open: false, tokens: vec![TOKENS[2]] });
        let batch = json!({ "calls": [{ "data": "0x" }, to_reserve(&open(TOKENS[1])), alone] });
        assert_eq!(deposits_of(&batch), Deposits { open: true, tokens: vec![TOKENS[1], TOKENS[2]] });
    }

    #[test]
    fn everything_else_is_no_deposit() {
        let elsewhere = call(TOKENS[0], &open(TOKENS[0]));
        let without = to_reserve(&requestCloseCall { descriptor: descriptor(TOKENS[0]) });
        let garbled = json!({ "to": TIP20_CHANNEL_RESERVE_ADDRESS, "data": "0x30" });
        for transaction in [elsewhere, without, garbled, json!({ "to": 5, "data": 5 }), Value::Null] {
            assert_eq!(deposits_of(&transaction), Deposits::default(), "{transaction}");
        }
    }

    #[test]
    fn nothing_is_written_where_no_token_is() {
        let deposits = deposits_of(&to_reserve(&open(Address::repeat_byte(1))));
        assert_eq!(deposits, Deposits { open: true, tokens: Vec::new() });
    }
}
