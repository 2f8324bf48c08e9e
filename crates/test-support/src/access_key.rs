//! A wallet's access keys: other keys that its account authorised on the chain.

use alloy::consensus::transaction::TxHashRef as _;
use alloy::eips::eip2718::Encodable2718 as _;
use alloy::primitives::{Address, B256, U256};
use alloy::signers::SignerSync as _;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolCall as _;
use farebox::devnet::Devnet;
use tempo_contracts::precompiles::ACCOUNT_KEYCHAIN_ADDRESS;
use tempo_contracts::precompiles::IAccountKeychain::{self, CallScope, KeyRestrictions, TokenLimit};
use tempo_primitives::transaction::{
    Call, KeyAuthorization, KeychainSignature, PrimitiveSignature, SignatureType, SignedKeyAuthorization,
    TempoSignature, TempoTransaction, TempoTxEnvelope,
};

use crate::agent::{Agent, CHAIN_ID, Signed, call};
use crate::harness::send_raw;

/// Enough for the many slots of storage that restrictions take.
const GAS: u64 = 5_000_000;

/// Restrictions of an access key on the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restriction {
    /// It may do all that the account may.
    None,
    /// It may spend this much of a token.
    Limit(Address, u64),
    /// It may call this contract only.
    Calls(Address),
}

/// A key that signs for an account.
#[derive(Debug, Clone)]
pub struct AccessKey {
    signer: PrivateKeySigner,
    account: Address,
}

impl AccessKey {
    /// A key that nobody has authorised.
    pub fn unauthorized(account: Address) -> Self {
        Self { signer: PrivateKeySigner::random(), account }
    }

    /// A key that the account has authorised.
    pub async fn authorized(chain: &Devnet, account: &Agent, restriction: Restriction) -> Self {
        let key = Self::unauthorized(account.address());
        let config = KeyRestrictions {
            expiry: u64::MAX,
            enforceLimits: matches!(restriction, Restriction::Limit(..)),
            limits: match restriction {
                Restriction::Limit(token, amount) => {
                    vec![TokenLimit { token, amount: U256::from(amount), period: 0 }]
                }
                Restriction::None | Restriction::Calls(_) => Vec::new(),
            },
            allowAnyCalls: !matches!(restriction, Restriction::Calls(_)),
            allowedCalls: match restriction {
                // Without rules for single functions it may call all of them there.
                Restriction::Calls(target) => vec![CallScope { target, selectorRules: Vec::new() }],
                Restriction::None | Restriction::Limit(..) => Vec::new(),
            },
        };
        let authorize = IAccountKeychain::authorizeKey_1Call {
            keyId: key.signer.address(),
            signatureType: IAccountKeychain::SignatureType::Secp256k1,
            config,
        };
        let calls = vec![call(ACCOUNT_KEYCHAIN_ADDRESS, authorize.abi_encode())];
        let sent = TempoTransaction { gas_limit: GAS, ..account.transaction(calls) };
        let receipt = send_raw(chain, &account.sign(sent).raw).await;
        assert_eq!(receipt["status"], "0x1", "{receipt}");
        key
    }

    /// The account's signed authorisation of it, for a transaction to bring along.
    pub fn authorization(&self, account: &Agent) -> SignedKeyAuthorization {
        let authorization =
            KeyAuthorization::unrestricted(CHAIN_ID, SignatureType::Secp256k1, self.signer.address());
        let signature =
            account.signer.sign_hash_sync(&authorization.signature_hash()).expect("a local key signs");
        SignedKeyAuthorization::new(authorization, PrimitiveSignature::Secp256k1(signature))
    }

    /// The call with which the account revokes it.
    pub fn revoke_call(&self) -> Call {
        let revoke = IAccountKeychain::revokeKeyCall { keyId: self.signer.address() };
        call(ACCOUNT_KEYCHAIN_ADDRESS, revoke.abi_encode())
    }

    /// Its signature over a hash, in the account's name.
    pub fn sign_hash(&self, hash: B256) -> TempoSignature {
        let bound = KeychainSignature::signing_hash(hash, self.account);
        let inner = self.signer.sign_hash_sync(&bound).expect("a local key signs");
        TempoSignature::Keychain(KeychainSignature::new(self.account, PrimitiveSignature::Secp256k1(inner)))
    }

    /// Signs a transaction of the account.
    pub fn sign(&self, transaction: TempoTransaction) -> Signed {
        let signature = self.sign_hash(transaction.signature_hash());
        let envelope = TempoTxEnvelope::from(transaction.into_signed(signature));
        Signed { raw: alloy::hex::encode_prefixed(envelope.encoded_2718()), hash: *envelope.tx_hash() }
    }
}
