//! Signatures that only the chain can verify: contracts' and access keys'.

use alloy::hex;
use alloy::primitives::{Address, B256, Bytes, b256};
use alloy::providers::Provider as _;
use alloy::sol_types::{SolCall as _, SolValue as _};
use serde_json::json;
use tempo_contracts::precompiles::{ACCOUNT_KEYCHAIN_ADDRESS, IAccountKeychain};
use tempo_primitives::SignatureType;

use super::{Chain, ChainError, REVERTED, TransactionSigner};

alloy::sol! {
    /// ERC-1271.
    function isValidSignature(bytes32 hash, bytes signature) external view returns (bytes4);
}

/// "Valid" in ERC-1271: the function's own selector, padded. All 32 bytes are compared: a
/// precompile that echoes its input begins with the selector too.
const VALID: B256 = b256!("1626ba7e00000000000000000000000000000000000000000000000000000000");

/// Code of the reference validator of ERC-6492 (Ambire's `ValidateSigOffchain`, MIT), which is
/// deployed nowhere: a call without a receiver runs its constructor, which creates the account as
/// the signature says, calls it, and answers one byte. It is the text that viem sends.
const VALIDATOR: &str = include_str!("erc6492_validator.hex");

/// A key that an account authorised on Tempo's keychain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessKey {
    pub kind: SignatureType,
    /// Moment of expiry, in Unix seconds.
    pub expiry: u64,
    /// True if it has spending limits, or may make some calls only.
    pub restricted: bool,
}

impl Chain {
    /// True if the contract at `wallet` accepts this signature (ERC-1271). An account without code
    /// accepts none.
    ///
    /// # Errors
    /// [`ChainError`] when the node is unreachable or its answer is invalid.
    pub async fn accepts_signature(
        &self,
        wallet: Address,
        hash: B256,
        signature: &[u8],
    ) -> Result<bool, ChainError> {
        let call = isValidSignatureCall { hash, signature: Bytes::copy_from_slice(signature) };
        let answer = self.view(Some(wallet), call.abi_encode()).await?;
        Ok(answer.is_some_and(|answer| answer.get(..32) == Some(VALID.as_slice())))
    }

    /// True if the contract at `wallet` accepts this signature, once the signature's own factory
    /// call has deployed it (ERC-6492).
    ///
    /// # Errors
    /// [`ChainError`] when the node is unreachable or its answer is invalid.
    pub async fn would_accept_signature(
        &self,
        wallet: Address,
        hash: B256,
        signature: &[u8],
    ) -> Result<bool, ChainError> {
        let mut code = hex::decode(VALIDATOR.trim()).expect("a constant in hexadecimal");
        code.extend((wallet, hash, Bytes::copy_from_slice(signature)).abi_encode_params());
        let answer = self.view(None, code).await?;
        Ok(answer.is_some_and(|answer| answer.len() <= 32 && answer.last() == Some(&1)))
    }

    /// An account's access key, if it is authorised and not revoked.
    ///
    /// # Errors
    /// [`ChainError`] when the node is unreachable or its answer is invalid.
    pub async fn access_key(&self, account: Address, key: Address) -> Result<Option<AccessKey>, ChainError> {
        let call = IAccountKeychain::getKeyCall { account, keyId: key };
        let Some(answer) = self.view(Some(ACCOUNT_KEYCHAIN_ADDRESS), call.abi_encode()).await? else {
            return Ok(None);
        };
        let found = IAccountKeychain::getKeyCall::abi_decode_returns(&answer)
            .map_err(|_| ChainError::InvalidAnswer { method: "eth_call" })?;
        let kind = match found.signatureType {
            IAccountKeychain::SignatureType::Secp256k1 => SignatureType::Secp256k1,
            IAccountKeychain::SignatureType::P256 => SignatureType::P256,
            IAccountKeychain::SignatureType::WebAuthn => SignatureType::WebAuthn,
            _ => return Ok(None),
        };
        if found.keyId != key || key.is_zero() || found.isRevoked {
            return Ok(None);
        }
        let restricted = found.enforceLimits || self.has_allowed_calls(account, key).await?;
        Ok(Some(AccessKey { kind, expiry: found.expiry, restricted }))
    }

    /// True if a transaction authorises a key that its account has authorised before: no block can include it.
    ///
    /// # Errors
    /// [`ChainError`] when the node is unreachable or its answer is invalid.
    pub async fn authorizes_again(&self, signer: &TransactionSigner) -> Result<bool, ChainError> {
        match signer.authorizes {
            Some(key) => Ok(self.access_key(signer.account, key).await?.is_some()),
            None => Ok(false),
        }
    }

    /// True if an access key may make some calls only, or the chain does not say.
    async fn has_allowed_calls(&self, account: Address, key: Address) -> Result<bool, ChainError> {
        let call = IAccountKeychain::getAllowedCallsCall { account, keyId: key };
        let Some(answer) = self.view(Some(ACCOUNT_KEYCHAIN_ADDRESS), call.abi_encode()).await? else {
            return Ok(true);
        };
        let found = IAccountKeychain::getAllowedCallsCall::abi_decode_returns(&answer)
            .map_err(|_| ChainError::InvalidAnswer { method: "eth_call" })?;
        Ok(found.isScoped)
    }

    /// A call at the newest block that changes nothing; `None` when it reverts.
    pub(super) async fn view(&self, to: Option<Address>, data: Vec<u8>) -> Result<Option<Bytes>, ChainError> {
        self.confirm().await?;
        let mut request = json!({ "data": hex::encode_prefixed(data) });
        if let Some(to) = to {
            request["to"] = json!(to);
        }
        let call = self.provider.raw_request::<_, Bytes>("eth_call".into(), (request, "latest"));
        match self.call("eth_call", call).await {
            Ok(answer) => Ok(Some(answer)),
            Err(ChainError::Refused { code: REVERTED, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
