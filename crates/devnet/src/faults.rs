//! Faults that a test switches on: pure bookkeeping. [`super::proxy`] and [`super::server`] apply
//! them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use alloy::primitives::Address;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// One failure of an RPC endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Fault {
    /// The request is handled only after `ms` milliseconds.
    Delay {
        /// Milliseconds.
        ms: u64,
    },
    /// The connection closes without an answer; the chain never sees the request.
    Drop,
    /// The chain never sees the request; the answer is this error.
    Error {
        /// The JSON-RPC error code.
        code: i64,
        /// The error's text.
        message: String,
    },
    /// `eth_sendRawTransaction` and its `Sync` form: the transaction is included, and then the
    /// answer is an error.
    ErrorAfterIncluding,
    /// `eth_sendRawTransaction` and its `Sync` form: the transaction is included, and then the
    /// connection closes.
    DropAfterIncluding,
    /// Reads answer as if `block` were the newest: state, receipts, logs and the block number.
    Behind {
        /// A block number.
        block: u64,
    },
    /// `eth_chainId` answers this.
    WrongChainId {
        /// The wrong chain id.
        chain_id: u64,
    },
    /// Receipts say the opposite about success.
    LyingReceipt,
    /// `eth_call` of a transaction says that it succeeds. Calls that only read are answered as ever.
    LyingSimulation,
    /// `eth_getLogs` answers each log a second time, in a transaction that does not exist.
    LyingLogs,
    /// An account has a receive policy (TIP-1028, from T6 on) that blocks everything: the registry says so, and
    /// receipts are as that hard fork makes them, with what was sent to the account at the guard. The chain itself has
    /// moved the money.
    ReceivePolicy {
        /// The account.
        account: Address,
    },
}

impl Fault {
    fn applies_to(&self, method: &str) -> bool {
        match self {
            Self::Delay { .. } | Self::Drop | Self::Error { .. } => true,
            Self::ErrorAfterIncluding | Self::DropAfterIncluding => super::proxy::is_broadcast(method),
            Self::Behind { .. } => super::behind::applies_to(method),
            Self::WrongChainId { .. } => method == "eth_chainId",
            Self::LyingReceipt => super::receipts::are_returned_by(method),
            Self::LyingSimulation => method == "eth_call",
            Self::LyingLogs => method == "eth_getLogs",
            Self::ReceivePolicy { .. } => method == "eth_call" || super::receipts::are_returned_by(method),
        }
    }
}

/// A fault, and the requests that it applies to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// The failure.
    pub fault: Fault,
    /// Only requests of this method; all that the fault can apply to when `None`.
    #[serde(default)]
    pub method: Option<String>,
    /// Only the next so many of those requests; all until cleared when `None`.
    #[serde(default)]
    pub times: Option<u32>,
}

impl Rule {
    /// `fault` on every request that it can apply to, until cleared.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        Self { fault, method: None, times: None }
    }

    /// Only on requests of `method`.
    #[must_use]
    pub fn on(self, method: &str) -> Self {
        Self { method: Some(method.to_owned()), ..self }
    }

    /// Only on the next `times` requests that match.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// Counts one request of `method`; true if the fault applies to it.
    fn count(&mut self, method: &str) -> bool {
        let matches =
            self.method.as_deref().is_none_or(|only| only == method) && self.fault.applies_to(method);
        if !matches {
            return false;
        }
        match &mut self.times {
            None => true,
            Some(0) => false,
            Some(remaining) => {
                *remaining -= 1;
                true
            }
        }
    }
}

/// Loss of the answer to a broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LostAnswer {
    Error,
    Drop,
}

/// All faults of one request. Several rules can apply to it; of one kind, the last rule set counts.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(super) struct FaultPlan {
    pub(super) delay: Duration,
    pub(super) drop: bool,
    pub(super) error: Option<(i64, String)>,
    pub(super) lost_answer: Option<LostAnswer>,
    pub(super) behind: Option<u64>,
    pub(super) chain_id: Option<u64>,
    pub(super) lying_receipt: bool,
    pub(super) lying_simulation: bool,
    pub(super) lying_logs: bool,
    pub(super) receive_policy: Option<Address>,
}

