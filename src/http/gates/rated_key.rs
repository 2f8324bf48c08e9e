//! A key whose rate holds for the request: shared by the gates of API keys and of access tokens.

use std::net::IpAddr;

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse as _, Response};

use crate::app::App;
use crate::http::clock;
use crate::http::error::{Code, HttpError};
use crate::http::request::{Peer, client_address};
use crate::id::Timestamp;
use crate::keys::{Key, KeyId, KeyLimits, KeysError, RateView, Rates, TokenReservation};
use crate::limits::RateLimited;
use crate::meter::Spender;
use crate::money::Money;
use crate::payments::Payer;

/// Usable key of a request, and its rates. Only the gates make one, so a handler that takes it cannot be reached without
/// a key, or without a payment that stands for one.
#[derive(Debug)]
pub struct RatedKey {
    key: Key,
    /// `None` for a payment: each call is paid, so none is too many.
    rates: Option<Rates>,
    spender: Spender,
}

impl RatedKey {
    /// Takes a key that a gate has found usable.
    pub(super) fn new(key: Key, app: &App) -> Self {
        let spender = Spender::Key(key.id.to_string());
        Self { key, rates: Some(app.rates.clone()), spender }
    }

    /// Takes a payment that was settled as credit of `payer`, for one call: as a key of the payer's that is stored nowhere
    /// and can spend what was paid.
    pub(super) fn of_payment(payment: &str, payer: &Payer, paid: Money, now: Timestamp) -> Self {
        let key = Key {
            id: KeyId::of_payment(payment),
            owner: payer.name().to_owned(),
            name: "paid by the call".to_owned(),
            created_at: now,
            last_used_at: None,
            revoked_at: None,
            expires_at: None,
            limits: KeyLimits { total: Some(paid), ..KeyLimits::default() },
        };
        Self { key, rates: None, spender: Spender::Payment(payment.to_owned()) }
    }

    /// Counts the request.
    ///
    /// # Errors
    /// 429 if it is beyond the rate, 503 when the database does not answer.
    pub(super) async fn take_request(&self, now: Timestamp) -> Result<(), HttpError> {
        let Some(rates) = &self.rates else { return Ok(()) };
        if rates.take_request(&self.key, now).await.map_err(|error| unavailable(&error))? {
            return Ok(());
        }
        let view = rates.view(&self.key, now);
        let limit = view.requests.limit();
        let error = HttpError::new(
            Code::RateLimitExceededRpm,
            format!("this key may send {limit} requests a minute; try again in {} s", view.reset),
        );
        Err(error.retry_after(view.reset))
    }

    /// Returns the key.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Returns the name of what it spends in entries.
    #[must_use]
    pub fn spender(&self) -> &Spender {
        &self.spender
    }

    /// Reserves the tokens that a request is likely to need, of the minute that `now` is in; nothing where there are no
    /// rates. `least` is what it needs in any case.
    ///
    /// # Errors
    /// 429 when there are too few left, 400 when there can never be enough, 503 when the database does not answer.
    pub async fn reserve_tokens(
        &self,
        least: u64,
        likely: u64,
        now: Timestamp,
    ) -> Result<Option<TokenReservation>, HttpError> {
        let Some(rates) = &self.rates else { return Ok(None) };
        let limit = rates.view(&self.key, now).tokens.limit();
        if least > limit {
            // Not 429, after which clients try again.
            let problem = format!(
                "this request needs at least {least} tokens, and this key may use {limit} a minute: it can never be \
                 served; send less text, or use a key with a higher limit"
            );
            return Err(HttpError::invalid(problem).param("messages"));
        }
        let reserved = rates.reserve_tokens(&self.key, likely, now).await;
        reserved.map_err(|error| unavailable(&error))?.map(Some).ok_or_else(|| {
            let view = rates.view(&self.key, now);
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
        if let Some(rates) = &self.rates {
            // The headers count the seconds from when they are sent, which may be after a model's answer.
            write_rate_headers(&rates.view(&self.key, clock::after_wait()), response.headers_mut());
        }
        response
    }
}

/// Logs that keys cannot be read or written, and makes its error.
pub(super) fn unavailable(error: &KeysError) -> HttpError {
    tracing::error!(%error, "API keys cannot be checked");
    HttpError::unavailable("API keys cannot be checked at the moment; send the request again")
}

/// Counts a request without a usable key by its address. A usable key
/// is never refused for the address it comes from.
pub(super) fn count_invalid_key(app: &App, parts: &Parts, error: HttpError, now: Timestamp) -> HttpError {
    let peer = parts.extensions.get::<Peer>().copied();
    let address = client_address(peer, &parts.headers, &app.config.server.trusted_proxies);
    count_guess(app, address, error, now)
}

/// Counts a guess at a key or token by its address, unless it was none: the database failed.
pub fn count_guess(app: &App, address: Option<IpAddr>, error: HttpError, now: Timestamp) -> HttpError {
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
        "too many requests without a valid API key or token came from this address; try again later",
    )
    .retry_after_millis(wait_ms)
}

/// Headers of a key's rates: this API's names, and those that OpenAI's clients read.
const RATE_HEADERS: [&str; 12] = [
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
