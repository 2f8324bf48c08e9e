//! What payers of a run want.

use serde_json::{Value, json};

use super::client::{Ask, Client, Raw, WHOLE};
use super::{DEPOSIT, Run};
use crate::payer::Payer;
use crate::random::Random;
use crate::stage::PRICE;

impl Run<'_> {
    /// What a payer could want now; `beside` what it asks for at the same time.
    pub(super) async fn choose(&mut self, who: usize, beside: &[Ask]) -> Ask {
        if !self.clients[who].tried {
            return self.open(who).await;
        }
        let random = &mut self.random;
        let client = &self.clients[who];
        let is_beside = |kind: fn(&Ask) -> bool| beside.iter().any(kind);
        let again = client.unresolved.first().filter(|_| beside.is_empty());
        if let Some(again) = again.filter(|_| random.below(3) == 0) {
            return again.clone();
        }
        match random.below(100) {
            0..=24 if !is_beside(|ask| matches!(ask, Ask::Stream { .. })) => {
                Ask::Stream { amount: amount(client, random), script: script(random) }
            }
            25..=36
                if !is_beside(|ask| matches!(ask, Ask::TopUp { .. }))
                    && !client.unresolved.iter().any(|ask| matches!(ask, Ask::TopUp { .. })) =>
            {
                top_up(client, random)
            }
            37..=50 => {
                let chunks = 1 + random.below(WHOLE);
                let fails = random.below(4) == 0;
                let script = if fails { json!({ "status": 503 }) } else { json!({ "chunks": chunks }) };
                Ask::Whole { amount: amount(client, random), script }
            }
            51..=52 => Ask::Close(amount(client, random)),
            54..=80 if client.asked().is_some() => {
                let asked = client.asked().unwrap_or(0);
                Ask::Voucher(asked.min(client.belief.deposit.high))
            }
            _ => Ask::Voucher(amount(client, random)),
        }
    }

    /// Something that needs the chain.
    pub(super) async fn choose_transaction(&mut self, who: usize) -> Ask {
        if !self.clients[who].tried {
            return self.open(who).await;
        }
        let (random, client) = (&mut self.random, &self.clients[who]);
        match client.unresolved.first() {
            Some(again) => again.clone(),
            None if random.below(6) == 0 => Ask::Close(client.belief.accepted.high),
            None => top_up(client, random),
        }
    }

    /// The transaction is signed now: it is valid for seconds only.
    async fn open(&mut self, who: usize) -> Ask {
        let asked = self.stage().ask().await;
        let client = &mut self.clients[who];
        client.payer = Payer::prepare(client.payer.agent.clone(), asked, DEPOSIT);
        client.tried = true;
        Ask::Open { amount: PRICE * self.random.below(40), again: false }
    }
}

fn top_up(client: &Client, random: &mut Random) -> Ask {
    let more = PRICE * (1 + random.below(60));
    Ask::TopUp { more, transaction: Raw(client.payer.top_up_transaction(more)) }
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

/// What a streamed answer does.
fn script(random: &mut Random) -> Value {
    let (chunks, after) = (1 + random.below(60), random.below(30));
    match random.below(6) {
        0 | 1 => json!({ "chunks": chunks, "intervalMs": 2 }),
        2 => json!({ "endless": true, "intervalMs": 2 }),
        3 => json!({ "chunks": chunks, "intervalMs": 2, "cutAfter": after }),
        4 => json!({ "chunks": chunks, "intervalMs": 2, "errorAfter": after }),
        _ => json!({ "status": 503 }),
    }
}
