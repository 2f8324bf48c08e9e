//! The payment gate in front of paid work. It only translates: what must be paid, what was presented and
//! what becomes of it are the payment core's.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use tracing::Instrument as _;

use super::delivery::deliver;
use super::payable::{CredentialCarrier, PayableRequest};
use super::rated_key::RatedKey;
use super::wallet::unavailable;
use crate::app::App;
use crate::funding::{Goods, Paid, WorkResult};
use crate::http::State;
use crate::http::clock;
use crate::http::error::{Code, HttpError};
use crate::http::request::Received;
use crate::id::{AccountId, Timestamp};
use crate::limits::RateLimited;
use crate::money::Money;
use crate::payments::http::by_preference;
use crate::payments::{
    ChallengeError, Credential, CredentialError, Delivery, Offer, Payment, PaymentState, RedeemError,
    Requirement, Submission, WorkError,
};

/// Sells one answer: asks for payment, or redeems the credential that came.
///
/// The caller has validated the request, so bad input costs nothing. `work`
/// runs only with a [`Paid`] in hand, in a task of its own that a client
/// cannot cancel by going away.
///
/// # Errors
/// See [`HttpError`]; 402 always carries fresh challenges, 403, 409 and 5xx never do.
pub async fn charge<A, F, W>(
    app: &State,
    request: &Received,
    offers: Arc<[Offer]>,
    service: &'static str,
    work: F,
) -> Result<Response, HttpError>
where
    F: FnOnce(Paid) -> W + Send + 'static,
    W: Future<Output = Result<A, HttpError>> + Send + 'static,
    A: Into<WorkResult> + 'static,
{
    let request = PayableRequest::of(request)?;
    let requirement = request.requirement(offers, service);
    Ok(deliver(Arc::clone(app), sell(app, request, requirement, work).await?))
}

/// Detail of the 402 of a request that asks for nothing.
pub const PROBE_DETAIL: &str = "This is what a request costs at the least. Send the request that you want with its body: \
                                the 402 that it gets has the challenge that pays for it.";

/// Answers a request that asks for nothing: `offers` are of the cheapest that the route sells. Others pass.
///
/// # Errors
/// 402 with a challenge if no credential came. What was pushed for such a challenge becomes credit; nothing else that
/// came with an empty body is looked at, or broadcast: it passes, and is refused for the body.
pub async fn probe(
    app: &State,
    request: &Received,
    offers: &Arc<[Offer]>,
    service: &'static str,
) -> Result<(), HttpError> {
    if !request.is_probe() {
        return Ok(());
    }
    let request = PayableRequest::of(request)?;
    let requirement = request.requirement(Arc::clone(offers), service);
    let gate = PaymentGate::new(app, request, requirement);
    match gate.credential()? {
        None => Err(gate.require_payment(Code::PaymentRequired, PROBE_DETAIL)),
        Some(credential) if credential.submission() == Submission::Push => {
            let nothing = async |_: Paid| Err::<String, _>(HttpError::invalid("an empty body buys nothing"));
            redeem(gate, credential, nothing).await.map(drop)
        }
        Some(_) => Ok(()),
    }
}

/// [`charge`] for what gives authority over the payer's account, up to the answer as it is stored: the caller completes
/// it before [`deliver`].
///
/// # Errors
/// Those of [`charge`].
pub async fn sell_authority<A, F, W>(
    app: &State,
    request: &Received,
    offers: Arc<[Offer]>,
    service: &'static str,
    work: F,
) -> Result<Delivery, HttpError>
where
    F: FnOnce(Paid) -> W + Send + 'static,
    W: Future<Output = Result<A, HttpError>> + Send + 'static,
    A: Into<WorkResult> + 'static,
{
    let request = PayableRequest::of(request)?;
    let requirement = Requirement { gives_authority: true, ..request.requirement(offers, service) };
    sell(app, request, requirement, work).await
}

