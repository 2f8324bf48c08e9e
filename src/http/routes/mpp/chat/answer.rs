//! Answers that are paid from a channel: streamed, or non-streaming.

use std::sync::Arc;

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use mpp::protocol::core::PaymentCredential;
use tokio::sync::oneshot;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use super::reply::{Cost, balance, chat_error, pending, receipt, unavailable, upstream_error, with_receipt};
use super::session_request::SessionRequest;
use super::with_replaced;
use crate::funding::channel::{Channel, ChannelError, ChannelRequest, Funded};
use crate::http::error::{Code, HttpError};
use crate::http::{clock, sse};
use crate::id::Timestamp;
use crate::meter::{
    self, AnswerError, AnswerSummary, ChannelSource, ChannelTerms, MeteredRequest, MeteredStream,
    StreamEvent, served,
};
use crate::payments::methods::tempo::session::{SessionAction, SessionCredential};
use crate::services::chat::{AnswerHead, ChatRequest, RequestLimits};

impl SessionRequest<'_> {
    /// Serves a request that buys an answer.
    pub(super) async fn serve(&self, credential: Option<PaymentCredential>) -> Result<Response, HttpError> {
        let catalog = &self.sessions.catalog;
        let parse = |text: &str| ChatRequest::parse(text, catalog, RequestLimits::default());
        let chat = self.request.parse_json(parse)?.map_err(|error| chat_error(&error))?;
        let privacy = &self.app.models.privacy;
        chat.check_examinable(privacy).map_err(|error| chat_error(&error))?;
        let Some(credential) = credential else {
            return Err(self.payment_error(
                Code::PaymentRequired,
                "Open a payment channel with the challenge in WWW-Authenticate and send the same request again.",
                Some(&chat),
                None,
            ));
        };
        let key = self.request.idempotency_key()?;
        let session = self.verify(&credential, Some(&chat))?;
        let privacy = &privacy.for_account(&session.channel.to_string());
        // Long texts are examined for those who could pay, and are free to refuse: the channel is not open yet, and its
        // voucher not taken. Files take seconds, for clients that have a channel.
        if chat.is_costly_to_examine(privacy)
            && let Err(error) =
                self.sessions.channels.could_pay(&session, self.sponsored, self.request.at).await
        {
            return Err(self.channel_error(error, Some(&chat), session.channel).await);
        }
        let early = if chat.has_files_to_examine(privacy) {
            Some(self.authorise(&session, &chat, self.request.at).await?)
        } else {
            None
        };
        let chat = chat.protect(privacy).await.map_err(|error| chat_error(&error))?;
        let Funded { channel, tx_hash } = match early {
            Some(funded) => funded,
            // Examining texts may take seconds: vouchers count against their rate when they are taken.
            None => self.authorise(&session, &chat, clock::after_wait()).await?,
        };
        if let Some(refusal) = self.asks_ahead(&session, &chat, &channel) {
            return Err(refusal);
        }
        let price = self.sessions.price_per_chunk(&chat);
        let least = self.sessions.required_amount(Some(&*chat));
        // The chain, or the examination of files, may have taken long: the hold's end is counted from its opening.
        let now = clock::after_wait();
        let challenge_id = session.challenge().id.clone();
        let serving = ChannelRequest {
            id: &self.request.id,
            key: key.as_deref(),
            challenge: &challenge_id,
            service: &chat.model().id,
            unit_price: price,
            least,
        };
        let begun = self.sessions.channels.begin(channel.id, &serving, now, served::expiry(now)).await;
        let (hold, channel) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                let missing = match &error {
                    ChannelError::Insufficient(left) => least.checked_sub(*left),
                    _ => None,
                };
                let error = self.channel_error(error, Some(&*chat), channel.id).await;
                return Err(error.missing(missing));
            }
        };
        let balance = balance(&channel);
        // A request that ran on this channel has lost its hold: let it notice.
        self.sessions.notifier.notify(channel.id);
        let chat = Arc::new(chat);
        let metered = MeteredRequest {
            hold: self.app.served.serve(hold),
            request_id: self.request.id.clone(),
            chat: Arc::clone(&chat),
            head: AnswerHead::new(now),
        };
        let terms = ChannelTerms {
            channel: channel.id,
            challenge: challenge_id,
            price,
            prompt_units: chat.prompt_units(),
            window: self.sessions.window,
            max_units: chat.max_units(),
            balance,
        };
        let replaced = chat.replaced().cloned();
        let answer = if chat.stream() {
            self.stream(metered, terms, Funded { channel, tx_hash })
        } else {
            self.non_streaming(metered, terms, Funded { channel, tx_hash }).await?
        };
        Ok(with_replaced(answer, replaced.as_ref()))
    }

    /// Opens the channel, or takes the voucher, that pays for this request.
    async fn authorise(
        &self,
        session: &SessionCredential,
        chat: &ChatRequest,
        now: Timestamp,
    ) -> Result<Funded, HttpError> {
        let channels = self.sessions.channels.clone();
        let authorised = match &session.action {
            SessionAction::Open { transaction, voucher } => {
                let least = self.sessions.required_amount(Some(chat));
                if voucher.amount < least {
                    return Err(self
                        .payment_error(
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
                opening.await.map_err(|_| pending())?
            }
            SessionAction::Voucher(voucher) => {
                let accepted = channels.accept(&session.descriptor, voucher, now).await;
                accepted.map(|channel| Funded { channel, tx_hash: None })
            }
            SessionAction::TopUp { .. } | SessionAction::Close { .. } => {
                return Err(HttpError::invalid("a top-up or close buys no answer; send it without a body"));
            }
        };
        match authorised {
            Ok(funded) => Ok(funded),
            Err(error) => Err(self.channel_error(error, Some(chat), session.channel).await),
        }
    }

    /// Streams the answer. The channel is open and its voucher taken, and clients give a channel up
    /// when they are answered an error now. So the answer begins before the
    /// upstream is asked, and an error is an event of the stream.
    fn stream(&self, metered: MeteredRequest, terms: ChannelTerms, funded: Funded) -> Response {
        let Funded { channel, tx_hash } = funded;
        let (id, challenge_id) = (channel.id, terms.challenge.clone());
        let (price, prompt_units) = (terms.price, terms.prompt_units);
        // The chain or the examination of files may have taken long; a receipt says when it was made.
        let started_at = clock::after_wait();
        let accepted = channel.accepted();
        let first = receipt(
            &challenge_id,
            &channel,
            accepted,
            Some(Cost { units: 0, prompt_units, price }),
            tx_hash.clone(),
            started_at,
        );
        let waiter = self.sessions.notifier.waiter(id);
        let source = ChannelSource::new(terms, self.sessions.channels.clone(), waiter);
        let (chat, head) = (Arc::clone(&metered.chat), metered.head.clone());
        let (stream, events) = MeteredStream::new(metered, source, self.app.ledger.clone());
        let sessions = Arc::clone(self.sessions);
        self.app.tasks.spawn(async move {
            let summary = stream.run(Box::pin(sessions.upstreams.stream(&chat, &head))).await;
            tracing::info!(channel = %id, units = summary.units, end = summary.end.as_str(), "stream ended");
        });
        let frames = ReceiverStream::new(events).map(move |event| {
            Ok::<_, std::convert::Infallible>(match event {
                StreamEvent::Chunks(chunks) => sse::data(&chunks),
                StreamEvent::Ping => sse::PING,
                StreamEvent::NeedVoucher { required, balance } => sse::need_voucher(id, required, &balance),
                StreamEvent::End(summary) => {
                    let last = summary.balance.unwrap_or(balance(&channel));
                    let cost = Some(Cost { units: summary.units, prompt_units, price });
                    // The stream may have lasted hours.
                    let ended_at = clock::after_wait();
                    let mut receipt =
                        receipt(&challenge_id, &channel, last.accepted, cost, tx_hash.clone(), ended_at);
                    receipt.spent = last.spent.to_base_units();
                    sse::end(&summary, &receipt.to_json())
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
        funded: Funded,
    ) -> Result<Response, HttpError> {
        let Funded { channel, tx_hash } = funded;
        let (price, prompt_units, challenge_id) = (terms.price, terms.prompt_units, terms.challenge.clone());
        let waiter = self.sessions.notifier.waiter(channel.id);
        let source = ChannelSource::new(terms, self.sessions.channels.clone(), waiter);
        let (sessions, ledger) = (Arc::clone(self.sessions), self.app.ledger.clone());
        let (mut answer, answered) = oneshot::channel();
        self.app.tasks.spawn(async move {
            let (chat, head) = (Arc::clone(&metered.chat), metered.head.clone());
            let start = sessions.upstreams.non_streaming(&chat, &head);
            let summary = meter::non_streaming(metered, source, &ledger, start, answer.closed()).await;
            // Nobody waits any more when the client went away.
            let _ = answer.send(summary);
        });
        let AnswerSummary { answer, units, cost: charged } = answered.await.map_err(|_| pending())?;
        let completion = answer.map_err(|error| match error {
            AnswerError::Upstream(error) => upstream_error(&error),
            AnswerError::Superseded => HttpError::new(
                Code::PaymentInProgress,
                "a newer request on this channel, or its close, ended this one; nothing was charged for it",
            ),
            AnswerError::LedgerUnavailable | AnswerError::KeyEnded | AnswerError::ClientGone => {
                unavailable("the ledger")
            }
        })?;
        // The answer is charged, so it leaves even where the channel cannot be read now: sent again, the
        // request would be charged again.
        let stored = self.sessions.channels.find(channel.id).await.ok().flatten();
        let cost = price.checked_mul(units);
        let spent = cost.and_then(|cost| channel.spent.checked_add(cost)).unwrap_or(channel.spent);
        let channel = stored.unwrap_or(Channel { spent, ..channel });
        // The model may have taken minutes; a receipt says when the payment was made.
        let paid_at = clock::after_wait();
        let cost = Some(Cost { units, prompt_units, price });
        let receipt = receipt(&challenge_id, &channel, channel.accepted(), cost, tx_hash, paid_at);
        let mut response = Response::new(Body::from(completion.into_json(Some(charged))));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        with_receipt(&mut response, &receipt);
        Ok(response)
    }
}
