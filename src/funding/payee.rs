//! Accounts that this server is paid at, and whether what is sent there arrives.
//!
//! An account can have a receive policy (TIP-1028). A transfer that it blocks succeeds, and the money goes to a guard,
//! from where it may go back to who sent it.

use std::sync::{Arc, Mutex, PoisonError};

use alloy::primitives::Address;

use crate::chain::{Chain, ChainError};

/// An account that is paid, with what its receive policy said last. Clones share that.
#[derive(Debug, Clone)]
pub struct Payee {
    pub address: Address,
    /// Tokens that it is paid with.
    tokens: Arc<[Address]>,
    /// Contract that pays it, the channel reserve: a sender that its policy must let through.
    sender: Address,
    warning: Arc<Mutex<Option<String>>>,
}

impl Payee {
    /// Returns an account that counts as able to be paid until its policy is observed.
    #[must_use]
    pub fn new(address: Address, tokens: Vec<Address>, sender: Address) -> Self {
        Self { address, tokens: tokens.into(), sender, warning: Arc::default() }
    }

    /// Reads its receive policy.
    ///
    /// # Errors
    /// [`ChainError`] when the node is unreachable or its answer is invalid.
    pub async fn observe(&self, chain: &Chain) -> Result<(), ChainError> {
        let mut warning = chain.has_receive_policy(self.address).await?.then(|| {
            format!(
                "the payee {:#x} has a receive policy (TIP-1028): payments that it blocks do not arrive, and buy nothing",
                self.address
            )
        });
        for token in self.tokens.iter() {
            if !chain.lets_through(*token, self.sender, self.address).await? {
                warning = Some(format!(
                    "the receive policy (TIP-1028) of the payee {:#x} blocks payments in the token {token:#x}; let them \
                     through with setReceivePolicy, or set another account",
                    self.address
                ));
            }
        }
        let mut known = self.warning.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(warning) = warning.as_ref().filter(|_| *known != warning) {
            tracing::warn!(warning, "receive policy");
        }
        *known = warning;
        Ok(())
    }

    /// Returns a warning for the operator, if payments may not arrive.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        self.warning.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
