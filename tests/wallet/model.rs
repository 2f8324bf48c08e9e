//! Random signed requests, compared with a model: who may do what to which key.
//!
//! Wallets make, change, rotate, revoke and list keys at two servers. Their messages are signed by their own keys, by
//! access keys with limits and without, and by other wallets; they name a server or none, and the request's parameters,
//! others or none; some come twice. Whatever comes, a key exists only because its owner said so, to this server, in
//! these words.
//!
//! `FAREBOX_TEST_RUNS` makes more runs; a failure names its seed (`FAREBOX_TEST_SEED`).

use std::collections::BTreeMap;

use alloy::signers::SignerSync as _;
use farebox::config::PATH_USD;
use farebox::id::Timestamp;
use farebox::wallet_auth::message::parameters_digest;
use farebox::wallet_auth::signature::hash;
use farebox_test_support::access_key::{AccessKey, Restriction};
use farebox_test_support::agent::Agent;
use farebox_test_support::db;
use farebox_test_support::harness::{Reply, Server, funded, run, shared_chain};
use farebox_test_support::random::{Random, seed};
use serde_json::{Value, json};

use crate::management::{KEYS, delete, fields, line, nonce, now, patch, post, with};

const SEED: u64 = 20_261_130;
const STEPS: u32 = 250;
const WALLETS: usize = 3;

/// A key as its owner last left it.
struct Key {
    owner: usize,
    text: String,
    limit: Value,
    revoked: bool,
}

struct Wallet {
    agent: Agent,
    free: AccessKey,
    limited: AccessKey,
}

/// Who signs.
#[derive(Clone, Copy, PartialEq)]
enum Signer {
    Owner,
    FreeAccessKey,
    LimitedAccessKey,
    AnotherWallet,
}

struct Run {
    servers: [Server; 2],
    wallets: Vec<Wallet>,
    random: Random,
    /// Keys of each server.
    keys: [BTreeMap<String, Key>; 2],
    /// A request that was carried out, to be sent again.
    done: Option<(usize, &'static str, String, Value)>,
    tally: BTreeMap<String, u32>,
}

const ACTIONS: [&str; 5] = ["create", "update", "rotate", "revoke", "list"];

impl Run {
    fn pick(&mut self, end: usize) -> usize {
        usize::try_from(self.random.below(end as u64)).expect("small")
    }

    fn one_in(&mut self, end: u64) -> bool {
        self.random.below(end) == 0
    }

    fn sign(&self, wallet: usize, signer: Signer, message: &str) -> Vec<u8> {
        let own = |agent: &Agent| {
            agent.signer.sign_message_sync(message.as_bytes()).expect("a local key signs").as_bytes().to_vec()
        };
        let Wallet { agent, free, limited } = &self.wallets[wallet];
        match signer {
            Signer::Owner => own(agent),
            Signer::FreeAccessKey => free.sign_hash(hash(message)).to_bytes().to_vec(),
            Signer::LimitedAccessKey => limited.sign_hash(hash(message)).to_bytes().to_vec(),
            Signer::AnotherWallet => own(&self.wallets[(wallet + 1) % WALLETS].agent),
        }
    }

    async fn send(&self, server: usize, action: &str, key: &str, body: &Value) -> Reply {
        let (server, path) = (&self.servers[server], format!("{KEYS}/{key}"));
        match action {
            "create" | "list" => post(server, KEYS, body).await,
            "update" => patch(server, &path, body).await,
            "rotate" => post(server, &format!("{path}/rotate"), body).await,
            _ => delete(server, &path, body).await,
        }
    }

    async fn step(&mut self) {
        if self.one_in(10)
            && let Some((server, action, key, body)) = self.done.take()
        {
            let again = self.send(server, action, &key, &body).await;
            assert_eq!(crate::management::code(&again), "NONCE_REPLAY", "{action}: {}", again.text);
            return self.count("replay", again.status);
        }
        let (server, wallet) = (self.pick(2), self.pick(WALLETS));
        let action = ACTIONS[self.pick(ACTIONS.len())];
        let signer = match self.random.below(8) {
            0 => Signer::AnotherWallet,
            1 => Signer::FreeAccessKey,
            2..=3 => Signer::LimitedAccessKey,
            _ => Signer::Owner,
        };
        // Any key, of whoever, at whichever server.
        let known: Vec<String> = self.keys.iter().flat_map(BTreeMap::keys).cloned().collect();
        let own: Vec<&String> = self.keys[server]
            .iter()
            .filter(|(_, key)| key.owner == wallet && !key.revoked)
            .map(|(id, _)| id)
            .collect();
        let own = own.first().map(|id| (*id).clone());
        let key = match action {
            "create" | "list" => String::new(),
            _ if known.is_empty() => "abcdefghij123456".to_owned(),
            _ if self.one_in(2) && own.is_some() => own.expect("one"),
            _ => known[self.pick(known.len())].clone(),
        };
        let limit = Value::from((1 + self.random.below(50)).to_string());
        let parameters = match action {
            "create" | "update" => json!({ "limits": { "totalUsd": limit } }),
            _ => json!({}),
        };
        let named = if self.one_in(2) { Some(self.pick(2)) } else { None };
        let (bound, changed) = (self.one_in(2), self.one_in(4));
        let mut message = line(action, &key, &nonce(), &now());
        if let Some(named) = named {
            message = format!("{message} | host={}", self.servers[named].url.trim_start_matches("http://"));
        }
        if bound {
            let meant = if changed { json!({ "limits": {} }) } else { parameters.clone() };
            message =
                format!("{message} | body={}", parameters_digest(meant.as_object().expect("an object")));
        }
        let signature = self.sign(wallet, signer, &message);
        let proof = fields(self.wallets[wallet].agent.address(), &message, &signature);
        let body = with(proof, &parameters);
        let answer = self.send(server, action, &key, &body).await;
        self.count(action, answer.status);

        let elsewhere = named.is_some_and(|named| named != server);
        let restricted = signer == Signer::LimitedAccessKey && !matches!(action, "list" | "revoke");
        let told = format!("{action} of {key} by {wallet} at {server}: {} {}", answer.status, answer.text);
        let refusal = if elsewhere {
            Some("MESSAGE_INVALID")
        } else if signer == Signer::AnotherWallet || restricted {
            Some("SIGNATURE_INVALID")
        } else {
            (bound && changed).then_some("MESSAGE_INVALID")
        };
        if let Some(code) = refusal {
            assert_eq!((answer.status, crate::management::code(&answer).as_str()), (403, code), "{told}");
        } else {
            self.carried_out(server, wallet, action, &key, limit, &answer, &told);
            if answer.status < 300 {
                self.done = Some((server, action, key, body));
            }
        }
    }

