//! Fee sponsorship: paying a customer's network fee without being drained.
//!
//! Three limits: on the transaction itself (gas, fee caps, validity window,
//! exactly the expected calls; checked by the `mpp` crate's fee-payer policy),
//! on the number in flight, and a daily budget, in total and per payer. The last
//! two are in the database, so that several instances share them.

use alloy::primitives::Address;
use alloy::signers::local::PrivateKeySigner;
use mpp::protocol::methods::tempo::FeePayerPolicyOverride;

use super::{FeeAccount, recover};
use crate::chain::{SignedTransaction, TransactionError};
use crate::config;
use crate::db::statements::Statements as _;
use crate::db::{DbError, Tx};
use crate::id::Timestamp;
use crate::money::Money;

/// Fee units (10^-18 dollars) in a millionth of a dollar.
const FEE_UNITS_PER_MICRO: u128 = 1_000_000_000_000;
/// The `payer` of `sponsor_days` that stands for all payers together.
const ALL_PAYERS: &str = "";

/// The account that pays fees, and its limits.
#[derive(Debug, Clone)]
pub struct Sponsor {
    signer: PrivateKeySigner,
    limits: config::SponsorConfig,
    /// Account that pays. A sponsor that cannot pay one highest fee stops
    /// sponsoring until it can (draft-tempo-charge-00, "Fee Token Exhaustion":
    /// monitor, and reject new payment requests).
    account: FeeAccount,
}

/// Reason a fee is not sponsored now. The customer can pay the fee itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Exhausted {
    #[error("the transaction's highest fee or its gas limit exceeds the most that is sponsored; lower them")]
    Fee,
    #[error("too many sponsored transactions are pending; wait for one of them to be included")]
    InFlight,
    #[error("today's budget for sponsored fees is used up; it begins anew at 00:00 UTC")]
    Budget,
}

impl Sponsor {
    /// Returns the configured sponsor, or `None` without a key.
    ///
    /// # Errors
    /// If the key is not a secp256k1 private key.
    pub fn new(limits: &config::SponsorConfig) -> Result<Option<Self>, config::ConfigError> {
        let Some(key) = &limits.private_key else {
            return Ok(None);
        };
        let signer: PrivateKeySigner = key.expose().parse().map_err(|_| config::ConfigError::Invalid {
            key: "sponsor.private_key".into(),
            why: "is not 0x and 64 hex digits of a private key".into(),
        })?;
        let account = FeeAccount::new("sponsor", signer.address(), limits.fee_token, limits.max_fee);
        Ok(Some(Self { signer, limits: limits.clone(), account }))
    }

    /// Returns the account whose fee tokens are spent.
    #[must_use]
    pub fn account(&self) -> &FeeAccount {
        &self.account
    }

    /// Returns the signer, for the `mpp` crate's verifier, which checks the shape of transactions.
    pub(super) fn signer(&self) -> PrivateKeySigner {
        self.signer.clone()
    }

    pub(super) fn fee_token(&self) -> Address {
        self.limits.fee_token
    }

    pub(super) fn policy(&self) -> FeePayerPolicyOverride {
        let fee = u128::try_from(self.limits.max_fee.micros()).unwrap_or(0);
        FeePayerPolicyOverride {
            max_gas: Some(self.limits.max_gas),
            max_total_fee: Some(fee.saturating_mul(FEE_UNITS_PER_MICRO)),
            ..FeePayerPolicyOverride::default()
        }
    }

    /// Signs a 0x78 envelope as fee payer.
    fn sign(&self, envelope: &str) -> Result<SignedTransaction, TransactionError> {
        SignedTransaction::sponsor(envelope, &self.signer, self.limits.fee_token)
    }

    /// Returns the highest fee of a transaction, if it is within the limits of
    /// one transaction. Its calls and its validity are checked by the caller, who
    /// knows what they should be.
    pub(super) fn check_fee(&self, transaction: &SignedTransaction) -> Result<Money, Exhausted> {
        let fee = transaction.highest_fee().filter(|fee| *fee <= self.limits.max_fee);
        fee.filter(|_| transaction.gas_limit() <= self.limits.max_gas).ok_or(Exhausted::Fee)
    }

