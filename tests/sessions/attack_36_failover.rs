//! Class 36: the database moves to another server while channels are charged and vouchers taken.

use farebox_test_support::db;
use farebox_test_support::failover::{ServerPair, Switchover};
use farebox_test_support::harness::{eventually, run, shared_chain};
use farebox_test_support::payer::Payer;
use farebox_test_support::sse::{Frame, Stream, text};
use serde_json::{Value, json};

use crate::fixture::{DEPOSIT, Fixture, PRICE, amount};

const CHUNKS: u64 = 250;

/// Reads a stream to its end and pays what it asks for. A voucher that the server could not take is sent again.
async fn read_and_pay(fixture: &Fixture<'_>, payer: &Payer, stream: &mut Stream) -> (u64, Value) {
    let (mut chunks, mut receipt) = (0, Value::Null);
    while let Some(frame) = stream.next().await {
        match frame {
            Frame::Chunk(chunk) => chunks += u64::from(text(&chunk).is_some()),
            Frame::NeedVoucher(ask) => {
                let voucher = payer.voucher(amount(&ask["requiredCumulative"]));
                eventually("the voucher is taken", async || {
                    let answer = fixture.manage(payer, voucher.clone()).await;
                    assert!([204, 503].contains(&answer.status), "{}", answer.text);
                    (answer.status == 204).then_some(())
                })
                .await;
            }
            Frame::Receipt(last) => receipt = last,
            Frame::Done | Frame::Comment => {}
            wrong => panic!("{wrong:?}"),
        }
    }
    (chunks, receipt)
}

#[test]
fn attack_36_a_planned_switchover_cuts_no_channels_stream() {
    run(switched_over(Switchover::Planned));
}

#[test]
fn attack_36_a_crash_of_the_database_cuts_no_channels_stream() {
    run(switched_over(Switchover::Crash));
}

async fn switched_over(how: Switchover) {
    let Some(pair) = ServerPair::start().await else { return };
    let fixture = Fixture::on(db::at(&pair.url).await, shared_chain().await, |_| {}).await;
    let mut payers = Vec::new();
    for _ in 0..4 {
        payers.push(fixture.opened(DEPOSIT, PRICE).await);
    }
    let script = json!({"chunks": CHUNKS, "intervalMs": 15});
    let streams = payers.iter().map(async |payer| {
        let mut stream = fixture.stream(payer, payer.voucher(PRICE), &script).await;
        read_and_pay(&fixture, payer, &mut stream).await
    });
    let streaming = futures_util::future::join_all(streams);
    let switching = async {
        eventually("all are streaming", async || (fixture.upstream.observed().requests >= 4).then_some(()))
            .await;
        pair.switch(how).await
    };
    let (ends, pair) = tokio::join!(streaming, switching);
    for (payer, (chunks, receipt)) in payers.iter().zip(ends) {
        assert_eq!((chunks, &receipt["units"]), (CHUNKS, &json!(CHUNKS)));
        assert_eq!(fixture.close(payer).await, CHUNKS * PRICE);
    }
    assert_eq!(fixture.open_holds().await, 0);
    fixture.assert_audit().await;
    fixture.finish().await;
    drop(pair);
}
