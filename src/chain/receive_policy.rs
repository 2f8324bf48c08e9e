//! Receive policies of accounts (TIP-1028, live from T6 on), in the TIP-403 registry.

use alloy::primitives::Address;
use alloy::sol_types::SolCall;
use tempo_contracts::precompiles::{ITIP403Registry, TIP403_REGISTRY_ADDRESS};

use super::{Chain, ChainError};

impl Chain {
    /// True if an account has a receive policy.
    ///
    /// # Errors
    /// [`ChainError`] when the node is unreachable or its answer is invalid.
    pub async fn has_receive_policy(&self, account: Address) -> Result<bool, ChainError> {
        let policy = self.registry(ITIP403Registry::receivePolicyCall { account }).await?;
        Ok(policy.is_some_and(|policy| policy.hasReceivePolicy))
    }

    /// True if `receiver`'s receive policy lets transfers of `token` from `sender` through.
    ///
    /// # Errors
    /// [`ChainError`] when the node is unreachable or its answer is invalid.
    pub async fn lets_through(
        &self,
        token: Address,
        sender: Address,
        receiver: Address,
    ) -> Result<bool, ChainError> {
        let call = ITIP403Registry::validateReceivePolicyCall { token, sender, receiver };
        Ok(self.registry(call).await?.is_none_or(|validated| validated.authorized))
    }

    /// Asks the registry; `None` on a chain that has no receive policies yet.
    async fn registry<C: SolCall>(&self, call: C) -> Result<Option<C::Return>, ChainError> {
        let Some(answer) = self.view(Some(TIP403_REGISTRY_ADDRESS), call.abi_encode()).await? else {
            return Ok(None);
        };
        let invalid = |_| ChainError::InvalidAnswer { method: "eth_call" };
        C::abi_decode_returns(&answer).map(Some).map_err(invalid)
    }
}
