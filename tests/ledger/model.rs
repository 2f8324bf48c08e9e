//! Thousands of random operations, each outcome compared with a small model.

use std::collections::{BTreeMap, HashMap};

use farebox::ledger::sweep::sweep;
use farebox::ledger::{
    Budget, Capture, ChargeOutcome, CloseOutcome, Credited, Day, Estimate, HoldOutcome, HoldRequest, Ledger,
    LedgerError, LimitedBy, OpenOutcome, Owed, SpendOutcome, SpendingLimit, UsageGrouping, UsageOutcome,
    UsageQuery,
};
use farebox_test_support::db::{TestDb, for_each_engine};
use farebox_test_support::random::Random;
use futures_util::future::join_all;

use crate::*;

const OPERATIONS: u32 = 4000;
const ACCOUNTS: u64 = 5;

/// An amount below `end`, in units.
fn below(random: &mut Random, end: u64) -> i64 {
    i64::try_from(random.below(end)).unwrap()
}

/// A hold of the model.
struct ModelHold {
    /// Not opened by a payment at once, which nobody can charge or close.
    id: Option<HoldId>,
    account: usize,
    reserved: i64,
    charged: i64,
    open: bool,
    expires_at: i64,
    /// Budget of the account that it was opened within.
    budget: Option<u64>,
    /// Day on which it was closed.
    closed_on: Option<Day>,
}

impl ModelHold {
    fn hold_id(&self) -> &HoldId {
        self.id.as_ref().expect("only holds with an id are picked")
    }

    fn close(&mut self, now: Timestamp) {
        (self.open, self.closed_on) = (false, Some(Day::of(now)));
    }

    fn unused(&self) -> i64 {
        if self.open { (self.reserved - self.charged).max(0) } else { 0 }
    }
}

/// The ledger as one would write it on paper: sums are never stored, always added up.
#[derive(Default)]
struct Model {
    credits: HashMap<String, (usize, i64)>,
    holds: Vec<ModelHold>,
    keys: HashMap<(usize, u64), usize>,
}

impl Model {
    fn credited(&self, account: usize) -> i64 {
        self.credits.values().filter(|(of, _)| *of == account).map(|(_, amount)| amount).sum()
    }

    fn spent(&self, account: usize) -> i64 {
        self.holds.iter().filter(|hold| hold.account == account).map(|hold| hold.charged).sum()
    }

    fn held(&self, account: usize) -> i64 {
        self.holds.iter().filter(|hold| hold.account == account).map(ModelHold::unused).sum()
    }

    fn available(&self, account: usize) -> i64 {
        self.credited(account) - self.spent(account) - self.held(account)
    }

    /// Requests and their cost, by day and key.
    fn usage(&self, account: usize) -> BTreeMap<(Day, String), (i64, i64)> {
        let mut usage = BTreeMap::new();
        for hold in self.holds.iter().filter(|hold| hold.account == account) {
            let Some(day) = hold.closed_on else { continue };
            let key = hold.budget.map_or_else(String::new, |budget| format!("{account}/{budget}"));
            let (requests, cost) = usage.entry((day, key)).or_insert((0, 0));
            (*requests, *cost) = (*requests + 1, *cost + hold.charged);
        }
        usage
    }

    /// Money spent within a budget, and the claims of its open holds.
    fn used(&self, account: usize, budget: Option<u64>) -> i64 {
        let holds = self.holds.iter().filter(|hold| hold.account == account && hold.budget == budget);
        holds.map(|hold| hold.charged + hold.unused()).sum()
    }

    fn charge(&mut self, hold: usize, amount: i64) -> ChargeOutcome {
        let (account, unused) = (self.holds[hold].account, self.holds[hold].unused());
        if !self.holds[hold].open {
            return ChargeOutcome::Closed;
        }
        let lacking = amount - unused - self.available(account);
        if lacking > 0 {
            return ChargeOutcome::Short { by: money(lacking) };
        }
        self.holds[hold].charged += amount;
        charged(self.holds[hold].charged)
    }

    fn charge_ahead(&mut self, hold: usize, amount: i64, ahead: i64) -> ChargeOutcome {
        let unused = self.holds[hold].unused();
        let outcome = self.charge(hold, amount);
        if matches!(outcome, ChargeOutcome::Charged { .. }) && amount > unused {
            let more = ahead.min(self.available(self.holds[hold].account));
            if more > 0 {
                self.holds[hold].reserved = self.holds[hold].charged + more;
            }
        }
        outcome
    }
}

