//! Kinds of upstreams, each against a double of it.

use farebox::config::{Config, ModelConfig, SourceGroup, UpstreamConfig, UpstreamKind};
use farebox::doctor::{Verdict, upstreams};
use farebox::services::chat::{UpstreamError, UpstreamRefusal};
use serde_json::{Value, json};

use crate::doubles::{
    AnthropicDouble, AzureDouble, GeminiDouble, OllamaDouble, OpenaiDouble, OpenrouterDouble, SeenRequest,
    VendorDouble, VllmDouble,
};
use crate::fixture::{Fixture, MODEL, collect, text, upstream, value};

/// A double, and the entries of a configuration that lead to it.
struct Case {
    double: VendorDouble,
    upstream: UpstreamConfig,
    model: &'static str,
}

impl Case {
    fn new(kind: UpstreamKind, double: VendorDouble, path: &str, key: &str, model: &'static str) -> Self {
        let upstream = UpstreamConfig {
            kind,
            api_key: Some(key).filter(|key| !key.is_empty()).map(Into::into),
            api_version: (kind == UpstreamKind::Azure).then(|| "2024-10-21".into()),
            retries: 0,
            ..upstream("only", format!("{}{path}", double.origin()))
        };
        Self { double, upstream, model }
    }

    async fn of(kind: UpstreamKind) -> Self {
        let new = |double, path, key, model| Self::new(kind, double, path, key, model);
        match kind {
            UpstreamKind::Openai => {
                new(OpenaiDouble::start().await, "/v1", OpenaiDouble::KEY, OpenaiDouble::MODEL)
            }
            UpstreamKind::Azure => {
                new(AzureDouble::start().await, "", AzureDouble::KEY, AzureDouble::DEPLOYMENT)
            }
            UpstreamKind::Ollama => new(OllamaDouble::start().await, "/v1", "", OllamaDouble::MODEL),
            UpstreamKind::Vllm => new(VllmDouble::start().await, "/v1", VllmDouble::KEY, VllmDouble::MODEL),
            UpstreamKind::Openrouter => new(
                OpenrouterDouble::start().await,
                "/api/v1",
                OpenrouterDouble::KEY,
                OpenrouterDouble::MODEL,
            ),
            UpstreamKind::Anthropic => {
                new(AnthropicDouble::start().await, "/v1", AnthropicDouble::KEY, AnthropicDouble::MODEL)
            }
            UpstreamKind::Gemini => {
                new(GeminiDouble::start().await, "/v1beta/openai", GeminiDouble::KEY, GeminiDouble::MODEL)
            }
        }
    }

    fn fixture(&self) -> Fixture {
        self.fixture_of(self.model)
    }

    fn fixture_of(&self, model: &str) -> Fixture {
        Fixture::of(std::slice::from_ref(&self.upstream), vec![source("only", model)])
    }

    fn last(&self) -> SeenRequest {
        self.double.seen().pop().expect("a request")
    }
}

const KINDS: [UpstreamKind; 7] = [
    UpstreamKind::Openai,
    UpstreamKind::Azure,
    UpstreamKind::Ollama,
    UpstreamKind::Vllm,
    UpstreamKind::Openrouter,
    UpstreamKind::Anthropic,
    UpstreamKind::Gemini,
];

fn source(name: &str, model: &str) -> SourceGroup {
    farebox::config::Source { name: name.into(), model: Some(model.into()), weight: None }.into()
}

/// A streamed request with this prompt, and more fields.
fn asking(prompt: &str, more: &Value) -> Value {
    let mut body = json!({"model": MODEL, "stream": true, "messages": [{"role": "user", "content": prompt}]});
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    body
}

/// Tokens of prompt and answer that are billed for a stream and for a whole answer, which must be the same; and the text
/// of the stream.
async fn billed(case: &Case, prompt: &str, more: &Value) -> (u64, u64, String) {
    let fixture = case.fixture();
    let (chunks, error) = collect(fixture.open_stream(&asking(prompt, more)).await.expect("begins")).await;
    assert_eq!(error, None, "{:?}", case.upstream.kind);
    let usage = chunks.iter().rev().find_map(|chunk| chunk.usage).expect("usage");
    let streamed = (usage.prompt.expect("a prompt").tokens, usage.completion.expect("an answer").tokens);
    let whole = fixture.complete(asking(prompt, more)).await.expect("an answer");
    assert!(!whole.usage.is_estimated, "{:?}", case.upstream.kind);
    assert_eq!(
        (whole.usage.prompt.tokens, whole.usage.completion.tokens),
        streamed,
        "{:?}",
        case.upstream.kind
    );
    let shown = value(&chunks[0]);
    assert_eq!((shown.get("provider"), shown.get("prompt_filter_results")), (None, None));
    (streamed.0, streamed.1, text(&chunks))
}

