//! What every answer says of itself, and what every request must say.

use std::io::{Read as _, Write as _};

use farebox_test_support::harness::{BODY, PREVIEW, Server, reply, run};
use farebox_test_support::raw_http;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(text).expect("memory");
    encoder.finish().expect("memory")
}

/// A Zstandard frame of one raw block (RFC 8878, section 3.1).
fn zstd(text: &[u8]) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("a short text");
    let block = (u32::from(length) << 3 | 1).to_le_bytes();
    [&[0x28, 0xb5, 0x2f, 0xfd, 0x20, length], &block[..3], text].concat()
}

#[test]
fn attack_46_answers_are_kept_by_nobody_and_taken_for_nothing_else() {
    run(async {
        let server = Server::start().await;
        for (path, policy) in [
            ("/v1/models", "no-store"),
            ("/mpp", "max-age=300"),
            ("/openapi.json", "max-age=300"),
            ("/healthz", "no-store"),
            ("/nowhere", "no-store"),
        ] {
            let answer = reply(server.get(path)).await;
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
            assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
            assert_eq!(answer.header("cache-control"), Some(policy), "{path}");
        }
    });
}

#[test]
fn urls_that_cannot_be_read_are_errors_like_others() {
    run(async {
        let server = Server::start().await;
        for (path, status) in [("/readyz?need=%ff", 400), ("/readyz?need=x", 400), ("/v1/models/%ff", 401)] {
            let answer = reply(server.get(path)).await;
            assert_eq!(answer.status, status, "{path}: {}", answer.text);
            assert!(answer.json().is_object() && !answer.text.contains("Failed"), "{path}: {}", answer.text);
        }
    });
}

#[test]
fn attack_27_a_request_names_one_host() {
    run(async {
        let server = Server::start().await;
        for (line, hosts, status) in [
            ("HTTP/1.1", "", 400),
            ("HTTP/1.1", "host: a\r\nhost: b\r\n", 400),
            ("HTTP/1.0", "host: a\r\nhost: b\r\n", 400),
            ("HTTP/1.1", "host: a\r\n", 200),
            ("HTTP/1.0", "", 200),
        ] {
            let request = format!("GET /healthz {line}\r\n{hosts}connection: close\r\n\r\n");
            let answer = raw_http::exchange(&server, request.as_bytes()).await;
            assert_eq!(answer.status, status, "{line} {hosts:?}: {}", answer.head);
        }
    });
}

#[test]
fn compressed_bodies_are_read_within_the_limits() {
    run(async {
        let server = Server::with_config(|config| config.server.file_body_limit_bytes = 1 << 20).await;
        let send = async |encoding: &'static str, body: Vec<u8>| {
            let request = server.post(PREVIEW, "").header("content-encoding", encoding);
            reply(request.body(body)).await
        };
        for (encoding, body) in
            [("gzip", gzip(BODY.as_bytes())), ("zstd", zstd(BODY.as_bytes())), ("identity", BODY.into())]
        {
            send(encoding, body).await.assert(402, "payment_required");
        }
        for encoding in ["br", "deflate", "gzip, gzip", "x"] {
            let refused = send(encoding, BODY.into()).await;
            refused.assert(415, "unsupported_media_type");
            assert!(refused.text.contains("Content-Encoding"), "{}", refused.text);
        }
        send("gzip", BODY.into()).await.assert(400, "invalid_params");
        send("zstd", BODY.into()).await.assert(400, "invalid_params");
        let whole = gzip(BODY.as_bytes());
        send("gzip", whole[..whole.len() - 6].to_vec()).await.assert(400, "invalid_params");
        // 64 MiB in 64 KiB.
        send("gzip", gzip(&vec![b' '; 64 << 20])).await.assert(413, "payload_too_large");
    });
}

#[test]
fn documents_are_compressed_for_who_asks() {
    run(async {
        let server = Server::start().await;
        for path in ["/openapi.json", "/openapi-full.json", "/llms.txt", "/llms-full.txt"] {
            let plain = server.get(path).send().await.expect("an answer");
            assert!(plain.headers().get("content-encoding").is_none(), "{path}");
            let vary = plain.headers().get_all("vary");
            let names = vary.iter().filter_map(|value| value.to_str().ok());
            assert!(names.into_iter().any(|value| value.contains("accept-encoding")), "{path}");
            let plain = plain.bytes().await.expect("a body");
            let packed =
                server.get(path).header("accept-encoding", "br, gzip").send().await.expect("an answer");
            assert_eq!(packed.headers()["content-encoding"], "gzip", "{path}");
            let packed = packed.bytes().await.expect("a body");
            assert!(packed.len() * 2 < plain.len(), "{path}: {} of {}", packed.len(), plain.len());
            let mut read = Vec::new();
            flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut read).expect("gzip");
            assert_eq!(read, plain, "{path}");
        }
        // Too small, or for nobody to keep.
        for path in ["/favicon.svg", "/healthz", "/nowhere"] {
            let answer = server.get(path).header("accept-encoding", "gzip").send().await.expect("an answer");
            assert!(answer.headers().get("content-encoding").is_none(), "{path}");
        }
    });
}

/// Who has an answer that caches may keep is told that it still holds.
#[test]
fn what_may_be_kept_is_not_sent_twice() {
    run(async {
        let server = Server::start().await;
        for path in ["/openapi.json", "/llms.txt", "/mcp/server-card"] {
            let first = reply(server.get(path)).await;
            let tag = first.header("etag").expect("a tag").to_owned();
            for (known, status) in
                [(tag.as_str(), 304), (&format!("\"other\", {tag}"), 304), ("\"other\"", 200)]
            {
                let again = reply(server.get(path).header("if-none-match", known)).await;
                assert_eq!((again.status, again.text.is_empty()), (status, status == 304), "{path}: {known}");
                assert_eq!(again.header("etag"), Some(tag.as_str()));
            }
        }
        let fresh = reply(server.get("/healthz").header("if-none-match", "*")).await;
        assert_eq!((fresh.status, fresh.header("etag")), (200, None));
    });
}
