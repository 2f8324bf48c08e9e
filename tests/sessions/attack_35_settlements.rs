//! Row 35: settlements and closes that come to nothing cost neither fees nor other channels.

use farebox::config::Secret;
use farebox::devnet::{Devnet, Fault, Rule};
use farebox::funding::channel::Phase;
use farebox::id::Timestamp;
use farebox_test_support::db;
use farebox_test_support::harness::{own_chain, run, send_raw};
use farebox_test_support::payer::Payer;
use serde_json::json;

use crate::fixture::{DEPOSIT, Fixture, PRICE, body};

fn secret(chain: &Devnet, account: usize) -> Secret {
    Secret::from(hex::encode(chain.accounts()[account].to_bytes()))
}

/// Twelve chunks are served on a channel, and then the operator's key is changed: all that the new one signs reverts.
async fn with_another_operator(fixture: Fixture<'_>) -> (Fixture<'_>, Payer) {
    fixture.disable_own_worker().await;
    let payer = fixture.payer(DEPOSIT).await;
    fixture.run(&payer, payer.open(12 * PRICE), &json!({"chunks": 12})).await;
    let other = secret(fixture.chain, 4);
    (fixture.restart(|config| config.sessions.operator_key = Some(other)).await, payer)
}

/// Lets the worker come by at these seconds of a clock that shows `from`; returns those at which it tried.
async fn tried(fixture: &Fixture<'_>, payer: &Payer, from: i64, looks: &[i64]) -> Vec<i64> {
    let (mut tried, mut clock) = (Vec::new(), from);
    for look in looks {
        let passed = 1000 * (look - std::mem::replace(&mut clock, *look));
        let pass = format!(
            "UPDATE channels SET checked_at = checked_at - {passed}, \
             settlement_tried_at = settlement_tried_at - {passed}"
        );
        fixture.server.db.execute(&pass).await;
        let before = fixture.channel(payer).await.tries.count;
        fixture.check_due(Timestamp::now()).await;
        let after = fixture.channel(payer).await.tries.count;
        // One that comes to something begins the count anew.
        assert!([0, before, before + 1].contains(&after), "{before} tries, then {after}, after {look} s");
        if after != before {
            tried.push(*look);
        }
    }
    tried
}

/// After the operator's key was changed, every settlement of the channels that name the old one reverts. Each try cost a
/// network fee, every ten seconds.
#[test]
fn attack_35_a_settlement_that_would_revert_is_not_sent() {
    run(async {
        let chain = own_chain().await;
        for database in db::engines().await {
            let (fixture, payer) = with_another_operator(Fixture::on(database, &chain, |_| {}).await).await;
            let sent = chain.broadcasts();
            let sessions = fixture.server.app.sessions.as_ref().expect("sessions");
            for _ in 0..3 {
                let channel = fixture.channel(&payer).await;
                let refused = sessions.channels.settle(&channel, Timestamp::now()).await;
                assert!(refused.is_err_and(|error| error.to_string().contains("would fail on the chain")));
            }
            assert_eq!(chain.broadcasts(), sent);
            assert_eq!(fixture.channel(&payer).await.pending, None);
            // With the key that the channel names at hand it is settled and closed as ever.
            let old = secret(&chain, 3);
            let fixture = fixture.restart(|config| config.sessions.previous_operator_key = Some(old)).await;
            let sessions = fixture.server.app.sessions.as_ref().expect("sessions");
            let channel = fixture.channel(&payer).await;
            sessions.channels.settle(&channel, Timestamp::now()).await.expect("it settles");
            fixture.done(&payer, payer.authorized_close(fixture.channel_amounts(&payer).await.1)).await;
            assert_eq!(fixture.closed(&payer).await, 12 * PRICE);
            let mut server = fixture.server;
            server.stop().await;
        }
        chain.stop().await;
    });
}

