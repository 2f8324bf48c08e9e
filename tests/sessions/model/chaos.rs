//! What happens around the payers of a run: the worker, a chain that breaks, time, and death.

use std::sync::Arc;
use std::time::Duration;

use farebox::devnet::{Fault, Rule};
use farebox::id::Timestamp;
use serde_json::{Value, json};

use super::client::{Answer, answer};
use super::rules::OK;
use super::{CLIENTS, Run, kind};
use crate::harness::{client, eventually, send_raw};

impl Run<'_> {
    /// The worker's look at all channels.
    pub(super) async fn pass(&mut self) {
        self.note("the worker looks".into());
        self.stage().pass().await;
    }

    /// The server's own worker never gets its turn: when it looks is for the run to say.
    pub(super) async fn only_our_worker(&self) {
        let lease = "INSERT INTO leases (name, owner, until) VALUES ('channels', 'the test', 9000000000000000000) \
            ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until";
        self.stage().server.db.execute(lease).await;
    }

    /// Whether the chain can let a request down.
    pub(super) fn is_in_trouble(&self) -> bool {
        self.gone || !self.stage().chain.faults().active().is_empty()
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
                let block = self.stage().block().await.saturating_sub(behind);
                Rule::new(Fault::Behind { block }).times(2 * times)
            }
            // It is included, and nobody says so for a while.
            11 | 12 => {
                let silent = Rule::new(Fault::Drop).on("eth_getTransactionReceipt").times(2 + times);
                self.stage().chain.faults().set(silent);
                Rule::new(Fault::DropAfterIncluding).times(1)
            }
            _ => {
                self.gone = true;
                self.stage().chain.faults().stop();
                return self.note("the chain is gone".into());
            }
        };
        self.note(format!("{rule:?}"));
        self.stage().chain.faults().set(rule);
        // Most requests have nothing to do with the chain: see to it that some meet the fault.
        match self.below(4) {
            0 => self.pass().await,
            1 | 2 => self.meet_fault().await,
            _ => {}
        }
    }

    /// A transaction meets the fault, and may be included when the server has looked for it in vain.
    async fn meet_fault(&mut self) {
        let who = self.below(CLIENTS);
        let ask = self.choose_transaction(who).await;
        self.one(who, ask).await;
        self.look().await;
        if self.below(2) == 0 {
            self.pass().await;
        }
        if self.below(2) == 0 {
            self.mend_chain().await;
            self.arrive().await;
        }
    }

    pub(super) async fn mend_chain(&mut self) {
        let chain = self.stage().chain;
        chain.faults().clear();
        if std::mem::take(&mut self.gone) {
            let url = chain.rpc_url();
            eventually("the chain listens again", async || ask(&url, "eth_chainId", json!([])).await).await;
        }
        self.note("the chain works".into());
    }

    /// A transaction that nobody has an answer to is included after all.
    pub(super) async fn arrive(&mut self) {
        if self.adrift.is_empty() || self.is_in_trouble() {
            return;
        }
        let which = self.below(self.adrift.len());
        let raw = self.adrift.swap_remove(which);
        // By way of the proxy, which knows what an open needs; one that has arrived is refused there.
        let url = self.stage().chain.rpc_url();
        let answer = ask(&url, "eth_sendRawTransactionSync", json!([raw])).await.expect("the chain answers");
        let status = answer["result"]["status"].as_str().unwrap_or("refused").to_owned();
        self.note(format!("a transaction arrives after all: {status}"));
        self.count(if status == "0x1" { "late" } else { "known" });
    }

    /// So much time passes that what was not included never will be. What dead servers had under way
    /// is over by then, so that is waited for.
    pub(super) async fn age(&mut self) {
        self.mend_chain().await;
        for tasks in self.dead.drain(..) {
            tasks.wait().await;
        }
        self.look().await;
        self.expired.append(&mut self.adrift);
        let later =
            "UPDATE channels SET pending_until = pending_until - 90000 WHERE pending_kind IS NOT NULL";
        self.stage().server.db.execute(later).await;
        self.note("time passes".into());
    }

    /// A payer closes past the server.
    pub(super) async fn ask_to_close(&mut self) {
        let who = self.below(CLIENTS);
        let Some(channel) = self.channel(who).await else { return };
        if channel.phase != farebox::funding::channel::Phase::Open {
            return;
        }
        let receipt = send_raw(self.stage().chain, &self.clients[who].payer.request_close()).await;
        let asked = receipt["status"] == "0x1";
        self.note(format!("client-{who} asks the chain to close: {asked}"));
        if asked {
            self.count("asked");
        }
        // It fails where a close came first, of which the server may not know yet.
        self.clients[who].asked_on_chain |= asked;
    }

    /// The server dies with requests in flight.
    pub(super) async fn crash(&mut self) {
        self.count("crash");
        let (who, count) = (self.below(CLIENTS), 1 + self.below(2));
        let mut asks = Vec::new();
        for _ in 0..count {
            let ask = self.choose(who, &asks).await;
            asks.push(ask);
        }
        let stage = self.stage.as_ref().expect("taken only while it restarts");
        let mut flying = Vec::new();
        for ask in &asks {
            let (request, name) = self.clients[who].request(stage, ask);
            flying.push((name, tokio::spawn(answer(request))));
        }
        tokio::time::sleep(Duration::from_millis(self.random.below(60))).await;
        let mut transcript = Vec::new();
        for (name, request) in flying {
            if !request.is_finished() {
                request.abort();
            }
            transcript.push((name, request.await.unwrap_or_else(|_| Answer::lost())));
        }
        self.restart().await;
        for (ask, (name, answer)) in asks.iter().zip(transcript) {
            self.note(format!("{name} {ask:?} -> {} (the server died)", answer.code));
            self.count(&format!("{} {}", kind(ask), if answer.code == OK { OK } else { "lost" }));
            self.clients[who].learn(ask, name, answer, true);
        }
    }

    async fn restart(&mut self) {
        let mut stage = self.stage.take().expect("taken only while it restarts");
        self.dead.push(stage.server.app.tasks.clone());
        stage.server.stop().await;
        let app = &stage.server.app;
        // Its streams end when they find the database closed; until then it owns the file.
        eventually("the old server is gone", async || (Arc::strong_count(app) == 1).then_some(())).await;
        // Nothing is due for the new server's own worker when it starts.
        let now = Timestamp::now().millis();
        stage.server.db.execute(&format!("UPDATE channels SET checked_at = {now}")).await;
        self.stage = Some(stage.restart(|_| {}).await);
        self.only_our_worker().await;
    }
}

/// A question to the chain; `None` when it cannot be reached.
async fn ask(url: &str, method: &str, params: Value) -> Option<Value> {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    client().post(url).json(&request).send().await.ok()?.json().await.ok()
}
