//! What a signature says by itself, and what only the chain can say. Pure.
//!
//! | signature | decided by |
//! | --- | --- |
//! | secp256k1 over the EIP-191 hash: 65 bytes, or 64 (EIP-2098); canonical, low s | itself |
//! | Tempo's P-256 (`0x01`) and WebAuthn (`0x02`) | itself: the address derives from the key |
//! | Tempo's access key (`0x04`) for an account | the key signed: itself; it may: the chain's keychain |
//! | any other of an account with code | the account (ERC-1271) |
//! | wrapped for an account that is not deployed yet | the account, once its factory ran (ERC-6492) |
//!
//! Tempo's older access key signatures (`0x03`) do not bind the account, so one that was made for
//! one account could be shown for another; they are refused, as the chain refuses them.

use alloy::primitives::{Address, B256, Signature, eip191_hash_message};
use tempo_alloy::primitives::transaction::{PrimitiveSignature, SignatureType, TempoSignature};

use crate::signature::expand_compact;

/// Longest signature that is looked at: an ERC-6492 wrapper holds what creates the account.
pub const LONGEST: usize = 16 << 10;

/// Length of a secp256k1 signature as `r`, `s` and `v`.
const PLAIN: usize = 65;

/// Ends a signature of an account that is not deployed yet (ERC-6492).
const COUNTERFACTUAL: [u8; 32] =
    alloy::primitives::hex!("6492649264926492649264926492649264926492649264926492649264926492");
/// Ends an envelope that Tempo's libraries mark as one.
const TEMPO: [u8; 32] = [0x77; 32];

/// What became of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalVerdict {
    /// The wallet's own key signed.
    Signed,
    /// Nobody's signature, or not over this message.
    Forged,
    /// This key signed for the account; whether it may is in the chain's keychain.
    AccessKey { key: Address, kind: SignatureType },
    /// If the wallet is a contract, it decides.
    Contract,
    /// The contract that the wallet will be decides.
    Counterfactual,
}

/// What the wallet signs of a message (EIP-191, "personal message").
#[must_use]
pub fn hash(message: &str) -> B256 {
    eip191_hash_message(message.as_bytes())
}

/// Judges a signature of `wallet` over a message's [`hash`].
#[must_use]
pub fn judge(wallet: Address, hash: B256, signature: &[u8]) -> LocalVerdict {
    if signature.len() > LONGEST || signature.is_empty() {
        return LocalVerdict::Forged;
    }
    if signature.ends_with(&COUNTERFACTUAL) {
        return LocalVerdict::Counterfactual;
    }
    let bare = bare(signature);
    if let Some(expanded) = expand_compact(bare) {
        return judge_plain(wallet, hash, &expanded);
    }
    match bare.len() {
        PLAIN => judge_plain(wallet, hash, bare),
        _ => judge_envelope(wallet, hash, bare),
    }
}

/// The signature without Tempo's mark.
#[must_use]
pub fn bare(signature: &[u8]) -> &[u8] {
    signature.strip_suffix(&TEMPO).unwrap_or(signature)
}

fn judge_plain(wallet: Address, hash: B256, signature: &[u8]) -> LocalVerdict {
    let usual = signature.last().is_some_and(|v| matches!(v, 0 | 1 | 27 | 28));
    let Some(parsed) = Signature::try_from(signature).ok().filter(|_| usual) else {
        return LocalVerdict::Contract;
    };
    match parsed.recover_address_from_prehash(&hash) {
        // With the other s the same signature would have a second spelling.
        Ok(signer) if signer == wallet && parsed.normalize_s().is_none() => LocalVerdict::Signed,
        Ok(signer) if signer == wallet => LocalVerdict::Forged,
        // A contract's owner may have signed.
        Ok(_) | Err(_) => LocalVerdict::Contract,
    }
}

