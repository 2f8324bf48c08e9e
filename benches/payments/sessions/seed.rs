//! Open channels, straight into a server's database: opening a thousand on the chain takes long
//! and is not measured here. Vouchers go the usual way, with the first request.

use alloy::primitives::{Address, B256};
use alloy::signers::SignerSync as _;
use alloy::signers::local::PrivateKeySigner;
use anyhow::Result;
use farebox::config::PATH_USD;
use farebox::db::{Db, DbError};
use farebox::id::Timestamp;
use farebox::payments::methods::tempo::session::{ChannelId, Descriptor, SignedVoucher};
use mpp::PaymentChallenge;
use mpp::protocol::core::PaymentCredential;
use mpp::protocol::methods::tempo::precompile_voucher::precompile_voucher_signing_hash_with_escrow;
use serde_json::json;

use super::{CHAIN_ID, ESCROW, FUNDS, RECIPIENT, operator};

/// Nobody asks the chain about a channel that was looked at so far in the future: there is none.
const CHECKED_MS: i64 = 24 * 3_600_000;

/// A wallet with channels.
pub struct Payer {
    signer: PrivateKeySigner,
    channels: Vec<(ChannelId, Descriptor)>,
}

impl Payer {
    /// Opens so many channels with all the money there is.
    pub async fn with_channels(db: &Db, count: usize) -> Result<Self> {
        let payer = Self::unopened(count);
        let (now, channels) = (Timestamp::now(), &payer.channels);
        db.transaction(|mut tx| async move {
            for (id, descriptor) in channels {
                open(&mut tx, *id, descriptor, now).await?;
            }
            Ok::<_, DbError>((tx, ()))
        })
        .await?;
        Ok(payer)
    }

    /// Channels that no database knows.
    pub fn unopened(count: usize) -> Self {
        let signer = PrivateKeySigner::random();
        let channels = (0..count)
            .map(|_| {
                let descriptor = descriptor(signer.address());
                (descriptor.channel_id(ESCROW, CHAIN_ID), descriptor)
            })
            .collect();
        Self { signer, channels }
    }

    pub fn address(&self) -> Address {
        self.signer.address()
    }

    pub fn descriptor(&self, n: usize) -> Descriptor {
        self.channels[n].1
    }

    /// A voucher of the `n`th channel.
    pub fn voucher(&self, n: usize, amount: i64) -> Result<SignedVoucher> {
        let (channel, _) = self.channels[n];
        let signature = self.signer.sign_hash_sync(&signing_hash(channel, amount)?)?;
        Ok(SignedVoucher {
            channel,
            amount: farebox::money::Money::from_micros(amount),
            signature: signature.as_bytes().to_vec().into(),
        })
    }

    /// `Authorization` values, one for each channel, that allow all of its deposit.
    pub fn credentials(&self, challenge: &str) -> Result<Vec<String>> {
        let challenge: PaymentChallenge = mpp::parse_www_authenticate(challenge)?;
        let credential = |n: usize| {
            let (channel, descriptor) = &self.channels[n];
            let payload = json!({
                "action": "voucher", "channelId": channel.to_string(), "descriptor": descriptor.to_wire(),
                "cumulativeAmount": FUNDS.to_string(),
                "signature": alloy::hex::encode_prefixed(&self.voucher(n, FUNDS)?.signature),
            });
            Ok(mpp::format_authorization(&PaymentCredential::new(challenge.to_echo(), payload))?)
        };
        (0..self.channels.len()).map(credential).collect()
    }
}

/// The signed content of a voucher.
pub fn signing_hash(channel: ChannelId, amount: i64) -> Result<B256> {
    let amount = u128::try_from(amount)?;
    Ok(precompile_voucher_signing_hash_with_escrow(channel.0, amount, ESCROW, CHAIN_ID)?)
}

fn descriptor(payer: Address) -> Descriptor {
    Descriptor {
        payer,
        payee: RECIPIENT,
        operator: operator().address(),
        token: PATH_USD,
        salt: B256::random(),
        authorized_signer: payer,
        expiring_nonce_hash: B256::random(),
    }
}

async fn open(
    tx: &mut farebox::db::Tx,
    id: ChannelId,
    descriptor: &Descriptor,
    now: Timestamp,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO channels (id, payer, payee, operator, token, salt, authorized_signer, \
         expiring_nonce_hash, state, deposit, settled, close_requested_at, created_at, active_at, \
         checked_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'open', $9, 0, 0, $10, $10, $11)",
    )
    .bind(id.to_string())
    .bind(format!("{:#x}", descriptor.payer))
    .bind(format!("{:#x}", descriptor.payee))
    .bind(format!("{:#x}", descriptor.operator))
    .bind(format!("{:#x}", descriptor.token))
    .bind(format!("{:#x}", descriptor.salt))
    .bind(format!("{:#x}", descriptor.authorized_signer))
    .bind(format!("{:#x}", descriptor.expiring_nonce_hash))
    .bind(FUNDS)
    .bind(now.millis())
    .bind(now.millis() + CHECKED_MS)
    .execute(tx.conn())
    .await?;
    Ok(())
}
