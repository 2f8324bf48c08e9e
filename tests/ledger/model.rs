//! Thousands of random operations, each outcome compared with a model that fits in one's head.

use std::collections::HashMap;

use farebox::ledger::sweep::sweep;
use farebox::ledger::{
    Bound, Budget, ChargeOutcome, CloseOutcome, Credited, Estimate, HoldOutcome, Ledger, LedgerError, Limit,
    Opened, Opening, Owed, Settling, SpendOutcome,
};
use futures_util::future::join_all;

use crate::db::{TestDb, for_each_engine};
use crate::*;

const OPERATIONS: u32 = 4000;
const ACCOUNTS: u64 = 5;

/// Random enough, and the same on every run of one seed.
struct Dice(u64);

impl Dice {
    /// A number below `sides`.
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn amount(&mut self, below: u64) -> i64 {
        i64::try_from(self.roll(below)).unwrap()
    }
}

/// A tab of the model.
struct Tab {
    /// Not told by a payment at once, which nobody can charge or close.
    id: Option<HoldId>,
    account: usize,
    reserved: i64,
    charged: i64,
    open: bool,
    expires_at: i64,
    /// Which budget of the account it was opened within.
    budget: Option<u64>,
}

impl Tab {
    fn hold(&self) -> &HoldId {
        self.id.as_ref().expect("only tabs with an id are picked")
    }

    fn unused(&self) -> i64 {
        if self.open { (self.reserved - self.charged).max(0) } else { 0 }
    }
}

/// The ledger as one would write it on paper: sums are never stored, always added up.
#[derive(Default)]
struct Model {
    credits: HashMap<String, (usize, i64)>,
    tabs: Vec<Tab>,
    keys: HashMap<(usize, u64), usize>,
}

impl Model {
    fn credited(&self, account: usize) -> i64 {
        self.credits.values().filter(|(of, _)| *of == account).map(|(_, amount)| amount).sum()
    }

    fn spent(&self, account: usize) -> i64 {
        self.tabs.iter().filter(|tab| tab.account == account).map(|tab| tab.charged).sum()
    }

    fn held(&self, account: usize) -> i64 {
        self.tabs.iter().filter(|tab| tab.account == account).map(Tab::unused).sum()
    }

    fn available(&self, account: usize) -> i64 {
        self.credited(account) - self.spent(account) - self.held(account)
    }

    /// What was spent within a budget, and what its open tabs may come to.
    fn used(&self, account: usize, budget: Option<u64>) -> i64 {
        let tabs = self.tabs.iter().filter(|tab| tab.account == account && tab.budget == budget);
        tabs.map(|tab| tab.charged + tab.unused()).sum()
    }

    fn charge(&mut self, tab: usize, amount: i64) -> ChargeOutcome {
        let (account, unused) = (self.tabs[tab].account, self.tabs[tab].unused());
        if !self.tabs[tab].open {
            return ChargeOutcome::Closed;
        }
        let lacking = amount - unused - self.available(account);
        if lacking > 0 {
            return ChargeOutcome::Short { by: money(lacking) };
        }
        self.tabs[tab].charged += amount;
        charged(self.tabs[tab].charged)
    }

    fn charge_ahead(&mut self, tab: usize, amount: i64, ahead: i64) -> ChargeOutcome {
        let unused = self.tabs[tab].unused();
        let outcome = self.charge(tab, amount);
        if matches!(outcome, ChargeOutcome::Charged { .. }) && amount > unused {
            let more = ahead.min(self.available(self.tabs[tab].account));
            self.tabs[tab].reserved = self.tabs[tab].charged + more;
        }
        outcome
    }
}

/// The real ledger, the model, and the clock they share.
struct Run {
    ledger: Ledger,
    model: Model,
    dice: Dice,
    clock: i64,
}

impl Run {
    fn now(&self) -> Timestamp {
        NOW.checked_add_millis(self.clock).unwrap()
    }

    fn account(&mut self) -> (usize, AccountId) {
        let n = usize::try_from(self.dice.roll(ACCOUNTS)).unwrap();
        (n, account(&format!("a{n}")))
    }

