//! Terms of a grant as they are sent, for the message to sign and with the signature.

use serde::Deserialize;

use crate::fetch::FetchError;
use crate::http::State;
use crate::http::error::{Code, HttpError, wait_seconds};
use crate::http::gates::rated_key::count_guess;
use crate::http::gates::wallet::unavailable;
use crate::http::request::Received;
use crate::http::routes::management::keys::{LimitsBody, checked_expiry};
use crate::id::Timestamp;
use crate::keys::KeyLimits;
use crate::oauth::consent::{DEFAULT_DAILY, GrantTerms, MAX_DAYS};
use crate::oauth::{AuthorizationRequest, Scopes, SealedRequest, UnknownClient};

/// Terms of a grant; left out, they are what the client asked for and the usual limits.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TermsBody {
    /// The request, as the page has it.
    request: String,
    scopes: Option<Vec<String>>,
    limits: Option<LimitsBody>,
    /// RFC 3339.
    expires_at: Option<String>,
}

/// Longest life of a grant, as a moment.
pub fn latest_expiry(now: Timestamp) -> Timestamp {
    now.checked_add_millis(MAX_DAYS * 86_400_000).unwrap_or(now)
}

/// Reads the end of a grant.
///
/// # Errors
/// 400 unless it is in the future, and not too far.
pub fn grant_expiry(text: &str, now: Timestamp) -> Result<Timestamp, HttpError> {
    let moment = checked_expiry(text, now)?;
    if moment > latest_expiry(now) {
        return Err(HttpError::invalid(format!("expiresAt can be {MAX_DAYS} days away at the most")));
    }
    Ok(moment)
}

/// Reads scopes by their names.
///
/// # Errors
/// 400 for a name that is none, and for no name at all.
pub fn scopes(names: &[String]) -> Result<Scopes, HttpError> {
    Scopes::parse(&names.join(" ")).ok_or_else(|| {
        HttpError::invalid("scopes must name at least one of chat, pii, account:read and keys:write")
    })
}

impl TermsBody {
    /// Returns the request, and the terms that are granted.
    ///
    /// # Errors
    /// 400 for a request that is too old or not ours, for terms that cannot be granted; 429, 503.
    pub async fn read(
        self,
        app: &State,
        received: &Received,
    ) -> Result<(AuthorizationRequest, GrantTerms), HttpError> {
        let now = received.at;
        let stale = || {
            HttpError::invalid(
                "the request is too old, or not of this server; begin again in the program that asks",
            )
        };
        let sealed: SealedRequest = app.oauth.open(&self.request, now).ok_or_else(stale)?;
        let default_end = sealed.default_end();
        let may_fetch = || may_fetch(app, received);
        let client = app.oauth.client(&sealed.client_id, now, may_fetch).await;
        let client = client.map_err(|error| unknown_client(app, received, error))?;
        let request = app.oauth.request_of(sealed, client).ok_or_else(stale)?;
        let scopes = match &self.scopes {
            None => request.scopes.clone(),
            Some(names) => scopes(names)?,
        };
        if !scopes.is_within(&request.scopes) {
            let asked = &request.scopes;
            return Err(HttpError::new(
                Code::InvalidScope,
                format!("scopes can be those asked for: {asked}"),
            ));
        }
        let limits = match &self.limits {
            None => KeyLimits { daily: Some(DEFAULT_DAILY), ..KeyLimits::default() },
            Some(limits) => limits.checked(&app.config.keys)?,
        };
        let expires_at = match &self.expires_at {
            None => default_end,
            Some(text) => grant_expiry(text, now)?,
        };
        Ok((request, GrantTerms { scopes, limits, expires_at }))
    }
}

/// Says if a caller may make the server fetch a document: such requests are counted like guesses at keys.
pub fn may_fetch(app: &State, received: &Received) -> Result<(), u32> {
    let taken =
        received.client.map_or(Ok(()), |address| app.unauthenticated_limiter.take(address, received.at));
    taken.map_err(|refused| wait_seconds(refused.wait_ms))
}

/// Makes the error of a client that is nobody. Guesses are counted by address.
pub fn unknown_client(app: &State, received: &Received, error: UnknownClient) -> HttpError {
    match error {
        UnknownClient::RateLimited(seconds) => {
            HttpError::new(Code::RateLimitExceededRpm, error.to_string()).retry_after(seconds)
        }
        UnknownClient::Store(error) => unavailable(&error),
        // This server's own limits: not the client's fault.
        UnknownClient::Fetch(FetchError::Busy) => HttpError::unavailable(error.to_string()),
        UnknownClient::Unknown | UnknownClient::Fetch(_) | UnknownClient::Metadata(_) => {
            let error = HttpError::new(Code::InvalidClient, error.to_string());
            count_guess(app, received.client, error, received.at)
        }
    }
}
