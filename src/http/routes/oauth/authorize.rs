//! `/oauth/authorize`: the page on which a person decides, and the signature that comes of it.

use alloy::primitives::Address;
use axum::extract::State as AppState;
use axum::http::StatusCode;
use axum::http::header::{LOCATION, ORIGIN};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use url::{Url, form_urlencoded};

use super::page;
use super::terms::{TermsBody, may_fetch, unknown_client};
use crate::http::State;
use crate::http::error::{Code, HttpError};
use crate::http::gates::wallet::{ActionError, Connect, UnverifiedRequest, WalletSigned, answer};
use crate::http::params::Params;
use crate::http::request::Received;
use crate::oauth::client::{ClientOrigin, MAX_CLIENT_ID, OauthClient};
use crate::oauth::request::{self, RequestRefused};
use crate::oauth::{AuthorizationRequest, Consent, GrantError, RedirectKind, RedirectUri, RequestParameters};
use crate::wallet_auth::{SignedTerms, SiweDraft, WalletAction};

/// Path that messages are for.
const PATH: &str = "/oauth/authorize";

/// `GET /oauth/authorize`. Nothing is written: the page carries the request, sealed.
pub async fn show(AppState(app): AppState<State>, received: Received) -> Response {
    let query = received.uri.query().unwrap_or_default();
    let parameters = RequestParameters::of(form_urlencoded::parse(query.as_bytes()).into_owned());
    let (client, redirect_uri) = match recipient(&app, &received, &parameters).await {
        Ok(known) => known,
        Err(error) => return page::unusable(&app, &error),
    };
    let checked =
        AuthorizationRequest::check(client.clone(), redirect_uri.clone(), &parameters, app.oauth.resource());
    match checked {
        Ok(request) => {
            let sealed = app.oauth.seal(&request, received.at);
            let denied = [("error", "access_denied"), ("error_description", "the wallet's owner said no")];
            page::consent(&app, &request, &sealed, &request.answer(&denied, app.oauth.issuer()))
        }
        Err(refused) => refuse(&app, &client, &redirect_uri, parameters.state.as_deref(), refused),
    }
}

/// Returns client and redirect URI of a request: who may be told anything at all.
async fn recipient(
    app: &State,
    received: &Received,
    parameters: &RequestParameters,
) -> Result<(OauthClient, RedirectUri), HttpError> {
    if let Some(name @ ("client_id" | "redirect_uri")) = parameters.repeated {
        return Err(HttpError::invalid(format!("{name} is there twice; send it once")));
    }
    let client_id = parameters.client_id.as_deref().filter(|id| (1..=MAX_CLIENT_ID).contains(&id.len()));
    let client_id = client_id.ok_or_else(|| HttpError::invalid("the link names no client_id"))?;
    let client = app.oauth.client(client_id, received.at, || may_fetch(app, received)).await;
    let client = client.map_err(|error| unknown_client(app, received, error))?;
    let redirect_uri = app.oauth.redirect(&client, parameters.redirect_uri.as_deref());
    let redirect_uri = redirect_uri.ok_or_else(|| {
        HttpError::new(
            Code::InvalidRedirectUri,
            "the link's redirect_uri is none of those that the client registered",
        )
    })?;
    Ok((client, redirect_uri))
}

/// Tells the client why its request is refused. A site that nobody vouches for is not redirected to unasked: anybody can
/// register one or publish a document, and this server would be a link to anywhere.
fn refuse(
    app: &State,
    client: &OauthClient,
    redirect_uri: &RedirectUri,
    state: Option<&str>,
    refused: RequestRefused,
) -> Response {
    let parameters = [("error", refused.error), ("error_description", refused.description)];
    let location = request::answer(redirect_uri, state, &parameters, app.oauth.issuer());
    if client.origin != ClientOrigin::Pinned && redirect_uri.kind() != RedirectKind::Loopback {
        return page::refused(app, redirect_uri, refused.description, &location);
    }
    (StatusCode::FOUND, [(LOCATION, location)]).into_response()
}

/// `POST /oauth/message`: the message that a wallet signs for these terms.
pub async fn message(AppState(app): AppState<State>, received: Received) -> Result<Response, HttpError> {
    check_origin(&app, &received)?;
    let mut params = Params::of(&received)?;
    let wallet = params.take_text("walletAddress").unwrap_or_default();
    let wallet: Address = Some(wallet.as_str())
        .filter(|text| text.len() == 42 && text.starts_with("0x"))
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| HttpError::invalid("walletAddress must be 0x and 40 hexadecimal digits"))?;
    let body: TermsBody = params.read()?;
    let (request, terms) = body.read(&app, &received).await?;
    let (summary, digest) = &app.oauth.signed_terms(&request, &terms);
    let draft = SiweDraft {
        wallet,
        action: WalletAction::Connect,
        path: PATH,
        nonce: &received.nonce.simple().to_string(),
        terms: SignedTerms { summary, digest },
        resources: &[app.oauth.resource().as_str(), request.redirect_uri.as_str()],
    };
    let message = app.message_rules.write(&draft, received.at);
    let body = json!({
        "message": message,
        "requestId": digest,
        "scopes": terms.scopes.names(),
        "expiresAt": terms.expires_at.to_rfc3339(),
    });
    Ok(answer(StatusCode::OK, &body))
}

/// `POST /oauth/authorize`: grants what the wallet signed. Nonce, grant, key and code are one transaction.
pub async fn consent(
    AppState(app): AppState<State>,
    unverified: UnverifiedRequest,
) -> Result<Response, HttpError> {
    check_origin(&app, unverified.request())?;
    let body: TermsBody = unverified.peek()?;
    let (request, terms) = body.read(&app, unverified.request()).await?;
    let (summary, digest) = &app.oauth.signed_terms(&request, &terms);
    let named = SignedTerms { summary, digest };
    let signed: WalletSigned<Connect> = unverified.verify_terms(&app, Some(named)).await?;
    let (now, owner) = (signed.at(), signed.wallet());
    let consent = Consent { request: &request, terms: &terms, account: signed.account(), owner: &owner };
    let (signed, oauth) = (&signed, &app.oauth);
    let granted = app
        .db
        .transaction(|mut tx| async move {
            signed.consume(&mut tx).await?;
            let granted = oauth.grant(&mut tx, consent, now).await.map_err(refused_grant)?;
            Ok::<_, ActionError>((tx, granted))
        })
        .await?;
    app.keys.forget_cached(&granted.key);
    tracing::info!(wallet = owner, key = %granted.key, "OAuth client granted access");
    metrics::counter!("farebox_oauth_grants_total").increment(1);
    let redirect = request.answer(&[("code", granted.code.expose())], app.oauth.issuer());
    Ok(answer(StatusCode::OK, &json!({ "redirect": redirect })))
}

fn refused_grant(error: GrantError) -> ActionError {
    match error {
        GrantError::TooManyKeys => ActionError::Refused(HttpError::invalid(error.to_string())),
        GrantError::Store(error) => error.into(),
    }
}

/// Refuses a page of another origin: who signs should read this server's own. Programs send no `Origin`.
fn check_origin(app: &State, received: &Received) -> Result<(), HttpError> {
    // Browsers leave a usual port out.
    let own = Url::parse(app.oauth.issuer()).map(|url| url.origin().ascii_serialization());
    match received.headers.get(ORIGIN) {
        Some(origin) if !own.is_ok_and(|own| own.as_bytes() == origin.as_bytes()) => Err(HttpError::new(
            Code::ForeignOrigin,
            "only this server's own page sends signatures here; open the link of the program that asks",
        )),
        _ => Ok(()),
    }
}
