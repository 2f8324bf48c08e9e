//! The gate of `/v1`: it lets a request in that has a usable key and keeps its rate.

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};

use crate::http::State;
use crate::http::clock::{self, ArrivedAt};
use crate::http::error::{Code, HttpError};
use crate::http::request::{Peer, client_address};
use crate::id::Timestamp;
use crate::keys::{Key, KeyRejection, KeysError, RateView, Rates, TokenReservation};
use crate::limits::RateLimited;

/// Proof that a request came with a usable key and within its rate. Only this
/// gate makes one, so a handler that takes it cannot be reached without a key.
#[derive(Debug)]
pub struct Bearer {
    key: Key,
    rates: Rates,
}

impl FromRequestParts<State> for Bearer {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &State) -> Result<Self, Response> {
        let Ok(ArrivedAt(now)) = ArrivedAt::from_request_parts(parts, app).await;
        let key = match authenticate(&parts.headers, app, now).await {
            Ok(key) => key,
            Err(error) => {
                let peer = parts.extensions.get::<Peer>().copied();
                let address = client_address(peer, &parts.headers, &app.config.server.trusted_proxies);
                return Err(count_invalid_key(app, address, error, now).into_response());
            }
        };
        let bearer = Self { key, rates: app.rates.clone() };
        match bearer.rates.take_request(&bearer.key, now).await {
            Ok(true) => Ok(bearer),
            Ok(false) => {
                let view = bearer.rates.view(&bearer.key, now);
                let limit = view.requests.limit();
                let error = HttpError::new(
                    Code::RateLimitExceededRpm,
                    format!("this key may send {limit} requests a minute; try again in {} s", view.reset),
                );
                Err(bearer.answer(Err(error.retry_after(view.reset))))
            }
            Err(error) => Err(unavailable(&error).into_response()),
        }
    }
}

impl Bearer {
    /// Returns the key that was shown.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Reserves the tokens that a request is likely to need, of the minute that `now` is in. `least` is what it needs in
    /// any case.
    ///
    /// # Errors
    /// 429 when there are too few left, 400 when there can never be enough, 503 when the database does not answer.
    pub async fn reserve_tokens(
        &self,
        least: u64,
        likely: u64,
        now: Timestamp,
    ) -> Result<TokenReservation, HttpError> {
        let limit = self.rates.view(&self.key, now).tokens.limit();
        if least > limit {
            // Not 429, after which clients try again.
            let problem = format!(
                "this request needs at least {least} tokens, and this key may use {limit} a minute: it can never be \
                 served; send less text, or use a key with a higher limit"
            );
            return Err(HttpError::invalid(problem).param("messages"));
        }
        let reserved = self.rates.reserve_tokens(&self.key, likely, now).await;
        reserved.map_err(|error| unavailable(&error))?.ok_or_else(|| {
            let view = self.rates.view(&self.key, now);
            let hint = if likely > limit {
                "it is served at the beginning of a minute, before others"
            } else {
                "lower max_tokens, or try again then"
            };
            HttpError::new(
                Code::RateLimitExceededTpm,
                format!(
                    "this request is likely to need {likely} tokens, and {} of {limit} are left of this minute, which ends \
                     in {} s; {hint}",
                    view.tokens.remaining(),
                    view.reset
                ),
            )
            .retry_after(view.reset)
        })
    }

    /// Makes an answer, or an error, with the key's rates in its headers.
    #[must_use]
    pub fn answer(&self, result: Result<Response, HttpError>) -> Response {
        let mut response = result.unwrap_or_else(HttpError::into_response);
        // The headers count the seconds from when they are sent, which may be after a model's answer.
        write_rate_headers(&self.rates.view(&self.key, clock::after_wait()), response.headers_mut());
        response
    }
}

async fn authenticate(headers: &HeaderMap, app: &State, now: Timestamp) -> Result<Key, HttpError> {
    let text = token(headers)?;
    app.keys.authenticate(text, now).await.map_err(|refused| match refused {
        KeyRejection::Missing => missing(),
        KeyRejection::Invalid => invalid(),
        KeyRejection::Inactive => {
            HttpError::new(Code::InactiveApiKey, "this API key was revoked or has expired; use another")
        }
        KeyRejection::Unverified => HttpError::unavailable(
            "this API key was bought from the contract, and its buyer is still being looked up on the chain; send the \
             request again",
        ),
        KeyRejection::Unavailable(error) => unavailable(&error),
    })
}

/// Headers in which clients of other providers send a key.
const OTHER_HEADERS: [&str; 2] = ["x-api-key", "api-key"];

