//! Handling of one JSON-RPC message by the proxy: faults around additions around anvil.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use alloy::primitives::{Address, B256, U64};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::additions::{self, Additions};
use super::behind::{self, StaleHandling};
use super::faucet::Faucet;
use super::faults::{FaultPlan, Faults, LostAnswer};
use super::gas::{self, BatchGas};
use super::reserve::Reserve;
use super::rpc::{METHOD_NOT_FOUND, Rpc, RpcError};
use super::{control, receipts, receive_policy};

/// JSON-RPC 2.0: not a request object.
const INVALID_REQUEST: i64 = -32600;
/// JSON-RPC 2.0: the parameters have another shape than the method wants.
const INVALID_PARAMS: i64 = -32602;
/// JSON-RPC 2.0: an internal error; load balancers in front of a sick node answer with it too.
const INTERNAL_ERROR: i64 = -32603;
/// Code that nodes use for errors of their own.
const SERVER_ERROR: i64 = -32000;

/// Index of a forged log in its block: higher than that of any real one.
const FORGED_LOG_INDEX: u64 = 1_000_000;

/// Methods that anvil 1.7.1 must not see: it panics when it has to encode a Tempo transaction for
/// one of these, and ends.
const CRASHES_ANVIL: [&str; 3] = [
    "eth_getRawTransactionByHash",
    "eth_getRawTransactionByBlockHashAndIndex",
    "eth_getRawTransactionByBlockNumberAndIndex",
];

/// Order to close the connection without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("connection closed on purpose")]
pub(super) struct CloseConnection;

/// True if `method` sends a signed transaction.
pub(super) fn is_broadcast(method: &str) -> bool {
    matches!(method, "eth_sendRawTransaction" | "eth_sendRawTransactionSync")
}

#[derive(Debug)]
pub(super) struct Proxy {
    rpc: Rpc,
    additions: Additions,
    reserve: Option<Reserve>,
    faucet: Faucet,
    faults: Faults,
    broadcasts: AtomicU64,
}

impl Proxy {
    pub(super) fn new(rpc: Rpc, additions: Additions, reserve: Option<Reserve>, funder: Address) -> Self {
        Self {
            rpc,
            additions,
            reserve,
            faucet: Faucet::new(funder),
            faults: Faults::new(),
            broadcasts: AtomicU64::new(0),
        }
    }

    pub(super) fn rpc(&self) -> &Rpc {
        &self.rpc
    }

    pub(super) fn additions(&self) -> Additions {
        self.additions
    }

    pub(super) fn faucet(&self) -> &Faucet {
        &self.faucet
    }

    pub(super) fn faults(&self) -> &Faults {
        &self.faults
    }

    pub(super) fn broadcasts(&self) -> u64 {
        self.broadcasts.load(Ordering::SeqCst)
    }

    /// Answers a message: one request, or a batch of them in their order.
    pub(super) async fn answer(self: &Arc<Self>, message: Value) -> Result<Value, CloseConnection> {
        match message {
            Value::Array(requests) if !requests.is_empty() => {
                let mut answers = Vec::with_capacity(requests.len());
                for request in requests {
                    answers.push(self.answer_one(request).await?);
                }
                Ok(Value::Array(answers))
            }
            request => self.answer_one(request).await,
        }
    }

    async fn answer_one(self: &Arc<Self>, mut request: Value) -> Result<Value, CloseConnection> {
        let id = request.get("id").cloned().unwrap_or_default();
        let Some(method) = request.get("method").and_then(Value::as_str).map(str::to_owned) else {
            return Ok(refusal(&id, INVALID_REQUEST, "not a JSON-RPC request"));
        };
        if request.get("params").is_none_or(Value::is_null) {
            request["params"] = json!([]);
        }
        if let Some(answer) = control::answer(self, &method, &request["params"]) {
            return Ok(match answer {
                Ok(result) => success(&id, result),
                Err((code, message)) => refusal(&id, code, &message),
            });
        }
        self.answer_with_faults(&id, &method, request).await
    }

    async fn answer_with_faults(
        &self,
        id: &Value,
        method: &str,
        mut request: Value,
    ) -> Result<Value, CloseConnection> {
        let plan = self.faults.plan(method);
        sleep(plan.delay).await;
        if plan.drop {
            return Err(CloseConnection);
        }
        if let Some((code, message)) = &plan.error {
            return Ok(refusal(id, *code, message));
        }
        if let Some(newest) = plan.behind {
            match behind::rewrite_request(method, &mut request["params"], newest) {
                StaleHandling::Forward => {}
                StaleHandling::Answer(result) => return Ok(success(id, result)),
                StaleHandling::UnknownBlock => return Ok(refusal(id, SERVER_ERROR, "header not found")),
            }
        }
        if let Some(account) = plan.receive_policy
            && let Some(policy) = receive_policy::answer(method, &request["params"], account)
        {
            return Ok(success(id, json!(policy)));
        }
        if plan.lying_simulation && gas::is_batch(&request["params"][0]) {
            return Ok(success(id, json!("0x")));
        }
        let mut answer = match self.answer_with_additions(id, method, &request).await {
            Ok(answer) => answer,
            Err(RpcError::Refused { code, message, .. }) => refusal(id, code, &message),
            Err(error) => refusal(id, INTERNAL_ERROR, &error.to_string()),
        };
        if let Some(result) = answer.get_mut("result") {
            if let Some(lost) = plan.lost_answer {
                return self.lose_answer(id, lost, result).await;
            }
            falsify(&plan, method, result);
        }
        Ok(answer)
    }

