//! `/oauth/token`, `/oauth/revoke` and `/oauth/register`: for programs, from browsers too.

use axum::extract::State as AppState;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, PRAGMA};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use url::form_urlencoded;

use crate::http::State;
use crate::http::error::{Code, HttpError};
use crate::http::gates::rated_key::count_guess;
use crate::http::gates::wallet::{answer, unavailable};
use crate::http::request::Received;
use crate::oauth::client::{ClientMetadata, MetadataError};
use crate::oauth::{CodeExchange, Refresh, Scopes, TokenRefused, TokenSet};

/// Parameters of a form, each of which may be there once; `resource` more often.
struct Form {
    fields: Vec<(String, String)>,
    resource: Vec<String>,
}

impl Form {
    /// Reads the body.
    ///
    /// # Errors
    /// 415 for a body of another type, 400 for a parameter that is there twice.
    fn of(received: &Received) -> Result<Self, HttpError> {
        let kind = received.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            let detail = "send the parameters as application/x-www-form-urlencoded";
            return Err(HttpError::new(Code::UnsupportedMediaType, detail));
        }
        let (mut fields, mut resource): (Vec<(String, String)>, _) = (Vec::new(), Vec::new());
        for (name, value) in form_urlencoded::parse(&received.body).into_owned() {
            if name == "resource" {
                resource.push(value);
            } else if fields.iter().any(|(known, _)| *known == name) {
                return Err(HttpError::invalid("a parameter is there twice; send each once"));
            } else {
                fields.push((name, value));
            }
        }
        Ok(Self { fields, resource })
    }

    /// Returns a parameter; an empty one is none (RFC 6749, section 3.2).
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        found.filter(|value| !value.is_empty())
    }

    fn required(&self, name: &'static str) -> Result<&str, HttpError> {
        self.get(name).ok_or_else(|| HttpError::invalid(format!("{name} is missing; send it")))
    }
}

/// `POST /oauth/token`.
pub async fn token(AppState(app): AppState<State>, received: Received) -> Result<Response, HttpError> {
    let form = Form::of(&received)?;
    let now = received.at;
    let tokens = match form.required("grant_type")? {
        "authorization_code" => {
            let exchange = CodeExchange {
                code: form.required("code")?,
                client_id: form.required("client_id")?,
                redirect_uri: form.get("redirect_uri"),
                code_verifier: form.required("code_verifier")?,
                resource: &form.resource,
            };
            app.oauth.exchange(&exchange, now).await
        }
        "refresh_token" => {
            let refresh = Refresh {
                token: form.required("refresh_token")?,
                client_id: form.required("client_id")?,
                scope: form.get("scope"),
                resource: &form.resource,
            };
            app.oauth.refresh(&refresh, now).await
        }
        _ => {
            let detail = "grant_type must be authorization_code or refresh_token";
            return Err(HttpError::new(Code::UnsupportedGrantType, detail));
        }
    };
    let TokenSet { access, refresh, expires_in, scopes } =
        tokens.map_err(|refused| refused_token(&app, &received, refused))?;
    let body = json!({
        "access_token": access.expose(),
        "token_type": "Bearer",
        "expires_in": expires_in,
        "refresh_token": refresh.expose(),
        "scope": scopes.to_string(),
    });
    Ok(([(PRAGMA, "no-cache")], answer(StatusCode::OK, &body)).into_response())
}

fn refused_token(app: &State, received: &Received, refused: TokenRefused) -> HttpError {
    let detail = refused.to_string();
    match refused {
        // Guesses are counted by address; who has a code or token is never refused for where it comes from.
        TokenRefused::Grant(_) => {
            count_guess(app, received.client, HttpError::new(Code::InvalidGrant, detail), received.at)
        }
        TokenRefused::Target => HttpError::new(Code::InvalidTarget, detail),
        TokenRefused::Scope => HttpError::new(Code::InvalidScope, detail),
        TokenRefused::TooOften(limited) => {
            HttpError::new(Code::RateLimitExceeded, detail).retry_after_millis(limited.wait_ms)
        }
        TokenRefused::Store(error) => unavailable(&error),
    }
}

/// `POST /oauth/revoke` (RFC 7009). It is done, or there was nothing to do: both are 200.
pub async fn revoke(AppState(app): AppState<State>, received: Received) -> Result<Response, HttpError> {
    let form = Form::of(&received)?;
    let (token, client_id) = (form.required("token")?, form.required("client_id")?);
    app.oauth.revoke_token(token, client_id, received.at).await.map_err(|error| unavailable(&error))?;
    Ok(answer(StatusCode::OK, &json!({})))
}

/// `POST /oauth/register` (RFC 7591). Nothing is written: the answer's `client_id` is the registration.
pub async fn register(AppState(app): AppState<State>, received: Received) -> Result<Response, HttpError> {
    if let Some(address) = received.client {
        app.registrations.take(address, received.at).map_err(|limited| {
            HttpError::new(
                Code::RateLimitExceeded,
                "too many clients registered from this address in a minute",
            )
            .retry_after_millis(limited.wait_ms)
        })?;
    }
    let nonce = received.nonce.simple().to_string();
    let registered = ClientMetadata::parse(received.json_text()?.as_bytes())
        .and_then(|metadata| app.oauth.register(&metadata, &nonce[..12], received.at));
    let client = registered.map_err(|error| {
        let code = match error {
            MetadataError::Redirect(_) | MetadataError::Redirects => Code::InvalidRedirectUri,
            MetadataError::Flow
            | MetadataError::Authentication
            | MetadataError::NotJson
            | MetadataError::OtherClientId => Code::InvalidClientMetadata,
        };
        HttpError::new(code, error.to_string())
    })?;
    let redirect_uris: Vec<&str> =
        client.redirect_uris.iter().map(crate::oauth::RedirectUri::as_str).collect();
    let body = json!({
        "client_id": client.client_id,
        "client_id_issued_at": received.at.seconds(),
        "client_name": client.name,
        "redirect_uris": redirect_uris,
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "scope": Scopes::defaults().to_string(),
    });
    Ok(answer(StatusCode::CREATED, &body))
}
