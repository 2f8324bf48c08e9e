//! `/api/v1/passkeys`: public keys of passkeys, so that a wallet's owner can sign in on a new device.

use axum::extract::{Path, State as AppState};
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::browser_sessions::passkeys::{self, Kept, MAX_LABEL, Passkey, PublicKey, is_credential_id};
use crate::http::State;
use crate::http::error::{Code, HttpError};
use crate::http::gates::browser::SignedIn;
use crate::http::gates::wallet::{answer, count_signer, unavailable};
use crate::http::params::Params;
use crate::http::request::Received;
use crate::id::RequestId;

/// Public part of a passkey that the wallet signed in with.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PasskeyBody {
    /// Uncompressed P-256 point: 0x04 and 128 hexadecimal digits.
    public_key: String,
    /// Up to 60 characters.
    label: Option<String>,
}

/// A passkey's public part.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasskeyView {
    /// base64url.
    credential_id: String,
    public_key: String,
    /// Wallet that follows from the key.
    address: String,
    label: String,
    created_at: String,
}

/// Passkeys of a wallet, the earliest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct PasskeyList {
    passkeys: Vec<PasskeyView>,
    #[schema(value_type = String)]
    request_id: RequestId,
}

impl From<Passkey> for PasskeyView {
    fn from(passkey: Passkey) -> Self {
        Self {
            address: format!("{:#x}", passkey.public_key.wallet()),
            public_key: passkey.public_key.to_text(),
            credential_id: passkey.credential_id,
            label: passkey.label,
            created_at: passkey.created_at.to_rfc3339(),
        }
    }
}

/// Look up the public key of a passkey.
///
/// An authenticator does not tell the key, from which the wallet's address follows.
#[utoipa::path(get, path = "/api/v1/passkeys/{credentialId}", operation_id = "get_passkey", tag = "sign-in",
    params(("credentialId" = String, Path)),
    responses((status = 200, description = "Its public key and wallet", body = PasskeyView),
        (status = 404, description = "This server does not know it"), (status = 429, description = "rate_limit_exceeded_rpm")))]
pub async fn find(
    AppState(app): AppState<State>,
    Path(id): Path<String>,
    request: Received,
) -> Result<Response, HttpError> {
    count_signer(&app, request.client, request.at)?;
    let found = if is_credential_id(&id) { passkeys::find(&app.db, &id).await } else { Ok(None) };
    let found = found.map_err(|error| unavailable(&error))?.ok_or_else(unknown)?;
    Ok(answer(StatusCode::OK, &PasskeyView { label: String::new(), ..found.into() }))
}

/// List a wallet's passkeys.
#[utoipa::path(get, path = "/api/v1/passkeys", operation_id = "list_passkeys", tag = "sign-in",
    responses((status = 200, description = "`passkeys`", body = PasskeyList), (status = 401, description = "missing_wallet_auth"), (status = 429, description = "rate_limit_exceeded_rpm")))]
pub async fn list(AppState(app): AppState<State>, signed_in: SignedIn) -> Result<Response, HttpError> {
    let passkeys = passkeys::list(&app.db, &signed_in.session.account).await;
    let passkeys = passkeys.map_err(|error| unavailable(&error))?.into_iter().map(Into::into).collect();
    Ok(answer(StatusCode::OK, &PasskeyList { passkeys, request_id: signed_in.request.id }))
}

/// Keep the public key of the passkey that the wallet signed in with, or its new label.
#[utoipa::path(put, path = "/api/v1/passkeys/{credentialId}", operation_id = "put_passkey", tag = "sign-in",
    params(("credentialId" = String, Path)), request_body = PasskeyBody,
    responses((status = 200, description = "It is kept", body = PasskeyView),
        (status = 400, description = "The key is not this wallet's, or there are too many"),
        (status = 401, description = "missing_wallet_auth"), (status = 429, description = "rate_limit_exceeded_rpm")))]
pub async fn put(
    AppState(app): AppState<State>,
    Path(id): Path<String>,
    signed_in: SignedIn,
) -> Result<Response, HttpError> {
    let SignedIn { session, request } = signed_in;
    if !is_credential_id(&id) {
        return Err(HttpError::invalid("credentialId must be base64url, of 16 to 1364 characters"));
    }
    let body: PasskeyBody = Params::of(&request)?.read()?;
    let public_key = PublicKey::parse(&body.public_key).ok_or_else(|| {
        HttpError::invalid("publicKey must be an uncompressed P-256 point: 0x04 and 128 hexadecimal digits")
    })?;
    if format!("{:#x}", public_key.wallet()) != session.wallet() {
        return Err(HttpError::invalid("publicKey is not that of the wallet that is signed in"));
    }
    let label = body.label.unwrap_or_default().trim().to_owned();
    if label.chars().count() > MAX_LABEL || label.chars().any(char::is_control) {
        return Err(HttpError::invalid(format!(
            "label can have {MAX_LABEL} characters, without line breaks"
        )));
    }
    let account = session.account.clone();
    let passkey = &Passkey { credential_id: id, public_key, account, label, created_at: request.at };
    let kept = app
        .db
        .transaction(|mut tx| async move {
            let kept = passkeys::keep(&mut tx, passkey).await?;
            Ok::<_, crate::db::DbError>((tx, kept))
        })
        .await;
    match kept.map_err(|error| unavailable(&error))? {
        Kept::Yes => Ok(answer(StatusCode::OK, &PasskeyView::from(passkey.clone()))),
        Kept::TooMany => {
            Err(HttpError::invalid("this wallet has as many passkeys as are kept; remove one first"))
        }
        Kept::Taken => Err(HttpError::invalid("credentialId is that of another wallet's passkey")),
    }
}

/// Forget a passkey's public key. The passkey itself stays with its device.
#[utoipa::path(delete, path = "/api/v1/passkeys/{credentialId}", operation_id = "forget_passkey", tag = "sign-in",
    params(("credentialId" = String, Path)),
    responses((status = 204, description = "It is forgotten"), (status = 401, description = "missing_wallet_auth"),
        (status = 404, description = "No such passkey of this wallet"), (status = 429, description = "rate_limit_exceeded_rpm")))]
pub async fn forget(
    AppState(app): AppState<State>,
    Path(id): Path<String>,
    signed_in: SignedIn,
) -> Result<Response, HttpError> {
    let forgotten = passkeys::forget(&app.db, &signed_in.session.account, &id).await;
    if forgotten.map_err(|error| unavailable(&error))? {
        return Ok((StatusCode::NO_CONTENT, [(CACHE_CONTROL, "no-store")]).into_response());
    }
    Err(unknown())
}

fn unknown() -> HttpError {
    HttpError::new(
        Code::NotFound,
        "this server knows no such passkey; sign in where it was made, or with a wallet",
    )
}
