//! Class 12: draining the account that pays other people's network fees.

use std::num::NonZeroU64;

use alloy::eips::eip7702::Authorization;
use alloy::primitives::{Address, U256};
use alloy::signers::SignerSync as _;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolCall as _;
use farebox::config::PATH_USD;
use farebox::devnet::{Devnet, Fault, Rule};
use farebox::funding::recover;
use farebox::id::Timestamp;
use farebox::money::Money;
use farebox_test_support::agent::{self, Agent, Challenge, call, now_seconds, transfer};
use farebox_test_support::db;
use farebox_test_support::harness::{
    self, PRICE, Server, advance, funded, own_chain, run, shared_chain, sponsor_key,
};
use futures_util::future::join_all;
use serde_json::Value;
use tempo_contracts::precompiles::ITIP20;
use tempo_primitives::transaction::{TempoSignature, TempoSignedAuthorization, TempoTransaction};

fn sponsor() -> Address {
    PrivateKeySigner::from_bytes(&sponsor_key()).expect("a key").address()
}

async fn sponsors_balance(chain: &Devnet) -> U256 {
    chain.balance(PATH_USD, sponsor()).await.expect("the chain answers")
}

/// The sponsored payment of a challenge, bent.
fn altered(agent: &Agent, challenge: &Challenge, alter: impl FnOnce(&mut TempoTransaction)) -> Value {
    let mut transaction = agent.sponsored(vec![challenge.transfer()]);
    alter(&mut transaction);
    let envelope = agent.envelope(transaction).encoded_envelope();
    agent.credential(challenge, agent::transaction(&alloy::hex::encode_prefixed(envelope)))
}

type Alteration = Box<dyn FnOnce(&mut TempoTransaction)>;

#[test]
fn attack_12_transactions_that_cost_more_than_the_payment_are_refused() {
    run(async {
        let chain = own_chain().await;
        let server = Server::with_short_timeouts(&chain).await;
        let agent = funded(&chain).await;
        let before = sponsors_balance(&chain).await;
        let outsider = Address::repeat_byte(0x77);
        let approve = ITIP20::approveCall { spender: outsider, amount: U256::MAX }.abi_encode();
        let authorization = Authorization { chain_id: U256::ZERO, address: outsider, nonce: 0 };
        let signature = agent.signer.sign_hash_sync(&authorization.signature_hash()).expect("signs");
        let signed = TempoSignedAuthorization::new_unchecked(authorization, TempoSignature::from(signature));
        let alterations: Vec<(&str, Alteration)> = vec![
            ("a second transfer", Box::new(move |t| t.calls.push(transfer(PATH_USD, outsider, 1)))),
            ("another contract", Box::new(move |t| t.calls.push(call(outsider, vec![1, 2, 3, 4])))),
            (
                "an approval",
                Box::new({
                    let approve = approve.clone();
                    move |t| t.calls.push(call(PATH_USD, approve))
                }),
            ),
            ("an approval first", Box::new(move |t| t.calls.insert(0, call(PATH_USD, approve)))),
            ("no call", Box::new(|t| t.calls.clear())),
            ("a creation", Box::new(|t| t.calls[0].to = alloy::primitives::TxKind::Create)),
            ("an authorization list", Box::new(move |t| t.tempo_authorization_list.push(signed))),
            ("too much gas", Box::new(|t| t.gas_limit = 1_500_001)),
            ("all gas", Box::new(|t| t.gas_limit = u64::MAX)),
            ("a high fee cap", Box::new(|t| t.max_fee_per_gas = 10_000_000_000_000)),
            ("the highest fee cap", Box::new(|t| t.max_fee_per_gas = u128::MAX)),
            ("a high priority fee", Box::new(|t| t.max_priority_fee_per_gas = 40_000_000_000)),
            ("a fee above the limit of one transaction", Box::new(|t| t.max_fee_per_gas = 50_000_000_001)),
            ("a fee token of its own", Box::new(|t| t.fee_token = Some(PATH_USD))),
            ("no last moment", Box::new(|t| t.valid_before = None)),
            ("a last moment in the past", Box::new(|t| t.valid_before = NonZeroU64::new(now_seconds() - 1))),
            (
                "a last moment that is too near",
                Box::new(|t| t.valid_before = NonZeroU64::new(now_seconds() + 2)),
            ),
            (
                "a last moment that is far away",
                Box::new(|t| t.valid_before = NonZeroU64::new(now_seconds() + 86_400)),
            ),
            ("an ordinary nonce", Box::new(|t| t.nonce_key = U256::ZERO)),
            ("another chain", Box::new(|t| t.chain_id = 1)),
        ];
        for (name, alter) in alterations {
            let refused =
                server.pay_sponsored(&altered(&agent, &server.sponsored_challenge().await, alter)).await;
            assert_eq!(refused.status, 402, "{name}: {}", refused.text);
        }
        assert_eq!(chain.broadcasts(), 0, "nothing was sent");
        assert_eq!(sponsors_balance(&chain).await, before, "nothing was spent");
        server.assert_ledger(&chain, 0).await;
        server.pay_sponsored(&agent.pull(&server.sponsored_challenge().await)).await.assert_paid();
        assert!(sponsors_balance(&chain).await < before, "the sponsor pays for an honest one");
        server.finish(chain).await;
    });
}

