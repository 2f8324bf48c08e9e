//! `GET /v1/models`: the models that a key may use.

use axum::Json;
use axum::extract::{Path, State as AppState};
use axum::http::header::{CACHE_CONTROL, VARY};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::State;
use crate::http::error::OpenAiError;
use crate::http::gates::Bearer;
use crate::http::gates::bearer::KEY_HEADERS;
use crate::http::prepaid::refusal::unknown_model;
use crate::services::chat::{Model, ModelView};

/// A model in the shape of OpenAI's list, with our prices.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelObject {
    #[schema(example = "model")]
    object: &'static str,
    /// Seconds since 1970; models have no such date here.
    created: i64,
    owned_by: String,
    #[serde(flatten)]
    model: ModelView,
}

/// The models a key may use.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelList {
    #[schema(example = "list")]
    object: &'static str,
    data: Vec<ModelObject>,
}

/// List the models that the API key may use.
#[utoipa::path(get, path = "/v1/models", operation_id = "list_models", tag = "prepaid", security(("apiKey" = [])),
    responses(
        (status = 200, description = "OpenAI's list of models, with prices in dollars", body = ModelList),
        (status = 401, description = "missing_api_key, invalid_api_key, inactive_api_key", body = OpenAiError),
        (status = 429, description = "rate_limit_exceeded_rpm", body = OpenAiError),
    ))]
pub async fn list(AppState(app): AppState<State>, bearer: Bearer) -> Response {
    let allowed = app.models.catalog.iter().filter(|model| bearer.key().allows(&model.id));
    let data = allowed.map(|model| object(&app, model)).collect();
    bearer.answer(Ok(cached(ModelList { object: "list", data })))
}

/// Read one model.
#[utoipa::path(get, path = "/v1/models/{id}", operation_id = "get_model", tag = "prepaid", security(("apiKey" = [])),
    params(("id" = String, Path, description = "The model's id")),
    responses(
        (status = 200, description = "The model, with its prices in dollars", body = ModelObject),
        (status = 400, description = "model_not_found", body = OpenAiError),
        (status = 401, description = "missing_api_key, invalid_api_key, inactive_api_key", body = OpenAiError),
        (status = 429, description = "rate_limit_exceeded_rpm", body = OpenAiError),
    ))]
pub async fn detail(AppState(app): AppState<State>, bearer: Bearer, Path(id): Path<String>) -> Response {
    show(&app, &bearer, &id)
}

/// Read one model whose id has a slash.
#[utoipa::path(get, path = "/v1/models/{vendor}/{id}", operation_id = "get_model_of_vendor", tag = "prepaid", security(("apiKey" = [])),
    params(("vendor" = String, Path, description = "The part of the model's id before the slash"),
        ("id" = String, Path, description = "The part after it")),
    responses(
        (status = 200, description = "The model, with its prices in dollars", body = ModelObject),
        (status = 400, description = "model_not_found", body = OpenAiError),
        (status = 401, description = "missing_api_key, invalid_api_key, inactive_api_key", body = OpenAiError),
        (status = 429, description = "rate_limit_exceeded_rpm", body = OpenAiError),
    ))]
pub async fn detail_of_vendor(
    AppState(app): AppState<State>,
    bearer: Bearer,
    Path((vendor, id)): Path<(String, String)>,
) -> Response {
    show(&app, &bearer, &format!("{vendor}/{id}"))
}

fn show(app: &State, bearer: &Bearer, id: &str) -> Response {
    let found = app.models.catalog.get(id).filter(|model| bearer.key().allows(&model.id));
    let answer = found.map(|model| cached(object(app, model)));
    bearer.answer(answer.ok_or_else(|| unknown_model(None)))
}

/// Makes an answer that the client may keep for an hour, as the API's guidance has it.
fn cached(body: impl Serialize) -> Response {
    ([(CACHE_CONTROL, "private, max-age=3600"), (VARY, KEY_HEADERS)], Json(body)).into_response()
}

fn object(app: &State, model: &Model) -> ModelObject {
    let owned_by = app.config.product.name.to_lowercase();
    ModelObject { object: "model", created: 0, owned_by, model: ModelView::from(model) }
}