    /// Reserves the highest fee of one transaction, in the database transaction
    /// that records its broadcast. The day's rows are locked while it counts, so
    /// the limits hold on PostgreSQL too.
    pub(super) async fn reserve(
        &self,
        tx: &mut Tx,
        payer: &str,
        fee: Money,
        now: Timestamp,
    ) -> Result<Result<(), Exhausted>, DbError> {
        if fee > self.limits.max_fee {
            return Ok(Err(Exhausted::Fee));
        }
        let day = day(now);
        for (payer, budget) in
            [(ALL_PAYERS, self.limits.daily_budget), (payer, self.limits.daily_budget_per_payer)]
        {
            if !raise_reserved(tx, &day, payer, fee, budget).await? {
                return Ok(Err(Exhausted::Budget));
            }
        }
        let text = "SELECT count(*) AS of_all, \
             coalesce(sum(CASE WHEN payer = $1 THEN 1 ELSE 0 END), 0) AS of_payer \
             FROM (SELECT payer FROM payments WHERE state = 'broadcast' AND fee_limit > 0 \
                     AND (valid_before IS NULL OR valid_before >= $2) \
                   UNION ALL SELECT payer FROM channels WHERE pending_fee IS NOT NULL) AS pending";
        // Past its last moment a transaction costs nothing any more, whether or not its network is still served.
        let oldest = now.checked_sub_millis(recover::CLOCK_MARGIN_MS).unwrap_or(now);
        let counts = tx.fetch_one(text, vec![payer.into(), oldest.millis().into()]).await?;
        let is_full = counts.whole("of_all")? >= i64::from(self.limits.max_in_flight)
            || counts.whole("of_payer")? >= i64::from(self.limits.max_in_flight_per_payer);
        Ok(if is_full { Err(Exhausted::InFlight) } else { Ok(()) })
    }
}

/// Returns a customer's transaction, ready to send: as it came, or with the
/// sponsor's signature where its fee is sponsored. Checks nothing of it.
pub(super) fn ready(
    sponsor: Option<&Sponsor>,
    text: &str,
    sponsored: bool,
) -> Result<SignedTransaction, TransactionError> {
    match sponsor.filter(|_| sponsored) {
        Some(sponsor) => sponsor.sign(text),
        None => SignedTransaction::parse(text),
    }
}

/// Adds to the fees reserved on a day; `false` when that would exceed the budget.
async fn raise_reserved(
    tx: &mut Tx,
    day: &str,
    payer: &str,
    fee: Money,
    budget: Money,
) -> Result<bool, DbError> {
    let text = "INSERT INTO sponsor_days (day, payer, reserved) VALUES ($1, $2, 0) \
         ON CONFLICT (day, payer) DO NOTHING";
    tx.execute(text, vec![day.into(), payer.into()]).await?;
    let text = "UPDATE sponsor_days SET reserved = reserved + $1 \
         WHERE day = $2 AND payer = $3 AND reserved + $1 <= $4";
    let values = vec![fee.micros().into(), day.into(), payer.into(), budget.micros().into()];
    Ok(tx.execute(text, values).await? == 1)
}

/// Releases the part of a settled transaction's reservation that its fee did not use.
pub(super) async fn release_unused(
    tx: &mut Tx,
    payer: &str,
    unused: Money,
    reserved_at: Timestamp,
) -> Result<(), DbError> {
    let text = "UPDATE sponsor_days SET reserved = reserved - $1 \
         WHERE day = $2 AND payer IN ('', $3) AND reserved >= $1";
    tx.execute(text, vec![unused.micros().into(), day(reserved_at).into(), payer.into()]).await?;
    Ok(())
}

/// Returns the UTC day, `2026-01-31`.
fn day(now: Timestamp) -> String {
    now.to_rfc3339().chars().take(10).collect()
}
