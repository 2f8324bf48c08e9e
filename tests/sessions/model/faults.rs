//! Events around the payers of a run: the worker, faults of the chain, time, and crashes.

use std::sync::Arc;
use std::time::Duration;

use farebox::devnet::{Fault, Rule};
use farebox_test_support::harness::{client, eventually, send_raw};
use serde_json::{Value, json};

use super::client::{Answer, answer};
use super::rules::OK;
use super::{CLIENTS, Run, kind};

impl Run<'_> {
    /// Runs the worker once over all channels.
    pub(super) async fn run_worker(&mut self) {
        self.note("the worker looks".into());
        self.fixture().run_worker().await;
    }

    /// True if the chain can fail a request.
    pub(super) fn is_chain_unreliable(&self) -> bool {
        self.chain_stopped || !self.fixture().chain.faults().active().is_empty()
    }

    pub(super) async fn break_chain(&mut self) {
        let times = 1 + u32::try_from(self.below(3)).expect("small");
        let send = "eth_sendRawTransactionSync";
        let rule = match self.below(14) {
            0 | 1 => Rule::new(Fault::Delay { ms: 20 + self.random.below(200) }).times(times),
            // The server gives up on a transaction, which is adrift then.
            2 | 9 | 10 => Rule::new(Fault::Drop).on(send).times(1),
            3 => Rule::new(Fault::Drop).on("eth_gasPrice").times(times),
            4 => Rule::new(Fault::Drop).on("eth_getTransactionReceipt").times(times),
            5 => {
                let refusal = Fault::Error { code: -32_000, message: "not now".into() };
                Rule::new(refusal).on(send).times(1)
            }
            6 => Rule::new(Fault::ErrorAfterIncluding).times(1),
            7 => Rule::new(Fault::DropAfterIncluding).times(1),
            8 => {
                let behind = 1 + self.random.below(6);
                let block = self.fixture().block().await.saturating_sub(behind);
                Rule::new(Fault::Behind { block }).times(2 * times)
            }
            // It is included, and has no receipt for a while.
            11 | 12 => {
                let silent = Rule::new(Fault::Drop).on("eth_getTransactionReceipt").times(2 + times);
                self.fixture().chain.faults().set(silent);
                Rule::new(Fault::DropAfterIncluding).times(1)
            }
            _ => {
                self.chain_stopped = true;
                self.fixture().chain.faults().stop();
                return self.note("the chain is gone".into());
            }
        };
        self.note(format!("{rule:?}"));
        self.fixture().chain.faults().set(rule);
        // Most requests have nothing to do with the chain: see to it that some meet the fault.
        match self.below(4) {
            0 => self.run_worker().await,
            1 | 2 => self.transact_under_fault().await,
            _ => {}
        }
    }

    /// A transaction meets the fault, and may be included when the server has looked for it in vain.
    async fn transact_under_fault(&mut self) {
        let who = self.below(CLIENTS);
        let action = self.choose_transaction(who).await;
        self.one(who, action).await;
        self.check_invariants().await;
        if self.below(2) == 0 {
            self.run_worker().await;
        }
        if self.below(2) == 0 {
            self.repair_chain().await;
            self.include_late().await;
        }
    }

    pub(super) async fn repair_chain(&mut self) {
        let chain = self.fixture().chain;
        chain.faults().clear();
        if std::mem::take(&mut self.chain_stopped) {
            let url = chain.rpc_url();
            eventually("the chain listens again", async || action(&url, "eth_chainId", json!([])).await)
                .await;
        }
        self.note("the chain works".into());
    }

    /// Includes a transaction whose answer was lost.
    pub(super) async fn include_late(&mut self) {
        if self.unconfirmed.is_empty() || self.is_chain_unreliable() {
            return;
        }
        let which = self.below(self.unconfirmed.len());
        let raw = self.unconfirmed.swap_remove(which);
        // By way of the proxy, which knows what an open needs; one that has arrived is refused there.
        let url = self.fixture().chain.rpc_url();
        let answer =
            action(&url, "eth_sendRawTransactionSync", json!([raw])).await.expect("the chain answers");
        let status = answer["result"]["status"].as_str().unwrap_or("refused").to_owned();
        self.note(format!("a transaction arrives after all: {status}"));
        self.count(if status == "0x1" { "late" } else { "known" });
    }

    /// Lets so much time pass that transactions that were not included never will be. Requests of stopped servers
    /// have ended by then, so they are awaited.
    pub(super) async fn expire_transactions(&mut self) {
        self.repair_chain().await;
        for tasks in self.stopped.drain(..) {
            tasks.wait().await;
        }
        self.check_invariants().await;
        self.expired.append(&mut self.unconfirmed);
        let later =
            "UPDATE channels SET pending_until = pending_until - 90000 WHERE pending_kind IS NOT NULL";
        self.fixture().server.db.execute(later).await;
        self.note("time passes".into());
    }

    /// A payer requests a close on the chain, past the server.
    pub(super) async fn request_close_on_chain(&mut self) {
        let who = self.below(CLIENTS);
        let Some(channel) = self.channel(who).await else { return };
        if channel.phase != farebox::funding::channel::Phase::Open {
            return;
        }
        let receipt = send_raw(self.fixture().chain, &self.clients[who].payer.request_close()).await;
        let requested = receipt["status"] == "0x1";
        self.note(format!("client-{who} asks the chain to close: {requested}"));
        if requested {
            self.count("asked");
        }
        // It fails where a close came first, of which the server may not know yet.
        self.clients[who].close_requested |= requested;
    }

    /// The server dies with requests in flight.
    pub(super) async fn crash(&mut self) {
        self.count("crash");
        let (who, count) = (self.below(CLIENTS), 1 + self.below(2));
        let mut actions = Vec::new();
        for _ in 0..count {
            let action = self.choose(who, &actions).await;
            actions.push(action);
        }
        let fixture = self.fixture.as_ref().expect("taken only while it restarts");
        let mut in_flight = Vec::new();
        for action in &actions {
            let (request, name) = self.clients[who].request(fixture, action);
            in_flight.push((name, tokio::spawn(answer(request))));
        }
        tokio::time::sleep(Duration::from_millis(self.random.below(60))).await;
        let mut transcript = Vec::new();
        for (name, request) in in_flight {
            if !request.is_finished() {
                request.abort();
            }
            transcript.push((name, request.await.unwrap_or_else(|_| Answer::lost())));
        }
        self.restart().await;
        for (action, (name, answer)) in actions.iter().zip(transcript) {
            self.note(format!("{name} {action:?} -> {} (the server died)", answer.code));
            self.count(&format!("{} {}", kind(action), if answer.code == OK { OK } else { "lost" }));
            self.clients[who].record(action, name, answer, true);
        }
    }

    async fn restart(&mut self) {
        let mut fixture = self.fixture.take().expect("taken only while it restarts");
        self.stopped.push(fixture.server.app.tasks.clone());
        fixture.server.stop().await;
        let app = &fixture.server.app;
        // Its streams end when they find the database closed; until then it owns the file.
        eventually("the old server is gone", async || (Arc::strong_count(app) == 1).then_some(())).await;
        self.fixture = Some(fixture.restart(|_| {}).await);
    }
}

/// A request to the chain; `None` when it is unreachable.
async fn action(url: &str, method: &str, params: Value) -> Option<Value> {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    client().post(url).json(&request).send().await.ok()?.json().await.ok()
}
