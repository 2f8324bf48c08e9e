//! Charges on the Tempo chain: validation of what the server will send by the `mpp` crate's verifier, of what the payer
//! has sent ([`push`]), simulation, broadcast and receipts.

mod push;

use alloy::network::ReceiptResponse as _;
use alloy::primitives::{Address, B256, TxKind, U256};
use alloy::sol_types::SolCall as _;
use mpp::protocol::traits::{ChargeMethod as _, ErrorCode, VerificationError};
use mpp::server::TempoChargeMethod;
use mpp::tempo::attribution;
use tempo_alloy::contracts::precompiles::ITIP20;

use super::method::{Authority, Due, MethodError, TransferStatus, Validated};
use super::recover;
use super::sponsor::{self, Exhausted, Sponsor};
use crate::chain::{
    BlockedTransfer, Chain, ChainError, ChainReceipt, KnownTransaction, Provider, SendOutcome,
    SignedTransaction, SimulationOutcome, TransactionSigner, TransferResult, memo_transfers,
};
use crate::db::{DbError, Tx};
use crate::id::Timestamp;
use crate::payments::methods::tempo;
use crate::payments::{Credential, Network, Offer, Payer, Submission, Transfer};

/// Refusal of a transaction that authorises a key for the second time.
pub(super) const AUTHORIZED_BEFORE: &str =
    "the access key is authorised already; sign the transaction again without keyAuthorization";

/// Longest validity of a transaction that the server sends for a payer, in seconds.
const MAX_VALIDITY_SECONDS: u64 = 300;

/// One-time charges on Tempo.
#[derive(Clone)]
pub struct TempoCharges {
    chain: Chain,
    sponsor: Option<Sponsor>,
    recipient: Address,
    verifier: TempoChargeMethod<Provider>,
}

impl TempoCharges {
    /// Charges that pay `recipient`, whose network fees `sponsor` pays where an offer says so.
    pub(super) fn new(chain: Chain, sponsor: Option<Sponsor>, recipient: Address) -> Self {
        let mut verifier = TempoChargeMethod::new(chain.provider().clone());
        if let Some(sponsor) = &sponsor {
            verifier = verifier
                .with_fee_payer(sponsor.signer())
                .with_fee_payer_fee_token(sponsor.fee_token())
                .with_fee_payer_allowed_fee_tokens(vec![sponsor.fee_token()])
                .with_fee_payer_policy_override(sponsor.policy());
        }
        Self { chain, sponsor, recipient, verifier }
    }

    pub(super) fn network(&self) -> Network {
        Network::evm(self.chain.chain_id())
    }

