//! `/api/v1/auth`: people sign in with their wallet in a browser.
//!
//! Names of routes and fields are those that Tempo's `accounts` SDK asks for.

use alloy::primitives::Address;
use axum::extract::{Path, State as AppState};
use axum::http::header::{CACHE_CONTROL, SET_COOKIE, USER_AGENT};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::browser_sessions::{BrowserSession, MintedSession, NewSession};
use crate::http::State;
use crate::http::error::{Code, HttpError};
use crate::http::gates::browser::{self, CookieRequest, SignedIn};
use crate::http::gates::wallet::{
    ActionError, answer, count_refused, count_signer, may_ask_chain, too_often, unavailable,
};
use crate::http::params::Params;
use crate::http::request::Received;
use crate::id::RequestId;
use crate::wallet_auth::{WalletAuthFields, nonces, sign_in};

/// Wallet that wants to sign in.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChallengeBody {
    /// 0x and 40 hexadecimal digits; without it the message is for any wallet.
    #[schema(example = "0x52908400098527886E0F7030069857D2E4169EE7")]
    address: Option<String>,
}

/// Message to sign.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignInChallenge {
    /// Sign-In with Ethereum (EIP-4361); it is signed unchanged, and counts once.
    message: String,
    expires_at: String,
    #[serde(rename = "request_id")]
    #[schema(value_type = String)]
    request_id: RequestId,
}

/// Signed message.
#[derive(Debug, Deserialize, ToSchema)]
pub struct SignInBody {
    #[schema(example = "0x52908400098527886E0F7030069857D2E4169EE7")]
    address: String,
    /// The challenge's message, unchanged.
    message: String,
    /// EIP-191, ERC-1271, ERC-6492, or Tempo's P-256, WebAuthn and access keys.
    #[schema(example = "0x…")]
    signature: String,
}

/// A browser session as its owner sees it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    id: String,
    wallet: String,
    created_at: String,
    last_seen_at: String,
    /// Latest moment; a session that is not used ends before.
    expires_at: String,
    user_agent: String,
    /// True for the session that asks.
    current: bool,
    /// True for a wallet of the operator.
    is_admin: bool,
}

/// The session of the browser that asks.
#[derive(Debug, Serialize, ToSchema)]
pub struct CurrentSession {
    /// `null` if nobody is signed in.
    session: Option<SessionView>,
    #[schema(value_type = String)]
    request_id: RequestId,
}

/// Living sessions of a wallet, the latest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionList {
    sessions: Vec<SessionView>,
    #[schema(value_type = String)]
    request_id: RequestId,
}

impl SessionView {
    fn new(app: &App, session: &BrowserSession, current: &str) -> Self {
        let admins = &app.config.dashboard.admins;
        Self {
            current: session.id == current,
            is_admin: session.wallet().parse::<Address>().is_ok_and(|wallet| admins.contains(&wallet)),
            id: session.id.clone(),
            wallet: session.wallet().to_owned(),
            created_at: session.created_at.to_rfc3339(),
            last_seen_at: session.seen_at.to_rfc3339(),
            expires_at: session.expires_at.to_rfc3339(),
            user_agent: session.user_agent.clone(),
        }
    }
}

/// Refuses what only the dashboard's host serves.
fn check_host(app: &App, request: &Received) -> Result<(), HttpError> {
    let config = &app.config;
    if config.dashboard.enabled && browser::is_dashboard_host(config, &request.uri, &request.headers) {
        return Ok(());
    }
    let detail = if config.dashboard.enabled {
        format!("people sign in at {}/dashboard", config.dashboard_url())
    } else {
        "this server has no dashboard: dashboard.enabled is false".to_owned()
    };
    Err(HttpError::new(Code::NotFound, detail))
}

