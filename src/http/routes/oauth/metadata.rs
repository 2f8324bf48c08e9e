//! Metadata of the authorization server (RFC 8414) and of the resource (RFC 9728).

use axum::extract::State as AppState;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use crate::http::State;
use crate::oauth::Scopes;

/// `GET /.well-known/oauth-authorization-server`.
pub async fn authorization_server(AppState(app): AppState<State>) -> Response {
    let issuer = app.oauth.issuer();
    let at = |path: &str| format!("{issuer}/oauth/{path}");
    document(&json!({
        "issuer": issuer,
        "authorization_endpoint": at("authorize"),
        "token_endpoint": at("token"),
        "registration_endpoint": at("register"),
        "revocation_endpoint": at("revoke"),
        "scopes_supported": Scopes::defaults().names(),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        // Clients are public: nothing that is installed on many machines keeps a secret.
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
        // A client that finds this here and cannot be fetched would fail, instead of registering itself.
        "client_id_metadata_document_supported": app.oauth.reads_documents(),
        "service_documentation": app.config.product.homepage.as_deref().unwrap_or(issuer),
    }))
}

/// `GET /.well-known/oauth-protected-resource`, at the root and at the resource's own path.
pub async fn protected_resource(AppState(app): AppState<State>) -> Response {
    document(&json!({
        "resource": app.oauth.resource().as_str(),
        "authorization_servers": [app.oauth.issuer()],
        "scopes_supported": Scopes::defaults().names(),
        "bearer_methods_supported": ["header"],
        "resource_name": app.config.product.name,
    }))
}

fn document(metadata: &Value) -> Response {
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "public, max-age=300")];
    (headers, metadata.to_string()).into_response()
}
