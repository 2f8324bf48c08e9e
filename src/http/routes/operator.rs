//! Liveness, readiness and metrics, for operators.

use std::time::Duration;

use axum::Json;
use axum::extract::State as AppState;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::funding::{FeeAccount, Payee};
use crate::http::State;

/// Time within which a dependency must answer to be ready.
const DEPENDENCY_TIMEOUT: Duration = Duration::from_secs(3);

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
#[utoipa::path(get, path = "/healthz", tag = "operations", responses((status = 200, body = Liveness)))]
pub async fn healthz() -> Json<Liveness> {
    Json(Liveness { status: "ok" })
}

/// Report if the database and the chain answer.
#[utoipa::path(get, path = "/readyz", tag = "operations", responses(
    (status = 200, description = "Readiness", body = Readiness),
    (status = 503, description = "Something the server depends on does not answer", body = Readiness),
))]
pub async fn readyz(AppState(app): AppState<State>) -> Response {
    let database = tokio::time::timeout(DEPENDENCY_TIMEOUT, app.db.ping());
    let chain = tokio::time::timeout(DEPENDENCY_TIMEOUT, app.chain.check());
    let (database, chain) = tokio::join!(database, chain);
    let database = match database {
        Ok(Ok(())) => "ok".to_owned(),
        // The driver's text can name hosts and users.
        Ok(Err(_)) => "the database is unreachable".to_owned(),
        Err(_) => format!("the database does not answer within {} s", DEPENDENCY_TIMEOUT.as_secs()),
    };
    let chain = match chain {
        Ok(Ok(())) => "ok".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("the node does not answer within {} s", DEPENDENCY_TIMEOUT.as_secs()),
    };
    let fees: Vec<_> = app.fee_accounts().iter().filter_map(FeeAccount::warning).collect();
    let payees = app.payees.iter().filter_map(Payee::warning);
    let warnings = fees.into_iter().chain(app.key_sales.warnings()).chain(payees).collect();
    let ready = database == "ok" && chain == "ok";
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { database, chain, warnings })).into_response()
}

/// Writes the metrics in Prometheus' text format.
pub async fn metrics(AppState(app): AppState<State>) -> Response {
    let batch = app.ledger.batch_stats();
    metrics::counter!("farebox_ledger_batches_total").absolute(batch.batches);
    metrics::counter!("farebox_ledger_charges_total").absolute(batch.charges);
    metrics::counter!("farebox_ledger_holds_total").absolute(batch.holds);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics.render()).into_response()
}
