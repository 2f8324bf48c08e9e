//! Class 8: proofs of a wallet.

use alloy::primitives::Address;
use alloy::signers::Signature;
use farebox_test_support::agent::{self, Agent, Challenge, proof_payload};
use farebox_test_support::harness::{Server, funded, run, shared_chain};
use serde_json::{Value, json};
use tempo_primitives::transaction::{KeychainSignature, PrimitiveSignature, TempoSignature};

fn hex(bytes: impl AsRef<[u8]>) -> String {
    alloy::hex::encode_prefixed(bytes)
}

/// A proof by `signer` in the name of `named`.
fn proof_in_the_name_of(named: &Agent, signer: &Agent, account: Address, challenge: &Challenge) -> Value {
    named.credential(challenge, proof_payload(&hex(signer.sign_proof(account, challenge).as_bytes())))
}

#[test]
fn attack_08_a_proof_is_used_once() {
    run(async {
        let server = Server::start().await;
        let agent = Agent::random();
        let challenge = server.proof_challenge().await;
        assert_eq!(challenge.request["amount"], "0");
        let proof = agent.proof(&challenge);
        server.prove(&proof).await.assert_paid();
        server.delivered(&challenge.id).await;
        server.prove(&proof).await.assert(403, "credential_spent");
        // Nor does another wallet get anything for the used challenge.
        server.prove(&Agent::random().proof(&challenge)).await.assert(402, "invalid_challenge");
        assert_eq!(server.count("SELECT count(*) FROM credits").await, 0, "a proof moves no money");
    });
}

#[test]
fn attack_08_a_proof_by_another_wallet() {
    run(async {
        let server = Server::start().await;
        let (victim, thief) = (Agent::random(), Agent::random());
        let challenge = server.proof_challenge().await;
        for forged in [
            proof_in_the_name_of(&victim, &thief, victim.address(), &challenge),
            proof_in_the_name_of(&victim, &thief, thief.address(), &challenge),
            proof_in_the_name_of(&thief, &victim, victim.address(), &challenge),
        ] {
            server.prove(&forged).await.assert(402, "verification_failed");
        }
        let honest = server.prove(&victim.proof(&challenge)).await;
        assert_eq!(honest.assert_paid().json()["wallet"], json!(format!("{:#x}", victim.address())));
    });
}

#[test]
fn attack_08_a_proof_of_another_challenge_realm_or_chain() {
    run(async {
        let server = Server::start().await;
        let agent = Agent::random();
        let (challenge, other) = (server.proof_challenge().await, server.proof_challenge().await);
        let mut realm = challenge.clone();
        realm.realm = "evil.example".into();
        for signed in [&other, &realm] {
            let forged = proof_in_the_name_of(&agent, &agent, agent.address(), signed);
            let payload = forged["payload"].clone();
            server.prove(&agent.credential(&challenge, payload)).await.assert(402, "verification_failed");
        }
        let honest = agent.proof(&challenge);
        for source in [
            json!(null),
            json!("did:pkh:eip155:1:0x0000000000000000000000000000000000000000"),
            json!(format!("did:pkh:eip155:1:{}", agent.address())),
            json!(format!("did:pkh:eip155:01337:{}", agent.address())),
            json!(format!("did:key:{}", agent.address())),
            json!(""),
        ] {
            let mut forged = honest.clone();
            forged["source"] = source;
            server.prove(&forged).await.assert(402, "verification_failed");
        }
        server.prove(&honest).await.assert_paid();
    });
}

#[test]
fn attack_08_a_keychain_envelope_naming_another_account() {
    run(async {
        let server = Server::start().await;
        let (victim, thief) = (Agent::random(), Agent::random());
        let challenge = server.proof_challenge().await;
        // The thief's key, in an envelope that acts for the thief or for the victim, in a credential
        // that names the victim: no key of the victim's keychain signed.
        for (inner, account) in [(victim.address(), victim.address()), (victim.address(), thief.address())] {
            let signature = PrimitiveSignature::Secp256k1(thief.sign_proof(inner, &challenge));
            let envelope = TempoSignature::Keychain(KeychainSignature::new(account, signature));
            let forged = victim.credential(&challenge, proof_payload(&hex(envelope.to_bytes())));
            server.prove(&forged).await.assert(402, "verification_failed");
        }
        assert_eq!(server.count("SELECT count(*) FROM payments").await, 0);
    });
}

#[test]
fn attack_08_malformed_signatures() {
    run(async {
        let server = Server::start().await;
        let agent = Agent::random();
        let challenge = server.proof_challenge().await;
        let good = agent.sign_proof(agent.address(), &challenge);
        let order =
            alloy::primitives::uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);
        let high_s = Signature::new(good.r(), order - good.s(), !good.v());
        let zero = Signature::new(alloy::primitives::U256::ZERO, alloy::primitives::U256::ZERO, false);
        let long = [&good.as_bytes()[..], b"\0"].concat();
        for bad in [
            String::new(),
            "0x".into(),
            "0xzz".into(),
            hex(&good.as_bytes()[..64]),
            hex(long),
            hex(zero.as_bytes()),
            hex([7; 65]),
        ] {
            let refused = server.prove(&agent.credential(&challenge, proof_payload(&bad))).await;
            assert_eq!(refused.status, 402, "{bad}: {}", refused.text);
        }
        // The mirrored signature is the same wallet's, and one challenge buys one answer.
        let mirrored = agent.credential(&challenge, proof_payload(&hex(high_s.as_bytes())));
        let (mirrored, honest) =
            (server.prove(&mirrored).await.status, server.prove(&agent.proof(&challenge)).await.status);
        assert_eq!([mirrored, honest].iter().filter(|status| **status == 200).count(), 1);
    });
}

#[test]
fn attack_08_proofs_do_not_pay_and_payments_do_not_prove() {
    run(async {
        let server = Server::start().await;
        let agent = funded(shared_chain().await).await;
        let priced = server.challenge().await;
        server.pay(&agent.proof(&priced)).await.assert(402, "verification_failed");
        let free = server.proof_challenge().await;
        let transaction = agent.sign(agent.transaction(vec![free.transfer()]));
        for payload in
            [agent::transaction(&transaction.raw), agent::hash(&format!("{:#x}", transaction.hash))]
        {
            let refused = server.prove(&agent.credential(&free, payload)).await;
            assert!([402, 503].contains(&refused.status), "{}", refused.text);
        }
        server.assert_ledger(shared_chain().await, 0).await;
    });
}
