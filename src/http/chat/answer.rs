//! Answers that are paid from a channel: streamed, or whole.

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use futures_util::StreamExt as _;
use mpp::protocol::core::PaymentCredential;

use super::door::Door;
use super::reply::{pending, receipt, standing, unavailable, units_of, upstream_failed, with_receipt};
use crate::funding::channel::{Channel, Request};
use crate::http::error::{Code, HttpError};
use crate::http::sse;
use crate::id::{HoldId, Timestamp};
use crate::ledger::{ChargeOutcome, EntryDetails, EntryKind};
use crate::meter::{Event, Metered, Tab};
use crate::money::Money;
use crate::mpp::session::{Action, SessionCredential};
use crate::services::chat::{Answer, ChatRequest, ChunkStream, Completion, Limits, UpstreamError};

/// How long a tab may be open before the sweeper takes its request for lost.
const TAB_MS: i64 = 2 * 3_600_000;

impl Door<'_> {
    /// A request that buys an answer.
    pub(super) async fn content(&self, credential: Option<PaymentCredential>) -> Result<Response, HttpError> {
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
        let least = self.sessions.least(Some(&chat));
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
        let serving = Request { id: &self.request.id, service: &chat.model().id, unit_price: price };
        let hold = match self.sessions.channels.begin(channel.id, &serving, now, until).await {
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
    pub(super) async fn authorise(
        &self,
        session: &SessionCredential,
        chat: &ChatRequest,
    ) -> Result<Channel, HttpError> {
        let channels = self.sessions.channels.clone();
        let now = Timestamp::now();
        let authorised = match &session.action {
            Action::Open { transaction, voucher } => {
                let least = self.sessions.least(Some(chat));
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

    pub(super) fn stream(
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
    pub(super) async fn whole(
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

    pub(super) async fn drop_tab(&self, hold: &HoldId, model: &str) {
        self.close_tab(hold, model, 0, Money::ZERO).await;
    }

    pub(super) async fn close_tab(&self, hold: &HoldId, model: &str, units: u64, unit_price: Money) {
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
}
