//! Signed Tempo transactions (type 0x76): a customer's, and our own.

use std::num::NonZeroU64;

use alloy::consensus::transaction::SignerRecoverable as _;
use alloy::eips::eip2718::{Decodable2718 as _, Encodable2718 as _};
use alloy::primitives::{Address, B256, Bytes, TxKind};
use alloy::rpc::types::TransactionRequest;
use alloy::signers::SignerSync as _;
use alloy::signers::local::PrivateKeySigner;
use mpp::protocol::methods::tempo::{FeePayerEnvelope78, TEMPO_FEE_PAYER_ENVELOPE_TYPE_ID};
use tempo_alloy::primitives::transaction::{Call, TEMPO_EXPIRING_NONCE_KEY, TempoSignature};
use tempo_alloy::primitives::{AASigned, TempoTransaction, TempoTxEnvelope};
use tempo_alloy::rpc::TempoTransactionRequest;

use crate::money::Money;

/// Fee units (10^-18 dollars) in a millionth of a dollar.
const FEE_UNITS_PER_MICRO: u128 = 1_000_000_000_000;

/// A transaction that is ready to send: the bytes are final, and so is the hash.
#[derive(Debug, Clone)]
pub struct SignedTransaction {
    raw: Vec<u8>,
    hash: B256,
    sender: Address,
    inner: AASigned,
}

/// The account that a transaction is of, and the key that signed for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionSigner {
    pub account: Address,
    /// The access key; `None` when the account's own key signed.
    pub access_key: Option<Address>,
    /// The key that the transaction authorises for the account, as the account itself signed; `None` without one.
    pub authorizes: Option<Address>,
}

/// A transaction that the node knows.
#[derive(Debug, Clone)]
pub struct KnownTransaction {
    pub signer: TransactionSigner,
    /// Its calls: receiver and data.
    pub calls: Vec<(TxKind, Bytes)>,
}

impl KnownTransaction {
    pub(super) fn of(envelope: &TempoTxEnvelope) -> Option<Self> {
        let calls = envelope.calls().map(|(to, data)| (to, data.clone())).collect();
        Some(Self { signer: TransactionSigner::of(envelope)?, calls })
    }
}

impl TransactionSigner {
    /// The signer of a transaction, or of the envelope (0x78) of one that a sponsor completes, in hexadecimal; `None`
    /// when the text is neither, or its signature is no account's.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let raw = alloy::hex::decode(text).ok()?;
        if raw.first() == Some(&TEMPO_FEE_PAYER_ENVELOPE_TYPE_ID) {
            let envelope = FeePayerEnvelope78::decode_envelope(&raw).ok()?;
            return Self::of_signed(&envelope.to_recoverable_signed());
        }
        Self::of_signed(&AASigned::decode_2718(&mut raw.as_slice()).ok()?)
    }

    fn of(envelope: &TempoTxEnvelope) -> Option<Self> {
        match envelope {
            TempoTxEnvelope::AA(signed) => Self::of_signed(signed),
            // Only the account's own key can sign the types before Tempo's.
            other => {
                let account = other.recover_signer().ok()?;
                Some(Self { account, access_key: None, authorizes: None })
            }
        }
    }

    fn of_signed(signed: &AASigned) -> Option<Self> {
        let account = signed.recover_signer().ok()?;
        let access_key = match signed.signature() {
            TempoSignature::Primitive(_) => None,
            TempoSignature::Keychain(keychain) => Some(keychain.key_id(&signed.signature_hash()).ok()?),
        };
        let authorization = signed.tx().key_authorization.as_ref();
        let own = authorization
            .filter(|authorization| authorization.recover_signer().is_ok_and(|signer| signer == account));
        Some(Self { account, access_key, authorizes: own.map(|authorization| authorization.key_id) })
    }
}

