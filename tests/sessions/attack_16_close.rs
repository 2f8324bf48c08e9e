//! Row 16: what a close takes, and everything that can happen around it.

use farebox::devnet::{Fault, Rule};
use farebox::funding::channel::Phase;
use farebox::id::Timestamp;
use farebox_test_support::db;
use farebox_test_support::harness::{eventually, own_chain, run, shared_chain};
use serde_json::json;

use crate::fixture::{DEPOSIT, Fixture, PRICE, amount, concurrently, on_every_engine};

#[test]
fn attack_16_zero_spend_close_returns_the_whole_deposit() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.opened(DEPOSIT, 5 * PRICE).await;
        let receipt = fixture.done(&payer, payer.close(5 * PRICE)).await;
        assert_eq!(receipt["txHash"].as_str().expect("a hash").len(), 66);
        assert_eq!(
            (amount(&receipt["spent"]), fixture.closed(&payer).await, fixture.earned().await),
            (0, 0, 0)
        );
    }));
}

#[test]
fn attack_16_capture_is_what_was_spent_whatever_the_voucher_allows() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.payer(DEPOSIT).await;
        fixture.run(&payer, payer.open(40 * PRICE), &json!({"chunks": 12})).await;
        let receipt = fixture.done(&payer, payer.close(DEPOSIT)).await;
        assert_eq!(amount(&receipt["acceptedCumulative"]), DEPOSIT);
        assert_eq!((fixture.closed(&payer).await, fixture.earned().await), (12 * PRICE, 12 * PRICE));
    }));
}

#[test]
fn attack_16_a_close_below_what_was_spent_is_asked_again() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.payer(DEPOSIT).await;
        fixture.run(&payer, payer.open(40 * PRICE), &json!({"chunks": 12})).await;
        let challenge = fixture.manage(&payer, payer.close(12 * PRICE - 1)).await.challenge();
        let snapshot = &challenge.request["methodDetails"]["sessionSnapshot"];
        assert_eq!(amount(&snapshot["spent"]), 12 * PRICE);
        assert_eq!(fixture.channel(&payer).await.phase, Phase::Open);
        fixture.done(&payer, payer.close(12 * PRICE)).await;
        assert_eq!(fixture.closed(&payer).await, 12 * PRICE);
    }));
}

#[test]
fn attack_16_closing_twice_and_at_once_is_one_close() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.payer(DEPOSIT).await;
        fixture.run(&payer, payer.open(40 * PRICE), &json!({"chunks": 12})).await;
        let accepted = amount(&json!(fixture.channel_amounts(&payer).await.1.to_string()));
        let replies = concurrently((0..8).map(|_| fixture.manage(&payer, payer.close(accepted)))).await;
        assert!(replies.iter().any(|reply| reply.status == 204));
        for reply in &replies {
            assert!([204, 503].contains(&reply.status), "{} {}", reply.status, reply.text);
        }
        let first = fixture.done(&payer, payer.close(accepted)).await;
        let second = fixture.done(&payer, payer.close(accepted)).await;
        assert_eq!(first["txHash"], second["txHash"]);
        assert_eq!((fixture.closed(&payer).await, fixture.earned().await), (12 * PRICE, 12 * PRICE));
    }));
}

#[test]
fn attack_16_a_close_ends_the_stream_and_takes_what_it_delivered() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.payer(DEPOSIT).await;
        let script = json!({"endless": true, "intervalMs": 2});
        let mut stream = fixture.stream(&payer, payer.open(500 * PRICE), &script).await;
        for _ in 0..20 {
            stream.text().await.expect("it runs");
        }
        fixture.done(&payer, payer.close(500 * PRICE)).await;
        let transcript = fixture.read_and_pay(&payer, &mut stream).await;
        assert_eq!(transcript.errors[0]["error"]["code"], "superseded");
        let delivered = (20 + transcript.texts.len()) as u64 * PRICE;
        let captured = fixture.closed(&payer).await;
        assert_eq!((fixture.earned().await, amount(&transcript.receipt["spent"])), (captured, captured));
        assert!(delivered <= captured && captured <= delivered + 8 * PRICE, "{delivered} {captured}");
    }));
}

/// A request that comes while a close is on its way out must not be served for nothing.
#[test]
fn attack_16_a_request_that_races_a_close_is_not_free() {
    run(async {
        let mut engines = vec![db::sqlite().await];
        engines.extend(db::postgres().await);
        for database in engines {
            let chain = own_chain().await;
            let fixture = Fixture::on(database, &chain, |_| {}).await;
            let payer = fixture.opened(DEPOSIT, 50 * PRICE).await;
            chain.faults().set(Rule::new(Fault::Delay { ms: 1500 }).on("eth_gasPrice").times(1));
            let closing = fixture.manage(&payer, payer.authorized_close(DEPOSIT));
            let streaming = async {
                eventually("the close is on its way", async || {
                    chain.faults().active().is_empty().then_some(())
                })
                .await;
                let reply = fixture
                    .reply(
                        &payer,
                        payer.voucher(50 * PRICE),
                        &crate::fixture::body(&json!({"chunks": 30}), true),
                    )
                    .await;
                reply.status
            };
            let (closed, status) = tokio::join!(closing, streaming);
            fixture.idle().await;
            // A close has precedence: what was being served ends, and its chunks are captured.
            assert_eq!((closed.status, status), (204, 200), "{}", closed.text);
            let captured = fixture.closed(&payer).await;
            assert_eq!(fixture.earned().await, captured, "delivered and not collected");
            fixture.server.finish(chain).await;
        }
    });
}

