//! The gate in front of what wallets own: a handler that takes [`WalletSigned`] runs only when the
//! wallet signed for that very action and key. The signature alone allows nothing: its nonce is
//! used up in the transaction that does what was signed for.

use std::marker::PhantomData;
use std::net::IpAddr;

use axum::extract::{FromRequest, FromRequestParts as _, RawPathParams, Request};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::State;
use super::error::{Code, HttpError};
use super::params::Params;
use super::request::{Peer, Received};
use super::v1::bearer::address;
use crate::app::App;
use crate::db::{DbError, Tx, TxError};
use crate::funding::card::CheckoutError;
use crate::id::{AccountId, RequestId, Timestamp};
use crate::keys::KeysError;
use crate::wallet_auth::nonces::{self, Authorized};
use crate::wallet_auth::{
    AuthError, RequestedAction, VerifiedMessage, WalletAction, WalletAuthFields, verify,
};

/// What a handler is for.
pub trait SignedAction {
    const ACTION: WalletAction;
}

macro_rules! purposes {
    ($($name:ident),*) => {
        $(
            #[derive(Debug)]
            pub struct $name;
            impl SignedAction for $name {
                const ACTION: WalletAction = WalletAction::$name;
            }
        )*
    };
}
purposes!(Create, List, Revoke, Rotate, Balance, Ledger, Checkout);

/// A management request whose signature was not looked at yet.
pub struct UnverifiedRequest {
    request: Received,
    params: Params,
    /// Of the path.
    key_id: Option<String>,
    address: Option<IpAddr>,
}

/// Proof that the wallet signed for `P`, and for the key of the path where there is one. Only
/// [`UnverifiedRequest::signed_for`] makes one.
pub struct WalletSigned<P> {
    signed: VerifiedMessage,
    request: Received,
    /// What else was sent.
    params: Option<Params>,
    key_id: Option<String>,
    purpose: PhantomData<P>,
}

/// The proof of a wallet, for every management request. As query parameters with GET; POST keeps
/// them out of logs.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "documents what UnverifiedRequest takes from the parameters")]
pub struct WalletAuth {
    #[schema(example = "0x52908400098527886E0F7030069857D2E4169EE7")]
    wallet_address: String,
    /// Or Sign-In with Ethereum (EIP-4361) with the statement `Pryv API key mgmt; action=…; keyId=…`.
    #[schema(example = "Pryv API key mgmt | action=create | keyId= | nonce=<uuid> | ts=<ISO 8601>")]
    message: String,
    /// Over the message: EIP-191, ERC-1271, ERC-6492, or Tempo's P-256, WebAuthn and access keys.
    #[schema(example = "0x…")]
    signature: String,
}

impl FromRequest<State> for UnverifiedRequest {
    type Rejection = HttpError;

    async fn from_request(request: Request, app: &State) -> Result<Self, HttpError> {
        let (mut parts, body) = request.into_parts();
        let path = RawPathParams::from_request_parts(&mut parts, app).await;
        let key_id = path.ok().and_then(|path| {
            path.iter().find(|(name, _)| *name == "keyId").map(|(_, value)| value.to_owned())
        });
        let address = address(parts.extensions.get::<Peer>().copied(), &parts.headers);
        let request = Received::from_request(Request::from_parts(parts, body), app).await?;
        let params = Params::of(&request)?;
        Ok(Self { request, params, key_id, address })
    }
}

impl<P: SignedAction + Send> FromRequest<State> for WalletSigned<P> {
    type Rejection = HttpError;

    async fn from_request(request: Request, app: &State) -> Result<Self, HttpError> {
        UnverifiedRequest::from_request(request, app).await?.signed_for(app).await
    }
}

impl UnverifiedRequest {
    /// Whether the message speaks of this action: where one route serves two. What it says counts
    /// only once its signature was checked.
    pub fn claims_action(&self, action: WalletAction) -> bool {
        self.params.peek("message").is_some_and(|message| {
            let wanted = format!("action={action}");
            let squeezed: String = message.chars().filter(|c| !c.is_ascii_whitespace()).collect();
            squeezed.split(['|', ';']).any(|field| field.starts_with(&wanted))
        })
    }

    /// Checks message, time and signature.
    ///
    /// # Errors
    /// 401 when a field is missing, 403 for everything else that is wrong with them.
    pub async fn signed_for<P: SignedAction>(mut self, app: &App) -> Result<WalletSigned<P>, HttpError> {
        let mut field = |name| self.params.take_text(name).filter(|text| !text.is_empty());
        let [wallet, message, signature] =
            ["walletAddress", "message", "signature"].map(|name| (name, field(name)));
        let given =
            |(name, text): &(&'static str, Option<String>)| text.clone().ok_or(AuthError::Missing(name));
        let (wallet, message, signature) = (given(&wallet)?, given(&message)?, given(&signature)?);
        let fields = WalletAuthFields { wallet: &wallet, message: &message, signature: &signature };
        let now = Timestamp::now();
        // Anybody can send such signatures: they are counted like guesses at keys.
        let may_ask = || {
            let taken = self.address.map_or(Ok(()), |address| app.unauthenticated_limiter.take(address, now));
            taken.map_err(|often| u32::try_from(often.wait_ms / 1000).unwrap_or(u32::MAX).saturating_add(1))
        };
        let purpose = RequestedAction { action: P::ACTION, key_id: self.key_id.as_deref() };
        let signed = verify(&app.chain, &app.message_rules, fields, purpose, now, may_ask).await;
        let signed = signed.inspect_err(|error| {
            let code = HttpError::from(*error).code.as_str();
            metrics::counter!("farebox_wallet_auth_refused_total", "code" => code).increment(1);
        })?;
        let (request, params, key_id) = (self.request, Some(self.params), self.key_id);
        Ok(WalletSigned { signed, request, params, key_id, purpose: PhantomData })
    }
}

impl<P> WalletSigned<P> {
    /// The account of the wallet.
    pub fn account(&self) -> &AccountId {
        self.signed.account()
    }

