//! Row 30, the chain: gone, slow, behind or lying at each transaction about a channel. What became
//! of a transaction is either known or asked for: never a second payment, and the same credential
//! works once the chain answers again.

use std::time::{Duration, Instant};

use farebox::config::Config;
use farebox::devnet::{Devnet, Fault, Rule};
use farebox::funding::channel::{ChannelError, Phase, worker};
use farebox::id::Timestamp;
use serde_json::{Value, json};

use crate::db;
use crate::harness::{Reply, client, eventually, own_chain, reply, run, send_raw};
use crate::payer::Payer;
use crate::stage::{DEPOSIT, PRICE, Stage, body};

const SPENT: u64 = 12 * PRICE;
const MORE: u64 = 500;

/// Every kind of transaction about a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Open,
    TopUp,
    Settle,
    Close,
}

const STEPS: [Step; 4] = [Step::Open, Step::TopUp, Step::Settle, Step::Close];

/// A step that is next for a payer, with the credential that asks for it.
struct Next {
    step: Step,
    payer: Payer,
    payload: Value,
}

/// Whether a step is done, or its outcome open.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Done,
    /// With the code of the 503.
    Open(String),
}

fn impatient(config: &mut Config) {
    config.chain.request_timeout_ms = 1_000;
    config.chain.confirm_timeout_ms = 1_500;
}

async fn stage(chain: &Devnet) -> Stage<'_> {
    Stage::on(db::sqlite().await, chain, impatient).await
}

impl Next {
    async fn of(stage: &Stage<'_>, step: Step) -> Self {
        if step == Step::Open {
            let payer = stage.payer(DEPOSIT).await;
            let payload = payer.open(SPENT);
            return Self { step, payer, payload };
        }
        let payer = stage.opened(DEPOSIT, SPENT).await;
        let spend = stage.reply(&payer, payer.voucher(SPENT), &body(&json!({"chunks": 12}), true)).await;
        assert_eq!(spend.status, 200, "{}", spend.text);
        stage.idle().await;
        let payload = match step {
            Step::Open | Step::TopUp => payer.top_up(MORE),
            Step::Settle | Step::Close => payer.close(SPENT),
        };
        Self { step, payer, payload }
    }

    /// Asks for it; nothing but success and an open outcome is an answer.
    async fn attempt(&self, stage: &Stage<'_>) -> Answer {
        if self.step == Step::Settle {
            // Nobody asks for a settlement: the worker does it.
            let sessions = stage.server.app.sessions.as_ref().expect("sessions are on");
            let channel = stage.channel(&self.payer).await;
            if channel.pending.is_some() {
                stage.pass().await;
                let pending = stage.channel(&self.payer).await.pending.is_some();
                return if pending { Answer::Open("settlement_pending".into()) } else { Answer::Done };
            }
            return match sessions.channels.settle(&channel, Timestamp::now()).await {
                Ok(()) => Answer::Done,
                Err(ChannelError::Pending) => Answer::Open("settlement_pending".into()),
                Err(ChannelError::Unavailable(_)) => Answer::Open("service_unavailable".into()),
                Err(error) => panic!("{error}"),
            };
        }
        let reply = stage.manage(&self.payer, self.payload.clone()).await;
        if reply.status == 204 {
            return Answer::Done;
        }
        assert_open(self.step, &reply);
        Answer::Open(reply.code())
    }

    /// The same; its transaction is included, and from then on the chain says nothing of it.
    async fn attempt_in_silence(&self, stage: &Stage<'_>) -> Answer {
        let (faults, sent) = (stage.chain.faults(), stage.chain.broadcasts());
        faults.set(Rule::new(Fault::ErrorAfterIncluding));
        // The server asks this first: time to fall silent.
        faults.set(Rule::new(Fault::Delay { ms: 400 }).on("eth_getTransactionByHash"));
        let silence = async {
            eventually("it is sent", async || (stage.chain.broadcasts() > sent).then_some(())).await;
            faults.set(Rule::new(Fault::Drop).on("eth_getTransactionReceipt"));
        };
        tokio::join!(self.attempt(stage), silence).0
    }

    /// It was done, once, on the chain and in the books; then the channel closes and pays what was
    /// charged.
    async fn assert_done(&self, stage: &Stage<'_>) {
        let (deposit, _, spent, settled, phase) = stage.standing(&self.payer).await;
        let expected = match self.step {
            Step::Open => (DEPOSIT, 0, 0, Phase::Open),
            Step::TopUp => (DEPOSIT + MORE, SPENT, 0, Phase::Open),
            Step::Settle => (DEPOSIT, SPENT, SPENT, Phase::Open),
            Step::Close => (DEPOSIT, SPENT, SPENT, Phase::Closed),
        };
        assert_eq!((deposit, spent, settled, phase), expected, "{:?}", self.step);
        let captured = match self.step {
            Step::Open | Step::TopUp | Step::Settle => stage.close(&self.payer).await,
            Step::Close => stage.closed(&self.payer).await,
        };
        assert_eq!(captured, spent, "{:?}", self.step);
    }
}

