//! A catalog with one model and its upstreams, without a server.

use std::time::{Duration, Instant};

use farebox::config::{ModelConfig, PrivacyMode, Source, SourceGroup, UpstreamConfig};
use farebox::id::Timestamp;
use farebox::money::Money;
use farebox::services::chat::scripted::{ObservedRequests, ScriptedUpstream};
use farebox::services::chat::{
    AnswerHead, Catalog, ChatRequest, Chunk, ChunkStream, Completion, Privacy, ProtectedRequest,
    RequestLimits, UpstreamError, Upstreams,
};
use farebox::services::pii::Examiner;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Name of the model for clients.
pub const MODEL: &str = "small";
/// Tokens of its longest answer.
pub const LONGEST: u64 = 500;
/// The operator's key.
pub const KEY: &str = "sk-operator";

/// An upstream with limits that a busy machine keeps.
pub fn upstream(name: &str, base_url: String) -> UpstreamConfig {
    UpstreamConfig {
        name: name.into(),
        base_url,
        api_key: Some(KEY.into()),
        proxy: None,
        connect_timeout_ms: 1_000,
        first_token_timeout_ms: 5_000,
        idle_timeout_ms: 3_000,
        total_timeout_ms: 30_000,
        ..UpstreamConfig::default()
    }
}

pub struct Fixture {
    catalog: Catalog,
    upstreams: Upstreams,
    privacy: Privacy,
}

impl Fixture {
    /// Sells the model from these upstreams, in this order.
    pub fn new(upstreams: &[UpstreamConfig]) -> Self {
        let source = |upstream: &UpstreamConfig| Source {
            name: upstream.name.clone(),
            model: Some("vendor/small".into()),
            weight: None,
        };
        Self::of(upstreams, upstreams.iter().map(|upstream| source(upstream).into()).collect())
    }

    /// Sells the model from these groups of upstreams.
    pub fn of(upstreams: &[UpstreamConfig], groups: Vec<SourceGroup>) -> Self {
        let models = [ModelConfig {
            id: MODEL.into(),
            upstreams: groups,
            price_per_chunk: Money::from_micros(100),
            price_per_million_output: Money::from_micros(100),
            context_length: 10_000,
            max_output_tokens: LONGEST,
            ..ModelConfig::default()
        }];
        Self {
            catalog: Catalog::new(&models),
            upstreams: Upstreams::new(upstreams, &models).expect("a TLS configuration"),
            privacy: Privacy::new(Examiner::without_models(), PrivacyMode::Off),
        }
    }

    /// Streams the answer to a request.
    pub async fn open_stream(&self, body: &Value) -> Result<ChunkStream, UpstreamError> {
        self.start(&self.request(body).await).await
    }

    /// Streams the answer to a request that was read before.
    pub async fn start(&self, request: &ProtectedRequest) -> Result<ChunkStream, UpstreamError> {
        self.upstreams.stream(request, &AnswerHead::new(Timestamp::now())).await
    }

    /// Streams the answer to a script.
    pub async fn stream(&self, script: &Value) -> Result<ChunkStream, UpstreamError> {
        self.open_stream(&streaming(script)).await
    }

    /// The whole answer to a script.
    pub async fn whole(&self, script: &Value) -> Result<Completion, UpstreamError> {
        self.complete(streaming(script)).await
    }

    /// The whole answer to a request.
    pub async fn complete(&self, mut body: Value) -> Result<Completion, UpstreamError> {
        body["stream"] = json!(false);
        self.upstreams.non_streaming(&self.request(&body).await, &AnswerHead::new(Timestamp::now())).await
    }

    /// Reads a request.
    pub async fn request(&self, body: &Value) -> ProtectedRequest {
        let request = ChatRequest::parse(&body.to_string(), &self.catalog, RequestLimits::default());
        request.expect("a valid request").protect(&self.privacy).await.expect("nothing to refuse")
    }
}

/// A fixture with one scripted upstream.
pub async fn fixture() -> (Fixture, ScriptedUpstream) {
    fixture_with(|_| {}).await
}

/// A fixture with one scripted upstream that has other limits.
pub async fn fixture_with(limits: impl FnOnce(&mut UpstreamConfig)) -> (Fixture, ScriptedUpstream) {
    let scripted = ScriptedUpstream::start().await.expect("a port");
    let mut only = upstream("only", scripted.base_url());
    limits(&mut only);
    (Fixture::new(&[only]), scripted)
}

/// A fixture whose one upstream sends these bytes.
pub async fn fixture_with_raw_upstream(
    pieces: Vec<Vec<u8>>,
    limits: impl FnOnce(&mut UpstreamConfig),
) -> Fixture {
    let mut only = upstream("only", raw(pieces).await);
    limits(&mut only);
    Fixture::new(&[only])
}

/// The request that carries a script.
pub fn streaming(script: &Value) -> Value {
    let content = script.as_str().map_or_else(|| script.to_string(), str::to_owned);
    json!({"model": MODEL, "stream": true, "messages": [{"role": "user", "content": content}]})
}

/// All chunks of a stream, and the error that ended it.
pub async fn collect(mut stream: ChunkStream) -> (Vec<Chunk>, Option<UpstreamError>) {
    let mut chunks = Vec::new();
    while let Some(next) = stream.next().await {
        match next {
            Ok(chunk) => chunks.push(chunk),
            Err(error) => {
                assert!(stream.next().await.is_none(), "nothing comes after an error");
                return (chunks, Some(error));
            }
        }
    }
    (chunks, None)
}

pub fn value(chunk: &Chunk) -> Value {
    serde_json::from_slice(&chunk.data).expect("JSON")
}

/// The text of an answer.
pub fn text(chunks: &[Chunk]) -> String {
    chunks
        .iter()
        // Usage alone is told later.
        .filter(|chunk| !chunk.data.is_empty())
        .filter_map(|c| value(c)["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .collect()
}

/// Waits until the scripted upstream has seen something.
pub async fn wait_until(
    scripted: &ScriptedUpstream,
    what: impl Fn(&ObservedRequests) -> bool,
) -> ObservedRequests {
    let start = Instant::now();
    loop {
        let seen = scripted.observed();
        if what(&seen) {
            return seen;
        }
        assert!(start.elapsed() < Duration::from_secs(5), "not seen in time: {seen:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A server that answers every request with these bytes, piece by piece, and
/// closes. Returns its base URL.
pub async fn raw(pieces: Vec<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let pieces = pieces.clone();
            tokio::spawn(async move {
                let mut request = [0; 16 << 10];
                let _ = socket.read(&mut request).await;
                for piece in pieces {
                    if socket.write_all(&piece).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            });
        }
    });
    format!("http://{address}/v1")
}

/// A raw answer that is an event stream with this body.
pub fn events(body: &[u8]) -> Vec<u8> {
    [b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n", body].concat()
}
