//! `/mpp`: pay per request, without an account.

pub mod chat;
pub mod purchase;

use std::sync::Arc;

use axum::extract::State as AppState;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::funding::Paid;
use crate::http::State;
use crate::http::error::{Code, HttpError, Problem};
use crate::http::gates::payment;
use crate::http::request::{Received, ReceivedWithFiles};
use crate::id::AccountId;
use crate::ledger::{Balance, LedgerError};
use crate::money::Money;
use crate::payments::http::CREDENTIAL_HEADERS;
use crate::payments::{Offer, Payment};
use crate::services::pii::ExaminationError;
use crate::services::preview::{PreviewAnswer, PreviewBody, PreviewError, PreviewRequest};

/// Payments shown with an account.
const PAYMENTS_SHOWN: i64 = 50;

/// Find and redact personal data in text, images and PDFs.
///
/// Give `text`, or `messages` in the shape of chat completions, and `images` and
/// `pdfs`. Answers what was found, where (in characters and in bytes of your text,
/// in boxes of images and pages), and the same without it. Nothing is stored but
/// the redacted answer, until you have it.
#[utoipa::path(post, path = "/mpp/pii/preview", operation_id = "mpp_preview_personal_data", tag = "payable",
    params(
        ("feePayer" = Option<bool>, Query, description = "true: the server pays the network fee, where it offers that"),
        ("Idempotency-Key" = Option<String>, Header, description = "Lets the same credential fetch the same answer again"),
    ),
    request_body(content = PreviewBody, example = json!({"text": "Mail jane@example.com or call +1 415 555 2671."})),
    responses(
        (status = 200, description = "What was found, with a Payment-Receipt header", body = PreviewAnswer),
        (status = 400, description = "The request cannot be used; free", body = Problem, content_type = "application/problem+json"),
        (status = 402, description = "Payment Required: pay a challenge of WWW-Authenticate", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "This credential was used and delivered", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Another request works on this credential", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Too large; free", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Not JSON; free", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Outcome open or a part is down: send the same again", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn preview(
    AppState(app): AppState<State>,
    ReceivedWithFiles(request): ReceivedWithFiles,
) -> Result<Response, HttpError> {
    let sponsored = request.flag("feePayer")?;
    let offered = if sponsored { app.offers.preview_sponsored.as_ref() } else { Some(&app.offers.preview) };
    if let Some(offers) = offered {
        payment::probe(&app, &request, offers, "pii.preview").await?;
    }
    let preview =
        request.parse_json(|text| PreviewRequest::parse(text, app.preview_terms(), &app.examiner))??;
    let offers = if sponsored { sponsored_offers(&app, &request)? } else { &app.offers.preview };
    let examiner = app.examiner.clone();
    payment::charge(&app, &request, offers.clone(), "pii.preview", move |paid: Paid| async move {
        Ok(preview.run(&examiner.for_account(paid.payer().name())).await?.release(&paid))
    })
    .await
}

fn sponsored_offers<'a>(app: &'a App, request: &Received) -> Result<&'a Arc<[Offer]>, HttpError> {
    check_sponsor(app, request)?;
    app.offers.preview_sponsored.as_ref().ok_or_else(not_sponsored)
}

/// Checks that network fees are sponsored, and can be now. Who comes with a payment
/// is past asking for one, and its answer may be waiting.
///
/// # Errors
/// 400 or 503, with what to do instead.
pub fn check_sponsor(app: &App, request: &Received) -> Result<(), HttpError> {
    let sponsor = app.sponsor.as_ref().ok_or_else(not_sponsored)?;
    let pays = CREDENTIAL_HEADERS.iter().any(|name| request.headers.contains_key(*name));
    if pays || sponsor.account().is_funded() {
        return Ok(());
    }
    Err(HttpError::new(
        Code::ServiceUnavailable,
        "network fees cannot be sponsored at the moment; leave out feePayer, or try again later",
    )
    .retry_after(60))
}

fn not_sponsored() -> HttpError {
    HttpError::invalid("this server does not pay network fees; leave out feePayer")
}

/// A wallet's standing.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountView {
    /// The wallet that proved itself.
    wallet: String,
    balance: BalanceView,
    /// The latest payments, newest first.
    payments: Vec<PaymentView>,
}

