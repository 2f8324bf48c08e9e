//! Class 33: wallets that have done other things before, and transactions of every lawful form.

use std::num::NonZeroU64;

use alloy::primitives::U256;
use farebox::config::PATH_USD;
use farebox::devnet::{Devnet, Fault, Rule, TOKENS};
use farebox_test_support::access_key::{AccessKey, Restriction};
use farebox_test_support::agent::{self, Agent, Challenge, Signed, now_seconds, transfer};
use farebox_test_support::harness::{Server, call_chain, funded, own_chain, run, send_raw, shared_chain};
use serde_json::{Value, json};
use tempo_primitives::transaction::TempoTransaction;

/// A wallet that has sent ordinary transactions: its protocol nonce is used.
async fn used(chain: &Devnet) -> Agent {
    let agent = funded(chain).await;
    chain.fund(agent.address(), TOKENS[1], 1_000_000).await.expect("the faucet gives");
    for nonce in 0..2 {
        let ordinary = TempoTransaction {
            nonce_key: U256::ZERO,
            nonce,
            valid_before: None,
            ..agent.transaction(vec![transfer(PATH_USD, Agent::random().address(), 1)])
        };
        let receipt = send_raw(chain, &agent.sign(ordinary).raw).await;
        assert_eq!(receipt["status"], "0x1", "{receipt}");
    }
    agent
}

fn pull(agent: &Agent, challenge: &Challenge, transaction: TempoTransaction) -> Value {
    agent.credential(challenge, agent::transaction(&agent.sign(transaction).raw))
}

async fn gas_used(chain: &Devnet, signed: &Signed) -> u64 {
    let receipt = call_chain(chain, "eth_getTransactionReceipt", json!([signed.hash])).await;
    let gas: U256 = receipt["gasUsed"].as_str().and_then(|gas| gas.parse().ok()).expect("a number");
    gas.to()
}

/// It could not pay by pull: the dry run left out all that the node needs to know of its transaction.
#[test]
fn attack_33_a_wallet_with_ordinary_transactions_behind_it_pays() {
    run(async {
        let (server, chain) = (Server::start().await, shared_chain().await);
        let agent = used(chain).await;
        let usual = |challenge: &Challenge| agent.transaction(vec![challenge.transfer()]);
        // As wallets estimate it: what such a payment takes, and a little more. Seen as the first transaction of its
        // sender it would need much more. (The recipient's first payment takes more as well.)
        let mut taken = 0;
        for _ in 0..2 {
            let challenge = server.challenge().await;
            let signed = agent.sign(usual(&challenge));
            server.pay(&agent.credential(&challenge, agent::transaction(&signed.raw))).await.assert_paid();
            taken = gas_used(chain, &signed).await;
        }
        assert!(taken < 200_000, "{taken}");
        let challenge = server.challenge().await;
        let tight = TempoTransaction { gas_limit: taken + taken / 10, ..usual(&challenge) };
        server.pay(&pull(&agent, &challenge, tight)).await.assert_paid();
        for change in [
            (|transaction| transaction) as fn(TempoTransaction) -> TempoTransaction,
            // Its next ordinary transaction, and the first of another nonce key.
            |usual| TempoTransaction { nonce_key: U256::ZERO, nonce: 2, ..usual },
            |usual| TempoTransaction { nonce_key: U256::from(7), nonce: 0, ..usual },
            |usual| TempoTransaction { fee_token: Some(TOKENS[1]), ..usual },
            |usual| TempoTransaction { valid_after: NonZeroU64::new(now_seconds() - 5), ..usual },
        ] {
            let challenge = server.challenge().await;
            let credential = pull(&agent, &challenge, change(usual(&challenge)));
            server.pay(&credential).await.assert_paid();
        }
        // Its fee may be ours.
        let challenge = server.sponsored_challenge().await;
        server.pay_sponsored(&agent.pull(&challenge)).await.assert_paid();
        // And an access key may sign.
        let key = AccessKey::authorized(chain, &agent, Restriction::Limit(PATH_USD, 1_000_000)).await;
        let challenge = server.challenge().await;
        let signed = key.sign(usual(&challenge));
        server.pay(&agent.credential(&challenge, agent::transaction(&signed.raw))).await.assert_paid();
    });
}

/// A node's error about a transaction is an answer; only silence, and a node's own trouble, is none.
#[test]
fn attack_33_a_transaction_that_the_node_refuses_is_refused_with_its_words() {
    run(async {
        let chain = own_chain().await;
        let server = Server::with_short_timeouts(&chain).await;
        let agent = used(&chain).await;
        let challenge = server.challenge().await;
        let usual = agent.transaction(vec![challenge.transfer()]);
        // Too little gas for what it does.
        let starved = TempoTransaction { gas_limit: 21_000, ..usual.clone() };
        server.pay(&pull(&agent, &challenge, starved)).await.assert(402, "verification_failed");
        assert_eq!(chain.broadcasts(), 0);
        for (code, message, status) in [
            (-32_000, "intrinsic gas too high", 402),
            (-32_003, "transaction rejected", 402),
            (-32_603, "internal error", 503),
            (-32_005, "limit exceeded", 503),
            (-32_601, "the method does not exist", 503),
        ] {
            chain.faults().set(Rule::new(Fault::Error { code, message: message.into() }).on("eth_call"));
            let answer = server.pay(&pull(&agent, &challenge, usual.clone())).await;
            assert_eq!(answer.status, status, "{code}: {}", answer.text);
            assert_eq!(answer.text.contains(message), status == 402, "{}", answer.text);
            chain.faults().clear();
        }
        server.pay(&pull(&agent, &challenge, usual)).await.assert_paid();
        server.finish(chain).await;
    });
}

/// It waited fifteen seconds and was then told for ever that the chain cannot be reached.
#[test]
fn attack_33_an_access_key_that_is_authorised_twice_is_told_so() {
    run(async {
        let chain = own_chain().await;
        let server = Server::with_short_timeouts(&chain).await;
        let agent = funded(&chain).await;
        let key = AccessKey::unauthorized(agent.address());
        for first in [true, false] {
            let challenge = server.challenge().await;
            let transaction = TempoTransaction {
                gas_limit: 5_000_000,
                key_authorization: Some(key.authorization(&agent)),
                ..agent.transaction(vec![challenge.transfer()])
            };
            let signed = key.sign(transaction);
            let answer = server.pay(&agent.credential(&challenge, agent::transaction(&signed.raw))).await;
            if first {
                answer.assert_paid();
            } else {
                answer.assert(402, "verification_failed");
                assert!(answer.text.contains("keyAuthorization"), "{}", answer.text);
            }
        }
        assert_eq!(chain.broadcasts(), 1);
        server.finish(chain).await;
    });
}
