//! Channel descriptors and vouchers.

use std::fmt;
use std::str::FromStr;

use alloy::primitives::{Address, B256, Bytes};
use mpp::protocol::methods::tempo::precompile_voucher::{
    compute_precompile_channel_id_with_escrow, precompile_close_authorization_signing_hash_with_escrow,
    verify_precompile_voucher_signature,
};
use mpp::protocol::methods::tempo::session::ChannelDescriptor;

use tempo_alloy::primitives::transaction::{PrimitiveSignature, TempoSignature};

use farebox_types::money::Money;
use farebox_types::signature::expand_compact;

/// Longest signature accepted, in bytes: a WebAuthn assertion with its client data.
const MAX_SIGNATURE_BYTES: usize = 2048;

/// Id of a channel: the hash of its descriptor, escrow and chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId(pub B256);

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl FromStr for ChannelId {
    type Err = VoucherError;

    /// Reads an id; letter case does not matter ("Hexadecimal Values").
    fn from_str(text: &str) -> Result<Self, VoucherError> {
        if text.len() != 66 || !text.starts_with("0x") {
            return Err(VoucherError::Field("channelId"));
        }
        text.parse().map(Self).map_err(|_| VoucherError::Field("channelId"))
    }
}

/// Reason a voucher or descriptor is refused before the channel's state is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VoucherError {
    #[error("`{0}` is missing or malformed")]
    Field(&'static str),
    #[error("`channelId` is not the id of `descriptor` on this escrow and chain")]
    Channel,
    #[error("`signature` is not one of the channel's signer over this voucher")]
    Signature,
}

/// The immutable part of a channel ("Channel Descriptor").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    pub payer: Address,
    pub payee: Address,
    pub operator: Address,
    pub token: Address,
    pub salt: B256,
    pub authorized_signer: Address,
    pub expiring_nonce_hash: B256,
}

impl Descriptor {
    /// Reads the wire form.
    ///
    /// # Errors
    /// [`VoucherError::Field`] names the first field that is malformed.
    pub fn parse(wire: &ChannelDescriptor) -> Result<Self, VoucherError> {
        Ok(Self {
            payer: field("descriptor.payer", &wire.payer)?,
            payee: field("descriptor.payee", &wire.payee)?,
            operator: field("descriptor.operator", &wire.operator)?,
            token: field("descriptor.token", &wire.token)?,
            salt: field("descriptor.salt", &wire.salt)?,
            authorized_signer: field("descriptor.authorizedSigner", &wire.authorized_signer)?,
            expiring_nonce_hash: field("descriptor.expiringNonceHash", &wire.expiring_nonce_hash)?,
        })
    }

    /// Returns the wire form.
    #[must_use]
    pub fn to_wire(&self) -> ChannelDescriptor {
        ChannelDescriptor {
            payer: format!("{:#x}", self.payer),
            payee: format!("{:#x}", self.payee),
            operator: format!("{:#x}", self.operator),
            token: format!("{:#x}", self.token),
            salt: format!("{:#x}", self.salt),
            authorized_signer: format!("{:#x}", self.authorized_signer),
            expiring_nonce_hash: format!("{:#x}", self.expiring_nonce_hash),
        }
    }

    /// Returns the id of the channel with this descriptor on an escrow and chain.
    #[must_use]
    pub fn channel_id(&self, escrow: Address, chain_id: u64) -> ChannelId {
        ChannelId(compute_precompile_channel_id_with_escrow(
            self.payer,
            self.payee,
            self.operator,
            self.token,
            self.salt,
            self.authorized_signer,
            self.expiring_nonce_hash,
            escrow,
            chain_id,
        ))
    }

    /// Returns the address that signs vouchers.
    #[must_use]
    pub fn signer(&self) -> Address {
        if self.authorized_signer.is_zero() { self.payer } else { self.authorized_signer }
    }
}

fn field<T: FromStr>(name: &'static str, text: &str) -> Result<T, VoucherError> {
    if !text.starts_with("0x") {
        return Err(VoucherError::Field(name));
    }
    text.parse().map_err(|_| VoucherError::Field(name))
}

/// A signature that allows the payee to take up to `amount` in total.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedVoucher {
    pub channel: ChannelId,
    /// Cumulative amount, in base units.
    pub amount: Money,
    pub signature: Bytes,
}

impl fmt::Debug for SignedVoucher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedVoucher").field("channel", &self.channel).finish_non_exhaustive()
    }
}

impl SignedVoucher {
    /// Reads the wire fields; checks form only, before any signature is recovered.
    ///
    /// # Errors
    /// [`VoucherError::Field`].
    pub fn parse(channel: ChannelId, amount: &str, signature: &str) -> Result<Self, VoucherError> {
        let amount = Money::parse_base_units(amount).map_err(|_| VoucherError::Field("cumulativeAmount"))?;
        let signature: Bytes = signature.parse().map_err(|_| VoucherError::Field("signature"))?;
        if signature.len() > MAX_SIGNATURE_BYTES {
            return Err(VoucherError::Field("signature"));
        }
        // The reserve knows no compact form, and a stored voucher must be fit to settle.
        Ok(Self { channel, amount, signature: settleable(&signature).into() })
    }

