//! The baseline of prepaid chat, in a process of its own: `synced UPSTREAM FOLDER` passes a
//! request on and syncs one line for it before the answer leaves. It knows no key and keeps no account.

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;

use crate::program::end_with_parent;

const CHAT: &str = "/v1/chat/completions";

struct Proxy {
    client: reqwest::Client,
    upstream: String,
    file: File,
}

pub fn run(arguments: &[&str]) -> Result<()> {
    let [upstream, folder] = arguments else { bail!("usage: synced UPSTREAM FOLDER") };
    end_with_parent();
    let upstream: SocketAddr = upstream.parse()?;
    let file = File::options().create(true).append(true).open(Path::new(folder).join("synced"))?;
    let proxy = Proxy { client: reqwest::Client::new(), upstream: format!("http://{upstream}{CHAT}"), file };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        // As farebox does.
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, Router::new().route(CHAT, post(pass)).with_state(Arc::new(proxy))).await?;
        Ok(())
    })
}

async fn pass(State(proxy): State<Arc<Proxy>>, body: Bytes) -> Response {
    let asked = proxy.client.post(&proxy.upstream).header(CONTENT_TYPE, "application/json").body(body);
    let Ok(answer) = asked.send().await else { return StatusCode::BAD_GATEWAY.into_response() };
    let kind = answer.headers().get(CONTENT_TYPE).cloned();
    let noted = tokio::task::spawn_blocking({
        let proxy = Arc::clone(&proxy);
        move || (&proxy.file).write_all(b"one request\n").and_then(|()| proxy.file.sync_data())
    });
    if !matches!(noted.await, Ok(Ok(()))) {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let mut response = Response::new(Body::from_stream(answer.bytes_stream()));
    response.headers_mut().extend(kind.map(|kind| (CONTENT_TYPE, kind)));
    response
}
