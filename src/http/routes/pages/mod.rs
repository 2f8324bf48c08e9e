//! Pages for people: the landing page, and the dashboard.

mod assets;
mod landing;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::http::State;

pub use landing::not_found;

/// Style of the pages that this server writes.
const STYLE: &str = include_str!("../../site.css");

/// Routes of the pages.
pub fn router() -> Router<State> {
    Router::new()
        .route("/", get(landing::landing))
        .route("/site.css", get(style))
        .route("/favicon.ico", get(super::discovery::favicon))
        .route("/dashboard", get(assets::page))
        .route("/dashboard/", get(assets::page))
        .route("/dashboard/{*path}", get(assets::file))
}

async fn style() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/css; charset=utf-8"), (CACHE_CONTROL, "max-age=300")], STYLE)
}
