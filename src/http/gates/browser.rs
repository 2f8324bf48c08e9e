//! The gate of browser sessions. A cookie counts for requests of the dashboard's own pages, at the dashboard's own host,
//! and on no route but those that ask here: `/v1`, `/mpp` and `/mcp` never read one.
//!
//! Cookies are sent along whoever asks the browser to. So a request says where it comes from (`Sec-Fetch-Site`, else
//! `Origin`), one that changes something has a body of a type that forms cannot send, and no page of another origin may
//! read an answer that a cookie opened.

use axum::extract::{FromRequest, Request, State as AppState};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CONTENT_TYPE, COOKIE, HOST, ORIGIN,
};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, Uri};
use axum::middleware::Next;
use axum::response::Response;

use super::wallet::{count_signer, too_often, unavailable};
use crate::app::App;
use crate::browser_sessions::{BrowserSession, SessionHash};
use crate::config::{Config, Secret};
use crate::http::State;
use crate::http::error::{Code, HttpError};
use crate::http::request::{Received, is_json};
use crate::id::Timestamp;

/// Header by which a browser says how a page's origin stands to this server's.
const FETCH_SITE: &str = "sec-fetch-site";

/// Proof that a browser session asks. Only this gate makes one.
pub struct SignedIn {
    pub session: BrowserSession,
    pub request: Received,
}

impl FromRequest<State> for SignedIn {
    type Rejection = HttpError;

    async fn from_request(request: Request, app: &State) -> Result<Self, HttpError> {
        let request = Received::from_request(request, app).await?;
        let session = session_of(app, (&request).into()).await?.ok_or_else(signed_out)?;
        Ok(Self { session, request })
    }
}

/// Parts of a request that a session is read from.
#[derive(Clone, Copy)]
pub struct CookieRequest<'a> {
    pub method: &'a str,
    pub uri: &'a Uri,
    pub headers: &'a HeaderMap,
    pub client: Option<std::net::IpAddr>,
    pub at: Timestamp,
}

impl<'a> From<&'a Received> for CookieRequest<'a> {
    fn from(request: &'a Received) -> Self {
        let Received { method, uri, headers, client, at, .. } = request;
        Self { method: method.as_str(), uri, headers, client: *client, at: *at }
    }
}

/// Makes the 401 of who is not signed in, or not any more.
pub fn signed_out() -> HttpError {
    HttpError::new(Code::MissingWalletAuth, "nobody is signed in here, or not any more; sign in again")
}

/// Returns the living session whose cookie a request has, and counts the request: each against the session's wallet, and
/// what changes something against wallet and address as a signed request is. Anybody can make wallets, and sign in.
///
/// # Errors
/// 403 for a request of another page, 429, or 503 if the database does not answer.
pub async fn session_of(app: &App, request: CookieRequest<'_>) -> Result<Option<BrowserSession>, HttpError> {
    if cookie(&app.config, request.headers).is_none() {
        return Ok(None);
    }
    let Some(session) = living_session(app, request).await? else {
        // A living session is never refused for what others at its address do: only a guess is counted.
        let guessed =
            request.client.map_or(Ok(()), |client| app.unauthenticated_limiter.take(client, request.at));
        return guessed.map(|()| None).map_err(too_often);
    };
    app.session_limiter.take(session.account.clone(), request.at).map_err(too_often)?;
    if !is_read(request.method) {
        count_signer(app, request.client, request.at)?;
        app.management_by_wallet.take(session.account.clone(), request.at).map_err(too_often)?;
    }
    Ok(Some(session))
}

/// Returns the living session whose cookie a request has, and counts nothing.
///
/// # Errors
/// 403 for a request of another page, or 503 if the database does not answer.
pub async fn living_session(
    app: &App,
    request: CookieRequest<'_>,
) -> Result<Option<BrowserSession>, HttpError> {
    let Some(text) = cookie(&app.config, request.headers) else { return Ok(None) };
    if !is_dashboard_host(&app.config, request.uri, request.headers) {
        return Ok(None);
    }
    check_page(&app.config, request)?;
    let Some(hash) = SessionHash::read(text) else { return Ok(None) };
    let found = app.browser_sessions.authenticate(&hash, request.at).await;
    found.map_err(|error| unavailable(&error))
}

