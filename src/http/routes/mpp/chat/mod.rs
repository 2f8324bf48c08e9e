//! `POST /mpp/chat/completions`: a metered answer, paid from a channel.
//!
//! This resource takes everything a session needs: the paid requests
//! themselves, and, without a body or by HEAD, vouchers, top-ups and the close
//! (draft-tempo-session-00, "Voucher Submission Transport").

mod answer;
mod manage;
mod reply;
mod session_request;

use axum::Json;
use axum::extract::State as AppState;
use axum::http::header::ALLOW;
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use mpp::protocol::core::PaymentCredential;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::State;
use crate::http::error::{Code, HttpError, Problem};
use crate::http::gates::payment::PROBE_DETAIL;
use crate::http::request::{Received, ReceivedWithFiles};
use crate::payments::Intent;
use crate::services::chat::{EntityCounts, ModelView};
use crate::services::preview::ConfigBody;
use session_request::SessionRequest;

/// Models that are sold, with their prices.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelPrices {
    data: Vec<ModelView>,
}

/// List the models and their prices.
#[utoipa::path(get, path = "/mpp/models", operation_id = "mpp_list_models", tag = "free",
    responses((status = 200, description = "Models, with prices in dollars", body = ModelPrices)))]
pub async fn models(AppState(app): AppState<State>) -> Json<ModelPrices> {
    Json(ModelPrices {
        data: app.sessions.as_ref().map(|sessions| sessions.catalog.view()).unwrap_or_default(),
    })
}

