//! A payer of channels made by hand: it follows the draft, and every step can be altered.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

use alloy::primitives::aliases::U96;
use alloy::primitives::{Address, B256, U256};
use alloy::signers::SignerSync as _;
use alloy::sol_types::SolCall as _;
use farebox::devnet::TOKENS;
use mpp::client::channel_ops::{compute_expiring_nonce_hash, compute_fee_payer_expiring_nonce_hash};
use mpp::protocol::methods::tempo::precompile_voucher::{
    compute_precompile_channel_id_with_escrow, precompile_close_authorization_signing_hash_with_escrow,
    precompile_voucher_signing_hash_with_escrow,
};
use serde_json::{Value, json};
use tempo_contracts::precompiles::ITIP20ChannelReserve as Reserve;
use tempo_contracts::precompiles::TIP20_CHANNEL_RESERVE_ADDRESS as RESERVE;
use tempo_primitives::transaction::{Call, TempoTransaction};

use crate::agent::{Agent, CHAIN_ID, Challenge, authorization, call, now_seconds};

/// Enough for an open on the local chain, and what sponsors of today's libraries allow.
const GAS: u64 = 2_000_000;

/// Parameters of an opening transaction, as sent and as its payer claims them.
#[derive(Debug, Clone)]
pub struct ChannelTerms {
    pub payee: Address,
    pub operator: Address,
    pub token: Address,
    pub salt: B256,
    pub signer: Address,
    pub escrow: Address,
    pub chain_id: u64,
}

/// A wallet with one channel, open or not.
#[derive(Debug, Clone)]
pub struct Payer {
    pub agent: Agent,
    pub challenge: Challenge,
    pub terms: ChannelTerms,
    pub nonce_hash: B256,
    pub id: B256,
    /// The signed transaction that opens the channel.
    pub transaction: String,
}

impl Payer {
    /// A channel as the challenge wants it.
    pub fn prepare(agent: Agent, challenge: Challenge, deposit: u64) -> Self {
        Self::altered(agent, challenge, deposit, |_| {})
    }

    /// A channel with altered parameters.
    pub fn altered(
        agent: Agent,
        challenge: Challenge,
        deposit: u64,
        alter: impl FnOnce(&mut ChannelTerms),
    ) -> Self {
        let details = &challenge.request["methodDetails"];
        let address = |value: &Value| value.as_str().and_then(|text| text.parse().ok()).unwrap_or_default();
        let mut terms = ChannelTerms {
            payee: challenge.recipient(),
            operator: address(&details["operator"]),
            token: challenge.currency(),
            salt: B256::random(),
            signer: agent.address(),
            escrow: address(&details["escrowContract"]),
            chain_id: CHAIN_ID,
        };
        alter(&mut terms);
        let open = Reserve::openCall {
            payee: terms.payee,
            operator: terms.operator,
            token: terms.token,
            deposit: U96::from(deposit),
            salt: terms.salt,
            authorizedSigner: terms.signer,
        };
        let (transaction, nonce_hash) =
            sign(&agent, &challenge, call(terms.escrow, open.abi_encode()), terms.chain_id);
        let id = compute_precompile_channel_id_with_escrow(
            agent.address(),
            terms.payee,
            terms.operator,
            terms.token,
            terms.salt,
            terms.signer,
            nonce_hash,
            terms.escrow,
            terms.chain_id,
        );
        Self { agent, challenge, terms, nonce_hash, id, transaction }
    }

    /// The descriptor's wire form.
    pub fn descriptor(&self) -> Value {
        json!({
            "payer": self.agent.address(), "payee": self.terms.payee, "operator": self.terms.operator,
            "token": self.terms.token, "salt": self.terms.salt, "authorizedSigner": self.terms.signer,
            "expiringNonceHash": self.nonce_hash,
        })
    }

    /// This wallet's signature under `amount` of a channel.
    pub fn sign(&self, amount: u64) -> Vec<u8> {
        let hash = precompile_voucher_signing_hash_with_escrow(self.id, amount.into(), RESERVE, CHAIN_ID);
        self.agent
            .signer
            .sign_hash_sync(&hash.expect("in range"))
            .expect("a local key signs")
            .as_bytes()
            .to_vec()
    }

    pub fn open(&self, amount: u64) -> Value {
        let mut payload = self.payload("open", amount, &self.sign(amount));
        payload["type"] = json!("transaction");
        payload["transaction"] = json!(self.transaction);
        payload["authorizedSigner"] = json!(self.terms.signer);
        payload
    }

    pub fn voucher(&self, amount: u64) -> Value {
        self.payload("voucher", amount, &self.sign(amount))
    }

    /// A voucher with a signature of somebody's choice.
    pub fn signed(&self, amount: u64, signature: &[u8]) -> Value {
        self.payload("voucher", amount, signature)
    }

    pub fn close(&self, amount: u64) -> Value {
        self.payload("close", amount, &self.sign(amount))
    }

    /// A close with a signature made for it.
    pub fn authorized_close(&self, amount: u64) -> Value {
        let hash = precompile_close_authorization_signing_hash_with_escrow(
            self.id,
            amount.into(),
            RESERVE,
            CHAIN_ID,
        );
        let signature =
            self.agent.signer.sign_hash_sync(&hash.expect("in range")).expect("a local key signs");
        let mut payload = self.close(amount);
        payload["closeSignature"] = json!(alloy::hex::encode_prefixed(signature.as_bytes()));
        payload
    }

