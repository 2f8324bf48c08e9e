//! A wallet that is a passkey.

use alloy::primitives::{Address, B256};
use alloy::signers::local::PrivateKeySigner;
use p256::ecdsa::signature::hazmat::PrehashSigner as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tempo_primitives::transaction::derive_p256_address;

/// A passkey's signature, in Tempo's envelope; the address derives from the key.
pub struct Passkey {
    key: p256::ecdsa::SigningKey,
    x: B256,
    y: B256,
}

impl Passkey {
    pub fn random() -> Self {
        let key = p256::ecdsa::SigningKey::from_slice(PrivateKeySigner::random().to_bytes().as_slice());
        let key = key.expect("in the field");
        let point = key.verifying_key().to_encoded_point(false);
        let coordinate = |bytes: Option<&p256::FieldBytes>| B256::from_slice(bytes.expect("a point"));
        Self { x: coordinate(point.x()), y: coordinate(point.y()), key }
    }

    pub fn address(&self) -> Address {
        derive_p256_address(&self.x, &self.y)
    }

    fn sign(&self, prehash: &[u8]) -> Vec<u8> {
        let signature: p256::ecdsa::Signature = self.key.sign_prehash(prehash).expect("signs");
        let signature = signature.normalize_s().unwrap_or(signature);
        [&signature.to_bytes()[..], self.x.as_slice(), self.y.as_slice()].concat()
    }

    /// The uncompressed point: 0x04 and 128 digits.
    pub fn point(&self) -> String {
        format!("0x04{}{}", hex::encode(self.x), hex::encode(self.y))
    }

    pub fn plain(&self, hash: B256) -> Vec<u8> {
        [&[1], self.sign(hash.as_slice()).as_slice(), &[0]].concat()
    }

    pub fn webauthn(&self, hash: B256) -> Vec<u8> {
        use base64::Engine as _;
        let challenge = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(hash);
        let client =
            json!({ "type": "webauthn.get", "challenge": challenge, "origin": "https://wallet.example" });
        let client = client.to_string();
        let mut data = vec![7; 32];
        data.extend([1, 0, 0, 0, 0]);
        let mut signed = data.clone();
        signed.extend(Sha256::digest(client.as_bytes()));
        data.extend(client.as_bytes());
        [&[2], data.as_slice(), &self.sign(&Sha256::digest(&signed))].concat()
    }
}
