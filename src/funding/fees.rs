//! Accounts of the server that pay network fees.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use alloy::primitives::{Address, U256};

use crate::money::Money;

/// An account that pays fees, with the balance that was observed last. Clones
/// share it.
#[derive(Debug, Clone)]
pub struct FeeAccount {
    /// Name of the account in metrics and warnings: `sponsor`, `operator`.
    pub role: &'static str,
    pub address: Address,
    /// TIP-20 token that it pays with.
    pub token: Address,
    /// Least balance with which it counts as funded.
    pub least: Money,
    funded: Arc<AtomicBool>,
}

impl FeeAccount {
    /// Returns an account that counts as funded until its balance is observed.
    #[must_use]
    pub fn new(role: &'static str, address: Address, token: Address, least: Money) -> Self {
        Self { role, address, token, least, funded: Arc::new(AtomicBool::new(true)) }
    }

    /// Records the balance, in base units of the token.
    pub fn observe(&self, balance: U256) {
        let least = U256::from(u64::try_from(self.least.micros()).unwrap_or(0));
        let funded = balance >= least;
        if self.funded.swap(funded, Ordering::Relaxed) != funded {
            tracing::warn!(role = self.role, account = %self.address, token = %self.token, funded, "network fees");
        }
        #[expect(clippy::cast_precision_loss, reason = "a gauge for people")]
        metrics::gauge!("farebox_fee_balance_micros", "account" => self.role)
            .set(u64::try_from(balance).unwrap_or(u64::MAX) as f64);
    }

    /// Returns true if it had enough when its balance was last observed.
    #[must_use]
    pub fn is_funded(&self) -> bool {
        self.funded.load(Ordering::Relaxed)
    }

    /// Returns a warning for its operator, if it is short.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let Self { role, address, token, least, .. } = self;
        (!self.is_funded()).then(|| {
            format!(
                "the {role} {address:#x} has less than {least} of the token {token:#x}; \
                 send it more to pay network fees with"
            )
        })
    }
}
