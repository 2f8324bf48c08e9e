//! Command line of the program.

#![forbid(unsafe_code)]

mod commands;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand};
use farebox::app::App;
use farebox::chain::Chain;
use farebox::config::{self, Config, Sources};
use farebox::db::Db;
use farebox::dev::{self, DevOptions};
use farebox::id::Timestamp;
use farebox::meter::ChannelNotifier;
use farebox::offers::sessions::Sessions;
use farebox::payments::methods::tempo::session::ChannelId;
use farebox::services::chat::Models;
use farebox::services::pii::Examiner;
use farebox::{funding, ledger, server, telemetry};
use rustix::fs::Mode;
use tokio::net::TcpListener;

use commands::{ContractsCommand, UncreditedCommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Sell AI API calls: per request over HTTP 402, with wallet-owned keys, or for prepaid credits.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Subcommand)]
enum CliCommand {
    /// Run the server.
    Serve(Configuration),
    /// Run the server with a local chain and a funded wallet; needs no configuration.
    Dev(DevArguments),
    /// Look at everything that the configuration needs, and change nothing; exits with 1 if the server would not work.
    Doctor(Configuration),
    /// Bring the database's schema up to date, and stop.
    Migrate(Configuration),
    /// Look at payment channels, settle or close one.
    #[command(subcommand)]
    Channels(ChannelsCommand),
    /// Deploy the contract that sells API keys and credit.
    #[command(subcommand)]
    Contracts(ContractsCommand),
    /// Look at payments that came and gave nobody credit, and credit one.
    #[command(subcommand)]
    Uncredited(UncreditedCommand),
    /// Rebuild every balance from the entries, compare payments with the ledger; exits with 1 on any difference.
    Audit(AuditArguments),
}

#[derive(Subcommand)]
enum ChannelsCommand {
    /// List the channels, the newest first.
    List(Configuration),
    /// Move what was spent and not settled to the payee.
    Settle(ChannelArguments),
    /// Move what was spent to the payee and return the rest to the payer.
    Close(ChannelArguments),
    /// List the settlements that the payee's receive policy holds back: transaction, channel, amount, the guard's receipt.
    HeldBack(Configuration),
}

#[derive(Args)]
struct ChannelArguments {
    /// The channel id, 0x and 64 hex digits.
    channel: String,
    #[command(flatten)]
    configuration: Configuration,
}

