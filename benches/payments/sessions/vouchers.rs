//! Vouchers per second: checked and stored by the engine, against the bare check of a signature.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::primitives::B256;
use anyhow::{Result, bail, ensure};
use farebox::chain::{Chain, Fees};
use farebox::config::{self, PATH_USD};
use farebox::db::Db;
use farebox::funding::FeeAccount;
use farebox::funding::channel::{Channels, Operator, SettlementPolicy};
use farebox::id::Timestamp;
use farebox::ledger::audit::audit;
use farebox::limits::Rate;
use farebox::money::Money;
use farebox::payments::methods::tempo::session::{Descriptor, SessionTerms, SignedVoucher};
use farebox_test_support::db::{self, TestDb};
use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId as LibRecoveryId};
use secp256k1::{Message, SECP256K1};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::seed::{Payer, signing_hash};
use super::{CHAIN_ID, ESCROW, RECIPIENT, operator};
use crate::program::NO_CHAIN;
use crate::report::{Table, median, micros, number, real};

const ROUNDS: usize = 3;
/// Channels at once, and vouchers of each in a round.
const LOADS: [(usize, usize); 4] = [(1, 100), (64, 20), (256, 8), (1000, 4)];
/// Checks of a signature in a round.
const CHECKS: usize = 1000;

/// One engine with channels that get vouchers.
struct Engine {
    name: &'static str,
    db: Db,
    channels: Channels,
    payer: Arc<Payer>,
    /// By load.
    rates: Vec<Vec<f64>>,
    /// Amount of the next voucher.
    next: i64,
    _database: (Option<TempDir>, Option<TestDb>),
}

pub async fn measure() -> Result<()> {
    let folder = crate::folder()?;
    let db = Db::connect(&format!("sqlite://{}", folder.path().join("farebox.db").display()), 8).await?;
    db.migrate().await?;
    let mut engines = vec![Engine::new("SQLite", db, (Some(folder), None)).await?];
    if let Some(database) = db::postgres().await {
        let db = Db::connect(&database.url, 8).await?;
        engines.push(Engine::new("PostgreSQL", db, (None, Some(database))).await?);
    }
    let samples = samples()?;
    let mut bare: [Vec<f64>; 3] = Default::default();
    for _ in 0..ROUNDS {
        let checks: [fn(&Sample) -> bool; 3] = [by_k256, by_libsecp256k1, by_farebox];
        for (rates, check) in bare.iter_mut().zip(checks) {
            rates.push(rate(&samples, check)?);
        }
        for (index, (channels, each)) in LOADS.into_iter().enumerate() {
            for engine in &mut engines {
                let rate = engine.round(channels, each).await?;
                engine.rates[index].push(rate);
            }
        }
    }
    print(&engines, bare.map(|rates| median(&rates)));
    for engine in &engines {
        let report = audit(&engine.db).await?;
        ensure!(report.is_clean(), "{}: {report}", engine.name);
    }
    Ok(())
}

impl Engine {
    async fn new(name: &'static str, db: Db, database: (Option<TempDir>, Option<TestDb>)) -> Result<Self> {
        let most = LOADS.into_iter().map(|(channels, _)| channels).max().unwrap_or(0);
        let payer = Arc::new(Payer::with_channels(&db, most).await?);
        let terms = SessionTerms {
            currency: PATH_USD,
            recipient: RECIPIENT,
            chain_id: CHAIN_ID,
            escrow: ESCROW,
            operator: operator().address(),
            min_voucher_delta: Money::ZERO,
            sponsored: false,
        };
        let config = config::ChainConfig {
            rpc_url: NO_CHAIN.into(),
            chain_id: CHAIN_ID,
            ..config::ChainConfig::default()
        };
        let fees = Fees { token: PATH_USD, gas: 1, max_fee_per_gas: 0, max_priority_fee_per_gas: 0 };
        let policy =
            SettlementPolicy { settle_above: Money::ZERO, settle_after_ms: 0, close_idle_ms: i64::MAX };
        let signer = operator();
        let account = FeeAccount::new("operator", signer.address(), PATH_USD, Money::ZERO);
        let operator = Operator { signer, previous: None, fees, account };
        // Far more than are sent: the rate is not what is measured.
        let rate = Rate::new(1000, u32::MAX);
        let chain = Chain::new(&config)?;
        let channels = Channels::new(db.clone(), chain, None, operator, terms, policy, rate);
        let rates = LOADS.iter().map(|_| Vec::new()).collect();
        Ok(Self { name, db, channels, payer, rates, next: 1, _database: database })
    }

