//! A payment's record, and the decision what to do with a presented credential.

use std::fmt;

use farebox_types::id::{AccountId, IdError, Timestamp};
use farebox_types::money::Money;

use super::{Method, Network, Submission};

/// The party that paid: an account of the ledger that its credit goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payer(AccountId);

impl Payer {
    /// A wallet, by its address.
    ///
    /// # Errors
    /// [`IdError`] if the text is not `0x` and 40 hexadecimal digits.
    pub fn wallet(address: &str) -> Result<Self, IdError> {
        AccountId::wallet(address).map(Self)
    }

    /// The payer's account.
    #[must_use]
    pub const fn account(&self) -> &AccountId {
        &self.0
    }

    /// The name without its kind, as stored: a wallet's address in lower case.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.as_str().split_once(':').map_or("", |(_, name)| name)
    }
}

impl fmt::Display for Payer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A transfer that the server makes for a payer (pull), as it is written down before it leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// The method's name of it, unique on its network: a transaction hash in lower case.
    pub reference: String,
    /// The text that makes it happen, which can be sent again without happening twice: a signed
    /// transaction as hexadecimal digits. Empty once it is not needed any more.
    pub instruction: String,
    /// The most that it can cost the server in network fees; `None` when the payer bears them.
    pub fee_limit: Option<Money>,
    /// The last moment at which it can happen; `None` when there is none.
    pub valid_before: Option<Timestamp>,
}

/// The things that a payment buys: an answer, and perhaps goods beyond it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purchase {
    pub answer: String,
    /// JSON of what is bought beyond the answer.
    pub goods: Option<String>,
}

/// Progress of a payment, with what is known at each step. See `migrations/0002_payments.sql`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaymentState {
    /// The credential is taken; nothing has left.
    Claimed,
    /// The transfer may have happened.
    Broadcast { payer: Payer, transfer: Transfer, purchase: Purchase },
    /// The money is there, and the answer has not left yet.
    Settled(Settled),
    /// The answer has left.
    Delivered(Settled),
    /// The transfer failed for good, or did not arrive.
    Failed { payer: Option<Payer>, reference: Option<String>, failure: Failure },
}

/// Reason that a payment failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The network undid the transfer, or never made it: nothing was paid.
    Undone,
    /// The payer has paid, and the recipient's own policy keeps the money from it.
    HeldBack,
}

/// The record of money that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    pub payer: Payer,
    /// The method's name of the transfer; `None` for a proof.
    pub reference: Option<String>,
    /// `None` when the answer is not kept any more.
    pub answer: Option<String>,
    /// JSON of what was bought beyond the answer.
    pub goods: Option<String>,
    /// The `Payment-Receipt` value.
    pub receipt: String,
}

impl PaymentState {
    /// The name in the database and on the wire.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Broadcast { .. } => "broadcast",
            Self::Settled(_) => "settled",
            Self::Delivered(_) => "delivered",
            Self::Failed { .. } => "failed",
        }
    }
}

/// A payment: one credential's life on the server.
#[derive(Debug, Clone)]
pub struct Payment {
    /// The challenge id.
    pub id: String,
    /// [`Credential::fingerprint`](super::Credential::fingerprint).
    pub fingerprint: String,
    pub method: Method,
    pub network: Network,
    pub submission: Submission,
    /// The method's name of the transaction that a push names.
    pub pushed: Option<String>,
    pub state: PaymentState,
    /// [`Resource::name`](super::Resource::name).
    pub resource: String,
    /// The digest of the request's content; empty without any.
    pub digest: String,
    pub amount: Money,
    /// The currency, as the method names it.
    pub currency: String,
    pub idempotency_key: Option<String>,
    pub request_id: String,
    /// The account that it tops up; `None` when it buys an answer.
    pub top_up: Option<AccountId>,
    pub expires_at: Timestamp,
    pub lease_until: Timestamp,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Payment {
    /// The method's name of the transfer, where one is known.
    #[must_use]
    pub fn reference(&self) -> Option<&str> {
        match &self.state {
            PaymentState::Claimed => None,
            PaymentState::Broadcast { transfer, .. } => Some(&transfer.reference),
            PaymentState::Settled(settled) | PaymentState::Delivered(settled) => settled.reference.as_deref(),
            PaymentState::Failed { reference, .. } => reference.as_deref(),
        }
    }

    /// The receipt, once the payment is settled.
    #[must_use]
    pub fn receipt(&self) -> Option<&str> {
        match &self.state {
            PaymentState::Settled(settled) | PaymentState::Delivered(settled) => Some(&settled.receipt),
            PaymentState::Claimed | PaymentState::Broadcast { .. } | PaymentState::Failed { .. } => None,
        }
    }
}

/// A credential as the decision sees it: its challenge has been verified.
#[derive(Debug, Clone, Copy)]
pub struct Presented<'a> {
    /// [`Credential::is_of`](super::Credential::is_of) of the stored payment.
    pub is_same: bool,
    pub submission: Submission,
    pub idempotency_key: Option<&'a str>,
    /// The moment at which the challenge expires.
    pub expires: Timestamp,
}

