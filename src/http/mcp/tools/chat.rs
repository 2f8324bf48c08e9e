//! `chat`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{ToolCall, ToolOutput};
use crate::http::error::{Code, HttpError};
use crate::http::prepaid::chat::{AcceptedChat, PaidCompletion};
use crate::http::prepaid::{PrepaidRequest, top_up};

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

/// Asks a model, charged from the account.
pub(super) async fn ask(call: &ToolCall) -> Result<ToolOutput, HttpError> {
    let body = call.read::<ChatArguments>()?.into_body()?;
    let key = call.key()?;
    let request = PrepaidRequest {
        body: &body,
        idempotency_key: call.idempotency_key()?,
        id: call.request.id.clone(),
        at: call.request.at,
    };
    let answer = async {
        let accepted = AcceptedChat::new(&call.app, key, request).await?;
        let replaced = accepted.replaced().cloned();
        Ok((accepted.answer().await?, replaced))
    };
    let ((paid, replaced), delivery) = top_up::answer(&call.app, key, &call.payable()?, answer).await?;
    let mut structured = shown(paid)?;
    if let Some(replaced) = replaced {
        structured.insert("replaced".into(), json!(replaced));
    }
    Ok(ToolOutput { structured: Value::Object(structured), paid: delivery, more: Vec::new() })
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
