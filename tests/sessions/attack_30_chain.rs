//! Row 30, the chain: gone, slow, behind or lying at each transaction about a channel. What became
//! of a transaction is either known or asked for: never a second payment, and the same credential
//! works once the chain answers again.

use std::time::{Duration, Instant};

use farebox::config::Config;
use farebox::devnet::{Devnet, Fault, Rule};
use farebox::funding::channel::{ChannelError, Phase, worker};
use farebox::id::Timestamp;
use farebox_test_support::db;
use farebox_test_support::harness::{
    self, Reply, client, eventually, newest_block, own_chain, reply, run, send_raw,
};
use farebox_test_support::payer::Payer;
use serde_json::{Value, json};

use crate::fixture::{DEPOSIT, Fixture, PRICE, body};

const SPENT: u64 = 12 * PRICE;
const TOP_UP: u64 = 500;

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
struct NextStep {
    step: Step,
    payer: Payer,
    payload: Value,
}

/// State of a step: done, or of unknown outcome.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Done,
    /// With the code of the 503.
    Open(String),
}

fn with_short_timeouts(config: &mut Config) {
    config.chain.request_timeout_ms = 1_000;
    config.chain.confirm_timeout_ms = 1_500;
}

async fn fixture(chain: &Devnet) -> Fixture<'_> {
    Fixture::on(db::sqlite().await, chain, with_short_timeouts).await
}

impl NextStep {
    async fn of(fixture: &Fixture<'_>, step: Step) -> Self {
        if step == Step::Open {
            let payer = fixture.payer(DEPOSIT).await;
            let payload = payer.open(SPENT);
            return Self { step, payer, payload };
        }
        let payer = fixture.opened(DEPOSIT, SPENT).await;
        let spend = fixture.reply(&payer, payer.voucher(SPENT), &body(&json!({"chunks": 12}), true)).await;
        assert_eq!(spend.status, 200, "{}", spend.text);
        fixture.idle().await;
        let payload = match step {
            Step::Open | Step::TopUp => payer.top_up(TOP_UP),
            Step::Settle | Step::Close => payer.close(SPENT),
        };
        Self { step, payer, payload }
    }

    /// Asks for it; nothing but success and an open outcome is an answer.
    async fn attempt(&self, fixture: &Fixture<'_>) -> Answer {
        if self.step == Step::Settle {
            // Nobody asks for a settlement: the worker does it.
            let sessions = fixture.server.app.sessions.as_ref().expect("sessions are on");
            let channel = fixture.channel(&self.payer).await;
            if channel.pending.is_some() {
                fixture.run_worker().await;
                let pending = fixture.channel(&self.payer).await.pending.is_some();
                return if pending { Answer::Open("settlement_pending".into()) } else { Answer::Done };
            }
            return match sessions.channels.settle(&channel, Timestamp::now()).await {
                Ok(()) => Answer::Done,
                Err(ChannelError::Pending) => Answer::Open("settlement_pending".into()),
                Err(ChannelError::Unavailable(_)) => Answer::Open("service_unavailable".into()),
                Err(error) => panic!("{error}"),
            };
        }
        let reply = fixture.manage(&self.payer, self.payload.clone()).await;
        if reply.status == 204 {
            return Answer::Done;
        }
        assert_open(self.step, &reply);
        Answer::Open(reply.code())
    }

    /// Sends the step; its transaction is included, and from then on the chain has no answers about it.
    async fn attempt_without_receipts(&self, fixture: &Fixture<'_>) -> Answer {
        let (faults, sent) = (fixture.chain.faults(), fixture.chain.broadcasts());
        faults.set(Rule::new(Fault::ErrorAfterIncluding));
        // The server asks this first: time to fall silent.
        faults.set(Rule::new(Fault::Delay { ms: 400 }).on("eth_getTransactionByHash"));
        let silence = async {
            eventually("it is sent", async || (fixture.chain.broadcasts() > sent).then_some(())).await;
            faults.set(Rule::new(Fault::Drop).on("eth_getTransactionReceipt"));
        };
        tokio::join!(self.attempt(fixture), silence).0
    }