fn judge_envelope(wallet: Address, hash: B256, signature: &[u8]) -> LocalVerdict {
    match TempoSignature::from_bytes(signature) {
        Ok(TempoSignature::Primitive(primitive)) => match primitive.recover_signer(&hash) {
            Ok(signer) if signer == wallet => LocalVerdict::Signed,
            Ok(_) | Err(_) => LocalVerdict::Contract,
        },
        Ok(TempoSignature::Keychain(keychain)) if keychain.user_address == wallet => {
            let kind = PrimitiveSignature::signature_type(&keychain.signature);
            match keychain.key_id(&hash) {
                Ok(key) if !keychain.is_legacy() => LocalVerdict::AccessKey { key, kind },
                Ok(_) | Err(_) => LocalVerdict::Forged,
            }
        }
        Ok(TempoSignature::Keychain(_)) => LocalVerdict::Forged,
        Err(_) => LocalVerdict::Contract,
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::U256;
    use alloy::signers::SignerSync as _;
    use alloy::signers::local::PrivateKeySigner;
    use proptest::prelude::*;
    use tempo_alloy::primitives::transaction::KeychainSignature;

    use super::*;

    const TEXT: &str = "Pryv API key mgmt | action=list";
    /// The order of secp256k1.
    const ORDER: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";

    #[test]
    fn attack_23_a_plain_signature_has_one_spelling() {
        let signer = PrivateKeySigner::random();
        let good = signer.sign_message_sync(TEXT.as_bytes()).expect("signs").as_bytes().to_vec();
        let judged = |signature: &[u8]| judge(signer.address(), hash(TEXT), signature);
        assert_eq!(judged(&good), LocalVerdict::Signed);
        let mut recovery_bit = good.clone();
        recovery_bit[64] -= 27;
        assert_eq!(judged(&recovery_bit), LocalVerdict::Signed);
        let mut compact = good[..64].to_vec();
        compact[32] |= (good[64] - 27) << 7;
        assert_eq!(judged(&compact), LocalVerdict::Signed);
        let marked = [good.as_slice(), &TEMPO].concat();
        assert_eq!(judged(&marked), LocalVerdict::Signed);

        let mut high_s = good.clone();
        let s = U256::from_be_slice(&good[32..64]);
        let order = U256::from_str_radix(ORDER, 16).expect("hex");
        high_s[32..64].copy_from_slice(&(order - s).to_be_bytes::<32>());
        high_s[64] = 27 + 28 - high_s[64];
        assert_eq!(judged(&high_s), LocalVerdict::Forged);
        let mut chain_bound = good.clone();
        chain_bound[64] += 10;
        for other in [chain_bound, vec![0; 65], [&good[..], &[0]].concat(), good[..63].to_vec()] {
            assert_eq!(judged(&other), LocalVerdict::Contract, "only a contract could accept it");
        }
        assert_eq!(judged(&[]), LocalVerdict::Forged);
        assert_eq!(judged(&vec![7; LONGEST + 1]), LocalVerdict::Forged);
        let other = PrivateKeySigner::random().address();
        assert_eq!(judge(other, hash(TEXT), &good), LocalVerdict::Contract);
        assert_eq!(judge(signer.address(), hash("other"), &good), LocalVerdict::Contract);
        assert_eq!(judged(&[&good[..], &COUNTERFACTUAL].concat()), LocalVerdict::Counterfactual);
    }

    #[test]
    fn attack_23_an_access_key_signs_for_one_account() {
        let (key, account) = (PrivateKeySigner::random(), Address::repeat_byte(7));
        let signed = |account, hash| {
            let bound = KeychainSignature::signing_hash(hash, account);
            let inner = key.sign_hash_sync(&bound).expect("signs");
            KeychainSignature::new(account, PrimitiveSignature::Secp256k1(inner))
        };
        let envelope = |keychain| TempoSignature::Keychain(keychain).to_bytes();
        let good = envelope(signed(account, hash(TEXT)));
        let accepted = LocalVerdict::AccessKey { key: key.address(), kind: SignatureType::Secp256k1 };
        assert_eq!(judge(account, hash(TEXT), &good), accepted);
        let other = Address::repeat_byte(8);
        assert_eq!(judge(other, hash(TEXT), &good), LocalVerdict::Forged, "it names another account");
        // Made for another account and put into an envelope of this one: another key, which the
        // keychain does not know.
        let mut moved = signed(other, hash(TEXT));
        moved.user_address = account;
        assert_ne!(judge(account, hash(TEXT), &envelope(moved)), accepted);
        let inner = key.sign_hash_sync(&hash(TEXT)).expect("signs");
        let legacy = KeychainSignature::new_v1(account, PrimitiveSignature::Secp256k1(inner));
        assert_eq!(judge(account, hash(TEXT), &envelope(legacy)), LocalVerdict::Forged);
    }

    proptest! {
        #[test]
        fn no_signature_panics(bytes in prop::collection::vec(any::<u8>(), 0..400), kind in 0u8..6) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = kind;
            }
            prop_assert_ne!(judge(Address::repeat_byte(7), hash(TEXT), &bytes), LocalVerdict::Signed);
        }
    }
}