/// Limits of the network fee of a transaction of our own.
#[derive(Debug, Clone, Copy)]
pub struct Fees {
    /// TIP-20 token that the fee is paid in.
    pub token: Address,
    /// Gas limit.
    pub gas: u64,
    /// Highest price per gas, in 10^-18 dollars.
    pub max_fee_per_gas: u128,
    /// Highest tip per gas, in 10^-18 dollars.
    pub max_priority_fee_per_gas: u128,
}

/// Reason to refuse bytes as a transaction to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    #[error("the signed transaction is not hex")]
    Hex,
    #[error("the signed transaction is not a Tempo transaction of type 0x76")]
    Decode,
    #[error("the transaction's signature does not recover to an account")]
    Signature,
    #[error("the transaction is not addressed to a fee sponsor (envelope 0x78)")]
    NotSponsored,
    #[error("the sponsor's key cannot sign")]
    Signer,
}

impl SignedTransaction {
    /// Parses a transaction whose sender pays the network fee.
    ///
    /// # Errors
    /// [`TransactionError`] unless the text is exactly one signed 0x76 transaction.
    pub fn parse(text: &str) -> Result<Self, TransactionError> {
        let raw = alloy::hex::decode(text).map_err(|_| TransactionError::Hex)?;
        let mut rest = raw.as_slice();
        let inner = AASigned::decode_2718(&mut rest).map_err(|_| TransactionError::Decode)?;
        if !rest.is_empty() {
            return Err(TransactionError::Decode);
        }
        Self::new(inner)
    }

    /// Adds the sponsor's signature to a customer's 0x78 envelope: domain 0x78
    /// over the transaction, the fee token and the sender
    /// (draft-tempo-charge-00, "Server-Paid Fees"). The envelope's contents
    /// must have been validated before.
    ///
    /// # Errors
    /// [`TransactionError`] unless the text is such an envelope.
    pub fn sponsor(
        text: &str,
        signer: &PrivateKeySigner,
        fee_token: Address,
    ) -> Result<Self, TransactionError> {
        let raw = alloy::hex::decode(text).map_err(|_| TransactionError::Hex)?;
        if raw.first() != Some(&TEMPO_FEE_PAYER_ENVELOPE_TYPE_ID) {
            return Err(TransactionError::NotSponsored);
        }
        let envelope = FeePayerEnvelope78::decode_envelope(&raw).map_err(|_| TransactionError::Decode)?;
        let signed = envelope.to_recoverable_signed();
        let sender = signed.recover_signer().map_err(|_| TransactionError::Signature)?;
        let (mut transaction, signature, _) = signed.into_parts();
        transaction.fee_token = Some(fee_token);
        transaction.fee_payer_signature = None;
        let hash = transaction.fee_payer_signature_hash(sender);
        let sponsored = signer.sign_hash_sync(&hash).map_err(|_| TransactionError::Signer)?;
        transaction.fee_payer_signature = Some(sponsored);
        Self::new(transaction.into_signed(signature))
    }

    fn new(inner: AASigned) -> Result<Self, TransactionError> {
        let sender = inner.recover_signer().map_err(|_| TransactionError::Signature)?;
        let raw = inner.encoded_2718();
        Ok(Self { hash: alloy::primitives::keccak256(&raw), raw, sender, inner })
    }

    /// The bytes to broadcast.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    #[must_use]
    pub fn hash(&self) -> B256 {
        self.hash
    }

    /// The account whose tokens move.
    #[must_use]
    pub fn sender(&self) -> Address {
        self.sender
    }

    /// The account that it is of, the key that signed, and the key that it authorises.
    #[must_use]
    pub fn signer(&self) -> Option<TransactionSigner> {
        TransactionSigner::of_signed(&self.inner)
    }

    /// The calls of the transaction.
    #[must_use]
    pub fn calls(&self) -> &[Call] {
        &self.inner.tx().calls
    }

    #[must_use]
    pub fn gas_limit(&self) -> u64 {
        self.inner.tx().gas_limit
    }