/// Fields that are not in every API, and a length: whatever serves the model, the request is served.
fn rich() -> Value {
    json!({"max_completion_tokens": 40, "top_p": 0.9, "top_k": 40, "seed": 7, "frequency_penalty": 0.1,
        "reasoning": {"effort": "low"}, "usage": {"include": false}})
}

#[tokio::test]
async fn each_kind_is_asked_in_its_own_way() {
    for (kind, more, expected) in [
        (UpstreamKind::Openai, json!({"seed": 7, "max_completion_tokens": 40}), (9, 2, "one two")),
        (UpstreamKind::Azure, rich(), (8, 2, "one two")),
        (UpstreamKind::Ollama, rich(), (26, 40, "")),
        (UpstreamKind::Vllm, rich(), (12, 2, "one two")),
        (UpstreamKind::Openrouter, rich(), (14, 2, "one two")),
        (UpstreamKind::Anthropic, rich(), (10, 2, "one two")),
        (UpstreamKind::Gemini, rich(), (7, 32, "one two")),
    ] {
        let case = Case::of(kind).await;
        let (prompt, completion, text) = billed(&case, "one two", &more).await;
        assert_eq!((prompt, completion), (expected.0, expected.1), "{kind:?}");
        assert!(text == expected.2 || kind == UpstreamKind::Ollama, "{kind:?}: {text}");
        let asked = case.last();
        assert_eq!(asked.body["model"], case.model, "{kind:?}");
        for field in ["top_k", "seed", "reasoning"] {
            let is_strict = matches!(kind, UpstreamKind::Azure | UpstreamKind::Gemini);
            let is_sent = more.get(field).is_some()
                && !(is_strict && (field != "seed" || kind == UpstreamKind::Gemini));
            assert_eq!(asked.body.get(field).is_some(), is_sent, "{kind:?} {field}");
        }
    }
}

#[tokio::test]
async fn ollama_is_told_the_length_by_the_field_that_it_knows() {
    let case = Case::of(UpstreamKind::Ollama).await;
    for (more, limit) in [
        (json!({"max_completion_tokens": 30}), 30),
        (json!({"max_tokens": 20, "max_completion_tokens": 30}), 20),
        (json!({"max_tokens": 10}), 10),
    ] {
        assert_eq!(billed(&case, "count", &more).await.1, limit, "{more}");
        let asked = case.last().body;
        assert_eq!(
            (&asked["max_tokens"], asked.get("max_completion_tokens")),
            (&json!(limit), None),
            "{more}"
        );
    }
}

#[tokio::test]
async fn openrouter_gets_the_operators_headers_and_is_asked_for_usage() {
    let mut case = Case::of(UpstreamKind::Openrouter).await;
    case.upstream.headers = [("HTTP-Referer", "https://shop.example"), ("X-Title", "The shop")]
        .map(|(name, value)| (name.to_owned(), value.into()))
        .into();
    billed(&case, "one", &json!({"usage": {"include": false}})).await;
    let asked = case.last();
    assert_eq!(asked.body["usage"], json!({"include": true}));
    assert_eq!(asked.header("http-referer"), Some("https://shop.example"));
    assert_eq!(asked.header("x-title"), Some("The shop"));
    billed(&Case::of(UpstreamKind::Openai).await, "one", &json!({})).await;
}