    /// Any tab, but mostly a recent one, which is more likely to be open.
    fn tab(&mut self) -> Option<usize> {
        let known = self.model.tabs.len() as u64;
        let back = if self.dice.roll(4) == 0 { known } else { known.min(12) };
        let from_end = self.dice.roll(back.max(1));
        let tab = usize::try_from(known.checked_sub(from_end + 1)?).ok()?;
        self.model.tabs[tab].id.is_some().then_some(tab)
    }

    async fn step(&mut self) {
        self.clock += self.dice.amount(20);
        match self.dice.roll(20) {
            0..=2 => self.credit().await,
            3..=6 => self.hold().await,
            7..=12 => self.charges().await,
            13 => self.close().await,
            14 => self.opens().await,
            15 => self.settles().await,
            16..=17 => self.spend().await,
            18 => self.extend().await,
            _ => self.sweep().await,
        }
    }

    async fn credit(&mut self) {
        let (n, account) = self.account();
        let (amount, name) = (self.dice.amount(400) + 1, format!("s{}", self.dice.roll(5000)));
        let done = self.ledger.credit(&account, money(amount), &source(&name), self.now()).await;
        match self.model.credits.get(&name) {
            None => {
                assert!(matches!(done, Ok(Credited::Applied)), "{done:?}");
                self.model.credits.insert(name, (n, amount));
            }
            Some(known) if *known == (n, amount) => {
                assert!(matches!(done, Ok(Credited::Replayed)), "{done:?}");
            }
            Some(_) => assert!(matches!(done, Err(LedgerError::CreditConflict(_))), "{done:?}"),
        }
    }

    async fn hold(&mut self) {
        let (n, account) = self.account();
        let (estimate, name) = (self.dice.amount(200), self.dice.roll(2000));
        let estimate = if self.dice.roll(3) == 0 { 0 } else { estimate };
        let expires_at = self.now().checked_add_millis(2000).unwrap();
        let request = key(&format!("r{name}"));
        let done = self.ledger.hold(&account, &request, money(estimate), self.now(), expires_at);
        let done = done.await.unwrap();
        if let Some(tab) = self.model.keys.get(&(n, name)) {
            let HoldOutcome::Existing(id) = &done else { panic!("{done:?}") };
            assert!(self.model.tabs[*tab].id.as_ref().is_none_or(|known| known == id));
        } else if estimate > self.model.available(n) {
            let by = money(estimate - self.model.available(n));
            assert_eq!(done, HoldOutcome::Short { by });
        } else {
            let HoldOutcome::Opened(id) = done else { panic!("{done:?}") };
            let expires_at = expires_at.millis();
            self.model.keys.insert((n, name), self.model.tabs.len());
            self.model.tabs.push(Tab {
                id: Some(id),
                account: n,
                reserved: estimate,
                charged: 0,
                open: true,
                expires_at,
                budget: None,
            });
        }
    }

    /// Several at once: whether they share a batch or not, the first come are the first served.
    async fn charges(&mut self) {
        let count = self.dice.roll(12) + 1;
        let mut wanted = Vec::new();
        for _ in 0..count {
            if let Some(tab) = self.tab() {
                let ahead = if self.dice.roll(3) == 0 { self.dice.amount(100) } else { 0 };
                wanted.push((tab, self.dice.amount(60), ahead));
            }
        }
        let charges = wanted.iter().map(|(tab, amount, ahead)| {
            self.ledger.charge_ahead(self.model.tabs[*tab].hold(), money(*amount), money(*ahead))
        });
        let outcomes = join_all(charges).await;
        for ((tab, amount, ahead), outcome) in wanted.into_iter().zip(outcomes) {
            assert_eq!(outcome.unwrap(), self.model.charge_ahead(tab, amount, ahead));
        }
    }

