//! `/api/v1/billing/receipts`: one credit of a wallet, for print.

use std::fmt::Write as _;

use axum::extract::{Path, State as AppState};
use axum::response::Response;

use super::pages::page;
use crate::app::App;
use crate::funding::card::CardPaymentStanding;
use crate::http::State;
use crate::http::error::{Code, HttpError};
use crate::http::gates::wallet::{Ledger, WalletSigned, unavailable};
use crate::http::html::escape;
use crate::id::SourceRef;
use crate::ledger::Credit;
use crate::money::Money;

/// Show a receipt of one credit, for print.
///
/// `source` is that of the credit in the ledger, percent-encoded.
#[utoipa::path(get, path = "/api/v1/billing/receipts/{source}", operation_id = "get_receipt", tag = "billing",
    params(("source" = String, Path), ("walletAddress" = String, Query), ("message" = String, Query),
        ("signature" = String, Query)),
    security(("walletMessage" = [])),
    responses((status = 200, description = "A page for people", content_type = "text/html"), (status = 401, description = "missing_wallet_auth"),
        (status = 403, description = "The signature does not count"), (status = 404, description = "No such credit of this wallet")))]
pub async fn receipt(
    AppState(app): AppState<State>,
    Path(source): Path<String>,
    signed: WalletSigned<Ledger>,
) -> Result<Response, HttpError> {
    let account = signed.authorize_read(&app).await?;
    let found = match SourceRef::parse(&source) {
        Ok(source) => app.ledger.credit_of(account, &source).await.map_err(|error| unavailable(&error))?,
        Err(_) => None,
    };
    let credit = found.ok_or_else(|| {
        HttpError::new(
            Code::NotFound,
            "this wallet has no credit of that source; GET /api/v1/billing/ledger names it",
        )
    })?;
    let payment = app.cards.payment(&credit.source).await.map_err(|error| unavailable(&error))?;
    Ok(page(&app, "Receipt", &body(&app, &signed.wallet(), &credit, payment)))
}

/// Writes the lines of a receipt.
fn body(app: &App, wallet: &str, credit: &Credit, payment: Option<CardPaymentStanding>) -> String {
    let dollars = |amount: Money| format!("${}", amount.to_dollars());
    let mut lines = vec![
        ("Date", credit.created_at.to_rfc3339()),
        ("Seller", app.config.product.name.clone()),
        ("Account", wallet.to_owned()),
        ("Credits", dollars(credit.amount)),
    ];
    lines.extend(app.config.product.contact.clone().map(|contact| ("Contact", contact)));
    if let Some(payment) = payment {
        lines.push(("Paid by card", dollars(payment.paid)));
        if payment.given_back().is_positive() {
            lines.push(("Refunded", dollars(payment.given_back())));
        }
        if payment.is_disputed() {
            lines.push(("Disputed", dollars(payment.disputed)));
        }
    }
    lines.push(("Reference", credit.source.to_string()));
    let mut list = String::from("<dl>");
    for (name, value) in lines {
        let _ = write!(list, "<dt>{name}</dt><dd>{}</dd>", escape(&value));
    }
    list.push_str("</dl>");
    list
}
