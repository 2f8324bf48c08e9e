//! Class 6: the transfer that pays is bound to one challenge by its memo, and counts once.

use alloy::primitives::{Address, B256};
use farebox::devnet::TOKENS;
use farebox_test_support::agent::{self, Agent, Challenge, transfer, transfer_with_memo};
use farebox_test_support::harness::{PRICE, Server, funded, run, send_raw, shared_chain};
use mpp::tempo::attribution;
use serde_json::Value;
use tempo_primitives::transaction::Call;

fn pull(agent: &Agent, challenge: &Challenge, calls: Vec<Call>) -> Value {
    agent.credential(challenge, agent::transaction(&agent.sign(agent.transaction(calls)).raw))
}

async fn push(agent: &Agent, challenge: &Challenge, calls: Vec<Call>) -> Value {
    let signed = agent.sign(agent.transaction(calls));
    send_raw(shared_chain().await, &signed.raw).await;
    agent.credential(challenge, agent::hash(&format!("{:#x}", signed.hash)))
}

/// Transfers of the right amount whose memo does not bind them to this challenge.
fn unbound(challenge: &Challenge, other: &Challenge) -> [Call; 5] {
    let memo = |memo: B256| transfer_with_memo(challenge.currency(), challenge.recipient(), PRICE, memo);
    let mut version = challenge.memo();
    version.0[4] = 2;
    [
        transfer(challenge.currency(), challenge.recipient(), PRICE),
        memo(B256::ZERO),
        memo(other.memo()),
        memo(attribution::encode(&challenge.id, "evil.example", None).into()),
        memo(version),
    ]
}

#[test]
fn attack_06_pull_with_an_unbound_or_foreign_memo() {
    run(async {
        let server = Server::start().await;
        let agent = funded(shared_chain().await).await;
        let (challenge, other) = (server.challenge().await, server.challenge().await);
        for call in unbound(&challenge, &other) {
            server.pay(&pull(&agent, &challenge, vec![call])).await.assert(402, "verification_failed");
        }
        server.assert_ledger(shared_chain().await, 0).await;
        server.pay(&agent.pull(&challenge)).await.assert_paid();
    });
}

#[test]
fn attack_06_push_with_an_unbound_or_foreign_memo_buys_nothing() {
    run(async {
        let server = Server::start().await;
        let agent = funded(shared_chain().await).await;
        let (challenge, other) = (server.challenge().await, server.challenge().await);
        for call in unbound(&challenge, &other) {
            let refused = server.pay(&push(&agent, &challenge, vec![call.clone()]).await).await;
            assert!([402, 403].contains(&refused.status), "{call:?}: {}", refused.text);
        }
        assert_eq!(server.count("SELECT count(*) FROM credits").await, 0);
    });
}

#[test]
fn attack_06_two_memos_in_one_transaction_buy_two_answers_only_when_paid_twice() {
    run(async {
        let chain = shared_chain().await;
        let server = Server::start().await;
        let agent = funded(chain).await;
        // One transaction, one transfer for each of two challenges, pushed for both.
        let (first, second) = (server.challenge().await, server.challenge().await);
        let pushed = push(&agent, &first, vec![first.transfer(), second.transfer()]).await;
        let for_second = agent.credential(&second, pushed["payload"].clone());
        let third = agent.credential(&server.challenge().await, pushed["payload"].clone());
        for credential in [&pushed, &for_second] {
            server.pay(credential).await.assert_paid();
        }
        server.pay(&third).await.assert(403, "credential_spent");
        assert_eq!(server.count("SELECT count(*) FROM credits").await, 2);
        server.assert_ledger(chain, 2).await;
    });
}

#[test]
fn attack_06_one_transfer_with_memo_is_counted_once() {
    run(async {
        // It emits both Transfer and TransferWithMemo: still one payment, for one challenge.
        let server = Server::start().await;
        let agent = funded(shared_chain().await).await;
        let (first, second) = (server.challenge().await, server.challenge().await);
        let pushed = push(&agent, &first, vec![first.transfer()]).await;
        server
            .pay(&agent.credential(&second, pushed["payload"].clone()))
            .await
            .assert(402, "verification_failed");
        server.pay(&pushed).await.assert_paid();
        server
            .pay(&agent.credential(&second, pushed["payload"].clone()))
            .await
            .assert(403, "credential_spent");
        server.assert_ledger(shared_chain().await, 1).await;
    });
}

#[test]
fn attack_06_wrong_token_recipient_or_kind_of_call() {
    run(async {
        let server = Server::start().await;
        let agent = funded(shared_chain().await).await;
        shared_chain().await.fund(agent.address(), TOKENS[1], 1_000_000).await.unwrap();
        let challenge = server.challenge().await;
        let (token, to, memo) = (challenge.currency(), challenge.recipient(), challenge.memo());
        let mut truncated = challenge.transfer();
        truncated.input = truncated.input.slice(..99);
        let mut extended = challenge.transfer();
        extended.input = [extended.input.as_ref(), b"\0"].concat().into();
        let mut create = challenge.transfer();
        create.to = alloy::primitives::TxKind::Create;
        let wrong = [
            vec![transfer_with_memo(TOKENS[1], to, PRICE, memo)],
            vec![transfer_with_memo(token, agent.address(), PRICE, memo)],
            vec![transfer_with_memo(token, Address::ZERO, PRICE, memo)],
            vec![transfer_with_memo(to, token, PRICE, memo)],
            vec![truncated],
            vec![extended],
            vec![create],
            vec![],
        ];
        for calls in wrong {
            let refused = server.pay(&pull(&agent, &challenge, calls.clone())).await;
            assert_eq!(refused.status, 402, "{calls:?}: {}", refused.text);
        }
        // The same, already on the chain.
        for call in [
            transfer_with_memo(TOKENS[1], to, PRICE, memo),
            transfer_with_memo(token, agent.address(), PRICE, memo),
            transfer_with_memo(token, to, PRICE - 1, memo),
        ] {
            let challenge = server.challenge().await;
            let refused = server.pay(&push(&agent, &challenge, vec![call]).await).await;
            assert!([402, 403].contains(&refused.status), "{}", refused.text);
        }
        assert_eq!(server.count("SELECT count(*) FROM credits").await, 0);
    });
}

#[test]
fn attack_06_a_transfer_beside_the_payment_does_not_pose_as_it() {
    run(async {
        let chain = shared_chain().await;
        let server = Server::start().await;
        let agent = funded(chain).await;
        // A bound transfer to someone else next to an unbound one to us.
        let challenge = server.challenge().await;
        let outsider = Address::repeat_byte(0x51);
        let calls = vec![
            transfer_with_memo(challenge.currency(), outsider, PRICE, challenge.memo()),
            transfer(challenge.currency(), challenge.recipient(), PRICE),
        ];
        server.pay(&pull(&agent, &challenge, calls)).await.assert(402, "verification_failed");
        server.assert_ledger(chain, 0).await;
        // An honest payment may move other money in the same transaction.
        let calls = vec![challenge.transfer(), transfer(challenge.currency(), outsider, 1)];
        server.pay(&pull(&agent, &challenge, calls)).await.assert_paid();
        server.assert_ledger(chain, 1).await;
    });
}