fn is_read(method: &str) -> bool {
    matches!(method, "GET" | "HEAD")
}

/// Returns true for a request that says which page made it: programs do not.
pub fn is_of_page(headers: &HeaderMap) -> bool {
    headers.contains_key(FETCH_SITE) || headers.contains_key(ORIGIN)
}

/// Refuses a request that another page made.
///
/// # Errors
/// 403, or 415 for a change that is not sent as JSON.
pub fn check_page(config: &Config, request: CookieRequest<'_>) -> Result<(), HttpError> {
    let header = |name: &str| request.headers.get(name).map(HeaderValue::as_bytes);
    let is_read = is_read(request.method);
    let is_own = match header(FETCH_SITE) {
        Some(b"same-origin") => true,
        // The person's own doing: an address that was typed.
        Some(b"none") => is_read,
        Some(_) => false,
        None => match header(ORIGIN.as_str()) {
            Some(origin) => origin == origin_of(config.dashboard_url()).as_bytes(),
            None => is_read,
        },
    };
    if !is_own {
        return Err(HttpError::new(
            Code::ForeignOrigin,
            "a session counts for this server's own pages alone; programs sign each request with their wallet, or use an \
             API key",
        ));
    }
    let declared = request.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if is_read || declared.is_some_and(is_json) {
        return Ok(());
    }
    Err(HttpError::new(Code::UnsupportedMediaType, "send the body as application/json"))
}

/// Returns an origin as browsers write it: without a usual port.
fn origin_of(url: &str) -> String {
    url::Url::parse(url).map_or_else(|_| url.to_owned(), |url| url.origin().ascii_serialization())
}

/// Returns true if a request is for the dashboard's host, where that is another than the API's. Where it is one for
/// both, proxies may write it as they like.
pub fn is_dashboard_host(config: &Config, uri: &Uri, headers: &HeaderMap) -> bool {
    let dashboard = config.dashboard_url();
    if dashboard == config.server.public_url {
        return true;
    }
    let named = uri.authority().map(Authority::as_str);
    let named = named.or_else(|| headers.get(HOST).and_then(|host| host.to_str().ok()));
    let scheme = dashboard.split("://").next().unwrap_or_default();
    named.is_some_and(|host| origin_of(&format!("{scheme}://{host}")) == origin_of(dashboard))
}

/// Returns the name of the session's cookie. Browsers send a `__Host-` cookie to the very host that set it, over TLS
/// alone. Cookies know no ports, so that on a machine where several servers run without TLS each has its own name.
pub fn cookie_name(config: &Config) -> String {
    match config.dashboard_url().split_once("://") {
        Some(("https", _)) => "__Host-session".into(),
        Some((_, host)) => match host.rsplit_once(':') {
            Some((_, port)) => format!("session-{port}"),
            None => "session".into(),
        },
        None => "session".into(),
    }
}

/// Returns the `Set-Cookie` of a session; without a secret it takes the cookie away.
pub fn set_cookie(config: &Config, secret: Option<&Secret>, longest: std::time::Duration) -> String {
    let name = cookie_name(config);
    let secure = if name.starts_with("__Host-") { "; Secure" } else { "" };
    let (value, age) = secret.map_or(("", 0), |secret| (secret.expose(), longest.as_secs()));
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}{secure}")
}

/// Returns the value of the one cookie of our name. Of several nobody knows which is ours.
fn cookie<'a>(config: &Config, headers: &'a HeaderMap) -> Option<&'a str> {
    let name = cookie_name(config);
    let pairs =
        headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(';'));
    let mut values = pairs.filter_map(|pair| pair.trim().split_once('=')).filter(|(found, _)| *found == name);
    let (_, value) = values.next()?;
    values.next().is_none().then_some(value)
}