    /// Checks the signature ("Voucher Verification"): canonical low-s, 65 bytes
    /// or EIP-2098 compact, or a P-256 or WebAuthn signature of TIP-1020.
    ///
    /// # Errors
    /// [`VoucherError::Signature`].
    pub fn verify(&self, signer: Address, escrow: Address, chain_id: u64) -> Result<(), VoucherError> {
        let amount =
            u128::try_from(self.amount.micros()).map_err(|_| VoucherError::Field("cumulativeAmount"))?;
        let good = verify_precompile_voucher_signature(
            &self.signature,
            signer,
            self.channel.0,
            amount,
            escrow,
            chain_id,
        );
        if good.unwrap_or(false) { Ok(()) } else { Err(VoucherError::Signature) }
    }
}

impl SignedVoucher {
    /// Returns true if `signature` authorises a close at this voucher's amount.
    #[must_use]
    pub fn close_is_authorized(
        &self,
        signer: Address,
        escrow: Address,
        chain_id: u64,
        signature: &str,
    ) -> bool {
        let Ok(bytes) = signature.parse::<Bytes>() else {
            return false;
        };
        let Ok(amount) = u128::try_from(self.amount.micros()) else {
            return false;
        };
        let hash =
            precompile_close_authorization_signing_hash_with_escrow(self.channel.0, amount, escrow, chain_id);
        let primitive = PrimitiveSignature::from_bytes(&settleable(&bytes));
        match (hash, primitive) {
            (Ok(hash), Ok(primitive)) => TempoSignature::Primitive(primitive)
                .recover_signer(&hash)
                .is_ok_and(|recovered| recovered == signer),
            _ => false,
        }
    }
}

/// Returns the signature with an EIP-2098 compact one in its 65-byte form, any other as it is.
fn settleable(signature: &[u8]) -> Vec<u8> {
    expand_compact(signature).map_or_else(|| signature.to_vec(), |expanded| expanded.to_vec())
}

#[cfg(test)]
mod tests {
    use alloy::primitives::address;
    use alloy::signers::SignerSync as _;
    use alloy::signers::local::PrivateKeySigner;
    use mpp::protocol::methods::tempo::precompile_voucher::precompile_voucher_signing_hash_with_escrow;

    use super::*;

    const ESCROW: Address = address!("4d50500000000000000000000000000000000000");
    const HALF_ORDER: &str = "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0";

    fn channel() -> ChannelId {
        ChannelId(B256::repeat_byte(7))
    }

    fn signed(signer: &PrivateKeySigner, amount: u64) -> Vec<u8> {
        let hash = precompile_voucher_signing_hash_with_escrow(channel().0, u128::from(amount), ESCROW, 1337)
            .expect("in range");
        signer.sign_hash_sync(&hash).expect("signs").as_bytes().to_vec()
    }

    fn voucher(amount: u64, signature: Vec<u8>) -> SignedVoucher {
        let amount = Money::from_micros(i64::try_from(amount).expect("small"));
        SignedVoucher { channel: channel(), amount, signature: signature.into() }
    }

    #[test]
    fn attack_14_only_a_canonical_signature_of_the_signer_counts() {
        let signer = PrivateKeySigner::random();
        let good = signed(&signer, 500);
        let check = |voucher: &SignedVoucher| voucher.verify(signer.address(), ESCROW, 1337);
        assert_eq!(check(&voucher(500, good.clone())), Ok(()));

        let mut compact = good[..64].to_vec();
        compact[32] |= (good[64] - 27) << 7;
        let compact = alloy::hex::encode_prefixed(compact);
        let compact = SignedVoucher::parse(channel(), "500", &compact).expect("well formed");
        assert_eq!(check(&compact), Ok(()));
        assert_eq!(compact.signature.len(), 65, "kept in the form that settles");

        let mut trailing = good.clone();
        trailing.push(0);
        let mut high_s = good.clone();
        let s = alloy::primitives::U256::from_be_slice(&good[32..64]);
        let order = alloy::primitives::U256::from_str_radix(HALF_ORDER, 16).expect("hex")
            * alloy::primitives::U256::from(2)
            + alloy::primitives::U256::from(1);
        high_s[32..64].copy_from_slice(&(order - s).to_be_bytes::<32>());
        high_s[64] = 27 + 28 - high_s[64];
        for forged in [trailing, high_s, vec![], vec![0; 65], good[..63].to_vec()] {
            assert_eq!(check(&voucher(500, forged)), Err(VoucherError::Signature));
        }
        assert_eq!(check(&voucher(501, good.clone())), Err(VoucherError::Signature));
        let other = voucher(500, good);
        assert_eq!(other.verify(signer.address(), ESCROW, 1), Err(VoucherError::Signature));
        assert_eq!(other.verify(Address::ZERO, ESCROW, 1337), Err(VoucherError::Signature));
    }

    #[test]
    fn attack_13_mixed_case_ids_are_one_channel() {
        let lower: ChannelId = format!("0x{}", "ab".repeat(32)).parse().expect("valid");
        let upper: ChannelId = format!("0x{}", "AB".repeat(32)).parse().expect("valid");
        assert_eq!(lower, upper);
        assert_eq!(upper.to_string(), format!("0x{}", "ab".repeat(32)));
        for wrong in ["", "0x", "ab", &"ab".repeat(33), &format!("0x{}", "zz".repeat(32))] {
            assert!(wrong.parse::<ChannelId>().is_err(), "{wrong}");
        }
    }
}