#[test]
fn attack_16_a_settle_signature_is_no_close() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.opened(DEPOSIT, 12 * PRICE).await;
        let body = crate::fixture::body(&json!({"chunks": 12}), true);
        assert_eq!(fixture.reply(&payer, payer.voucher(12 * PRICE), &body).await.status, 200);
        fixture.idle().await;
        let channel = fixture.channel(&payer).await;
        let sessions = fixture.server.app.sessions.as_ref().expect("sessions are on");
        sessions.channels.settle(&channel, Timestamp::now()).await.expect("it settles");
        assert_eq!(fixture.earned().await, 12 * PRICE);
        fixture.manage(&payer, payer.close(12 * PRICE)).await.assert(402, "verification_failed");
        assert_eq!(fixture.channel(&payer).await.phase, Phase::Open);
        fixture.done(&payer, payer.authorized_close(12 * PRICE)).await;
        assert_eq!((fixture.closed(&payer).await, fixture.earned().await), (12 * PRICE, 12 * PRICE));
    }));
}

/// Clients close with the last voucher that they signed, also after an answer that used all of it up. So the worker's
/// settlements never make it public.
#[test]
fn attack_16_a_close_with_the_last_voucher_works_after_the_worker_has_settled() {
    run(async {
        for database in db::engines().await {
            let fixture = Fixture::on(database, shared_chain().await, |config| {
                config.sessions.settle_above = farebox::money::Money::from_micros(1);
            })
            .await;
            for vouchers in [&[12][..], &[5, 12]] {
                let payer = fixture.payer(DEPOSIT).await;
                let before = fixture.earned().await;
                fixture.done(&payer, payer.open(vouchers[0] * PRICE)).await;
                for units in vouchers {
                    let chunks = units - fixture.channel_amounts(&payer).await.2 / PRICE;
                    // What it asks for on the way is not paid.
                    let body = crate::fixture::body(&json!({"chunks": chunks}), true);
                    let answer = fixture.reply(&payer, payer.voucher(units * PRICE), &body).await;
                    assert_eq!(answer.status, 200, "{}", answer.text);
                    fixture.idle().await;
                }
                fixture.run_worker().await;
                let settled = if vouchers.len() > 1 { vouchers[0] * PRICE } else { 0 };
                assert_eq!(fixture.earned().await, before + settled, "{vouchers:?}");
                fixture.done(&payer, payer.close(12 * PRICE)).await;
                assert_eq!(fixture.closed(&payer).await, 12 * PRICE);
            }
            fixture.finish().await;
        }
    });
}

#[test]
fn attack_16_a_close_that_reverts_is_not_final() {
    run(async {
        let chain = own_chain().await;
        // Enough gas to be included, not enough to close.
        let fixture = Fixture::on(db::sqlite().await, &chain, |config| config.sessions.gas = 60_000).await;
        let payer = fixture.payer(DEPOSIT).await;
        fixture.run(&payer, payer.open(40 * PRICE), &json!({"chunks": 12})).await;
        let accepted = fixture.channel_amounts(&payer).await.1;
        let reply = fixture.manage(&payer, payer.close(accepted)).await;
        assert!(reply.status >= 400, "{}", reply.status);
        let channel = fixture.channel(&payer).await;
        assert_eq!(
            (channel.phase, fixture.earned().await),
            (Phase::Open, 0),
            "pending {:?}",
            channel.pending.is_some()
        );
        let fixture = fixture.restart(|config| config.sessions.gas = 1_500_000).await;
        if channel.pending.is_none() {
            fixture.done(&payer, payer.close(accepted)).await;
            assert_eq!((fixture.closed(&payer).await, fixture.earned().await), (12 * PRICE, 12 * PRICE));
        }
        assert!(channel.pending.is_none(), "refused, not reverted: this test needs more gas");
        fixture.server.finish(chain).await;
    });
}

/// Found by the model: it was answered 204, and the channel stayed open.
#[test]
fn attack_16_a_close_that_was_never_included_is_sent_again() {
    run(async {
        let chain = own_chain().await;
        let fixture =
            Fixture::on(db::sqlite().await, &chain, |config| config.chain.confirm_timeout_ms = 500).await;
        let payer = fixture.payer(DEPOSIT).await;
        fixture.run(&payer, payer.open(40 * PRICE), &json!({"chunks": 12})).await;
        let accepted = fixture.channel_amounts(&payer).await.1;
        chain.faults().set(Rule::new(Fault::Drop).on("eth_sendRawTransactionSync").times(1));
        fixture.manage(&payer, payer.close(accepted)).await.assert(503, "settlement_pending");
        // As if it had been so long that no block can include it any more.
        fixture.server.db.execute("UPDATE channels SET pending_until = pending_until - 90000").await;
        fixture.done(&payer, payer.close(accepted)).await;
        assert_eq!((fixture.closed(&payer).await, fixture.earned().await), (12 * PRICE, 12 * PRICE));
        fixture.server.finish(chain).await;
    });
}