/// An answer that leaves the outcome open: the client is told to come back, not to pay.
#[track_caller]
fn assert_open(step: Step, reply: &Reply) {
    assert_eq!(reply.status, 503, "{step:?}: {}", reply.text);
    assert!(reply.header("retry-after").is_some(), "{step:?}: {reply:?}");
    assert!(reply.challenges().is_empty(), "{step:?}");
}

fn open(code: &str) -> Answer {
    Answer::Open(code.into())
}

/// The worker's look as if it were later: transactions that were not included by now never will be.
async fn pass_later(stage: &Stage<'_>) {
    let later = Timestamp::now().checked_add_millis(300_000).expect("a time");
    let sessions = stage.server.app.sessions.as_ref().expect("sessions are on");
    worker::check_due(&sessions.channels, later).await.expect("the database answers");
}

#[test]
fn attack_30_a_chain_that_is_gone_is_503_and_nothing_leaves() {
    run(async {
        let chain = own_chain().await;
        let stage = stage(&chain).await;
        for step in STEPS {
            let next = Next::of(&stage, step).await;
            let sent = chain.broadcasts();
            chain.faults().stop();
            eventually("the chain is gone", async || {
                let gone = client().post(chain.rpc_url()).body("{}").send().await.is_err();
                gone.then_some(())
            })
            .await;
            assert_eq!(next.attempt(&stage).await, open("service_unavailable"), "{step:?}");
            // Asking needs no chain, and what is known of a channel is good for a while.
            stage.ask().await;
            chain.faults().resume();
            assert_eq!(chain.broadcasts(), sent, "{step:?}");
            eventually("the chain is back", async || {
                (next.attempt(&stage).await == Answer::Done).then_some(())
            })
            .await;
            assert_eq!(chain.broadcasts(), sent + 1, "{step:?}");
            next.assert_done(&stage).await;
        }
        stage.server.finish(chain).await;
    });
}

#[test]
fn attack_30_a_voucher_needs_no_chain_until_what_is_known_is_old() {
    run(async {
        let chain = own_chain().await;
        let stage = stage(&chain).await;
        let payer = stage.opened(DEPOSIT, PRICE).await;
        chain.faults().set(Rule::new(Fault::Drop));
        stage.done(&payer, payer.voucher(2 * PRICE)).await;
        stage.server.db.execute("UPDATE channels SET checked_at = 0").await;
        let refused = stage.manage(&payer, payer.voucher(3 * PRICE)).await;
        assert_open(Step::Open, &refused);
        let refused = stage.reply(&payer, payer.voucher(3 * PRICE), &body(&json!({"chunks": 2}), true)).await;
        assert_open(Step::Open, &refused);
        assert_eq!((stage.standing(&payer).await.1, stage.upstream.observed().requests), (2 * PRICE, 0));
        chain.faults().clear();
        let transcript = stage.run(&payer, payer.voucher(3 * PRICE), &json!({"chunks": 2})).await;
        assert_eq!((transcript.texts.len(), transcript.cost()), (2, 2 * PRICE));
        assert_eq!(stage.close(&payer).await, 2 * PRICE);
        stage.server.finish(chain).await;
    });
}

/// The transaction is in a block, the node's answer says or shows nothing of it.
#[test]
fn attack_30_an_answer_that_is_lost_after_including_is_looked_up() {
    run(async {
        let chain = own_chain().await;
        let stage = stage(&chain).await;
        for fault in [Fault::ErrorAfterIncluding, Fault::DropAfterIncluding] {
            for step in STEPS {
                let next = Next::of(&stage, step).await;
                let sent = chain.broadcasts();
                chain.faults().set(Rule::new(fault.clone()));
                assert_eq!(next.attempt(&stage).await, Answer::Done, "{step:?} {fault:?}");
                chain.faults().clear();
                // Repeated, it is the same one.
                assert_eq!(next.attempt(&stage).await, Answer::Done, "{step:?} {fault:?}");
                assert_eq!(chain.broadcasts(), sent + 1, "{step:?} {fault:?}");
                next.assert_done(&stage).await;
            }
        }
        stage.server.finish(chain).await;
    });
}