    async fn close(&mut self) {
        let Some(tab) = self.tab() else { return };
        let now = self.now();
        let tab = &mut self.model.tabs[tab];
        match self.ledger.close(tab.hold(), &details(), now).await.unwrap() {
            CloseOutcome::Closed { entry, released } => {
                assert!(tab.open);
                assert_eq!((entry.amount, released), (money(tab.charged), money(tab.unused())));
            }
            CloseOutcome::AlreadyClosed { entry } => {
                assert!(!tab.open);
                assert_eq!(entry.amount, money(tab.charged));
            }
            CloseOutcome::Short { .. } => panic!("nothing was owed"),
        }
        tab.open = false;
    }

    /// Several at once, within budgets. Those with limits take locks, and others do not wait for them:
    /// the first come are the first served among their kind.
    async fn opens(&mut self) {
        let mut wanted = Vec::new();
        let are_limited = self.dice.roll(2) == 0;
        for _ in 0..=self.dice.roll(5) {
            let (n, account) = self.account();
            let budget = Some(self.dice.roll(3)).filter(|budget| are_limited || *budget > 0);
            let limit = |dice: &mut Dice, often| (dice.roll(often) == 0).then(|| dice.amount(3000));
            let mut limits = (None, None);
            if are_limited {
                limits = (limit(&mut self.dice, 1), limit(&mut self.dice, 2));
            }
            let (daily, total) = if self.dice.roll(2) == 0 { limits } else { (limits.1, limits.0) };
            let least = self.dice.amount(60);
            let estimate = (least + self.dice.amount(200), least);
            let named = budget
                .map(|name| Budget::on(&format!("{n}/{name}"), NOW, daily.map(money), total.map(money)));
            let opening = Opening {
                account,
                idempotency_key: None,
                budget: named,
                estimate: Estimate { wanted: money(estimate.0), least: money(estimate.1) },
                now: self.now(),
                expires_at: self.now().checked_add_millis(2000).unwrap(),
            };
            wanted.push((opening, n, budget, estimate, [(daily, Bound::Daily), (total, Bound::Total)]));
        }
        let opened = join_all(wanted.iter().map(|(opening, ..)| self.ledger.open(opening.clone()))).await;
        for ((opening, n, budget, (most, least), limits), done) in wanted.into_iter().zip(opened) {
            let mut left = (self.model.available(n), Bound::Balance);
            for (limit, bound) in limits.into_iter().filter(|_| budget.is_some()) {
                let rest = limit.map(|limit| (limit - self.model.used(n, budget)).max(0));
                left = rest.filter(|rest| *rest < left.0).map_or(left, |rest| (rest, bound));
            }
            let (affordable, bound) = (money(left.0), left.1);
            if least > left.0 {
                assert_eq!(done.unwrap(), Opened::Short(Limit { affordable, bound }));
                continue;
            }
            let Ok(Opened::Open { hold, reserved }) = done else { panic!("{done:?}") };
            assert_eq!(reserved, money(most.min(left.0)));
            self.model.tabs.push(Tab {
                id: Some(hold),
                account: n,
                reserved: most.min(left.0),
                charged: 0,
                open: true,
                expires_at: opening.expires_at.millis(),
                budget,
            });
        }
    }

    /// Several at once, maybe the same tab twice.
    async fn settles(&mut self) {
        let mut wanted = Vec::new();
        for _ in 0..=self.dice.roll(4) {
            if let Some(tab) = self.tab() {
                wanted.push((tab, self.dice.amount(80), self.dice.roll(2) == 0));
            }
        }
        let now = self.now();
        let settled = join_all(wanted.iter().map(|(tab, amount, exactly)| {
            let owed = if *exactly { Owed::Exactly(money(*amount)) } else { Owed::AtMost(money(*amount)) };
            let hold = self.model.tabs[*tab].hold().clone();
            self.ledger.settle(Settling { hold, owed, details: details(), now })
        }))
        .await;
        for ((tab, amount, exactly), done) in wanted.into_iter().zip(settled) {
            let before = self.model.tabs[tab].charged;
            let amount = match self.model.charge(tab, amount) {
                ChargeOutcome::Short { by } if exactly => {
                    assert_eq!(done.unwrap(), CloseOutcome::Short { by });
                    continue;
                }
                ChargeOutcome::Short { by } => {
                    let rest = amount - by.micros();
                    self.model.charge(tab, rest);
                    before + rest
                }
                ChargeOutcome::Charged { total } => total.micros(),
                ChargeOutcome::Closed => {
                    let done = done.unwrap();
                    let CloseOutcome::AlreadyClosed { entry } = done else { panic!("{done:?}") };
                    assert_eq!(entry.amount, money(before));
                    continue;
                }
            };
            let released = money(self.model.tabs[tab].unused());
            let Ok(CloseOutcome::Closed { entry, released: told }) = done else { panic!("{done:?}") };
            assert_eq!((entry.amount, told), (money(amount), released));
            self.model.tabs[tab].open = false;
        }
    }

