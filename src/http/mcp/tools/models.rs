//! `list_models`.

use serde_json::json;

use super::{ToolCall, ToolOutput};
use crate::http::error::HttpError;
use crate::services::chat::ModelView;

/// Arguments of a tool that takes none.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoArguments {}

/// Lists the models that the caller may ask.
pub(super) fn list(call: &ToolCall) -> Result<ToolOutput, HttpError> {
    let NoArguments {} = call.read()?;
    let key = call.request.access.as_deref().map(|access| access.key());
    let models = call.app.models.catalog.iter();
    let allowed = models.filter(|model| key.is_none_or(|key| key.allows(&model.id)));
    let models: Vec<_> = allowed.map(|model| shown(&ModelView::from(&**model))).collect();
    Ok(json!({ "models": models }).into())
}

fn shown(model: &ModelView) -> serde_json::Value {
    json!({
        "id": model.id,
        "description": model.description,
        "pricePerMillionInputTokens": model.price_per_million_input_tokens,
        "pricePerMillionOutputTokens": model.price_per_million_output_tokens,
        "contextLength": model.context_length,
        "maxOutputTokens": model.max_output_tokens,
    })
}