    /// Waits until the transaction that `result` names is in a block, and answers without it.
    async fn lose_answer(
        &self,
        id: &Value,
        lost: LostAnswer,
        result: &Value,
    ) -> Result<Value, CloseConnection> {
        let hash = result.as_str().or_else(|| result["transactionHash"].as_str());
        if let Some(hash) = hash.and_then(|hash| hash.parse().ok())
            && let Err(error) = self.rpc.wait_included(hash).await
        {
            tracing::warn!(%error, "losing the answer to a transaction that is not included");
        }
        match lost {
            LostAnswer::Error => Ok(refusal(id, INTERNAL_ERROR, "upstream timed out")),
            LostAnswer::Drop => Err(CloseConnection),
        }
    }

    /// The answer of anvil with the additions.
    async fn answer_with_additions(
        &self,
        id: &Value,
        method: &str,
        request: &Value,
    ) -> Result<Value, RpcError> {
        let params = &request["params"];
        if CRASHES_ANVIL.contains(&method) {
            return Ok(refusal(id, METHOD_NOT_FOUND, "the local chain cannot encode its transactions"));
        }
        if self.additions.faucet && method == "tempo_fundAddress" {
            let Some(to) = params[0].as_str().and_then(|to| to.parse().ok()) else {
                return Ok(refusal(id, INVALID_PARAMS, "the parameter is an address"));
            };
            return Ok(success(id, json!(self.faucet.fund(&self.rpc, to).await?)));
        }
        if let Some(reserve) = &self.reserve
            && additions::describes_transaction(method)
            && reserve.prepare(&params[0]).await?
            && additions::sends_unsigned(method)
        {
            return Ok(refusal(
                id,
                INVALID_PARAMS,
                "an open has to be signed: its hash makes the channel's id",
            ));
        }
        let batch = if self.additions.examines_batch(method) {
            gas::estimate_batch(&self.rpc, &params[0]).await?
        } else {
            BatchGas::NoBatch
        };
        if let BatchGas::Reverts(error) = batch {
            return Ok(json!({ "jsonrpc": "2.0", "id": id, "error": error }));
        }
        // Anvil would have run something else.
        if let BatchGas::Sufficient { output, .. } = &batch
            && method == "eth_call"
        {
            return Ok(success(id, output.clone()));
        }
        let mut answer = if is_broadcast(method) {
            self.broadcast(request).await?
        } else {
            self.rpc.forward(request).await?
        };
        if let Some(result) = answer.get_mut("result") {
            if let BatchGas::Sufficient { gas: minimum, .. } = batch
                && let Some(gas) = additions::gas_field(method, &params[0], result)
            {
                gas::raise(gas, minimum);
            }
            if receipts::are_returned_by(method) {
                receipts::each(result, receipts::name_fee_payer);
            }
        }
        Ok(answer)
    }

    async fn broadcast(&self, request: &Value) -> Result<Value, RpcError> {
        self.broadcasts.fetch_add(1, Ordering::SeqCst);
        match &self.reserve {
            Some(reserve) => reserve.broadcast(request).await,
            None => self.rpc.forward(request).await,
        }
    }
}

/// Applies the false values of `plan` to an answer.
fn falsify(plan: &FaultPlan, method: &str, result: &mut Value) {
    if let Some(newest) = plan.behind {
        behind::remove_later(method, result, newest);
    }
    if let Some(chain_id) = plan.chain_id {
        *result = json!(U64::from(chain_id));
    }
    if let Some(account) = plan.receive_policy.filter(|_| receipts::are_returned_by(method)) {
        receipts::each(result, |receipt| receive_policy::hold_back(receipt, account));
    }
    if plan.lying_receipt {
        receipts::each(result, receipts::flip_status);
    }
    if plan.lying_logs
        && let Value::Array(logs) = result
    {
        let mut forged = logs.clone();
        for log in &mut forged {
            log["transactionHash"] = json!(B256::repeat_byte(0xfa));
            log["logIndex"] = json!(U64::from(FORGED_LOG_INDEX));
        }
        logs.extend(forged);
    }
}

fn success(id: &Value, result: Value) -> Value {
    let mut answer = json!({ "jsonrpc": "2.0", "id": id, "result": null });
    answer["result"] = result;
    answer
}

pub(super) fn refusal(id: &Value, code: i64, message: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
}
