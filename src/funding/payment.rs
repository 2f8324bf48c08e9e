//! A payment's row and the decision what to do with a presented credential.

use crate::id::{AccountId, Timestamp};
use crate::money::Money;
use crate::mpp::Proof;

/// How far a payment has come. See `migrations/0002_payments.sql`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaymentState {
    Claimed,
    Broadcast,
    Settled,
    Delivered,
    Failed,
}

impl PaymentState {
    pub(super) const ALL: [Self; 5] =
        [Self::Claimed, Self::Broadcast, Self::Settled, Self::Delivered, Self::Failed];

    /// The name in the database and on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Broadcast => "broadcast",
            Self::Settled => "settled",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}

/// A row of `payments`.
#[derive(Debug, Clone)]
pub struct Payment {
    /// The challenge id.
    pub id: String,
    pub fingerprint: String,
    pub proof: Proof,
    pub state: PaymentState,
    pub route: String,
    pub digest: String,
    pub amount: Money,
    /// Token address, lower case.
    pub currency: String,
    pub payer: Option<String>,
    pub idempotency_key: Option<String>,
    pub request_id: String,
    pub tx_hash: Option<String>,
    pub raw_tx: Option<String>,
    pub answer: Option<String>,
    /// JSON of what was bought beyond the answer.
    pub goods: Option<String>,
    pub receipt: Option<String>,
    pub fee_limit: Money,
    pub valid_before: Option<Timestamp>,
    pub expires_at: Timestamp,
    pub lease_until: Timestamp,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// The account it tops up; none when it buys an answer.
    pub account: Option<AccountId>,
}

/// A credential as the decision sees it: its challenge has been verified.
#[derive(Debug, Clone, Copy)]
pub struct Presented<'a> {
    pub fingerprint: &'a str,
    pub proof: Proof,
    pub idempotency_key: Option<&'a str>,
    /// When the challenge expires.
    pub expires: Timestamp,
}

/// What to do with a presented credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// First time seen: claim it and work.
    Claim,
    /// Claimed before, but who did is gone and nothing was sent: take it over.
    TakeOver,
    /// A transaction may be out there: ask the chain before anything else.
    Reconcile,
    /// Paid, and the answer has not left yet: hand it over.
    Deliver,
    /// Paid, asked again under the same idempotency key: hand over the same
    /// answer.
    Repeat,
    /// Nothing further happens with it.
    Refuse(Why),
}

/// Why a credential does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The challenge's time is over and no payment was made in time.
    Expired,
    /// Another request works on this credential now.
    InProgress,
    /// The challenge has been used, with another credential.
    UsedChallenge,
    /// Paid and delivered: a second use buys nothing, and must not ask for money.
    Spent,
    /// Its transaction failed for good; nothing was paid.
    Failed,
}

/// Decides from what is stored and what is presented; see `docs` of [`Step`].
///
/// Rules (draft-httpauth-payment-00, "Replay Protection", "Idempotency"): one
/// credential buys one answer; a payment that was made is never answered with a
/// new challenge; a payment made in time completes even after the expiry.
#[must_use]
pub fn decide(stored: Option<&Payment>, presented: &Presented, now: Timestamp) -> Step {
    let Some(stored) = stored else {
        return if presented.expires <= now { Step::Refuse(Why::Expired) } else { Step::Claim };
    };
    let same = stored.fingerprint == presented.fingerprint;
    let leased = stored.lease_until > now;
    match stored.state {
        PaymentState::Claimed | PaymentState::Broadcast if leased => Step::Refuse(Why::InProgress),
        PaymentState::Claimed if !same => Step::Refuse(Why::UsedChallenge),
        // A push is already on the chain, so its expiry was honoured when it
        // was first presented; a pull must still be sent in time.
        PaymentState::Claimed if presented.expires <= now && stored.proof != Proof::Hash => {
            Step::Refuse(Why::Expired)
        }
        PaymentState::Claimed => Step::TakeOver,
        PaymentState::Broadcast if same => Step::Reconcile,
        PaymentState::Settled | PaymentState::Delivered if same && repeats(stored, presented) => Step::Repeat,
        // Whoever settled it is handing the answer over.
        PaymentState::Settled if same && leased => Step::Refuse(Why::InProgress),
        PaymentState::Settled if same => Step::Deliver,
        PaymentState::Failed if same => Step::Refuse(Why::Failed),
        PaymentState::Delivered if same => Step::Refuse(Why::Spent),
        PaymentState::Broadcast | PaymentState::Settled | PaymentState::Delivered | PaymentState::Failed => {
            Step::Refuse(match presented.proof {
                // Whoever pushed has paid already: no new challenge for them.
                Proof::Hash => Why::Spent,
                Proof::Transaction | Proof::Signature => Why::UsedChallenge,
            })
        }
    }
}

