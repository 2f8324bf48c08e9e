//! Class 33: one signature has several encodings, and is one payment all the same.

use alloy::eips::eip2718::{Decodable2718 as _, Encodable2718 as _};
use alloy::eips::eip2930::{AccessList, AccessListItem};
use alloy::primitives::{Bytes, hex};
use farebox_test_support::agent;
use farebox_test_support::db;
use farebox_test_support::harness::{Server, funded, run, shared_chain};
use mpp::protocol::methods::tempo::FeePayerEnvelope78;
use serde_json::Value;
use tempo_primitives::transaction::TempoTxEnvelope;

/// The same 65 bytes with 0 or 1 instead of 27 or 28 at their end.
fn parity(signature: &[u8]) -> Vec<u8> {
    let mut other = signature.to_vec();
    other[64] -= 27;
    other
}

/// The compact form (EIP-2098): 64 bytes.
fn compact(signature: &[u8]) -> Vec<u8> {
    let mut other = signature[..64].to_vec();
    other[32] |= (signature[64] - 27) << 7;
    other
}

/// Another text of a signed transaction: its signature is the last field of the list, and is written otherwise.
fn rewritten(raw: &str) -> Vec<String> {
    let bytes = hex::decode(raw).expect("hex");
    let envelope = TempoTxEnvelope::decode_2718(&mut bytes.as_slice()).expect("a transaction");
    assert_eq!(envelope.encoded_2718(), bytes, "as it is usually written");
    let signature = &bytes[bytes.len() - 65..];
    assert!([27, 28].contains(&signature[64]), "secp256k1");
    let mut other = bytes.clone();
    let end = other.len() - 1;
    other[end] -= 27;
    vec![hex::encode_prefixed(other), raw.to_uppercase().replacen("0X", "0x", 1)]
}

fn with_payload(credential: &Value, payload: Value) -> Value {
    let mut other = credential.clone();
    other["payload"] = payload;
    other
}

/// A settled transaction that came again so got a fresh challenge, which its client would have paid.
#[test]
fn attack_33_a_settled_transaction_written_otherwise_is_spent() {
    run(async {
        let chain = shared_chain().await;
        for database in db::engines().await {
            let server = Server::on(database, &chain.rpc_url(), |_| {}).await;
            let agent = funded(chain).await;
            let challenge = server.challenge().await;
            let signed = agent.sign(agent.transaction(vec![challenge.transfer()]));
            let credential = agent.credential(&challenge, agent::transaction(&signed.raw));
            server.pay(&credential).await.assert_paid();
            server.delivered(&challenge.id).await;
            for raw in rewritten(&signed.raw) {
                let again = server.pay(&with_payload(&credential, agent::transaction(&raw))).await;
                again.assert(403, "credential_spent");
                assert!(again.challenges().is_empty());
            }
            server.assert_ledger(chain, 1).await;
        }
    });
}

/// First written otherwise, then as usual: the encoding decides nothing.
#[test]
fn attack_33_a_payment_written_otherwise_is_made_once() {
    run(async {
        let chain = shared_chain().await;
        let server = Server::start().await;
        let agent = funded(chain).await;
        let challenge = server.challenge().await;
        let signed = agent.sign(agent.transaction(vec![challenge.transfer()]));
        let usual = agent.credential(&challenge, agent::transaction(&signed.raw));
        let other = with_payload(&usual, agent::transaction(&rewritten(&signed.raw)[0]));
        server.pay(&other).await.assert_paid();
        server.delivered(&challenge.id).await;
        server.pay(&usual).await.assert(403, "credential_spent");
        server.assert_ledger(chain, 1).await;
    });
}

/// A sponsor's envelope carries an access list that nobody signs.
#[test]
fn attack_33_a_sponsored_envelope_with_more_in_it_is_spent() {
    run(async {
        let chain = shared_chain().await;
        let server = Server::start().await;
        let agent = funded(chain).await;
        let challenge = server.sponsored_challenge().await;
        let mut envelope = agent.envelope(agent.sponsored(vec![challenge.transfer()]));
        let raw = |envelope: &FeePayerEnvelope78| hex::encode_prefixed(envelope.encoded_envelope());
        let credential = agent.credential(&challenge, agent::transaction(&raw(&envelope)));
        server.pay_sponsored(&credential).await.assert_paid();
        server.delivered(&challenge.id).await;
        let item = AccessListItem { address: agent.address(), storage_keys: Vec::new() };
        envelope.access_list = AccessList(vec![item]);
        let again = with_payload(&credential, agent::transaction(&raw(&envelope)));
        server.pay_sponsored(&again).await.assert(403, "credential_spent");
    });
}

#[test]
fn attack_33_a_proof_written_otherwise_is_spent() {
    run(async {
        let server = Server::start().await;
        let agent = funded(shared_chain().await).await;
        let challenge = server.proof_challenge().await;
        let credential = agent.proof(&challenge);
        let signature: Bytes =
            credential["payload"]["signature"].as_str().expect("text").parse().expect("hexadecimal");
        assert_eq!(server.prove(&credential).await.status, 200);
        server.delivered(&challenge.id).await;
        for written in [signature.to_vec(), parity(&signature), compact(&signature)] {
            let payload = agent::proof_payload(&hex::encode_prefixed(written));
            server.prove(&with_payload(&credential, payload)).await.assert(403, "credential_spent");
        }
    });
}