/// Get a message to sign in with.
#[utoipa::path(post, path = "/api/v1/auth/challenge", operation_id = "sign_in_challenge", tag = "sign-in",
    request_body = ChallengeBody,
    responses((status = 200, description = "`message`, which the wallet signs", body = SignInChallenge),
        (status = 400, description = "The address cannot be read"),
        (status = 404, description = "People sign in at another host, or not at all"), (status = 429, description = "rate_limit_exceeded_rpm")))]
pub async fn challenge(AppState(app): AppState<State>, request: Received) -> Result<Response, HttpError> {
    check_host(&app, &request)?;
    count_signer(&app, request.client, request.at)?;
    let body: ChallengeBody = Params::of(&request)?.read()?;
    let address = body.address.as_deref().filter(|text| !text.is_empty()).map(|text| {
        let address = (text.len() == 42 && text.starts_with("0x")).then(|| text.parse().ok()).flatten();
        address.ok_or_else(|| HttpError::invalid("address must be 0x and 40 hexadecimal digits"))
    });
    let wallet = address.transpose()?.unwrap_or(Address::ZERO);
    let random = request.nonce.simple().to_string();
    let challenge = SignInChallenge {
        message: app.sign_in.message(wallet, &random, request.at),
        expires_at: request.at.checked_add_millis(sign_in::TTL_MS).unwrap_or(request.at).to_rfc3339(),
        request_id: request.id,
    };
    Ok(answer(StatusCode::OK, &challenge))
}

/// Sign in.
///
/// The answer sets a cookie that only this server reads. A session of this browser before ends.
#[utoipa::path(post, path = "/api/v1/auth", operation_id = "sign_in", tag = "sign-in", request_body = SignInBody,
    responses((status = 200, description = "`session`, and its cookie", body = CurrentSession),
        (status = 400, description = "A field is missing or unknown"), (status = 404, description = "People sign in at another host, or not at all"),
        (status = 403, description = "The message or its signature does not count"),
        (status = 429, description = "rate_limit_exceeded_rpm")))]
pub async fn sign_in(AppState(app): AppState<State>, request: Received) -> Result<Response, HttpError> {
    check_host(&app, &request)?;
    let cookies = CookieRequest::from(&request);
    // A page of another origin would sign a person in as somebody else. Programs say neither.
    if browser::is_of_page(&request.headers) {
        browser::check_page(&app.config, cookies)?;
    }
    let (now, client) = (request.at, request.client);
    count_signer(&app, client, now)?;
    let body: SignInBody = Params::of(&request)?.read()?;
    let fields =
        WalletAuthFields { wallet: &body.address, message: &body.message, signature: &body.signature };
    let verified = app.sign_in.verify(&app.chain, fields, now, || may_ask_chain(&app, client, now)).await;
    let verified = &verified.inspect_err(count_refused)?;
    app.management_by_wallet.take(verified.account().clone(), now).map_err(too_often)?;
    let earlier = if browser::is_of_page(&request.headers) {
        browser::living_session(&app, cookies).await?
    } else {
        None
    };
    let minted = MintedSession::random();
    let new = NewSession {
        minted: &minted,
        account: verified.account(),
        user_agent: request.header(USER_AGENT.as_str()).unwrap_or_default(),
        replaces: earlier.as_ref(),
    };
    let sessions = &app.browser_sessions;
    let session = app
        .db
        .transaction(|mut tx| async move {
            nonces::consume(&mut tx, verified, now).await??;
            let session = sessions.begin(&mut tx, new, now).await?;
            Ok::<_, ActionError>((tx, session))
        })
        .await?;
    tracing::info!(account = %session.account, session = session.id, "signed in");
    metrics::counter!("farebox_sign_ins_total").increment(1);
    let view = SessionView::new(&app, &session, &session.id);
    let body = CurrentSession { session: Some(view), request_id: request.id };
    Ok(with_cookie(&app, answer(StatusCode::OK, &body), Some(&minted)))
}