/// An error within an answer of status 200 is one, and nothing of it reaches the client.
#[tokio::test]
async fn attack_21_openrouters_errors_within_answers_are_errors() {
    let case = Case::of(UpstreamKind::Openrouter).await;
    let fixture = case.fixture();
    let policy = UpstreamError::Refused { reason: UpstreamRefusal::ContentPolicy, field: None };
    for (prompt, expected) in [
        ("flagged", policy),
        ("no credit", UpstreamError::KeyRefused),
        ("provider busy", UpstreamError::Busy { retry_after: None }),
    ] {
        let body = asking(prompt, &json!({}));
        assert_eq!(fixture.open_stream(&body).await.expect_err(prompt), expected);
        assert_eq!(fixture.complete(body).await.expect_err(prompt), expected);
    }
    let body = asking("provider fails late", &json!({}));
    let (chunks, error) = collect(fixture.open_stream(&body).await.expect("begins")).await;
    assert_eq!((text(&chunks).as_str(), error), ("provider", Some(UpstreamError::Unreachable)));
    assert_eq!(fixture.complete(body).await.expect_err("no whole answer"), UpstreamError::Unreachable);
}

#[tokio::test]
async fn errors_of_each_kind_keep_their_meaning() {
    let long = "long ".repeat(500);
    let refused =
        |reason, field: Option<&str>| UpstreamError::Refused { reason, field: field.map(str::to_owned) };
    for (kind, prompt, more, expected) in [
        (UpstreamKind::Openai, "x", json!({"top_k": 4}), refused(UpstreamRefusal::Invalid, Some("top_k"))),
        (UpstreamKind::Azure, "violence", json!({}), refused(UpstreamRefusal::ContentFilter, None)),
        (UpstreamKind::Vllm, &long, json!({}), refused(UpstreamRefusal::ContextLength, None)),
        (UpstreamKind::Vllm, "x", json!({"top_k": 0}), refused(UpstreamRefusal::Invalid, Some("top_k"))),
        (UpstreamKind::Anthropic, "x", json!({"n": 2}), refused(UpstreamRefusal::Invalid, Some("n"))),
        (UpstreamKind::Gemini, "quota", json!({}), UpstreamError::Busy { retry_after: Some(31) }),
        (
            UpstreamKind::Gemini,
            "x",
            json!({"logprobs": true}),
            refused(UpstreamRefusal::Invalid, Some("logprobs")),
        ),
    ] {
        let case = Case::of(kind).await;
        let error = case.fixture().open_stream(&asking(prompt, &more)).await.expect_err("an error");
        assert_eq!(error, expected, "{kind:?}");
    }
    // A name that the operator has wrong is not the client's mistake.
    for kind in KINDS {
        let error =
            Case::of(kind).await.fixture_of("unheard-of").stream(&json!("x")).await.expect_err("none");
        // OpenRouter calls it a bad request.
        let is_refused = matches!(error, UpstreamError::Refused { .. });
        assert!(
            error == UpstreamError::Declined || (is_refused && kind == UpstreamKind::Openrouter),
            "{kind:?} {error:?}"
        );
    }
}

#[tokio::test]
async fn a_wrong_key_is_the_operators_matter() {
    for kind in KINDS.into_iter().filter(|kind| *kind != UpstreamKind::Ollama) {
        let mut case = Case::of(kind).await;
        case.upstream.api_key = Some("sk-wrong".into());
        let error = case.fixture().stream(&json!("x")).await.expect_err("refused");
        assert_eq!(error, UpstreamError::KeyRefused, "{kind:?}");
    }
}

/// The doubles are no better than the real ones: asked in OpenAI's way they refuse.
#[tokio::test]
async fn the_doubles_refuse_what_their_vendors_refuse() {
    for (kind, more, expected) in [
        (UpstreamKind::Azure, json!({}), UpstreamError::KeyRefused),
        (
            UpstreamKind::Gemini,
            json!({"seed": 7}),
            UpstreamError::Refused { reason: UpstreamRefusal::Invalid, field: Some("seed".into()) },
        ),
    ] {
        let mut case = Case::of(kind).await;
        case.upstream.kind = UpstreamKind::Openai;
        case.upstream.api_version = None;
        let error = case.fixture().open_stream(&asking("x", &more)).await.expect_err("refused");
        assert_eq!(error, expected, "{kind:?}");
    }
    let mut azure = Case::of(UpstreamKind::Azure).await;
    for version in [None, Some("2020-01-01".to_owned())] {
        azure.upstream.api_version = version;
        let error = azure.fixture().stream(&json!("x")).await.expect_err("no such version");
        assert_eq!(error, UpstreamError::Declined);
    }
    // Without its own kind: an answer without end, and a stream without usage.
    let mut ollama = Case::of(UpstreamKind::Ollama).await;
    ollama.upstream.kind = UpstreamKind::Openai;
    let body = asking("count", &json!({"max_completion_tokens": 10}));
    collect(ollama.fixture().open_stream(&body).await.expect("begins")).await;
    assert!(ollama.last().body.get("max_tokens").is_none());
    let mut openrouter = Case::of(UpstreamKind::Openrouter).await;
    openrouter.upstream.kind = UpstreamKind::Openai;
    let whole = openrouter.fixture().complete(asking("one", &json!({}))).await.expect("an answer");
    assert!(whole.usage.is_estimated);
}

