//! A client that logs in at the authorization server, and the wallet that lets it.

use alloy::signers::SignerSync as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use farebox::config::Config;
use farebox::db::Engine;
use farebox::ledger::audit::audit;
use reqwest::{Method, RequestBuilder, Url};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::agent::Agent;
use crate::db;
use crate::harness::{self, Reply, Server, reply, shared_chain};

pub const CALLBACK: &str = "http://127.0.0.1:3118/callback";
pub const GRANTS: &str = "/api/v1/oauth/grants";
pub const KEYS: &str = "/api/v1/keys";

/// Runs a test once on every engine, on the shared chain.
pub async fn on_every_engine(configure: impl Fn(&mut Config), test: impl AsyncFn(&Server)) {
    for database in db::engines().await {
        let mut server = Server::on(database, &shared_chain().await.rpc_url(), |config| {
            config.keys.anonymous_rpm = 60_000;
            config.mcp.registration_rpm = 60_000;
            config.mcp.token_rpm = 60_000;
            configure(config);
        })
        .await;
        test(&server).await;
        assert_audit(&server).await;
        server.stop().await;
    }
}

pub async fn assert_audit(server: &Server) {
    let report = audit(&server.db.db).await.expect("the audit runs");
    assert!(report.is_clean(), "{report}");
}

/// A server and, where several can share a database, another instance of it.
pub struct Instances<'a> {
    first: &'a Server,
    second: Option<Server>,
}

impl<'a> Instances<'a> {
    pub async fn of(first: &'a Server) -> Self {
        let mut config = first.app.config.clone();
        config.mcp.public_url = Some(first.app.config.mcp_url().to_owned());
        let second = match first.db.db.engine {
            Engine::Postgres => Some(Server::boot(first.db.shared().await, config).await),
            Engine::Sqlite => None,
        };
        Self { first, second }
    }

    /// One of them, in turn.
    pub fn any(&self, turn: usize) -> &Server {
        self.second.as_ref().filter(|_| turn % 2 == 1).unwrap_or(self.first)
    }

    pub async fn stop(&mut self) {
        if let Some(second) = &mut self.second {
            second.stop().await;
        }
    }
}

/// A server, in this process or in one of its own.
pub trait Origin {
    /// Its URL, without a path.
    fn origin(&self) -> &str;
}

impl Origin for Server {
    fn origin(&self) -> &str {
        &self.url
    }
}

impl Origin for String {
    fn origin(&self) -> &str {
        self
    }
}

/// A request with a body of that type.
fn request(server: &impl Origin, method: Method, path: &str, kind: &str) -> RequestBuilder {
    let url = format!("{}{path}", server.origin());
    harness::client().request(method, url).header("content-type", kind)
}

/// A program that logs in.
#[derive(Debug, Clone)]
pub struct Client {
    pub id: String,
    pub redirect: String,
    pub verifier: String,
    pub state: String,
}

impl Client {
    /// A client of any id, with a verifier of its own.
    pub fn new(id: &str, redirect: &str) -> Self {
        let random = || format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        Self { id: id.to_owned(), redirect: redirect.to_owned(), verifier: random(), state: random() }
    }

    /// Registers itself.
    pub async fn registered(server: &impl Origin) -> Self {
        let registered =
            register(server, &json!({ "client_name": "Test client", "redirect_uris": [CALLBACK] })).await;
        assert_eq!(registered.status, 201, "{}", registered.text);
        Self::new(registered.json()["client_id"].as_str().expect("an id"), CALLBACK)
    }

    /// With a new verifier and state, as for another login.
    pub fn again(&self) -> Self {
        Self::new(&self.id, &self.redirect)
    }