#[test]
fn attack_12_envelopes_that_lie_about_their_sender_or_are_not_ours_to_sign() {
    run(async {
        let server = Server::start().await;
        let agent = funded(shared_chain().await).await;
        let other = funded(shared_chain().await).await;
        let challenge = server.sponsored_challenge().await;
        let transaction = agent.sponsored(vec![challenge.transfer()]);
        let mut lying = agent.envelope(transaction);
        lying.sender = other.address();
        let lying = alloy::hex::encode_prefixed(lying.encoded_envelope());
        // A transaction whose fee its sender pays is no answer to a sponsored challenge, and a
        // sponsored envelope none to an ordinary one.
        let own_fee = agent.sign(agent.transaction(vec![challenge.transfer()])).raw;
        for raw in [lying, own_fee] {
            let refused = server.pay_sponsored(&agent.credential(&challenge, agent::transaction(&raw))).await;
            refused.assert(402, "verification_failed");
        }
        let plain = server.challenge().await;
        server.pay(&altered(&agent, &plain, |_| {})).await.assert(402, "verification_failed");
        // Push mode cannot be sponsored.
        let pushed = agent.credential(&challenge, agent::hash(&format!("0x{}", "1".repeat(64))));
        server.pay_sponsored(&pushed).await.assert(402, "verification_failed");
        assert_eq!(challenge.request["methodDetails"]["supportedModes"], serde_json::json!(["pull"]));
        server.assert_ledger(shared_chain().await, 0).await;
    });
}

#[test]
fn attack_12_a_payment_that_would_fail_costs_the_sponsor_nothing() {
    run(async {
        let chain = own_chain().await;
        let server = Server::with_short_timeouts(&chain).await;
        let before = sponsors_balance(&chain).await;
        for _ in 0..5 {
            let empty = Agent::random();
            let refused = server.pay_sponsored(&empty.pull(&server.sponsored_challenge().await)).await;
            refused.assert(402, "payment_insufficient");
        }
        assert_eq!(chain.broadcasts(), 0);
        assert_eq!(sponsors_balance(&chain).await, before);
        assert_eq!(server.count("SELECT coalesce(sum(reserved), 0) FROM sponsor_days").await, 0);
        server.finish(chain).await;
    });
}

/// Highest network fee of a sponsored transaction of an [`Agent`].
const FEE: i64 = 41_000;

#[test]
fn attack_12_daily_budgets_in_total_and_per_payer_on_every_engine() {
    run(async {
        let chain = shared_chain().await;
        for database in db::engines().await {
            // An unused part of a reservation is given back, so the budget is for open ones: two for
            // everybody, one for each payer. The fees of the local chain use up a little of them.
            let server = Server::on(database, &chain.rpc_url(), |config| {
                config.sponsor.daily_budget = Money::from_micros(FEE + FEE / 2);
                config.sponsor.daily_budget_per_payer = Money::from_micros(FEE);
            })
            .await;
            let (one, two) = (funded(chain).await, funded(chain).await);
            server.pay_sponsored(&one.pull(&server.sponsored_challenge().await)).await.assert_paid();
            // Whatever the first one cost, there is less than its highest fee left for its payer.
            let refused = server.pay_sponsored(&one.pull(&server.sponsored_challenge().await)).await;
            refused.assert(402, "verification_failed");
            assert!(refused.text.contains("sponsored"), "{}", refused.text);
            // Another payer has a budget of its own, until everybody's is used up.
            server.pay_sponsored(&two.pull(&server.sponsored_challenge().await)).await.assert_paid();
            server.pay(&one.pull(&server.challenge().await)).await.assert_paid();
            server.assert_ledger(chain, 3).await;
        }
    });
}

