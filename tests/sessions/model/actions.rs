//! Random actions of the payers of a run.

use farebox_test_support::payer::Payer;
use farebox_test_support::random::Random;
use serde_json::{Value, json};

use super::client::{Action, Client, MAX_TOKENS, Raw};
use super::{DEPOSIT, Run};
use crate::fixture::PRICE;

impl Run<'_> {
    /// A possible action of a payer; `concurrent` are its actions at the same time.
    pub(super) async fn choose(&mut self, who: usize, concurrent: &[Action]) -> Action {
        if !self.clients[who].tried {
            return self.open(who).await;
        }
        let random = &mut self.random;
        let client = &self.clients[who];
        let is_concurrent = |kind: fn(&Action) -> bool| concurrent.iter().any(kind);
        let again = client.unresolved.first().filter(|_| concurrent.is_empty());
        if let Some(again) = again.filter(|_| random.below(3) == 0) {
            return again.clone();
        }
        match random.below(100) {
            0..=24 if !is_concurrent(|action| matches!(action, Action::Stream { .. })) => {
                Action::Stream { amount: amount(client, random), script: script(random) }
            }
            25..=36
                if !is_concurrent(|action| matches!(action, Action::TopUp { .. }))
                    && !client.unresolved.iter().any(|action| matches!(action, Action::TopUp { .. })) =>
            {
                top_up(client, random)
            }
            37..=50 => {
                let chunks = 1 + random.below(MAX_TOKENS);
                let fails = random.below(4) == 0;
                let script = if fails { json!({ "status": 500 }) } else { json!({ "chunks": chunks }) };
                Action::NonStreaming { amount: amount(client, random), script }
            }
            51..=52 => Action::Close(amount(client, random)),
            54..=80 if client.required_voucher().is_some() => {
                let required = client.required_voucher().unwrap_or(0);
                Action::Voucher(required.min(client.belief.deposit.high))
            }
            _ => Action::Voucher(amount(client, random)),
        }
    }

    /// Something that needs the chain.
    pub(super) async fn choose_transaction(&mut self, who: usize) -> Action {
        if !self.clients[who].tried {
            return self.open(who).await;
        }
        let (random, client) = (&mut self.random, &self.clients[who]);
        match client.unresolved.first() {
            Some(again) => again.clone(),
            None if random.below(6) == 0 => Action::Close(client.belief.accepted.high),
            None => top_up(client, random),
        }
    }

    /// The transaction is signed now: it is valid for seconds only.
    async fn open(&mut self, who: usize) -> Action {
        let challenge = self.fixture().challenge().await;
        let client = &mut self.clients[who];
        client.payer = Payer::prepare(client.payer.agent.clone(), challenge, DEPOSIT);
        client.tried = true;
        Action::Open { amount: PRICE * self.random.below(40), again: false }
    }
}

fn top_up(client: &Client, random: &mut Random) -> Action {
    let more = PRICE * (1 + random.below(60));
    Action::TopUp { more, transaction: Raw(client.payer.top_up_transaction(more)) }
}

/// The amount of a voucher: what is allowed already, less, more, or more than there is.
fn amount(client: &Client, random: &mut Random) -> u64 {
    let (accepted, deposit) = (client.belief.accepted.high, client.belief.deposit.high);
    match random.below(10) {
        0..=3 => accepted,
        4 => accepted.saturating_sub(1 + random.below(20 * PRICE)),
        5..=8 => (accepted + PRICE * (1 + random.below(60))).min(deposit.max(accepted)),
        _ => deposit + 1 + random.below(10 * PRICE),
    }
}

/// Script of a streamed answer.
fn script(random: &mut Random) -> Value {
    let (chunks, after) = (1 + random.below(60), random.below(30));
    match random.below(6) {
        0 | 1 => json!({ "chunks": chunks, "intervalMs": 2 }),
        2 => json!({ "endless": true, "intervalMs": 2 }),
        3 => json!({ "chunks": chunks, "intervalMs": 2, "cutAfter": after }),
        4 => json!({ "chunks": chunks, "intervalMs": 2, "errorAfter": after }),
        _ => json!({ "status": 500 }),
    }
}