    /// Every channel gets one voucher after the other; returns vouchers per second.
    async fn round(&mut self, channels: usize, each: usize) -> Result<f64> {
        let (first, last) = (self.next, self.next + i64::try_from(each)?);
        self.next = last;
        let mut signed = Vec::with_capacity(channels);
        for channel in 0..channels {
            let vouchers: Result<Vec<_>> = (first..last).map(|n| self.payer.voucher(channel, n)).collect();
            signed.push((self.payer.descriptor(channel), vouchers?));
        }
        let begun = Instant::now();
        let mut payers = JoinSet::new();
        for (descriptor, vouchers) in signed {
            payers.spawn(bring(self.channels.clone(), descriptor, vouchers));
        }
        while let Some(done) = payers.join_next().await {
            done??;
        }
        Ok(real((channels * each) as u64) / begun.elapsed().as_secs_f64())
    }
}

async fn bring(channels: Channels, descriptor: Descriptor, vouchers: Vec<SignedVoucher>) -> Result<()> {
    for voucher in vouchers {
        if let Err(error) = channels.accept(&descriptor, &voucher, Timestamp::now()).await {
            bail!("a voucher was refused: {error}");
        }
    }
    Ok(())
}

/// A voucher and who signed it.
struct Sample {
    voucher: SignedVoucher,
    signer: alloy::primitives::Address,
    hash: B256,
}

fn samples() -> Result<Vec<Sample>> {
    let payer = Payer::unopened(16);
    (0..CHECKS)
        .map(|n| {
            let amount = i64::try_from(n)? + 1;
            let voucher = payer.voucher(n % 16, amount)?;
            Ok(Sample { signer: payer.address(), hash: signing_hash(voucher.channel, amount)?, voucher })
        })
        .collect()
}

fn rate(samples: &[Sample], check: fn(&Sample) -> bool) -> Result<f64> {
    let begun = Instant::now();
    ensure!(samples.iter().all(check), "a good signature was refused");
    Ok(real(samples.len() as u64) / begun.elapsed().as_secs_f64())
}

/// The recovery alone, in Rust.
fn by_k256(sample: &Sample) -> bool {
    let bytes = &sample.voucher.signature;
    let Ok(signature) = Signature::from_slice(&bytes[..64]) else { return false };
    let Some(id) = RecoveryId::from_byte(bytes[64] - 27) else { return false };
    VerifyingKey::recover_from_prehash(sample.hash.as_slice(), &signature, id)
        .is_ok_and(|key| alloy::primitives::Address::from_public_key(&key) == sample.signer)
}

/// The recovery alone, in C.
fn by_libsecp256k1(sample: &Sample) -> bool {
    let bytes = &sample.voucher.signature;
    let recovered = || {
        let id = LibRecoveryId::try_from(i32::from(bytes[64]) - 27)?;
        let signature = RecoverableSignature::from_compact(&bytes[..64], id)?;
        SECP256K1.recover_ecdsa(&Message::from_digest(sample.hash.0), &signature)
    };
    recovered().is_ok_and(|key| {
        let address = alloy::primitives::Address::from_raw_public_key(&key.serialize_uncompressed()[1..]);
        address == sample.signer
    })
}

/// The part that farebox does, the hash included.
fn by_farebox(sample: &Sample) -> bool {
    sample.voucher.verify(sample.signer, ESCROW, CHAIN_ID).is_ok()
}

fn print(engines: &[Engine], [k256, libsecp256k1, farebox]: [f64; 3]) {
    let mut table = Table::new(&["", "vouchers/s", "us each", "times the check", "of libsecp256k1"]);
    let mut row = |name: &str, rate: f64| {
        let each = micros(Duration::from_secs(1)) / rate;
        table.row(name, [number(rate), number(each), number(farebox / rate), number(libsecp256k1 / rate)]);
    };
    for (index, (channels, _)) in LOADS.into_iter().enumerate() {
        for engine in engines {
            let word = if channels == 1 { "channel" } else { "channels" };
            row(&format!("{}, {channels} {word}", engine.name), median(&engine.rates[index]));
        }
    }
    row("the check alone, as farebox does it", farebox);
    row("recovery alone, k256", k256);
    row("recovery alone, libsecp256k1", libsecp256k1);
    table.print();
    println!(
        "  Medians of {ROUNDS} alternating rounds. Checks run on one core; the engines may use all of them. The \
         signatures are made before."
    );
}