    /// The wallet's address, lower case.
    pub fn wallet(&self) -> String {
        format!("{:#x}", self.signed.wallet())
    }

    pub fn nonce(&self) -> &str {
        self.signed.nonce()
    }

    pub fn request(&self) -> &Received {
        &self.request
    }

    pub fn request_id(&self) -> &RequestId {
        &self.request.id
    }

    /// The key of the path, as it was written there.
    pub fn key_id(&self) -> &str {
        self.key_id.as_deref().unwrap_or_default()
    }

    /// What was sent beside the signature; the second time there is nothing.
    ///
    /// # Errors
    /// 400 that names the field which is wrong.
    pub fn read<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, HttpError> {
        self.params.take().unwrap_or_else(Params::none).read()
    }

    /// Uses the nonce up in the transaction that does what was signed for.
    ///
    /// # Errors
    /// [`ActionError`]: 403 `NONCE_REPLAY` when it was used, or the database fails.
    pub async fn consume(&self, tx: &mut Tx, now: Timestamp) -> Result<Authorized<'_>, ActionError> {
        Ok(nonces::consume(tx, &self.signed, now).await??)
    }

    /// Uses the nonce up for a read, which needs no other transaction.
    ///
    /// # Errors
    /// As [`Self::consume`].
    pub async fn read_only(&self, app: &App) -> Result<&AccountId, HttpError> {
        let now = Timestamp::now();
        app.db
            .transaction(|mut tx| async move {
                self.consume(&mut tx, now).await?;
                Ok::<_, ActionError>((tx, ()))
            })
            .await?;
        Ok(self.account())
    }
}

/// Why what was signed for was not done.
#[derive(Debug)]
pub enum ActionError {
    Auth(AuthError),
    Db(DbError),
    Keys(KeysError),
    Checkout(CheckoutError),
    /// What the handler says.
    Refused(HttpError),
}

impl From<AuthError> for ActionError {
    fn from(error: AuthError) -> Self {
        Self::Auth(error)
    }
}

impl From<DbError> for ActionError {
    fn from(error: DbError) -> Self {
        Self::Db(error)
    }
}

impl From<KeysError> for ActionError {
    fn from(error: KeysError) -> Self {
        Self::Keys(error)
    }
}

impl From<CheckoutError> for ActionError {
    fn from(error: CheckoutError) -> Self {
        Self::Checkout(error)
    }
}

impl TxError for ActionError {
    fn db(&self) -> Option<&DbError> {
        match self {
            Self::Db(error) => Some(error),
            Self::Keys(error) => error.db(),
            Self::Checkout(error) => error.db(),
            Self::Auth(_) | Self::Refused(_) => None,
        }
    }
}

impl From<ActionError> for HttpError {
    fn from(failed: ActionError) -> Self {
        match failed {
            ActionError::Auth(error) => error.into(),
            ActionError::Refused(error) => error,
            ActionError::Db(error) => unavailable(&error),
            ActionError::Keys(error) => unavailable(&error),
            ActionError::Checkout(error) => error.into(),
        }
    }
}

impl From<AuthError> for HttpError {
    fn from(error: AuthError) -> Self {
        let code = match error {
            AuthError::Missing(_) => Code::MissingWalletAuth,
            AuthError::WalletAction(_) => Code::ActionMismatch,
            AuthError::KeyId => Code::KeyIdMismatch,
            AuthError::Replay => Code::NonceReplay,
            AuthError::Message(_) => Code::MessageInvalid,
            AuthError::Time(_) => Code::TimestampInvalid,
            AuthError::Signature(_) => Code::SignatureInvalid,
            AuthError::Unverifiable => Code::SignatureVerifyError,
            AuthError::TooOften(_) => Code::RateLimitExceededRpm,
        };
        let answer = Self::new(code, error.to_string());
        match error {
            AuthError::Unverifiable => answer.retry_after(2),
            AuthError::TooOften(seconds) => answer.retry_after(seconds),
            AuthError::Missing(_)
            | AuthError::WalletAction(_)
            | AuthError::KeyId
            | AuthError::Replay
            | AuthError::Message(_)
            | AuthError::Time(_)
            | AuthError::Signature(_) => answer,
        }
    }
}

/// 503: nothing was done, and what was signed can be sent again.
pub fn unavailable(error: &dyn std::error::Error) -> HttpError {
    tracing::error!(error = %error, "a management request failed");
    HttpError::new(Code::ServiceUnavailable, "the records cannot be read or written now; try again")
        .retry_after(2)
}

/// A JSON answer with its request's id. Nothing of it may be kept by caches: some hold secrets.
pub fn answer(status: StatusCode, id: &RequestId, mut fields: Value) -> Response {
    fields["request_id"] = json!(id.as_str());
    (status, [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], fields.to_string())
        .into_response()
}