/// Returns the token of the one `Authorization: Bearer` header, or where no such scheme is there of the one header that
/// other providers have for it.
fn token(headers: &HeaderMap) -> Result<&str, HttpError> {
    let others = OTHER_HEADERS.into_iter().flat_map(|name| headers.get_all(name));
    let scheme = |value: &HeaderValue| {
        value.to_str().is_ok_and(|text| text.to_ascii_lowercase().starts_with("bearer"))
    };
    let has_other = OTHER_HEADERS.iter().any(|name| headers.contains_key(*name));
    let is_authorized = headers.get_all(header::AUTHORIZATION).iter().any(scheme) || !has_other;
    let own = headers.get_all(header::AUTHORIZATION).iter().filter(|_| is_authorized);
    let mut values = own.chain(others.filter(|_| !is_authorized));
    let value = values.next().ok_or_else(missing)?;
    if values.next().is_some() {
        return Err(HttpError::new(
            Code::InvalidApiKey,
            "send the API key once, in one Authorization header",
        ));
    }
    let text = value.to_str().map_err(|_| invalid())?;
    match text.split_once(' ') {
        _ if !is_authorized => Ok(text.trim()),
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim_matches(' ')),
        _ if text.eq_ignore_ascii_case("bearer") => Err(missing()),
        // Another scheme, a Payment credential for example.
        _ => Err(missing()),
    }
}

fn missing() -> HttpError {
    HttpError::new(Code::MissingApiKey, "send your API key as `Authorization: Bearer <key>`")
}

fn invalid() -> HttpError {
    HttpError::new(Code::InvalidApiKey, "this API key is not valid; check that it was copied whole")
}

fn unavailable(error: &KeysError) -> HttpError {
    tracing::error!(%error, "API keys cannot be checked");
    HttpError::unavailable("API keys cannot be checked at the moment; send the request again")
}

/// Counts a request without a usable key by its address. A usable key
/// is never refused for the address it comes from.
fn count_invalid_key(app: &State, address: Option<IpAddr>, error: HttpError, now: Timestamp) -> HttpError {
    if error.code == Code::ServiceUnavailable {
        return error;
    }
    let Some(RateLimited { wait_ms }) =
        address.and_then(|address| app.unauthenticated_limiter.take(address, now).err())
    else {
        return error;
    };
    HttpError::new(
        Code::RateLimitExceededRpm,
        "too many requests without a valid API key came from this address; try again later",
    )
    .retry_after_millis(wait_ms)
}

/// Headers of a key's rates: this API's names, and those that OpenAI's clients read.
pub(super) const RATE_HEADERS: [&str; 12] = [
    "x-ratelimit-limit-rpm",
    "x-ratelimit-remaining-rpm",
    "x-ratelimit-reset-rpm",
    "x-ratelimit-limit-tpm",
    "x-ratelimit-remaining-tpm",
    "x-ratelimit-reset-tpm",
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
];

fn write_rate_headers(view: &RateView, headers: &mut HeaderMap) {
    let (requests, tokens, reset) = (view.requests, view.tokens, view.reset);
    let values_of = |reset: String| {
        [
            [requests.limit().to_string(), requests.remaining().to_string(), reset.clone()],
            [tokens.limit().to_string(), tokens.remaining().to_string(), reset],
        ]
    };
    // Seconds in this API's names, a duration in OpenAI's.
    let values = values_of(reset.to_string()).into_iter().chain(values_of(format!("{reset}s"))).flatten();
    for (name, value) in RATE_HEADERS.into_iter().zip(values) {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

/// Returns the rate headers, which browsers may read.
pub fn rate_headers() -> impl Iterator<Item = HeaderName> {
    RATE_HEADERS.into_iter().map(HeaderName::from_static)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_24_only_one_bearer_header_is_read() {
        let headers = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
            }
            headers
        };
        for (values, expected) in [
            (&["Bearer abc"][..], Ok("abc")),
            (&["bearer  abc "], Ok("abc")),
            (&[], Err(Code::MissingApiKey)),
            (&["Bearer"], Err(Code::MissingApiKey)),
            (&["Basic abc"], Err(Code::MissingApiKey)),
            (&["Payment abc"], Err(Code::MissingApiKey)),
            (&["abc"], Err(Code::MissingApiKey)),
            (&["Bearer abc", "Bearer abc"], Err(Code::InvalidApiKey)),
        ] {
            let headers = headers(values);
            let read = token(&headers).map_err(|error| error.code);
            assert_eq!(read, expected, "{values:?}");
        }
    }
}
