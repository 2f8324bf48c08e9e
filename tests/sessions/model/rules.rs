//! The model: possible states of a channel, and the answers that each allows. Pure.
//!
//! A payer does not always know how its channel stands: an answer was lost, the chain was slow, it
//! requested a close past the server. So a belief holds bounds, and an answer is right if it is right
//! in one of the worlds within them.

use std::collections::BTreeSet;

/// Stable codes of the answers that are right; [`OK`] stands for success.
pub type Allowed = BTreeSet<&'static str>;

pub const OK: &str = "ok";
/// Codes that a request with a transaction may get while the chain is unreliable.
const UNRELIABLE_CODES: [&str; 3] = ["settlement_pending", "service_unavailable", "verification_failed"];

/// An amount of which only bounds may be known, in base units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub low: u64,
    pub high: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    No,
    Perhaps,
    Yes,
}

/// A channel as its payer sees it.
#[derive(Debug, Clone, Copy)]
pub struct Belief {
    pub opened: Certainty,
    /// A close is under way, or was requested on the chain.
    pub ending: Certainty,
    pub ended: Certainty,
    pub deposit: Range,
    pub accepted: Range,
}

/// One way in which it can be.
#[derive(Debug, Clone, Copy)]
struct World {
    opened: bool,
    ending: bool,
    ended: bool,
    deposit: u64,
    accepted: u64,
}

impl Range {
    pub fn exactly(amount: u64) -> Self {
        Self { low: amount, high: amount }
    }

    pub fn holds(self, amount: u64) -> bool {
        (self.low..=self.high).contains(&amount)
    }
}

impl Certainty {
    fn cases(self) -> &'static [bool] {
        match self {
            Self::No => &[false],
            Self::Perhaps => &[false, true],
            Self::Yes => &[true],
        }
    }

    pub fn is_possible(self) -> bool {
        self != Self::No
    }
}

impl Belief {
    pub const NOTHING: Self = Self {
        opened: Certainty::No,
        ending: Certainty::No,
        ended: Certainty::No,
        deposit: Range { low: 0, high: 0 },
        accepted: Range { low: 0, high: 0 },
    };

    fn worlds(&self) -> Vec<World> {
        let mut worlds = Vec::new();
        for &opened in self.opened.cases() {
            for &ending in self.ending.cases() {
                for &ended in self.ended.cases() {
                    for deposit in [self.deposit.low, self.deposit.high] {
                        for accepted in [self.accepted.low, self.accepted.high] {
                            worlds.push(World { opened, ending, ended, deposit, accepted });
                        }
                    }
                }
            }
        }
        worlds
    }

    /// Every answer that a payer can get when several things happen at once.
    pub fn all_answers(&self) -> Allowed {
        let mut all = Allowed::from([
            OK,
            "verification_failed",
            "amount_exceeds_deposit",
            "insufficient_balance",
            "channel_finalized",
            "settlement_pending",
            "service_unavailable",
            "payment_in_progress",
            "upstream_failed",
        ]);
        if self.opened != Certainty::Yes {
            all.insert("channel_not_found");
        }
        all
    }

    /// The answers to a voucher of `amount`.
    pub fn voucher(&self, amount: u64) -> Allowed {
        let verdicts = self.worlds().into_iter().map(|world| world.voucher(amount));
        verdicts.chain(self.unknown()).collect()
    }

    /// The answer while it is unknown whether the channel opened.
    fn unknown(&self) -> Option<&'static str> {
        (self.opened == Certainty::Perhaps).then_some("settlement_pending")
    }

    /// The answers to a request that needs `least`, with a voucher of `amount`, when `spent` had
    /// been charged before.
    pub fn buy(&self, amount: u64, least: u64, spent: Range) -> Allowed {
        let mut allowed = Allowed::new();
        for world in self.worlds() {
            for spent in [spent.low, spent.high] {
                allowed.insert(match world.voucher(amount) {
                    OK if amount.saturating_sub(spent) < least => "insufficient_balance",
                    verdict => verdict,
                });
            }
        }
        allowed.extend(self.unknown());
        allowed
    }

    /// The answers to an open with a first voucher of `amount`: the first one, or the same again.
    pub fn open(&self, amount: u64, again: bool, unreliable: bool) -> Allowed {
        let mut allowed = Allowed::new();
        for world in self.worlds() {
            allowed.insert(if world.opened { world.voucher(amount) } else { OK });
            if again && !world.opened {
                // The first one came to nothing: its transaction is not sent a second time.
                allowed.extend(["channel_not_found", "verification_failed"]);
            }
        }
        with_unreliable_codes(allowed, unreliable)
    }

    pub fn top_up(&self, unreliable: bool) -> Allowed {
        let mut allowed = Allowed::new();
        for world in self.worlds() {
            allowed.insert(match world {
                World { opened: false, .. } => "channel_not_found",
                World { ended: true, .. } => "channel_finalized",
                World { .. } => OK,
            });
        }
        allowed.extend(self.unknown());
        with_unreliable_codes(allowed, unreliable || self.ending.is_possible() || self.ended.is_possible())
    }

    /// The answers to a close with a voucher of `amount`.
    pub fn close(&self, amount: u64, spent: Range, unreliable: bool) -> Allowed {
        let mut allowed = Allowed::new();
        for world in self.worlds() {
            for spent in [spent.low, spent.high] {
                allowed.insert(match world {
                    World { opened: false, .. } => "channel_not_found",
                    World { ended: true, .. } => OK,
                    // One asked for on the chain is taken here as well; one that is out is looked up.
                    World { deposit, .. } if amount > deposit => "amount_exceeds_deposit",
                    World { .. } if amount < spent => "verification_failed",
                    World { .. } => OK,
                });
            }
        }
        if self.ending.is_possible() {
            allowed.insert(OK);
        }
        allowed.extend(self.unknown());
        with_unreliable_codes(allowed, unreliable || self.ending.is_possible())
    }
}

impl World {
    fn voucher(self, amount: u64) -> &'static str {
        match self {
            Self { opened: false, .. } => "channel_not_found",
            Self { ended: true, .. } => "channel_finalized",
            Self { ending: true, .. } => "verification_failed",
            Self { deposit, .. } if amount > deposit => "amount_exceeds_deposit",
            Self { accepted, .. } if amount < accepted => "verification_failed",
            Self { .. } => OK,
        }
    }
}

fn with_unreliable_codes(mut allowed: Allowed, unreliable: bool) -> Allowed {
    if unreliable {
        allowed.extend(UNRELIABLE_CODES);
    }
    allowed
}
