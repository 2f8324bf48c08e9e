//! kill -9 while purchases come in.

use std::time::Duration;

use farebox::config::PATH_USD;

use crate::db;
use crate::harness::{run, shared_chain};
use crate::process::{Setup, until};
use crate::shop::{Market, PACKS, key, place};
use sqlx::Row as _;

const ROUNDS: u64 = 12;

#[test]
fn attack_30_a_server_that_is_killed_at_any_moment_credits_each_purchase_once() {
    run(async {
        for database in db::engines().await {
            let chain = shared_chain().await;
            let setup = Setup::new(chain, &database.url);
            let market = Market { chain, contract: place(chain, PATH_USD, setup.recipient).await };
            let setup = setup
                .with("FAREBOX_KEY_SALE_ADDRESS", format!("{:#x}", market.contract))
                .with("FAREBOX_KEY_SALE_CONFIRMATIONS", "0")
                // Many small steps, so that there is much to be killed in.
                .with("FAREBOX_KEY_SALE_BLOCKS_PER_QUERY", "1");
            let buyer = market.buyer().await;
            let owner = buyer.address();
            let mut paid = 0;
            for round in 0..ROUNDS {
                let amount = i64::try_from(round).expect("small") + 1;
                let mut calls = vec![market.approve(3 * amount)];
                calls.extend((0..3).map(|_| market.top_up(owner, amount)));
                market.purchase(&buyer, calls).await;
                paid += 3 * amount;
                let server = setup.serve().await;
                // From the first moment to well after the first look at the chain.
                tokio::time::sleep(Duration::from_millis(13 * round)).await;
                server.kill().await;
                // Whoever was killed has no lease to wait for any more.
                database.execute("UPDATE leases SET until = 0").await;
            }
            market.purchase(&buyer, vec![market.approve(PACKS[0]), market.buy(key(1), owner)]).await;
            let server = setup.serve().await;
            let count = async |sql: &'static str| -> i64 {
                let row = sqlx::query(sql).fetch_one(&database.db.pool).await.expect("the database answers");
                row.try_get(0).expect("a number")
            };
            let credits = i64::try_from(3 * ROUNDS + 1).expect("small");
            until("all is credited", async || count("SELECT count(*) FROM credits").await >= credits).await;
            until("all is read", async || count("SELECT proven_seen FROM chain_cursors").await >= credits)
                .await;
            assert_eq!(count("SELECT count(*) FROM credits").await, credits);
            assert_eq!(count("SELECT credited FROM accounts").await, paid + PACKS[0]);
            assert_eq!(count("SELECT count(*) FROM api_keys").await, 1);
            server.kill().await;
            setup.audit().await;
        }
    });
}