/// Whether the answer can be fetched again. One for goods can without a key, with the same
/// credential: it says which key was bought, and what opens it is derived anew each time.
fn repeats(stored: &Payment, presented: &Presented) -> bool {
    if stored.goods.is_some() && stored.answer.is_some() {
        return true;
    }
    stored.idempotency_key.is_some() && stored.idempotency_key.as_deref() == presented.idempotency_key
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);
    const SOON: Timestamp = Timestamp::from_millis(1_000_001);
    const PAST: Timestamp = Timestamp::from_millis(999_999);

    fn stored(state: PaymentState, proof: Proof) -> Payment {
        Payment {
            id: "c".into(),
            fingerprint: "f".into(),
            proof,
            state,
            route: "POST /x".into(),
            digest: String::new(),
            amount: Money::ZERO,
            currency: String::new(),
            payer: None,
            idempotency_key: None,
            request_id: "r".into(),
            tx_hash: None,
            raw_tx: None,
            answer: None,
            goods: None,
            receipt: None,
            fee_limit: Money::ZERO,
            valid_before: None,
            expires_at: SOON,
            lease_until: PAST,
            created_at: PAST,
            updated_at: PAST,
            account: None,
        }
    }

    fn presented(proof: Proof) -> Presented<'static> {
        Presented { fingerprint: "f", proof, idempotency_key: None, expires: SOON }
    }

    #[test]
    fn attack_02_expires_equal_to_now_is_expired() {
        let mut credential = presented(Proof::Transaction);
        assert_eq!(decide(None, &credential, NOW), Step::Claim);
        for expires in [NOW, PAST] {
            credential.expires = expires;
            assert_eq!(decide(None, &credential, NOW), Step::Refuse(Why::Expired));
            let claimed = stored(PaymentState::Claimed, Proof::Transaction);
            assert_eq!(decide(Some(&claimed), &credential, NOW), Step::Refuse(Why::Expired));
        }
    }

    #[test]
    fn what_was_paid_in_time_completes_after_the_expiry() {
        let mut credential = presented(Proof::Hash);
        credential.expires = PAST;
        let step = |state| decide(Some(&stored(state, Proof::Hash)), &credential, NOW);
        assert_eq!(step(PaymentState::Claimed), Step::TakeOver);
        assert_eq!(step(PaymentState::Broadcast), Step::Reconcile);
        assert_eq!(step(PaymentState::Settled), Step::Deliver);
    }

    #[test]
    fn attack_09_a_settled_credential_never_leads_to_a_new_challenge() {
        let credential = presented(Proof::Transaction);
        let mut row = stored(PaymentState::Delivered, Proof::Transaction);
        assert_eq!(decide(Some(&row), &credential, NOW), Step::Refuse(Why::Spent));
        row.idempotency_key = Some("k".into());
        assert_eq!(decide(Some(&row), &credential, NOW), Step::Refuse(Why::Spent));
        let again = Presented { idempotency_key: Some("k"), ..credential };
        assert_eq!(decide(Some(&row), &again, NOW), Step::Repeat);
        row.idempotency_key = None;
        assert_eq!(decide(Some(&row), &again, NOW), Step::Refuse(Why::Spent));
    }

    #[test]
    fn attack_11_one_worker_at_a_time() {
        for state in [PaymentState::Claimed, PaymentState::Broadcast] {
            let mut row = stored(state, Proof::Transaction);
            row.lease_until = SOON;
            assert_eq!(
                decide(Some(&row), &presented(Proof::Transaction), NOW),
                Step::Refuse(Why::InProgress)
            );
        }
    }

    #[test]
    fn attack_11_one_delivery_at_a_time() {
        let mut row = stored(PaymentState::Settled, Proof::Transaction);
        row.lease_until = SOON;
        let step = |row: &Payment| decide(Some(row), &presented(Proof::Transaction), NOW);
        assert_eq!(step(&row), Step::Refuse(Why::InProgress));
        // It never left, and who was to hand it over is gone.
        row.lease_until = PAST;
        assert_eq!(step(&row), Step::Deliver);
    }

    #[test]
    fn an_answer_for_goods_can_always_be_fetched_again() {
        for state in [PaymentState::Settled, PaymentState::Delivered] {
            let mut row = stored(state, Proof::Transaction);
            (row.goods, row.answer) = (Some("{}".into()), Some("{}".into()));
            assert_eq!(decide(Some(&row), &presented(Proof::Transaction), NOW), Step::Repeat);
            let other = Presented { fingerprint: "other", ..presented(Proof::Transaction) };
            assert_eq!(decide(Some(&row), &other, NOW), Step::Refuse(Why::UsedChallenge));
            row.answer = None;
            row.state = PaymentState::Delivered;
            assert_eq!(decide(Some(&row), &presented(Proof::Transaction), NOW), Step::Refuse(Why::Spent));
        }
    }

    #[test]
    fn another_credential_for_a_used_challenge() {
        for state in PaymentState::ALL {
            let row = stored(state, Proof::Transaction);
            let step = |proof| {
                let other = Presented { fingerprint: "other", ..presented(proof) };
                decide(Some(&row), &other, NOW)
            };
            assert_eq!(step(Proof::Transaction), Step::Refuse(Why::UsedChallenge));
            let pushed = match state {
                PaymentState::Claimed => Why::UsedChallenge,
                _ => Why::Spent,
            };
            assert_eq!(step(Proof::Hash), Step::Refuse(pushed));
        }
    }
}
