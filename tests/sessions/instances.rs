//! Several instances on one PostgreSQL: a channel is the same channel on all of them.

use std::sync::{Arc, Mutex};

use farebox::db::notify;
use farebox_test_support::db;
use farebox_test_support::harness::{Server, eventually, reply, run, shared_chain};
use farebox_test_support::sse::{Frame, text};
use serde_json::json;
use sqlx::Row as _;
use tokio::sync::mpsc;

use crate::fixture::{CHAT, DEPOSIT, Fixture, PRICE, amount, body};

#[test]
fn a_voucher_that_one_instance_gets_wakes_the_stream_on_another() {
    run(async {
        let Some(database) = db::postgres().await else { return };
        let fixture = Fixture::on(database, shared_chain().await, |_| {}).await;
        let mut other = fixture.second_instance().await;
        let payer = fixture.opened(DEPOSIT, PRICE).await;
        let mut stream = fixture.stream(&payer, payer.voucher(PRICE), &json!({"chunks": 200})).await;
        let (mut texts, mut asks, mut cost) = (0, 0, 0);
        while let Some(frame) = stream.next().await {
            match frame {
                Frame::Chunk(chunk) => texts += u64::from(text(&chunk).is_some()),
                Frame::NeedVoucher(ask) => {
                    asks += 1;
                    let voucher = payer.voucher(amount(&ask["requiredCumulative"]));
                    let request = other.request(reqwest::Method::HEAD, CHAT);
                    let taken = reply(request.header("authorization", payer.authorization(voucher))).await;
                    assert_eq!(taken.status, 204);
                }
                Frame::Receipt(receipt) => cost = receipt["units"].as_u64().expect("units"),
                Frame::Done | Frame::Comment => {}
                wrong => panic!("{wrong:?}"),
            }
        }
        assert_eq!((texts, cost), (200, 200));
        assert!(asks > 1, "{asks}");
        assert_eq!(fixture.close(&payer).await, 200 * PRICE);
        other.stop().await;
        fixture.finish().await;
    });
}

/// "A newer stream ends the older" whichever instance it comes to.
#[test]
fn a_newer_request_on_another_instance_ends_the_older_stream() {
    run(async {
        let Some(database) = db::postgres().await else { return };
        let fixture = Fixture::on(database, shared_chain().await, |_| {}).await;
        let mut other = fixture.second_instance().await;
        let payer = fixture.payer(DEPOSIT).await;
        let script = json!({"endless": true, "intervalMs": 3});
        let mut old = fixture.stream(&payer, payer.open(700 * PRICE), &script).await;
        old.text().await.expect("it runs");
        let request = other.post(CHAT, &body(&json!({"chunks": 5}), true));
        let new =
            reply(request.header("authorization", payer.authorization(payer.voucher(700 * PRICE)))).await;
        assert_eq!(new.status, 200);
        let transcript = fixture.read_and_pay(&payer, &mut old).await;
        assert_eq!(transcript.errors[0]["error"]["code"], "superseded");
        fixture.idle().await;
        fixture.close(&payer).await;
        other.stop().await;
        fixture.finish().await;
    });
}

/// A rolling upgrade: who stops leaves the settling to who stays, without a lease to wait for.
#[test]
fn an_instance_that_stops_hands_the_workers_lease_over() {
    run(async {
        let Some(database) = db::postgres().await else { return };
        let mut fixture = Fixture::on(database, shared_chain().await, |_| {}).await;
        let holder = async |server: &Server| -> Option<String> {
            let row = sqlx::query("SELECT owner FROM leases WHERE name = 'channels'")
                .fetch_optional(&server.db.db.pool)
                .await
                .expect("the database answers");
            row.map(|row| row.try_get("owner").expect("text"))
        };
        let first = eventually("the first works", async || holder(&fixture.server).await).await;
        let mut other = fixture.second_instance().await;
        fixture.server.stop().await;
        eventually("the other works", async || {
            holder(&other).await.filter(|owner| *owner != first).map(drop)
        })
        .await;
        other.stop().await;
    });
}

#[test]
fn word_reaches_the_other_instances_and_not_the_sender() {
    run(async {
        let Some(database) = db::postgres().await else { return };
        let mut instances = Vec::new();
        for _ in 0..3 {
            let (outgoing, words) = mpsc::channel(8);
            let transcript = Arc::new(Mutex::new(Vec::<String>::new()));
            let (db, url, ear) =
                (database.connect_again().await, database.url.clone(), Arc::clone(&transcript));
            tokio::spawn(async move {
                notify::relay(&db, &url, "a_topic", words, |word: &str| {
                    ear.lock().expect("not poisoned").push(word.to_owned());
                })
                .await;
            });
            instances.push((outgoing, transcript));
        }
        // Nobody knows when all have begun to listen, so the first word is sent until it is received.
        eventually("all others hear it", async || {
            instances[0].0.send("one".to_owned()).await.expect("it runs");
            let received = |index: usize| !instances[index].1.lock().expect("not poisoned").is_empty();
            (received(1) && received(2)).then_some(())
        })
        .await;
        instances[1].0.send("two".to_owned()).await.expect("it runs");
        instances[1].0.send("three".to_owned()).await.expect("it runs");
        eventually("the first hears them in order", async || {
            (*instances[0].1.lock().expect("not poisoned") == ["two", "three"]).then_some(())
        })
        .await;
        let own = instances[1].1.lock().expect("not poisoned");
        assert!(own.iter().all(|word| word == "one"), "{own:?}");
    });
}
