//! `farebox doctor`: looks at everything that a configuration needs before the server is started with it, and changes
//! nothing.

#![expect(clippy::disallowed_methods, reason = "the clock is one of the things that are looked at")]

pub mod upstreams;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use alloy::primitives::Address;
use alloy::signers::local::PrivateKeySigner;
use futures_util::future::join_all;
use reqwest::{Client, StatusCode};
use tokio::net::TcpListener;

use crate::chain::Chain;
use crate::config::{self, Config, Secret};
use crate::db::Db;
use crate::id::Timestamp;
use crate::money::Money;
use crate::oauth;
use crate::services::pii::Examiner;

/// Longest wait for an answer from outside.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Largest difference between this clock and the newest block's time that is usual, in seconds.
const CLOCK_MARGIN: u64 = 60;

/// Result of a look at one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Fine,
    /// The server starts, and something does not work as its operator may expect.
    Doubtful,
    /// The server does not start, or does not do what it is configured for.
    Wrong,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    pub verdict: Verdict,
    /// The setting that it is about.
    pub setting: String,
    pub text: String,
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.verdict {
            Verdict::Fine => "ok     ",
            Verdict::Doubtful => "warning",
            Verdict::Wrong => "FAILED ",
        };
        write!(f, "{mark}  {}: {}", self.setting, self.text)
    }
}

fn fine(setting: &str, text: impl Into<String>) -> Diagnosis {
    Diagnosis { verdict: Verdict::Fine, setting: setting.into(), text: text.into() }
}

fn doubtful(setting: &str, text: impl Into<String>) -> Diagnosis {
    Diagnosis { verdict: Verdict::Doubtful, setting: setting.into(), text: text.into() }
}

fn wrong(setting: &str, text: impl Into<String>) -> Diagnosis {
    Diagnosis { verdict: Verdict::Wrong, setting: setting.into(), text: text.into() }
}

/// Looks at everything. The configuration itself has been checked when it was loaded.
pub async fn examine(config: &Config) -> Vec<Diagnosis> {
    let mut found = vec![fine("configuration", "can be read")];
    found.extend(config::warnings(config).into_iter().map(|warning| {
        let (setting, text) = warning.split_once(' ').unwrap_or(("configuration", &warning));
        doubtful(setting, text)
    }));
    found.push(listener(config).await);
    found.push(files(config));
    found.extend(database(config).await);
    found.extend(chain(config).await);
    for models in join_all(config.upstreams.iter().map(|one| upstreams::examine(config, one))).await {
        found.extend(models);
    }
    found.extend(card_processor(config).await);
    found.push(examiner(config));
    found.push(clients(config));
    found
}

/// Looks at the OAuth clients that the configuration names.
fn clients(config: &Config) -> Diagnosis {
    match oauth::pinned_clients(config) {
        Ok(clients) => {
            fine("mcp.clients", format!("{} OAuth clients are known without a look", clients.len()))
        }
        Err(error) => wrong("mcp.clients", error.to_string()),
    }
}

async fn listener(config: &Config) -> Diagnosis {
    let address = config.server.listen;
    match TcpListener::bind(address).await {
        Ok(_) => fine("server.listen", format!("{address} is free")),
        Err(error) => {
            doubtful("server.listen", format!("{address} is taken ({error}); by the server itself?"))
        }
    }
}

/// Open files that the process may have, and the connections that it would accept.
fn files(config: &Config) -> Diagnosis {
    let allowed = crate::server::open_files_limit();
    let wanted = config.server.max_connections as u64 + crate::server::OTHER_FILES;
    match allowed {
        Some(allowed) if allowed < wanted => doubtful(
            "server.max_connections",
            format!(
                "{} connections and this process may open {allowed} files: it accepts as many as fit; raise the hard \
                 limit (ulimit -Hn, LimitNOFILE) to {wanted}",
                config.server.max_connections
            ),
        ),
        Some(allowed) => fine("server.max_connections", format!("{allowed} files may be open")),
        None => fine("server.max_connections", "open files are not limited"),
    }
}

async fn database(config: &Config) -> Vec<Diagnosis> {
    const SETTING: &str = "database.url";
    let url = config.database.url.expose();
    if let Some(file) = sqlite_file(url)
        && !file.exists()
    {
        return vec![
            match file.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
                Some(folder) => wrong(SETTING, format!("there is no folder {}", folder.display())),
                None => fine(SETTING, "a new SQLite database, made when the server starts"),
            },
        ];
    }
    // The driver's own text can name hosts and users.
    let connected = tokio::time::timeout(TIMEOUT, Db::connect(url, 2)).await;
    let db = match connected {
        Ok(Ok(db)) => db,
        Ok(Err(error)) => return vec![wrong(SETTING, format!("cannot be opened ({error})"))],
        Err(_) => return vec![wrong(SETTING, format!("no answer within {} s", TIMEOUT.as_secs()))],
    };
    let schema = match db.is_current().await {
        Ok(true) => fine(SETTING, "answers, and its schema is of this version"),
        Ok(false) => doubtful(
            SETTING,
            "answers, and its schema is of another version: make a backup, then `farebox migrate`",
        ),
        Err(_) => fine(SETTING, "answers and is empty; the server makes its schema when it starts"),
    };
    db.close().await;
    vec![schema]
}

/// The path of a SQLite URL.
fn sqlite_file(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("sqlite:")?;
    let path = path.strip_prefix("//").unwrap_or(path);
    Some(PathBuf::from(path.split('?').next().unwrap_or(path)))
}

