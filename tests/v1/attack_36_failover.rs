//! Class 36: the database moves to another server while answers are streamed.

use farebox_test_support::db;
use farebox_test_support::failover::{ServerPair, Switchover};
use farebox_test_support::harness::{eventually, run};
use serde_json::json;

use crate::fixture::{Fixture, PRICE};

const STREAMS: usize = 12;
const CHUNKS: i64 = 300;

/// No stream is cut, nobody pays for what has not left, and nothing is left open.
#[test]
fn attack_36_a_planned_switchover_cuts_no_stream_and_overcharges_nobody() {
    run(switched_over(Switchover::Planned));
}

#[test]
fn attack_36_a_crash_of_the_database_cuts_no_stream_and_overcharges_nobody() {
    run(switched_over(Switchover::Crash));
}

/// A hold that was opened is there after a crash that follows at once: its stream is charged, and ends as usual.
#[test]
fn attack_36_a_crash_right_after_a_hold_was_opened_does_not_lose_it() {
    run(async {
        let Some(pair) = ServerPair::start().await else { return };
        let fixture = Fixture::on(db::at(&pair.url).await, |_| {}).await;
        let customer = fixture.customer(100 * PRICE).await;
        let (script, unlimited) = (json!({"chunks": 3, "firstMs": 1_000}), json!({}));
        let (transcript, pair) = tokio::join!(fixture.run(&customer, &script, &unlimited), async {
            eventually("the upstream is asked", async || {
                (fixture.upstream.observed().requests > 0).then_some(())
            })
            .await;
            pair.switch(Switchover::Crash).await
        });
        assert_eq!((transcript.texts, transcript.done), (3, true), "{transcript:?}");
        assert_eq!(fixture.available(&customer).await, 97 * PRICE);
        fixture.assert_audit().await;
        fixture.finish().await;
        drop(pair);
    });
}

async fn switched_over(how: Switchover) {
    let Some(pair) = ServerPair::start().await else { return };
    let fixture = Fixture::on(db::at(&pair.url).await, |_| {}).await;
    let credit = CHUNKS * PRICE * 2;
    let mut customers = Vec::new();
    for _ in 0..STREAMS {
        customers.push(fixture.customer(credit).await);
    }
    let script = json!({"chunks": CHUNKS, "intervalMs": 15});
    let (unlimited, whole) = (json!({}), json!({"chunks": 20, "intervalMs": 100}));
    let streams = customers.iter().map(|customer| fixture.run(customer, &script, &unlimited));
    let streaming = futures_util::future::join_all(streams);
    let switching = async {
        eventually("all are streaming", async || {
            (fixture.upstream.observed().requests >= STREAMS as u64).then_some(())
        })
        .await;
        pair.switch(how).await
    };
    let other = fixture.customer(credit).await;
    let answering = fixture.complete(&other, &whole, &unlimited);
    let (transcripts, pair, answer) = tokio::join!(streaming, switching, answering);
    for transcript in &transcripts {
        assert_eq!((i64::try_from(transcript.texts), transcript.done), (Ok(CHUNKS), true), "{transcript:?}");
        assert!(transcript.errors.is_empty(), "{transcript:?}");
    }
    assert_eq!(answer.status, 200, "{}", answer.text);
    for customer in &customers {
        assert_eq!(fixture.available(customer).await, credit - CHUNKS * PRICE);
        let entries = fixture.entries(customer).await;
        assert_eq!(entries.len(), 1);
        assert_eq!((entries[0].service.as_str(), &entries[0].meta["end"]), ("scripted", &json!("complete")));
    }
    assert_eq!(fixture.available(&other).await, credit - 20 * PRICE);
    assert_eq!(fixture.server.count("SELECT count(*) FROM holds WHERE state = 'open'").await, 0);
    fixture.assert_audit().await;
    // It goes on as if nothing had happened.
    let next = fixture.run(&other, &json!({"chunks": 3}), &unlimited).await;
    assert_eq!(next.texts, 3);
    fixture.finish().await;
    drop(pair);
}