/// Answers a zero-amount proof, once: the same proof gets the same answer for as long as its challenge lives, as it is
/// stored, and the caller completes it.
///
/// # Errors
/// Those of [`charge`].
pub async fn prove<A, F, W>(
    app: &State,
    request: &Received,
    offers: Arc<[Offer]>,
    service: &'static str,
    work: F,
) -> Result<Delivery, HttpError>
where
    F: FnOnce(Paid) -> W + Send + 'static,
    W: Future<Output = Result<A, HttpError>> + Send + 'static,
    A: Into<WorkResult> + 'static,
{
    let request = PayableRequest::of(request)?;
    let (requirement, at) = (request.requirement(offers, service), request.at);
    let mut gate = PaymentGate::new(app, request, requirement);
    let Some(credential) = gate.credential()? else { return Err(gate.unpaid()) };
    let challenge = credential.challenge();
    let expires = challenge.expires.as_deref().and_then(Timestamp::parse_rfc3339);
    if expires.is_some_and(|expires| expires <= at) {
        let detail = "the challenge has expired; sign the new one";
        return Err(gate.require_payment(Code::PaymentExpired, detail));
    }
    gate.requirement.idempotency_key = Some(challenge.id.clone());
    redeem(gate, credential, work).await
}

/// [`charge`] of a request that anything carries.
///
/// # Errors
/// Those of [`charge`].
pub(in crate::http) async fn sell<A, F, W>(
    app: &State,
    request: PayableRequest<'_>,
    requirement: Requirement,
    work: F,
) -> Result<Delivery, HttpError>
where
    F: FnOnce(Paid) -> W + Send + 'static,
    W: Future<Output = Result<A, HttpError>> + Send + 'static,
    A: Into<WorkResult> + 'static,
{
    let mut gate = PaymentGate::new(app, request, requirement);
    let Some(credential) = gate.credential()? else {
        return Err(gate.unpaid());
    };
    gate.requirement.idempotency_key = gate.request.idempotency_key.clone();
    redeem(gate, credential, work).await
}

/// Sells credit for the call that it is sent with, and returns the key that spends it: who pays has what is not spent. The
/// same credential makes the call again for as long as nothing was charged for it.
///
/// # Errors
/// Those of [`charge`].
pub(in crate::http) async fn sell_credit(
    app: &State,
    request: PayableRequest<'_>,
    requirement: Requirement,
) -> Result<(Delivery, RatedKey), HttpError> {
    let at = request.at;
    let work = |paid: Paid| async move {
        Ok(WorkResult { answer: String::new(), goods: Some(Goods { credits: paid.amount(), key: None }) })
    };
    let delivery = sell(app, request, requirement, work).await?;
    let stored = app.charges.payments().find(&delivery.payment).await.map_err(|error| unavailable(&error))?;
    match stored {
        Some(Payment {
            state: PaymentState::Settled(settled) | PaymentState::Delivered(settled),
            amount,
            ..
        }) => {
            let key = RatedKey::of_payment(&delivery.payment, &settled.payer, amount, at);
            Ok((delivery, key))
        }
        _ => {
            tracing::error!(payment = delivery.payment, "a settled payment is not there");
            Err(HttpError::new(
                Code::InternalError,
                "the payment cannot be read; it stays paid, make the same call again with the same credential",
            ))
        }
    }
}

