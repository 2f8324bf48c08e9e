//! Several contracts side by side: the first version can never be closed, the second one can.

use alloy::sol_types::SolCall as _;
use farebox::config::PATH_USD;
use farebox_test_support::agent::{Agent, call};
use farebox_test_support::db;
use farebox_test_support::harness::{self, eventually, reply, run, shared_chain};
use serde_json::json;
use sqlx::Row as _;

use crate::fixture::{Fixture, PACKS, SaleContract, deploy, deploy_v1, key};

alloy::sol! {
    function close() external;
}

/// Who buys on both in one batch has bought twice.
#[test]
fn a_batch_that_buys_from_two_contracts_is_credited_for_both() {
    run(async {
        for database in db::engines().await {
            let chain = shared_chain().await;
            let [payee, earlier] = [(); 2].map(|()| Agent::random().address());
            let first = SaleContract { chain, contract: deploy_v1(chain, PATH_USD, earlier).await };
            let second = SaleContract { chain, contract: deploy(chain, PATH_USD, payee).await };
            let mut fixture = Fixture::following(database, second, payee, |config| {
                config.key_sale.addresses.push(first.contract);
                config.key_sale.other_payees = vec![earlier];
            })
            .await;
            let shown = reply(fixture.server.get("/mpp/keys")).await.json();
            assert_eq!(shown["contract"]["address"], json!(format!("{:#x}", second.contract)));
            let buyer = fixture.buyer().await;
            let owner = buyer.address();
            let calls = vec![
                first.approve(5 + PACKS[0]),
                second.approve(5 + PACKS[0]),
                first.top_up(owner, 5),
                second.top_up(owner, 5),
                first.buy_v1(key(1), owner),
                second.buy(key(1)),
            ];
            fixture.purchase(&buyer, calls).await;
            fixture.await_credit(owner, 10 + 2 * PACKS[0]).await;
            assert_eq!((fixture.credits().await, fixture.keys().await), (4, 2));
            let rows =
                sqlx::query("SELECT name FROM chain_cursors").fetch_all(&fixture.server.db.db.pool).await;
            let names: Vec<String> =
                rows.expect("rows").iter().map(|row| row.try_get("name").expect("text")).collect();
            assert_eq!(names.len(), 2, "{names:?}");
            // Read again from the first block, nothing is credited again.
            fixture.forget().await;
            fixture.await_all().await;
            eventually("both are read again", async || {
                let seen = "SELECT CAST(sum(seen) AS BIGINT) FROM chain_cursors WHERE proven_seen = seen";
                (fixture.server.count(seen).await == 4).then_some(())
            })
            .await;
            assert_eq!(fixture.credited(owner).await, 10 + 2 * PACKS[0]);
            fixture.server.stop().await;
        }
    });
}

/// The event of its end is no purchase; it is passed, and what was bought before it is credited.
#[test]
fn a_closed_contract_is_read_to_its_end() {
    run(async {
        let chain = shared_chain().await;
        let payee = harness::funded(chain).await;
        let contract = deploy(chain, PATH_USD, payee.address()).await;
        let sale = SaleContract { chain, contract };
        let (buyer, _) = sale.topped_up(5).await;
        sale.purchase(&payee, vec![call(contract, closeCall {}.abi_encode())]).await;
        let refused = vec![sale.approve(6), sale.top_up(buyer.address(), 6)];
        assert_eq!(sale.send(&buyer, refused).await["status"], "0x0");
        let mut fixture = Fixture::following(db::sqlite().await, sale, payee.address(), |_| {}).await;
        fixture.await_credit(buyer.address(), 5).await;
        eventually("it is read and left", async || {
            (fixture.server.count("SELECT count(*) FROM leases WHERE name LIKE 'key_sale:%'").await == 0)
                .then_some(())
        })
        .await;
        let cursor = fixture.cursor().await;
        assert_eq!((cursor.seen, cursor.proven_seen), (1, 1));
        fixture.server.stop().await;
    });
}