/// Sources of the configuration: file, then `FAREBOX_SECTION_KEY`, then flags.
#[derive(Args)]
struct Configuration {
    /// The configuration file; farebox.example.toml documents every key.
    #[arg(long, env = "FAREBOX_CONFIG")]
    config: Option<PathBuf>,
    /// Address to listen on (server.listen).
    #[arg(long)]
    listen: Option<String>,
    /// Database URL (database.url).
    #[arg(long)]
    database: Option<String>,
    /// Any other key, as section.key=value; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Args)]
struct DevArguments {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8402")]
    listen: SocketAddr,
    /// Folder for the database and dev.json.
    #[arg(long, default_value = ".farebox")]
    data: PathBuf,
    /// The anvil to run; otherwise `FAREBOX_ANVIL`, the PATH or .tools.
    #[arg(long)]
    anvil: Option<PathBuf>,
    /// Tempo hardfork of the local chain.
    #[arg(long, default_value = "t4")]
    hardfork: String,
}

#[derive(Args)]
struct AuditArguments {
    #[command(flatten)]
    configuration: Configuration,
    /// The folder of a `farebox dev`, instead of a configuration.
    #[arg(long)]
    data: Option<PathBuf>,
}

/// Channels that `farebox channels list` shows at the most.
const MAX_CHANNELS_LISTED: i64 = 1000;

fn main() -> ExitCode {
    // What is written here, databases, keys and logs, is for nobody else.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let cli = Cli::parse();
    let run = || -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(run(cli.command))
    };
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("farebox: {}", with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

/// Writes an error and its causes without repetition: some errors of
/// libraries have their cause in their own text.
fn with_causes(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

async fn run(command: CliCommand) -> anyhow::Result<ExitCode> {
    match command {
        CliCommand::Serve(configuration) => serve(configuration.load()?).await?,
        CliCommand::Dev(arguments) => serve_dev(arguments).await?,
        CliCommand::Doctor(configuration) => return commands::doctor(&configuration.load()?).await,
        CliCommand::Migrate(configuration) => {
            let config = configuration.load()?;
            let db = Db::connect(config.database.url.expose(), config.database.max_connections).await?;
            db.migrate().await?;
            println!("The schema is up to date.");
        }
        CliCommand::Channels(command) => manage_channels(command).await?,
        CliCommand::Contracts(command) => commands::contracts(command).await?,
        CliCommand::Uncredited(command) => commands::uncredited(command).await?,
        CliCommand::Audit(arguments) => return audit_database(&arguments.database_url()?).await,
    }
    Ok(ExitCode::SUCCESS)
}

impl Configuration {
    fn load(&self) -> anyhow::Result<Config> {
        let mut flags = Vec::new();
        for pair in &self.set {
            let Some((key, value)) = pair.split_once('=') else {
                bail!("--set {pair}: write it as section.key=value");
            };
            flags.push((key.to_owned(), value.to_owned()));
        }
        for (key, value) in [("server.listen", &self.listen), ("database.url", &self.database)] {
            flags.extend(value.iter().map(|value| (key.to_owned(), value.clone())));
        }
        // All that is text: an upstream's key may be in any variable.
        let text =
            |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        let env = std::env::vars_os().filter_map(text).collect();
        Ok(config::load(&Sources { file: self.config.clone(), env, flags })?)
    }
}

impl AuditArguments {
    fn database_url(&self) -> anyhow::Result<String> {
        match &self.data {
            Some(folder) => Ok(format!("sqlite://{}?mode=rw", folder.join("farebox.db").display())),
            None => Ok(self.configuration.load()?.database.url.expose().to_owned()),
        }
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    telemetry::log(&config.log)?;
    let listener = TcpListener::bind(config.server.listen)
        .await
        .with_context(|| format!("cannot listen on {} (server.listen)", config.server.listen))?;
    let admin = TcpListener::bind(config.server.admin_listen)
        .await
        .with_context(|| format!("cannot listen on {} (server.admin_listen)", config.server.admin_listen))?;
    for warning in config::warnings(&config) {
        tracing::warn!("{warning}");
    }
    let app = App::start(config, telemetry::metrics()?).await?;
    let chain = app.chain.clone();
    // A node may come later than this server, and must not keep it from starting.
    tokio::spawn(async move {
        if let Err(error) = chain.check().await {
            tracing::warn!(%error, "chain.rpc_url: the chain cannot be used; payments answer 503 until it can");
        }
    });
    tracing::info!(listen = %app.config.server.listen, url = app.config.server.public_url, "farebox is up");
    server::serve(app, listener, Some(admin), stop_signal()).await;
    Ok(())
}

async fn serve_dev(arguments: DevArguments) -> anyhow::Result<()> {
    let DevArguments { listen, data, anvil, hardfork } = arguments;
    let options = DevOptions { listen, data, anvil, hardfork };
    let mut dev = dev::prepare(&options).await?;
    telemetry::log(&dev.config.log)?;
    let app = App::start(dev.config.clone(), telemetry::metrics()?).await?;
    println!("{}", dev.fund_agent(&app, &options.data).await?);
    server::serve(app, dev.listener, Some(dev.admin), stop_signal()).await;
    dev.devnet.stop().await;
    Ok(())
}

/// Lists, settles or closes channels. Works beside a running server: rows guard
/// themselves against writers that race.
async fn manage_channels(command: ChannelsCommand) -> anyhow::Result<()> {
    let (configuration, id) = match &command {
        ChannelsCommand::List(configuration) | ChannelsCommand::HeldBack(configuration) => {
            (configuration, None)
        }
        ChannelsCommand::Settle(one) | ChannelsCommand::Close(one) => {
            (&one.configuration, Some(one.channel.parse::<ChannelId>()?))
        }
    };
    let config = configuration.load()?;
    let db = Db::connect(config.database.url.expose(), 2).await?;
    let chain = Chain::new(&config.chain)?;
    let models = Models::new(&config, Examiner::without_models())?;
    let sessions = Sessions::new(&config, &models, &db, &chain, None, ChannelNotifier::new().0)?
        .context("this configuration has no channels: set sessions.operator_key and at least one model")?;
    if matches!(command, ChannelsCommand::HeldBack(_)) {
        for held in sessions.channels.held_back().await? {
            println!("{} {} ${} {}", held.reference, held.channel, held.amount.to_dollars(), held.claim);
        }
        return Ok(());
    }
    let Some(id) = id else {
        for channel in sessions.channels.list(MAX_CHANNELS_LISTED).await? {
            println!(
                "{} {:8} deposit {} accepted {} spent {} settled {} tries {}",
                channel.id,
                channel.phase.as_str(),
                channel.deposit,
                channel.accepted(),
                channel.spent,
                channel.settled,
                channel.tries.count
            );
        }
        return Ok(());
    };
    let now = Timestamp::now();
    if matches!(command, ChannelsCommand::Close(_)) {
        sessions.channels.close_now(id, now).await?;
    } else {
        let channel = sessions
            .channels
            .find(id)
            .await?
            .context("there is no such channel; `farebox channels list` lists them")?;
        sessions.channels.settle(&channel, now).await?;
    }
    println!("done");
    Ok(())
}

/// Opens the configured database, whose schema must be this version's.
async fn current_database(configuration: &Configuration) -> anyhow::Result<Db> {
    let db = Db::connect(configuration.load()?.database.url.expose(), 2).await?;
    ensure_current(&db).await?;
    Ok(db)
}

async fn ensure_current(db: &Db) -> anyhow::Result<()> {
    anyhow::ensure!(
        db.is_current().await?,
        "the database's schema is not of this version of farebox: bring it up to date with `farebox migrate`"
    );
    Ok(())
}

async fn audit_database(url: &str) -> anyhow::Result<ExitCode> {
    let db = Db::connect(url, 2).await?;
    ensure_current(&db).await?;
    let report = ledger::audit::audit(&db).await?;
    let disagreements = funding::audit::audit(&db).await?;
    println!("{report}");
    for disagreement in &disagreements {
        println!("{disagreement}");
    }
    println!("{} disagreements between payments and ledger", disagreements.len());
    Ok(if report.is_clean() && disagreements.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Completes on Ctrl-C or SIGTERM.
async fn stop_signal() {
    let interrupt = tokio::signal::ctrl_c();
    let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else {
        let _ = interrupt.await;
        return;
    };
    tokio::select! {
        _ = interrupt => {}
        _ = terminate.recv() => {}
    }
}