/// Chat, metered and paid per chunk from a payment channel.
///
/// OpenAI's chat completions; with `stream` the answer is paid chunk by chunk
/// with signed cumulative vouchers, each chunk before it leaves. A request that
/// is sent again is served and charged again unless it has an `Idempotency-Key`;
/// vouchers, top-ups, opens and closes can be repeated freely.
#[utoipa::path(post, path = "/mpp/chat/completions", operation_id = "mpp_create_chat_completion", tag = "session", request_body(content = ChatBody,
        example = json!({"model": "dev-scripted", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 16, "stream": true})),
    params(("Idempotency-Key" = Option<String>, Header, description = "A request is charged once under it; sent again it gets 409, or an answer where the first try cost nothing")),
    responses(
        (status = 200, description = "A completion, or text/event-stream with `stream`", content_type = "application/json", body = serde_json::Value,
            headers(("x-pii-redacted" = u64, description = "Pieces of personal data that were replaced, where they were looked for"))),
        (status = 204, description = "A voucher, top-up or close was carried out"),
        (status = 400, description = "The request cannot be used; free", body = Problem, content_type = "application/problem+json"),
        (status = 402, description = "Payment Required: open a channel or send a voucher", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Chat is not offered", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "This Idempotency-Key was charged for or is being served; or another request took the channel over", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Vouchers of this channel come too often", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "The channel is closed or unknown", body = Problem, content_type = "application/problem+json"),
        (status = 502, description = "No upstream could answer; nothing was charged", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Outcome open or a part is down: send the same again", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn completions(
    AppState(app): AppState<State>,
    ReceivedWithFiles(request): ReceivedWithFiles,
) -> Result<Response, HttpError> {
    let session = SessionRequest::new(&app, &request)?;
    match (session.credential()?, request.body.is_empty()) {
        (Some(credential), true) => session.manage(&credential).await,
        (Some(credential), false) if is_management(&credential) => session.manage(&credential).await,
        (None, _) if request.is_probe() => {
            Err(session.payment_error(Code::PaymentRequired, PROBE_DETAIL, None, None))
        }
        (credential, _) => session.serve(credential).await,
    }
}

/// Takes vouchers by HEAD, and tells a client that lost its channel's state which channel it has
/// ("Bootstrap Preflight").
pub async fn head(AppState(app): AppState<State>, request: Received) -> Result<Response, HttpError> {
    let session = SessionRequest::new(&app, &request)?;
    match session.credential()? {
        Some(credential) if credential.challenge.intent.as_str() == Intent::Session.as_str() => {
            session.manage(&credential).await
        }
        Some(_) | None => session.bootstrap().await,
    }
}

/// Takes vouchers, top-ups and closes by GET and PUT as well ("Voucher Submission Transport": any method of the
/// resource). Nothing else is there.
pub async fn manage(AppState(app): AppState<State>, request: Received) -> Result<Response, HttpError> {
    let session = SessionRequest::new(&app, &request)?;
    match session.credential()? {
        Some(credential)
            if credential.challenge.intent.as_str() == Intent::Session.as_str()
                && request.body.is_empty() =>
        {
            session.manage(&credential).await
        }
        Some(_) | None => {
            let reason = "send a chat request with POST; GET and PUT take session credentials without a body";
            let mut response = HttpError::new(Code::MethodNotAllowed, reason).into_response();
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST,HEAD,GET,PUT"));
            Ok(response)
        }
    }
}

/// Header with the number of pieces of personal data that were replaced in the request, where they were looked for.
pub(in crate::http) const PII_REDACTED: HeaderName = HeaderName::from_static("x-pii-redacted");

/// Adds the number of replaced pieces of personal data to an answer.
pub(in crate::http) fn with_replaced(mut response: Response, replaced: Option<&EntityCounts>) -> Response {
    if let Some(counts) = replaced {
        response.headers_mut().insert(PII_REDACTED, counts.values().sum::<usize>().into());
    }
    response
}

/// Documented part of a chat request; other fields go to the model as they are.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChatBody {
    /// One of `GET /mpp/models`.
    #[schema(example = "dev-scripted")]
    pub model: String,
    /// OpenAI chat messages.
    pub messages: Vec<serde_json::Value>,
    pub stream: Option<bool>,
    pub max_tokens: Option<u64>,
    pub tools: Option<Vec<serde_json::Value>>,
    /// Treatment of personal data and secrets in the messages: `off`; `placeholder` (the model gets
    /// `[EMAIL_ADDRESS_1]` instead, the answer has the originals again; `true` means it too); `redact` (placeholders
    /// stay in the answer); `block` (400 when there is any). Images and PDFs within the messages (`data:` URLs) are
    /// redacted on the way, where the server has the models for it; what cannot be examined is refused. Alias:
    /// `privacy_mode`.
    #[serde(rename = "privacyMode")]
    #[schema(example = "placeholder")]
    pub privacy_mode: Option<String>,
    /// Entities to look for (all when absent), as in the preview. Without `privacyMode` it means `placeholder`, unless
    /// the server protects every prompt in its own way. Alias: `pii_entities`.
    #[serde(rename = "piiEntities")]
    #[schema(example = json!(["EMAIL_ADDRESS", "PHONE_NUMBER"]))]
    pub pii_entities: Option<Vec<String>>,
    /// Configuration of the search, as in the preview. Alias: `pii_config`.
    #[serde(rename = "piiConfig")]
    pub pii_config: Option<ConfigBody>,
    /// Send everything as it is, whatever the server's default. Aliases: `skipPiiRedaction`, `no_pii_redaction`,
    /// `noPiiRedaction`.
    pub skip_pii_redaction: Option<bool>,
    /// Pages, text files and PDFs to read into the conversation, as http or https URLs of public
    /// hosts. Only at `/v1`. Charged as part of the prompt; one that cannot be read is a 400 and free.
    #[schema(max_items = 8, example = json!(["https://example.com/"]))]
    pub urls: Option<Vec<String>>,
    /// PDFs to read into the conversation: http or https URLs, `data:application/pdf;base64,…` URLs,
    /// or bare base64. Otherwise like `urls`, with which they share the limit of eight.
    #[schema(max_items = 8)]
    pub pdfs: Option<Vec<String>>,
}

fn is_management(credential: &PaymentCredential) -> bool {
    matches!(session_request::action(credential), Some("topUp" | "close"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::chat::{AttachmentPolicy, Catalog, ChatRequest, RequestLimits};

    #[test]
    fn the_documented_body_is_what_is_read() {
        let model = crate::config::ModelConfig { id: "m".into(), ..crate::config::ModelConfig::default() };
        let body = ChatBody {
            model: "m".into(),
            messages: vec![serde_json::json!({"role": "user", "content": "hi"})],
            stream: Some(true),
            max_tokens: Some(1),
            tools: Some(Vec::new()),
            privacy_mode: Some("placeholder".into()),
            pii_entities: Some(vec!["EMAIL_ADDRESS".into()]),
            pii_config: None,
            skip_pii_redaction: Some(false),
            urls: Some(vec!["https://example.com/".into()]),
            pdfs: Some(Vec::new()),
        };
        let body = serde_json::to_string(&body).expect("JSON");
        let limits = RequestLimits { attachments: AttachmentPolicy::UpTo(1), ..RequestLimits::default() };
        ChatRequest::parse(&body, &Catalog::new(&[model]), limits).expect("everything is understood");
    }
}