/// The real ledger, the model, and the clock they share.
struct Run {
    ledger: Ledger,
    model: Model,
    random: Random,
    clock: i64,
}

impl Run {
    fn now(&self) -> Timestamp {
        NOW.checked_add_millis(self.clock).unwrap()
    }

    fn account(&mut self) -> (usize, AccountId) {
        let n = usize::try_from(self.random.below(ACCOUNTS)).unwrap();
        (n, account(&format!("a{n}")))
    }

    /// Any hold, but mostly a recent one, which is more likely to be open.
    fn pick(&mut self) -> Option<usize> {
        let known = self.model.holds.len() as u64;
        let back = if self.random.below(4) == 0 { known } else { known.min(12) };
        let from_end = self.random.below(back.max(1));
        let hold = usize::try_from(known.checked_sub(from_end + 1)?).ok()?;
        self.model.holds[hold].id.is_some().then_some(hold)
    }

    async fn step(&mut self) {
        // Some days have an end.
        self.clock += if self.random.below(900) == 0 { 86_400_000 } else { below(&mut self.random, 20) };
        match self.random.below(20) {
            0..=2 => self.credit().await,
            3..=6 => self.hold().await,
            7..=12 => self.charges().await,
            13 => self.close().await,
            14 => self.opens().await,
            15 => self.captures().await,
            16..=17 => self.spend().await,
            18 => self.extend().await,
            _ => self.sweep().await,
        }
    }

    async fn credit(&mut self) {
        let (n, account) = self.account();
        let (amount, name) = (below(&mut self.random, 400) + 1, format!("s{}", self.random.below(5000)));
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
        let (estimate, name) = (below(&mut self.random, 200), self.random.below(2000));
        let estimate = if self.random.below(3) == 0 { 0 } else { estimate };
        let expires_at = self.now().checked_add_millis(2000).unwrap();
        let request = key(&format!("r{name}"));
        let done = self.ledger.hold(&account, &request, money(estimate), self.now(), expires_at);
        let done = done.await.unwrap();
        if let Some(hold) = self.model.keys.get(&(n, name)) {
            let HoldOutcome::Existing(id) = &done else { panic!("{done:?}") };
            assert!(self.model.holds[*hold].id.as_ref().is_none_or(|known| known == id));
        } else if estimate > self.model.available(n) {
            let by = money(estimate - self.model.available(n));
            assert_eq!(done, HoldOutcome::Short { by });
        } else {
            let HoldOutcome::Opened(id) = done else { panic!("{done:?}") };
            let expires_at = expires_at.millis();
            self.model.keys.insert((n, name), self.model.holds.len());
            self.model.holds.push(ModelHold {
                id: Some(id),
                account: n,
                reserved: estimate,
                charged: 0,
                open: true,
                expires_at,
                budget: None,
                closed_on: None,
            });
        }
    }

    /// Several at once: whether they share a batch or not, the first come are the first served.
    async fn charges(&mut self) {
        let count = self.random.below(12) + 1;
        let mut wanted = Vec::new();
        for _ in 0..count {
            if let Some(hold) = self.pick() {
                let ahead = if self.random.below(3) == 0 { below(&mut self.random, 100) } else { 0 };
                wanted.push((hold, below(&mut self.random, 60), ahead));
            }
        }
        let charges = wanted.iter().map(|(hold, amount, ahead)| {
            self.ledger.charge_ahead(self.model.holds[*hold].hold_id(), money(*amount), money(*ahead))
        });
        let outcomes = join_all(charges).await;
        for ((hold, amount, ahead), outcome) in wanted.into_iter().zip(outcomes) {
            assert_eq!(outcome.unwrap(), self.model.charge_ahead(hold, amount, ahead));
        }
    }

    async fn close(&mut self) {
        let Some(hold) = self.pick() else { return };
        let now = self.now();
        let hold = &mut self.model.holds[hold];
        match self.ledger.close(hold.hold_id(), &details(), now).await.unwrap() {
            CloseOutcome::Closed { entry, released } => {
                assert!(hold.open);
                assert_eq!((entry.amount, released), (money(hold.charged), money(hold.unused())));
            }
            CloseOutcome::AlreadyClosed { entry } => {
                assert!(!hold.open);
                assert_eq!(entry.amount, money(hold.charged));
            }
            CloseOutcome::Short { .. } => panic!("nothing was owed"),
        }
        if hold.open {
            hold.close(now);
        }
    }