    pub fn top_up(&self, additional: u64) -> Value {
        self.top_up_with(additional, &self.top_up_transaction(additional))
    }

    pub fn top_up_with(&self, additional: u64, transaction: &str) -> Value {
        json!({
            "action": "topUp", "type": "transaction", "channelId": self.id, "transaction": transaction,
            "descriptor": self.descriptor(), "additionalDeposit": additional.to_string(),
        })
    }

    pub fn top_up_transaction(&self, additional: u64) -> String {
        let more = Reserve::topUpCall { descriptor: self.abi(), additionalDeposit: U96::from(additional) };
        sign(&self.agent, &self.challenge, call(RESERVE, more.abi_encode()), CHAIN_ID).0
    }

    /// Top-ups that could be included long after they came: one with a far end, one with none.
    pub fn lasting_top_ups(&self, additional: u64) -> [String; 2] {
        let more = Reserve::topUpCall { descriptor: self.abi(), additionalDeposit: U96::from(additional) };
        let usual = transaction(&self.agent, call(RESERVE, more.abi_encode()));
        let far = usual.valid_before.and_then(|soon| soon.checked_add(600));
        [
            TempoTransaction { valid_before: far, ..usual.clone() },
            TempoTransaction { valid_before: None, nonce_key: U256::ZERO, ..usual },
        ]
        .map(|lasting| self.agent.sign(lasting).raw)
    }

    /// A top-up that stays valid for so many seconds.
    pub fn top_up_transaction_for(&self, additional: u64, seconds: u64) -> String {
        let more = Reserve::topUpCall { descriptor: self.abi(), additionalDeposit: U96::from(additional) };
        let usual = transaction(&self.agent, call(RESERVE, more.abi_encode()));
        let valid_before = NonZeroU64::new(now_seconds() + seconds);
        self.agent.sign(TempoTransaction { valid_before, ..usual }).raw
    }

    /// Signs a transaction of one call, to be sent to the chain directly.
    pub fn sign_call(&self, call: Call) -> String {
        self.agent.sign(transaction(&self.agent, call)).raw
    }

    /// Signs a transaction of one call for a chain on which it is `now` (Unix seconds).
    pub fn sign_call_at(&self, call: Call, now: u64) -> String {
        let valid_before = NonZeroU64::new(now + 20);
        self.agent.sign(TempoTransaction { valid_before, ..transaction(&self.agent, call) }).raw
    }

    pub fn request_close(&self) -> String {
        self.sign_call(self.request_close_call())
    }

    pub fn request_close_call(&self) -> Call {
        call(RESERVE, Reserve::requestCloseCall { descriptor: self.abi() }.abi_encode())
    }

    pub fn withdraw_call(&self) -> Call {
        call(RESERVE, Reserve::withdrawCall { descriptor: self.abi() }.abi_encode())
    }

    /// The `Authorization` value of a payload.
    pub fn authorization(&self, payload: Value) -> String {
        authorization(&self.agent.credential(&self.challenge, payload))
    }

    fn payload(&self, action: &str, amount: u64, signature: &[u8]) -> Value {
        json!({
            "action": action, "channelId": self.id, "descriptor": self.descriptor(),
            "cumulativeAmount": amount.to_string(), "signature": alloy::hex::encode_prefixed(signature),
        })
    }

    fn abi(&self) -> Reserve::ChannelDescriptor {
        Reserve::ChannelDescriptor {
            payer: self.agent.address(),
            payee: self.terms.payee,
            operator: self.terms.operator,
            token: self.terms.token,
            salt: self.terms.salt,
            authorizedSigner: self.terms.signer,
            expiringNonceHash: self.nonce_hash,
        }
    }
}

/// A transaction of one call that pays its fee in another token than channels have.
fn transaction(agent: &Agent, call: Call) -> TempoTransaction {
    // Equal calls of one second would be one transaction.
    static NONCE: AtomicU64 = AtomicU64::new(1);
    let tip = 1_000_000_000 + u128::from(NONCE.fetch_add(1, Ordering::Relaxed));
    TempoTransaction {
        gas_limit: GAS,
        fee_token: Some(TOKENS[1]),
        max_priority_fee_per_gas: tip,
        ..agent.transaction(vec![call])
    }
}

/// Signs a funding transaction as the challenge requires it; returns its expiring nonce hash too.
fn sign(agent: &Agent, challenge: &Challenge, call: Call, chain_id: u64) -> (String, B256) {
    if challenge.is_sponsored() {
        let transaction = TempoTransaction { gas_limit: GAS, ..agent.sponsored(vec![call]) };
        let unsigned = TempoTransaction { fee_payer_signature: None, ..transaction.clone() };
        let hash = compute_fee_payer_expiring_nonce_hash(&unsigned, agent.address());
        return (alloy::hex::encode_prefixed(agent.envelope(transaction).encoded_envelope()), hash);
    }
    let transaction = TempoTransaction { chain_id, ..transaction(agent, call) };
    let hash = compute_expiring_nonce_hash(&transaction, agent.address());
    (agent.sign(transaction).raw, hash)
}