impl FaultPlan {
    fn add(&mut self, fault: &Fault) {
        match fault {
            Fault::Delay { ms } => self.delay = Duration::from_millis(*ms),
            Fault::Drop => self.drop = true,
            Fault::Error { code, message } => self.error = Some((*code, message.clone())),
            Fault::ErrorAfterIncluding => self.lost_answer = Some(LostAnswer::Error),
            Fault::DropAfterIncluding => self.lost_answer = Some(LostAnswer::Drop),
            Fault::Behind { block } => self.behind = Some(*block),
            Fault::WrongChainId { chain_id } => self.chain_id = Some(*chain_id),
            Fault::LyingReceipt => self.lying_receipt = true,
            Fault::LyingSimulation => self.lying_simulation = true,
            Fault::LyingLogs => self.lying_logs = true,
            Fault::ReceivePolicy { account } => self.receive_policy = Some(*account),
        }
    }
}

/// The fault switches of a [`super::Devnet`]. Out-of-process tests reach them through the proxy
/// itself, with the JSON-RPC methods `farebox_setFault`, `farebox_clearFaults`, `farebox_stop` and
/// `farebox_status`.
#[derive(Debug)]
pub struct Faults {
    rules: Mutex<Vec<Rule>>,
    running: watch::Sender<bool>,
}

impl Faults {
    pub(super) fn new() -> Self {
        Self { rules: Mutex::new(Vec::new()), running: watch::Sender::new(true) }
    }

    /// Switches a fault on.
    pub fn set(&self, rule: Rule) {
        self.lock().push(rule);
    }

    /// Switches all faults off and lets connections in again.
    pub fn clear(&self) {
        self.lock().clear();
        self.resume();
    }

    /// Closes all connections and refuses new ones, like an endpoint that has gone away. The chain
    /// itself goes on.
    pub fn stop(&self) {
        self.running.send_replace(false);
    }

    /// Undoes [`Faults::stop`]: the same address listens again.
    pub fn resume(&self) {
        self.running.send_replace(true);
    }

    /// The rules that can still apply to a request, with their remaining counts.
    #[must_use]
    pub fn active(&self) -> Vec<Rule> {
        self.lock().iter().filter(|rule| rule.times != Some(0)).cloned().collect()
    }

    pub(super) fn running(&self) -> watch::Receiver<bool> {
        self.running.subscribe()
    }

    /// Counts a request of `method` and returns the faults that apply to it.
    pub(super) fn plan(&self, method: &str) -> FaultPlan {
        let mut plan = FaultPlan::default();
        for rule in self.lock().iter_mut() {
            if rule.count(method) {
                plan.add(&rule.fault);
            }
        }
        plan
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Rule>> {
        // A list of rules is valid after every step, so a panic elsewhere leaves nothing half done.
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counted_rule_applies_to_the_next_matching_requests_only() {
        let faults = Faults::new();
        faults.set(Rule::new(Fault::Drop).on("eth_call").times(2));
        let drops =
            ["eth_call", "eth_chainId", "eth_call", "eth_call"].map(|method| faults.plan(method).drop);
        assert_eq!(drops, [true, false, true, false]);
        assert_eq!(faults.active(), []);
    }

    #[test]
    fn a_fault_counts_only_requests_it_can_apply_to() {
        let faults = Faults::new();
        faults.set(Rule::new(Fault::DropAfterIncluding).times(1));
        assert_eq!(faults.plan("eth_call"), FaultPlan::default());
        assert_eq!(faults.plan("eth_sendRawTransactionSync").lost_answer, Some(LostAnswer::Drop));
        assert_eq!(faults.plan("eth_sendRawTransaction"), FaultPlan::default());
    }

    #[test]
    fn clearing_switches_everything_off_and_resumes() {
        let faults = Faults::new();
        faults.set(Rule::new(Fault::LyingReceipt));
        faults.stop();
        faults.clear();
        assert_eq!(faults.plan("eth_getTransactionReceipt"), FaultPlan::default());
        assert!(*faults.running().borrow());
    }

    #[test]
    fn rules_have_a_strict_json_form() {
        let rule: Rule = serde_json::from_str(
            r#"{"fault":{"kind":"wrongChainId","chainId":1},"method":"eth_chainId","times":3}"#,
        )
        .unwrap();
        assert_eq!(rule, Rule::new(Fault::WrongChainId { chain_id: 1 }).on("eth_chainId").times(3));
        assert!(serde_json::from_str::<Rule>(r#"{"fault":{"kind":"drop"},"time":3}"#).is_err());
        assert!(serde_json::from_str::<Rule>(r#"{"fault":{"kind":"delay","ms":1,"s":1}}"#).is_err());
    }
}
