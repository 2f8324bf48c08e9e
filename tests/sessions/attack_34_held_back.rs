//! Class 34: settlements and closes whose payment the payee's own policy keeps from it (TIP-1028).

use farebox::devnet::{Fault, Rule};
use farebox::funding::channel::Phase;
use farebox::id::Timestamp;
use farebox_test_support::db;
use farebox_test_support::harness::{own_chain, run};
use serde_json::json;

use crate::fixture::{DEPOSIT, Fixture, PRICE};

/// The channel has paid, so it goes on and ends as it would; the operator is told that the money is at the guard.
#[test]
fn attack_34_a_settlement_that_is_held_back_ends_and_is_told_of() {
    run(async {
        let chain = own_chain().await;
        for database in db::engines().await {
            let fixture = Fixture::on(database, &chain, |_| {}).await;
            let (payer, other) = (fixture.payer(DEPOSIT).await, fixture.payer(DEPOSIT).await);
            fixture.run(&payer, payer.open(12 * PRICE), &json!({"chunks": 12})).await;
            fixture.run(&other, other.open(40 * PRICE), &json!({"chunks": 12})).await;
            let before = held_back(&fixture).await;
            chain.faults().set(Rule::new(Fault::ReceivePolicy { account: fixture.server.recipient() }));
            let sessions = fixture.server.app.sessions.as_ref().expect("sessions");
            let channel = fixture.channel(&payer).await;
            sessions.channels.settle(&channel, Timestamp::now()).await.expect("it is mined");
            assert_eq!(held_back(&fixture).await, before + 1);
            assert_eq!(fixture.channel(&payer).await.phase, Phase::Open);
            fixture.done(&other, other.close(DEPOSIT)).await;
            assert_eq!(fixture.channel(&other).await.phase, Phase::Closed);
            assert_eq!(held_back(&fixture).await, before + 2);
            chain.faults().clear();
            fixture.assert_audit().await;
            let mut server = fixture.server;
            server.stop().await;
        }
        chain.stop().await;
    });
}

async fn held_back(fixture: &Fixture<'_>) -> u64 {
    let metrics = fixture.server.metrics().await;
    let line =
        metrics.lines().find_map(|line| line.strip_prefix("farebox_channel_settlements_held_back_total "));
    line.map_or(0, |count| count.parse().expect("a number"))
}