    /// It was done, once, on the chain and in the ledger; then the channel closes and pays what was
    /// charged.
    async fn assert_done(&self, fixture: &Fixture<'_>) {
        let (deposit, _, spent, settled, phase) = fixture.channel_amounts(&self.payer).await;
        let expected = match self.step {
            Step::Open => (DEPOSIT, 0, 0, Phase::Open),
            Step::TopUp => (DEPOSIT + TOP_UP, SPENT, 0, Phase::Open),
            Step::Settle => (DEPOSIT, SPENT, SPENT, Phase::Open),
            Step::Close => (DEPOSIT, SPENT, SPENT, Phase::Closed),
        };
        assert_eq!((deposit, spent, settled, phase), expected, "{:?}", self.step);
        let captured = match self.step {
            Step::Open | Step::TopUp | Step::Settle => fixture.close(&self.payer).await,
            Step::Close => fixture.closed(&self.payer).await,
        };
        assert_eq!(captured, spent, "{:?}", self.step);
    }
}

/// An answer that leaves the outcome open: the client has to come back, not to pay.
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
async fn run_worker_later(fixture: &Fixture<'_>) {
    let later = Timestamp::now().checked_add_millis(300_000).expect("a time");
    let sessions = fixture.server.app.sessions.as_ref().expect("sessions are on");
    worker::Rounds::default().check_due(&sessions.channels, later).await.expect("the database answers");
}

#[test]
fn attack_30_a_chain_that_is_gone_is_503_and_nothing_leaves() {
    run(async {
        let chain = own_chain().await;
        let fixture = fixture(&chain).await;
        for step in STEPS {
            let next = NextStep::of(&fixture, step).await;
            let sent = chain.broadcasts();
            chain.faults().stop();
            eventually("the chain is gone", async || {
                let gone = client().post(chain.rpc_url()).body("{}").send().await.is_err();
                gone.then_some(())
            })
            .await;
            assert_eq!(next.attempt(&fixture).await, open("service_unavailable"), "{step:?}");
            // Asking needs no chain, and what is known of a channel is good for a while.
            fixture.challenge().await;
            chain.faults().resume();
            assert_eq!(chain.broadcasts(), sent, "{step:?}");
            eventually("the chain is back", async || {
                (next.attempt(&fixture).await == Answer::Done).then_some(())
            })
            .await;
            assert_eq!(chain.broadcasts(), sent + 1, "{step:?}");
            next.assert_done(&fixture).await;
        }
        fixture.server.finish(chain).await;
    });
}

#[test]
fn attack_30_a_voucher_needs_no_chain_until_what_is_known_is_old() {
    run(async {
        let chain = own_chain().await;
        let fixture = fixture(&chain).await;
        let payer = fixture.opened(DEPOSIT, PRICE).await;
        chain.faults().set(Rule::new(Fault::Drop));
        fixture.done(&payer, payer.voucher(2 * PRICE)).await;
        fixture.server.db.execute("UPDATE channels SET checked_at = 0").await;
        let refused = fixture.manage(&payer, payer.voucher(3 * PRICE)).await;
        assert_open(Step::Open, &refused);
        let refused =
            fixture.reply(&payer, payer.voucher(3 * PRICE), &body(&json!({"chunks": 2}), true)).await;
        assert_open(Step::Open, &refused);
        assert_eq!(
            (fixture.channel_amounts(&payer).await.1, fixture.upstream.observed().requests),
            (2 * PRICE, 0)
        );
        chain.faults().clear();
        let transcript = fixture.run(&payer, payer.voucher(3 * PRICE), &json!({"chunks": 2})).await;
        assert_eq!((transcript.texts.len(), transcript.cost()), (2, 2 * PRICE));
        assert_eq!(fixture.close(&payer).await, 2 * PRICE);
        fixture.server.finish(chain).await;
    });
}

/// The transaction is in a block, and the node's answer has nothing of it.
#[test]
fn attack_30_an_answer_that_is_lost_after_including_is_looked_up() {
    run(async {
        let chain = own_chain().await;
        let fixture = fixture(&chain).await;
        for fault in [Fault::ErrorAfterIncluding, Fault::DropAfterIncluding] {
            for step in STEPS {
                let next = NextStep::of(&fixture, step).await;
                let sent = chain.broadcasts();
                chain.faults().set(Rule::new(fault.clone()));
                assert_eq!(next.attempt(&fixture).await, Answer::Done, "{step:?} {fault:?}");
                chain.faults().clear();
                // Repeated, it is the same one.
                assert_eq!(next.attempt(&fixture).await, Answer::Done, "{step:?} {fault:?}");
                assert_eq!(chain.broadcasts(), sent + 1, "{step:?} {fault:?}");
                next.assert_done(&fixture).await;
            }
        }
        fixture.server.finish(chain).await;
    });
}

