//! The gate of `/v1`: a key that may be used, and may be used now.

use std::net::{IpAddr, Ipv6Addr};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};

use crate::http::State;
use crate::http::error::{Code, HttpError};
use crate::http::request::Peer;
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
        let now = Timestamp::now();
        let key = match authenticate(&parts.headers, app, now).await {
            Ok(key) => key,
            Err(error) => {
                let peer = parts.extensions.get::<Peer>().copied();
                return Err(count_invalid_key(app, address(peer, &parts.headers), error, now).into_response());
            }
        };
        let bearer = Self { key, rates: app.rates.clone() };
        match bearer.rates.take_request(&bearer.key, now).await {
            Ok(true) => Ok(bearer),
            Ok(false) => {
                let view = bearer.view();
                let limit = view.requests.limit();
                let error = HttpError::new(
                    Code::RateLimitExceededRpm,
                    format!("this key may send {limit} requests a minute; try again in {} s", view.reset),
                );
                Err(bearer.answer(Err(error.retry_after(view.reset))))
            }
            Err(error) => Err(unreadable(&error).into_response()),
        }
    }
}

impl Bearer {
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Sets tokens aside for this minute.
    ///
    /// # Errors
    /// 429 when there are too few left, 503 when nobody knows.
    pub async fn tokens(&self, estimate: u64) -> Result<TokenReservation, HttpError> {
        let taken = self.rates.reserve_tokens(&self.key, estimate, Timestamp::now()).await;
        taken.map_err(|error| unreadable(&error))?.ok_or_else(|| {
            let view = self.view();
            HttpError::new(
                Code::RateLimitExceededTpm,
                format!(
                    "this request may need {estimate} tokens, and {} of {} are left of this minute; lower \
                     max_tokens, or try again in {} s",
                    view.tokens.remaining(),
                    view.tokens.limit(),
                    view.reset
                ),
            )
            .retry_after(view.reset)
        })
    }

    /// An answer, or an error, with how the key stands.
    #[must_use]
    pub fn answer(&self, result: Result<Response, HttpError>) -> Response {
        let mut response = result.unwrap_or_else(HttpError::into_response);
        write(&self.view(), response.headers_mut());
        response
    }

    fn view(&self) -> RateView {
        self.rates.view(&self.key, Timestamp::now())
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
        KeyRejection::Unavailable(error) => unreadable(&error),
    })
}

/// The token of the one `Authorization: Bearer` header.
fn token(headers: &HeaderMap) -> Result<&str, HttpError> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let value = given.next().ok_or_else(missing)?;
    if given.next().is_some() {
        return Err(HttpError::new(Code::InvalidApiKey, "send one Authorization header"));
    }
    let text = value.to_str().map_err(|_| invalid())?;
    match text.split_once(' ') {
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

fn unreadable(error: &KeysError) -> HttpError {
    tracing::error!(%error, "API keys");
    HttpError::new(Code::ServiceUnavailable, "API keys cannot be checked at the moment; try again")
        .retry_after(2)
}

/// A request without a usable key. Guesses are counted by address; a usable key
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
    let seconds = u32::try_from(wait_ms / 1000).unwrap_or(u32::MAX).saturating_add(1);
    HttpError::new(
        Code::RateLimitExceededRpm,
        "too many requests without a valid API key came from this address; try again later",
    )
    .retry_after(seconds)
}

/// Whom a guess is counted against. A proxy on this machine names its client
/// last; whatever else stands in that header, anybody can write.
pub(in crate::http) fn address(peer: Option<Peer>, headers: &HeaderMap) -> Option<IpAddr> {
    let peer = peer?.0.to_canonical();
    let named = || headers.get("x-forwarded-for")?.to_str().ok()?.rsplit(',').next()?.trim().parse().ok();
    let address = if peer.is_loopback() { named().unwrap_or(peer) } else { peer };
    Some(match address {
        // A customer's smallest network is a /64.
        IpAddr::V6(six) => IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() & !u128::from(u64::MAX))),
        four @ IpAddr::V4(_) => four,
    })
}

/// The contract's names, and those that OpenAI's clients read.
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

fn write(view: &RateView, headers: &mut HeaderMap) {
    let (requests, tokens, reset) = (view.requests, view.tokens, view.reset);
    let pair = |limit: u64, left: u64, reset: String| [limit.to_string(), left.to_string(), reset];
    let own = |reset: String| {
        [
            pair(requests.limit(), requests.remaining(), reset.clone()),
            pair(tokens.limit(), tokens.remaining(), reset),
        ]
    };
    // Seconds in ours, a duration in OpenAI's.
    let values = own(reset.to_string()).into_iter().chain(own(format!("{reset}s"))).flatten();
    for (name, value) in RATE_HEADERS.into_iter().zip(values) {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

/// The headers that browsers may read.
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

    #[test]
    fn guesses_are_counted_against_who_makes_them() {
        let headers = |value: &'static str| {
            HeaderMap::from_iter([(
                HeaderName::from_static("x-forwarded-for"),
                HeaderValue::from_static(value),
            )])
        };
        let peer = |text: &str| Some(Peer(text.parse().expect("an address")));
        for (from, forwarded, counted) in [
            ("9.9.9.9", "1.2.3.4", "9.9.9.9"),
            ("127.0.0.1", "6.6.6.6, 1.2.3.4", "1.2.3.4"),
            ("127.0.0.1", "nonsense", "127.0.0.1"),
            ("::ffff:9.9.9.9", "1.2.3.4", "9.9.9.9"),
            ("2001:db8:1:2:3:4:5:6", "", "2001:db8:1:2::"),
        ] {
            assert_eq!(address(peer(from), &headers(forwarded)), counted.parse().ok(), "{from}");
        }
        assert_eq!(address(None, &HeaderMap::new()), None);
    }
}
