//! Fee sponsorship: paying a customer's network fee without being drained.
//!
//! Three walls: the transaction itself (gas, fee caps, validity window, exactly
//! the expected calls; checked by the `mpp` crate's fee-payer policy), the
//! number in flight, and a daily budget, in total and per payer. The last two
//! live in the database, so that several instances share them.

use alloy::primitives::Address;
use alloy::signers::local::PrivateKeySigner;
use mpp::protocol::methods::tempo::FeePayerPolicyOverride;
use sqlx::Row as _;

use super::FeeAccount;
use crate::chain::{SignedTransaction, TransactionError};
use crate::config;
use crate::db::{DbError, Tx};
use crate::id::Timestamp;
use crate::money::Money;

/// Fee units (10^-18 dollars) in a millionth of a dollar.
const FEE_UNITS_PER_MICRO: u128 = 1_000_000_000_000;
/// Who all payers together are in `sponsor_days`.
const EVERYONE: &str = "";

/// The account that pays fees, and its limits.
#[derive(Debug, Clone)]
pub struct Sponsor {
    signer: PrivateKeySigner,
    limits: config::SponsorConfig,
    /// A sponsor that cannot pay one highest fee stops sponsoring until it can
    /// (draft-tempo-charge-00, "Fee Token Exhaustion": monitor, and reject new
    /// payment requests).
    account: FeeAccount,
}

/// Why a fee is not sponsored now. The customer can pay the fee itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Exhausted {
    #[error("the transaction's highest fee exceeds what is sponsored")]
    Fee,
    #[error("too many sponsored transactions are open")]
    InFlight,
    #[error("today's budget for sponsored fees is used up")]
    Budget,
}

impl Sponsor {
    /// The sponsor, or `None` when no key is configured.
    ///
    /// # Errors
    /// When the key is not a secp256k1 private key.
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

    /// The account whose fee tokens are spent.
    #[must_use]
    pub fn account(&self) -> &FeeAccount {
        &self.account
    }

    /// For the `mpp` crate's verifier, which checks the shape of transactions.
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

    /// The highest fee of a transaction that stays within what one may cost.
    /// What it does, and how long it is valid, is checked by whoever knows what
    /// that should be.
    pub(super) fn affords(&self, transaction: &SignedTransaction) -> Result<Money, Exhausted> {
        let fee = transaction.highest_fee().filter(|fee| *fee <= self.limits.max_fee);
        fee.filter(|_| transaction.gas_limit() <= self.limits.max_gas).ok_or(Exhausted::Fee)
    }

    /// Reserves the highest fee of one transaction, in the transaction that
    /// records its broadcast. Whoever holds the day's row counts alone, so the
    /// caps hold on PostgreSQL too.
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
        for (who, budget) in
            [(EVERYONE, self.limits.daily_budget), (payer, self.limits.daily_budget_per_payer)]
        {
            if !raise(tx, &day, who, fee, budget).await? {
                return Ok(Err(Exhausted::Budget));
            }
        }
        let counts = sqlx::query(
            "SELECT count(*) AS everyone, \
             coalesce(sum(CASE WHEN payer = $1 THEN 1 ELSE 0 END), 0) AS own \
             FROM (SELECT payer FROM payments WHERE state = 'broadcast' AND fee_limit > 0 \
                   UNION ALL SELECT payer FROM channels WHERE pending_fee IS NOT NULL) AS open",
        )
        .bind(payer.to_owned())
        .fetch_one(tx.conn())
        .await?;
        let over = |column, limit: u32| -> Result<bool, DbError> {
            Ok(counts.try_get::<i64, _>(column)? >= i64::from(limit))
        };
        if over("everyone", self.limits.max_in_flight)? || over("own", self.limits.max_in_flight_per_payer)? {
            return Ok(Err(Exhausted::InFlight));
        }
        Ok(Ok(()))
    }
}

/// A customer's transaction, ready to send: as it came, or with the sponsor's
/// signature where its fee is sponsored. Nothing of it has been checked.
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

/// Adds to a day's sum unless that would exceed the budget.
async fn raise(tx: &mut Tx, day: &str, payer: &str, fee: Money, budget: Money) -> Result<bool, DbError> {
    sqlx::query(
        "INSERT INTO sponsor_days (day, payer, reserved) VALUES ($1, $2, 0) \
         ON CONFLICT (day, payer) DO NOTHING",
    )
    .bind(day.to_owned())
    .bind(payer.to_owned())
    .execute(tx.conn())
    .await?;
    let done = sqlx::query(
        "UPDATE sponsor_days SET reserved = reserved + $1 \
         WHERE day = $2 AND payer = $3 AND reserved + $1 <= $4",
    )
    .bind(fee.micros())
    .bind(day.to_owned())
    .bind(payer.to_owned())
    .bind(budget.micros())
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Gives back what a settled transaction did not use of its reservation.
pub(super) async fn give_back(
    tx: &mut Tx,
    payer: &str,
    unused: Money,
    reserved_at: Timestamp,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE sponsor_days SET reserved = reserved - $1 \
         WHERE day = $2 AND payer IN ('', $3) AND reserved >= $1",
    )
    .bind(unused.micros())
    .bind(day(reserved_at))
    .bind(payer.to_owned())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The UTC day, `2026-01-31`.
fn day(now: Timestamp) -> String {
    now.to_rfc3339().chars().take(10).collect()
}
