//! The session of a session: whose credential it is, and what a refusal tells.

use mpp::protocol::core::PaymentCredential;
use std::sync::Arc;
use uuid::Uuid;

use super::reply::{pending, unavailable};
use crate::funding::channel::{Channel, ChannelError, ChannelRefusal};
use crate::http::error::{Code, HttpError};
use crate::http::request::Received;
use crate::http::{State, gate};
use crate::id::Timestamp;
use crate::payments::http::ChallengeHeader;
use crate::payments::methods::tempo::session::{ChannelId, SessionCredential, SessionOffer, VoucherError};
use crate::payments::{ChallengeError, CredentialError, Method, Resource};
use crate::services::chat::ChatRequest;
use crate::sessions::Sessions;

/// One request at the session of a session.
pub(super) struct SessionRequest<'a> {
    pub(super) app: &'a State,
    pub(super) sessions: &'a Arc<Sessions>,
    pub(super) request: &'a Received,
    pub(super) resource: Resource,
    /// `?feePayer=true`: the server pays the fees of opening and topping up.
    pub(super) sponsored: bool,
}

impl<'a> SessionRequest<'a> {
    pub(super) fn new(app: &'a State, request: &'a Received) -> Result<Self, HttpError> {
        let sessions = app.sessions.as_ref().ok_or_else(|| {
            HttpError::new(Code::NotFound, "this server offers no chat: it has no models configured")
        })?;
        let sponsored = request.flag("feePayer")?;
        if sponsored {
            crate::http::mpp::check_sponsor(app, request)?;
        }
        Ok(Self { app, sessions, request, resource: Resource::path(request.uri.path()), sponsored })
    }

    pub(super) fn offer(&self, chat: Option<&ChatRequest>) -> SessionOffer {
        self.sessions
            .offer(chat, self.sponsored)
            .expect("whether fees are sponsored was checked when the session opened")
    }

    pub(super) fn credential(&self) -> Result<Option<PaymentCredential>, HttpError> {
        match gate::credential(&self.request.headers) {
            Ok(credential) => Ok(credential),
            Err(CredentialError::Several) => {
                Err(HttpError::new(Code::SeveralCredentials, CredentialError::Several.to_string()))
            }
            Err(error @ CredentialError::Malformed(_)) => {
                Err(self.ask(Code::MalformedCredential, &error.to_string(), None, None))
            }
        }
    }

    /// 402 with a fresh session challenge, for this request's model where it
    /// names one. A channel's snapshot goes only to who proved to be its payer.
    pub(super) fn ask(
        &self,
        code: Code,
        detail: &str,
        chat: Option<&ChatRequest>,
        payer: Option<&Channel>,
    ) -> HttpError {
        let mut offer = self.offer(chat);
        if let Some(channel) = payer {
            let terms = self.sessions.channels.terms();
            let least = channel.required(offer.unit_price(), terms.min_voucher_delta);
            offer = offer.resuming(&channel.snapshot(), terms, least);
        }
        let challenge = self.challenge(&offer);
        HttpError::new(code, detail).with_challenges(vec![challenge])
    }

    pub(super) fn challenge(&self, offer: &SessionOffer) -> ChallengeHeader {
        let issuer = &self.sessions.issuer;
        let challenge =
            issuer.issue(offer, &self.resource.opaque(Uuid::new_v4()), None, issuer.expiry(Timestamp::now()));
        ChallengeHeader::new(&challenge, None)
    }

    /// Reads a session credential and checks that its challenge is ours and in time.
    pub(super) fn recognise(
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
                    // "TopUp Payload" has its own word for it.
                    ChallengeError::Foreign if action(credential) == Some("topUp") => {
                        self.ask(Code::ChallengeNotFound, &refusal.to_string(), chat, None)
                    }
                    ChallengeError::Unsupported => {
                        HttpError::new(Code::MethodUnsupported, refusal.to_string())
                    }
                    ChallengeError::Foreign
                    | ChallengeError::OtherResource
                    | ChallengeError::OtherTerms
                    | ChallengeError::OtherBody
                    | ChallengeError::NoExpiry => {
                        self.ask(Code::InvalidChallenge, &refusal.to_string(), chat, None)
                    }
                }
            })?;
        if expires <= Timestamp::now() {
            return Err(self.ask(
                Code::ChallengeNotFound,
                "the session challenge has expired; use the new one",
                chat,
                None,
            ));
        }
        if chat.is_some_and(|chat| !self.offer(Some(chat)).has_terms_of(&request)) {
            return Err(self.ask(
                Code::InvalidChallenge,
                "the challenge's price is not that of this request; use the new one",
                chat,
                None,
            ));
        }
        SessionCredential::parse(credential)
            .and_then(|session| self.names_its_channel(session))
            .map_err(|error| self.ask(Code::MalformedCredential, &error.to_string(), chat, None))
    }

    /// A channel's id is a hash of its descriptor, so with this the descriptor is the stored
    /// channel's, the signer it names included.
    fn names_its_channel(&self, session: SessionCredential) -> Result<SessionCredential, VoucherError> {
        let terms = self.sessions.channels.terms();
        if session.descriptor.channel_id(terms.escrow, terms.chain_id) == session.channel {
            Ok(session)
        } else {
            Err(VoucherError::Channel)
        }
    }

    /// What a refused credential is answered. Only who signed with the
    /// channel's key learns how it stands.
    pub(super) async fn deny(
        &self,
        error: ChannelError,
        chat: Option<&ChatRequest>,
        id: ChannelId,
    ) -> HttpError {
        let detail = error.to_string();
        let (code, proven) = match error {
            ChannelError::Pending | ChannelError::Refused(ChannelRefusal::Opening) => return pending(),
            ChannelError::Unavailable(what) => return unavailable(what),
            ChannelError::TooOften(millis) => {
                let seconds = u32::try_from(millis / 1000).unwrap_or(u32::MAX);
                return HttpError::new(Code::RateLimitExceeded, detail)
                    .retry_after(seconds.saturating_add(1));
            }
            ChannelError::Voucher(VoucherError::Signature) => (Code::InvalidSignature, false),
            ChannelError::Voucher(_) => (Code::MalformedCredential, false),
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
        self.ask(code, &detail, chat, channel.as_ref())
    }
}

/// What a session credential asks for.
pub(super) fn action(credential: &PaymentCredential) -> Option<&str> {
    credential.payload.get("action").and_then(|action| action.as_str())
}