    /// True if the transaction is nothing but its calls: no authorisations, which
    /// cost gas that a sponsor would pay, and the expiring nonce, so that it expires.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        let transaction = self.inner.tx();
        transaction.tempo_authorization_list.is_empty()
            && transaction.access_list.is_empty()
            && transaction.nonce_key == TEMPO_EXPIRING_NONCE_KEY
    }

    /// The hash that is part of the id of the channel it opens (TIP-1034): of the
    /// transaction as its sender signed it, and of the sender.
    #[must_use]
    pub fn expiring_nonce_hash(&self) -> B256 {
        self.inner.expiring_nonce_hash(self.sender)
    }

    /// Signs a transaction of our own: one call, valid until `valid_before`
    /// (Unix seconds). Its nonce is the expiring one, so that transactions need
    /// no order and a late one has expired and blocks nothing.
    ///
    /// # Errors
    /// [`TransactionError::Signer`].
    pub fn sign(
        signer: &PrivateKeySigner,
        chain_id: u64,
        call: Call,
        fees: &Fees,
        valid_before: u64,
    ) -> Result<Self, TransactionError> {
        let transaction = TempoTransaction {
            chain_id,
            fee_token: Some(fees.token),
            max_priority_fee_per_gas: fees.max_priority_fee_per_gas,
            max_fee_per_gas: fees.max_fee_per_gas,
            gas_limit: fees.gas,
            calls: vec![call],
            nonce_key: TEMPO_EXPIRING_NONCE_KEY,
            nonce: 0,
            valid_before: NonZeroU64::new(valid_before),
            ..TempoTransaction::default()
        };
        let signature =
            signer.sign_hash_sync(&transaction.signature_hash()).map_err(|_| TransactionError::Signer)?;
        Self::new(transaction.into_signed(signature.into()))
    }

    /// Unix time in seconds after which no block can include it; `None` when
    /// it stays valid until its nonce is used.
    #[must_use]
    pub fn valid_before(&self) -> Option<u64> {
        self.inner.tx().valid_before.map(NonZeroU64::get)
    }

    /// Highest possible network fee: gas limit times fee cap, rounded up to a
    /// millionth of a dollar. `None` when that does not fit.
    #[must_use]
    pub fn highest_fee(&self) -> Option<Money> {
        let transaction = self.inner.tx();
        fee(u128::from(transaction.gas_limit), transaction.max_fee_per_gas)
    }

    /// The transaction as it will be sent, without its signatures, to simulate it: what it may do depends on its nonce,
    /// its validity, the key that signs and what it authorises. Without its fees where somebody else pays them, whom the
    /// node would take from the signature.
    #[must_use]
    pub fn as_call(&self) -> TempoTransactionRequest {
        let signed: TempoTransactionRequest = self.inner.clone().into();
        let signer = TransactionSigner::of_signed(&self.inner);
        let sponsored = self.inner.tx().fee_payer_signature.is_some();
        let fees = |fee: Option<u128>| fee.filter(|_| !sponsored);
        TempoTransactionRequest {
            inner: TransactionRequest {
                from: Some(self.sender),
                max_fee_per_gas: fees(signed.inner.max_fee_per_gas),
                max_priority_fee_per_gas: fees(signed.inner.max_priority_fee_per_gas),
                ..signed.inner
            },
            key_type: Some(self.inner.signature().signature_type()),
            key_id: signer.and_then(|signer| signer.access_key),
            fee_payer_signature: None,
            ..signed
        }
    }
}

/// `gas` at `price` (in 10^-18 dollars), rounded up to a millionth of a dollar.
pub(crate) fn fee(gas: u128, price: u128) -> Option<Money> {
    let micros = gas.checked_mul(price)?.div_ceil(FEE_UNITS_PER_MICRO);
    i64::try_from(micros).ok().map(Money::from_micros)
}