/// Lets no page of another origin read an answer that a cookie may have opened.
pub async fn keep_to_own_pages(AppState(app): AppState<State>, request: Request, next: Next) -> Response {
    let has_cookie = cookie(&app.config, request.headers()).is_some();
    let is_preflight = *request.method() == Method::OPTIONS;
    let mut response = next.run(request).await;
    if has_cookie && !is_preflight {
        response.headers_mut().remove(ACCESS_CONTROL_ALLOW_ORIGIN);
        response.headers_mut().remove(ACCESS_CONTROL_EXPOSE_HEADERS);
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn config(api: &str, dashboard: Option<&str>) -> Config {
        let mut config = Config::default();
        config.server.public_url = api.into();
        config.dashboard.public_url = dashboard.map(str::to_owned);
        config
    }

    #[test]
    fn attack_76_requests_of_other_pages_are_refused() {
        let config = config("https://api.example.com", Some("https://platform.example.com"));
        let uri = Uri::from_static("/api/v1/keys");
        let json = ("content-type", "application/json");
        let own = ("origin", "https://platform.example.com");
        for (method, fields, expected) in [
            ("GET", &[][..], None),
            ("GET", &[("sec-fetch-site", "none")], None),
            ("GET", &[("sec-fetch-site", "same-origin")], None),
            ("GET", &[("sec-fetch-site", "same-site")], Some(Code::ForeignOrigin)),
            ("GET", &[("sec-fetch-site", "cross-site")], Some(Code::ForeignOrigin)),
            ("GET", &[("origin", "https://evil.example")], Some(Code::ForeignOrigin)),
            ("POST", &[("sec-fetch-site", "same-origin"), json], None),
            ("POST", &[own, json], None),
            ("POST", &[("sec-fetch-site", "none"), json], Some(Code::ForeignOrigin)),
            ("POST", &[("sec-fetch-site", "cross-site"), own, json], Some(Code::ForeignOrigin)),
            ("POST", &[json], Some(Code::ForeignOrigin)),
            ("POST", &[("origin", "null"), json], Some(Code::ForeignOrigin)),
            ("POST", &[("origin", "https://api.example.com"), json], Some(Code::ForeignOrigin)),
            ("POST", &[own], Some(Code::UnsupportedMediaType)),
            ("DELETE", &[own, ("content-type", "text/plain")], Some(Code::UnsupportedMediaType)),
        ] {
            let headers = headers(fields);
            let at = Timestamp::from_millis(0);
            let request = CookieRequest { method, uri: &uri, headers: &headers, client: None, at };
            let refused = check_page(&config, request).err().map(|error| error.code);
            assert_eq!(refused, expected, "{method} {fields:?}");
        }
    }

    #[test]
    fn attack_76_one_cookie_of_our_name_is_read_at_the_dashboards_host() {
        let one = config("http://localhost:8402", None);
        for (fields, expected) in [
            (&[("cookie", "a=1; session-8402=x")][..], Some("x")),
            (&[("cookie", "session-8403=x")], None),
            (&[("cookie", "session-8402=x; session-8402=y")], None),
            (&[("cookie", "xsession-8402=x")], None),
            (&[], None),
        ] {
            assert_eq!(cookie(&one, &headers(fields)), expected, "{fields:?}");
        }
        let two = config("https://api.example.com", Some("https://platform.example.com"));
        assert_eq!(cookie_name(&two), "__Host-session");
        for (host, expected) in [
            ("platform.example.com", true),
            ("platform.example.com:443", true),
            ("api.example.com", false),
            ("platform.example.com.evil.example", false),
        ] {
            let headers = headers(&[("host", host)]);
            assert_eq!(is_dashboard_host(&two, &Uri::from_static("/x"), &headers), expected, "{host}");
        }
    }
}
