//! Class 7: hashes of transactions that are not this payer's payment of this challenge.

use std::time::{Duration, Instant};

use farebox::config::PATH_USD;
use farebox::devnet::{Devnet, Fault, Rule};
use farebox_test_support::agent::{self, Agent, Challenge, Signed, transfer_with_memo};
use farebox_test_support::harness::{PRICE, Server, funded, own_chain, run, send_raw, shared_chain};
use serde_json::{Value, json};

/// Pays a challenge on the chain, as a pushing client does.
async fn broadcast(chain: &Devnet, agent: &Agent, challenge: &Challenge) -> Signed {
    let signed = agent.sign(agent.transaction(vec![challenge.transfer()]));
    assert_eq!(send_raw(chain, &signed.raw).await["status"], "0x1");
    signed
}

fn pushed(agent: &Agent, challenge: &Challenge, signed: &Signed) -> Value {
    agent.credential(challenge, agent::hash(&format!("{:#x}", signed.hash)))
}

#[test]
fn attack_07_someone_elses_transaction() {
    run(async {
        let chain = shared_chain().await;
        let server = Server::start().await;
        let (victim, thief) = (funded(chain).await, funded(chain).await);
        let (challenge, own) = (server.challenge().await, server.challenge().await);
        let paid = broadcast(chain, &victim, &challenge).await;
        // Under the thief's own challenge: neither its sender nor its memo is there.
        let mut stolen = pushed(&thief, &own, &paid);
        server.pay(&stolen).await.assert(402, "verification_failed");
        stolen.as_object_mut().unwrap().remove("source");
        server.pay(&stolen).await.assert(402, "verification_failed");
        // Under the victim's challenge, in the thief's name.
        let refused = server.pay(&pushed(&thief, &challenge, &paid)).await;
        refused.assert(402, "verification_failed");
        // The victim's answer is still the victim's.
        server.pay(&pushed(&victim, &challenge, &paid)).await.assert_paid();
        server.assert_ledger(chain, 1).await;
    });
}

#[test]
fn attack_07_upper_case_hash_is_the_same_payment() {
    run(async {
        let chain = shared_chain().await;
        let server = Server::start().await;
        let agent = funded(chain).await;
        let challenge = server.challenge().await;
        let paid = broadcast(chain, &agent, &challenge).await;
        let upper = format!("0x{}", format!("{:x}", paid.hash).to_uppercase());
        let first = server.pay(&agent.credential(&challenge, agent::hash(&upper))).await;
        assert_eq!(first.assert_paid().receipt()["reference"], format!("{:#x}", paid.hash));
        server.delivered(&challenge.id).await;
        server.pay(&pushed(&agent, &challenge, &paid)).await.assert(403, "credential_spent");
        server.assert_ledger(chain, 1).await;
    });
}

#[test]
fn attack_07_failed_transaction() {
    run(async {
        let chain = shared_chain().await;
        let server = Server::start().await;
        let agent = funded(chain).await;
        let challenge = server.challenge().await;
        // The second call takes the first one back with it.
        let too_much = transfer_with_memo(PATH_USD, challenge.recipient(), u64::MAX, challenge.memo());
        let signed = agent.sign(agent.transaction(vec![challenge.transfer(), too_much]));
        assert_eq!(send_raw(chain, &signed.raw).await["status"], "0x0");
        server.pay(&pushed(&agent, &challenge, &signed)).await.assert(402, "verification_failed");
        server.assert_ledger(chain, 0).await;
    });
}

#[test]
fn attack_07_old_transaction_and_one_used_before() {
    run(async {
        let chain = shared_chain().await;
        let server = Server::start().await;
        let agent = funded(chain).await;
        let (first, second) = (server.challenge().await, server.challenge().await);
        // A payment of the right amount from before there was a challenge.
        let memo = alloy::primitives::B256::ZERO;
        let old = agent.sign(agent.transaction(vec![transfer_with_memo(
            PATH_USD,
            server.recipient(),
            PRICE,
            memo,
        )]));
        send_raw(chain, &old.raw).await;
        server.pay(&pushed(&agent, &first, &old)).await.assert(402, "verification_failed");
        // One that was pulled, pushed again for its own challenge and for another.
        let pulled = agent.sign(agent.transaction(vec![first.transfer()]));
        server.pay(&agent.credential(&first, agent::transaction(&pulled.raw))).await.assert_paid();
        server.pay(&pushed(&agent, &first, &pulled)).await.assert(403, "credential_spent");
        let paid_before = server.pay(&pushed(&agent, &second, &pulled)).await;
        paid_before.assert(403, "credential_spent");
        assert!(paid_before.text.contains(&first.id), "it says for which challenge: {}", paid_before.text);
        assert_eq!(server.count("SELECT count(*) FROM credits").await, 1);
    });
}

#[test]
fn attack_07_transaction_of_another_chain() {
    run(async {
        let other =
            Devnet::start(farebox::devnet::DevnetConfig { chain_id: 7, ..Default::default() }).await.unwrap();
        let server = Server::start().await;
        let agent = funded(shared_chain().await).await;
        other.fund(agent.address(), PATH_USD, 1_000_000).await.unwrap();
        let challenge = server.challenge().await;
        let mut foreign = agent.transaction(vec![challenge.transfer()]);
        foreign.chain_id = 7;
        let signed = agent.sign(foreign);
        assert_eq!(send_raw(&other, &signed.raw).await["status"], "0x1");
        other.stop().await;
        // Pulled: it says which chain it is for. Pushed: our chain does not know it.
        let pulled = agent.credential(&challenge, agent::transaction(&signed.raw));
        server.pay(&pulled).await.assert(402, "verification_failed");
        server.pay(&pushed(&agent, &challenge, &signed)).await.assert(503, "settlement_pending");
        let mut elsewhere = pushed(&agent, &challenge, &signed);
        elsewhere["source"] = json!(format!("did:pkh:eip155:7:{}", agent.address()));
        assert!([402, 503].contains(&server.pay(&elsewhere).await.status));
        server.assert_ledger(shared_chain().await, 0).await;
    });
}