    async fn spend(&mut self) {
        let (n, account) = self.account();
        let (amount, name) = (self.dice.amount(150), self.dice.roll(2000));
        let request = key(&format!("r{name}"));
        let done = self.ledger.spend(&account, money(amount), &request, &details(), self.now()).await;
        match (self.model.keys.get(&(n, name)), done) {
            (Some(tab), Err(LedgerError::StillOpen(_))) => assert!(self.model.tabs[*tab].open),
            (Some(tab), Ok(SpendOutcome::Replayed(entry))) => {
                let tab = &self.model.tabs[*tab];
                assert!(!tab.open && entry.amount == money(tab.charged));
            }
            (None, Ok(SpendOutcome::Short { by })) => {
                assert_eq!(by, money(amount - self.model.available(n)));
                assert!(by.is_positive());
            }
            (None, Ok(SpendOutcome::Spent(entry))) => {
                assert!(entry.amount == money(amount) && amount <= self.model.available(n));
                self.model.keys.insert((n, name), self.model.tabs.len());
                self.model.tabs.push(Tab {
                    id: None,
                    account: n,
                    reserved: 0,
                    charged: amount,
                    open: false,
                    expires_at: 0,
                    budget: None,
                });
            }
            (known, done) => panic!("{known:?} {done:?}"),
        }
    }

    async fn extend(&mut self) {
        let Some(tab) = self.tab() else { return };
        let until = self.now().checked_add_millis(3000).unwrap();
        let tab = &mut self.model.tabs[tab];
        assert_eq!(self.ledger.extend(tab.hold(), until).await.unwrap(), tab.open);
        tab.expires_at = until.millis();
    }

    async fn sweep(&mut self) {
        let now = self.now();
        let swept = sweep(&self.ledger, now, 1000).await.unwrap();
        let expired = self.model.tabs.iter_mut();
        let expired = expired.filter(|tab| tab.open && tab.expires_at <= now.millis());
        let expected = expired.map(|tab| tab.open = false).count();
        assert_eq!(swept.closed as usize, expected);
    }

    async fn compare(&self) {
        for n in 0..usize::try_from(ACCOUNTS).unwrap() {
            let real = self.ledger.balance(&account(&format!("a{n}"))).await.unwrap();
            let (credited, spent) = (self.model.credited(n), self.model.spent(n));
            assert_eq!(real, balance(credited, spent, self.model.held(n)), "account {n}");
        }
        assert_clean(&self.ledger).await;
    }
}

async fn run(engine: &TestDb, seed: u64) {
    let ledger = Ledger::start(engine.db.clone());
    let mut run = Run { ledger, model: Model::default(), dice: Dice(seed), clock: 0 };
    for step in 0..OPERATIONS {
        run.step().await;
        if step % 250 == 0 {
            run.compare().await;
        }
        if step % 1000 == 0 {
            run.ledger = Ledger::start(engine.connect_again().await);
        }
    }
    run.compare().await;
    let closed = run.model.tabs.iter().filter(|tab| !tab.open).count();
    assert!(closed > 200, "the run reached something worth comparing: {closed}");
}

#[tokio::test]
async fn random_operations_agree_with_the_model() {
    for_each_engine(async |engine| run(engine, 20_260_131).await).await;
}
