//! Class 34: what was paid and can buy nothing is credit of the wallet that paid.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use farebox::config::PATH_USD;
use farebox::funding::{audit, recover};
use farebox::id::{AccountId, Timestamp};
use farebox::money::Money;
use farebox::payments::Resource;
use farebox::payments::http::ChallengeHeader;
use farebox_test_support::agent::{self, Agent, Challenge, Signed, authorization, transfer_with_memo};
use farebox_test_support::db;
use farebox_test_support::harness::{
    BODY, PREVIEW, PRICE, Reply, Server, digest, eventually, funded, reply, run, send_raw, shared_chain,
};
use serde_json::{Value, json};
use tempo_primitives::transaction::Call;

const LOCKED_PDF: &[u8] = include_bytes!("../../crates/pii/tests/pdf/files/locked.pdf");

/// The server's own challenge for the usual request, with an expiry of the test's choosing.
fn expiring(server: &Server, expires: Timestamp) -> Challenge {
    let opaque = Resource::http("POST", PREVIEW, None).opaque(uuid::Uuid::new_v4());
    let offer = &server.app.offers.preview[0];
    let challenge = server.app.issuer.issue(offer, &opaque, Some(&digest(BODY)), expires);
    Challenge::parse(&ChallengeHeader::new(&challenge, None).value)
}

fn in_millis(millis: i64) -> Timestamp {
    Timestamp::now().checked_add_millis(millis).expect("this century")
}

async fn broadcast(agent: &Agent, calls: Vec<Call>) -> Signed {
    let signed = agent.sign(agent.transaction(calls));
    assert_eq!(send_raw(shared_chain().await, &signed.raw).await["status"], "0x1");
    signed
}

fn pushed(agent: &Agent, challenge: &Challenge, signed: &Signed) -> Value {
    agent.credential(challenge, agent::hash(&format!("{:#x}", signed.hash)))
}

fn price() -> Money {
    Money::from_micros(i64::try_from(PRICE).expect("small"))
}

/// A refusal that says that `amount` is credit of the agent's wallet, and asks for no other payment.
fn assert_credited(refused: &Reply, status: u16, agent: &Agent, amount: Money) {
    assert_eq!(refused.status, status, "{}", refused.text);
    assert!(refused.challenges().is_empty(), "nothing else is to be paid: {}", refused.text);
    let wallet = format!("{:#x}", agent.address());
    let says = format!("${} are credited to the wallet {wallet}", amount.to_dollars());
    assert!(refused.text.contains(&says), "{says}: {}", refused.text);
}

/// The agent's account has exactly that credit left.
async fn assert_balance(server: &Server, agent: &Agent, amount: Money) {
    let account = AccountId::wallet(&format!("{:#x}", agent.address())).expect("an address");
    let balance = server.app.ledger.balance(&account).await.expect("the database answers");
    assert_eq!(balance.available(), amount);
    assert_eq!(audit::audit(&server.db.db).await.expect("the audit runs"), []);
}

#[test]
fn attack_34_a_push_that_is_mined_too_late_is_credit_of_its_wallet() {
    run(async {
        for database in db::engines().await {
            let chain = shared_chain().await;
            let server = Server::on(database, &chain.rpc_url(), |_| {}).await;
            let agent = funded(chain).await;
            let challenge = expiring(&server, in_millis(-2_000));
            // Before it is mined it is only late.
            let unknown = agent.sign(agent.transaction(vec![challenge.transfer()]));
            let refused = server.pay(&pushed(&agent, &challenge, &unknown)).await;
            refused.assert(402, "payment_expired");
            assert!(server.payment(&challenge.id).await.is_none(), "nothing stays written for it");
            let paid = broadcast(&agent, vec![challenge.transfer()]).await;
            let credential = pushed(&agent, &challenge, &paid);
            for _ in 0..2 {
                let refused = server.pay(&credential).await;
                refused.assert(403, "credential_spent");
                assert_credited(&refused, 403, &agent, price());
            }
            // Nobody else gets a line with it.
            let thief = funded(chain).await;
            server.pay(&pushed(&thief, &challenge, &paid)).await.assert(402, "verification_failed");
            assert_balance(&server, &agent, price()).await;
        }
    });
}

#[test]
fn attack_34_a_push_that_is_mined_in_time_buys_though_it_is_presented_late() {
    run(async {
        for database in db::engines().await {
            let chain = shared_chain().await;
            let server = Server::on(database, &chain.rpc_url(), |_| {}).await;
            let agent = funded(chain).await;
            let expires = in_millis(2_500);
            let challenge = expiring(&server, expires);
            let paid = broadcast(&agent, vec![challenge.transfer()]).await;
            eventually("the challenge has expired", async || (expires < Timestamp::now()).then_some(()))
                .await;
            server.pay(&pushed(&agent, &challenge, &paid)).await.assert_paid();
            server.delivered(&challenge.id).await;
            server.pay(&pushed(&agent, &challenge, &paid)).await.assert(403, "credential_spent");
            assert_balance(&server, &agent, Money::ZERO).await;
        }
    });
}