/// The pauses between the worker's tries grow to an hour, outlive restarts, and are a minute at the most while a payer
/// that asked for a close cannot withdraw yet. What was the reason is mended, and the next try settles.
#[test]
fn attack_35_a_close_that_would_revert_is_tried_ever_more_seldom() {
    run(async {
        let chain = own_chain().await;
        for database in db::engines().await {
            let (fixture, payer) = with_another_operator(Fixture::on(database, &chain, |_| {}).await).await;
            fixture.server.db.execute("UPDATE channels SET active_at = 0").await;
            let sent = chain.broadcasts();
            let looks: Vec<i64> = (1..=65).map(|look| look * 10).collect();
            assert_eq!(tried(&fixture, &payer, 0, &looks).await, [10, 20, 40, 80, 160, 320, 640]);
            let fixture = fixture.restart(|_| {}).await;
            let looks = [660, 1_270, 1_280, 2_550, 2_560, 5_110, 5_120, 8_710, 8_720, 12_310, 12_320];
            let times = tried(&fixture, &payer, 650, &looks).await;
            assert_eq!(times, [1_280, 2_560, 5_120, 8_720, 12_320]);
            assert_eq!(chain.broadcasts(), sent, "nothing was sent");

            let asked = Timestamp::now().seconds();
            fixture.server.db.execute(&format!("UPDATE channels SET close_requested_at = {asked}")).await;
            let looks = [12_340, 12_370, 12_380, 12_430, 12_440];
            assert_eq!(tried(&fixture, &payer, 12_320, &looks).await, [12_380, 12_440]);
            let old = secret(&chain, 3);
            let fixture = fixture.restart(|config| config.sessions.previous_operator_key = Some(old)).await;
            fixture.server.db.execute("UPDATE channels SET settlement_tried_at = 0").await;
            fixture.run_worker().await;
            assert_eq!(fixture.closed(&payer).await, 12 * PRICE);
            fixture.finish().await;
        }
        chain.stop().await;
    });
}

/// A node whose simulations succeed and whose blocks revert: each transaction has its fee.
#[test]
fn attack_35_settlements_that_revert_in_their_blocks_become_seldom() {
    run(async {
        let chain = own_chain().await;
        for database in db::engines().await {
            let (fixture, payer) = with_another_operator(Fixture::on(database, &chain, |_| {}).await).await;
            send_raw(&chain, &payer.request_close()).await;
            chain.faults().set(Rule::new(Fault::LyingSimulation));
            let sent = chain.broadcasts();
            let looks: Vec<i64> = (1..=30).map(|look| look * 10).collect();
            let times = tried(&fixture, &payer, 0, &looks).await;
            assert_eq!(times, [10, 20, 40, 80, 140, 200, 260]);
            assert_eq!(chain.broadcasts(), sent + 7);
            let channel = fixture.channel(&payer).await;
            assert_eq!((channel.phase, channel.pending, fixture.earned().await), (Phase::Open, None, 0));
            chain.faults().clear();
            // A payer's own request does not wait, nor makes the worker wait.
            let refused = fixture.manage(&payer, payer.authorized_close(12 * PRICE)).await;
            refused.assert(402, "verification_failed");
            assert_eq!(fixture.channel(&payer).await.tries, channel.tries);
            let old = secret(&chain, 3);
            let fixture = fixture.restart(|config| config.sessions.previous_operator_key = Some(old)).await;
            assert_eq!(tried(&fixture, &payer, 300, &[310, 320]).await, [320]);
            assert_eq!(fixture.closed(&payer).await, 12 * PRICE);
            fixture.finish().await;
        }
        chain.stop().await;
    });
}

/// A settlement that comes to something begins the count anew.
#[test]
fn attack_35_a_settlement_that_works_ends_the_pauses() {
    run(async {
        let chain = own_chain().await;
        let fixture = Fixture::on(db::sqlite().await, &chain, |config| {
            config.sessions.settle_after_seconds = 0;
        })
        .await;
        let payer = fixture.opened(DEPOSIT, 5 * PRICE).await;
        for (voucher, chunks) in [(5, 5), (12, 7)] {
            // What it asks for on the way is not paid.
            let body = body(&json!({"chunks": chunks}), true);
            assert_eq!(fixture.reply(&payer, payer.voucher(voucher * PRICE), &body).await.status, 200);
            fixture.idle().await;
        }
        fixture.server.db.execute("UPDATE channels SET settlement_tries = 3").await;
        fixture.run_worker().await;
        let channel = fixture.channel(&payer).await;
        assert_eq!((channel.tries.count, fixture.earned().await), (0, 5 * PRICE));
        fixture.close(&payer).await;
        fixture.server.finish(chain).await;
    });
}