    pub fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.verifier.as_bytes()))
    }

    /// The parameters of an honest authorization request.
    pub fn parameters(&self) -> Vec<(String, String)> {
        [
            ("response_type", "code"),
            ("client_id", &self.id),
            ("redirect_uri", &self.redirect),
            ("state", &self.state),
            ("code_challenge", &self.challenge()),
            ("code_challenge_method", "S256"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// Opens the page, with parameters changed or added; an empty value removes one.
    pub async fn open(&self, server: &impl Origin, changes: &[(&str, &str)]) -> Reply {
        let mut parameters = self.parameters();
        for (name, value) in changes {
            parameters.retain(|(known, _)| known != name);
            if !value.is_empty() {
                parameters.push(((*name).to_owned(), (*value).to_owned()));
            }
        }
        open_with(server, &parameters).await
    }

    /// Opens the page, and returns the sealed request.
    pub async fn begin(&self, server: &impl Origin, changes: &[(&str, &str)]) -> String {
        sealed(&self.open(server, changes).await)
    }

    /// Logs in: page, message, signature, code.
    pub async fn code(&self, server: &impl Origin, wallet: &Agent, terms: &Value) -> String {
        let request = self.begin(server, &[]).await;
        code_of(&consent(server, wallet, &request, terms).await)
    }

    /// Exchanges a code.
    pub async fn exchange(&self, server: &impl Origin, code: &str, changes: &[(&str, &str)]) -> Reply {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("client_id", &self.id),
            ("redirect_uri", &self.redirect),
            ("code_verifier", &self.verifier),
        ];
        for (name, value) in changes {
            form.retain(|(known, _)| known != name);
            if !value.is_empty() {
                form.push((name, value));
            }
        }
        post_form(server, "/oauth/token", &form).await
    }

    /// Exchanges a refresh token.
    pub async fn refresh(&self, server: &impl Origin, token: &str, more: &[(&str, &str)]) -> Reply {
        let mut form =
            vec![("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", &self.id)];
        form.extend(more);
        post_form(server, "/oauth/token", &form).await
    }

    /// Logs in, up to the tokens.
    pub async fn log_in(&self, server: &impl Origin, wallet: &Agent, terms: &Value) -> Tokens {
        let code = self.code(server, wallet, terms).await;
        Tokens::of(&self.exchange(server, &code, &[]).await)
    }
}

/// Tokens of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    pub access: String,
    pub refresh: String,
    pub scope: String,
    pub expires_in: i64,
}

impl Tokens {
    #[track_caller]
    pub fn of(reply: &Reply) -> Self {
        assert_eq!(reply.status, 200, "{}", reply.text);
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        let json = reply.json();
        assert_eq!(json["token_type"], "Bearer");
        let text = |name: &str| json[name].as_str().unwrap_or_else(|| panic!("{name}")).to_owned();
        Self {
            access: text("access_token"),
            refresh: text("refresh_token"),
            scope: text("scope"),
            expires_in: json["expires_in"].as_i64().expect("seconds"),
        }
    }
}

pub async fn open_with(server: &impl Origin, parameters: &[(String, String)]) -> Reply {
    let url =
        Url::parse_with_params(&format!("{}/oauth/authorize", server.origin()), parameters).expect("a URL");
    reply(harness::client().request(Method::GET, url)).await
}

/// The sealed request of a page.
#[track_caller]
pub fn sealed(page: &Reply) -> String {
    assert_eq!(page.status, 200, "{}", page.text);
    let (_, rest) = page.text.split_once("name=\"request\" value=\"").expect("the form has the request");
    rest.split_once('"').expect("it ends").0.to_owned()
}

pub async fn register(server: &impl Origin, metadata: &Value) -> Reply {
    reply(request(server, Method::POST, "/oauth/register", "application/json").body(metadata.to_string()))
        .await
}

/// A POST of a form.
pub fn form_request(server: &impl Origin, path: &str, form: &[(&str, &str)]) -> RequestBuilder {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    request(server, Method::POST, path, "application/x-www-form-urlencoded").body(body)
}

pub async fn post_form(server: &impl Origin, path: &str, form: &[(&str, &str)]) -> Reply {
    reply(form_request(server, path, form)).await
}

/// Asks for the message to sign.
pub async fn message(server: &impl Origin, wallet: &Agent, request: &str, terms: &Value) -> Reply {
    let body = with(&json!({ "request": request, "walletAddress": wallet.address() }), terms);
    reply(self::request(server, Method::POST, "/oauth/message", "application/json").body(body.to_string()))
        .await
}