    /// Several at once, within budgets. Those with limits take locks, and others do not wait for them:
    /// the first come are the first served among their kind.
    async fn opens(&mut self) {
        let mut wanted = Vec::new();
        let are_limited = self.random.below(2) == 0;
        for _ in 0..=self.random.below(5) {
            let (n, account) = self.account();
            let budget = Some(self.random.below(3)).filter(|budget| are_limited || *budget > 0);
            let limit = |random: &mut Random, often| (random.below(often) == 0).then(|| below(random, 3000));
            let mut limits = (None, None);
            if are_limited {
                limits = (limit(&mut self.random, 1), limit(&mut self.random, 2));
            }
            let (daily, total) = if self.random.below(2) == 0 { limits } else { (limits.1, limits.0) };
            let least = below(&mut self.random, 60);
            let estimate = (least + below(&mut self.random, 200), least);
            let named = budget
                .map(|name| Budget::on(&format!("{n}/{name}"), NOW, daily.map(money), total.map(money)));
            let opening = HoldRequest {
                hold: HoldId::new(self.now()),
                account,
                idempotency_key: None,
                budget: named,
                estimate: Estimate { wanted: money(estimate.0), least: money(estimate.1) },
                now: self.now(),
                expires_at: self.now().checked_add_millis(2000).unwrap(),
            };
            wanted.push((
                opening,
                n,
                budget,
                estimate,
                [(daily, LimitedBy::Daily), (total, LimitedBy::Total)],
            ));
        }
        let opened = join_all(wanted.iter().map(|(opening, ..)| self.ledger.open(opening.clone()))).await;
        for ((opening, n, budget, (most, least), limits), done) in wanted.into_iter().zip(opened) {
            let mut left = (self.model.available(n), LimitedBy::Balance);
            for (limit, bound) in limits.into_iter().filter(|_| budget.is_some()) {
                let rest = limit.map(|limit| (limit - self.model.used(n, budget)).max(0));
                left = rest.filter(|rest| *rest < left.0).map_or(left, |rest| (rest, bound));
            }
            let (affordable, bound) = (money(left.0), left.1);
            if least > left.0 {
                assert_eq!(done.unwrap(), OpenOutcome::Short(SpendingLimit { affordable, bound }));
                continue;
            }
            let Ok(OpenOutcome::Open { hold, reserved }) = done else { panic!("{done:?}") };
            assert_eq!(reserved, money(most.min(left.0)));
            self.model.holds.push(ModelHold {
                id: Some(hold),
                account: n,
                reserved: most.min(left.0),
                charged: 0,
                open: true,
                expires_at: opening.expires_at.millis(),
                budget,
                closed_on: None,
            });
        }
    }

