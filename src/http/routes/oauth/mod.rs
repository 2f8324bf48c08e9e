//! `/oauth` and its metadata: the authorization server of the MCP server. Its protocol is OAuth's, described by its own
//! metadata, so it is no part of the API's document.

mod authorize;
mod metadata;
mod page;
pub mod terms;
mod token;

use axum::Router;
use axum::routing::{get, post};

use crate::http::State;

/// Routes of the authorization server.
pub fn router() -> Router<State> {
    Router::new()
        .route("/.well-known/oauth-authorization-server", get(metadata::authorization_server))
        .route("/.well-known/oauth-protected-resource", get(metadata::protected_resource))
        .route("/.well-known/oauth-protected-resource/mcp", get(metadata::protected_resource))
        .route("/oauth/authorize", get(authorize::show).post(authorize::consent))
        .route("/oauth/message", post(authorize::message))
        .route("/oauth/token", post(token::token))
        .route("/oauth/revoke", post(token::revoke))
        .route("/oauth/register", post(token::register))
}
