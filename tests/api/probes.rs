//! Requests that ask for nothing: registries send them to see what a route costs.

use farebox::config::{Config, Pack};
use farebox::money::Money;
use farebox_test_support::agent::authorization;
use farebox_test_support::harness::{BODY, PREVIEW, Server, funded, reply, run, shared_chain};

/// Two packs, the dearer one first.
fn packs(config: &mut Config) {
    let pack = |id: &str, dollars: i64| Pack {
        id: id.into(),
        price: Money::from_micros(dollars * 1_000_000),
        credits: Money::from_micros(dollars * 1_000_000),
        name: id.into(),
    };
    config.billing.packs = vec![pack("large", 50), pack("starter", 5)];
}

#[test]
fn a_probe_is_told_what_a_route_costs_at_the_least() {
    run(async {
        let server = Server::with_config(packs).await;
        for (path, amount) in [(PREVIEW, "50000"), ("/mpp/credits", "5000000"), ("/mpp/keys", "5000000")] {
            for body in ["", "{}", "{ }", "\n{}\n"] {
                let answer = reply(server.post(path, body)).await;
                if body == "{ }" {
                    // A body that is there and wrong.
                    answer.assert(400, "invalid_params");
                    continue;
                }
                answer.assert(402, "payment_required");
                assert_eq!(answer.challenge().request["amount"], amount, "{path} {body:?}");
                assert!(answer.text.contains("at the least"), "{}", answer.text);
            }
            // No type, and another one: nothing of it is read.
            let bare = reply(server.request(reqwest::Method::POST, path)).await;
            bare.assert(402, "payment_required");
            for wrong in ["[]", "null", "{\"x\":1}", "{"] {
                reply(server.post(path, wrong)).await.assert(400, "invalid_params");
            }
        }
        assert_eq!(server.count("SELECT count(*) FROM payments").await, 0, "nothing is written");
    });
}

/// What pays for nothing is refused before anything is broadcast, and no other request can be bought with it.
#[test]
fn attack_01_the_challenge_of_a_probe_buys_nothing() {
    run(async {
        let chain = shared_chain().await;
        let server = Server::start().await;
        let agent = funded(chain).await;
        for body in ["", "{}"] {
            let credential = agent.pull(&reply(server.post(PREVIEW, body)).await.challenge());
            let empty =
                reply(server.post(PREVIEW, body).header("authorization", authorization(&credential))).await;
            empty.assert(400, "invalid_params");
            let other =
                reply(server.post(PREVIEW, BODY).header("authorization", authorization(&credential))).await;
            assert_eq!(other.status, 402, "{}", other.text);
        }
        assert_eq!(server.count("SELECT count(*) FROM payments").await, 0);
        let paid = agent.pull(&reply(server.post(PREVIEW, BODY)).await.challenge());
        server.pay(&paid).await.assert_paid();
    });
}
