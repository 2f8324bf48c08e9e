//! A web server on loopback: good pages and hostile ones.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use farebox::config::Config;
use farebox_test_support::harness::Reply;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::fixture::{Customer, Fixture};

/// Credit of a customer, in millionths of a dollar.
pub const CREDIT: i64 = 1_000_000;

/// Allows every port of 127.0.0.1; other loopback addresses stay private.
pub fn allow_loopback(config: &mut Config) {
    config.fetch.ports = Vec::new();
    config.fetch.allow_networks = vec!["127.0.0.1/32".parse().expect("a network")];
}

/// An answer of two chunks, with what else the request says.
pub async fn chat(fixture: &Fixture, customer: &Customer, more: &Value) -> Reply {
    fixture.complete(customer, &json!({"chunks": 2}), more).await
}

/// Contents of the messages that the model got, in order.
pub fn prompts_sent(fixture: &Fixture) -> Vec<String> {
    let body = fixture.upstream.observed().body;
    assert!(body.get("urls").is_none() && body.get("pdfs").is_none(), "{body}");
    let messages = body["messages"].as_array().expect("messages").clone();
    messages.iter().map(|message| message["content"].as_str().expect("text").to_owned()).collect()
}

pub struct WebServer {
    pub port: u16,
    address: SocketAddr,
    seen: Arc<Mutex<Vec<HeaderMap>>>,
}

impl WebServer {
    pub async fn start() -> Self {
        Self::on([127, 0, 0, 1].into()).await
    }

    pub async fn on(address: IpAddr) -> Self {
        let listener = TcpListener::bind((address, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let seen = Arc::default();
        let routes = Router::new().route("/{*path}", any(serve)).with_state(Arc::clone(&seen));
        tokio::spawn(axum::serve(listener, routes).into_future());
        Self { port: address.port(), address, seen }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// The headers of all requests.
    pub fn seen(&self) -> Vec<HeaderMap> {
        self.seen.lock().expect("no panic").clone()
    }

    pub fn request_count(&self) -> usize {
        self.seen().len()
    }
}

async fn serve(
    State(seen): State<Arc<Mutex<Vec<HeaderMap>>>>,
    Path(path): Path<String>,
    request: Request,
) -> Response {
    seen.lock().expect("no panic").push(request.headers().clone());
    let query = request.uri().query().unwrap_or_default();
    let typed = |kind: &'static str, body: &'static str| ([(CONTENT_TYPE, kind)], body).into_response();
    let coded = |coding: &'static str, body: Vec<u8>| {
        ([(CONTENT_TYPE, "text/plain"), (CONTENT_ENCODING, coding)], body).into_response()
    };
    match path.as_str() {
        "text" => typed("text/plain", "The zebra eats 37 melons."),
        "html" => typed(
            "text/html; charset=utf-8",
            "<title>Zoo</title><script>alert('no')</script><p>Zebras &amp; melons<p>Second",
        ),
        "json" => typed("application/json", r#"{"zebra": 37}"#),
        "pdf" => ([(CONTENT_TYPE, "application/pdf")], pdf("The zebra in a PDF", "")).into_response(),
        "file" => ([(CONTENT_TYPE, "application/octet-stream")], pdf("A zebra file", "")).into_response(),
        "blank" => typed("text/html", "<script>all()</script>"),
        "image" => typed("image/png", "\u{1}secret-contents"),
        "form.png" => {
            let form = include_bytes!("../../crates/pii/tests/images/fixtures/sans.png");
            ([(CONTENT_TYPE, "image/png")], &form[..]).into_response()
        }
        "untyped" => Response::new(Body::from("secret-contents")),
        "missing" => (StatusCode::NOT_FOUND, "secret-contents").into_response(),
        "partial" => (StatusCode::PARTIAL_CONTENT, "secret-contents").into_response(),
        "words" => ([(CONTENT_TYPE, "text/plain")], "word ".repeat(60_000)).into_response(),
        "half" => ([(CONTENT_TYPE, "text/plain")], "word ".repeat(3_000)).into_response(),
        "large" => ([(CONTENT_TYPE, "text/plain")], vec![b'x'; 4 << 20]).into_response(),
        "endless" => {
            let pieces = stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from(vec![b'x'; 64 << 10])));
            ([(CONTENT_TYPE, "text/plain")], Body::from_stream(pieces)).into_response()
        }
        "slow" => {
            let pieces = stream::unfold((), |()| async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Some((Ok::<_, Infallible>(Bytes::from_static(b"x")), ()))
            });
            ([(CONTENT_TYPE, "text/plain")], Body::from_stream(pieces)).into_response()
        }
        "silent" => std::future::pending().await,
        "cut" => {
            let pieces = stream::unfold(true, |first| async move {
                // What was sent before a cut needs a moment to leave.
                tokio::time::sleep(Duration::from_millis(50)).await;
                let piece =
                    if first { Ok(Bytes::from_static(b"begin")) } else { Err(std::io::Error::other("cut")) };
                Some((piece, false))
            });
            ([(CONTENT_TYPE, "text/plain")], Body::from_stream(pieces)).into_response()
        }
        "gzip" => coded("gzip", gzip(b"The zebra, packed.")),
        "bomb" => coded("gzip", gzip(&vec![b'x'; 64 << 20])),
        "twice" => coded("gzip, gzip", gzip(&gzip(b"x"))),
        "brotli" => coded("br", vec![0; 9]),
        "torn" => coded("gzip", b"not gzip".to_vec()),
        "to" => (StatusCode::FOUND, [(LOCATION, query.to_owned())]).into_response(),
        "nowhere" => StatusCode::MOVED_PERMANENTLY.into_response(),
        hops => match hops.strip_prefix("hop/").and_then(|left| left.parse::<u32>().ok()) {
            Some(0) => typed("text/plain", "arrived"),
            Some(left) => {
                (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, format!("{}", left - 1))]).into_response()
            }
            None => StatusCode::NOT_FOUND.into_response(),
        },
    }
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(data).expect("memory");
    packer.finish().expect("memory")
}

/// A PDF of one page that says `text`, with more in its trailer.
pub fn pdf(text: &str, trailer: &str) -> Vec<u8> {
    pdf_of(format!("BT /F1 12 Tf 72 700 Td ({text}) Tj ET").as_bytes(), trailer)
}

/// A PDF whose page has this content.
pub fn pdf_of(content: &[u8], trailer: &str) -> Vec<u8> {
    let mut packer = ZlibEncoder::new(Vec::new(), Compression::best());
    packer.write_all(content).expect("memory");
    let content = packer.finish().expect("memory");
    let head = format!("<< /Filter /FlateDecode /Length {} >>\nstream\n", content.len());
    let objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_vec(),
        b"<< /Type /Page /Parent 2 0 R /Contents 4 0 R /Resources << /Font << /F1 << /Type /Font \
          /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>"
            .to_vec(),
        [head.as_bytes(), &content, b"\nendstream"].concat(),
    ];
    let mut file = b"%PDF-1.7\n".to_vec();
    let mut table = format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    for (number, object) in (1..).zip(objects) {
        writeln!(table, "{:010} 00000 n ", file.len()).expect("memory");
        file.extend_from_slice(format!("{number} 0 obj\n").as_bytes());
        file.extend_from_slice(&object);
        file.extend_from_slice(b"\nendobj\n");
    }
    let start = file.len();
    let end = format!("{table}trailer\n<< /Size 5 /Root 1 0 R {trailer} >>\nstartxref\n{start}\n%%EOF\n");
    file.extend_from_slice(end.as_bytes());
    file
}
