//! Several ways to pay for one route: several tokens, and who pays the network fee.

use alloy::primitives::U256;
use farebox::config::{PATH_USD, Secret};
use farebox::devnet::TOKENS;
use farebox_test_support::agent::{self, Agent, Challenge, authorization};
use farebox_test_support::harness::{
    BODY, FUNDS, PREVIEW, PRICE, SPONSORED, Server, eventually, funded, reply, run, shared_chain,
};
use reqwest::RequestBuilder;
use serde_json::Value;

/// Every challenge of a 402, in its order.
async fn challenge(request: RequestBuilder) -> Vec<Challenge> {
    let unpaid = reply(request).await;
    assert_eq!(unpaid.status, 402, "{}", unpaid.text);
    unpaid.challenges().into_iter().map(Challenge::parse).collect()
}

async fn two_tokens() -> Server {
    Server::with_config(|config| config.chain.also_accepted = vec![TOKENS[1]]).await
}

#[test]
fn each_accepted_token_is_a_challenge_of_its_own() {
    run(async {
        let chain = shared_chain().await;
        let server = two_tokens().await;
        let agent = Agent::random();
        chain.fund(agent.address(), TOKENS[1], FUNDS).await.unwrap();
        let offers = challenge(server.post(PREVIEW, BODY)).await;
        let tokens: Vec<_> = offers.iter().map(Challenge::currency).collect();
        assert_eq!(tokens, [PATH_USD, TOKENS[1]]);
        assert_ne!(offers[0].id, offers[1].id);
        assert!(offers.iter().all(|challenge| challenge.amount() == PRICE));

        let mut transaction = agent.transaction(vec![offers[1].transfer()]);
        transaction.fee_token = Some(TOKENS[1]);
        let raw = agent.sign(transaction).raw;
        let paid = server.pay(&agent.credential(&offers[1], agent::transaction(&raw))).await;
        let receipt = paid.assert_paid().receipt();
        assert_eq!(receipt["currency"], format!("{:#x}", TOKENS[1]));
        let earned = chain.balance(TOKENS[1], server.recipient()).await.unwrap();
        assert_eq!(earned, U256::from(PRICE));
        assert_eq!(server.count("SELECT count(*) FROM credits").await, 1);
    });
}

#[test]
fn attack_06_a_challenge_for_one_token_is_not_paid_with_another() {
    run(async {
        let chain = shared_chain().await;
        let server = two_tokens().await;
        let agent = funded(chain).await;
        chain.fund(agent.address(), TOKENS[1], FUNDS).await.unwrap();
        let offers = challenge(server.post(PREVIEW, BODY)).await;
        for (challenge, token) in [(&offers[0], TOKENS[1]), (&offers[1], TOKENS[0]), (&offers[0], TOKENS[2])]
        {
            let call = agent::transfer_with_memo(token, challenge.recipient(), PRICE, challenge.memo());
            let raw = agent.sign(agent.transaction(vec![call])).raw;
            let refused = server.pay(&agent.credential(challenge, agent::transaction(&raw))).await;
            refused.assert(402, "verification_failed");
            assert_eq!(refused.challenges().len(), 2, "both offers again");
        }
        assert_eq!(server.count("SELECT count(*) FROM credits").await, 0);
    });
}

#[test]
fn a_token_that_is_no_longer_accepted_is_refused_before_it_is_spent() {
    run(async {
        let chain = shared_chain().await;
        let server = two_tokens().await;
        let agent = funded(chain).await;
        chain.fund(agent.address(), TOKENS[1], FUNDS).await.unwrap();
        let second = challenge(server.post(PREVIEW, BODY)).await.remove(1);
        let server = server.restart(|config| config.chain.also_accepted.clear()).await;
        server.pay(&agent.pull(&second)).await.assert(402, "invalid_challenge");
        assert_eq!(chain.balance(TOKENS[1], server.recipient()).await.unwrap(), U256::ZERO);
    });
}

#[test]
fn accept_payment_keeps_the_servers_order_among_equals() {
    run(async {
        let server = two_tokens().await;
        for accept in ["tempo/charge", "*/*;q=0.3", "tempo/*, stripe/charge"] {
            let offers = challenge(server.post(PREVIEW, BODY).header("accept-payment", accept)).await;
            let tokens: Vec<_> = offers.iter().map(Challenge::currency).collect();
            assert_eq!(tokens, [PATH_USD, TOKENS[1]], "{accept}");
        }
    });
}

#[test]
fn attack_12_a_sponsor_without_money_asks_for_no_sponsored_payments() {
    run(async {
        let chain = shared_chain().await;
        let broke = Agent::random();
        let key = hex::encode(broke.signer.to_bytes());
        let server = Server::with_config(|config| config.sponsor.private_key = Some(Secret::from(key))).await;
        let refused = eventually("the empty wallet is noticed", async || {
            let answer = reply(server.post(SPONSORED, BODY)).await;
            (answer.status != 402).then_some(answer)
        })
        .await;
        refused.assert(503, "service_unavailable");
        // Who pays the fee itself is served.
        let agent = funded(chain).await;
        server.pay(&agent.pull(&server.challenge().await)).await.assert_paid();
        // With money it sponsors again.
        chain.fund(broke.address(), PATH_USD, FUNDS).await.unwrap();
        let server = server.restart(|_| {}).await;
        server.pay_sponsored(&agent.pull(&server.sponsored_challenge().await)).await.assert_paid();
        let index: Value = reply(server.get("/mpp")).await.json();
        assert_eq!(index["payment"]["sponsored"], true);
        server.assert_ledger(chain, 2).await;
    });
}

#[test]
fn attack_09_a_sponsored_payment_is_answered_when_the_sponsor_has_run_dry_since() {
    run(async {
        // Told to leave out `feePayer`, its payer would pay again.
        let chain = shared_chain().await;
        let server = Server::start().await;
        let agent = funded(chain).await;
        let credential = agent.pull(&server.sponsored_challenge().await);
        let pay = || {
            let request = server.post(SPONSORED, BODY).header("authorization", authorization(&credential));
            request.header("idempotency-key", "order-1")
        };
        let paid = reply(pay()).await;
        paid.assert_paid();
        eventually("the empty wallet is noticed", async || {
            server.app.sponsor.as_ref().expect("a sponsor").account().observe(U256::ZERO);
            (reply(server.post(SPONSORED, BODY)).await.status == 503).then_some(())
        })
        .await;
        assert_eq!(reply(pay()).await.assert_paid().text, paid.text);
        server.assert_ledger(chain, 1).await;
    });
}
