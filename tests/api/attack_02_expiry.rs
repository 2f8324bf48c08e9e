//! Class 2: time.

use std::time::Duration;

use farebox::devnet::{Fault, Rule};
use farebox::id::Timestamp;
use farebox::payments::Resource;
use farebox::payments::http::ChallengeHeader;
use farebox_test_support::agent::{self, Challenge, now_seconds};
use farebox_test_support::harness::{
    self, BODY, SECRET, Server, digest, funded, own_chain, run, shared_chain,
};
use serde_json::json;

/// The server's own challenge for the usual request, with an expiry of the test's choosing.
fn expiring(server: &Server, expires: Timestamp) -> Challenge {
    let opaque = Resource::http("POST", harness::PREVIEW, None).opaque(uuid::Uuid::new_v4());
    let offer = &server.app.offers.preview[0];
    let challenge = server.app.issuer.issue(offer, &opaque, Some(&digest(BODY)), expires);
    Challenge::parse(&ChallengeHeader::new(&challenge, None).value)
}

fn in_millis(millis: i64) -> Timestamp {
    Timestamp::now().checked_add_millis(millis).expect("this century")
}

#[test]
fn attack_02_expired_and_expires_equal_to_now() {
    run(async {
        let server = Server::start().await;
        let agent = funded(shared_chain().await).await;
        // By the time the request arrives, "now" is now or past.
        for expires in [in_millis(0), in_millis(-1), in_millis(-1000), Timestamp::from_millis(0)] {
            let challenge = expiring(&server, expires);
            let refused = server.pay(&agent.pull(&challenge)).await;
            refused.assert(402, "payment_expired");
            assert_ne!(refused.challenge().id, challenge.id, "a fresh challenge");
            assert!(server.payment(&challenge.id).await.is_none(), "nothing is written for it");
        }
        server.pay(&agent.pull(&expiring(&server, in_millis(60_000)))).await.assert_paid();
        server.assert_ledger(shared_chain().await, 1).await;
    });
}

#[test]
fn attack_02_missing_or_unreadable_expiry() {
    run(async {
        let server = Server::start().await;
        let agent = funded(shared_chain().await).await;
        for expires in [None, Some(""), Some("never"), Some("2099-13-01T00:00:00Z"), Some("4102444800")] {
            let mut challenge = server.challenge().await;
            challenge.echo["expires"] = json!(expires);
            if expires.is_none() {
                challenge.echo.as_object_mut().unwrap().remove("expires");
            }
            challenge.resign(SECRET);
            server.pay(&agent.pull(&challenge)).await.assert_refused();
        }
        server.assert_ledger(shared_chain().await, 0).await;
    });
}

#[test]
fn attack_02_expiry_cannot_be_moved() {
    run(async {
        let server = Server::start().await;
        let agent = funded(shared_chain().await).await;
        let mut challenge = expiring(&server, in_millis(-60_000));
        challenge.echo["expires"] = json!(in_millis(60_000).to_rfc3339());
        server.pay(&agent.pull(&challenge)).await.assert(402, "invalid_challenge");
        server.assert_ledger(shared_chain().await, 0).await;
    });
}

#[test]
fn attack_02_expiring_during_the_work_is_noticed_before_the_broadcast() {
    run(async {
        let chain = own_chain().await;
        let server = Server::with_short_timeouts(&chain).await;
        let agent = funded(&chain).await;
        // Warm: the verifier reads the chain id once.
        server.pay(&agent.pull(&server.challenge().await)).await.assert_paid();
        let sent = chain.broadcasts();

        chain.faults().set(Rule::new(Fault::Delay { ms: 700 }).on("eth_call"));
        let challenge = expiring(&server, in_millis(400));
        let refused = server.pay(&agent.pull(&challenge)).await;
        refused.assert(402, "payment_expired");
        assert_eq!(chain.broadcasts(), sent, "nothing was sent");
        assert!(server.payment(&challenge.id).await.is_none(), "the claim is gone");
        server.assert_ledger(&chain, 1).await;
        server.finish(chain).await;
    });
}

#[test]
fn a_transaction_that_is_no_longer_valid_pays_nothing() {
    run(async {
        let server = Server::start().await;
        let agent = funded(shared_chain().await).await;
        let challenge = server.challenge().await;
        let mut late = agent.transaction(vec![challenge.transfer()]);
        late.valid_before = std::num::NonZeroU64::new(now_seconds() - 5);
        let credential = agent.credential(&challenge, agent::transaction(&agent.sign(late).raw));
        assert_eq!(server.pay(&credential).await.status, 402);
        server.assert_ledger(shared_chain().await, 0).await;
    });
}

#[test]
fn challenges_live_as_long_as_configured() {
    run(async {
        let server = Server::with_config(|config| config.payments.challenge_ttl_seconds = 40).await;
        let (before, challenge) = (Timestamp::now(), server.challenge().await);
        let expires = Timestamp::parse_rfc3339(&challenge.expires).expect("RFC 3339");
        let life = Duration::from_millis(u64::try_from(expires.millis() - before.millis()).unwrap());
        assert!((Duration::from_secs(40)..Duration::from_secs(45)).contains(&life), "{life:?}");
    });
}
