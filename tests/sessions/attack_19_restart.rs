//! Row 19: what is known of channels does not live in memory.

use serde_json::json;

use crate::db;
use crate::harness::{run, shared_chain};
use crate::stage::{DEPOSIT, PRICE, Stage};

#[test]
fn attack_19_a_restart_keeps_channels_vouchers_and_charges_on_every_engine() {
    run(async {
        for database in db::engines().await {
            let stage = Stage::on(database, shared_chain().await, |_| {}).await;
            let payer = stage.payer(DEPOSIT).await;
            let transcript = stage.run(&payer, payer.open(PRICE), &json!({"chunks": 30})).await;
            assert_eq!((transcript.texts.len(), transcript.cost(), transcript.done), (30, 30 * PRICE, true));
            let before = stage.standing(&payer).await;

            let stage = stage.restart(|_| {}).await;
            assert_eq!(stage.standing(&payer).await, before);
            // The same challenge, the same channel, the next voucher.
            let transcript =
                stage.run(&payer, payer.voucher(before.1 + PRICE), &json!({"chunks": 200})).await;
            assert_eq!(
                (transcript.texts.len(), transcript.cost(), transcript.errors.len()),
                (200, 200 * PRICE, 0)
            );
            assert_eq!(stage.close(&payer).await, 230 * PRICE);
            assert_eq!(stage.earned().await, 230 * PRICE);

            let stage = stage.restart(|_| {}).await;
            let gone = stage.manage(&payer, payer.voucher(before.1 + 2 * PRICE)).await;
            gone.assert(410, "channel_finalized");
            stage.finish().await;
        }
    });
}