#[test]
fn attack_30_an_outcome_that_cannot_be_looked_up_stays_open_until_it_can() {
    run(async {
        let chain = own_chain().await;
        let fixture = fixture(&chain).await;
        for step in STEPS {
            let next = NextStep::of(&fixture, step).await;
            let sent = chain.broadcasts();
            assert_eq!(next.attempt_without_receipts(&fixture).await, open("settlement_pending"), "{step:?}");
            assert!(matches!(next.attempt(&fixture).await, Answer::Open(_)), "{step:?}");
            if step == Step::Open {
                // Paid requests and vouchers of a channel that may be open are not sent away.
                let request = body(&json!({"chunks": 2}), true);
                for reply in [
                    fixture.reply(&next.payer, next.payload.clone(), &request).await,
                    fixture.reply(&next.payer, next.payer.voucher(SPENT), &request).await,
                    fixture.manage(&next.payer, next.payer.voucher(SPENT)).await,
                ] {
                    assert_open(step, &reply);
                }
                assert_eq!(fixture.upstream.observed().requests, 0);
            }
            chain.faults().clear();
            assert_eq!(next.attempt(&fixture).await, Answer::Done, "{step:?}");
            assert_eq!(chain.broadcasts(), sent + 1, "{step:?}: the chain took it once");
            next.assert_done(&fixture).await;
        }
        fixture.server.finish(chain).await;
    });
}

/// Nobody comes back: the worker finds what became of it.
#[test]
fn attack_30_the_worker_finds_what_was_mined_while_the_chain_was_silent() {
    run(async {
        for database in db::engines().await {
            let chain = own_chain().await;
            let fixture = Fixture::on(database, &chain, with_short_timeouts).await;
            for step in STEPS {
                let next = NextStep::of(&fixture, step).await;
                assert_eq!(
                    next.attempt_without_receipts(&fixture).await,
                    open("settlement_pending"),
                    "{step:?}"
                );
                chain.faults().clear();
                fixture.run_worker().await;
                assert_eq!(fixture.channel(&next.payer).await.pending, None, "{step:?}");
                assert_eq!(next.attempt(&fixture).await, Answer::Done, "{step:?}");
                next.assert_done(&fixture).await;
            }
            fixture.server.finish(chain).await;
        }
    });
}

/// Sent into nothing: the chain never saw it.
#[test]
fn attack_30_a_funding_transaction_that_never_arrived_is_sent_again_by_its_credential() {
    run(async {
        let chain = own_chain().await;
        let fixture = fixture(&chain).await;
        for step in [Step::Open, Step::TopUp] {
            let next = NextStep::of(&fixture, step).await;
            let sent = chain.broadcasts();
            for method in ["eth_sendRawTransactionSync", "eth_sendRawTransaction"] {
                chain.faults().set(Rule::new(Fault::Drop).on(method));
            }
            assert_eq!(next.attempt(&fixture).await, open("settlement_pending"), "{step:?}");
            chain.faults().clear();
            assert_eq!(chain.broadcasts(), sent, "{step:?}");
            assert_eq!(next.attempt(&fixture).await, Answer::Done, "{step:?}");
            assert_eq!(chain.broadcasts(), sent + 1, "{step:?}");
            next.assert_done(&fixture).await;
        }
        fixture.server.finish(chain).await;
    });
}

/// A transaction of our own is given up when the chain is past the last moment at which a block could
/// include it, and then made anew.
#[test]
fn attack_30_a_settlement_that_never_arrived_is_made_again_when_it_is_dead() {
    run(async {
        let chain = own_chain().await;
        let fixture = fixture(&chain).await;
        let lost = [NextStep::of(&fixture, Step::Settle).await, NextStep::of(&fixture, Step::Close).await];
        let sent = chain.broadcasts();
        chain.faults().set(Rule::new(Fault::Drop).on("eth_sendRawTransactionSync"));
        for next in &lost {
            assert_eq!(next.attempt(&fixture).await, open("settlement_pending"), "{:?}", next.step);
        }
        chain.faults().clear();
        // By our clock they are long over, the chain has not got there yet.
        run_worker_later(&fixture).await;
        for next in &lost {
            assert_eq!(next.attempt(&fixture).await, open("settlement_pending"), "{:?}", next.step);
        }
        assert_eq!(chain.broadcasts(), sent, "a second one could be included beside the first");
        let dead = async {
            for next in &lost {
                while fixture.channel(&next.payer).await.pending.is_some() {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    run_worker_later(&fixture).await;
                }
            }
        };
        tokio::time::timeout(Duration::from_mins(1), dead).await.expect("they are valid for 25 seconds");
        for next in &lost {
            assert_eq!(fixture.channel_amounts(&next.payer).await.4, Phase::Open, "{:?}", next.step);
            assert_eq!(next.attempt(&fixture).await, Answer::Done, "{:?}", next.step);
            next.assert_done(&fixture).await;
        }
        fixture.server.finish(chain).await;
    });
}

