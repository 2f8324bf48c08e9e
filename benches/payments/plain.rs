//! The yardstick, in a process of its own: `plain HEADER_BYTES DETAIL_BYTES` serves one axum
//! handler that reads the same JSON and answers 402 with as many bytes, and does nothing else.

use std::sync::Arc;

use anyhow::{Result, bail};
use axum::extract::State;
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::IntoResponse;
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::http::PREVIEW;
use crate::program::end_with_parent;

#[derive(Deserialize)]
struct Body {
    text: String,
}

#[derive(Serialize)]
struct Problem<'a> {
    detail: &'a str,
}

struct Filler {
    header: HeaderValue,
    detail: String,
}

pub fn run(arguments: &[&str]) -> Result<()> {
    let [header, detail] = arguments else {
        bail!("usage: plain HEADER_BYTES DETAIL_BYTES");
    };
    let filler = Arc::new(Filler {
        header: HeaderValue::try_from("x".repeat(header.parse()?))?,
        detail: "x".repeat(detail.parse()?),
    });
    end_with_parent();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        axum::serve(listener, Router::new().route(PREVIEW, post(ask)).with_state(filler)).await?;
        Ok(())
    })
}

async fn ask(State(filler): State<Arc<Filler>>, Json(body): Json<Body>) -> impl IntoResponse {
    let header = [(WWW_AUTHENTICATE, filler.header.clone())];
    if body.text.is_empty() {
        return StatusCode::BAD_REQUEST.into_response();
    }
    (StatusCode::PAYMENT_REQUIRED, header, Json(Problem { detail: &filler.detail })).into_response()
}