#[test]
fn attack_07_unknown_hash_waits_and_asks_for_no_other_payment() {
    run(async {
        let chain = own_chain().await;
        let server = Server::with_short_timeouts(&chain).await;
        let agent = funded(&chain).await;
        let challenge = server.challenge().await;
        let signed = agent.sign(agent.transaction(vec![challenge.transfer()]));
        let credential = pushed(&agent, &challenge, &signed);
        // Someone may have paid: no answer that makes them pay again.
        let pending = server.pay(&credential).await;
        pending.assert(503, "settlement_pending");
        assert!(pending.header("retry-after").is_some());
        // A push whose block comes a moment later is waited for.
        chain.faults().set(Rule::new(Fault::Delay { ms: 300 }).on("eth_getTransactionReceipt").times(1));
        let (sent, paid) = tokio::join!(send_raw(&chain, &signed.raw), server.pay(&credential));
        assert_eq!(sent["status"], "0x1");
        paid.assert_paid();
        server.assert_ledger(&chain, 1).await;
        server.finish(chain).await;
    });
}

#[test]
fn attack_07_unreadable_hashes() {
    run(async {
        let server = Server::start().await;
        let agent = funded(shared_chain().await).await;
        let challenge = server.challenge().await;
        for hash in [
            "",
            "0x",
            "0x12",
            &"0x".repeat(33),
            &format!("0x{}", "g".repeat(64)),
            &format!("0x{}", "1".repeat(65)),
        ] {
            let refused = server.pay(&agent.credential(&challenge, agent::hash(hash))).await;
            assert_eq!(refused.status, 402, "{hash}: {}", refused.text);
        }
    });
}

#[test]
fn a_mode_that_is_not_offered_is_refused() {
    run(async {
        use farebox::config::SubmissionMode;
        let chain = shared_chain().await;
        let agent = funded(chain).await;
        let server = Server::with_config(|config| config.payments.modes = vec![SubmissionMode::Pull]).await;
        let challenge = server.challenge().await;
        assert_eq!(challenge.request["methodDetails"]["supportedModes"], json!(["pull"]));
        let paid = broadcast(chain, &agent, &challenge).await;
        let refused = server.pay(&pushed(&agent, &challenge, &paid)).await;
        refused.assert(403, "credential_spent");
        assert!(refused.text.contains("are credited to the wallet"), "nothing is lost: {}", refused.text);

        let server = Server::with_config(|config| config.payments.modes = vec![SubmissionMode::Push]).await;
        let challenge = server.challenge().await;
        assert_eq!(challenge.request["methodDetails"]["supportedModes"], json!(["push"]));
        server.pay(&agent.pull(&challenge)).await.assert(402, "verification_failed");
        let both = Server::start().await.challenge().await;
        assert_eq!(both.request["methodDetails"].get("supportedModes"), None);
    });
}

#[test]
fn a_push_is_paid_for_even_when_the_challenge_expires_meanwhile() {
    run(async {
        let chain = own_chain().await;
        let server = Server::with_short_timeouts(&chain).await;
        let agent = funded(&chain).await;
        server.pay(&agent.pull(&server.challenge().await)).await.assert_paid();
        let server = server.restart(|config| config.payments.challenge_ttl_seconds = 3).await;
        let challenge = server.challenge().await;
        let paid = broadcast(&chain, &agent, &challenge).await;
        // The chain cannot be asked until after the expiry.
        chain.faults().set(Rule::new(Fault::Drop).on("eth_getTransactionReceipt"));
        let begun = Instant::now();
        let unsure = server.pay(&pushed(&agent, &challenge, &paid)).await;
        assert_eq!(unsure.status, 503, "{}", unsure.text);
        let rest = Duration::from_millis(3_100).saturating_sub(begun.elapsed());
        tokio::time::sleep(rest).await;
        chain.faults().clear();
        server.pay(&pushed(&agent, &challenge, &paid)).await.assert_paid();
        server.assert_ledger(&chain, 2).await;
        server.finish(chain).await;
    });
}

/// It was looked up for four seconds, left a row, and was told to wait for ever.
#[test]
fn attack_07_a_payment_for_a_zero_amount_is_refused_before_anything_is_looked_up() {
    run(async {
        let chain = own_chain().await;
        let server = Server::with_short_timeouts(&chain).await;
        let agent = funded(&chain).await;
        chain.faults().stop();
        for payload in [agent::hash(&format!("0x{}", "7".repeat(64))), agent::transaction("0x76")] {
            let challenge = server.proof_challenge().await;
            let refused = server.prove(&agent.credential(&challenge, payload)).await;
            refused.assert(402, "verification_failed");
            assert!(refused.text.contains("proof"), "{}", refused.text);
        }
        chain.faults().resume();
        assert_eq!(server.count("SELECT count(*) FROM payments").await, 0);
        server.finish(chain).await;
    });
}
