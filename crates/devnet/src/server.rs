//! The proxy's HTTP server. It is written against hyper directly because a fault may close a
//! connection without an answer, or close the listening socket and open it again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE,
    HeaderValue,
};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::proxy::{CloseConnection, Proxy, refusal};

/// Largest request body: more than any transaction; a contract's code is at most 48 KiB.
const BODY_LIMIT: usize = 4 * 1024 * 1024;
/// JSON-RPC 2.0: not JSON.
const PARSE_ERROR: i64 = -32700;

/// Serves until the task is aborted. While the faults are stopped, nothing listens on `address`.
pub(super) async fn serve(listener: TcpListener, address: SocketAddr, proxy: Arc<Proxy>) {
    let mut running = proxy.faults().running();
    let mut listener = Some(listener);
    loop {
        let Ok(_) = running.wait_for(|running| *running).await else {
            return;
        };
        let open = match listener.take() {
            Some(listener) => listener,
            None => bind_again(address).await,
        };
        tokio::select! {
            () = accept(&open, &proxy) => {}
            stopped = running.wait_for(|running| !*running) => if stopped.is_err() { return },
        }
    }
}

/// Accepts connections for ever. Dropping this future closes them all.
async fn accept(listener: &TcpListener, proxy: &Arc<Proxy>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_connection(stream, Arc::clone(proxy)));
                }
                // Out of file descriptors: some connection has to end first.
                Err(_) => sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Listens on an address that was ours a moment ago; another process can only have it for a moment.
async fn bind_again(address: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) => {
                tracing::warn!(%address, %error, "cannot listen again yet");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, proxy: Arc<Proxy>) {
    let service = service_fn(|request| answer(request, Arc::clone(&proxy)));
    // The error is the client's hanging up, or ours.
    let _ended = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: Request<Incoming>,
    proxy: Arc<Proxy>,
) -> Result<Response<Full<Bytes>>, CloseConnection> {
    if request.method() == Method::OPTIONS {
        return Ok(response(StatusCode::NO_CONTENT, Bytes::new()));
    }
    if request.method() != Method::POST {
        return Ok(response(StatusCode::METHOD_NOT_ALLOWED, Bytes::new()));
    }
    let Ok(body) = Limited::new(request.into_body(), BODY_LIMIT).collect().await else {
        return Ok(response(StatusCode::PAYLOAD_TOO_LARGE, Bytes::new()));
    };
    let answer = match serde_json::from_slice(&body.to_bytes()) {
        Ok(message) => proxy.answer(message).await?,
        Err(error) => refusal(&Value::Null, PARSE_ERROR, &error.to_string()),
    };
    Ok(response(StatusCode::OK, Bytes::from(answer.to_string())))
}

/// Wallets in a browser may ask the chain from any page, as they may with anvil.
fn response(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, OPTIONS"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