/// Redeems a credential, in a task of its own.
///
/// # Errors
/// See [`charge`].
pub(in crate::http) async fn redeem<A, F, W>(
    gate: PaymentGate<'_>,
    credential: Credential,
    work: F,
) -> Result<Delivery, HttpError>
where
    F: FnOnce(Paid) -> W + Send + 'static,
    W: Future<Output = Result<A, HttpError>> + Send + 'static,
    A: Into<WorkResult> + 'static,
{
    let (charges, requirement) = (gate.app.charges.clone(), gate.requirement.clone());
    // Whether a payment is good costs us questions to the chain, and a wrong one costs nothing to send.
    let (client, is_proof) = (gate.request.client, credential.submission() == Submission::Proof);
    if let Some(Err(refused)) = client.map(|client| gate.app.failed_payments.check(&client, gate.request.at))
    {
        return Err(too_many_failed(refused));
    }
    // Leases and expiries count from when the work begins, however long the task waited for its turn.
    let work = |paid| async move { work(paid).await.map_err(failed) };
    let redeem = async move { charges.redeem(&requirement, &credential, clock::after_wait(), work).await };
    let redeemed = gate.app.tasks.spawn(redeem.in_current_span());
    let redeemed = redeemed.await;
    let is_counted = match &redeemed {
        // A proof costs its sender nothing, and us a row.
        Ok(Ok(_)) => is_proof,
        Ok(Err(error)) => is_payers_fault(error),
        Err(_) => false,
    };
    if let Some(client) = client.filter(|_| is_counted) {
        let _ = gate.app.failed_payments.take(client, clock::after_wait());
    }
    match redeemed {
        Ok(Ok(delivery)) => Ok(delivery),
        Ok(Err(error)) => {
            let error = gate.refusal(error);
            metrics::counter!("farebox_payments_denied_total", "code" => error.code.as_str()).increment(1);
            Err(error)
        }
        Err(_) => Err(HttpError::new(
            Code::InternalError,
            "the request could not be completed; send it again with the same credential",
        )),
    }
}

/// The gate in front of one request: it translates between the payment core and HTTP headers.
pub(in crate::http) struct PaymentGate<'a> {
    app: &'a App,
    request: PayableRequest<'a>,
    requirement: Requirement,
    /// True if credentials must come in `Payment-Authorization`.
    authorization_is_taken: bool,
}

impl<'a> PaymentGate<'a> {
    pub(in crate::http) fn new(app: &'a App, request: PayableRequest<'a>, requirement: Requirement) -> Self {
        Self { app, request, requirement, authorization_is_taken: false }
    }

    /// For payments that top an account up instead of buying an answer. Over HTTP `Authorization` is taken then, by the
    /// account's key, and challenges say where credentials are to be sent.
    pub(in crate::http) fn topping_up(mut self, account: AccountId) -> Self {
        self.authorization_is_taken = matches!(self.request.carrier, CredentialCarrier::Headers(_));
        self.requirement.top_up = Some(account);
        self
    }

    /// The credential that came, if one did.
    ///
    /// # Errors
    /// 400 for several, 402 for one that cannot be read.
    pub(in crate::http) fn credential(&self) -> Result<Option<Credential>, HttpError> {
        self.request.carrier.read().map_err(|error| match error {
            CredentialError::Several => HttpError::new(Code::SeveralCredentials, error.to_string()),
            CredentialError::Malformed(_) => {
                self.require_payment(Code::MalformedCredential, &error.to_string())
            }
        })
    }

    /// 402 with a fresh challenge for each offer. Nothing is written.
    pub(in crate::http) fn require_payment(&self, code: Code, detail: &str) -> HttpError {
        metrics::counter!("farebox_challenges_total").increment(1);
        let issuer = &self.app.issuer;
        // The chain may have been waited for: a challenge can be paid for its full time.
        let expires = issuer.expiry(clock::after_wait());
        let preferred = match self.request.carrier {
            CredentialCarrier::Headers(headers) => {
                headers.get("accept-payment").and_then(|value| value.to_str().ok())
            }
            CredentialCarrier::Meta(_) => None,
        };
        let offers = by_preference(&self.requirement.offers, preferred);
        let challenges = self.requirement.challenges(issuer, offers, self.request.nonce, expires);
        HttpError {
            authorization_is_taken: self.authorization_is_taken,
            ..HttpError::new(code, detail).with_challenges(challenges)
        }
    }

    /// The answer to a request without a credential.
    pub(in crate::http) fn unpaid(&self) -> HttpError {
        let detail = match self.request.carrier {
            CredentialCarrier::Headers(_) => {
                "Pay one of the challenges in WWW-Authenticate and send the same request again."
            }
            CredentialCarrier::Meta(_) => {
                "Pay one of the challenges and make the same call again with the credential in `_meta`."
            }
        };
        self.require_payment(Code::PaymentRequired, detail)
    }

