//! The gate of the management API: a handler that takes [`WalletSigned`] runs only when the
//! wallet signed for that very action and key. The signature alone allows nothing: its nonce is
//! consumed in the transaction that carries the action out.
//!
//! A browser session, which a wallet signed for as well, stands for the signature where an action gives no authority
//! ([`SignedAction::BY_SESSION`]).

use std::marker::PhantomData;
use std::net::IpAddr;

use axum::extract::{FromRequest, FromRequestParts as _, RawPathParams, Request};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::browser;
use crate::app::App;
use crate::browser_sessions::BrowserSession;
use crate::db::{DbError, Tx, TxError};
use crate::funding::card::CheckoutError;
use crate::http::error::{Code, HttpError, wait_seconds};
use crate::http::params::Params;
use crate::http::request::Received;
use crate::http::{BRIEF_CACHE_POLICY, State};
use crate::id::{AccountId, RequestId, Timestamp};
use crate::keys::KeysError;
use crate::limits::RateLimited;
use crate::oauth::OauthStoreError;
use crate::wallet_auth::nonces::{self, Authorized};
use crate::wallet_auth::{
    AuthError, RequestedAction, SignedTerms, VerifiedMessage, WalletAction, WalletAuthFields, verify,
};

/// Action that a handler carries out.
pub trait SignedAction {
    const ACTION: WalletAction;
    /// True if a browser session can ask for it without a signature.
    const BY_SESSION: bool;
}

macro_rules! signed_actions {
    ($($name:ident: $action:ident, $by_session:literal;)*) => {
        $(
            #[derive(Debug)]
            pub struct $name;
            impl SignedAction for $name {
                const ACTION: WalletAction = WalletAction::$action;
                const BY_SESSION: bool = $by_session;
            }
        )*
    };
}
signed_actions! {
    Create: Create, false;
    List: List, true;
    Revoke: Revoke, true;
    Rotate: Rotate, false;
    Update: Update, false;
    // An update whose handler lets a session give no more than there is.
    Lower: Update, true;
    Balance: Balance, true;
    Ledger: Ledger, true;
    Checkout: Checkout, true;
    Connect: Connect, false;
}

/// Evidence that a wallet asks.
enum Proof {
    Message(VerifiedMessage),
    Session {
        session: BrowserSession,
        /// Nonce in place of a message's: every request by a session is another one.
        nonce: String,
    },
}

/// Parameters that prove a wallet.
const PROOF: [&str; 3] = ["walletAddress", "message", "signature"];

/// A management request whose signature is not verified yet.
pub struct UnverifiedRequest {
    request: Received,
    params: Params,
    /// Key that the path names.
    key_id: Option<String>,
}

/// Proof that the wallet signed for the action `A`, and for the key of the path where there is one. Only
/// [`UnverifiedRequest::verify`] makes one.
pub struct WalletSigned<A> {
    proof: Proof,
    request: Received,
    /// Other parameters of the request, until they are read.
    params: Option<Params>,
    key_id: Option<String>,
    action: PhantomData<A>,
}

/// Proof of a wallet, for every management request. As query parameters with GET; POST keeps
/// them out of logs.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "documents what UnverifiedRequest takes from the parameters")]
pub struct WalletAuth {
    #[schema(example = "0x52908400098527886E0F7030069857D2E4169EE7")]
    wallet_address: String,
    /// Or Sign-In with Ethereum (EIP-4361) with the statement `Pryv API key mgmt; action=…; keyId=…`.
    #[schema(
        example = "Pryv API key mgmt | action=create | keyId= | nonce=<uuid> | ts=<ISO 8601> | host=<host> | body=<SHA-256>"
    )]
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
        let request = Received::from_request(Request::from_parts(parts, body), app).await?;
        let params = Params::of(&request)?;
        Ok(Self { request, params, key_id })
    }
}

impl<A: SignedAction + Send> FromRequest<State> for WalletSigned<A> {
    type Rejection = HttpError;

    async fn from_request(request: Request, app: &State) -> Result<Self, HttpError> {
        UnverifiedRequest::from_request(request, app).await?.verify(app).await
    }
}

impl UnverifiedRequest {
    /// Returns true if the message claims this action: where one route serves two. The claim counts
    /// only once the signature is verified.
    pub fn claims_action(&self, action: WalletAction) -> bool {
        self.params.text("message").is_some_and(|message| {
            let claim = format!("action={action}");
            let squeezed: String = message.chars().filter(|c| !c.is_ascii_whitespace()).collect();
            squeezed.split(['|', ';']).any(|field| field.starts_with(&claim))
        })
    }

    /// Reads the parameters beside the proof, which they may decide about.
    ///
    /// # Errors
    /// 400 that names the field which is wrong.
    pub fn peek<T: serde::de::DeserializeOwned>(&self) -> Result<T, HttpError> {
        self.params.without(&PROOF).read()
    }