    /// Several at once, maybe the same hold twice.
    async fn captures(&mut self) {
        let mut wanted = Vec::new();
        for _ in 0..=self.random.below(4) {
            if let Some(hold) = self.pick() {
                let (amount, kind) = (below(&mut self.random, 80), self.random.below(3));
                wanted.push((hold, amount, kind));
            }
        }
        let now = self.now();
        let captured = join_all(wanted.iter().map(|(hold, amount, kind)| {
            let owed =
                [Owed::Exactly, Owed::AtMost, Owed::InAll][usize::try_from(*kind).unwrap()](money(*amount));
            let hold = self.model.holds[*hold].hold_id().clone();
            self.ledger.capture(Capture { hold, entry: EntryId::new(now), owed, details: details(), now })
        }))
        .await;
        for ((hold, amount, kind), done) in wanted.into_iter().zip(captured) {
            let before = self.model.holds[hold].charged;
            let is_sum = kind == 2;
            if is_sum && self.model.holds[hold].open && amount < before {
                // What was charged beyond the sum is given back.
                self.model.holds[hold].charged = amount;
            }
            let amount = if is_sum { (amount - before).max(0) } else { amount };
            let amount = match self.model.charge(hold, amount) {
                ChargeOutcome::Short { by } if kind == 0 => {
                    assert_eq!(done.unwrap(), CloseOutcome::Short { by });
                    continue;
                }
                ChargeOutcome::Short { by } => {
                    let rest = amount - by.micros();
                    self.model.charge(hold, rest);
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
            let released = money(self.model.holds[hold].unused());
            let Ok(CloseOutcome::Closed { entry, released: freed }) = done else { panic!("{done:?}") };
            assert_eq!((entry.amount, freed), (money(amount), released));
            self.model.holds[hold].close(now);
        }
    }

    async fn spend(&mut self) {
        let (n, account) = self.account();
        let (amount, name) = (below(&mut self.random, 150), self.random.below(2000));
        let (request, now) = (key(&format!("r{name}")), self.now());
        let done = self.ledger.spend(&account, money(amount), &request, &details(), now).await;
        match (self.model.keys.get(&(n, name)), done) {
            (Some(hold), Err(LedgerError::StillOpen(_))) => assert!(self.model.holds[*hold].open),
            (Some(hold), Ok(SpendOutcome::Replayed(entry))) => {
                let hold = &self.model.holds[*hold];
                assert!(!hold.open && entry.amount == money(hold.charged));
            }
            (None, Ok(SpendOutcome::Short { by })) => {
                assert_eq!(by, money(amount - self.model.available(n)));
                assert!(by.is_positive());
            }
            (None, Ok(SpendOutcome::Spent(entry))) => {
                assert!(entry.amount == money(amount) && amount <= self.model.available(n));
                self.model.keys.insert((n, name), self.model.holds.len());
                self.model.holds.push(ModelHold {
                    id: None,
                    account: n,
                    reserved: 0,
                    charged: amount,
                    open: false,
                    expires_at: 0,
                    budget: None,
                    closed_on: Some(Day::of(now)),
                });
            }
            (known, done) => panic!("{known:?} {done:?}"),
        }
    }

    async fn extend(&mut self) {
        let Some(hold) = self.pick() else { return };
        let until = self.now().checked_add_millis(3000).unwrap();
        let hold = &mut self.model.holds[hold];
        assert_eq!(self.ledger.extend(hold.hold_id(), until).await.unwrap(), hold.open);
        hold.expires_at = until.millis();
    }

    async fn sweep(&mut self) {
        let now = self.now();
        let swept = sweep(&self.ledger, now, 1000).await.unwrap();
        let expired = self.model.holds.iter_mut();
        let expired = expired.filter(|hold| hold.open && hold.expires_at <= now.millis());
        let expected = expired.map(|hold| hold.close(now)).count();
        assert_eq!(swept.closed as usize, expected);
    }

    async fn usage(&self, n: usize) -> BTreeMap<(Day, String), (i64, i64)> {
        let query = UsageQuery {
            first: Day::of(NOW),
            last: Day::of(self.now()),
            grouping: UsageGrouping { by_day: true, by_key: true, by_service: false },
            limit: 1000,
        };
        let found = self.ledger.usage(&account(&format!("a{n}")), &query).await.unwrap();
        let UsageOutcome::Rows(rows) = found else { panic!("{found:?}") };
        let mut usage = BTreeMap::new();
        for row in rows {
            let (requests, cost) = usage.entry((row.day.unwrap(), row.key.unwrap())).or_insert((0, 0));
            (*requests, *cost) = (*requests + row.sums.requests, *cost + row.sums.cost.micros());
        }
        usage
    }

    async fn compare(&self) {
        for n in 0..usize::try_from(ACCOUNTS).unwrap() {
            let real = self.ledger.balance(&account(&format!("a{n}"))).await.unwrap();
            let (credited, spent) = (self.model.credited(n), self.model.spent(n));
            assert_eq!(real, balance(credited, spent, self.model.held(n)), "account {n}");
            assert_eq!(self.usage(n).await, self.model.usage(n), "account {n}");
        }
        assert_clean(&self.ledger).await;
    }
}

async fn run(engine: &TestDb, seed: u64) {
    let ledger = Ledger::start(engine.db.clone());
    let mut run = Run { ledger, model: Model::default(), random: Random(seed), clock: 0 };
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
    let closed = run.model.holds.iter().filter(|hold| !hold.open).count();
    assert!(closed > 200, "the run reached something worth comparing: {closed}");
}

#[tokio::test]
async fn random_operations_agree_with_the_model() {
    for_each_engine(async |engine| run(engine, 20_260_131).await).await;
}
