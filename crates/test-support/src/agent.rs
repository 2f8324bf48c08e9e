//! A paying client made by hand: it follows the drafts, and every step can be altered, so that
//! an attack is the honest payment with one thing changed.

use std::num::NonZeroU64;
use std::time::{SystemTime, UNIX_EPOCH};

use alloy::consensus::transaction::TxHashRef as _;
use alloy::eips::eip2718::Encodable2718 as _;
use alloy::primitives::{Address, B256, Bytes, Signature, U256};
use alloy::signers::SignerSync as _;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::{SolCall as _, SolStruct as _, eip712_domain};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use farebox::devnet::TOKENS;
use mpp::protocol::methods::tempo::FeePayerEnvelope78;
use mpp::tempo::attribution;
use serde_json::{Value, json};
use tempo_contracts::precompiles::ITIP20;
use tempo_primitives::transaction::{Call, TempoSignature, TempoTransaction, TempoTxEnvelope};

pub const CHAIN_ID: u64 = 1337;

alloy::sol! {
    /// The signed content of a zero-amount proof. The draft's text has a domain of version 1 and the challenge
    /// alone; the clients in use sign this, which binds account and realm too.
    struct Proof {
        address account;
        string challengeId;
        string realm;
    }
}

/// Seconds that a signed transaction stays valid; the local chain allows 30.
const VALID_FOR: u64 = 20;

/// A challenge, read from a `WWW-Authenticate` value.
#[derive(Debug, Clone)]
pub struct Challenge {
    /// The challenge as a credential echoes it.
    pub echo: Value,
    pub id: String,
    pub realm: String,
    pub expires: String,
    /// The decoded `request` parameter.
    pub request: Value,
}

impl Challenge {
    pub fn parse(header: &str) -> Self {
        let parsed = mpp::parse_www_authenticate(header).expect("a challenge that the SDK reads");
        Self::from_json(serde_json::to_value(parsed.to_echo()).expect("JSON"))
    }

    /// A challenge that came as a JSON object.
    pub fn from_json(echo: Value) -> Self {
        let text = |name: &str| echo[name].as_str().unwrap_or_default().to_owned();
        let request = URL_SAFE_NO_PAD.decode(text("request")).expect("base64url");
        Self {
            id: text("id"),
            realm: text("realm"),
            expires: text("expires"),
            request: serde_json::from_slice(&request).expect("JSON"),
            echo,
        }
    }

    pub fn amount(&self) -> u64 {
        self.request["amount"].as_str().expect("an amount").parse().expect("a number")
    }

    pub fn currency(&self) -> Address {
        self.request["currency"].as_str().expect("a token").parse().expect("an address")
    }

    pub fn recipient(&self) -> Address {
        self.request["recipient"].as_str().expect("a recipient").parse().expect("an address")
    }

    pub fn is_sponsored(&self) -> bool {
        self.request["methodDetails"]["feePayer"] == true
    }

    /// The memo that binds a transfer to this challenge.
    pub fn memo(&self) -> B256 {
        attribution::encode(&self.id, &self.realm, None).into()
    }

    /// Makes the id fit the changed parameters, as someone who knows the secret could.
    pub fn resign(&mut self, secret: &str) {
        let text = |name: &str| self.echo[name].as_str();
        let required = |name: &str| text(name).unwrap_or_default();
        self.id = mpp::compute_challenge_id(
            secret,
            required("realm"),
            required("method"),
            required("intent"),
            required("request"),
            text("expires"),
            text("digest"),
            text("opaque"),
        );
        self.echo["id"] = json!(self.id);
    }

    /// The transfer that pays this challenge.
    pub fn transfer(&self) -> Call {
        transfer_with_memo(self.currency(), self.recipient(), self.amount(), self.memo())
    }
}

/// A signed transaction, ready to send.
#[derive(Debug, Clone)]
pub struct Signed {
    pub raw: String,
    pub hash: B256,
}

/// A wallet.
#[derive(Debug, Clone)]
pub struct Agent {
    pub signer: PrivateKeySigner,
}

impl Agent {
    pub fn random() -> Self {
        Self { signer: PrivateKeySigner::random() }
    }

    pub fn address(&self) -> Address {
        self.signer.address()
    }

    pub fn source(&self) -> String {
        format!("did:pkh:eip155:{CHAIN_ID}:{}", self.address())
    }

