//! Answers that are paid from a channel: streamed, or in one piece.

use std::sync::Arc;

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use mpp::protocol::core::PaymentCredential;
use tokio::sync::oneshot;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use super::reply::{pending, receipt, refused, standing, unavailable, upstream_failed, with_receipt};
use super::session_request::SessionRequest;
use super::with_replaced;
use crate::funding::channel::{Channel, ChannelRequest};
use crate::http::error::{Code, HttpError};
use crate::http::sse;
use crate::id::Timestamp;
use crate::meter::{
    self, AnswerError, ChannelSource, ChannelTerms, MeteredRequest, MeteredStream, StreamEvent,
};
use crate::payments::methods::tempo::session::{SessionAction, SessionCredential};
use crate::services::chat::{ChatRequest, ProtectedRequest, RequestLimits};

/// How long a metered may be open before the sweeper takes its request for lost.
const HOLD_TTL_MS: i64 = 2 * 3_600_000;

impl SessionRequest<'_> {
    /// A request that buys an answer.
    pub(super) async fn content(&self, credential: Option<PaymentCredential>) -> Result<Response, HttpError> {
        let chat =
            ChatRequest::parse(self.request.json_text()?, &self.sessions.catalog, RequestLimits::default())
                .map_err(|error| refused(&error))?;
        let privacy = &self.app.models.privacy;
        chat.check_examinable(privacy).map_err(|error| refused(&error))?;
        let Some(credential) = credential else {
            return Err(self.ask(
                Code::PaymentRequired,
                "Open a payment channel with the challenge in WWW-Authenticate and send the same request again.",
                Some(&chat),
                None,
            ));
        };
        let key = self.request.idempotency_key()?;
        let session = self.recognise(&credential, Some(&chat))?;
        // Texts are free to refuse: the channel is not open yet, and its voucher not taken. Files take seconds, for who
        // has a channel.
        let early = if chat.has_files_to_examine(privacy) {
            Some(self.authorise(&session, &chat).await?)
        } else {
            None
        };
        let chat = chat.protect(privacy).await.map_err(|error| refused(&error))?;
        let channel = match early {
            Some(channel) => channel,
            None => self.authorise(&session, &chat).await?,
        };
        let price = self.sessions.price_per_chunk(&chat);
        let least = self.sessions.required_amount(Some(&*chat));
        let standing = standing(&channel);
        if standing.left() < least {
            return Err(self
                .ask(
                    Code::InsufficientBalance,
                    "the channel's vouchers do not cover this request; send one that does",
                    Some(&*chat),
                    Some(&channel),
                )
                .missing(least.checked_sub(standing.left())));
        }
        let now = Timestamp::now();
        let until = now.checked_add_millis(HOLD_TTL_MS).unwrap_or(now);
        let challenge_id = session.challenge().id.clone();
        let serving = ChannelRequest {
            id: &self.request.id,
            key: key.as_deref(),
            challenge: &challenge_id,
            service: &chat.model().id,
            unit_price: price,
        };
        let hold = match self.sessions.channels.begin(channel.id, &serving, now, until).await {
            Ok(hold) => hold,
            Err(error) => return Err(self.deny(error, Some(&*chat), channel.id).await),
        };
        // Whatever ran on this channel has lost its metered: let it notice.
        self.sessions.notifier.notify(channel.id);
        let metered = MeteredRequest {
            hold,
            request_id: self.request.id.clone(),
            model: chat.model().id.clone(),
            wants_usage: chat.wants_usage(),
            replaced: chat.replaced().cloned().unwrap_or_default(),
        };
        let terms = ChannelTerms {
            channel: channel.id,
            challenge: challenge_id,
            price,
            window: self.sessions.window,
            max_units: if chat.stream() { chat.max_chunks() } else { chat.max_tokens() },
            balance: standing,
        };
        let replaced = chat.replaced().cloned();
        let answer = if chat.stream() {
            self.stream(metered, terms, chat, channel, now)
        } else {
            self.non_streaming(metered, terms, chat, channel, now).await?
        };
        Ok(with_replaced(answer, replaced.as_ref()))
    }

    /// Opens the channel or takes the voucher that pays for this request.
    pub(super) async fn authorise(
        &self,
        session: &SessionCredential,
        chat: &ChatRequest,
    ) -> Result<Channel, HttpError> {
        let channels = self.sessions.channels.clone();
        let now = Timestamp::now();
        let authorised = match &session.action {
            SessionAction::Open { transaction, voucher } => {
                let least = self.sessions.required_amount(Some(chat));
                if voucher.amount < least {
                    return Err(self
                        .ask(
                            Code::InsufficientBalance,
                            "the first voucher must cover the price of one unit",
                            Some(chat),
                            None,
                        )
                        .missing(least.checked_sub(voucher.amount)));
                }
                let (descriptor, transaction, voucher) =
                    (session.descriptor, transaction.clone(), voucher.clone());
                let sponsored = self.sponsored;
                let opening = self.app.tasks.spawn(async move {
                    channels.open(&descriptor, &transaction, &voucher, sponsored, least, now).await
                });
                opening.await.map_err(|_| pending())?.map(|funded| funded.channel)
            }
            SessionAction::Voucher(voucher) => channels.accept(&session.descriptor, voucher, now).await,
            SessionAction::TopUp { .. } | SessionAction::Close { .. } => {
                return Err(HttpError::invalid("a top-up or close buys no answer; send it without a body"));
            }
        };
        match authorised {
            Ok(channel) => Ok(channel),
            Err(error) => Err(self.deny(error, Some(chat), session.channel).await),
        }
    }

    /// The channel is open and its voucher taken, and clients give a channel up
    /// when they are answered an error now. So the answer begins before the
    /// upstream is asked, and whatever goes wrong is said inside.
    fn stream(
        &self,
        metered: MeteredRequest,
        terms: ChannelTerms,
        chat: ProtectedRequest,
        channel: Channel,
        now: Timestamp,
    ) -> Response {
        let (id, price, challenge_id) = (channel.id, terms.price, terms.challenge.clone());
        let first = receipt(&challenge_id, &channel, channel.accepted(), Some((0, price)), None);
        let waiter = self.sessions.notifier.waiter(id);
        let source = ChannelSource::new(terms, self.sessions.channels.clone(), waiter);
        let (metered, events) = MeteredStream::new(metered, source, self.app.ledger.clone());
        let sessions = Arc::clone(self.sessions);
        self.app.tasks.spawn(async move {
            let delivered = metered.run(Box::pin(sessions.upstreams.stream(&chat, now))).await;
            tracing::info!(channel = %id, units = delivered.units, end = delivered.end.as_str(), "stream ended");
        });
        let frames = ReceiverStream::new(events).map(move |event| {
            Ok::<_, std::convert::Infallible>(match event {
                StreamEvent::Chunks(chunks) => sse::data(&chunks),
                StreamEvent::Ping => sse::PING,
                StreamEvent::NeedVoucher { required, balance } => sse::need_voucher(id, required, &balance),
                StreamEvent::End(delivered) => {
                    let stands = delivered.balance.unwrap_or(standing(&channel));
                    let cost = Some((delivered.units, price));
                    let mut last = receipt(&challenge_id, &channel, stands.accepted, cost, None);
                    last.spent = stands.spent.to_base_units();
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

    async fn non_streaming(
        &self,
        metered: MeteredRequest,
        terms: ChannelTerms,
        chat: ProtectedRequest,
        channel: Channel,
        now: Timestamp,
    ) -> Result<Response, HttpError> {
        let (price, challenge_id) = (terms.price, terms.challenge.clone());
        let waiter = self.sessions.notifier.waiter(channel.id);
        let source = ChannelSource::new(terms, self.sessions.channels.clone(), waiter);
        let (sessions, ledger) = (Arc::clone(self.sessions), self.app.ledger.clone());
        let (mut answer, answered) = oneshot::channel();
        self.app.tasks.spawn(async move {
            let start = sessions.upstreams.non_streaming(&chat, now);
            let served = meter::non_streaming(metered, source, &ledger, start, answer.closed()).await;
            // Nobody waits any more when the client went away.
            let _ = answer.send(served);
        });
        let served = answered.await.map_err(|_| pending())?.map_err(|failed| match failed {
            AnswerError::Upstream(error) => upstream_failed(&error),
            AnswerError::Superseded => HttpError::new(
                Code::PaymentInProgress,
                "another request took this channel over; nothing was charged for this one",
            ),
            AnswerError::LedgerUnavailable | AnswerError::KeyEnded | AnswerError::ClientGone => {
                unavailable("the ledger")
            }
        })?;
        // It is charged, so it leaves, whatever can be read now: sent again, the
        // request would be charged again.
        let stands = self.sessions.channels.find(channel.id).await.ok().flatten();
        let cost = price.checked_mul(served.units);
        let spent = cost.and_then(|cost| channel.spent.checked_add(cost)).unwrap_or(channel.spent);
        let channel = stands.unwrap_or(Channel { spent, ..channel });
        let receipt = receipt(&challenge_id, &channel, channel.accepted(), Some((served.units, price)), None);
        let mut response = Response::new(Body::from(served.completion.data));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        with_receipt(&mut response, &receipt);
        Ok(response)
    }
}
