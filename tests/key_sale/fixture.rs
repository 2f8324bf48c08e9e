//! A server that follows a contract of its own, and wallets that buy there.

use std::ops::Deref;

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::sol_types::SolCall as _;
use farebox::chain::key_sale::{self, NewSale, SaleKey, buy_call, buy_call_v1, deployment_v1, top_up_call};
use farebox::chain::{Chain, Fees};
use farebox::config::{self, Config, PATH_USD, Secret};
use farebox::devnet::Devnet;
use farebox::funding::key_sale::{ChainCursor, ReadOutcome, SaleError, SaleReader};
use farebox::id::Timestamp;
use farebox::ledger::audit::audit;
use farebox::money::Money;
use farebox_test_support::agent::{Agent, CHAIN_ID, call, now_seconds};
use farebox_test_support::db::{self, TestDb};
use farebox_test_support::harness::{self, Server, call_chain, eventually, send_raw, shared_chain};
use serde_json::{Value, json};
use sqlx::Row as _;
use tempo_contracts::precompiles::ITIP20;
use tempo_primitives::transaction::{Call, TempoTransaction};

/// Prices of the packs, in base units.
pub const PACKS: [i64; 2] = [1_000_000, 2_500_000];
/// Enough for an approval and several purchases.
pub const GAS: u64 = 5_000_000;

/// A contract that sells.
#[derive(Clone, Copy)]
pub struct SaleContract<'a> {
    pub chain: &'a Devnet,
    pub contract: Address,
}

/// A contract that sells, and a server that follows it.
pub struct Fixture<'a> {
    pub server: Server,
    pub sale_contract: SaleContract<'a>,
}

impl<'a> Deref for Fixture<'a> {
    type Target = SaleContract<'a>;

    fn deref(&self) -> &SaleContract<'a> {
        &self.sale_contract
    }
}

/// The server's way to ask this chain.
pub fn reader(chain: &Devnet) -> Chain {
    let config = config::ChainConfig {
        rpc_url: Secret::from(chain.rpc_url()),
        chain_id: CHAIN_ID,
        ..config::ChainConfig::default()
    };
    Chain::new(&config).expect("a URL")
}

/// Deploys a contract of the packs, without a minimum to speak of.
pub async fn deploy(chain: &Devnet, token: Address, payee: Address) -> Address {
    let packs = PACKS.map(Money::from_micros);
    let sale = NewSale { token, payee, minimum: Money::from_micros(1), packs: &packs };
    place(chain, sale.deployment()).await
}

/// Deploys a contract of the first version.
pub async fn deploy_v1(chain: &Devnet, token: Address, payee: Address) -> Address {
    place(chain, deployment_v1(token, payee, &PACKS.map(Money::from_micros))).await
}

async fn place(chain: &Devnet, data: Bytes) -> Address {
    let deployer = harness::funded(chain).await;
    let fees = Fees {
        token: PATH_USD,
        gas: key_sale::DEPLOYMENT_GAS,
        max_fee_per_gas: 0,
        max_priority_fee_per_gas: 0,
    };
    let until = now_seconds() + key_sale::VALID_SECONDS;
    reader(chain).deploy(&deployer.signer, data, fees, until).await.expect("the contract is placed")
}

/// Mines blocks without sales.
pub async fn mine(chain: &Devnet, blocks: u64) {
    // No second passes between them: transactions that expire would be dead on a chain of the future.
    call_chain(chain, "anvil_mine", json!([format!("{blocks:#x}"), "0x0"])).await;
}

/// A new key: nobody knows a secret to it, which nothing here needs.
pub fn key(pack: u64) -> SaleKey {
    SaleKey { hash: B256::random(), pack }
}

/// Runs a test once on every engine, on the shared chain.
pub async fn on_every_engine(test: impl AsyncFn(&mut Fixture<'static>)) {
    for database in db::engines().await {
        let mut fixture = Fixture::on(database, shared_chain().await, |_| {}).await;
        test(&mut fixture).await;
        fixture.finish().await;
    }
}

impl SaleContract<'_> {
    pub async fn buyer(&self) -> Agent {
        harness::funded(self.chain).await
    }

    /// Lets the contract take this much from the caller.
    pub fn approve(&self, amount: i64) -> Call {
        let amount = U256::from(u64::try_from(amount).expect("not negative"));
        call(PATH_USD, ITIP20::approveCall { spender: self.contract, amount }.abi_encode())
    }

    pub fn buy(&self, key: SaleKey) -> Call {
        call(self.contract, buy_call(key).to_vec())
    }

    /// As the first version sells: for any owner.
    pub fn buy_v1(&self, key: SaleKey, owner: Address) -> Call {
        call(self.contract, buy_call_v1(key, owner).to_vec())
    }

    pub fn top_up(&self, owner: Address, amount: i64) -> Call {
        call(self.contract, top_up_call(owner, Money::from_micros(amount)).to_vec())
    }

    /// Sends one transaction of these calls, past all faults; its receipt.
    pub async fn send(&self, buyer: &Agent, calls: Vec<Call>) -> Value {
        let transaction = TempoTransaction { gas_limit: GAS, ..buyer.transaction(calls) };
        send_raw(self.chain, &buyer.sign(transaction).raw).await
    }

    /// Sends one transaction of these calls, which must succeed; its receipt.
    pub async fn purchase(&self, buyer: &Agent, calls: Vec<Call>) -> Value {
        let receipt = self.send(buyer, calls).await;
        assert_eq!(receipt["status"], "0x1", "{receipt}");
        receipt
    }

    /// Tops a new wallet up, approval included.
    pub async fn topped_up(&self, amount: i64) -> (Agent, u64) {
        let buyer = self.buyer().await;
        let calls = vec![self.approve(amount), self.top_up(buyer.address(), amount)];
        let receipt = self.purchase(&buyer, calls).await;
        (buyer, block_of(&receipt))
    }

    pub async fn height(&self) -> u64 {
        reader(self.chain).height().await.expect("the chain answers")
    }
}