    pub(super) async fn validate(
        &self,
        credential: &Credential,
        offer: &Offer,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<Validated, MethodError> {
        if offer.is_sponsored() && self.sponsor.is_none() {
            return Err(MethodError::Invalid("this server no longer sponsors network fees".into()));
        }
        if credential.submission() != Submission::Proof && offer.amount().is_zero() {
            return Err(MethodError::Invalid(
                "a challenge of a zero amount is answered with a proof, not with a payment".into(),
            ));
        }
        // The verifier keeps the first chain id it hears: it must not be a wrong one.
        if let Err(error) = self.chain.confirm().await {
            tracing::warn!(%error, "payment cannot be verified");
            return Err(MethodError::Unavailable("the chain"));
        }
        if credential.submission() == Submission::Push {
            return self.validate_push(credential, offer, expires, now).await;
        }
        if credential.submission() == Submission::Pull {
            self.refuse_unknown_key(credential, now).await?;
        }
        let request = tempo::charge_request(offer)
            .ok_or_else(|| MethodError::Invalid("the offer is not a charge on Tempo".into()))?;
        let checked =
            self.verifier.validate(credential.as_wire(), &request).await.map_err(|error| refusal(&error))?;
        let payer = checked
            .payer
            .as_deref()
            .and_then(|payer| payer.parse::<Address>().ok())
            .and_then(|payer| Payer::wallet(&format!("{payer:#x}")).ok())
            .ok_or_else(|| {
                MethodError::Invalid("the payment's transfers come from several accounts".into())
            })?;
        Ok(Validated { payer, transfer: None, surplus: Vec::new() })
    }

    /// Refuses a transaction that is signed by a key which its account did not authorise. The verifier reads the
    /// account off the signature, and everything that is the payer's would be whoever's writes its address there.
    async fn refuse_unknown_key(&self, credential: &Credential, now: Timestamp) -> Result<(), MethodError> {
        let unknown = "the access key that signed is not authorised by its account, or not any more";
        let Some(signer) = TransactionSigner::parse(payload(credential)?.data()) else {
            return Ok(()); // What cannot be read the verifier refuses.
        };
        if self.chain.authorizes_again(&signer).await.map_err(|error| unavailable(&error))? {
            return Err(MethodError::Invalid(AUTHORIZED_BEFORE.into()));
        }
        let Some(key) = signer.access_key.filter(|key| signer.authorizes != Some(*key)) else {
            return Ok(());
        };
        let found = self.chain.access_key(signer.account, key).await.map_err(|error| unavailable(&error))?;
        let active = found.is_some_and(|found| i128::from(found.expiry) > i128::from(now.seconds()));
        if active { Ok(()) } else { Err(MethodError::Invalid(unknown.into())) }
    }

    /// The payer of a pushed transaction is the account that its transfer debits, which is not always its sender: an
    /// allowance lets others move that money. Nor may every key that signs for an account do all with it.
    pub(super) async fn authority(
        &self,
        credential: &Credential,
        offer: &Offer,
        payer: &Payer,
    ) -> Result<Authority, MethodError> {
        let signer = match credential.submission() {
            Submission::Proof => return Ok(Authority::Nothing),
            Submission::Pull => TransactionSigner::parse(payload(credential)?.data()),
            Submission::Push => {
                let hash = Self::pushed(credential)?.parse().expect("a hash as it is written here");
                let found = self.chain.transaction(hash).await.map_err(|error| unavailable(&error))?;
                let sent = found.ok_or(MethodError::Pending)?;
                // A contract that it called may have paid with its allowance.
                self.pays_itself(&sent, credential, offer).then_some(sent.signer)
            }
        };
        let Some(signer) = signer.filter(|signer| format!("{:#x}", signer.account) == payer.name()) else {
            return Ok(Authority::Nothing);
        };
        let Some(key) = signer.access_key else { return Ok(Authority::Full) };
        let found = self.chain.access_key(signer.account, key).await.map_err(|error| unavailable(&error))?;
        // A key that is only being authorised, or not any more, is trusted with this payment alone.
        Ok(if found.is_some_and(|found| !found.restricted) { Authority::Full } else { Authority::Restricted })
    }

    /// True if one of the transaction's own calls is the transfer that pays this challenge.
    fn pays_itself(&self, sent: &KnownTransaction, credential: &Credential, offer: &Offer) -> bool {
        let Ok(currency) = offer.currency().parse::<Address>() else { return false };
        let Ok(amount) = u64::try_from(offer.amount().micros()).map(U256::from) else { return false };
        let binding = Binding::of(credential);
        sent.calls.iter().filter(|(to, _)| *to == TxKind::Call(currency)).any(|(_, data)| {
            ITIP20::transferWithMemoCall::abi_decode(data).is_ok_and(|call| {
                call.to == self.recipient && call.amount == amount && binding.names(&call.memo)
            })
        })
    }

    pub(super) async fn prepare(
        &self,
        credential: &Credential,
        offer: &Offer,
        now: Timestamp,
    ) -> Result<Transfer, MethodError> {
        let payload = payload(credential)?;
        let transaction = sponsor::ready(self.sponsor.as_ref(), payload.data(), offer.is_sponsored())
            .map_err(|error| MethodError::Invalid(error.to_string()))?;
        refuse_lasting(&transaction, now)?;
        self.refuse_reverting(&transaction).await?;
        let fee_limit = if self.sponsor.is_some() && offer.is_sponsored() {
            let highest = transaction.highest_fee();
            Some(highest.ok_or_else(|| MethodError::Invalid(Exhausted::Fee.to_string()))?)
        } else {
            None
        };
        Ok(Transfer {
            reference: format!("{:#x}", transaction.hash()),
            instruction: alloy::hex::encode_prefixed(transaction.raw()),
            fee_limit,
            valid_before: transaction
                .valid_before()
                .and_then(|s| i64::try_from(s).ok()?.checked_mul(1000))
                .map(Timestamp::from_millis),
        })
    }

    pub(super) async fn reserve_fee(
        &self,
        tx: &mut Tx,
        payer: &Payer,
        transfer: &Transfer,
        now: Timestamp,
    ) -> Result<Result<(), String>, DbError> {
        let Some((sponsor, fee_limit)) = self.sponsor.as_ref().zip(transfer.fee_limit) else {
            return Ok(Ok(()));
        };
        let reserved = sponsor.reserve(tx, payer.name(), fee_limit, now).await?;
        Ok(reserved.map_err(|why| {
            format!("the network fee is not sponsored now: {why}; pay it with a new challenge")
        }))
    }

    /// A transaction that would fail in its block would cost its fee for
    /// nothing, the payer's or ours.
    async fn refuse_reverting(&self, transaction: &SignedTransaction) -> Result<(), MethodError> {
        match self.chain.simulate(transaction).await {
            Ok(SimulationOutcome::Succeeds) => Ok(()),
            Ok(SimulationOutcome::Insufficient) => Err(MethodError::Insufficient(
                "the account's token balance does not cover the amount; nothing was sent".into(),
            )),
            Ok(SimulationOutcome::Reverts(reason)) => Err(MethodError::Invalid(format!(
                "the transaction would fail on the chain ({reason}); nothing was sent"
            ))),
            Err(error) => {
                tracing::warn!(%error, "transaction cannot be simulated");
                Err(MethodError::Unavailable("the chain"))
            }
        }
    }

    pub(super) async fn execute(&self, transfer: &Transfer, due: Due<'_>) -> TransferStatus {
        let Ok(transaction) = SignedTransaction::parse(&transfer.instruction) else {
            tracing::error!(transfer = transfer.reference, "a stored transaction cannot be read");
            return TransferStatus::Unknown;
        };
        match self.chain.send(&transaction).await {
            SendOutcome::Mined(receipt) => self.mined(&receipt, due),
            SendOutcome::Refused { reason } => TransferStatus::Refused(reason),
            SendOutcome::Unknown => TransferStatus::Unknown,
        }
    }

    pub(super) async fn status(&self, reference: &str, due: Due<'_>) -> TransferStatus {
        let Ok(hash) = reference.parse::<B256>() else { return TransferStatus::Unknown };
        match self.chain.receipt(hash).await {
            Ok(Some(receipt)) => self.mined(&receipt, due),
            Ok(None) => TransferStatus::Missing,
            Err(error) => {
                tracing::warn!(%error, "open payment cannot be looked up");
                TransferStatus::Unknown
            }
        }
    }

    pub(super) async fn is_dead(&self, reference: &str, last: Timestamp, now: Timestamp) -> bool {
        match reference.parse() {
            Ok(hash) => recover::has_expired(&self.chain, hash, last, now).await,
            Err(_) => false,
        }
    }

    /// A transaction is in a block: money moved, or it failed for good.
    fn mined(&self, receipt: &ChainReceipt, due: Due<'_>) -> TransferStatus {
        let transaction = receipt.transaction_hash();
        let fee = crate::chain::fee_paid(receipt);
        match (receipt.status(), self.result(receipt, due), self.arrived(receipt, due)) {
            (true, TransferResult::Arrived, Some(position)) => {
                TransferStatus::Settled { reference: push::name(transaction, position), fee }
            }
            (true, TransferResult::HeldBack(blocked), _) => {
                let claim = alloy::hex::encode_prefixed(&blocked.claim);
                TransferStatus::HeldBack { reference: format!("{transaction:#x}"), claim, fee }
            }
            (false, TransferResult::Absent, _) => TransferStatus::Failed { fee },
            (_, result, _) => {
                // The validated calls cannot succeed without this transfer, nor can it be left of a failure: the
                // node contradicts itself. Nothing is decided, so that every way stays open.
                tracing::error!(%transaction, ?result, "status and transfers of a receipt disagree");
                metrics::counter!("farebox_chain_contradictions_total").increment(1);
                TransferStatus::Unknown
            }
        }
    }

    /// Position of a transfer of the amount that is due. A payment always has a memo ("Challenge-Bound Memos").
    fn arrived(&self, receipt: &ChainReceipt, due: Due<'_>) -> Option<usize> {
        let (currency, amount) = (due.currency.parse().ok()?, u64::try_from(due.amount.micros()).ok()?);
        let mut made = memo_transfers(receipt, currency, self.recipient);
        made.find(|made| made.amount == U256::from(amount)).map(|made| made.position)
    }

    /// The payer of a blocked transfer that was made for the credential's challenge, and in the name that it says.
    fn payer_of_blocked(&self, credential: &Credential, blocked: &BlockedTransfer) -> Option<Payer> {
        let payer = blocked.payer.filter(|_| Binding::of(credential).names(&blocked.memo))?;
        Payer::wallet(&format!("{payer:#x}")).ok().filter(|payer| self.is_source(credential, payer.name()))
    }

    /// True if a credential names an account as its source, or none.
    fn is_source(&self, credential: &Credential, account: &str) -> bool {
        let source = credential.as_wire().source.as_deref();
        let own = format!("did:pkh:eip155:{}:{account}", self.chain.chain_id());
        source.is_none_or(|source| source.eq_ignore_ascii_case(&own))
    }

    fn result(&self, receipt: &ChainReceipt, due: Due<'_>) -> TransferResult {
        let currency = due.currency.parse();
        currency.map_or(TransferResult::Absent, |currency| {
            crate::chain::transfer_result(receipt, currency, self.recipient, due.amount)
        })
    }
}

/// Refuses a transaction that stays valid for long: the answer is kept until it cannot happen any more.
fn refuse_lasting(transaction: &SignedTransaction, now: Timestamp) -> Result<(), MethodError> {
    let latest = u64::try_from(now.seconds()).unwrap_or(0) + MAX_VALIDITY_SECONDS;
    if transaction.valid_before().is_some_and(|until| until <= latest) {
        return Ok(());
    }
    Err(MethodError::Invalid(format!(
        "the transaction must have a `validBefore` of at most {MAX_VALIDITY_SECONDS} seconds from now"
    )))
}

fn payload(credential: &Credential) -> Result<mpp::PaymentPayload, MethodError> {
    tempo::charge_payload(credential.as_wire()).map_err(|error| MethodError::Invalid(error.to_string()))
}

/// The challenge that a transfer is bound to by its memo ("Challenge-Bound Memos").
struct Binding<'a> {
    realm: &'a str,
    challenge: &'a str,
}

impl<'a> Binding<'a> {
    fn of(credential: &'a Credential) -> Self {
        let challenge = credential.challenge();
        Self { realm: &challenge.realm, challenge: &challenge.id }
    }

    /// True if a memo is for the challenge.
    fn names(&self, memo: &B256) -> bool {
        attribution::verify_server(&memo.0, self.realm)
            && attribution::verify_challenge_binding(&memo.0, self.challenge)
    }
}

fn unavailable(error: &ChainError) -> MethodError {
    tracing::warn!(%error, "the signer of a payment cannot be looked up");
    MethodError::Unavailable("the chain")
}

fn refusal(error: &VerificationError) -> MethodError {
    if error.retryable {
        return MethodError::Unavailable("the chain");
    }
    match error.code {
        Some(ErrorCode::NetworkError | ErrorCode::Internal | ErrorCode::ChainIdMismatch) => {
            tracing::error!(code = ?error.code, "payment cannot be verified");
            MethodError::Unavailable("the chain")
        }
        Some(ErrorCode::Expired) => MethodError::Expired,
        _ => MethodError::Invalid(error.message.clone()),
    }
}
