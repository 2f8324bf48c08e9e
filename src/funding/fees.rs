//! Accounts of ours that pay network fees.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use alloy::primitives::{Address, U256};

use crate::money::Money;

/// An account that pays fees, and whether it still can. Clones share what was
/// observed last.
#[derive(Debug, Clone)]
pub struct FeeAccount {
    /// What it pays for, as metrics and warnings name it.
    pub role: &'static str,
    pub address: Address,
    /// The TIP-20 token it pays with.
    pub token: Address,
    /// It is short below this.
    pub least: Money,
    funded: Arc<AtomicBool>,
}

impl FeeAccount {
    /// An account that counts as funded until somebody looked.
    #[must_use]
    pub fn new(role: &'static str, address: Address, token: Address, least: Money) -> Self {
        Self { role, address, token, least, funded: Arc::new(AtomicBool::new(true)) }
    }

    /// Takes note of the balance, in base units of the token.
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

    /// Whether it had enough when it was last looked at.
    #[must_use]
    pub fn is_funded(&self) -> bool {
        self.funded.load(Ordering::Relaxed)
    }

    /// What is wrong with it, for its operator.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let Self { role, address, token, least, .. } = self;
        (!self.is_funded()).then(|| {
            format!("the {role} {address:#x} has less than {least} of {token:#x} to pay network fees with")
        })
    }
}
