//! A request of a session: its credential is verified, and its errors carry challenges.

use std::sync::Arc;

use axum::http::header::USER_AGENT;
use mpp::protocol::core::PaymentCredential;

use super::reply::{balance, pending, unavailable};
use crate::funding::channel::{Channel, ChannelError, ChannelRefusal};
use crate::http::State;
use crate::http::clock;
use crate::http::error::{Code, HttpError};
use crate::http::gates::payable;
use crate::http::request::Received;
use crate::money::Money;
use crate::offers::sessions::{Sessions, SuggestedDeposit};
use crate::payments::methods::tempo::session::{
    ChannelId, SessionAction, SessionCredential, SessionOffer, VoucherError,
};
use crate::payments::{Challenge, ChallengeError, CredentialError, Method, Resource};
use crate::services::chat::ChatRequest;

/// One request of a session.
pub(super) struct SessionRequest<'a> {
    pub(super) app: &'a State,
    pub(super) sessions: &'a Arc<Sessions>,
    pub(super) request: &'a Received,
    pub(super) resource: Resource,
    /// True with `?feePayer=true`: the server pays the fees of opening and topping up.
    pub(super) sponsored: bool,
}

impl<'a> SessionRequest<'a> {
    pub(super) fn new(app: &'a State, request: &'a Received) -> Result<Self, HttpError> {
        let sessions = app.sessions.as_ref().ok_or_else(|| {
            let reason = if app.config.models.is_empty() {
                "this server sells no chat: its operator has configured no models"
            } else {
                "this server sells no chat from payment channels: its operator has set no sessions.operator_key; \
                 POST /v1/chat/completions takes API keys"
            };
            HttpError::new(Code::NotFound, reason)
        })?;
        let sponsored = request.flag("feePayer")?;
        if sponsored {
            crate::http::routes::mpp::check_sponsor(app, request)?;
        }
        Ok(Self { app, sessions, request, resource: Resource::path(request.uri.path()), sponsored })
    }

    pub(super) fn offer(&self, chat: Option<&ChatRequest>) -> SessionOffer {
        let deposit = if self.is_mppx_command_line() {
            SuggestedDeposit::WithLongestAnswer
        } else {
            SuggestedDeposit::Usual
        };
        self.sessions
            .offer(chat, self.sponsored, deposit)
            .expect("whether fees are sponsored was checked when the session opened")
    }

    pub(super) fn credential(&self) -> Result<Option<PaymentCredential>, HttpError> {
        match payable::credential(&self.request.headers) {
            Ok(credential) => Ok(credential),
            Err(CredentialError::Several) => {
                Err(HttpError::new(Code::SeveralCredentials, CredentialError::Several.to_string()))
            }
            Err(error @ CredentialError::Malformed(_)) => {
                Err(self.payment_error(Code::MalformedCredential, &error.to_string(), None, None))
            }
        }
    }

    /// Makes an error with a fresh session challenge, for this request's model where it
    /// names one. A channel's snapshot goes only to a client that proved to be its payer.
    pub(super) fn payment_error(
        &self,
        code: Code,
        detail: &str,
        chat: Option<&ChatRequest>,
        payer: Option<&Channel>,
    ) -> HttpError {
        let offer = self.offer(chat);
        let offer = match payer {
            Some(channel) => self.resuming(&offer, channel, offer.unit_price()),
            None => offer,
        };
        HttpError::new(code, detail).with_challenges(vec![self.challenge(&offer)])
    }

    /// Returns an offer for the payer of a channel, whose next voucher has to pay for `cost` more.
    fn resuming(&self, offer: &SessionOffer, channel: &Channel, cost: Money) -> SessionOffer {
        let terms = self.sessions.channels.terms();
        offer.resuming(&channel.snapshot(), terms, channel.required(cost, terms.min_voucher_delta))
    }

    /// Returns true for the command line of the npm package mppx, which is treated differently in two points (decision
    /// 14). The library of the package sends no `User-Agent` of its own.
    fn is_mppx_command_line(&self) -> bool {
        self.request.headers.get(USER_AGENT).is_some_and(|agent| agent.as_bytes().starts_with(b"mppx/"))
    }

    /// Returns the refusal of a stream that opened its channel, where the client cannot pay for it on the way: it is
    /// asked for what the answer can cost before the stream begins, within half of the deposit, so that the vouchers of
    /// later requests fit into the other half. `None` where the stream may begin.
    ///
    /// mppx's command line forgets the vouchers that it signs while the first stream of a channel runs, and takes the
    /// receipt that states them for a fraud (decision 14).
    pub(super) fn asks_ahead(
        &self,
        session: &SessionCredential,
        chat: &ChatRequest,
        channel: &Channel,
    ) -> Option<HttpError> {
        let opens = matches!(session.action, SessionAction::Open { .. });
        if !(opens && chat.stream() && self.is_mppx_command_line()) {
            return None;
        }
        let half = Money::from_micros(channel.deposit.micros() / 2);
        let ahead = self.sessions.highest_price(chat).min(half);
        let left = balance(channel).left();
        let missing = ahead.checked_sub(left).filter(|missing| missing.is_positive())?;
        let offer = self.resuming(&self.offer(Some(chat)), channel, ahead);
        let detail = "this client cannot sign vouchers while the first stream of a channel runs: send the same request \
                      again with a voucher for requiredCumulative; nothing was charged yet";
        let refusal = HttpError::new(Code::InsufficientBalance, detail);
        Some(refusal.with_challenges(vec![self.challenge(&offer)]).missing(Some(missing)))
    }

