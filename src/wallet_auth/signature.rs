//! Verification of a signature as far as it goes without the chain. Pure.
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

/// Longest signature that is looked at, in bytes: an ERC-6492 wrapper holds the call that creates the account.
pub const MAX_SIGNATURE_BYTES: usize = 16 << 10;

/// Length of a secp256k1 signature as `r`, `s` and `v`.
const SECP256K1_BYTES: usize = 65;

/// End of a signature of an account that is not deployed yet (ERC-6492).
const ERC6492_SUFFIX: [u8; 32] =
    alloy::primitives::hex!("6492649264926492649264926492649264926492649264926492649264926492");
/// End of an envelope that Tempo's libraries mark as one.
const TEMPO_SUFFIX: [u8; 32] = [0x77; 32];

/// Result of verifying a signature without the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalVerdict {
    /// The wallet's own key signed.
    Signed,
    /// The signature is nobody's, or not over this message.
    Forged,
    /// This key signed for the account; the chain's keychain says if it may.
    AccessKey { key: Address, kind: SignatureType },
    /// The wallet decides, if it is a contract.
    Contract,
    /// The contract decides that the wallet will be.
    Counterfactual,
}

/// Returns the hash that a wallet signs of a message (EIP-191, "personal message").
#[must_use]
pub fn hash(message: &str) -> B256 {
    eip191_hash_message(message.as_bytes())
}

/// Verifies a signature of `wallet` over a message's [`hash`], as far as that needs no chain.
#[must_use]
pub fn verify_local(wallet: Address, hash: B256, signature: &[u8]) -> LocalVerdict {
    if signature.len() > MAX_SIGNATURE_BYTES || signature.is_empty() {
        return LocalVerdict::Forged;
    }
    if signature.ends_with(&ERC6492_SUFFIX) {
        return LocalVerdict::Counterfactual;
    }
    let bare = bare(signature);
    if let Some(expanded) = expand_compact(bare) {
        return verify_secp256k1(wallet, hash, &expanded);
    }
    match bare.len() {
        SECP256K1_BYTES => verify_secp256k1(wallet, hash, bare),
        _ => verify_envelope(wallet, hash, bare),
    }
}

/// Returns the signature without Tempo's mark.
#[must_use]
pub fn bare(signature: &[u8]) -> &[u8] {
    signature.strip_suffix(&TEMPO_SUFFIX).unwrap_or(signature)
}

fn verify_secp256k1(wallet: Address, hash: B256, signature: &[u8]) -> LocalVerdict {
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

fn verify_envelope(wallet: Address, hash: B256, signature: &[u8]) -> LocalVerdict {
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
        let judged = |signature: &[u8]| verify_local(signer.address(), hash(TEXT), signature);
        assert_eq!(judged(&good), LocalVerdict::Signed);
        let mut recovery_bit = good.clone();
        recovery_bit[64] -= 27;
        assert_eq!(judged(&recovery_bit), LocalVerdict::Signed);
        let mut compact = good[..64].to_vec();
        compact[32] |= (good[64] - 27) << 7;
        assert_eq!(judged(&compact), LocalVerdict::Signed);
        let marked = [good.as_slice(), &TEMPO_SUFFIX].concat();
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
        assert_eq!(judged(&vec![7; MAX_SIGNATURE_BYTES + 1]), LocalVerdict::Forged);
        let other = PrivateKeySigner::random().address();
        assert_eq!(verify_local(other, hash(TEXT), &good), LocalVerdict::Contract);
        assert_eq!(verify_local(signer.address(), hash("other"), &good), LocalVerdict::Contract);
        assert_eq!(judged(&[&good[..], &ERC6492_SUFFIX].concat()), LocalVerdict::Counterfactual);
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
        assert_eq!(verify_local(account, hash(TEXT), &good), accepted);
        let other = Address::repeat_byte(8);
        assert_eq!(verify_local(other, hash(TEXT), &good), LocalVerdict::Forged, "it names another account");
        // Made for another account and put into an envelope of this one: another key, which the
        // keychain does not know.
        let mut moved = signed(other, hash(TEXT));
        moved.user_address = account;
        assert_ne!(verify_local(account, hash(TEXT), &envelope(moved)), accepted);
        let inner = key.sign_hash_sync(&hash(TEXT)).expect("signs");
        let legacy = KeychainSignature::new_v1(account, PrimitiveSignature::Secp256k1(inner));
        assert_eq!(verify_local(account, hash(TEXT), &envelope(legacy)), LocalVerdict::Forged);
    }

    proptest! {
        #[test]
        fn no_signature_panics(bytes in prop::collection::vec(any::<u8>(), 0..400), kind in 0u8..6) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = kind;
            }
            prop_assert_ne!(verify_local(Address::repeat_byte(7), hash(TEXT), &bytes), LocalVerdict::Signed);
        }
    }
}
