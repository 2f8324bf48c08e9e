//! Nodes that are gone, behind, wrong or lying: nothing is credited that was not sold, and what was
//! sold is credited in the end, once.

use farebox::chain::ChainError;
use farebox::devnet::{Fault, Rule, TOKENS};
use farebox::funding::key_sale::{ReadOutcome, SaleError};
use farebox_test_support::agent::Agent;
use farebox_test_support::db;
use farebox_test_support::harness::{self, Server, eventually, own_chain, reply, run, shared_chain};

use crate::fixture::{Fixture, SaleContract, deploy};

/// Runs a test on SQLite and a chain of its own.
async fn on_own_chain(test: impl AsyncFn(&mut Fixture<'_>)) {
    let chain = own_chain().await;
    let mut fixture = Fixture::on(db::sqlite().await, &chain, |_| {}).await;
    // It has begun: what follows befalls a server at work.
    eventually("begun", async || fixture.sales().cursor().await.ok().flatten()).await;
    test(&mut fixture).await;
    fixture.finish().await;
    chain.stop().await;
}

/// While `fault` is there, something is bought and not credited; without it, it is.
async fn buy_during(fixture: &Fixture<'_>, rule: Rule, amount: i64, meanwhile: impl AsyncFn(&Agent, u64)) {
    fixture.chain.faults().set(rule);
    let (buyer, block) = fixture.topped_up(amount).await;
    meanwhile(&buyer, block).await;
    assert_eq!(fixture.credited(buyer.address()).await, 0, "credited on a doubtful word");
    assert!(fixture.cursor().await.next_block <= block, "passed over");
    fixture.chain.faults().clear();
    fixture.await_credit(buyer.address(), amount).await;
    eventually("no warning any more", async || fixture.sales().warning().is_none().then_some(())).await;
}

#[test]
fn attack_30_a_node_that_leaves_out_logs_does_not_make_a_purchase_be_passed_over() {
    run(on_own_chain(async |fixture| {
        // As behind an address that balances over nodes: one that lags behind answers for logs only.
        let rule = Rule::new(Fault::Behind { block: 0 }).on("eth_getLogs");
        buy_during(fixture, rule, 5, async |_, _| {
            for _ in 0..3 {
                let passed = fixture.pass().await;
                assert!(
                    matches!(passed, Err(SaleError::Incomplete { counted: 1, seen: 0, .. })),
                    "{passed:?}"
                );
            }
            let warned =
                async || fixture.sales().warning().filter(|text| text.contains("counted 1 purchases"));
            eventually("the operator is told", warned).await;
        })
        .await;
        // With purchases behind it already.
        let rule = Rule::new(Fault::Behind { block: 0 }).on("eth_getLogs");
        buy_during(fixture, rule, 6, async |_, _| {
            let passed = fixture.pass().await;
            assert!(matches!(passed, Err(SaleError::Incomplete { counted: 2, seen: 1, .. })), "{passed:?}");
        })
        .await;
    }));
}

#[test]
fn attack_30_a_node_that_is_behind_is_waited_for() {
    run(on_own_chain(async |fixture| {
        let rule = Rule::new(Fault::Behind { block: fixture.height().await });
        buy_during(fixture, rule, 5, async |_, block| {
            assert_eq!(fixture.pass().await.expect("it answers"), ReadOutcome::UpToDate);
            // The chain goes on meanwhile.
            eventually("later blocks", async || {
                let newest = harness::newest_block(fixture.chain).await;
                (newest > block).then_some(())
            })
            .await;
            assert_eq!(fixture.pass().await.expect("it answers"), ReadOutcome::UpToDate);
        })
        .await;
    }));
}

#[test]
fn attack_30_a_receipt_that_says_failure_is_not_credited() {
    run(on_own_chain(async |fixture| {
        buy_during(fixture, Rule::new(Fault::LyingReceipt), 6, async |_, _| {
            let passed = fixture.pass().await;
            assert!(matches!(passed, Err(SaleError::Chain(ChainError::InvalidAnswer { .. }))), "{passed:?}");
        })
        .await;
    }));
}

/// What a receipt holds is credited as soon as it is read; the log that none holds is not, and is not passed over.
#[test]
fn attack_30_logs_that_no_receipt_holds_are_not_believed() {
    run(on_own_chain(async |fixture| {
        fixture.chain.faults().set(Rule::new(Fault::LyingLogs));
        let (buyer, block) = fixture.topped_up(5).await;
        fixture.await_credit(buyer.address(), 5).await;
        for _ in 0..3 {
            let passed = fixture.pass().await;
            assert!(matches!(passed, Err(SaleError::Chain(ChainError::InvalidAnswer { .. }))), "{passed:?}");
        }
        assert_eq!((fixture.credits().await, fixture.cursor().await.next_block), (1, block));
        fixture.chain.faults().clear();
        fixture.await_all().await;
        assert_eq!((fixture.credits().await, fixture.credited(buyer.address()).await), (1, 5));
    }));
}

#[test]
fn attack_30_another_chain_sells_nothing_here() {
    run(on_own_chain(async |fixture| {
        buy_during(fixture, Rule::new(Fault::WrongChainId { chain_id: 1 }), 5, async |_, _| {
            let passed = fixture.pass().await;
            assert!(
                matches!(passed, Err(SaleError::Chain(ChainError::WrongChain { actual: 1, .. }))),
                "{passed:?}"
            );
            let warned = async || fixture.sales().warning().filter(|text| text.contains("serves chain 1"));
            eventually("the operator is told", warned).await;
        })
        .await;
    }));
}

#[test]
fn attack_30_a_node_that_goes_away_is_asked_again() {
    run(on_own_chain(async |fixture| {
        fixture.chain.faults().stop();
        let (buyer, _) = fixture.topped_up(5).await;
        assert!(fixture.pass().await.is_err());
        fixture.chain.faults().resume();
        fixture.await_credit(buyer.address(), 5).await;
        // In the middle of its answers, too.
        for method in ["eth_getLogs", "eth_getTransactionReceipt", "eth_call", "eth_getBlockByNumber"] {
            fixture.chain.faults().set(Rule::new(Fault::Drop).on(method).times(3));
            let (buyer, _) = fixture.topped_up(7).await;
            fixture.await_credit(buyer.address(), 7).await;
        }
    }));
}

/// "Query returned more than 10000 results": every node has such a limit, and its own words for it.
#[test]
fn attack_30_a_range_that_a_node_refuses_is_halved() {
    run(on_own_chain(async |fixture| {
        let refusal = Fault::Error { code: -32005, message: "query returned more than 10000 results".into() };
        fixture.chain.faults().set(Rule::new(refusal).on("eth_getLogs").times(6));
        let (buyer, _) = fixture.topped_up(5).await;
        for _ in 0..6 {
            let passed = fixture.pass().await;
            assert!(passed.is_ok(), "{passed:?}");
        }
        fixture.await_credit(buyer.address(), 5).await;
    }));
}

/// A contract that is none, that pays somebody else, or sells for a token that is worth nothing here.
#[test]
fn a_contract_on_other_terms_is_not_followed() {
    run(async {
        let chain = shared_chain().await;
        let mine = Agent::random().address();
        for (contract, expected) in [
            (Agent::random().address(), "not that of a key sale"),
            (deploy(chain, TOKENS[0], Agent::random().address()).await, "key_sale.payee"),
            (deploy(chain, TOKENS[2], mine).await, "chain.also_accepted"),
        ] {
            let mut server = Server::on(db::sqlite().await, &chain.rpc_url(), |config| {
                config.payments.recipient = mine;
                config.key_sale.address = Some(contract);
            })
            .await;
            let warning = eventually("the operator is told", async || {
                let ready = reply(server.get("/readyz")).await;
                assert_eq!(ready.status, 200, "it serves everything else");
                let warnings = ready.json()["warnings"].clone();
                warnings.to_string().contains("key_sale.address").then_some(warnings)
            })
            .await;
            assert!(warning.to_string().contains(expected), "{warning}");
            assert_eq!(server.count("SELECT count(*) FROM chain_cursors").await, 0);
            server.stop().await;
        }
        // Both can be right.
        let payee = Agent::random().address();
        let contract = deploy(chain, TOKENS[2], payee).await;
        let server = Server::on(db::sqlite().await, &chain.rpc_url(), |config| {
            config.payments.recipient = mine;
            config.key_sale.address = Some(contract);
            config.key_sale.payee = Some(payee);
            config.key_sale.confirmations = 0;
            config.chain.also_accepted = vec![TOKENS[2]];
        })
        .await;
        let mut fixture = Fixture { server, sale_contract: SaleContract { chain, contract } };
        eventually("it is followed", async || fixture.sales().cursor().await.ok().flatten()).await;
        fixture.server.stop().await;
    });
}
