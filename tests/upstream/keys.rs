//! Several keys of an upstream: they take turns, and one that is refused rests while the others serve.

use std::collections::BTreeMap;

use axum::response::{IntoResponse as _, Response};
use farebox::config::UpstreamConfig;
use farebox::services::chat::UpstreamError;
use serde_json::json;

use crate::doubles::{OpenaiDouble, SeenRequest, VendorDouble, json_answer};
use crate::fixture::{Fixture, upstream};

const KEYS: [&str; 3] = ["sk-1", "sk-2", "sk-3"];

/// OpenAI with three keys, of which some are refused.
async fn double(
    refuse: impl Fn(&str, usize) -> Option<Response> + Send + Sync + Clone + 'static,
) -> (VendorDouble, Fixture) {
    let double = VendorDouble::start(move |request: &SeenRequest, number| {
        let key = request.bearer().unwrap_or_default();
        refuse(key, number).unwrap_or_else(|| OpenaiDouble::answer_any_key(request))
    })
    .await;
    let config = UpstreamConfig {
        api_key: None,
        api_keys: KEYS.map(Into::into).into(),
        retries: 0,
        ..upstream("only", format!("{}/v1", double.origin()))
    };
    (double, Fixture::new(&[config]))
}

/// How often each key was used.
fn uses(double: &VendorDouble) -> BTreeMap<String, usize> {
    let mut uses = BTreeMap::new();
    for request in double.seen() {
        *uses.entry(request.bearer().expect("a key").to_owned()).or_default() += 1;
    }
    uses
}

fn busy(seconds: &str) -> Response {
    let body = json!({"error": {"message": "Rate limit reached", "code": "rate_limit_exceeded"}}).to_string();
    (axum::http::StatusCode::TOO_MANY_REQUESTS, [("retry-after", seconds)], body).into_response()
}

#[tokio::test]
async fn keys_take_turns() {
    let (double, fixture) = double(|_, _| None).await;
    for _ in 0..9 {
        fixture.whole(&json!("one")).await.expect("an answer");
    }
    assert_eq!(uses(&double), KEYS.map(|key| (key.to_owned(), 3)).into());
}

#[tokio::test]
async fn a_key_that_is_refused_rests_while_the_others_serve() {
    for status in [401, 402, 429] {
        let (double, fixture) = double(move |key, _| {
            (key == "sk-1").then(|| if status == 429 { busy("600") } else { json_answer(status, &json!({})) })
        })
        .await;
        for _ in 0..8 {
            fixture.whole(&json!("one")).await.expect("an answer");
        }
        let uses = uses(&double);
        assert_eq!((uses["sk-1"], uses["sk-2"] + uses["sk-3"]), (1, 8), "{status}");
    }
}

/// Which requests are forbidden is up to clients: it is the key only if another one is not.
#[tokio::test]
async fn a_key_that_is_forbidden_rests_once_another_one_answers_the_same_request() {
    let (forbidden, fixture) = double(|key, _| (key == "sk-1").then(|| json_answer(403, &json!({})))).await;
    for _ in 0..8 {
        fixture.whole(&json!("one")).await.expect("an answer");
    }
    assert_eq!(uses(&forbidden)["sk-1"], 1);
    // A request that is forbidden with each key rests none.
    let (odd, fixture) = double(|_, number| (number < 3).then(|| json_answer(403, &json!({})))).await;
    assert_eq!(fixture.whole(&json!("one")).await.expect_err("forbidden"), UpstreamError::Declined);
    assert_eq!(uses(&odd), KEYS.map(|key| (key.to_owned(), 1)).into());
    for _ in 0..9 {
        fixture.whole(&json!("one")).await.expect("an answer");
    }
    assert_eq!(uses(&odd), KEYS.map(|key| (key.to_owned(), 4)).into());
}

#[tokio::test]
async fn when_all_keys_are_busy_the_client_learns_when_the_first_is_free() {
    let (double, fixture) = double(|key, _| Some(busy(if key == "sk-2" { "20" } else { "60" }))).await;
    let error = fixture.whole(&json!("one")).await.expect_err("busy");
    assert_eq!(error, UpstreamError::Busy { retry_after: Some(20) });
    assert_eq!(double.seen().len(), 3);
    // From then on only the one that is free first is tried, and nothing stands in the way of another upstream.
    fixture.whole(&json!("one")).await.expect_err("busy");
    assert_eq!((double.seen().len(), double.seen()[3].bearer()), (4, Some("sk-2")));
}

#[tokio::test]
async fn an_upstream_whose_keys_all_rest_is_asked_after_the_others() {
    let (double, _) = double(|_, _| Some(json_answer(401, &json!({})))).await;
    let first = UpstreamConfig {
        api_key: None,
        api_keys: KEYS.map(Into::into).into(),
        ..upstream("first", format!("{}/v1", double.origin()))
    };
    let spare = VendorDouble::start(|request, _| OpenaiDouble::answer_any_key(request)).await;
    let fixture = Fixture::new(&[first, upstream("second", format!("{}/v1", spare.origin()))]);
    for _ in 0..5 {
        fixture.whole(&json!("one")).await.expect("an answer");
    }
    assert_eq!((double.seen().len(), spare.seen().len()), (3, 5));
}
