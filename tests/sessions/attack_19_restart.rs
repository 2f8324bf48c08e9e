//! Row 19: what is known of channels does not live in memory.

use farebox_test_support::db;
use farebox_test_support::harness::{run, shared_chain};
use serde_json::json;

use crate::fixture::{DEPOSIT, Fixture, PRICE};

#[test]
fn attack_19_a_restart_keeps_channels_vouchers_and_charges_on_every_engine() {
    run(async {
        for database in db::engines().await {
            let fixture = Fixture::on(database, shared_chain().await, |_| {}).await;
            let payer = fixture.payer(DEPOSIT).await;
            let transcript = fixture.run(&payer, payer.open(PRICE), &json!({"chunks": 30})).await;
            assert_eq!((transcript.texts.len(), transcript.cost(), transcript.done), (30, 30 * PRICE, true));
            let before = fixture.channel_amounts(&payer).await;

            let fixture = fixture.restart(|_| {}).await;
            assert_eq!(fixture.channel_amounts(&payer).await, before);
            // The same challenge, the same channel, the next voucher.
            let transcript =
                fixture.run(&payer, payer.voucher(before.1 + PRICE), &json!({"chunks": 200})).await;
            assert_eq!(
                (transcript.texts.len(), transcript.cost(), transcript.errors.len()),
                (200, 200 * PRICE, 0)
            );
            assert_eq!(fixture.close(&payer).await, 230 * PRICE);
            assert_eq!(fixture.earned().await, 230 * PRICE);

            let fixture = fixture.restart(|_| {}).await;
            let gone = fixture.manage(&payer, payer.voucher(before.1 + 2 * PRICE)).await;
            gone.assert(410, "channel_finalized");
            fixture.finish().await;
        }
    });
}
