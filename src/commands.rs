//! Commands of the program that work beside a running server: a look at its configuration, contracts, and payments
//! without credit.

use std::process::ExitCode;

use alloy::primitives::Address;
use alloy::signers::local::PrivateKeySigner;
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use farebox::chain::key_sale::{self, NewSale};
use farebox::chain::{Chain, Fees};
use farebox::config::Config;
use farebox::doctor::{self, Verdict};
use farebox::funding::uncredited;
use farebox::id::{SourceRef, Timestamp};
use farebox::money::Money;

use crate::{Configuration, current_database};

#[derive(Subcommand)]
pub enum ContractsCommand {
    /// Deploy a key sale, read its terms back, and print its address.
    ///
    /// The key of `sessions.operator_key`, or else of `sponsor.private_key`, signs and pays the fee. It gets no power
    /// over the contract. The payee's only power is to close it.
    Deploy(DeployArguments),
}

#[derive(Subcommand)]
pub enum UncreditedCommand {
    /// List the payments, the oldest first: source, wallet, amount, reason.
    List(Configuration),
    /// Credit a payment to its wallet, once its money has reached you.
    Credit(CreditArguments),
    /// Take a payment off the list without credit: its sender has the money back.
    Dismiss(UncreditedArguments),
}

#[derive(Args)]
pub struct CreditArguments {
    #[command(flatten)]
    payment: UncreditedArguments,
    /// Say that you have seen the money at the account that is paid. Where a receive policy held it back, its sender may
    /// have taken it back from the guard.
    #[arg(long)]
    received: bool,
}

#[derive(Args)]
pub struct UncreditedArguments {
    /// The payment's source, as `list` prints it.
    source: String,
    #[command(flatten)]
    configuration: Configuration,
}

#[derive(Args)]
pub struct DeployArguments {
    #[command(flatten)]
    configuration: Configuration,
    /// Prices of the packs in dollars, in the order of their numbers; never changed afterwards.
    #[arg(long, value_delimiter = ',', default_value = "10,25,100")]
    packs: Vec<Money>,
    /// Least purchase in dollars, of a pack as of credit; never changed afterwards.
    #[arg(long, default_value = "1")]
    minimum: Money,
    /// Token that it sells for; `chain.currency` unless given.
    #[arg(long)]
    token: Option<Address>,
    /// Account that it pays; `key_sale.payee`, or else `payments.recipient`, unless given.
    #[arg(long)]
    payee: Option<Address>,
    /// Gas limit of the deployment.
    #[arg(long, default_value_t = key_sale::DEPLOYMENT_GAS)]
    gas: u64,
}

/// Deploys a key sale. Standard output is the address alone, for scripts.
pub async fn contracts(command: ContractsCommand) -> anyhow::Result<()> {
    let ContractsCommand::Deploy(arguments) = command;
    let config = arguments.configuration.load()?;
    if arguments.packs.is_empty() || arguments.packs.iter().any(|price| !price.is_positive()) {
        bail!("--packs: every price must be above zero, such as 10,25,100");
    }
    if arguments.packs.len() > key_sale::MAX_PACKS {
        bail!("--packs: a sale has {} packs at the most", key_sale::MAX_PACKS);
    }
    let key = config.sessions.operator_key.as_ref().or(config.sponsor.private_key.as_ref());
    let key =
        key.context("set sessions.operator_key or sponsor.private_key: one of them signs the deployment")?;
    let signer: PrivateKeySigner =
        key.expose().parse().ok().context("the signing key is not 0x and 64 hex digits of a private key")?;
    let sale = NewSale {
        token: arguments.token.unwrap_or(config.chain.currency),
        payee: arguments.payee.or(config.key_sale.payee).unwrap_or(config.payments.recipient),
        minimum: arguments.minimum,
        packs: &arguments.packs,
    };
    if arguments.packs.iter().any(|price| *price < sale.minimum) || !sale.minimum.is_positive() {
        bail!("--minimum: set an amount above zero that no pack is below, such as 1");
    }
    let chain = Chain::new(&config.chain)?;
    let token = config.chain.currency;
    let fees = Fees { token, gas: arguments.gas, max_fee_per_gas: 0, max_priority_fee_per_gas: 0 };
    let until = u64::try_from(Timestamp::now().seconds())? + key_sale::VALID_SECONDS;
    let (address, terms) = chain.deploy_sale(&signer, &sale, fees, until).await?;
    println!("{address:#x}");
    let packs: Vec<_> = terms.packs.iter().map(|price| format!("${}", price.to_dollars())).collect();
    eprintln!(
        "Sells for {:#x}, pays {:#x}, from ${}; packs: {}. Add it to key_sale.addresses to follow it.",
        terms.token,
        terms.payee,
        sale.minimum.to_dollars(),
        packs.join(", ")
    );
    Ok(())
}

/// Lists payments without credit, credits or dismisses one. Works beside a running server.
pub async fn uncredited(command: UncreditedCommand) -> anyhow::Result<()> {
    let unknown = "there is no such payment; `farebox uncredited list` lists them";
    match command {
        UncreditedCommand::List(configuration) => {
            for payment in uncredited::list(&current_database(&configuration).await?).await? {
                let (amount, claim) = (payment.amount.to_dollars(), payment.claim.unwrap_or_default());
                println!("{} {} ${amount} {} {claim}", payment.source, payment.account, payment.reason);
            }
        }
        UncreditedCommand::Credit(CreditArguments { received: false, .. }) => {
            bail!(
                "--received: say that you have seen the money; its sender may have taken it back from the guard"
            );
        }
        UncreditedCommand::Credit(CreditArguments { payment, .. }) => {
            let (db, source) =
                (current_database(&payment.configuration).await?, SourceRef::parse(&payment.source)?);
            let credited = uncredited::credit(&db, &source, Timestamp::now()).await?.context(unknown)?;
            println!("{} has ${} of credit", credited.account, credited.amount.to_dollars());
        }
        UncreditedCommand::Dismiss(payment) => {
            let (db, source) =
                (current_database(&payment.configuration).await?, SourceRef::parse(&payment.source)?);
            if !uncredited::dismiss(&db, &source).await? {
                bail!(unknown);
            }
            println!("dismissed");
        }
    }
    Ok(())
}

/// Prints what is found, a line each.
pub async fn doctor(config: &Config) -> anyhow::Result<ExitCode> {
    let found = doctor::examine(config).await;
    for diagnosis in &found {
        println!("{diagnosis}");
    }
    let count = |verdict| found.iter().filter(|diagnosis| diagnosis.verdict == verdict).count();
    let (wrong, doubtful) = (count(Verdict::Wrong), count(Verdict::Doubtful));
    println!("{} looks, {doubtful} warnings, {wrong} failed", found.len());
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
