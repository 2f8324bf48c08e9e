//! Authorization requests: read from a query, sealed until the wallet has signed. Pure.

use serde::{Deserialize, Serialize};

use super::client::OauthClient;
use super::consent::DEFAULT_DAYS;
use super::pkce::CodeChallenge;
use super::redirect::RedirectUri;
use super::resource::ResourceServer;
use super::scope::Scopes;
use crate::id::Timestamp;
use crate::seal::Sealer;

/// Label of requests under the seal.
const LABEL: &str = "request";
/// Time that a person has to sign, in milliseconds.
const TTL_MS: i64 = 3_600_000;
/// Longest `state` that is carried, in bytes.
const MAX_STATE: usize = 4096;

/// Parameters of a request (RFC 6749, section 4.1.1), each of which may be there once.
#[derive(Debug, Clone, Default)]
pub struct RequestParameters {
    pub response_type: Option<String>,
    pub client_id: Option<String>,
    pub redirect_uri: Option<String>,
    pub scope: Option<String>,
    pub state: Option<String>,
    pub code_challenge: Option<String>,
    pub code_challenge_method: Option<String>,
    pub response_mode: Option<String>,
    /// May be there more than once (RFC 8707, section 2).
    pub resource: Vec<String>,
    /// Name of another parameter that is there twice.
    pub repeated: Option<&'static str>,
}

impl RequestParameters {
    /// Takes the parameters out of pairs; unknown ones are passed over.
    #[must_use]
    pub fn of(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut read = Self::default();
        for (name, value) in pairs {
            let (slot, name) = match name.as_str() {
                "response_type" => (&mut read.response_type, "response_type"),
                "client_id" => (&mut read.client_id, "client_id"),
                "redirect_uri" => (&mut read.redirect_uri, "redirect_uri"),
                "scope" => (&mut read.scope, "scope"),
                "state" => (&mut read.state, "state"),
                "code_challenge" => (&mut read.code_challenge, "code_challenge"),
                "code_challenge_method" => (&mut read.code_challenge_method, "code_challenge_method"),
                "response_mode" => (&mut read.response_mode, "response_mode"),
                "resource" => {
                    read.resource.push(value);
                    continue;
                }
                _ => continue,
            };
            if slot.replace(value).is_some() {
                read.repeated = Some(name);
            }
        }
        read
    }
}

/// Request that can be granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizationRequest {
    pub client: OauthClient,
    pub redirect_uri: RedirectUri,
    pub scopes: Scopes,
    pub state: Option<String>,
    pub challenge: CodeChallenge,
}

/// Reason that a request is refused, by the codes of RFC 6749, section 4.1.2.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestRefused {
    pub error: &'static str,
    pub description: &'static str,
}

impl AuthorizationRequest {
    /// Checks a request of a client that is known, with a redirect URI that it has.
    ///
    /// # Errors
    /// [`RequestRefused`], for the client to be told.
    pub fn check(
        client: OauthClient,
        redirect_uri: RedirectUri,
        parameters: &RequestParameters,
        resource: &ResourceServer,
    ) -> Result<Self, RequestRefused> {
        let refused = |error, description| Err(RequestRefused { error, description });
        let is = |given: &Option<String>, wanted: &str| given.as_deref() == Some(wanted);
        if parameters.repeated.is_some() {
            return refused("invalid_request", "a parameter is there twice; send each once");
        }
        if !is(&parameters.response_type, "code") {
            return refused("unsupported_response_type", "response_type must be code");
        }
        if parameters.response_mode.as_deref().is_some_and(|mode| mode != "query") {
            return refused("invalid_request", "response_mode must be query, or left out");
        }
        if parameters.state.as_ref().is_some_and(|state| state.len() > MAX_STATE) {
            return refused("invalid_request", "state is longer than 4096 bytes");
        }
        // Without a method RFC 7636 means `plain`, which protects nothing.
        if !is(&parameters.code_challenge_method, "S256") {
            return refused("invalid_request", "code_challenge_method must be S256");
        }
        let Some(challenge) = parameters.code_challenge.as_deref().and_then(CodeChallenge::parse) else {
            return refused(
                "invalid_request",
                "code_challenge must be the SHA-256 of the code verifier in base64url",
            );
        };
        if !parameters.resource.iter().all(|named| resource.is_named_by(named)) {
            return refused("invalid_target", "resource is not the MCP server of this authorization server");
        }
        let Some(scopes) = Scopes::requested(parameters.scope.as_deref()) else {
            return refused("invalid_scope", "scope names none of the scopes that this server has");
        };
        Ok(Self { client, redirect_uri, scopes, state: parameters.state.clone(), challenge })
    }

    /// Returns the URI that answers the request with these parameters, its `state` and the issuer (RFC 9207).
    #[must_use]
    pub fn answer(&self, parameters: &[(&str, &str)], issuer: &str) -> String {
        answer(&self.redirect_uri, self.state.as_deref(), parameters, issuer)
    }
}

/// Returns the URI that answers a request with these parameters.
#[must_use]
pub fn answer(
    redirect_uri: &RedirectUri,
    state: Option<&str>,
    parameters: &[(&str, &str)],
    issuer: &str,
) -> String {
    let state = state.map(|state| ("state", state));
    let all: Vec<_> = parameters.iter().copied().chain(state).chain([("iss", issuer)]).collect();
    redirect_uri.with(&all)
}

/// Request under the seal: the page carries it to the signature, and this server remembers nothing of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SealedRequest {
    pub client_id: String,
    pub redirect_uri: String,
    scopes: String,
    state: Option<String>,
    challenge: String,
    at: i64,
}

impl SealedRequest {
    /// Seals a request.
    #[must_use]
    pub fn seal(sealer: &Sealer, request: &AuthorizationRequest, now: Timestamp) -> String {
        let content = Self {
            client_id: request.client.client_id.clone(),
            redirect_uri: request.redirect_uri.as_str().to_owned(),
            scopes: request.scopes.to_string(),
            state: request.state.clone(),
            challenge: request.challenge.as_str().to_owned(),
            at: now.millis(),
        };
        sealer.seal(LABEL, &content)
    }

    /// Opens a request; `None` if this server did not seal it, or too long ago.
    #[must_use]
    pub fn open(sealer: &Sealer, text: &str, now: Timestamp) -> Option<Self> {
        let content: Self = sealer.open(LABEL, text)?;
        let age = now.millis().checked_sub(content.at)?;
        (age < TTL_MS).then_some(content)
    }

    /// Returns the end of a grant whose wallet names none.
    #[must_use]
    pub fn default_end(&self) -> Timestamp {
        let begun = Timestamp::from_millis(self.at);
        begun.checked_add_millis(DEFAULT_DAYS * 86_400_000).unwrap_or(begun)
    }

    /// Returns the request of this client, which still has its redirect URI.
    #[must_use]
    pub fn of(self, client: OauthClient, schemes: &[String]) -> Option<AuthorizationRequest> {
        let redirect_uri = client.redirect(&self.redirect_uri, schemes)?;
        Some(AuthorizationRequest {
            redirect_uri,
            scopes: Scopes::parse(&self.scopes)?,
            state: self.state,
            challenge: CodeChallenge::parse(&self.challenge)?,
            client,
        })
    }
}
