//! `POST /mpp/chat/completions`: a metered answer, paid from a channel.
//!
//! The same resource takes everything a session needs: the paid requests
//! themselves, and, without a body or by HEAD, vouchers, top-ups and the close
//! (draft-tempo-session-00, "Voucher Submission Transport").

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State as AppState;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use mpp::protocol::core::PaymentCredential;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::error::{Code, HttpError, Problem};
use super::gate::{self, PAYMENT_RECEIPT};
use super::request::Received;
use super::{State, sse};
use crate::funding::channel::{Channel, ChannelError, Refused};
use crate::id::{HoldId, Timestamp};
use crate::ledger::{ChargeOutcome, EntryDetails, EntryKind};
use crate::meter::{Event, Metered, Standing, Tab};
use crate::money::Money;
use crate::mpp::session::{Action, SESSION, SessionCredential, SessionOffer, SessionReceipt};
use crate::mpp::{Challenge, CredentialError, Refusal, Route};
use crate::services::chat::{Answer, ChatRequest, ChunkStream, Completion, Limits, ModelView, UpstreamError};
use crate::sessions::Sessions;

/// Names the channel of a client that has one.
const PAYMENT_SESSION: HeaderName = HeaderName::from_static("payment-session");
/// How that channel stands.
const PAYMENT_SESSION_SNAPSHOT: HeaderName = HeaderName::from_static("payment-session-snapshot");
/// How long a tab may be open before the sweeper takes its request for lost.
const TAB_MS: i64 = 2 * 3_600_000;

/// The models that can be asked, with their prices.
#[derive(Debug, Serialize, ToSchema)]
pub struct Models {
    data: Vec<ModelView>,
}

/// List the models and their prices.
#[utoipa::path(get, path = "/mpp/models", tag = "free",
    responses((status = 200, description = "Models, with prices in dollars", body = Models)))]
pub async fn models(AppState(app): AppState<State>) -> Json<Models> {
    Json(Models { data: app.sessions.as_ref().map(|sessions| sessions.catalog.view()).unwrap_or_default() })
}

/// Chat, metered and paid per chunk from a payment channel.
///
/// OpenAI's chat completions; with `stream` the answer is paid chunk by chunk
/// with signed cumulative vouchers, each chunk before it leaves.
#[utoipa::path(post, path = "/mpp/chat/completions", tag = "session", request_body(content = ChatBody,
        example = json!({"model": "dev-scripted", "messages": [{"role": "user", "content": "Say hello."}], "stream": true})),
    responses(
        (status = 200, description = "A completion, or text/event-stream with `stream`", content_type = "application/json", body = serde_json::Value),
        (status = 204, description = "A voucher, top-up or close was carried out"),
        (status = 400, description = "The request cannot be used; free", body = Problem, content_type = "application/problem+json"),
        (status = 402, description = "Payment Required: open a channel or send a voucher", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Chat is not offered", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "The channel is closed or unknown", body = Problem, content_type = "application/problem+json"),
        (status = 502, description = "No upstream could answer; nothing was charged", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Outcome open or a part is down: send the same again", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn completions(AppState(app): AppState<State>, request: Received) -> Result<Response, HttpError> {
    let door = Door::new(&app, &request)?;
    match (door.credential()?, request.body.is_empty()) {
        (Some(credential), true) => door.manage(&credential).await,
        (Some(credential), false) if is_management(&credential) => door.manage(&credential).await,
        (credential, _) => door.content(credential).await,
    }
}

/// Vouchers by HEAD, and who-am-I for a client that lost its channel's state
/// ("Bootstrap Preflight").
pub async fn head(AppState(app): AppState<State>, request: Received) -> Result<Response, HttpError> {
    let door = Door::new(&app, &request)?;
    match door.credential()? {
        Some(credential) if credential.challenge.intent.as_str() == SESSION => door.manage(&credential).await,
        Some(_) | None => door.bootstrap().await,
    }
}

/// The documented part of a chat request; other fields go to the model as they are.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChatBody {
    /// One of `GET /mpp/models`.
    #[schema(example = "dev-scripted")]
    pub model: String,
    /// OpenAI chat messages.
    pub messages: Vec<serde_json::Value>,
    pub stream: Option<bool>,
    pub max_tokens: Option<u64>,
    pub tools: Option<Vec<serde_json::Value>>,
}

fn is_management(credential: &PaymentCredential) -> bool {
    matches!(credential.payload.get("action").and_then(|action| action.as_str()), Some("topUp" | "close"))
}

/// One request at the door of a session.
struct Door<'a> {
    app: &'a State,
    sessions: &'a Arc<Sessions>,
    request: &'a Received,
    route: Route,
    /// `?feePayer=true`: the server pays the fees of opening and topping up.
    sponsored: bool,
}