/// Dollars. `available = credited - spent - held`.
#[derive(Debug, Serialize, ToSchema)]
pub struct BalanceView {
    #[schema(example = "0.05")]
    credited: String,
    #[schema(example = "0.05")]
    spent: String,
    #[schema(example = "0.00")]
    held: String,
    #[schema(example = "0.00")]
    available: String,
    /// Credit of refunded card payments that was spent before; the next credit meets it first.
    #[schema(example = "0.00")]
    debt: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PaymentView {
    challenge_id: String,
    /// claimed, broadcast, settled, delivered or failed.
    state: &'static str,
    route: String,
    amount: String,
    /// TIP-20 token address.
    currency: String,
    transaction: Option<String>,
    /// The Payment-Receipt header's value, once settled.
    receipt: Option<String>,
    created_at: String,
}

/// Show a wallet's balance and payments.
///
/// Free, but the wallet must prove itself: the challenge asks for zero, and is
/// answered with a signature (`type="proof"`).
#[utoipa::path(get, path = "/mpp/account", operation_id = "mpp_account", tag = "free", security(("wallet" = [])),
    responses(
        (status = 200, description = "Balance and payments of the wallet that signed", body = AccountView),
        (status = 402, description = "Sign the zero-amount challenge of WWW-Authenticate", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "This proof was used", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "A part is down: send the same again", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn account(AppState(app): AppState<State>, request: Received) -> Result<Response, HttpError> {
    let seller = app.clone();
    payment::charge(&app, &request, app.offers.account.clone(), "account", move |paid: Paid| async move {
        statement(&seller, paid.payer().name().to_owned()).await
    })
    .await
}

async fn statement(app: &State, wallet: String) -> Result<String, HttpError> {
    let down =
        || HttpError::new(Code::ServiceUnavailable, "the ledger cannot be read; try again").retry_after(2);
    let account = AccountId::wallet(&wallet).map_err(|_| down())?;
    let balance = app.ledger.balance(&account).await.map_err(|error: LedgerError| {
        tracing::error!(%error, "balance");
        down()
    })?;
    let payments = app.charges.payments().of_payer(&wallet, PAYMENTS_SHOWN).await.map_err(|error| {
        tracing::error!(%error, "payments of a wallet");
        down()
    })?;
    let debt = app.cards.debt(&account).await.map_err(|error| {
        tracing::error!(%error, "debt of a wallet");
        down()
    })?;
    let account = AccountView {
        wallet,
        balance: BalanceView::new(balance, debt),
        payments: payments.into_iter().map(PaymentView::from).collect(),
    };
    Ok(serde_json::to_string(&account).expect("plain strings are valid JSON"))
}

impl BalanceView {
    fn new(balance: Balance, debt: Money) -> Self {
        Self {
            credited: balance.credited().to_dollars(),
            spent: balance.spent().to_dollars(),
            held: balance.held().to_dollars(),
            available: balance.available().to_dollars(),
            debt: debt.to_dollars(),
        }
    }
}

impl From<Payment> for PaymentView {
    fn from(payment: Payment) -> Self {
        Self {
            state: payment.state.as_str(),
            amount: payment.amount.to_dollars(),
            transaction: payment.transaction().map(str::to_owned),
            receipt: payment.receipt().map(str::to_owned),
            created_at: payment.created_at.to_rfc3339(),
            challenge_id: payment.id,
            route: payment.resource,
            currency: payment.currency,
        }
    }
}

impl From<PreviewError> for HttpError {
    fn from(error: PreviewError) -> Self {
        match error {
            PreviewError::Examination(why) => why.into(),
            error if error.is_too_large() => Self::new(Code::PayloadTooLarge, error.to_string()),
            error => Self::new(Code::InvalidParams, error.to_string()),
        }
    }
}

impl From<ExaminationError> for HttpError {
    fn from(why: ExaminationError) -> Self {
        match why {
            ExaminationError::Busy => Self::new(Code::ServiceUnavailable, why.to_string()).retry_after(2),
            ExaminationError::TooSlow(_) => Self::new(Code::InvalidParams, why.to_string()),
            ExaminationError::Failed => Self::new(Code::InternalError, why.to_string()),
        }
    }
}