#[test]
fn attack_34_a_push_on_terms_that_changed_is_credit_of_its_wallet() {
    run(async {
        for database in db::engines().await {
            let chain = shared_chain().await;
            let server = Server::on(database, &chain.rpc_url(), |_| {}).await;
            let agent = funded(chain).await;
            let challenge = server.challenge().await;
            let paid = broadcast(&agent, vec![challenge.transfer()]).await;
            let dearer = price().checked_add(price()).expect("a small sum");
            let server = server.restart(|config| config.pii.preview_price = dearer).await;
            for _ in 0..2 {
                let refused = server.pay(&pushed(&agent, &challenge, &paid)).await;
                assert_credited(&refused, 403, &agent, price());
            }
            assert_balance(&server, &agent, price()).await;
        }
    });
}

#[test]
fn attack_34_a_push_for_work_that_cannot_be_done_is_credit_of_its_wallet() {
    run(async {
        for database in db::engines().await {
            let chain = shared_chain().await;
            let server = Server::on(database, &chain.rpc_url(), |_| {}).await;
            let agent = funded(chain).await;
            let body = json!({ "pdfs": [STANDARD.encode(LOCKED_PDF)] }).to_string();
            let challenge = reply(server.post(PREVIEW, &body)).await.challenge();
            let paid = broadcast(&agent, vec![challenge.transfer()]).await;
            let credential = authorization(&pushed(&agent, &challenge, &paid));
            let refused = reply(server.post(PREVIEW, &body).header("authorization", &credential)).await;
            refused.assert(400, "invalid_params");
            assert_credited(&refused, 400, &agent, price());
            assert!(refused.text.contains("protected by a password"), "{}", refused.text);
            // The file is not examined once more for money that is credited.
            let again = reply(server.post(PREVIEW, &body).header("authorization", &credential)).await;
            again.assert(403, "credential_spent");
            assert_credited(&again, 403, &agent, price());
            assert_balance(&server, &agent, price()).await;
        }
    });
}

#[test]
fn attack_34_a_push_of_another_amount_and_a_second_one_are_credit_of_their_wallet() {
    run(async {
        for database in db::engines().await {
            let chain = shared_chain().await;
            let server = Server::on(database, &chain.rpc_url(), |_| {}).await;
            let agent = funded(chain).await;
            let challenge = server.challenge().await;
            let half = transfer_with_memo(PATH_USD, challenge.recipient(), PRICE / 2, challenge.memo());
            let short = broadcast(&agent, vec![half]).await;
            let half = Money::from_micros(price().micros() / 2);
            let refused = server.pay(&pushed(&agent, &challenge, &short)).await;
            assert_credited(&refused, 403, &agent, half);
            // The challenge can be paid still, once: here it is paid twice by one transaction, and once by another.
            let paid = broadcast(&agent, vec![challenge.transfer(), challenge.transfer()]).await;
            server.pay(&pushed(&agent, &challenge, &paid)).await.assert_paid();
            let after_one = half.checked_add(price()).expect("a small sum");
            assert_balance(&server, &agent, after_one).await;
            let second = broadcast(&agent, vec![challenge.transfer()]).await;
            server.delivered(&challenge.id).await;
            for _ in 0..2 {
                let refused = server.pay(&pushed(&agent, &challenge, &second)).await;
                assert_credited(&refused, 403, &agent, price());
            }
            assert_balance(&server, &agent, after_one.checked_add(price()).expect("a small sum")).await;
        }
    });
}

#[test]
fn attack_33_two_challenges_paid_in_one_transaction_are_both_paid() {
    run(async {
        for database in db::engines().await {
            let chain = shared_chain().await;
            let server = Server::on(database, &chain.rpc_url(), |_| {}).await;
            let agent = funded(chain).await;
            let (first, second) = (server.challenge().await, server.challenge().await);
            let paid = broadcast(&agent, vec![first.transfer(), second.transfer()]).await;
            let credentials = [&second, &first].map(|challenge| pushed(&agent, challenge, &paid));
            let answers = tokio::join!(server.pay(&credentials[0]), server.pay(&credentials[1]));
            for answer in [&answers.0, &answers.1] {
                let receipt = answer.assert_paid().receipt();
                assert_eq!(receipt["reference"], format!("{:#x}", paid.hash));
            }
            for (challenge, credential) in [&second, &first].into_iter().zip(&credentials) {
                server.delivered(&challenge.id).await;
                server.pay(credential).await.assert(403, "credential_spent");
            }
            assert_eq!(server.count("SELECT count(*) FROM credits").await, 2);
            assert_balance(&server, &agent, Money::ZERO).await;
        }
    });
}