/// The next step for a presented credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextStep {
    /// First time seen: claim it and work.
    Claim,
    /// Claimed before, but who did is gone and nothing was sent: take it over.
    TakeOver,
    /// A transfer may have happened: find out before anything else.
    Reconcile,
    /// Paid, and the answer has not left yet: hand it over.
    Deliver,
    /// Paid, asked again under the same idempotency key: hand over the same
    /// answer.
    Repeat,
    /// Nothing further happens with it.
    Refuse(RefusalReason),
}

/// Reason that a credential does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    /// The challenge expired and no payment was made in time.
    Expired,
    /// Another request works on this credential now.
    InProgress,
    /// The challenge has been used, with another credential.
    UsedChallenge,
    /// Paid and delivered: a second use buys nothing, and must not ask for money.
    Spent,
    /// Its transfer failed for good; nothing was paid.
    Failed,
    /// Its transfer was made and did not arrive: paying again would not either.
    HeldBack,
}

/// Decides from what is stored and what is presented.
///
/// Rules (draft-httpauth-payment-00, "Replay Protection", "Idempotency"): one
/// credential buys one answer; a payment that was made is never answered with a
/// new challenge; a payment made in time completes even after the expiry.
#[must_use]
pub fn decide(stored: Option<&Payment>, presented: &Presented, now: Timestamp) -> NextStep {
    let Some(stored) = stored else {
        let is_late = presented.expires <= now && presented.submission != Submission::Push;
        return if is_late { NextStep::Refuse(RefusalReason::Expired) } else { NextStep::Claim };
    };
    let same = presented.is_same;
    let leased = stored.lease_until > now;
    match &stored.state {
        PaymentState::Claimed | PaymentState::Broadcast { .. } if leased => {
            NextStep::Refuse(RefusalReason::InProgress)
        }
        PaymentState::Claimed if !same => NextStep::Refuse(RefusalReason::UsedChallenge),
        // The money of a push has moved already, and its block says when; a pull must
        // still be sent in time.
        PaymentState::Claimed if presented.expires <= now && stored.submission != Submission::Push => {
            NextStep::Refuse(RefusalReason::Expired)
        }
        PaymentState::Claimed => NextStep::TakeOver,
        PaymentState::Broadcast { .. } if same => NextStep::Reconcile,
        PaymentState::Settled(settled) | PaymentState::Delivered(settled)
            if same && repeats(stored, settled, presented) =>
        {
            NextStep::Repeat
        }
        // Whoever settled it is handing the answer over.
        PaymentState::Settled(_) if same && leased => NextStep::Refuse(RefusalReason::InProgress),
        PaymentState::Settled(_) if same => NextStep::Deliver,
        PaymentState::Failed { failure: Failure::Undone, .. } if same => {
            NextStep::Refuse(RefusalReason::Failed)
        }
        PaymentState::Failed { failure: Failure::HeldBack, .. } if same => {
            NextStep::Refuse(RefusalReason::HeldBack)
        }
        PaymentState::Delivered(_) if same => NextStep::Refuse(RefusalReason::Spent),
        PaymentState::Broadcast { .. }
        | PaymentState::Settled(_)
        | PaymentState::Delivered(_)
        | PaymentState::Failed { .. } => NextStep::Refuse(match presented.submission {
            // Whoever pushed has paid already: no new challenge for them.
            Submission::Push => RefusalReason::Spent,
            Submission::Pull | Submission::Proof => RefusalReason::UsedChallenge,
        }),
    }
}

