//! Several upstreams that share the requests of a model.

use farebox::config::{Source, SourceGroup, UpstreamConfig};
use farebox::services::chat::scripted::ScriptedUpstream;
use serde_json::json;

use crate::fixture::{Fixture, upstream};

async fn scripted(name: &str) -> (ScriptedUpstream, UpstreamConfig) {
    let scripted = ScriptedUpstream::start().await.expect("a port");
    let config = UpstreamConfig { retries: 0, ..upstream(name, scripted.base_url()) };
    (scripted, config)
}

/// A group of upstreams with their weights.
fn group(weights: &[(&str, u32)]) -> SourceGroup {
    let source = |(name, weight): &(&str, u32)| Source {
        name: (*name).into(),
        model: Some("vendor/small".into()),
        weight: Some(*weight),
    };
    SourceGroup(weights.iter().map(source).collect())
}

#[tokio::test]
async fn requests_are_shared_by_weight_and_the_next_group_waits() {
    let ((large, first), (small, second), (spare, third)) =
        (scripted("large").await, scripted("small").await, scripted("spare").await);
    let fixture = Fixture::of(
        &[first, second, third],
        vec![group(&[("large", 9), ("small", 1)]), group(&[("spare", 1)])],
    );
    for _ in 0..200 {
        fixture.whole(&json!("one")).await.expect("an answer");
    }
    let asked = [&large, &small, &spare].map(|upstream| upstream.observed().requests);
    assert_eq!((asked[0] + asked[1], asked[2]), (200, 0));
    // Nine of ten, within eight standard deviations.
    assert!((145..=199).contains(&asked[0]), "{asked:?}");
}

#[tokio::test]
async fn what_rests_is_left_out_and_its_share_goes_to_the_others_of_its_group() {
    let ((good, second), (spare, third)) = (scripted("good").await, scripted("spare").await);
    let gone = upstream("gone", "http://127.0.0.1:1/v1".into());
    let gone = UpstreamConfig { retries: 0, ..gone };
    let fixture = Fixture::of(
        &[gone, second, third],
        vec![group(&[("gone", 1000), ("good", 1)]), group(&[("spare", 1)])],
    );
    for _ in 0..20 {
        fixture.whole(&json!("one")).await.expect("an answer");
    }
    assert_eq!((good.observed().requests, spare.observed().requests), (20, 0));
}