#[test]
fn attack_12_no_more_are_in_flight_than_allowed() {
    run(async {
        let chain = own_chain().await;
        for database in db::engines().await {
            let server = Server::on(database, &chain.rpc_url(), |config| {
                config.chain.confirm_timeout_ms = 1_500;
                config.sponsor.max_in_flight = 3;
                config.sponsor.max_in_flight_per_payer = 2;
                config.sponsor.daily_budget_per_payer = Money::from_micros(10_000_000);
            })
            .await;
            let agents = [funded(&chain).await, funded(&chain).await, funded(&chain).await];
            chain.faults().set(Rule::new(Fault::Delay { ms: 4_000 }).on("eth_sendRawTransactionSync"));
            let pay = async |agent: &Agent| {
                let credential = agent.pull(&server.sponsored_challenge().await);
                (server.pay_sponsored(&credential).await.status, credential)
            };
            let own = join_all((0..4).map(|_| pay(&agents[0]))).await;
            let open = own.iter().filter(|(status, _)| *status == 503).count();
            assert_eq!(open, 2, "one payer: {:?}", own.iter().map(|(status, _)| status).collect::<Vec<_>>());
            let others = join_all([&agents[1], &agents[2]].map(pay)).await;
            let mut statuses = others.iter().map(|(status, _)| *status).collect::<Vec<_>>();
            statuses.sort_unstable();
            assert_eq!(statuses, [402, 503], "everybody");
            // What was open is settled once, and makes room.
            chain.faults().clear();
            let again = own.iter().chain(&others).filter(|(status, _)| *status == 503);
            for (_, credential) in again {
                harness::eventually("an answer", async || {
                    (server.pay_sponsored(credential).await.status == 200).then_some(())
                })
                .await;
            }
            pay(&agents[2]).await;
            server.assert_ledger(&chain, 4).await;
        }
        chain.stop().await;
    });
}

#[test]
fn a_server_without_a_sponsor_says_so() {
    run(async {
        let server = Server::with_config(|config| config.sponsor.private_key = None).await;
        let request = server.post(harness::SPONSORED, harness::BODY);
        harness::reply(request).await.assert(400, "invalid_params");
        let agent = funded(shared_chain().await).await;
        assert_eq!(server.challenge().await.amount(), PRICE);
        server.pay(&agent.pull(&server.challenge().await)).await.assert_paid();
    });
}

/// Its day was used up by what was never mined.
#[test]
fn attack_35_a_sponsored_payment_that_is_never_mined_gives_its_fee_back() {
    run(async {
        let chain = own_chain().await;
        for database in db::engines().await {
            let server = Server::on(database, &chain.rpc_url(), |config| {
                config.chain.request_timeout_ms = 1_000;
                config.chain.confirm_timeout_ms = 1_500;
            })
            .await;
            let agent = funded(&chain).await;
            let credential = agent.pull(&server.sponsored_challenge().await);
            for method in ["eth_sendRawTransactionSync", "eth_sendRawTransaction"] {
                chain.faults().set(Rule::new(Fault::Drop).on(method));
            }
            server.pay_sponsored(&credential).await.assert(503, "settlement_pending");
            let reserved = "SELECT CAST(coalesce(sum(reserved), 0) AS BIGINT) FROM sponsor_days";
            assert!(server.count(reserved).await > 0);
            chain.faults().clear();
            // Its last moment passes, on the chain and here.
            let valid = server.count("SELECT max(valid_before) FROM payments").await;
            advance(&chain, 60).await;
            let now = Timestamp::from_millis(valid + 120_000);
            recover::reconcile_open(&server.app.charges, now).await.expect("the database answers");
            assert_eq!(server.count("SELECT count(*) FROM payments WHERE state = 'failed'").await, 1);
            assert_eq!(server.count(reserved).await, 0);
        }
        chain.stop().await;
    });
}