    /// The message counts: what it asks for is done, where the key is this wallet's and lives here.
    #[expect(clippy::too_many_arguments, reason = "a step of a test and its answer")]
    fn carried_out(
        &mut self,
        server: usize,
        wallet: usize,
        action: &str,
        key: &str,
        limit: Value,
        answer: &Reply,
        told: &str,
    ) {
        let own = self.keys[server].get_mut(key).filter(|key| key.owner == wallet);
        match (action, own) {
            ("create", _) => {
                assert_eq!(answer.status, 201, "{told}");
                let made = answer.json();
                let text = made["key"].as_str().expect("a key").to_owned();
                let id = made["id"].as_str().expect("an id").to_owned();
                self.keys[server].insert(id, Key { owner: wallet, text, limit, revoked: false });
            }
            ("list", _) => {
                assert_eq!(answer.status, 200, "{told}");
                let listed = answer.json()["keys"].as_array().expect("keys").len();
                assert_eq!(
                    listed,
                    self.keys[server].values().filter(|key| key.owner == wallet).count(),
                    "{told}"
                );
            }
            ("revoke", Some(own)) => {
                assert_eq!(answer.status, 200, "{told}");
                own.revoked = true;
            }
            (_, Some(own)) if !own.revoked => {
                assert_eq!(answer.status, 200, "{told}");
                if action == "update" {
                    own.limit = limit;
                } else {
                    answer.json()["key"].as_str().expect("a key").clone_into(&mut own.text);
                }
            }
            _ => assert_eq!(answer.status, 404, "{told}"),
        }
    }

    fn count(&mut self, action: &str, status: u16) {
        *self.tally.entry(format!("{action} {status}")).or_default() += 1;
    }

    async fn compare(&self) {
        for (server, keys) in self.servers.iter().zip(&self.keys) {
            let stored = server.count("SELECT count(*) FROM api_keys").await;
            assert_eq!(stored, i64::try_from(keys.len()).expect("small"));
            for (id, key) in keys {
                let opened = server.app.keys.authenticate(&key.text, Timestamp::now()).await;
                assert_eq!(opened.is_ok(), !key.revoked, "{id}");
                let Ok(found) = opened else { continue };
                assert_eq!(found.owner, format!("{:#x}", self.wallets[key.owner].agent.address()));
                let limit = found.limits.total.expect("each has one").to_dollars();
                assert_eq!(limit, format!("{}.00", key.limit.as_str().expect("text")), "{id}");
            }
        }
    }
}

#[test]
fn random_messages_do_what_their_wallets_signed_and_nothing_else() {
    run(async {
        let runs = std::env::var("FAREBOX_TEST_RUNS").map_or(1, |runs| runs.parse().expect("a number"));
        let chain = shared_chain().await;
        let mut wallets = Vec::new();
        for _ in 0..WALLETS {
            let agent = funded(chain).await;
            let free = AccessKey::authorized(chain, &agent, Restriction::None).await;
            let limited = AccessKey::authorized(chain, &agent, Restriction::Limit(PATH_USD, 1)).await;
            wallets.push(Wallet { agent, free, limited });
        }
        let limits = |config: &mut farebox::config::Config| config.keys.anonymous_rpm = 60_000;
        for round in 0..runs {
            for database in db::engines().await {
                let seed = seed(SEED) + round;
                eprintln!("seed {seed}");
                let here = Server::on(database, &chain.rpc_url(), limits).await;
                let there = Server::with_config(limits).await;
                let mut run = Run {
                    servers: [here, there],
                    wallets: std::mem::take(&mut wallets),
                    random: Random(seed),
                    keys: Default::default(),
                    done: None,
                    tally: BTreeMap::new(),
                };
                for _ in 0..STEPS {
                    run.step().await;
                }
                run.compare().await;
                // Every action went through and was refused.
                for action in ACTIONS {
                    let count = |from: u16| {
                        let of = |(name, count): (&String, &u32)| {
                            let status = name.strip_prefix(action)?.trim().parse::<u16>().ok()?;
                            (status / 100 == from).then_some(*count)
                        };
                        run.tally.iter().filter_map(of).sum::<u32>()
                    };
                    assert!(count(2) > 0 && count(4) > 0, "{action}: {:?}", run.tally);
                }
                wallets = run.wallets;
                for mut server in run.servers {
                    server.stop().await;
                }
            }
        }
    });
}
