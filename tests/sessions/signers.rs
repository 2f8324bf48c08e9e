//! Signers of a channel: the channel itself names them, never a credential.

use alloy::hex;
use farebox::funding::channel::Phase;
use farebox::id::Timestamp;
use farebox_test_support::agent::Agent;
use farebox_test_support::harness::run;
use farebox_test_support::payer::Payer;
use serde_json::{Value, json};

use crate::fixture::{DEPOSIT, Fixture, PRICE, body, on_every_engine};

/// A payer of the same channel with another wallet's key.
fn held_by(agent: &Agent, payer: &Payer) -> Payer {
    Payer { agent: agent.clone(), ..payer.clone() }
}

fn signature(signature: &[u8]) -> Value {
    json!(hex::encode_prefixed(signature))
}

#[test]
fn a_delegate_signs_vouchers_and_nobody_else() {
    run(on_every_engine(async |fixture| {
        let delegate = Agent::random();
        let (agent, challenge) = (fixture.agent().await, fixture.challenge().await);
        let payer = Payer::altered(agent, challenge, DEPOSIT, |terms| terms.signer = delegate.address());
        let delegated = |amount| held_by(&delegate, &payer).sign(amount);
        // The payer of the deposit is not the signer of its vouchers.
        fixture.manage(&payer, payer.open(5 * PRICE)).await.assert(402, "invalid_signature");
        let mut open = payer.open(5 * PRICE);
        open["signature"] = signature(&delegated(5 * PRICE));
        // The payload's signer must be the channel's.
        let mut other = open.clone();
        other["authorizedSigner"] = json!(payer.agent.address());
        fixture.manage(&payer, other).await.assert(402, "malformed_credential");
        fixture.done(&payer, open).await;
        fixture.manage(&payer, payer.voucher(9 * PRICE)).await.assert(402, "invalid_signature");
        let voucher = payer.signed(9 * PRICE, &delegated(9 * PRICE));
        let answer = fixture.reply(&payer, voucher, &body(&json!({"chunks": 9}), true)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        fixture.idle().await;
        let mut close = payer.signed(9 * PRICE, &delegated(9 * PRICE));
        close["action"] = json!("close");
        fixture.done(&payer, close).await;
        assert_eq!((fixture.closed(&payer).await, fixture.earned().await), (9 * PRICE, 9 * PRICE));
    }));
}

/// The reserve knows 65 bytes only, so a compact signature must not be kept as it came.
#[test]
fn a_compact_signature_is_accepted_and_settles() {
    run(async {
        let fixture = Fixture::start().await;
        let payer = fixture.opened(DEPOSIT, PRICE).await;
        let full = payer.sign(6 * PRICE);
        let mut compact = full[..64].to_vec();
        compact[32] |= (full[64] - 27) << 7;
        let voucher = payer.signed(6 * PRICE, &compact);
        fixture.run(&payer, voucher, &json!({"chunks": 6})).await;
        fixture.idle().await;
        let channel = fixture.channel(&payer).await;
        let sessions = fixture.server.app.sessions.as_ref().expect("sessions are on");
        sessions.channels.settle(&channel, Timestamp::now()).await.expect("it settles");
        assert_eq!(fixture.earned().await, 6 * PRICE);
        assert_eq!(fixture.close(&payer).await, 6 * PRICE);
        fixture.finish().await;
    });
}

#[test]
fn a_descriptor_of_another_channel_is_refused_with_every_action() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.opened(DEPOSIT, 5 * PRICE).await;
        let other = fixture.opened(DEPOSIT, 5 * PRICE).await;
        let before = fixture.channel_amounts(&payer).await;
        let mut descriptors = vec![other.descriptor()];
        for (field, value) in payer.descriptor().as_object().expect("an object") {
            let mut changed = payer.descriptor();
            // The same length, another value.
            let text = value.as_str().expect("hex");
            changed[field] = json!(format!("0x{}", "17".repeat((text.len() - 2) / 2)));
            descriptors.push(changed);
        }
        for descriptor in descriptors {
            for mut payload in
                [payer.voucher(6 * PRICE), payer.top_up(500), payer.close(6 * PRICE), payer.open(6 * PRICE)]
            {
                payload["descriptor"] = descriptor.clone();
                let reply = fixture.manage(&payer, payload.clone()).await;
                let action = &payload["action"];
                assert_eq!(
                    (reply.status, reply.code().as_str()),
                    (402, "malformed_credential"),
                    "{action} with {descriptor}"
                );
            }
            let mut voucher = payer.voucher(6 * PRICE);
            voucher["descriptor"] = descriptor;
            let reply = fixture.reply(&payer, voucher, &body(&json!({}), true)).await;
            reply.assert(402, "malformed_credential");
        }
        assert_eq!(fixture.channel_amounts(&payer).await, before);
        assert_eq!(fixture.upstream.observed().requests, 0);
        assert_eq!((fixture.close(&payer).await, fixture.close(&other).await), (0, 0));
    }));
}

/// A voucher that settled is on the chain for everyone to read. With it, a outsider's signature
/// and a descriptor that names the outsider as signer, a channel must not close.
#[test]
fn attack_16_a_outsider_cannot_authorise_a_close() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.opened(DEPOSIT, 12 * PRICE).await;
        let request = body(&json!({"chunks": 12}), true);
        assert_eq!(fixture.reply(&payer, payer.voucher(12 * PRICE), &request).await.status, 200);
        fixture.idle().await;
        let channel = fixture.channel(&payer).await;
        let sessions = fixture.server.app.sessions.as_ref().expect("sessions are on");
        sessions.channels.settle(&channel, Timestamp::now()).await.expect("it settles");

        let outsider = Agent::random();
        let mut payload = held_by(&outsider, &payer).authorized_close(12 * PRICE);
        payload["signature"] = signature(&payer.sign(12 * PRICE));
        payload["descriptor"] = payer.descriptor();
        for signer in [payer.terms.signer, outsider.address()] {
            payload["descriptor"]["authorizedSigner"] = json!(signer);
            let reply = fixture.manage(&payer, payload.clone()).await;
            assert_eq!(reply.status, 402, "a outsider closed the channel: {}", reply.text);
        }
        assert_eq!(fixture.channel(&payer).await.phase, Phase::Open);
        assert_eq!(fixture.close(&payer).await, 12 * PRICE);
    }));
}
