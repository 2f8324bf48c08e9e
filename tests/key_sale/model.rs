//! Random purchases on both versions of the contract, compared with a model: who has which credit and which key.
//!
//! Wallets buy for themselves and for each other, take each other's hashes, buy by access keys with limits and on both
//! contracts in one batch, while the node fails, the server restarts and reads all again, or the payee's receive policy
//! holds payments back. Whatever happens, every unit that arrived is one owner's credit, and a key opens the account of
//! who paid for it and no other.
//!
//! `FAREBOX_TEST_RUNS` makes more runs; a failure names its seed (`FAREBOX_TEST_SEED`).

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{Address, B256};
use farebox::chain::key_sale::SaleKey;
use farebox::config::PATH_USD;
use farebox::devnet::{Devnet, Fault, Rule};
use farebox::id::Timestamp;
use farebox::keys::{KeyId, KeyRejection, SecretHash};
use farebox_test_support::access_key::{AccessKey, Restriction};
use farebox_test_support::agent::Agent;
use farebox_test_support::db::{self, TestDb};
use farebox_test_support::harness::{eventually, own_chain, run, send_raw};
use farebox_test_support::random::{Random, seed};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sqlx::Row as _;
use tempo_primitives::transaction::{Call, TempoTransaction};

use crate::fixture::{Fixture, GAS, PACKS, SaleContract, deploy, deploy_v1, reader};

const SEED: u64 = 20_261_130;
const STEPS: u32 = 45;
const WALLETS: usize = 3;
/// Enough for every purchase of a run.
const FUNDS: u64 = 1_000_000_000;

/// Contracts, by their places in [`Run::sales`].
const V1: usize = 0;
const V2: usize = 1;

/// A purchase, as the model sees it.
struct Purchase {
    owner: Address,
    amount: i64,
    /// Secret and id of the key that it makes.
    key: Option<(String, KeyId)>,
}

#[derive(Default)]
struct Model {
    credited: BTreeMap<Address, i64>,
    held_back: i64,
    /// Owner and budget of each key.
    keys: BTreeMap<KeyId, (Address, i64)>,
    /// Texts of keys that must open nothing: bought over somebody else's account.
    foreign: Vec<String>,
}

struct Run<'a> {
    fixture: Option<Fixture<'a>>,
    sales: [SaleContract<'a>; 2],
    payee: Address,
    wallets: Vec<Agent>,
    /// An access key of each wallet, with a limit.
    access_keys: Vec<AccessKey>,
    random: Random,
    model: Model,
    secrets: u64,
}

impl<'a> Run<'a> {
    async fn new(database: TestDb, chain: &'a Devnet, seed: u64) -> Self {
        let payee = Agent::random().address();
        let first = SaleContract { chain, contract: deploy_v1(chain, PATH_USD, payee).await };
        let second = SaleContract { chain, contract: deploy(chain, PATH_USD, payee).await };
        let fixture = Fixture::following(database, first, payee, |config| {
            config.key_sale.addresses.push(second.contract);
        })
        .await;
        let (mut wallets, mut access_keys) = (Vec::new(), Vec::new());
        for _ in 0..WALLETS {
            let wallet = Agent::random();
            chain.fund(wallet.address(), PATH_USD, FUNDS).await.expect("the faucet gives");
            let limit = Restriction::Limit(PATH_USD, FUNDS);
            access_keys.push(AccessKey::authorized(chain, &wallet, limit).await);
            wallets.push(wallet);
        }
        Self {
            fixture: Some(fixture),
            sales: [first, second],
            payee,
            wallets,
            access_keys,
            random: Random(seed),
            model: Model::default(),
            secrets: seed.wrapping_mul(1_000_000),
        }
    }