/// True if the answer can be fetched again. One for goods can without a key, with the same
/// credential: it says which key was bought, and what opens it is derived anew each time.
fn repeats(stored: &Payment, settled: &Settled, presented: &Presented) -> bool {
    if settled.goods.is_some() && settled.answer.is_some() {
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

    fn payer() -> Payer {
        Payer::wallet(&format!("0x{}", "a1".repeat(20))).expect("an address")
    }

    fn settled() -> Settled {
        let (answer, goods) = (None, None);
        Settled { payer: payer(), reference: Some("0x1".into()), answer, goods, receipt: "r".into() }
    }

    fn broadcast() -> PaymentState {
        let transfer = Transfer {
            reference: "0x1".into(),
            instruction: "0x".into(),
            fee_limit: None,
            valid_before: None,
        };
        let purchase = Purchase { answer: "{}".into(), goods: None };
        PaymentState::Broadcast { payer: payer(), transfer, purchase }
    }

    fn all_states() -> [PaymentState; 5] {
        [
            PaymentState::Claimed,
            broadcast(),
            PaymentState::Settled(settled()),
            PaymentState::Delivered(settled()),
            PaymentState::Failed { payer: None, reference: None, failure: Failure::Undone },
        ]
    }

    fn stored(state: PaymentState, submission: Submission) -> Payment {
        Payment {
            id: "c".into(),
            fingerprint: "f".into(),
            method: Method::Tempo,
            network: Network::evm(1337),
            submission,
            pushed: None,
            state,
            resource: "POST /x".into(),
            digest: String::new(),
            amount: Money::ZERO,
            currency: String::new(),
            idempotency_key: None,
            request_id: "r".into(),
            top_up: None,
            expires_at: SOON,
            lease_until: PAST,
            created_at: PAST,
            updated_at: PAST,
        }
    }

    fn presented(submission: Submission) -> Presented<'static> {
        Presented { is_same: true, submission, idempotency_key: None, expires: SOON }
    }

    #[test]
    fn attack_02_expires_equal_to_now_is_expired() {
        let mut credential = presented(Submission::Pull);
        assert_eq!(decide(None, &credential, NOW), NextStep::Claim);
        for expires in [NOW, PAST] {
            credential.expires = expires;
            assert_eq!(decide(None, &credential, NOW), NextStep::Refuse(RefusalReason::Expired));
            let claimed = stored(PaymentState::Claimed, Submission::Pull);
            assert_eq!(decide(Some(&claimed), &credential, NOW), NextStep::Refuse(RefusalReason::Expired));
            // Whoever pushed may have paid in time: its block says so.
            let pushed = Presented { submission: Submission::Push, ..credential };
            assert_eq!(decide(None, &pushed, NOW), NextStep::Claim);
        }
    }

    #[test]
    fn what_was_paid_in_time_completes_after_the_expiry() {
        let mut credential = presented(Submission::Push);
        credential.expires = PAST;
        let step = |state| decide(Some(&stored(state, Submission::Push)), &credential, NOW);
        assert_eq!(step(PaymentState::Claimed), NextStep::TakeOver);
        assert_eq!(step(broadcast()), NextStep::Reconcile);
        assert_eq!(step(PaymentState::Settled(settled())), NextStep::Deliver);
    }

    #[test]
    fn attack_09_a_settled_credential_never_leads_to_a_new_challenge() {
        let credential = presented(Submission::Pull);
        let mut row = stored(PaymentState::Delivered(settled()), Submission::Pull);
        assert_eq!(decide(Some(&row), &credential, NOW), NextStep::Refuse(RefusalReason::Spent));
        row.idempotency_key = Some("k".into());
        assert_eq!(decide(Some(&row), &credential, NOW), NextStep::Refuse(RefusalReason::Spent));
        let again = Presented { idempotency_key: Some("k"), ..credential };
        assert_eq!(decide(Some(&row), &again, NOW), NextStep::Repeat);
        row.idempotency_key = None;
        assert_eq!(decide(Some(&row), &again, NOW), NextStep::Refuse(RefusalReason::Spent));
    }

    #[test]
    fn attack_11_one_worker_at_a_time() {
        for state in [PaymentState::Claimed, broadcast()] {
            let mut row = stored(state, Submission::Pull);
            row.lease_until = SOON;
            assert_eq!(
                decide(Some(&row), &presented(Submission::Pull), NOW),
                NextStep::Refuse(RefusalReason::InProgress)
            );
        }
    }

    #[test]
    fn attack_11_one_delivery_at_a_time() {
        let mut row = stored(PaymentState::Settled(settled()), Submission::Pull);
        row.lease_until = SOON;
        let step = |row: &Payment| decide(Some(row), &presented(Submission::Pull), NOW);
        assert_eq!(step(&row), NextStep::Refuse(RefusalReason::InProgress));
        // It never left, and who was to hand it over is gone.
        row.lease_until = PAST;
        assert_eq!(step(&row), NextStep::Deliver);
    }

    #[test]
    fn an_answer_for_goods_can_always_be_fetched_again() {
        let goods = Settled { goods: Some("{}".into()), answer: Some("{}".into()), ..settled() };
        for state in [PaymentState::Settled(goods.clone()), PaymentState::Delivered(goods.clone())] {
            let mut row = stored(state, Submission::Pull);
            assert_eq!(decide(Some(&row), &presented(Submission::Pull), NOW), NextStep::Repeat);
            let other = Presented { is_same: false, ..presented(Submission::Pull) };
            let used = NextStep::Refuse(RefusalReason::UsedChallenge);
            assert_eq!(decide(Some(&row), &other, NOW), used);
            row.state = PaymentState::Delivered(Settled { answer: None, ..goods.clone() });
            let spent = NextStep::Refuse(RefusalReason::Spent);
            assert_eq!(decide(Some(&row), &presented(Submission::Pull), NOW), spent);
        }
    }

    #[test]
    fn another_credential_for_a_used_challenge() {
        for state in all_states() {
            let row = stored(state, Submission::Pull);
            let step = |submission| {
                let other = Presented { is_same: false, ..presented(submission) };
                decide(Some(&row), &other, NOW)
            };
            assert_eq!(step(Submission::Pull), NextStep::Refuse(RefusalReason::UsedChallenge));
            let pushed = match row.state {
                PaymentState::Claimed => RefusalReason::UsedChallenge,
                _ => RefusalReason::Spent,
            };
            assert_eq!(step(Submission::Push), NextStep::Refuse(pushed));
        }
    }
}