#[test]
fn attack_30_a_chain_that_is_slow_is_not_awaited_for_ever() {
    run(async {
        let chain = own_chain().await;
        let fixture = fixture(&chain).await;
        for step in STEPS {
            let next = NextStep::of(&fixture, step).await;
            let sent = chain.broadcasts();
            chain.faults().set(Rule::new(Fault::Delay { ms: 2_500 }));
            let begun = Instant::now();
            assert_eq!(next.attempt(&fixture).await, open("service_unavailable"), "{step:?}");
            assert!(begun.elapsed() < Duration::from_secs(6), "{step:?}: {:?}", begun.elapsed());
            assert_eq!(chain.broadcasts(), sent, "{step:?}");
            chain.faults().clear();
            assert_eq!(next.attempt(&fixture).await, Answer::Done, "{step:?}");
            assert_eq!(chain.broadcasts(), sent + 1, "{step:?}");
            next.assert_done(&fixture).await;
        }
        fixture.server.finish(chain).await;
    });
}

/// The node calls what succeeded a failure. The events of the transaction say otherwise, so it is
/// not believed: a payer told "it failed" would fund another channel.
#[test]
fn attack_30_a_success_that_is_called_a_failure_is_not_given_up() {
    run(async {
        let chain = own_chain().await;
        let fixture = fixture(&chain).await;
        for step in STEPS {
            let next = NextStep::of(&fixture, step).await;
            let sent = chain.broadcasts();
            chain.faults().set(Rule::new(Fault::LyingReceipt));
            for _ in 0..2 {
                assert_eq!(next.attempt(&fixture).await, open("settlement_pending"), "{step:?}");
            }
            fixture.run_worker().await;
            run_worker_later(&fixture).await;
            chain.faults().clear();
            assert_eq!(next.attempt(&fixture).await, Answer::Done, "{step:?}");
            assert_eq!(chain.broadcasts(), sent + 1, "{step:?}");
            next.assert_done(&fixture).await;
        }
        fixture.server.finish(chain).await;
    });
}

#[test]
fn attack_30_a_failure_that_is_called_a_success_adds_nothing() {
    run(async {
        let chain = own_chain().await;
        let fixture = fixture(&chain).await;
        let payer = fixture.opened(DEPOSIT, PRICE).await;
        let before = fixture.channel_amounts(&payer).await;
        // More than the wallet holds: it fails in a block.
        let too_much = 100 * harness::FUNDS;
        let failing = payer.top_up_transaction(too_much);
        assert_eq!(send_raw(&chain, &failing).await["status"], "0x0");
        chain.faults().set(Rule::new(Fault::LyingReceipt));
        let reply = fixture.manage(&payer, payer.top_up_with(too_much, &failing)).await;
        assert!([402, 503].contains(&reply.status), "{}", reply.text);
        assert_eq!(fixture.channel_amounts(&payer).await, before);
        chain.faults().clear();
        fixture
            .manage(&payer, payer.top_up_with(too_much, &failing))
            .await
            .assert(402, "verification_failed");
        assert_eq!((fixture.channel_amounts(&payer).await, fixture.close(&payer).await), (before, 0));
        fixture.server.finish(chain).await;
    });
}

/// A node that has not seen the block yet.
#[test]
fn attack_30_a_chain_that_is_behind_is_waited_for() {
    run(async {
        let chain = own_chain().await;
        let fixture = fixture(&chain).await;
        for step in STEPS {
            let next = NextStep::of(&fixture, step).await;
            let newest = newest_block(&chain).await;
            chain.faults().set(Rule::new(Fault::DropAfterIncluding));
            chain.faults().set(Rule::new(Fault::Behind { block: newest }));
            for _ in 0..2 {
                assert_eq!(next.attempt(&fixture).await, open("settlement_pending"), "{step:?}");
            }
            fixture.run_worker().await;
            // However late it is: what the node has not seen is not dead.
            run_worker_later(&fixture).await;
            let phase = fixture.channel_amounts(&next.payer).await.4;
            assert_eq!(phase, if step == Step::Open { Phase::Opening } else { Phase::Open }, "{step:?}");
            chain.faults().clear();
            assert_eq!(next.attempt(&fixture).await, Answer::Done, "{step:?}");
            next.assert_done(&fixture).await;
        }
        // What needs no chain went on meanwhile.
        assert_eq!(reply(fixture.server.get("/healthz")).await.status, 200);
        fixture.server.finish(chain).await;
    });
}
