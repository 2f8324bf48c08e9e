//! kill -9 while purchases come in.

use std::time::Duration;

use farebox::config::PATH_USD;
use farebox_test_support::db;
use farebox_test_support::harness::{run, shared_chain};
use farebox_test_support::process::{Setup, wait_until};

use crate::fixture::{PACKS, SaleContract, deploy, key};
use sqlx::Row as _;

const ROUNDS: u64 = 12;

#[test]
fn attack_30_a_server_that_is_killed_at_any_moment_credits_each_purchase_once() {
    run(async {
        for database in db::engines().await {
            let chain = shared_chain().await;
            let setup = Setup::new(crate::FAREBOX, chain, &database.url);
            let sale_contract =
                SaleContract { chain, contract: deploy(chain, PATH_USD, setup.recipient).await };
            let setup = setup
                .with("FAREBOX_KEY_SALE_ADDRESS", format!("{:#x}", sale_contract.contract))
                .with("FAREBOX_KEY_SALE_CONFIRMATIONS", "0")
                // Many small steps, so that there is much to be killed in.
                .with("FAREBOX_KEY_SALE_BLOCKS_PER_QUERY", "1");
            let buyer = sale_contract.buyer().await;
            let owner = buyer.address();
            let mut paid = 0;
            for round in 0..ROUNDS {
                let amount = i64::try_from(round).expect("small") + 1;
                let mut calls = vec![sale_contract.approve(3 * amount)];
                calls.extend((0..3).map(|_| sale_contract.top_up(owner, amount)));
                sale_contract.purchase(&buyer, calls).await;
                paid += 3 * amount;
                let server = setup.serve().await;
                // From the first moment to well after the first look at the chain.
                tokio::time::sleep(Duration::from_millis(13 * round)).await;
                server.kill().await;
                // Whoever was killed has no lease to wait for any more.
                database.execute("UPDATE leases SET until = 0").await;
            }
            sale_contract
                .purchase(&buyer, vec![sale_contract.approve(PACKS[0]), sale_contract.buy(key(1))])
                .await;
            let server = setup.serve().await;
            let count = async |sql: &'static str| -> i64 {
                let row = sqlx::query(sql).fetch_one(&database.db.pool).await.expect("the database answers");
                row.try_get(0).expect("a number")
            };
            let credits = i64::try_from(3 * ROUNDS + 1).expect("small");
            wait_until("all is credited", async || count("SELECT count(*) FROM credits").await >= credits)
                .await;
            wait_until("all is read", async || {
                count("SELECT proven_seen FROM chain_cursors").await >= credits
            })
            .await;
            assert_eq!(count("SELECT count(*) FROM credits").await, credits);
            assert_eq!(count("SELECT credited FROM accounts").await, paid + PACKS[0]);
            assert_eq!(count("SELECT count(*) FROM api_keys").await, 1);
            server.kill().await;
            setup.audit().await;
        }
    });
}
