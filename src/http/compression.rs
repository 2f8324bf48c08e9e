//! Compression of answers, for clients that ask for it.
//!
//! The length of a compressed text tells what a part of it that somebody else chose has in common with the rest (BREACH):
//! an answer that holds a secret, or what a model made of a prompt, beside such a text must not be compressed. Answers
//! that caches may keep hold neither: documents, lists of models and keys, balances. Everything else goes as it is, event
//! streams among it, which would also wait for more text to compress.

use axum::http::header::CACHE_CONTROL;
use axum::http::{Extensions, HeaderMap, StatusCode, Version};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{And, Predicate as _, SizeAbove};

/// Size from which compressing is worth its time, in bytes.
const MIN_BYTES: u64 = 1024;

type MayKeep = fn(StatusCode, Version, &HeaderMap, &Extensions) -> bool;

/// Makes the layer, which must be inside of what gives answers their cache policy by default.
pub fn layer() -> CompressionLayer<And<SizeAbove, MayKeep>> {
    // The fastest level: anybody may ask for the documents.
    CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(MIN_BYTES).and(is_kept as MayKeep))
}

fn is_kept(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    may_be_kept(headers)
}

/// Returns true for an answer that caches may keep.
pub fn may_be_kept(headers: &HeaderMap) -> bool {
    headers
        .get(CACHE_CONTROL)
        .is_some_and(|policy| policy.as_bytes().windows(7).any(|word| word == b"max-age"))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn attack_28_only_what_may_be_kept_is_compressed() {
        for (policy, expected) in [
            (Some("max-age=300"), true),
            (Some("private, max-age=5"), true),
            (Some("private"), false),
            (Some("no-store"), false),
            (Some("no-cache"), false),
            (None, false),
        ] {
            let policy = policy.map(|policy| (CACHE_CONTROL, HeaderValue::from_static(policy)));
            let headers = HeaderMap::from_iter(policy);
            let found = may_be_kept(&headers);
            assert_eq!(found, expected, "{headers:?}");
        }
    }
}