async fn chain(config: &Config) -> Vec<Diagnosis> {
    const SETTING: &str = "chain.rpc_url";
    let chain = match Chain::new(&config.chain) {
        Ok(chain) => chain,
        Err(error) => return vec![wrong(SETTING, error.to_string())],
    };
    if let Err(error) = chain.check().await {
        return vec![wrong(SETTING, error.to_string())];
    }
    let mut found = vec![fine(SETTING, format!("the node serves chain {}", config.chain.chain_id))];
    found.push(match chain.newest_time().await {
        Ok(time) => clock(time),
        Err(error) => wrong(SETTING, error.to_string()),
    });
    for token in std::iter::once(config.chain.currency).chain(config.chain.also_accepted.iter().copied()) {
        let name = if token == config.chain.currency { "chain.currency" } else { "chain.also_accepted" };
        found.push(match chain.balance(token, config.payments.recipient).await {
            Ok(_) => fine(name, format!("{token:#x} is a token")),
            Err(error) => wrong(name, format!("{token:#x} does not answer as a token ({error})")),
        });
    }
    found.extend(fee_accounts(config, &chain).await);
    let sale = &config.key_sale;
    for contract in sale.contracts() {
        found.push(match chain.sale_terms(contract).await {
            Ok(terms) if !accepted_tokens(config).any(|token| token == terms.token) => wrong(
                "key_sale.contract",
                format!(
                    "{contract:#x} sells for the token {:#x}, which chain.currency does not accept",
                    terms.token
                ),
            ),
            Ok(terms) if !payees(config).any(|payee| payee == terms.payee) => wrong(
                "key_sale.contract",
                format!(
                    "{contract:#x} pays {:#x}, which is neither payments.recipient nor key_sale.payee",
                    terms.payee
                ),
            ),
            Ok(terms) => {
                let packs: Vec<_> =
                    terms.packs.iter().map(|price| format!("${}", price.to_dollars())).collect();
                fine("key_sale.contract", format!("{contract:#x} sells {}", packs.join(", ")))
            }
            Err(error) => wrong("key_sale.contract", format!("{contract:#x}: {error}")),
        });
    }
    found
}

fn accepted_tokens(config: &Config) -> impl Iterator<Item = Address> {
    std::iter::once(config.chain.currency).chain(config.chain.also_accepted.iter().copied())
}

fn payees(config: &Config) -> impl Iterator<Item = Address> {
    let sale = &config.key_sale;
    let others = sale.payee.iter().chain(&sale.other_payees).copied();
    std::iter::once(config.payments.recipient).chain(others)
}

fn clock(newest_block: u64) -> Diagnosis {
    let now = u64::try_from(Timestamp::now().seconds()).unwrap_or(0);
    let apart = now.abs_diff(newest_block);
    if apart <= CLOCK_MARGIN {
        return fine("system", format!("the clock and the newest block's are {apart} s apart"));
    }
    let text = format!(
        "the clock and the newest block's are {apart} s apart: the clock is wrong (NTP?), or the node is behind; payments \
         expire too soon or too late"
    );
    doubtful("system", text)
}

/// Balances of the accounts that pay network fees.
async fn fee_accounts(config: &Config, chain: &Chain) -> Vec<Diagnosis> {
    let address =
        |key: &config::Secret| key.expose().parse::<PrivateKeySigner>().map(|signer| signer.address());
    let operator = config.sessions.operator_key.as_ref().map(|key| {
        ("sessions.operator_key", address(key), config.chain.currency, config.sessions.low_fee_balance)
    });
    let sponsor =
        config.sponsor.private_key.as_ref().map(|key| {
            ("sponsor.private_key", address(key), config.sponsor.fee_token, config.sponsor.max_fee)
        });
    let mut found = Vec::new();
    for (setting, address, token, least) in [operator, sponsor].into_iter().flatten() {
        let Ok(address) = address else {
            found.push(wrong(setting, "is not 0x and 64 hex digits of a private key"));
            continue;
        };
        found.push(match chain.balance(token, address).await {
            Ok(balance) => {
                let balance = i64::try_from(balance).map_or(Money::from_micros(i64::MAX), Money::from_micros);
                let text = format!("{address:#x} has ${} to pay network fees with", balance.to_dollars());
                if balance < least { doubtful(setting, text) } else { fine(setting, text) }
            }
            Err(error) => wrong(setting, format!("its balance cannot be read ({error})")),
        });
    }
    found
}

fn client(proxy: Option<&Secret>) -> Result<Client, reqwest::Error> {
    crate::outbound::client(proxy)?.timeout(TIMEOUT).build()
}

/// The card processor, by the balance that the key may read.
async fn card_processor(config: &Config) -> Option<Diagnosis> {
    const SETTING: &str = "billing.stripe_secret_key";
    let key = config.billing.stripe_secret_key.as_ref()?;
    let client = match client(config.billing.proxy.as_ref()) {
        Ok(client) => client,
        Err(error) => return Some(wrong(SETTING, format!("no client can be made for it ({error})"))),
    };
    let url = format!("{}/v1/balance", config.billing.stripe_api_url);
    Some(match client.get(url).bearer_auth(key.expose()).send().await {
        Ok(answer) if answer.status().is_success() => fine(SETTING, "the card processor takes it"),
        Ok(answer) if answer.status() == StatusCode::FORBIDDEN => {
            fine(SETTING, "the card processor knows it; a restricted key that cannot read the balance")
        }
        Ok(answer) => {
            wrong(SETTING, format!("the card processor refuses it (status {})", answer.status().as_u16()))
        }
        Err(error) => {
            wrong(SETTING, format!("the card processor cannot be reached ({})", error.without_url()))
        }
    })
}

/// The models that find personal data.
fn examiner(config: &Config) -> Diagnosis {
    match Examiner::load(&config.pii) {
        Ok(_) => fine("pii", "its models can be loaded"),
        Err(error) => wrong("pii", error.to_string()),
    }
}