impl<'a> Fixture<'a> {
    pub async fn on(db: TestDb, chain: &'a Devnet, configure: impl FnOnce(&mut Config)) -> Self {
        let payee = Agent::random().address();
        let contract = deploy(chain, PATH_USD, payee).await;
        Self::following(db, SaleContract { chain, contract }, payee, configure).await
    }

    /// A server that follows a contract which pays `payee`.
    pub async fn following(
        db: TestDb,
        sale_contract: SaleContract<'a>,
        payee: Address,
        configure: impl FnOnce(&mut Config),
    ) -> Self {
        let SaleContract { chain, contract } = sale_contract;
        let server = Server::on(db, &chain.rpc_url(), |config| {
            config.payments.recipient = payee;
            config.key_sale.addresses = vec![contract];
            config.key_sale.confirmations = 0;
            configure(config);
        })
        .await;
        Self { server, sale_contract }
    }

    pub async fn restart(self, configure: impl FnOnce(&mut Config)) -> Self {
        Self { server: self.server.restart(configure).await, ..self }
    }

    pub async fn finish(&mut self) {
        self.assert_audit().await;
        self.server.stop().await;
    }

    pub fn sales(&self) -> &SaleReader {
        &self.server.app.key_sales.readers()[0]
    }

    pub async fn cursor(&self) -> ChainCursor {
        self.sales().cursor().await.expect("the database answers").expect("it has begun")
    }

    pub async fn pass(&self) -> Result<ReadOutcome, SaleError> {
        self.sales().read_next(Timestamp::now()).await
    }

    /// Sum of a wallet's credits, in base units.
    pub async fn credited(&self, owner: Address) -> i64 {
        let row = sqlx::query("SELECT credited FROM accounts WHERE id = $1")
            .bind(format!("wallet:{owner:#x}"))
            .fetch_optional(&self.server.db.db.pool)
            .await
            .expect("the database answers");
        row.map_or(0, |row| row.try_get("credited").expect("a number"))
    }

    pub async fn await_credit(&self, owner: Address, amount: i64) {
        eventually("credited", async || (self.credited(owner).await >= amount).then_some(())).await;
        assert_eq!(self.credited(owner).await, amount);
    }

    /// Waits until everything up to now is read.
    pub async fn await_all(&self) {
        let height = self.height().await;
        eventually("all is read", async || {
            let cursor = self.sales().cursor().await.expect("the database answers");
            cursor.filter(|cursor| cursor.next_block > height).map(drop)
        })
        .await;
    }

    /// Makes the next reader begin at the first block, as if the cursor had been lost.
    pub async fn forget(&self) {
        self.server.db.execute("DELETE FROM chain_cursors").await;
    }

    pub async fn credits(&self) -> i64 {
        self.server.count("SELECT count(*) FROM credits").await
    }

    pub async fn keys(&self) -> i64 {
        self.server.count("SELECT count(*) FROM api_keys WHERE source IS NOT NULL").await
    }

    /// Asserts that the ledger is right, and every unit that the payee got is somebody's credit.
    pub async fn assert_audit(&self) {
        let report = audit(&self.server.db.db).await.expect("the audit runs");
        assert!(report.is_clean(), "{report}");
        let disagreements = farebox::funding::audit::audit(&self.server.db.db).await.expect("the audit runs");
        assert_eq!(disagreements, []);
        let payee = self.chain.balance(PATH_USD, self.server.recipient()).await.expect("the chain answers");
        let refused =
            self.server.count("SELECT CAST(coalesce(sum(amount), 0) AS BIGINT) FROM uncredited_payments");
        assert_eq!(i128::from(payee.to::<u64>()), report.credited + i128::from(refused.await));
    }
}

pub fn block_of(receipt: &Value) -> u64 {
    receipt["blockNumber"].as_str().and_then(|hex| hex.parse::<U256>().ok()).expect("a block").to()
}
