//! `chat`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{ToolCall, ToolOutput};
use crate::http::error::{Code, HttpError};
use crate::http::gates::{RatedKey, payment};
use crate::http::prepaid::chat::{self, AcceptedChat, PaidCompletion};
use crate::http::prepaid::{PrepaidRequest, top_up};
use crate::money::Money;

/// A question to a model.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ChatArguments {
    model: String,
    prompt: Option<String>,
    messages: Option<Vec<ChatTurn>>,
    max_tokens: Option<u64>,
    temperature: Option<f64>,
    privacy_mode: Option<String>,
    urls: Option<Vec<String>>,
}

/// One message of a conversation.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ChatTurn {
    role: String,
    content: String,
}

/// Asks a model: from the account's credits, or paid by the call.
pub(super) async fn ask(call: &ToolCall) -> Result<ToolOutput, HttpError> {
    let arguments: ChatArguments = call.read()?;
    if call.request.access.is_some() {
        from_credits(call, arguments).await
    } else {
        by_the_call(call, arguments).await
    }
}

async fn from_credits(call: &ToolCall, arguments: ChatArguments) -> Result<ToolOutput, HttpError> {
    let body = arguments.into_body()?;
    let key = call.key()?;
    let answer = answer(call, key, request(call, &body, call.idempotency_key()?));
    let (structured, paid) = top_up::answer(&call.app, key, &call.payable()?, answer).await?;
    Ok(ToolOutput { structured: Value::Object(structured), paid, more: Vec::new() })
}

/// Idempotency key of a call that a payment was made for: it is charged once.
const PAID_CALL: &str = "paid call";

/// Asks a model for whoever pays what the answer can cost at the most: that is credited to its wallet before a model is
/// asked, and the answer is charged from it.
async fn by_the_call(call: &ToolCall, arguments: ChatArguments) -> Result<ToolOutput, HttpError> {
    if arguments.urls.is_some() {
        let detail = "`urls` are read for accounts alone, at /mcp; put the text into the prompt";
        return Err(HttpError::invalid(detail).param("urls"));
    }
    let (app, body) = (&call.app, arguments.into_body()?);
    let request = request(call, &body, Some(PAID_CALL.to_owned()));
    let price = chat::price_ahead(app, &request)?;
    let payable = call.payable()?;
    let requirement = payable.requirement(app.offers.call(price), "credits");
    let (delivery, key) = payment::sell_credit(app, payable, requirement).await?;
    let wallet = key.key().owner.clone();
    let mut structured =
        answer(call, &key, request).await.map_err(|error| after_payment(error, price, &wallet))?;
    structured.insert("paidUsd".into(), price.to_dollars().into());
    structured.insert("wallet".into(), wallet.into());
    Ok(ToolOutput { structured: Value::Object(structured), paid: Some(delivery), more: Vec::new() })
}

/// Says of a call that was paid and not answered where the money is.
fn after_payment(error: HttpError, paid: Money, wallet: &str) -> HttpError {
    let paid = paid.to_dollars();
    if error.code == Code::IdempotencyKeyReused {
        return HttpError::new(
            Code::CredentialSpent,
            format!(
                "the call of this payment was charged: it was answered, or its client left when a model had it. What is left \
                 of the ${paid} are credits of the wallet {wallet}, which its API keys spend; pay for a new call"
            ),
        );
    }
    let detail = format!(
        "{}. The ${paid} that were paid are credits of the wallet {wallet}: make the same call again with the same \
         credential, or spend them with an API key that the wallet makes by signature (POST /api/v1/keys)",
        error.detail.trim_end_matches('.')
    );
    HttpError { detail, ..error }
}

fn request<'a>(call: &ToolCall, body: &'a str, idempotency_key: Option<String>) -> PrepaidRequest<'a> {
    PrepaidRequest { body, idempotency_key, id: call.request.id.clone(), at: call.request.at }
}

/// Asks the model, and returns its answer as the output schema has it.
async fn answer(
    call: &ToolCall,
    key: &RatedKey,
    request: PrepaidRequest<'_>,
) -> Result<Map<String, Value>, HttpError> {
    let accepted = AcceptedChat::new(&call.app, key, request).await?;
    let replaced = accepted.replaced().cloned();
    let mut structured = shown(accepted.answer().await?)?;
    if let Some(replaced) = replaced {
        structured.insert("replaced".into(), json!(replaced));
    }
    Ok(structured)
}

impl ChatArguments {
    /// Returns the body of the same request at `/v1/chat/completions`.
    fn into_body(self) -> Result<String, HttpError> {
        let messages = match (self.prompt, self.messages) {
            (Some(prompt), None) => vec![ChatTurn { role: "user".into(), content: prompt }],
            (None, Some(messages)) => messages,
            (Some(_), Some(_)) | (None, None) => {
                return Err(HttpError::invalid("send either `prompt` or `messages`"));
            }
        };
        let mut body = json!({ "model": self.model, "messages": messages });
        let optional = [
            ("max_tokens", self.max_tokens.map(Value::from)),
            ("temperature", self.temperature.map(Value::from)),
            ("privacyMode", self.privacy_mode.map(Value::from)),
            ("urls", self.urls.map(Value::from)),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                body[name] = value;
            }
        }
        Ok(body.to_string())
    }
}

/// Returns an answer as the output schema has it.
fn shown(paid: PaidCompletion) -> Result<Map<String, Value>, HttpError> {
    let completion: Value = serde_json::from_slice(&paid.completion.into_json(None)).map_err(|_| {
        HttpError::new(Code::InternalError, "the model's answer cannot be read; it was charged")
    })?;
    let choice = &completion["choices"][0];
    let text = choice["message"]["content"].as_str().or_else(|| choice["message"]["refusal"].as_str());
    let mut structured = Map::new();
    let members = [
        ("text", Value::from(text.unwrap_or_default())),
        ("model", completion["model"].clone()),
        ("finishReason", choice["finish_reason"].clone()),
        ("promptTokens", completion["usage"]["prompt_tokens"].clone()),
        ("completionTokens", completion["usage"]["completion_tokens"].clone()),
        ("costUsd", paid.cost.to_dollars().into()),
    ];
    structured.extend(members.map(|(name, value)| (name.to_owned(), value)));
    if let Some(balance) = paid.balance {
        structured.insert("balanceUsd".into(), balance.to_dollars().into());
    }
    Ok(structured)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_become_the_body_of_a_chat_request() {
        let body = |arguments: Value| {
            let read: ChatArguments = serde_json::from_value(arguments).expect("valid");
            read.into_body().map(|body| serde_json::from_str::<Value>(&body).expect("JSON")).ok()
        };
        assert_eq!(
            body(json!({"model": "m", "prompt": "Hi", "maxTokens": 5, "privacyMode": "redact"})),
            Some(json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5,
                "privacyMode": "redact"}))
        );
        let turns = json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]);
        assert_eq!(
            body(json!({"model": "m", "messages": turns})),
            Some(json!({"model": "m", "messages": turns}))
        );
        assert_eq!(body(json!({"model": "m"})), None);
        assert_eq!(body(json!({"model": "m", "prompt": "Hi", "messages": []})), None);
    }
}
