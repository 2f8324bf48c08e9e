//! `POST /api/v1/billing/webhook`: Stripe's events of payments.

use axum::extract::State as AppState;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::funding::card::{CardChange, CardEvent};
use crate::http::State;
use crate::http::error::{Code, HttpError};
use crate::http::gates::wallet::answer;
use crate::http::request::Received;
use crate::id::{RequestId, Timestamp};

const NOT_CONFIGURED: &str =
    "card payments are not configured on this server, so it takes no events of a card processor";

/// Confirmation that an event is recorded, or of no concern.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventReceived {
    received: bool,
    #[schema(value_type = String)]
    request_id: RequestId,
}

/// Take Stripe's events.
///
/// For Stripe alone: the signature over the raw body is checked. An event is answered with 200
/// only when it is recorded, so Stripe sends it again otherwise.
#[utoipa::path(post, path = "/api/v1/billing/webhook", operation_id = "receive_card_event", tag = "billing",
    params(("Stripe-Signature" = String, Header)),
    responses((status = 200, description = "Recorded, or of no concern", body = EventReceived), (status = 400, description = "Not Stripe's"),
        (status = 404, description = "No card payments here"),
        (status = 500, description = "billing_error: not recorded, send it again")))]
pub async fn webhook(AppState(app): AppState<State>, request: Received) -> Result<Response, HttpError> {
    let stripe = app.cards.stripe().ok_or_else(|| HttpError::new(Code::NotFound, NOT_CONFIGURED))?;
    let now = request.at;
    let signature = request.header("stripe-signature").unwrap_or_default();
    if let Err(error) = stripe.verify(signature, &request.body, now) {
        metrics::counter!("farebox_card_webhooks_refused_total").increment(1);
        tracing::warn!(%error, "a webhook was refused");
        return Err(HttpError::invalid(error.to_string()));
    }
    let event = CardEvent::read(&request.body).map_err(|error| {
        // Signed, so this is Stripe's: somebody should look at it.
        tracing::error!(%error, "an event of the card processor cannot be read");
        HttpError::invalid(error.to_string())
    })?;
    // In a task of its own: a connection that breaks must not stop it half-way.
    let recorded = app.tasks.spawn({
        let app = app.clone();
        async move { record(&app, event, now).await }
    });
    recorded.await.unwrap_or_else(|_| Err(not_recorded()))?;
    Ok(answer(StatusCode::OK, &EventReceived { received: true, request_id: request.id }))
}

async fn record(app: &App, event: CardEvent, now: Timestamp) -> Result<(), HttpError> {
    let (payment, change) = match event {
        CardEvent::Paid { checkout, payment, amount } => (payment, CardChange::Paid { checkout, amount }),
        CardEvent::Refunded { payment, amount } => (payment, CardChange::Refunded(amount)),
        CardEvent::Refund { payment, refund, amount, failed } => {
            (payment, CardChange::Refund { refund, amount, failed })
        }
        CardEvent::Disputed { payment, amount } => (payment, CardChange::Disputed(amount)),
        CardEvent::DisputeWon { payment, amount } => (payment, CardChange::DisputeWon(amount)),
        CardEvent::InquiryClosed { payment, amount } => (payment, CardChange::InquiryClosed(amount)),
        CardEvent::Failed { checkout } => {
            return app.cards.fail(&checkout).await.map_err(|error| {
                tracing::error!(%error, "a failed card payment cannot be recorded");
                not_recorded()
            });
        }
        CardEvent::Other => return Ok(()),
    };
    let applied = app.cards.apply_change(&payment, &change, now).await;
    applied.map(drop).map_err(|error| {
        tracing::error!(payment, %error, "a card payment cannot be recorded");
        not_recorded()
    })
}

fn not_recorded() -> HttpError {
    HttpError::new(Code::BillingError, "the event could not be recorded; send it again")
}
