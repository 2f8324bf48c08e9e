//! Class 40: rows, and questions to the chain, for callers who pay nothing.

use farebox_test_support::agent::{self, Agent, now_seconds};
use farebox_test_support::harness::{BODY, PREVIEW, Reply, Server, funded, reply, run, shared_chain};
use serde_json::Value;
use tempo_primitives::transaction::TempoTransaction;

const ATTACKER: &str = "203.0.113.7";

async fn pay_from(server: &Server, address: &str, credential: &Value) -> Reply {
    let request = server.post(PREVIEW, BODY).header("x-forwarded-for", address);
    reply(request.header("authorization", agent::authorization(credential))).await
}

#[test]
fn attack_40_payments_that_fail_are_limited_by_address_and_leave_nothing() {
    run(async {
        let server = Server::with_config(|config| config.payments.failed_rpm = 5).await;
        let honest = funded(shared_chain().await).await;
        // Without a dollar: each costs a simulation.
        for _ in 0..5 {
            let challenge = server.challenge().await;
            pay_from(&server, ATTACKER, &Agent::random().pull(&challenge))
                .await
                .assert(402, "payment_insufficient");
        }
        let challenge = server.challenge().await;
        let credential = honest.pull(&challenge);
        let refused = pay_from(&server, ATTACKER, &credential).await;
        refused.assert(429, "rate_limit_exceeded_rpm");
        assert!(refused.header("retry-after").is_some() && refused.challenges().is_empty(), "{refused:?}");
        assert_eq!(server.count("SELECT count(*) FROM payments").await, 0);
        // Nothing was taken, and others are not in its way.
        pay_from(&server, "203.0.113.8", &credential).await.assert_paid();
        // Challenges stay free.
        let unpaid = reply(server.post(PREVIEW, BODY).header("x-forwarded-for", ATTACKER)).await;
        unpaid.assert(402, "payment_required");
    });
}

#[test]
fn attack_40_proofs_are_limited_by_address() {
    run(async {
        let server = Server::with_config(|config| config.payments.failed_rpm = 3).await;
        let wallet = Agent::random();
        for expected in [200, 200, 200, 429] {
            let challenge = server.proof_challenge().await;
            let answer = server.prove(&wallet.proof(&challenge)).await;
            assert_eq!(answer.status, expected, "{}", answer.text);
        }
    });
}

/// The answer of a pull is kept until its transaction cannot be mined any more.
#[test]
fn attack_40_a_transaction_that_stays_valid_for_long_is_refused() {
    run(async {
        let server = Server::start().await;
        let payer = funded(shared_chain().await).await;
        for valid_before in [None, Some(now_seconds() + 600), Some(u64::MAX)] {
            let challenge = server.challenge().await;
            let transaction = TempoTransaction {
                valid_before: valid_before.and_then(std::num::NonZeroU64::new),
                // The expiring nonce takes no such transaction.
                nonce_key: alloy::primitives::U256::ZERO,
                nonce: 0,
                ..payer.transaction(vec![challenge.transfer()])
            };
            let credential = payer.credential(&challenge, agent::transaction(&payer.sign(transaction).raw));
            let refused = server.pay(&credential).await;
            refused.assert(402, "verification_failed");
            assert!(refused.text.contains("`validBefore` of at most 300 seconds"), "{}", refused.text);
        }
        assert_eq!(server.count("SELECT count(*) FROM payments").await, 0);
    });
}
