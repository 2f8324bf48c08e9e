//! Debts for disputed card payments: they are repaid from the wallet's next credit.

use farebox::id::{AccountId, RequestKey, Timestamp};
use farebox::ledger::HoldOutcome;
use farebox_test_support::agent::Agent;
use farebox_test_support::debt::{add_debt, balance_and_debt, dispute, pay, use_up};
use farebox_test_support::harness::{self, Server, run, shared_chain};
use serde_json::json;

use crate::management::{BALANCE, account, dollars, done, give, on_every_engine, post, proof};
use crate::purchase::{BUY_CREDITS, BUY_KEYS, agent_with_funds, buy, paying, starter_pack};

async fn assert_balance_and_debt(server: &Server, account: &AccountId, available: i64, debt: i64) {
    let expected = (dollars(available).micros(), dollars(debt).micros());
    assert_eq!(balance_and_debt(&server.app, account).await, expected);
}

#[test]
fn credits_and_keys_that_are_bought_meet_what_their_buyer_owes() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let agent = agent_with_funds(shared_chain().await).await;
            let owner = &account(&agent);
            add_debt(&server.app, owner, dollars(12)).await;
            let credential = paying(server, &agent, BUY_CREDITS, &starter_pack()).await;
            buy(server, BUY_CREDITS, &starter_pack(), &credential).await.assert_paid();
            assert_balance_and_debt(server, owner, 0, 2).await;
            let shown = done(&post(server, BALANCE, &proof(&agent, "balance", "")).await);
            assert_eq!((&shown["debt"], &shown["available"]), (&json!("2.00"), &json!("0.00")));
            let credential = paying(server, &agent, BUY_KEYS, &starter_pack()).await;
            let bought = buy(server, BUY_KEYS, &starter_pack(), &credential).await;
            assert!(bought.assert_paid().json()["key"].is_string());
            assert_balance_and_debt(server, owner, 8, 0).await;
            // The same answer again meets nothing again.
            buy(server, BUY_KEYS, &starter_pack(), &credential).await.assert_paid();
            assert_balance_and_debt(server, owner, 8, 0).await;
        },
    ));
}

/// The price of one answer is paid for that answer, whatever its payer owes.
#[test]
fn an_answer_that_is_paid_for_is_delivered_to_who_owes() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let agent = agent_with_funds(shared_chain().await).await;
            add_debt(&server.app, &account(&agent), dollars(1)).await;
            let text = json!({ "text": "Mail jane@example.com" });
            let credential = paying(server, &agent, harness::PREVIEW, &text).await;
            buy(server, harness::PREVIEW, &text, &credential).await.assert_paid();
            assert_balance_and_debt(server, &account(&agent), 0, 1).await;
        },
    ));
}

#[test]
fn what_a_closed_hold_frees_repays_debts_too() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let agent = Agent::random();
            let (owner, now) = (&account(&agent), Timestamp::now());
            give(server, &agent, dollars(5)).await;
            let (ledger, later) = (&server.app.ledger, now.checked_add_millis(600_000).expect("near"));
            let held = ledger.hold(owner, &RequestKey::new(now), dollars(5), now, later).await;
            let Ok(HoldOutcome::Opened(hold)) = held else { panic!("{held:?}") };
            add_debt(&server.app, owner, dollars(8)).await;
            assert_balance_and_debt(server, owner, 0, 8).await;
            server.app.cards.collect_debts(now).await.expect("the database answers");
            assert_balance_and_debt(server, owner, 0, 8).await;
            let details = farebox::ledger::EntryDetails {
                kind: farebox::ledger::EntryKind::Usage,
                request_id: None,
                service: "model".to_owned(),
                units: 0,
                unit_price: dollars(0),
                meta: json!({}),
            };
            ledger.close(&hold, &details, now).await.expect("it closes");
            server.app.cards.collect_debts(now).await.expect("the database answers");
            assert_balance_and_debt(server, owner, 0, 3).await;
            let metrics = server.metrics().await;
            assert!(metrics.contains("farebox_card_debts_open_micros"), "{metrics}");
        },
    ));
}

/// In any order every dollar is taken once, and there is no deadlock.
#[test]
fn disputes_payments_and_collections_that_race_take_everything_once() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let (app, owner) = (&server.app, &account(&Agent::random()));
            let mut payments = Vec::new();
            for _ in 0..4 {
                payments.push(pay(app, owner, dollars(10)).await);
            }
            use_up(app, owner, dollars(40)).await;
            let disputes = payments.iter().map(|payment| async {
                dispute(app, payment, dollars(10)).await;
            });
            let fresh = (0..4).map(|_| async {
                pay(app, owner, dollars(10)).await;
            });
            let collections = (0..4).map(|_| async {
                app.cards.collect_debts(Timestamp::now()).await.expect("the database answers");
            });
            let (disputes, fresh, collections) = (
                futures_util::future::join_all(disputes),
                futures_util::future::join_all(fresh),
                futures_util::future::join_all(collections),
            );
            tokio::join!(disputes, fresh, collections);
            app.cards.collect_debts(Timestamp::now()).await.expect("the database answers");
            assert_balance_and_debt(server, owner, 0, 0).await;
        },
    ));
}