/// The body that grants: terms, message, and the wallet's signature over it.
pub fn signed_consent(wallet: &Agent, request: &str, message: &str, terms: &Value) -> Value {
    let signature = wallet.signer.sign_message_sync(message.as_bytes()).expect("a local key signs");
    let proof = json!({
        "request": request,
        "walletAddress": wallet.address(),
        "message": message,
        "signature": alloy::hex::encode_prefixed(signature.as_bytes()),
    });
    with(&proof, terms)
}

/// Asks for the message, signs it, and grants.
pub async fn consent(server: &impl Origin, wallet: &Agent, request: &str, terms: &Value) -> Reply {
    let asked = message(server, wallet, request, terms).await;
    if asked.status != 200 {
        return asked;
    }
    let text = asked.json()["message"].as_str().expect("a message").to_owned();
    grant(server, &signed_consent(wallet, request, &text, terms)).await
}

pub async fn grant(server: &impl Origin, body: &Value) -> Reply {
    reply(request(server, Method::POST, "/oauth/authorize", "application/json").body(body.to_string())).await
}

/// The URL that a consent redirects to.
#[track_caller]
pub fn redirect_of(reply: &Reply) -> Url {
    assert_eq!(reply.status, 200, "{}", reply.text);
    Url::parse(reply.json()["redirect"].as_str().expect("a redirect")).expect("a URL")
}

/// A parameter of a URL.
pub fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

#[track_caller]
pub fn code_of(reply: &Reply) -> String {
    parameter(&redirect_of(reply), "code").expect("a code")
}

/// With more fields.
pub fn with(body: &Value, more: &Value) -> Value {
    let mut body = body.clone();
    for (name, value) in more.as_object().expect("an object") {
        body[name] = value.clone();
    }
    body
}

/// The fields that prove a wallet for a management action.
pub fn proof(wallet: &Agent, action: &str, key_id: &str) -> Value {
    let now = farebox::id::Timestamp::now().to_rfc3339();
    let nonce = Uuid::new_v4();
    let line = format!("Pryv API key mgmt | action={action} | keyId={key_id} | nonce={nonce} | ts={now}");
    let signature = wallet.signer.sign_message_sync(line.as_bytes()).expect("a local key signs");
    json!({
        "walletAddress": wallet.address(),
        "message": line,
        "signature": alloy::hex::encode_prefixed(signature.as_bytes()),
    })
}

/// A management request with a JSON body.
pub async fn manage(server: &impl Origin, method: Method, path: &str, body: &Value) -> Reply {
    reply(request(server, method, path, "application/json").body(body.to_string())).await
}

/// The living grants of a wallet.
pub async fn grants(server: &impl Origin, wallet: &Agent) -> Vec<Value> {
    let listed = manage(server, Method::POST, GRANTS, &proof(wallet, "list", "")).await;
    assert_eq!(listed.status, 200, "{}", listed.text);
    listed.json()["grants"].as_array().expect("grants").clone()
}

/// The only living grant of a wallet.
pub async fn only_grant(server: &impl Origin, wallet: &Agent) -> Value {
    let mut grants = grants(server, wallet).await;
    assert_eq!(grants.len(), 1, "{grants:?}");
    grants.remove(0)
}

/// The answer of the resource to a request with this `Authorization`.
pub async fn ask_resource(server: &impl Origin, authorization: Option<&str>) -> Reply {
    let request = harness::client().get(format!("{}/mcp", server.origin()));
    reply(match authorization {
        Some(value) => request.header("authorization", value),
        None => request,
    })
    .await
}

/// True if the resource lets an access token in.
pub async fn opens(server: &impl Origin, token: &str) -> bool {
    let answer = ask_resource(server, Some(&format!("Bearer {token}"))).await;
    assert_ne!(answer.status, 503, "{}", answer.text);
    answer.status != 401
}

/// The stable name of an OAuth error.
#[track_caller]
pub fn refused(reply: &Reply, status: u16, expected: &str) {
    assert_eq!(reply.status, status, "{}", reply.text);
    let json = reply.json();
    assert_eq!(json["error"], expected, "{}", reply.text);
    assert!(json["error_description"].as_str().is_some_and(|text| !text.is_empty()), "{}", reply.text);
}