    fn refusal(&self, error: RedeemError<HttpError>) -> HttpError {
        let (code, detail) = match error {
            RedeemError::Work(failed) => return failed.error,
            RedeemError::Credited { because, wallet, amount } => {
                return credited(self.refusal(*because), &wallet, amount);
            }
            RedeemError::Challenge(refusal @ ChallengeError::Unsupported) => {
                return HttpError::new(Code::MethodUnsupported, refusal.to_string());
            }
            RedeemError::Spent(detail) => return HttpError::new(Code::CredentialSpent, detail),
            RedeemError::InProgress => {
                return HttpError::new(
                    Code::PaymentInProgress,
                    "another request is working on this credential; send this one again in a moment",
                )
                .retry_after(1);
            }
            RedeemError::KeyReused => {
                return HttpError::new(
                    Code::IdempotencyKeyReused,
                    "this Idempotency-Key was used for another request; use a new one",
                );
            }
            RedeemError::Pending => {
                return HttpError::new(
                    Code::SettlementPending,
                    "the transaction's outcome is not known yet; send the same request with the \
                     same credential again, it is not charged twice",
                )
                .retry_after(2);
            }
            RedeemError::Unavailable(what) => {
                return HttpError::new(
                    Code::ServiceUnavailable,
                    format!(
                        "{what} cannot be reached; nothing was charged for this request, send it \
                         again with the same credential"
                    ),
                )
                .retry_after(2);
            }
            RedeemError::Challenge(refusal) => (Code::InvalidChallenge, refusal.to_string()),
            RedeemError::Expired => {
                (Code::PaymentExpired, "the challenge expired before it was paid; pay the new one".to_owned())
            }
            RedeemError::UsedChallenge => {
                (Code::InvalidChallenge, "the challenge has been used; pay the new one".to_owned())
            }
            RedeemError::Insufficient(detail) => (Code::PaymentInsufficient, detail),
            RedeemError::Invalid(detail) => (Code::VerificationFailed, detail),
        };
        self.require_payment(code, &detail)
    }
}

/// True for what a payer can cause at will, without paying.
const fn is_payers_fault(error: &RedeemError<HttpError>) -> bool {
    match error {
        RedeemError::Challenge(_)
        | RedeemError::Invalid(_)
        | RedeemError::Insufficient(_)
        | RedeemError::Expired
        | RedeemError::Pending
        | RedeemError::Spent(_)
        | RedeemError::UsedChallenge
        | RedeemError::KeyReused => true,
        RedeemError::Work(_)
        | RedeemError::Credited { .. }
        | RedeemError::InProgress
        | RedeemError::Unavailable(_) => false,
    }
}

fn too_many_failed(RateLimited { wait_ms }: RateLimited) -> HttpError {
    HttpError::new(
        Code::RateLimitExceededRpm,
        "too many payments from this address have failed; nothing was taken for this one, send the same request with \
         the same credential again later",
    )
    .retry_after_millis(wait_ms)
}

/// An error of the work, which is final when the request itself is at fault.
fn failed(error: HttpError) -> WorkError<HttpError> {
    let is_passing = matches!(error.code.status().as_u16(), 408 | 409 | 429);
    WorkError { is_final: error.code.status().is_client_error() && !is_passing, error }
}

/// The refusal of a payment that was made and buys nothing: it asks for no other one, and says where the money is.
fn credited(refusal: HttpError, wallet: &str, amount: Money) -> HttpError {
    let is_about_payment = refusal.code.status() == StatusCode::PAYMENT_REQUIRED;
    let reason = match refusal.code {
        Code::InvalidChallenge => "the challenge is not good any more",
        Code::PaymentExpired => "the challenge expired before it was paid",
        _ => refusal.detail.trim_end_matches(['.', ' ']),
    };
    let code = if is_about_payment { Code::CredentialSpent } else { refusal.code };
    let detail = format!(
        "{reason}. The payment is not lost: ${} are credited to the wallet {wallet}. Spend them with an API key that the \
         wallet makes by signature (POST /api/v1/keys), see GET /llms.txt; do not pay this challenge again",
        amount.to_dollars()
    );
    HttpError { code, detail, challenges: Vec::new(), ..refusal }
}