#[test]
fn attack_30_an_outcome_that_cannot_be_looked_up_stays_open_until_it_can() {
    run(async {
        let chain = own_chain().await;
        let stage = stage(&chain).await;
        for step in STEPS {
            let next = Next::of(&stage, step).await;
            let sent = chain.broadcasts();
            assert_eq!(next.attempt_in_silence(&stage).await, open("settlement_pending"), "{step:?}");
            assert!(matches!(next.attempt(&stage).await, Answer::Open(_)), "{step:?}");
            if step == Step::Open {
                // Paid requests and vouchers of a channel that may be open are not sent away.
                let request = body(&json!({"chunks": 2}), true);
                for reply in [
                    stage.reply(&next.payer, next.payload.clone(), &request).await,
                    stage.reply(&next.payer, next.payer.voucher(SPENT), &request).await,
                    stage.manage(&next.payer, next.payer.voucher(SPENT)).await,
                ] {
                    assert_open(step, &reply);
                }
                assert_eq!(stage.upstream.observed().requests, 0);
            }
            chain.faults().clear();
            assert_eq!(next.attempt(&stage).await, Answer::Done, "{step:?}");
            assert_eq!(chain.broadcasts(), sent + 1, "{step:?}: the chain took it once");
            next.assert_done(&stage).await;
        }
        stage.server.finish(chain).await;
    });
}

/// Nobody comes back: the worker finds what became of it.
#[test]
fn attack_30_the_worker_finds_what_was_mined_while_the_chain_was_silent() {
    run(async {
        for database in db::engines().await {
            let chain = own_chain().await;
            let stage = Stage::on(database, &chain, impatient).await;
            for step in STEPS {
                let next = Next::of(&stage, step).await;
                assert_eq!(next.attempt_in_silence(&stage).await, open("settlement_pending"), "{step:?}");
                chain.faults().clear();
                stage.pass().await;
                assert_eq!(stage.channel(&next.payer).await.pending, None, "{step:?}");
                assert_eq!(next.attempt(&stage).await, Answer::Done, "{step:?}");
                next.assert_done(&stage).await;
            }
            stage.server.finish(chain).await;
        }
    });
}

/// Sent into nothing: the chain never saw it.
#[test]
fn attack_30_a_funding_transaction_that_never_arrived_is_sent_again_by_its_credential() {
    run(async {
        let chain = own_chain().await;
        let stage = stage(&chain).await;
        for step in [Step::Open, Step::TopUp] {
            let next = Next::of(&stage, step).await;
            let sent = chain.broadcasts();
            for method in ["eth_sendRawTransactionSync", "eth_sendRawTransaction"] {
                chain.faults().set(Rule::new(Fault::Drop).on(method));
            }
            assert_eq!(next.attempt(&stage).await, open("settlement_pending"), "{step:?}");
            chain.faults().clear();
            assert_eq!(chain.broadcasts(), sent, "{step:?}");
            assert_eq!(next.attempt(&stage).await, Answer::Done, "{step:?}");
            assert_eq!(chain.broadcasts(), sent + 1, "{step:?}");
            next.assert_done(&stage).await;
        }
        stage.server.finish(chain).await;
    });
}

/// The same for ours: it is given up when the chain is past the last moment at which a block could
/// include it, and then made anew.
#[test]
fn attack_30_a_settlement_that_never_arrived_is_made_again_when_it_is_dead() {
    run(async {
        let chain = own_chain().await;
        let stage = stage(&chain).await;
        let lost = [Next::of(&stage, Step::Settle).await, Next::of(&stage, Step::Close).await];
        let sent = chain.broadcasts();
        chain.faults().set(Rule::new(Fault::Drop).on("eth_sendRawTransactionSync"));
        for next in &lost {
            assert_eq!(next.attempt(&stage).await, open("settlement_pending"), "{:?}", next.step);
        }
        chain.faults().clear();
        // By our clock they are long over, the chain has not got there yet.
        pass_later(&stage).await;
        for next in &lost {
            assert_eq!(next.attempt(&stage).await, open("settlement_pending"), "{:?}", next.step);
        }
        assert_eq!(chain.broadcasts(), sent, "a second one could be included beside the first");
        let dead = async {
            for next in &lost {
                while stage.channel(&next.payer).await.pending.is_some() {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    pass_later(&stage).await;
                }
            }
        };
        tokio::time::timeout(Duration::from_mins(1), dead).await.expect("they are valid for 25 seconds");
        for next in &lost {
            assert_eq!(stage.standing(&next.payer).await.4, Phase::Open, "{:?}", next.step);
            assert_eq!(next.attempt(&stage).await, Answer::Done, "{:?}", next.step);
            next.assert_done(&stage).await;
        }
        stage.server.finish(chain).await;
    });
}