impl<'a> Door<'a> {
    fn new(app: &'a State, request: &'a Received) -> Result<Self, HttpError> {
        let sessions = app.sessions.as_ref().ok_or_else(|| {
            HttpError::new(Code::NotFound, "this server offers no chat: it has no models configured")
        })?;
        let sponsored = request.flag("feePayer")?;
        if sponsored {
            super::mpp::check_sponsor(app, request)?;
        }
        Ok(Self { app, sessions, request, route: Route::resource(request.uri.path()), sponsored })
    }

    fn offer(&self, chat: Option<&ChatRequest>) -> SessionOffer {
        self.sessions
            .offer(chat, self.sponsored)
            .expect("whether fees are sponsored was checked when the door opened")
    }

    fn credential(&self) -> Result<Option<PaymentCredential>, HttpError> {
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
    fn ask(
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

    fn challenge(&self, offer: &SessionOffer) -> Challenge {
        let issuer = &self.sessions.issuer;
        issuer.issue(offer, &self.route.opaque(Uuid::new_v4()), None, issuer.expiry(Timestamp::now()))
    }

    /// Reads a session credential and checks that its challenge is ours and in time.
    fn recognise(
        &self,
        credential: &PaymentCredential,
        chat: Option<&ChatRequest>,
    ) -> Result<SessionCredential, HttpError> {
        let (request, expires) =
            self.sessions.issuer.verify_session(&credential.challenge, &self.route).map_err(|refusal| {
                match refusal {
                    Refusal::Unsupported => HttpError::new(Code::MethodUnsupported, refusal.to_string()),
                    Refusal::Foreign
                    | Refusal::OtherRoute
                    | Refusal::OtherTerms
                    | Refusal::OtherBody
                    | Refusal::NoExpiry => self.ask(Code::InvalidChallenge, &refusal.to_string(), chat, None),
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
            .map_err(|error| self.ask(Code::MalformedCredential, &error.to_string(), chat, None))
    }

    /// Voucher, top-up, close; also an open that buys nothing yet.
    async fn manage(&self, credential: &PaymentCredential) -> Result<Response, HttpError> {
        let session = self.recognise(credential, None)?;
        let channels = self.sessions.channels.clone();
        let now = Timestamp::now();
        let id = session.channel;
        let challenge_id = session.challenge().id.clone();
        // A task of its own: a client that goes away must not stop a
        // transaction half-way.
        let least = self.offer(None).unit_price();
        let sponsored = self.sponsored;
        let managed = self.app.tasks.spawn(async move {
            match &session.action {
                Action::Voucher(voucher) => {
                    channels.accept(voucher, now).await.map(|channel| (channel, None, voucher.amount))
                }
                Action::Open { transaction, voucher } => {
                    let opened = channels
                        .open(&session.descriptor, transaction, voucher, sponsored, least, now)
                        .await?;
                    Ok((opened.channel, opened.tx_hash, voucher.amount))
                }
                Action::TopUp { transaction, additional } => {
                    let funded = channels
                        .top_up(id, &session.descriptor, transaction, *additional, sponsored, now)
                        .await?;
                    let accepted = funded.channel.accepted();
                    Ok((funded.channel, funded.tx_hash, accepted))
                }
                Action::Close { voucher, authorization } => {
                    let authorized =
                        channels.authorizes(&session.descriptor, voucher, authorization.as_deref());
                    let closed = channels.close(voucher, authorized, now).await?;
                    let hash = closed.close_hash.clone();
                    Ok((closed, hash, voucher.amount))
                }
            }
        });
        let managed = managed.await.map_err(|_| pending())?;
        self.sessions.wakers.ring(id);
        match managed {
            Ok((channel, tx_hash, accepted)) => {
                let receipt = receipt(&challenge_id, &channel, accepted, None, tx_hash);
                Ok(no_content(&receipt))
            }
            Err(error) => Err(self.deny(error, None, id).await),
        }
    }

    /// A request that buys an answer.
    async fn content(&self, credential: Option<PaymentCredential>) -> Result<Response, HttpError> {
        let chat = ChatRequest::parse(self.request.json_text()?, &self.sessions.catalog, Limits::default())
            .map_err(|error| HttpError::invalid(error.to_string()))?;
        let Some(credential) = credential else {
            return Err(self.ask(
                Code::PaymentRequired,
                "Open a payment channel with the challenge in WWW-Authenticate and send the same request again.",
                Some(&chat),
                None,
            ));
        };
        let session = self.recognise(&credential, Some(&chat))?;
        let channel = self.authorise(&session, &chat).await?;
        let price = self.sessions.price(&chat);
        let least = self.offer(Some(&chat)).unit_price();
        let standing = standing(&channel);
        if standing.left() < least {
            return Err(self.ask(
                Code::InsufficientBalance,
                "the channel's vouchers do not cover this request; send one that does",
                Some(&chat),
                Some(&channel),
            ));
        }
        let now = Timestamp::now();
        let until = now.checked_add_millis(TAB_MS).unwrap_or(now);
        let hold = match self.sessions.channels.begin(channel.id, &self.request.id, now, until).await {
            Ok(hold) => hold,
            Err(error) => return Err(self.deny(error, Some(&chat), channel.id).await),
        };
        // Whatever ran on this channel has lost its tab: let it notice.
        self.sessions.wakers.ring(channel.id);
        let tab = Tab {
            hold,
            channel: channel.id,
            request_id: self.request.id.clone(),
            model: chat.model().id.clone(),
            price,
            window: self.sessions.window,
            most_units: chat.max_chunks(),
            step: self.sessions.channels.terms().min_voucher_delta,
            standing,
        };
        let challenge_id = session.challenge().id.clone();
        match self.sessions.upstreams.start(&chat).await {
            Ok(Answer::Stream(upstream)) => Ok(self.stream(tab, Ok(upstream), challenge_id, channel)),
            Ok(Answer::Whole(completion)) => self.whole(tab, &chat, completion, &challenge_id).await,
            // The channel is open and its voucher taken: clients give a channel
            // up when they are answered an error now, so a stream says it inside.
            Err(error) if chat.stream() => Ok(self.stream(tab, Err(error), challenge_id, channel)),
            Err(error) => {
                self.drop_tab(&tab.hold, &tab.model).await;
                Err(upstream_failed(&error))
            }
        }
    }

    /// Opens the channel or takes the voucher that pays for this request.
    async fn authorise(&self, session: &SessionCredential, chat: &ChatRequest) -> Result<Channel, HttpError> {
        let channels = self.sessions.channels.clone();
        let now = Timestamp::now();
        let authorised = match &session.action {
            Action::Open { transaction, voucher } => {
                let least = self.offer(Some(chat)).unit_price();
                if voucher.amount < least {
                    return Err(self.ask(
                        Code::InsufficientBalance,
                        "the first voucher must cover the price of one unit",
                        Some(chat),
                        None,
                    ));
                }
                let (descriptor, transaction, voucher) =
                    (session.descriptor, transaction.clone(), voucher.clone());
                let sponsored = self.sponsored;
                let opening = self.app.tasks.spawn(async move {
                    channels.open(&descriptor, &transaction, &voucher, sponsored, least, now).await
                });
                opening.await.map_err(|_| pending())?.map(|funded| funded.channel)
            }
            Action::Voucher(voucher) => channels.accept(voucher, now).await,
            Action::TopUp { .. } | Action::Close { .. } => {
                return Err(HttpError::invalid("a top-up or close buys no answer; send it without a body"));
            }
        };
        match authorised {
            Ok(channel) => Ok(channel),
            Err(error) => Err(self.deny(error, Some(chat), session.channel).await),
        }
    }

    fn stream(
        &self,
        tab: Tab,
        upstream: Result<ChunkStream, UpstreamError>,
        challenge_id: String,
        channel: Channel,
    ) -> Response {
        let id = tab.channel;
        let price = tab.price;
        let first = receipt(&challenge_id, &channel, channel.accepted(), Some((0, price)), None);
        let bell = self.sessions.wakers.bell(id);
        let (metered, events) =
            Metered::new(tab, self.app.ledger.clone(), self.sessions.channels.clone(), bell);
        self.app.tasks.spawn(async move {
            let delivered = metered.run(upstream).await;
            tracing::info!(channel = %id, units = delivered.units, end = delivered.end.as_str(), "stream ended");
        });
        let frames = futures_util::stream::unfold(events, |mut events| async move {
            events.recv().await.map(|event| (event, events))
        })
        .map(move |event| {
            Ok::<_, std::convert::Infallible>(match event {
                Event::Chunk(chunk) => sse::data(&chunk),
                Event::Ping => sse::PING,
                Event::NeedVoucher { required, standing } => sse::need_voucher(id, required, &standing),
                Event::End(delivered) => {
                    let mut last = receipt(
                        &challenge_id,
                        &channel,
                        delivered.standing.accepted,
                        Some((delivered.units, price)),
                        None,
                    );
                    last.spent = delivered.standing.spent.to_base_units();
                    sse::end(&delivered, &last.to_json())
                }
            })
        });
        let mut response = Response::new(Body::from_stream(frames));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        with_receipt(&mut response, &first);
        response
    }

    /// A whole answer: its real length is charged, then it leaves. The challenge
    /// asked for the most it can cost, so it is always covered.
    async fn whole(
        &self,
        tab: Tab,
        chat: &ChatRequest,
        completion: Completion,
        challenge_id: &str,
    ) -> Result<Response, HttpError> {
        let units = units_of(&completion).min(chat.max_tokens()).max(1);
        let affordable = tab.standing.affordable(tab.price, units);
        let cost = tab.price.checked_mul(affordable).unwrap_or(Money::ZERO);
        match self.app.ledger.charge(&tab.hold, cost).await {
            Ok(ChargeOutcome::Charged { .. }) => {}
            Ok(ChargeOutcome::Short { .. } | ChargeOutcome::Closed) => {
                self.drop_tab(&tab.hold, &tab.model).await;
                return Err(HttpError::new(
                    Code::PaymentInProgress,
                    "another request took this channel over; nothing was charged for this one",
                ));
            }
            Err(error) => {
                tracing::error!(%error, "an answer cannot be charged");
                self.drop_tab(&tab.hold, &tab.model).await;
                return Err(unavailable("the ledger"));
            }
        }
        self.close_tab(&tab.hold, &tab.model, affordable, tab.price).await;
        let channel = self.sessions.channels.find(tab.channel).await.ok().flatten().ok_or_else(pending)?;
        let receipt =
            receipt(challenge_id, &channel, channel.accepted(), Some((affordable, tab.price)), None);
        let mut response = Response::new(Body::from(completion.data));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        with_receipt(&mut response, &receipt);
        Ok(response)
    }

    async fn drop_tab(&self, hold: &HoldId, model: &str) {
        self.close_tab(hold, model, 0, Money::ZERO).await;
    }

    async fn close_tab(&self, hold: &HoldId, model: &str, units: u64, unit_price: Money) {
        let details = EntryDetails {
            kind: EntryKind::Usage,
            request_id: Some(self.request.id.clone()),
            service: model.to_owned(),
            units,
            unit_price,
            meta: serde_json::json!({}),
        };
        if let Err(error) = self.app.ledger.close(hold, &details, Timestamp::now()).await {
            tracing::error!(%error, "a tab is left to the sweeper");
        }
    }

    /// HEAD: a zero-amount proof of the wallet, answered with its channel.
    async fn bootstrap(&self) -> Result<Response, HttpError> {
        let sessions = Arc::clone(self.sessions);
        let found = Arc::new(std::sync::Mutex::new(None));
        let slot = Arc::clone(&found);
        let proved = gate::charge(
            self.app,
            self.request,
            self.app.offers.account.clone(),
            "session",
            move |paid| async move {
                let channel = sessions.channels.of_payer(paid.payer()).await.map_err(|error| {
                    tracing::error!(%error, "channels of a wallet");
                    unavailable("the channel records")
                })?;
                *slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = channel;
                Ok(String::new())
            },
        )
        .await?;
        let channel = found.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let (mut parts, _) = proved.into_parts();
        parts.status = StatusCode::NO_CONTENT;
        parts.headers.remove(CONTENT_TYPE);
        if let Some(channel) = channel {
            let snapshot = channel.snapshot();
            let header = snapshot.to_header(self.sessions.channels.terms(), channel.accepted());
            for (name, value) in
                [(PAYMENT_SESSION, channel.id.to_string()), (PAYMENT_SESSION_SNAPSHOT, header)]
            {
                if let Ok(value) = HeaderValue::try_from(value) {
                    parts.headers.insert(name, value);
                }
            }
        }
        Ok(Response::from_parts(parts, Body::empty()))
    }

    /// What a refused credential is answered. Only who signed with the
    /// channel's key learns how it stands.
    async fn deny(
        &self,
        error: ChannelError,
        chat: Option<&ChatRequest>,
        id: crate::mpp::session::ChannelId,
    ) -> HttpError {
        let detail = error.to_string();
        let (code, proven) = match error {
            ChannelError::Pending => return pending(),
            ChannelError::Unavailable(what) => return unavailable(what),
            ChannelError::Voucher(crate::mpp::session::VoucherError::Signature) => {
                (Code::InvalidSignature, false)
            }
            ChannelError::Voucher(_) => (Code::MalformedCredential, false),
            ChannelError::Transaction(_) => (Code::VerificationFailed, false),
            ChannelError::Refused(Refused::Unknown) => return HttpError::new(Code::ChannelNotFound, detail),
            ChannelError::Refused(Refused::Closed) => return HttpError::new(Code::ChannelFinalized, detail),
            ChannelError::Refused(Refused::Deposit) => (Code::AmountExceedsDeposit, true),
            ChannelError::Refused(Refused::Step) => (Code::DeltaTooSmall, true),
            ChannelError::Refused(
                Refused::Lower | Refused::Cover | Refused::Published | Refused::Closing,
            ) => (Code::VerificationFailed, true),
        };
        let channel = if proven { self.sessions.channels.find(id).await.ok().flatten() } else { None };
        self.ask(code, &detail, chat, channel.as_ref())
    }
}

fn standing(channel: &Channel) -> Standing {
    Standing { accepted: channel.accepted(), spent: channel.spent, deposit: channel.deposit }
}

/// Units of a whole answer: its tokens as reported, or about four bytes each.
fn units_of(completion: &Completion) -> u64 {
    let guess = completion.content_bytes.div_ceil(4) as u64;
    completion.usage.as_ref().map_or(guess, |usage| usage.completion_tokens)
}

fn receipt(
    challenge_id: &str,
    channel: &Channel,
    accepted: Money,
    cost: Option<(u64, Money)>,
    tx_hash: Option<String>,
) -> SessionReceipt {
    SessionReceipt {
        method: crate::mpp::offer::METHOD.into(),
        intent: SESSION.into(),
        status: "success".into(),
        timestamp: Timestamp::now().to_rfc3339(),
        reference: channel.id.to_string(),
        challenge_id: challenge_id.to_owned(),
        channel_id: channel.id.to_string(),
        accepted_cumulative: accepted.to_base_units(),
        spent: channel.spent.to_base_units(),
        units: cost.map(|(units, _)| units),
        unit_price: cost.map(|(_, price)| price.to_base_units()),
        tx_hash,
    }
}

fn with_receipt(response: &mut Response, receipt: &SessionReceipt) {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
    if let Ok(value) = HeaderValue::try_from(receipt.to_header()) {
        headers.insert(PAYMENT_RECEIPT, value);
    }
    if let Ok(value) = HeaderValue::try_from(receipt.channel_id.as_str()) {
        headers.insert(PAYMENT_SESSION, value);
    }
}

fn no_content(receipt: &SessionReceipt) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    with_receipt(&mut response, receipt);
    response
}

fn pending() -> HttpError {
    HttpError::new(
        Code::SettlementPending,
        "the transaction's outcome is not known yet; send the same request with the same credential again",
    )
    .retry_after(2)
}

fn unavailable(what: &str) -> HttpError {
    HttpError::new(
        Code::ServiceUnavailable,
        format!("{what} cannot be reached; nothing was charged for this request, send it again"),
    )
    .retry_after(2)
}

fn upstream_failed(error: &UpstreamError) -> HttpError {
    let code = if error.is_callers() { Code::InvalidParams } else { Code::UpstreamFailed };
    HttpError::new(code, format!("{error}; nothing was charged"))
}