/// A client that presents its payment, gets no answer and is never seen again.
#[test]
fn attack_34_a_push_that_nobody_comes_back_for_is_credit_of_its_wallet() {
    run(async {
        for database in db::engines().await {
            let chain = shared_chain().await;
            let server = Server::on(database, &chain.rpc_url(), |_| {}).await;
            let (agent, other) = (funded(chain).await, funded(chain).await);
            let (paid, unpaid) = (server.challenge().await, server.challenge().await);
            let calls = vec![paid.transfer()];
            let signed = agent.sign(agent.transaction(calls));
            let never = other.sign(other.transaction(vec![unpaid.transfer()]));
            let (early, lost) = (pushed(&agent, &paid, &signed), pushed(&other, &unpaid, &never));
            let pending = tokio::join!(server.pay(&early), server.pay(&lost));
            pending.0.assert(503, "settlement_pending");
            pending.1.assert(503, "settlement_pending");
            send_raw(chain, &signed.raw).await;
            let charges = &server.app.charges;
            let later = in_millis(60_000);
            assert_eq!(recover::end_claims(charges, later, later).await.expect("it runs"), 2);
            assert_eq!(recover::end_claims(charges, later, later).await.expect("it runs"), 0);
            assert_balance(&server, &agent, price()).await;
            assert_balance(&server, &other, Money::ZERO).await;
            let refused = server.pay(&pushed(&agent, &paid, &signed)).await;
            assert_credited(&refused, 403, &agent, price());
            assert_eq!(server.count("SELECT count(*) FROM payments").await, 0);
        }
    });
}

/// One transfer is one credit, in whatever way it is submitted and however many others are beside it.
#[test]
fn attack_34_a_pulled_transfer_is_not_credited_again_as_an_unused_push() {
    run(async {
        for database in db::engines().await {
            let chain = shared_chain().await;
            let server = Server::on(database, &chain.rpc_url(), |_| {}).await;
            let agent = funded(chain).await;
            for dust_first in [true, false] {
                let challenge = server.challenge().await;
                let dust =
                    transfer_with_memo(PATH_USD, challenge.recipient(), 1, alloy::primitives::B256::ZERO);
                let mut calls = vec![dust, challenge.transfer()];
                if !dust_first {
                    calls.reverse();
                }
                let signed = agent.sign(agent.transaction(calls));
                let credential = agent.credential(&challenge, agent::transaction(&signed.raw));
                server.pay(&credential).await.assert_paid();
                server.delivered(&challenge.id).await;
                for _ in 0..2 {
                    let refused = server.pay(&pushed(&agent, &challenge, &signed)).await;
                    refused.assert(403, "credential_spent");
                    assert!(!refused.text.contains("credited"), "{}", refused.text);
                }
            }
            assert_eq!(server.count("SELECT count(*) FROM credits").await, 2);
            assert_balance(&server, &agent, Money::ZERO).await;
        }
    });
}

/// Two tokens in one transaction are two payments.
#[test]
fn attack_33_two_tokens_in_one_transaction_pay_two_challenges() {
    run(async {
        for database in db::engines().await {
            let chain = shared_chain().await;
            let other = farebox::devnet::TOKENS[1];
            let server =
                Server::on(database, &chain.rpc_url(), |config| config.chain.also_accepted = vec![other])
                    .await;
            let agent = funded(chain).await;
            chain.fund(agent.address(), other, 1_000_000).await.expect("the faucet gives");
            let mut offered = Vec::new();
            for token in [PATH_USD, other] {
                let unpaid = reply(server.post(PREVIEW, BODY)).await;
                let challenges = unpaid.challenges().into_iter().map(Challenge::parse);
                offered
                    .push(challenges.into_iter().find(|one| one.currency() == token).expect("it is offered"));
            }
            let paid = broadcast(&agent, offered.iter().map(Challenge::transfer).collect()).await;
            for challenge in &offered {
                server.pay(&pushed(&agent, challenge, &paid)).await.assert_paid();
            }
            assert_eq!(server.count("SELECT count(*) FROM credits").await, 2);
            assert_balance(&server, &agent, Money::ZERO).await;
        }
    });
}

/// A probe's challenge buys nothing; what was pushed for it is credit, and not sought in vain.
#[test]
fn attack_34_a_push_for_a_probes_challenge_is_credit_of_its_wallet() {
    run(async {
        let chain = shared_chain().await;
        let server = Server::start().await;
        for body in ["", "{}"] {
            let agent = funded(chain).await;
            let challenge = reply(server.post(PREVIEW, body)).await.challenge();
            let paid = broadcast(&agent, vec![challenge.transfer()]).await;
            let credential = pushed(&agent, &challenge, &paid);
            for status in [400, 403] {
                let request = server.post(PREVIEW, body).header("authorization", authorization(&credential));
                assert_credited(&reply(request).await, status, &agent, price());
            }
            assert_balance(&server, &agent, price()).await;
        }
    });
}
