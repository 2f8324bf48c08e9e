//! Class 3: the secret behind challenges, and what it binds.

use farebox::config::{Config, Secret, Sources, load};
use farebox::money::Money;
use farebox_test_support::harness::{BODY, PREVIEW, SECRET, Server, funded, reply, run, shared_chain};
use serde_json::json;

#[test]
fn attack_03_short_secrets_are_refused() {
    let configured = |key: &str, secret: String| {
        let recipient = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
        let mut flags = vec![("payments.secret".to_owned(), SECRET.to_owned())];
        flags.push(("payments.recipient".to_owned(), recipient.to_owned()));
        flags.push((key.to_owned(), secret));
        load(&Sources { flags, ..Sources::default() })
    };
    for key in ["payments.secret", "payments.previous_secret"] {
        for length in [0, 1, 31] {
            let refused = configured(key, "s".repeat(length)).expect_err("too short").to_string();
            assert!(refused.contains(key) && refused.contains("32 bytes"), "{refused}");
        }
        assert!(configured(key, "s".repeat(32)).is_ok());
    }
    assert!(Config::default().validate().is_err(), "there is no default secret");
}

#[test]
fn attack_03_realm_does_not_come_from_the_host_header() {
    run(async {
        let server = Server::start().await;
        for name in ["host", "x-forwarded-host", "forwarded"] {
            let value = if name == "forwarded" { "host=evil.example" } else { "evil.example" };
            let challenge = reply(server.post(PREVIEW, BODY).header(name, value)).await.challenge();
            assert_eq!(challenge.realm, "127.0.0.1", "{name}");
        }
        let index = reply(server.get("/mpp").header("host", "evil.example")).await;
        assert!(!index.text.contains("evil.example"));
    });
}

#[test]
fn attack_03_every_bound_parameter_is_checked() {
    run(async {
        let server = Server::start().await;
        let agent = funded(shared_chain().await).await;
        let challenge = server.challenge().await;
        let honest = agent.pull(&challenge);
        for (name, value) in [
            ("id", json!("")),
            ("id", json!("A".repeat(43))),
            ("id", json!(format!("{}A", challenge.id))),
            ("realm", json!("evil.example")),
            ("realm", json!("127.0.0.1|tempo")),
            ("request", json!("e30")),
            ("expires", json!("2099-01-01T00:00:00Z")),
            ("digest", json!("sha-256=:AAAA:")),
            ("digest", json!(null)),
            ("opaque", json!("e30")),
            ("opaque", json!(null)),
        ] {
            let mut forged = honest.clone();
            forged["challenge"][name] = value.clone();
            if value.is_null() {
                forged["challenge"].as_object_mut().unwrap().remove(name);
            }
            server.pay(&forged).await.assert_refused();
        }
        for name in ["method", "intent"] {
            let mut forged = honest.clone();
            forged["challenge"][name] = json!("other");
            server.pay(&forged).await.assert(400, "method_unsupported");
        }
        // The description is for people and bound by nothing.
        let mut described = honest.clone();
        described["challenge"]["description"] = json!("something else");
        server.pay(&described).await.assert_paid();
        server.assert_ledger(shared_chain().await, 1).await;
    });
}

#[test]
fn attack_03_separator_inside_a_bound_field() {
    run(async {
        let server = Server::start().await;
        let agent = funded(shared_chain().await).await;
        let challenge = server.challenge().await;
        // The same bytes under the MAC, cut at another place.
        let join = |first: &str, second: &str| {
            let mut forged = agent.pull(&challenge);
            let [a, b] = [first, second].map(|name| challenge.echo[name].as_str().unwrap().to_owned());
            forged["challenge"][first] = json!(format!("{a}|{b}"));
            forged["challenge"].as_object_mut().unwrap().remove(second);
            forged
        };
        server.pay(&join("expires", "digest")).await.assert_refused();
        server.pay(&join("digest", "opaque")).await.assert_refused();
        // A secret holder could sign such a thing; it is still not ours.
        let mut signed = challenge.clone();
        signed.echo["digest"] = json!(format!("{}|", challenge.echo["digest"].as_str().unwrap()));
        signed.resign(SECRET);
        server.pay(&agent.pull(&signed)).await.assert_refused();
        server.assert_ledger(shared_chain().await, 0).await;
    });
}

#[test]
fn attack_03_secret_rotation_through_restarts() {
    run(async {
        let chain = shared_chain().await;
        let agent = funded(chain).await;
        let server = Server::start().await;
        let (first, second) = (agent.pull(&server.challenge().await), agent.pull(&server.challenge().await));
        let new = || Secret::from("another secret of at least thirty-two bytes");

        let rotated = server
            .restart(|config| {
                config.payments.previous_secret = Some(Secret::from(SECRET));
                config.payments.secret = new();
            })
            .await;
        rotated.pay(&first).await.assert_paid();
        rotated.pay(&agent.pull(&rotated.challenge().await)).await.assert_paid();

        let forgotten = rotated.restart(|config| config.payments.previous_secret = None).await;
        forgotten.pay(&second).await.assert(402, "invalid_challenge");
        // What was paid is remembered longer than the secret, and than the price.
        forgotten.pay(&first).await.assert(403, "credential_spent");
        forgotten.assert_ledger(chain, 2).await;
    });
}

#[test]
fn attack_09_a_changed_price_does_not_charge_the_paid_again() {
    run(async {
        let chain = shared_chain().await;
        let agent = funded(chain).await;
        let server = Server::start().await;
        let credential = agent.pull(&server.challenge().await);
        server.pay(&credential).await.assert_paid();
        let unpaid = agent.pull(&server.challenge().await);

        let dearer = server.restart(|config| config.pii.preview_price = Money::from_micros(90_000)).await;
        dearer.pay(&credential).await.assert(403, "credential_spent");
        dearer.pay(&unpaid).await.assert(402, "invalid_challenge");
        dearer.assert_ledger(chain, 1).await;
    });
}