#[test]
fn attack_30_a_chain_that_is_slow_is_not_awaited_for_ever() {
    run(async {
        let chain = own_chain().await;
        let stage = stage(&chain).await;
        for step in STEPS {
            let next = Next::of(&stage, step).await;
            let sent = chain.broadcasts();
            chain.faults().set(Rule::new(Fault::Delay { ms: 2_500 }));
            let begun = Instant::now();
            assert_eq!(next.attempt(&stage).await, open("service_unavailable"), "{step:?}");
            assert!(begun.elapsed() < Duration::from_secs(6), "{step:?}: {:?}", begun.elapsed());
            assert_eq!(chain.broadcasts(), sent, "{step:?}");
            chain.faults().clear();
            assert_eq!(next.attempt(&stage).await, Answer::Done, "{step:?}");
            assert_eq!(chain.broadcasts(), sent + 1, "{step:?}");
            next.assert_done(&stage).await;
        }
        stage.server.finish(chain).await;
    });
}

/// The node calls what succeeded a failure. The events of the transaction say otherwise, so it is
/// not believed: a payer told "it failed" would fund another channel.
#[test]
fn attack_30_a_success_that_is_called_a_failure_is_not_given_up() {
    run(async {
        let chain = own_chain().await;
        let stage = stage(&chain).await;
        for step in STEPS {
            let next = Next::of(&stage, step).await;
            let sent = chain.broadcasts();
            chain.faults().set(Rule::new(Fault::LyingReceipt));
            for _ in 0..2 {
                assert_eq!(next.attempt(&stage).await, open("settlement_pending"), "{step:?}");
            }
            stage.pass().await;
            pass_later(&stage).await;
            chain.faults().clear();
            assert_eq!(next.attempt(&stage).await, Answer::Done, "{step:?}");
            assert_eq!(chain.broadcasts(), sent + 1, "{step:?}");
            next.assert_done(&stage).await;
        }
        stage.server.finish(chain).await;
    });
}

#[test]
fn attack_30_a_failure_that_is_called_a_success_adds_nothing() {
    run(async {
        let chain = own_chain().await;
        let stage = stage(&chain).await;
        let payer = stage.opened(DEPOSIT, PRICE).await;
        let before = stage.standing(&payer).await;
        // More than the wallet holds: it fails in a block.
        let too_much = 100 * crate::harness::FUNDS;
        let failing = payer.top_up_transaction(too_much);
        assert_eq!(send_raw(&chain, &failing).await["status"], "0x0");
        chain.faults().set(Rule::new(Fault::LyingReceipt));
        let reply = stage.manage(&payer, payer.top_up_with(too_much, &failing)).await;
        assert!([402, 503].contains(&reply.status), "{}", reply.text);
        assert_eq!(stage.standing(&payer).await, before);
        chain.faults().clear();
        stage.manage(&payer, payer.top_up_with(too_much, &failing)).await.assert(402, "verification_failed");
        assert_eq!((stage.standing(&payer).await, stage.close(&payer).await), (before, 0));
        stage.server.finish(chain).await;
    });
}

/// A node that has not seen the block yet.
#[test]
fn attack_30_a_chain_that_is_behind_is_waited_for() {
    run(async {
        let chain = own_chain().await;
        let stage = stage(&chain).await;
        for step in STEPS {
            let next = Next::of(&stage, step).await;
            let request = json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": [] });
            let newest = client().post(chain.anvil_url()).json(&request).send().await.expect("an answer");
            let newest: Value = newest.json().await.expect("JSON");
            let newest: alloy::primitives::U64 = newest["result"].as_str().unwrap().parse().unwrap();
            chain.faults().set(Rule::new(Fault::DropAfterIncluding));
            chain.faults().set(Rule::new(Fault::Behind { block: newest.to() }));
            for _ in 0..2 {
                assert_eq!(next.attempt(&stage).await, open("settlement_pending"), "{step:?}");
            }
            stage.pass().await;
            // However late it is: what the node has not seen is not dead.
            pass_later(&stage).await;
            let phase = stage.standing(&next.payer).await.4;
            assert_eq!(phase, if step == Step::Open { Phase::Opening } else { Phase::Open }, "{step:?}");
            chain.faults().clear();
            assert_eq!(next.attempt(&stage).await, Answer::Done, "{step:?}");
            next.assert_done(&stage).await;
        }
        // What needs no chain went on meanwhile.
        assert_eq!(reply(stage.server.get("/healthz")).await.status, 200);
        stage.server.finish(chain).await;
    });
}
