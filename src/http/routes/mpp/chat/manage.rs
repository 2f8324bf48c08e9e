//! Operations of a session beside its answers: vouchers, top-ups, the close, and
//! the balance of a channel for a client that lost its state.

use std::sync::Arc;

use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use mpp::protocol::core::PaymentCredential;
use serde::{Deserialize, Serialize};

use super::reply::{PAYMENT_SESSION, no_content, pending, receipt, unavailable};
use super::session_request::SessionRequest;
use crate::funding::Paid;
use crate::http::clock;
use crate::http::error::{Code, HttpError};
use crate::http::gates::{delivery, payment};
use crate::payments::methods::tempo::session::SessionAction;

/// Header with the balance of a client's channel.
const PAYMENT_SESSION_SNAPSHOT: HeaderName = HeaderName::from_static("payment-session-snapshot");

impl SessionRequest<'_> {
    /// Takes a voucher, a top-up or a close; also an open that buys nothing yet.
    pub(super) async fn manage(&self, credential: &PaymentCredential) -> Result<Response, HttpError> {
        let session = self.verify(credential, None)?;
        let channels = self.sessions.channels.clone();
        let now = self.request.at;
        let id = session.channel;
        let challenge_id = session.challenge().id.clone();
        // A task of its own: a client that goes away must not stop a
        // transaction half-way.
        let least = self.sessions.required_amount(None);
        let sponsored = self.sponsored;
        let managed = self.app.tasks.spawn(async move {
            match &session.action {
                SessionAction::Voucher(voucher) => {
                    let channel = channels.accept(&session.descriptor, voucher, now).await?;
                    Ok((channel, None, voucher.amount))
                }
                SessionAction::Open { transaction, voucher } => {
                    let opened = channels
                        .open(&session.descriptor, transaction, voucher, sponsored, least, now)
                        .await?;
                    Ok((opened.channel, opened.tx_hash, voucher.amount))
                }
                SessionAction::TopUp { transaction, additional } => {
                    let funded = channels
                        .top_up(id, &session.descriptor, transaction, *additional, sponsored, now)
                        .await?;
                    let accepted = funded.channel.accepted();
                    Ok((funded.channel, funded.tx_hash, accepted))
                }
                SessionAction::Close { voucher, authorization } => {
                    let authorized =
                        channels.authorizes(&session.descriptor, voucher, authorization.as_deref());
                    let closed = channels.close(voucher, authorized, now).await?;
                    let hash = closed.close_hash.clone();
                    Ok((closed, hash, voucher.amount))
                }
            }
        });
        let managed = managed.await.map_err(|_| pending())?;
        self.sessions.notifier.notify(id);
        match managed {
            Ok((channel, tx_hash, accepted)) => {
                // The chain may have taken `chain.confirm_timeout_ms`; a receipt says when the payment was made.
                let paid_at = clock::after_wait();
                let receipt = receipt(&challenge_id, &channel, accepted, None, tx_hash, paid_at);
                Ok(no_content(&receipt))
            }
            Err(error) => Err(self.channel_error(error, None, id).await),
        }
    }

    /// Answers a zero-amount proof of the wallet with its channel. The answer is the same each time that the proof is
    /// presented: a client that lost the first one must not take its wallet for one without a channel.
    pub(super) async fn bootstrap(&self) -> Result<Response, HttpError> {
        let sessions = Arc::clone(self.sessions);
        let offers = self.app.offers.account.clone();
        let find = move |paid: Paid| async move {
            let channel = sessions.channels.of_payer(paid.payer()).await.map_err(|error| {
                tracing::error!(%error, "the channels of a wallet cannot be read");
                unavailable("the channel records")
            })?;
            let found = channel.map(|channel| ResumedChannel {
                session: channel.id.to_string(),
                snapshot: channel.snapshot().to_header(sessions.channels.terms(), channel.accepted()),
            });
            Ok(serde_json::to_string(&found).expect("plain data is valid JSON"))
        };
        let delivery = payment::prove(self.app, self.request, offers, "session", find).await?;
        let found: Option<ResumedChannel> = serde_json::from_str(&delivery.answer).map_err(|_| {
            HttpError::new(Code::InternalError, "the answer cannot be read; sign a new challenge")
        })?;
        let mut response = StatusCode::NO_CONTENT.into_response();
        delivery::with_receipt(&mut response, &delivery);
        if let Some(ResumedChannel { session, snapshot }) = found {
            for (name, value) in [(PAYMENT_SESSION, session), (PAYMENT_SESSION_SNAPSHOT, snapshot)] {
                if let Ok(value) = HeaderValue::try_from(value) {
                    response.headers_mut().insert(name, value);
                }
            }
        }
        delivery::delivered(self.app, delivery.payment);
        Ok(response)
    }
}

/// Headers of the answer to a wallet that has a channel.
#[derive(Debug, Serialize, Deserialize)]
struct ResumedChannel {
    session: String,
    snapshot: String,
}
