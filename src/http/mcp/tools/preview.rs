//! `pii_preview`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{ToolCall, ToolOutput};
use crate::funding::Paid;
use crate::http::error::{Code, HttpError};
use crate::http::gates::payment;
use crate::http::prepaid::{PrepaidRequest, preview, top_up};
use crate::money::Money;
use crate::services::preview::PreviewRequest;

/// A text to examine.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PreviewArguments {
    text: String,
    entities: Option<Vec<String>>,
    model: Option<String>,
}

impl PreviewArguments {
    /// Returns the body of the same request at `/v1/pii/preview`.
    fn into_body(self) -> String {
        let mut body = json!({ "text": self.text });
        if let Some(entities) = self.entities {
            body["piiEntities"] = entities.into();
        }
        if let Some(model) = self.model {
            body["piiConfig"] = json!({ "model": model });
        }
        body.to_string()
    }
}

/// Examines a text: from the account's credits, or paid by the call.
pub(super) async fn run(call: &ToolCall) -> Result<ToolOutput, HttpError> {
    let body = call.read::<PreviewArguments>()?.into_body();
    if call.request.access.is_some() {
        from_credits(call, &body).await
    } else {
        by_the_call(call, &body).await
    }
}

async fn from_credits(call: &ToolCall, body: &str) -> Result<ToolOutput, HttpError> {
    let key = call.key()?;
    let request = PrepaidRequest {
        body,
        idempotency_key: call.idempotency_key()?,
        id: call.request.id.clone(),
        at: call.request.at,
    };
    let answer = preview::run(&call.app, key, &request);
    let (answered, paid) = top_up::answer(&call.app, key, &call.payable()?, answer).await?;
    let mut structured = shown(&answered.answer, answered.cost)?;
    if let Some(balance) = answered.balance {
        structured["balanceUsd"] = balance.to_dollars().into();
    }
    Ok(ToolOutput { structured, paid, more: Vec::new() })
}

async fn by_the_call(call: &ToolCall, body: &str) -> Result<ToolOutput, HttpError> {
    let app = &call.app;
    let preview = PreviewRequest::parse(body, app.preview_terms(), &app.examiner)?;
    let request = call.payable()?;
    let requirement = request.requirement(app.offers.preview.clone(), "pii.preview");
    let examiner = app.examiner.clone();
    let work = move |paid: Paid| async move {
        Ok(preview.run(&examiner.for_account(paid.payer().name())).await?.release(&paid))
    };
    let delivery = payment::sell(app, request, requirement, work).await?;
    let structured = shown(&delivery.answer, app.config.pii.preview_price)?;
    Ok(ToolOutput { structured, paid: Some(delivery), more: Vec::new() })
}

/// Returns a preview as the output schema has it.
fn shown(answer: &str, cost: Money) -> Result<Value, HttpError> {
    let unreadable = || HttpError::new(Code::InternalError, "the answer cannot be read; it was charged");
    let answer: Value = serde_json::from_str(answer).map_err(|_| unreadable())?;
    let entities = answer["entities"].as_array().ok_or_else(unreadable)?.iter();
    let entities: Vec<Value> = entities
        .map(|found| {
            json!({ "type": found["type"], "start": found["start"], "end": found["end"], "score": found["score"] })
        })
        .collect();
    Ok(json!({
        "redactedText": answer["redactedText"],
        "counts": answer["counts"],
        "entities": entities,
        "costUsd": cost.to_dollars(),
    }))
}