    fn fixture(&self) -> &Fixture<'a> {
        self.fixture.as_ref().expect("it runs")
    }

    fn wallet(&mut self) -> usize {
        usize::try_from(self.random.below(WALLETS as u64)).expect("small")
    }

    /// A secret that nobody had before.
    fn secret(&mut self) -> String {
        self.secrets += 1;
        format!("{:043}", self.secrets)
    }

    /// The calls that buy a key with this secret, approval included, and what they should make.
    fn buy(&mut self, sale: usize, buyer: usize, owner: usize, secret: String) -> (Vec<Call>, Purchase) {
        let pack = 1 + self.random.below(2);
        let amount = PACKS[usize::try_from(pack - 1).expect("small")];
        let digest: [u8; 32] = Sha256::digest(&secret).into();
        let (key, hash) = (SaleKey { hash: B256::from(digest), pack }, SecretHash::from_bytes(digest));
        let owner = self.wallets[owner].address();
        let contract = &self.sales[sale];
        let (call, id) = match sale {
            V1 => (contract.buy_v1(key, owner), KeyId::of_purchase_v1(&hash)),
            _ => (contract.buy(key), KeyId::of_purchase(&hash, &owner.0)),
        };
        let own = owner == self.wallets[buyer].address();
        if !own {
            self.model.foreign.push(format!("pryv_{id}{secret}"));
        }
        let key = own.then_some((secret, id));
        (vec![contract.approve(amount), call], Purchase { owner, amount, key })
    }

    fn top_up(&mut self, sale: usize, owner: usize) -> (Vec<Call>, Purchase) {
        let amount = i64::try_from(1 + self.random.below(1_000)).expect("small");
        let (owner, contract) = (self.wallets[owner].address(), &self.sales[sale]);
        (
            vec![contract.approve(amount), contract.top_up(owner, amount)],
            Purchase { owner, amount, key: None },
        )
    }

    /// Sends purchases in one transaction. Those of one that fails are none.
    async fn send(
        &mut self,
        buyer: usize,
        by_access_key: bool,
        purchases: Vec<(Vec<Call>, Purchase)>,
    ) -> bool {
        let (calls, made): (Vec<Vec<Call>>, Vec<Purchase>) = purchases.into_iter().unzip();
        let wallet = &self.wallets[buyer];
        let transaction = TempoTransaction { gas_limit: GAS, ..wallet.transaction(calls.concat()) };
        let signed =
            if by_access_key { self.access_keys[buyer].sign(transaction) } else { wallet.sign(transaction) };
        let receipt: Value = send_raw(self.sales[V1].chain, &signed.raw).await;
        if receipt["status"] != "0x1" {
            return false;
        }
        for Purchase { owner, amount, key } in made {
            *self.model.credited.entry(owner).or_default() += amount;
            if let Some((_, id)) = key {
                self.model.keys.insert(id, (owner, amount));
            }
        }
        true
    }

    async fn step(&mut self, reads_again: bool) {
        let (buyer, other, sale) =
            (self.wallet(), self.wallet(), usize::try_from(self.random.below(2)).expect("small"));
        match self.random.below(12) {
            0..=2 => {
                let secret = self.secret();
                let purchase = self.buy(sale, buyer, buyer, secret);
                assert!(self.send(buyer, false, vec![purchase]).await);
            }
            3 => {
                let secret = self.secret();
                let purchase = self.buy(V1, buyer, other, secret);
                assert!(self.send(buyer, false, vec![purchase]).await);
            }
            // Somebody takes a hash that waits, and the purchase goes on.
            4 => {
                let secret = self.secret();
                for wallet in BTreeSet::from([buyer, other]) {
                    let purchase = self.buy(V2, wallet, wallet, secret.clone());
                    assert!(self.send(wallet, false, vec![purchase]).await);
                }
            }
            5..=6 => {
                let purchase = self.top_up(sale, other);
                assert!(self.send(buyer, false, vec![purchase]).await);
            }
            7 => {
                let (first, second, secret) = (self.top_up(V1, other), self.top_up(V2, other), self.secret());
                let key = self.buy(V2, buyer, buyer, secret);
                assert!(self.send(buyer, false, vec![first, key, second]).await);
            }
            8 => {
                let secret = self.secret();
                let purchase = self.buy(sale, buyer, buyer, secret);
                self.send(buyer, true, vec![purchase]).await;
            }
            9 => {
                let fault = match self.random.below(3) {
                    0 => Rule::new(Fault::Drop).times(3),
                    1 => Rule::new(Fault::Error { code: -32_000, message: "later".into() })
                        .on("eth_getLogs")
                        .times(2),
                    _ => Rule::new(Fault::Behind { block: 0 }).on("eth_getLogs").times(2),
                };
                self.fixture().chain.faults().set(fault);
            }
            10 => {
                let fixture = self.fixture.take().expect("it runs");
                self.fixture = Some(fixture.restart(|_| {}).await);
            }
            _ if reads_again => self.fixture().forget().await,
            _ => self.held_back(buyer).await,
        }
    }

    /// A purchase from the first version while the payee's policy blocks everything.
    async fn held_back(&mut self, buyer: usize) {
        self.all_is_read().await;
        let secret = self.secret();
        let (calls, Purchase { amount, .. }) = self.buy(V1, buyer, buyer, secret);
        self.fixture().chain.faults().set(Rule::new(Fault::ReceivePolicy { account: self.payee }));
        let wallet = &self.wallets[buyer];
        self.sales[V1].purchase(wallet, calls).await;
        self.all_is_read().await;
        self.fixture().chain.faults().clear();
        self.model.held_back += amount;
    }

    async fn all_is_read(&self) {
        let fixture = self.fixture();
        // Faults of some requests may still wait for theirs.
        let height =
            eventually("the chain answers", async || reader(fixture.chain).height().await.ok()).await;
        for sale in fixture.server.app.key_sales.readers() {
            eventually("all is read", async || {
                let cursor = sale.cursor().await.expect("the database answers")?;
                (cursor.proven_block > height).then_some(())
            })
            .await;
        }
    }

    async fn compare(&self) {
        let fixture = self.fixture();
        for wallet in &self.wallets {
            let expected = self.model.credited.get(&wallet.address()).copied().unwrap_or(0);
            assert_eq!(fixture.credited(wallet.address()).await, expected, "{}", wallet.address());
        }
        let rows = sqlx::query("SELECT id, owner, total_limit FROM api_keys WHERE revoked_at IS NULL");
        let rows = rows.fetch_all(&fixture.server.db.db.pool).await.expect("the database answers");
        let keys: BTreeMap<KeyId, (Address, i64)> = rows
            .iter()
            .map(|row| {
                let id: String = row.try_get("id").expect("text");
                let owner: String = row.try_get("owner").expect("text");
                let limit = row.try_get("total_limit").expect("a number");
                (KeyId::parse(&id).expect("an id"), (owner.parse().expect("an address"), limit))
            })
            .collect();
        assert_eq!(keys, self.model.keys);
        for text in &self.model.foreign {
            let refused = fixture.server.app.keys.authenticate(text, Timestamp::now()).await;
            assert!(matches!(refused, Err(KeyRejection::Invalid)), "{refused:?}");
        }
        let held = "SELECT CAST(coalesce(sum(amount), 0) AS BIGINT) FROM uncredited_payments";
        assert_eq!(fixture.server.count(held).await, self.model.held_back);
        fixture.assert_audit().await;
    }
}

#[test]
fn random_purchases_give_credit_to_owners_and_keys_to_buyers() {
    run(async {
        let runs = std::env::var("FAREBOX_TEST_RUNS").map_or(2, |runs| runs.parse().expect("a number"));
        let chain = own_chain().await;
        for round in 0..runs {
            for database in db::engines().await {
                let seed = seed(SEED) + round;
                eprintln!("seed {seed}");
                let mut run = Run::new(database, &chain, seed).await;
                for _ in 0..STEPS {
                    // The receipts of a real chain stay as they are: after a payment was held back nothing is read again.
                    run.step(round % 2 == 0).await;
                }
                run.fixture().chain.faults().clear();
                run.all_is_read().await;
                run.compare().await;
                let mut fixture = run.fixture.take().expect("it runs");
                fixture.server.stop().await;
            }
        }
        chain.stop().await;
    });
}