    /// Returns the request that carries the proof.
    pub fn request(&self) -> &Received {
        &self.request
    }

    /// Verifies message, time and signature.
    ///
    /// # Errors
    /// 401 when a field is missing, 403 for everything else that is wrong with them.
    pub async fn verify<A: SignedAction>(self, app: &App) -> Result<WalletSigned<A>, HttpError> {
        self.verify_terms(app, None).await
    }

    /// As [`Self::verify`], for a message that must name these terms.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub async fn verify_terms<A: SignedAction>(
        mut self,
        app: &App,
        terms: Option<SignedTerms<'_>>,
    ) -> Result<WalletSigned<A>, HttpError> {
        if A::BY_SESSION
            && PROOF.iter().all(|name| !self.params.contains(name))
            && let Some(session) = browser::session_of(app, (&self.request).into()).await?
        {
            let nonce = self.request.nonce.to_string();
            return Ok(self.proved(Proof::Session { session, nonce }));
        }
        let mut field = |name| {
            let text = self.params.take_text(name).filter(|text| !text.is_empty());
            text.ok_or(name)
        };
        let [wallet, message, signature] = PROOF.map(&mut field);
        let wallet = wallet.map_err(AuthError::Missing)?;
        let message = message.map_err(AuthError::Missing)?;
        let signature = signature.map_err(AuthError::Missing)?;
        let fields = WalletAuthFields { wallet: &wallet, message: &message, signature: &signature };
        let now = self.request.at;
        let address = self.request.client;
        count_signer(app, address, now)?;
        let may_ask_chain = || may_ask_chain(app, address, now);
        let requested = RequestedAction {
            action: A::ACTION,
            key_id: self.key_id.as_deref(),
            parameters: self.params.values(),
            terms,
        };
        let message = verify(&app.chain, &app.message_rules, fields, requested, now, may_ask_chain).await;
        let message = message.inspect_err(count_refused)?;
        app.management_by_wallet.take(message.account().clone(), now).map_err(too_often)?;
        Ok(self.proved(Proof::Message(message)))
    }

    fn proved<A>(self, proof: Proof) -> WalletSigned<A> {
        let (request, params, key_id) = (self.request, Some(self.params), self.key_id);
        WalletSigned { proof, request, params, key_id, action: PhantomData }
    }
}

/// Counts a request that says it is signed against its address.
///
/// # Errors
/// 429.
pub fn count_signer(app: &App, address: Option<IpAddr>, now: Timestamp) -> Result<(), HttpError> {
    address.map_or(Ok(()), |address| app.management_by_address.take(address, now)).map_err(too_often)
}

/// Decides if an address may cost the chain a question now: anybody can send signatures that do, so they are counted like
/// guesses at keys.
///
/// # Errors
/// The seconds to wait.
pub fn may_ask_chain(app: &App, address: Option<IpAddr>, now: Timestamp) -> Result<(), u32> {
    let taken = address.map_or(Ok(()), |address| app.unauthenticated_limiter.take(address, now));
    taken.map_err(|refused| wait_seconds(refused.wait_ms))
}

/// Counts a signature that was refused.
pub fn count_refused(error: &AuthError) {
    let code = HttpError::from(*error).code.as_str();
    metrics::counter!("farebox_wallet_auth_refused_total", "code" => code).increment(1);
}

impl<A> WalletSigned<A> {
    /// Returns the account of the wallet.
    pub fn account(&self) -> &AccountId {
        match &self.proof {
            Proof::Message(message) => message.account(),
            Proof::Session { session, .. } => &session.account,
        }
    }

    /// Returns the wallet's address, lower case.
    pub fn wallet(&self) -> String {
        match &self.proof {
            Proof::Message(message) => format!("{:#x}", message.wallet()),
            Proof::Session { session, .. } => session.wallet().to_owned(),
        }
    }

    /// Returns the message's nonce, or what stands for it where there is no message.
    pub fn nonce(&self) -> &str {
        match &self.proof {
            Proof::Message(message) => message.nonce(),
            Proof::Session { nonce, .. } => nonce,
        }
    }

    /// Returns true if a browser session asks, and no signature of this request.
    pub const fn is_by_session(&self) -> bool {
        matches!(self.proof, Proof::Session { .. })
    }

    /// Returns the request that carried the signature.
    pub fn request(&self) -> &Received {
        &self.request
    }

    /// Returns the request's id.
    pub fn request_id(&self) -> &RequestId {
        &self.request.id
    }

    /// Returns the time of the request.
    pub fn at(&self) -> Timestamp {
        self.request.at
    }

    /// Returns the key of the path, as it was written there.
    pub fn key_id(&self) -> &str {
        self.key_id.as_deref().unwrap_or_default()
    }

