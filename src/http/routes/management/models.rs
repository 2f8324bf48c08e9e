//! `/api/v1/models`: the models that are sold, for everybody.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State as AppState;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::http::State;
use crate::services::chat::Model;

/// Models that are sold, with all prices.
#[derive(Debug, Serialize, ToSchema)]
pub struct SoldModels {
    models: Vec<SoldModel>,
}

/// A model and its prices.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SoldModel {
    #[schema(example = "small")]
    id: String,
    /// Its description, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Tokens of prompt and answer together.
    #[schema(example = 128_000)]
    context_length: u64,
    /// Tokens of the longest answer.
    #[schema(example = 16_384)]
    max_output_tokens: u64,
    prices: SoldModelPrices,
    /// False while none of its upstreams answers. Requests are tried nevertheless.
    available: bool,
}

/// Prices in dollars.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SoldModelPrices {
    /// A million tokens of the prompt.
    #[schema(example = "0.20")]
    input_per_million: String,
    /// A million tokens of the answer, with prepaid credits.
    #[schema(example = "0.80")]
    output_per_million: String,
    /// A chunk of the answer, on a payment channel; `null` where there are none.
    #[schema(example = "0.0001")]
    per_chunk: Option<String>,
    /// Prices of what is counted apart, with prepaid credits: a million tokens of a kind, and `request`.
    #[schema(example = json!({"cachedInput": "0.02"}))]
    items: BTreeMap<&'static str, String>,
}

impl SoldModel {
    fn new(app: &App, model: &Model) -> Self {
        let description = Some(&model.description).filter(|text| !text.is_empty());
        let per_chunk = app.sessions.as_ref().map(|_| model.price_per_chunk.to_dollars());
        Self {
            id: model.id.clone(),
            name: description.cloned(),
            context_length: model.context_length,
            max_output_tokens: model.max_output_tokens,
            prices: SoldModelPrices {
                input_per_million: model.tariff.input.to_dollars(),
                output_per_million: model.tariff.output.to_dollars(),
                per_chunk,
                items: model.prices.named().map(|(name, price)| (name, price.to_dollars())).collect(),
            },
            available: app.models.upstreams.are_available(&model.id),
        }
    }
}

/// List the models that are sold, with all prices.
#[utoipa::path(get, path = "/api/v1/models", operation_id = "list_sold_models", tag = "models",
    responses((status = 200, description = "`models`, in the operator's order", body = SoldModels)))]
pub async fn list(AppState(app): AppState<State>) -> Response {
    let models = app.models.catalog.iter().map(|model| SoldModel::new(&app, model)).collect();
    ([(CACHE_CONTROL, "public, max-age=60")], Json(SoldModels { models })).into_response()
}