/// A model that is served by several kinds takes the same request from each of them.
#[tokio::test]
async fn a_request_goes_from_one_kind_to_the_next() {
    let (vllm, gemini) = (Case::of(UpstreamKind::Vllm).await, Case::of(UpstreamKind::Gemini).await);
    let first = UpstreamConfig { name: "first".into(), api_key: None, ..vllm.upstream.clone() };
    let second = UpstreamConfig { name: "second".into(), ..gemini.upstream.clone() };
    let groups = vec![source("first", vllm.model), source("second", gemini.model)];
    let fixture = Fixture::of(&[first, second], groups);
    let (chunks, error) =
        collect(fixture.open_stream(&asking("one two", &rich())).await.expect("begins")).await;
    assert_eq!((text(&chunks).as_str(), error), ("one two", None));
    assert_eq!((vllm.double.seen().len(), gemini.double.seen().len()), (1, 1));
}

/// Verdict and text of a look at an upstream that one model is sold from.
async fn looked_at(upstream: &UpstreamConfig, model: &str) -> (Verdict, String) {
    let sold = ModelConfig {
        id: MODEL.into(),
        upstreams: vec![source(&upstream.name, model)],
        ..ModelConfig::default()
    };
    let config = Config { upstreams: vec![upstream.clone()], models: vec![sold], ..Config::default() };
    let found = upstreams::examine(&config, upstream).await;
    assert_eq!(found.len(), 1, "{found:?}");
    (found[0].verdict, found[0].text.clone())
}

#[tokio::test]
async fn the_doctor_knows_each_kind() {
    for kind in KINDS {
        let case = Case::of(kind).await;
        let (verdict, text) = looked_at(&case.upstream, case.model).await;
        assert_eq!(verdict, Verdict::Fine, "{kind:?}: {text}");
        let (verdict, text) = looked_at(&case.upstream, "unheard-of").await;
        assert_eq!((verdict, text.contains("unheard-of")), (Verdict::Wrong, true), "{kind:?}: {text}");
        // Nothing that it asks costs money.
        let costs = |request: &SeenRequest| request.body["messages"].is_array();
        assert!(!case.double.seen().iter().any(costs), "{kind:?}");
        if kind != UpstreamKind::Ollama {
            let none = UpstreamConfig { api_key: None, ..case.upstream.clone() };
            let (verdict, text) = looked_at(&none, case.model).await;
            assert_eq!(
                (verdict, text.contains("wants an api_key")),
                (Verdict::Wrong, true),
                "{kind:?}: {text}"
            );
            let key = case.upstream.api_key.clone().expect("a key");
            let wrong = UpstreamConfig {
                api_key: None,
                api_keys: vec![key, "sk-wrong".into()],
                ..case.upstream.clone()
            };
            let (verdict, text) = looked_at(&wrong, case.model).await;
            assert_eq!(verdict, Verdict::Wrong, "{kind:?}: {text}");
            assert!(
                text.contains("key 2: refuses its api_key") && !text.contains("sk-wrong"),
                "{kind:?}: {text}"
            );
        }
    }
    let openrouter = Case::of(UpstreamKind::Openrouter).await;
    let (verdict, text) = looked_at(&openrouter.upstream, "vendor/model:nitro").await;
    assert_eq!(verdict, Verdict::Fine, "{text}");
    let azure = Case::of(UpstreamKind::Azure).await;
    let old = UpstreamConfig { api_version: Some("2020-01-01".into()), ..azure.upstream.clone() };
    assert_eq!(looked_at(&old, azure.model).await.0, Verdict::Wrong);
}