    /// Takes the parameters beside the signature; the second time there are none.
    ///
    /// # Errors
    /// 400 that names the field which is wrong.
    pub fn read<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, HttpError> {
        self.params.take().unwrap_or_else(Params::none).read()
    }

    /// Makes a JSON answer that its owner may see again for a few seconds: a list of keys, or a balance. A browser gets it
    /// anew each time: it asks under the same address whoever is signed in, and after each change.
    pub fn answer_briefly(&self, body: &impl Serialize) -> Response {
        let policy = if self.is_by_session() { "no-store" } else { BRIEF_CACHE_POLICY };
        answer_with(StatusCode::OK, policy, body)
    }

    /// Consumes the nonce in the transaction that carries the action out. A session has none.
    ///
    /// # Errors
    /// [`ActionError`]: 403 `NONCE_REPLAY` when it was used, or the database fails.
    pub async fn consume(&self, tx: &mut Tx) -> Result<Authorized<'_>, ActionError> {
        match &self.proof {
            Proof::Message(message) => Ok(nonces::consume(tx, message, self.at()).await??),
            Proof::Session { session, .. } => Ok(session.authorized()),
        }
    }

    /// Consumes the nonce for a read, which needs no other transaction.
    ///
    /// # Errors
    /// As [`Self::consume`].
    pub async fn authorize_read(&self, app: &App) -> Result<&AccountId, HttpError> {
        if !self.is_by_session() {
            app.db
                .transaction(|mut tx| async move {
                    self.consume(&mut tx).await?;
                    Ok::<_, ActionError>((tx, ()))
                })
                .await?;
        }
        Ok(self.account())
    }
}

/// Reason an action was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ActionError {
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error(transparent)]
    Checkout(#[from] CheckoutError),
    #[error(transparent)]
    Oauth(#[from] OauthStoreError),
    /// The handler's own reason.
    #[error("{}", .0.detail)]
    Refused(HttpError),
}

impl TxError for ActionError {
    fn db(&self) -> Option<&DbError> {
        match self {
            Self::Db(error) => Some(error),
            Self::Keys(error) => error.db(),
            Self::Checkout(error) => error.db(),
            Self::Oauth(error) => error.db(),
            Self::Auth(_) | Self::Refused(_) => None,
        }
    }
}

impl From<ActionError> for HttpError {
    fn from(error: ActionError) -> Self {
        match error {
            ActionError::Auth(error) => error.into(),
            ActionError::Refused(error) => error,
            ActionError::Db(error) => unavailable(&error),
            ActionError::Keys(error) => unavailable(&error),
            ActionError::Oauth(error) => unavailable(&error),
            ActionError::Checkout(error) => error.into(),
        }
    }
}

impl From<AuthError> for HttpError {
    fn from(error: AuthError) -> Self {
        let code = match error {
            AuthError::Missing(_) => Code::MissingWalletAuth,
            AuthError::ActionMismatch(_) => Code::ActionMismatch,
            AuthError::KeyIdMismatch => Code::KeyIdMismatch,
            AuthError::Replay => Code::NonceReplay,
            AuthError::Message(_) => Code::MessageInvalid,
            AuthError::Timestamp(_) => Code::TimestampInvalid,
            AuthError::Signature(_) => Code::SignatureInvalid,
            AuthError::ChainUnreachable => Code::SignatureVerifyError,
            AuthError::RateLimited(_) => Code::RateLimitExceededRpm,
        };
        let answer = Self::new(code, error.to_string());
        match error {
            AuthError::ChainUnreachable => answer.retry_soon(),
            AuthError::RateLimited(seconds) => answer.retry_after(seconds),
            AuthError::Missing(_)
            | AuthError::ActionMismatch(_)
            | AuthError::KeyIdMismatch
            | AuthError::Replay
            | AuthError::Message(_)
            | AuthError::Timestamp(_)
            | AuthError::Signature(_) => answer,
        }
    }
}

/// Makes the error of a wallet, or an address, that manages too much: nothing was written, and nobody asked.
pub fn too_often(limited: RateLimited) -> HttpError {
    HttpError::new(
        Code::RateLimitExceededRpm,
        "too many signed requests in a minute; send this one again later",
    )
    .retry_after_millis(limited.wait_ms)
}

/// Logs a failure of the database and makes its error: nothing was done, and the same message can be sent again.
pub fn unavailable(error: &dyn std::error::Error) -> HttpError {
    tracing::error!(error = %error, "a management request failed");
    HttpError::unavailable("the records cannot be read or written now; send the request again")
}

/// Makes a JSON answer. Nothing of it may be kept by caches: some answers hold secrets.
pub fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    answer_with(status, "no-store", body)
}

fn answer_with(status: StatusCode, cache_policy: &str, body: &impl Serialize) -> Response {
    let json = serde_json::to_string(body).expect("plain data is valid JSON");
    (status, [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, cache_policy)], json).into_response()
}