    fn challenge(&self, offer: &SessionOffer) -> Challenge {
        let issuer = &self.sessions.issuer;
        let opaque = self.resource.opaque(self.request.nonce);
        issuer.issue(offer, &opaque, None, issuer.expiry(clock::after_wait()))
    }

    /// Reads a session credential and checks that its challenge is this server's and in time.
    pub(super) fn verify(
        &self,
        credential: &PaymentCredential,
        chat: Option<&ChatRequest>,
    ) -> Result<SessionCredential, HttpError> {
        let (request, expires) = self
            .sessions
            .issuer
            .verify_session(&credential.challenge, Method::Tempo, &self.resource)
            .map_err(|refusal| {
                match refusal {
                    // "TopUp Payload" has its own code for it.
                    ChallengeError::Foreign if action(credential) == Some("topUp") => {
                        self.payment_error(Code::ChallengeNotFound, &refusal.to_string(), chat, None)
                    }
                    ChallengeError::Unsupported => {
                        HttpError::new(Code::MethodUnsupported, refusal.to_string())
                    }
                    ChallengeError::Foreign
                    | ChallengeError::OtherResource
                    | ChallengeError::OtherTerms
                    | ChallengeError::OtherBody
                    | ChallengeError::NoExpiry => {
                        self.payment_error(Code::InvalidChallenge, &refusal.to_string(), chat, None)
                    }
                }
            })?;
        if expires <= self.request.at {
            return Err(self.payment_error(
                Code::ChallengeNotFound,
                "the session challenge has expired; use the new one",
                chat,
                None,
            ));
        }
        if chat.is_some_and(|chat| !self.offer(Some(chat)).has_terms_of(&request)) {
            return Err(self.payment_error(
                Code::InvalidChallenge,
                "the challenge's price is not that of this request; use the new one",
                chat,
                None,
            ));
        }
        SessionCredential::parse(credential)
            .and_then(|session| self.check_descriptor(session))
            .map_err(|error| self.payment_error(Code::MalformedCredential, &error.to_string(), chat, None))
    }

    /// Checks that a channel's id is the hash of its descriptor: then the descriptor is the stored
    /// channel's, the signer it names included.
    fn check_descriptor(&self, session: SessionCredential) -> Result<SessionCredential, VoucherError> {
        let terms = self.sessions.channels.terms();
        if session.descriptor.channel_id(terms.escrow, terms.chain_id) == session.channel {
            Ok(session)
        } else {
            Err(VoucherError::Channel)
        }
    }

    /// Makes the error of a refused credential. Only a client that signed with the
    /// channel's key learns its balance.
    pub(super) async fn channel_error(
        &self,
        error: ChannelError,
        chat: Option<&ChatRequest>,
        id: ChannelId,
    ) -> HttpError {
        let detail = error.to_string();
        let (code, proven) = match error {
            ChannelError::Pending | ChannelError::Refused(ChannelRefusal::Opening) => return pending(),
            ChannelError::Unavailable(part) => return unavailable(part),
            ChannelError::TooOften(millis) => {
                return HttpError::new(Code::RateLimitExceeded, detail).retry_after_millis(millis);
            }
            ChannelError::Voucher(VoucherError::Signature) => (Code::InvalidSignature, false),
            ChannelError::Voucher(_) => (Code::MalformedCredential, false),
            ChannelError::Insufficient(_) => (Code::InsufficientBalance, true),
            ChannelError::Transaction(_) => (Code::VerificationFailed, false),
            ChannelError::Refused(ChannelRefusal::Unknown) => {
                return HttpError::new(Code::ChannelNotFound, detail);
            }
            ChannelError::Refused(ChannelRefusal::Closed) => {
                return HttpError::new(Code::ChannelFinalized, detail);
            }
            ChannelError::Refused(ChannelRefusal::InProgress) => {
                return HttpError::new(Code::PaymentInProgress, detail).retry_after(1);
            }
            ChannelError::Refused(ChannelRefusal::Repeated) => {
                return HttpError::new(Code::IdempotencyKeyReused, detail);
            }
            ChannelError::Refused(ChannelRefusal::Deposit) => (Code::AmountExceedsDeposit, true),
            ChannelError::Refused(ChannelRefusal::Step) => (Code::DeltaTooSmall, true),
            ChannelError::Refused(
                ChannelRefusal::Lower
                | ChannelRefusal::Cover
                | ChannelRefusal::Published
                | ChannelRefusal::Closing,
            ) => (Code::VerificationFailed, true),
        };
        let channel = if proven { self.sessions.channels.find(id).await.ok().flatten() } else { None };
        self.payment_error(code, &detail, chat, channel.as_ref())
    }
}

/// Returns the action that a session credential asks for.
pub(super) fn action(credential: &PaymentCredential) -> Option<&str> {
    credential.payload.get("action").and_then(|action| action.as_str())
}
