//! Liveness, readiness and metrics, for operators.

use axum::Json;
use axum::extract::{Query, State as AppState};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::funding::{FeeAccount, Payee};
use crate::http::State;
use crate::http::error::HttpError;

/// Liveness.
#[derive(Debug, Serialize, ToSchema)]
pub struct Liveness {
    #[schema(example = "ok")]
    status: &'static str,
}

/// Readiness of what the server depends on.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// `ok`, or the reason it is not.
    #[schema(example = "ok")]
    database: String,
    /// `ok`, or the reason it is not.
    #[schema(example = "ok")]
    chain: String,
    /// Matters that an operator should see to soon. They do not make the server unready.
    warnings: Vec<String>,
}

/// Report that the process runs.
#[utoipa::path(get, path = "/healthz", operation_id = "get_health", tag = "operations", responses((status = 200, description = "The process runs", body = Liveness)))]
pub async fn healthz() -> Json<Liveness> {
    Json(Liveness { status: "ok" })
}

/// Parameters of a question for readiness.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ReadinessParams {
    /// `prepaid`: ready as soon as prepaid customers can be served, who need no chain.
    need: Option<String>,
}

/// Report if the database and the chain answer.
#[utoipa::path(get, path = "/readyz", operation_id = "get_readiness", tag = "operations", params(ReadinessParams), responses(
    (status = 200, description = "Readiness", body = Readiness),
    (status = 503, description = "Something the server depends on does not answer", body = Readiness),
))]
pub async fn readyz(
    AppState(app): AppState<State>,
    Query(params): Query<ReadinessParams>,
) -> Result<Response, HttpError> {
    let needs_chain = match params.need.as_deref() {
        None => true,
        Some("prepaid") => false,
        Some(_) => return Err(HttpError::invalid("need can be prepaid, or is left out")),
    };
    let (database, chain) = app.dependencies.get(&app.db, &app.chain).await;
    let fees: Vec<_> = app.fee_accounts().iter().filter_map(FeeAccount::warning).collect();
    let payees = app.payees.iter().filter_map(Payee::warning);
    let warnings = fees.into_iter().chain(app.key_sales.warnings()).chain(payees).collect();
    let ready = database == "ok" && (chain == "ok" || !needs_chain);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(Readiness { database, chain, warnings })).into_response())
}

/// Writes the metrics in Prometheus' text format.
pub async fn metrics(AppState(app): AppState<State>) -> Response {
    let batch = app.ledger.batch_stats();
    metrics::counter!("farebox_ledger_batches_total").absolute(batch.batches);
    metrics::counter!("farebox_ledger_charges_total").absolute(batch.charges);
    metrics::counter!("farebox_ledger_holds_total").absolute(batch.holds);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics.render()).into_response()
}
