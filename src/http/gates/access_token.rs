//! The gate of the MCP server: it lets a request in whose access token counts, and keeps the rate of the grant's key.
//!
//! API keys open nothing here, and access tokens nothing at `/v1`. A token is read from the `Authorization` header alone:
//! one in a query would stand in logs.

use std::ops::Deref;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use super::rated_key::{RatedKey, count_invalid_key};
use crate::app::App;
use crate::http::State;
use crate::http::clock::ArrivedAt;
use crate::http::error::{Code, HttpError};
use crate::id::Timestamp;
use crate::keys::KeyId;
use crate::oauth::{Access, AccessRefused, Grant, Scopes};

/// Proof that a request came with an access token for this resource, and within the rate of its grant's key. Only this
/// gate makes one. It derefs to the grant's [`RatedKey`].
#[derive(Debug)]
pub struct AccessToken {
    rated: RatedKey,
    grant: Grant,
    scopes: Scopes,
}

impl Deref for AccessToken {
    type Target = RatedKey;

    fn deref(&self) -> &RatedKey {
        &self.rated
    }
}

impl FromRequestParts<State> for AccessToken {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, app: &State) -> Result<Self, HttpError> {
        let Ok(ArrivedAt(now)) = ArrivedAt::from_request_parts(parts, app).await;
        let token = authenticate(&parts.headers, app, now).await;
        token.map_err(|error| match error.code {
            Code::MissingToken | Code::InvalidToken => count_invalid_key(app, parts, error, now),
            _ => error,
        })
    }
}

impl AccessToken {
    /// Returns the scopes that it has.
    #[must_use]
    pub fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// Returns the name of the client that presents it.
    #[must_use]
    pub fn client(&self) -> &str {
        &self.grant.client_name
    }

    /// Returns the id of its grant, which is that of the grant's key.
    #[must_use]
    pub fn grant(&self) -> &KeyId {
        &self.grant.key
    }

    /// Checks that it has these scopes.
    ///
    /// # Errors
    /// 403 whose challenge names all scopes that it would need, those that it has among them: some clients ask for exactly
    /// these, and would lose the others.
    pub fn require(&self, app: &App, needed: &Scopes) -> Result<(), HttpError> {
        if needed.is_within(&self.scopes) {
            return Ok(());
        }
        let detail = format!("this needs the scope {needed}; authorize again to be granted it");
        let all = self.scopes.union(needed);
        let challenge = challenge(app, &all, Some(("insufficient_scope", &detail)));
        Err(HttpError::new(Code::InsufficientScope, detail).bearer(challenge))
    }
}

/// Checks the access token of a request's headers, and counts the request.
///
/// # Errors
/// 401 with a challenge that leads to the authorization server, 429, or 503 when the database does not answer.
pub async fn authenticate(headers: &HeaderMap, app: &App, now: Timestamp) -> Result<AccessToken, HttpError> {
    let token = token(headers).map_err(|absent| unauthorized(app, absent))?;
    let Access { key, grant, scopes } =
        app.oauth.authenticate(token, now).await.map_err(|refused| match refused {
            AccessRefused::Invalid => unauthorized(app, Absent::Invalid),
            AccessRefused::Store(error) => {
                tracing::error!(%error, "access tokens cannot be checked");
                HttpError::unavailable(
                    "access tokens cannot be checked at the moment; send the request again",
                )
            }
        })?;
    let rated = RatedKey::new(key, app);
    rated.take_request(now).await?;
    Ok(AccessToken { rated, grant, scopes })
}

/// Reason that there is no token to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Absent {
    Missing,
    Invalid,
}

/// Returns the token of the one `Authorization: Bearer` header.
fn token(headers: &HeaderMap) -> Result<&str, Absent> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(Absent::Missing)?;
    if values.next().is_some() {
        return Err(Absent::Invalid);
    }
    let text = value.to_str().map_err(|_| Absent::Invalid)?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim_matches(' ')),
        // Another scheme, a Payment credential for example.
        _ => Err(Absent::Missing),
    }
}

fn unauthorized(app: &App, absent: Absent) -> HttpError {
    let (code, detail, error) = match absent {
        Absent::Missing => (
            Code::MissingToken,
            "connect with OAuth: the resource metadata that this answer names leads to the authorization server",
            None,
        ),
        Absent::Invalid => {
            let detail = "this access token is not valid, or not any more; refresh it, or connect again. API keys are \
                          for /v1";
            (Code::InvalidToken, detail, Some(("invalid_token", detail)))
        }
    };
    HttpError::new(code, detail).bearer(challenge(app, &Scopes::defaults(), error))
}

/// Returns a challenge (RFC 6750, section 3; RFC 9728, section 5.1). Its texts are ours and hold no quotes.
fn challenge(app: &App, scopes: &Scopes, error: Option<(&str, &str)>) -> String {
    let error = error.map_or_else(String::new, |(error, description)| {
        format!("error=\"{error}\", error_description=\"{description}\", ")
    });
    let metadata = app.oauth.resource().metadata_url();
    format!("Bearer {error}resource_metadata=\"{metadata}\", scope=\"{scopes}\"")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn attack_65_only_one_bearer_header_is_read() {
        for (values, expected) in [
            (&["Bearer abc"][..], Ok("abc")),
            (&["bearer  abc "], Ok("abc")),
            (&[], Err(Absent::Missing)),
            (&["Bearer"], Err(Absent::Missing)),
            (&["Payment abc"], Err(Absent::Missing)),
            (&["Bearer abc", "Bearer abc"], Err(Absent::Invalid)),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
            }
            assert_eq!(token(&headers), expected, "{values:?}");
        }
    }
}
