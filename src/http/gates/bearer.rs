//! The gate of `/v1`: it lets a request in that has a usable key and keeps its rate.

use std::ops::Deref;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};

use super::rated_key::{RatedKey, count_invalid_key, unavailable};
use crate::http::State;
use crate::http::clock::ArrivedAt;
use crate::http::error::{Code, HttpError};
use crate::id::Timestamp;
use crate::keys::{Key, KeyRejection};

/// Proof that a request came with a usable key and within its rate. Only this
/// gate makes one, so a handler that takes it cannot be reached without a key.
#[derive(Debug)]
pub struct Bearer(RatedKey);

impl Deref for Bearer {
    type Target = RatedKey;

    fn deref(&self) -> &RatedKey {
        &self.0
    }
}

impl FromRequestParts<State> for Bearer {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &State) -> Result<Self, Response> {
        let Ok(ArrivedAt(now)) = ArrivedAt::from_request_parts(parts, app).await;
        let key = authenticate(&parts.headers, app, now).await;
        let key = key.map_err(|error| count_invalid_key(app, parts, error, now).into_response())?;
        let rated = RatedKey::new(key, app);
        match rated.take_request(now).await {
            Ok(()) => Ok(Self(rated)),
            Err(error) => Err(rated.answer(Err(error))),
        }
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

/// Headers that may have an API key, for `Vary`: what one key is shown is not for another.
pub const KEY_HEADERS: &str = "authorization, x-api-key, api-key";
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