fn with_cookie(app: &App, mut response: Response, minted: Option<&MintedSession>) -> Response {
    let secret = minted.map(|minted| &minted.secret);
    let cookie = browser::set_cookie(&app.config, secret, app.browser_sessions.longest());
    let mut value = HeaderValue::from_str(&cookie).expect("ours, and visible ASCII");
    value.set_sensitive(true);
    response.headers_mut().insert(SET_COOKIE, value);
    response
}

/// Show who is signed in.
#[utoipa::path(get, path = "/api/v1/auth/session", operation_id = "get_session", tag = "sign-in",
    responses((status = 200, description = "`session`, or null", body = CurrentSession),
        (status = 403, description = "A page of another origin asks"), (status = 429, description = "rate_limit_exceeded_rpm")))]
pub async fn session(AppState(app): AppState<State>, request: Received) -> Result<Response, HttpError> {
    let session = browser::session_of(&app, (&request).into()).await?;
    let session = session.map(|session| SessionView::new(&app, &session, &session.id));
    Ok(answer(StatusCode::OK, &CurrentSession { session, request_id: request.id }))
}

/// Sign out.
#[utoipa::path(post, path = "/api/v1/auth/logout", operation_id = "sign_out", tag = "sign-in",
    responses((status = 204, description = "The session has ended, or there was none"),
        (status = 403, description = "A page of another origin asks"), (status = 429, description = "rate_limit_exceeded_rpm")))]
pub async fn sign_out(AppState(app): AppState<State>, request: Received) -> Result<Response, HttpError> {
    // A form of another page, which comes without the cookie, must not take it away.
    if browser::is_of_page(&request.headers) {
        browser::check_page(&app.config, (&request).into())?;
    }
    if let Some(session) = browser::session_of(&app, (&request).into()).await? {
        end(&app, &session, &session.id).await?;
    }
    Ok(with_cookie(&app, no_content(), None))
}

/// List where a wallet is signed in.
#[utoipa::path(get, path = "/api/v1/auth/sessions", operation_id = "list_sessions", tag = "sign-in",
    responses((status = 200, description = "`sessions`", body = SessionList), (status = 401, description = "missing_wallet_auth"),
        (status = 403, description = "A page of another origin asks"), (status = 429, description = "rate_limit_exceeded_rpm")))]
pub async fn sessions(AppState(app): AppState<State>, signed_in: SignedIn) -> Result<Response, HttpError> {
    let SignedIn { session: current, request } = signed_in;
    let sessions = app.browser_sessions.list(&current.account, request.at).await;
    let sessions = sessions.map_err(|error| unavailable(&error))?;
    let sessions = sessions.iter().map(|session| SessionView::new(&app, session, &current.id)).collect();
    Ok(answer(StatusCode::OK, &SessionList { sessions, request_id: request.id }))
}

/// End a session, here or in another browser.
#[utoipa::path(delete, path = "/api/v1/auth/sessions/{id}", operation_id = "end_session", tag = "sign-in",
    params(("id" = String, Path)),
    responses((status = 204, description = "It has ended"), (status = 401, description = "missing_wallet_auth"),
        (status = 404, description = "No such session of this wallet"),
        (status = 403, description = "A page of another origin asks"), (status = 429, description = "rate_limit_exceeded_rpm")))]
pub async fn end_session(
    AppState(app): AppState<State>,
    Path(id): Path<String>,
    signed_in: SignedIn,
) -> Result<Response, HttpError> {
    if end(&app, &signed_in.session, &id).await? {
        return Ok(no_content());
    }
    Err(HttpError::new(
        Code::NotFound,
        "this wallet has no such session; GET /api/v1/auth/sessions lists them",
    ))
}

async fn end(app: &App, session: &BrowserSession, id: &str) -> Result<bool, HttpError> {
    let ended = app.browser_sessions.end(&session.account, id).await.map_err(|error| unavailable(&error))?;
    if ended {
        tracing::info!(account = %session.account, session = id, "signed out");
    }
    Ok(ended)
}

fn no_content() -> Response {
    (StatusCode::NO_CONTENT, [(CACHE_CONTROL, "no-store")]).into_response()
}