    /// An unsigned transaction of these calls that can be included now and only once.
    pub fn transaction(&self, calls: Vec<Call>) -> TempoTransaction {
        TempoTransaction {
            chain_id: CHAIN_ID,
            fee_token: Some(TOKENS[0]),
            max_priority_fee_per_gas: 1_000_000_000,
            max_fee_per_gas: 41_000_000_000,
            gas_limit: 1_000_000,
            calls,
            nonce_key: U256::MAX,
            nonce: 0,
            valid_before: NonZeroU64::new(now_seconds() + VALID_FOR),
            ..TempoTransaction::default()
        }
    }

    pub fn sign(&self, transaction: TempoTransaction) -> Signed {
        let signature = self.signer.sign_hash_sync(&transaction.signature_hash()).expect("a local key signs");
        let envelope = TempoTxEnvelope::from(transaction.into_signed(TempoSignature::from(signature)));
        Signed { raw: alloy::hex::encode_prefixed(envelope.encoded_2718()), hash: *envelope.tx_hash() }
    }

    /// A transaction in the form that a sponsor completes (envelope 0x78).
    pub fn sponsored(&self, calls: Vec<Call>) -> TempoTransaction {
        TempoTransaction {
            fee_token: None,
            fee_payer_signature: Some(Signature::new(U256::ZERO, U256::ZERO, false)),
            ..self.transaction(calls)
        }
    }

    pub fn envelope(&self, transaction: TempoTransaction) -> FeePayerEnvelope78 {
        let signature = self.signer.sign_hash_sync(&transaction.signature_hash()).expect("a local key signs");
        FeePayerEnvelope78::from_signing_tx(transaction, self.address(), TempoSignature::from(signature))
    }

    /// The credential of an honest payer in pull mode, sponsored where the challenge says so.
    pub fn pull(&self, challenge: &Challenge) -> Value {
        let raw = if challenge.is_sponsored() {
            let envelope = self.envelope(self.sponsored(vec![challenge.transfer()]));
            alloy::hex::encode_prefixed(envelope.encoded_envelope())
        } else {
            self.sign(self.transaction(vec![challenge.transfer()])).raw
        };
        self.credential(challenge, transaction(&raw))
    }

    /// A credential with this payload.
    pub fn credential(&self, challenge: &Challenge, payload: Value) -> Value {
        let mut credential = json!({ "challenge": challenge.echo, "source": self.source() });
        credential["payload"] = payload;
        credential
    }

    /// The proof that answers a zero-amount challenge.
    pub fn proof(&self, challenge: &Challenge) -> Value {
        let signature = self.sign_proof(self.address(), challenge);
        self.credential(challenge, proof_payload(&alloy::hex::encode_prefixed(signature.as_bytes())))
    }

    /// This wallet's signature under a proof that speaks of `account`.
    pub fn sign_proof(&self, account: Address, challenge: &Challenge) -> Signature {
        let domain = eip712_domain! { name: "MPP", version: "3", chain_id: CHAIN_ID, };
        let proof = Proof { account, challengeId: challenge.id.clone(), realm: challenge.realm.clone() };
        self.signer.sign_hash_sync(&proof.eip712_signing_hash(&domain)).expect("a local key signs")
    }
}

pub fn transaction(raw: &str) -> Value {
    json!({ "type": "transaction", "signature": raw })
}

pub fn hash(hash: &str) -> Value {
    json!({ "type": "hash", "hash": hash })
}

pub fn proof_payload(signature: &str) -> Value {
    json!({ "type": "proof", "signature": signature })
}

/// The `Authorization` value of a credential.
pub fn authorization(credential: &Value) -> String {
    format!("Payment {}", URL_SAFE_NO_PAD.encode(credential.to_string()))
}

pub fn call(to: Address, input: Vec<u8>) -> Call {
    Call { to: to.into(), value: U256::ZERO, input: Bytes::from(input) }
}

pub fn transfer_with_memo(token: Address, to: Address, amount: u64, memo: B256) -> Call {
    call(token, ITIP20::transferWithMemoCall { to, amount: U256::from(amount), memo }.abi_encode())
}

pub fn transfer(token: Address, to: Address, amount: u64) -> Call {
    call(token, ITIP20::transferCall { to, amount: U256::from(amount) }.abi_encode())
}

pub fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}
