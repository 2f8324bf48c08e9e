//! Row 25: `urls` and `pdfs` reach public hosts only, end, and cost nothing when they fail.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use farebox::config::{Config, FetchConfig, Secret};
use farebox::fetch::{FetchError, FetchRequest, FetchedItem, Fetcher};
use farebox::keys::KeyLimits;
use farebox_test_support::capture::logged;
use farebox_test_support::harness::{self, reply, run, sponsor_key};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde_json::{Value, json};

use crate::fixture::{CHAT, Customer, Fixture, PRICE, body, money, refused};
use crate::web_server::{CREDIT, WebServer, allow_loopback, chat, pdf, pdf_of, prompts_sent};

const METADATA: &str = "http://169.254.169.254/latest/meta-data/iam/security-credentials/";

/// Refused by name and with this message; nothing is charged, held, or sent to the model.
async fn is_free(fixture: &Fixture, customer: &Customer, more: &Value, field: &str, words: &str) {
    let (before, lookups) = (fixture.available(customer).await, fixture.upstream.observed().requests);
    for stream in [false, true] {
        let mut more = more.clone();
        more["stream"] = json!(stream);
        let answer = chat(fixture, customer, &more).await;
        let error = refused(&answer, 400, "invalid_params");
        assert_eq!(error["param"], field, "{more}: {}", answer.text);
        assert!(answer.text.contains(words), "{more}: {}", answer.text);
        assert!(!answer.text.contains("secret"), "{}", answer.text);
    }
    assert_eq!(fixture.available(customer).await, before, "{more}");
    assert_eq!(fixture.upstream.observed().requests, lookups, "{more}");
}

#[test]
fn attack_25_what_is_not_public_is_never_asked() {
    run(async {
        let fixture = Fixture::with_config(|config| {
            config.fetch.ports = Vec::new();
            config.fetch.per_minute = 1_000;
        })
        .await;
        let customer = fixture.customer(CREDIT).await;
        let web = WebServer::start().await;
        let port = web.port;
        let at = |host: &str| format!("http://{host}:{port}/text?secret");
        let hosts = [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7f.0.0.1",
            "0177.0.0.01",
            "017700000001",
            "127.0.0.1.",
            "0",
            "0.0.0.0",
            "127.8.9.1",
            "10.0.0.1",
            "192.168.1.1",
            "172.16.0.1",
            "100.100.100.200",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[fd00:ec2::254]",
            "[fe80::1]",
            "localhost",
            "LOCALHOST",
            "localhost.",
            "\u{24db}ocalhost",
            "no-such-name.invalid",
        ];
        for host in hosts {
            is_free(&fixture, &customer, &json!({"urls": [at(host)]}), "urls[0]", "has no public address")
                .await;
        }
        for more in [json!({"urls": [METADATA]}), json!({"urls": ["http://metadata.google.internal/"]})] {
            is_free(&fixture, &customer, &more, "urls[0]", "has no public address").await;
        }
        is_free(&fixture, &customer, &json!({"pdfs": [at("127.0.0.1")]}), "pdfs[0]", "has no public address")
            .await;
        assert_eq!(web.request_count(), 0);
        fixture.finish().await;
    });
}

#[test]
fn attack_25_only_the_web_is_fetched_from() {
    run(async {
        let fixture = Fixture::with_config(|_| {}).await;
        let customer = fixture.customer(CREDIT).await;
        for (url, words) in [
            ("file:///etc/passwd", "must begin with https:// or http://"),
            ("ftp://example.com/secret", "must begin with"),
            ("gopher://127.0.0.1:6379/_secret", "must begin with"),
            ("data:text/plain,secret", "must begin with"),
            ("dict://127.0.0.1:11211/secret", "must begin with"),
            ("unix:///run/secret.sock", "must begin with"),
            ("http://secret:secret@example.com/", "must not hold a user name"),
            ("http://example.com:22/", "has a port"),
            ("http://example.com:6379/secret", "has a port"),
            ("secret", "is not a URL"),
            ("", "is not a URL"),
            ("http://exa mple.com/", "is not a URL"),
        ] {
            let more = json!({"urls": [url]});
            is_free(&fixture, &customer, &more, "urls[0]", words).await;
        }
        let nine = json!({"urls": vec!["https://example.com/"; 9]});
        is_free(&fixture, &customer, &nine, "urls", "8 attachments").await;
        let split = json!({"urls": vec!["https://example.com/"; 8], "pdfs": ["x"]});
        is_free(&fixture, &customer, &split, "pdfs", "8 attachments").await;
        is_free(&fixture, &customer, &json!({"urls": [5]}), "urls[0]", "must be a string").await;
        is_free(&fixture, &customer, &json!({"urls": {"secret": 1}}), "urls", "must be a list").await;
        fixture.finish().await;
    });
}

#[test]
fn attack_25_redirects_are_checked_like_urls() {
    run(async {
        let fixture = Fixture::with_config(|config| {
            allow_loopback(config);
            config.fetch.per_minute = 1_000;
        })
        .await;
        let customer = fixture.customer(CREDIT).await;
        let (web, private) = (WebServer::start().await, WebServer::on([127, 0, 0, 2].into()).await);
        for to in [
            private.url("text"),
            format!("http://0x7f000002:{}/text", private.port),
            format!("//127.0.0.2:{}/text", private.port),
            METADATA.to_owned(),
            "http://[::1]/".to_owned(),
            "file:///etc/passwd".to_owned(),
            "data:text/plain,secret".to_owned(),
            "http://secret@127.0.0.1/".to_owned(),
        ] {
            let more = json!({"urls": [web.url(&format!("to?{to}"))]});
            is_free(
                &fixture,
                &customer,
                &more,
                "urls[0]",
                "redirects to an address that this server does not fetch from",
            )
            .await;
        }
        // After hops that are allowed, too.
        let hops = web.url(&format!("to?{}", web.url(&format!("to?{}", private.url("text")))));
        is_free(
            &fixture,
            &customer,
            &json!({"urls": [hops]}),
            "urls[0]",
            "redirects to an address that this server",
        )
        .await;
        is_free(
            &fixture,
            &customer,
            &json!({"urls": [web.url("nowhere")]}),
            "urls[0]",
            "redirects to an address",
        )
        .await;
        is_free(&fixture, &customer, &json!({"urls": [web.url("hop/4")]}), "urls[0]", "more than 3 times")
            .await;
        let loops = json!({"urls": [web.url("to?/to?/")]});
        is_free(&fixture, &customer, &loops, "urls[0]", "status 404").await;
        assert_eq!(private.request_count(), 0);
        assert_eq!(chat(&fixture, &customer, &json!({"urls": [web.url("hop/3")]})).await.status, 200);
        assert_eq!(prompts_sent(&fixture)[0], format!("[Attachment 1: {}]\narrived", web.url("hop/3")));
        fixture.finish().await;
    });
}

/// A resolver with another answer each time.
struct ChangingResolver {
    lookups: AtomicUsize,
    answers: Vec<Vec<SocketAddr>>,
}

impl Resolve for ChangingResolver {
    fn resolve(&self, _: Name) -> Resolving {
        let at = self.lookups.fetch_add(1, Ordering::SeqCst);
        let answer = self.answers.get(at).cloned().unwrap_or_default();
        Box::pin(async move { Ok(Box::new(answer.into_iter()) as Addrs) })
    }
}

fn text_of(read: &FetchedItem) -> String {
    match read {
        FetchedItem::Text(text) => text.text.clone(),
        FetchedItem::File(_) => panic!("a file"),
    }
}

/// The address that was checked is the one that is connected to, and every look-up is checked.
#[test]
fn attack_25_a_name_cannot_change_its_mind() {
    run(async {
        let web = WebServer::start().await;
        let port = web.port;
        let private =
            tokio::net::TcpListener::bind(("127.0.0.2", port)).await.expect("the same port, elsewhere");
        let (allowed, forbidden) =
            (SocketAddr::from(([127, 0, 0, 1], 0)), SocketAddr::from(([127, 0, 0, 2], 0)));
        let read = async |answers: Vec<Vec<SocketAddr>>, path: &str, lookups: usize| {
            let resolver = Arc::new(ChangingResolver { lookups: AtomicUsize::new(0), answers });
            let mut config = Config::default();
            allow_loopback(&mut config);
            let fetcher = Fetcher::resolving(&config.fetch, resolver.clone()).expect("TLS roots");
            let wanted = FetchRequest::Page(format!("http://rebind.example:{port}/{path}"));
            let read = fetcher.read(&[wanted]).await.map(|read| text_of(&read[0]));
            assert_eq!(resolver.lookups.load(Ordering::SeqCst), lookups, "look-ups of {path}");
            read.map_err(|failed| failed.error)
        };
        // One look-up, one connection: there is no second answer to fall for.
        let text = read(vec![vec![allowed], vec![forbidden]], "text", 1).await;
        assert_eq!(text.as_deref(), Ok("The zebra eats 37 melons."));
        // A redirect looks up again, and checks again.
        let text = read(vec![vec![allowed], vec![forbidden]], "hop/1", 2).await;
        assert_eq!(text, Err(FetchError::NotPublic));
        // Of several addresses those that are forbidden do not count.
        let text = read(vec![vec![forbidden, allowed]], "text", 1).await;
        assert_eq!(text.as_deref(), Ok("The zebra eats 37 melons."));
        assert_eq!(read(vec![vec![forbidden]], "text", 1).await, Err(FetchError::NotPublic));
        assert_eq!(read(vec![vec![]], "text", 1).await, Err(FetchError::NotPublic));
        let nobody = tokio::time::timeout(Duration::from_millis(50), private.accept()).await;
        assert!(nobody.is_err(), "the private address was connected to");
    });
}

#[test]
fn attack_25_bodies_end() {
    run(async {
        let fixture = Fixture::with_config(|config| {
            allow_loopback(config);
            config.fetch.per_minute = 1_000;
            config.fetch.max_bytes = 1 << 20;
            config.fetch.max_text_bytes = 200_000;
            config.fetch.total_timeout_ms = 700;
        })
        .await;
        let customer = fixture.customer(CREDIT).await;
        let web = WebServer::start().await;
        for (path, words) in [
            ("large", "is larger than 1048576 bytes"),
            ("endless", "is larger than 1048576 bytes"),
            ("bomb", "is larger than 1048576 bytes"),
            ("words", "has more than 200000 bytes of text"),
            ("slow", "took too long"),
            ("silent", "took too long"),
            ("cut", "ended before it was complete"),
            ("brotli", "is compressed in a way"),
            ("twice", "is compressed in a way"),
            ("torn", "is compressed in a way"),
            ("image", "is of a kind that cannot be read"),
            ("untyped", "is of a kind that cannot be read"),
            ("missing", "answered with status 404"),
            ("partial", "answered with status 206"),
            ("blank", "holds no text"),
        ] {
            let begun = Instant::now();
            let more = json!({"urls": [web.url("text"), web.url(path)]});
            is_free(&fixture, &customer, &more, "urls[1]", words).await;
            assert!(begun.elapsed() < Duration::from_secs(5), "{path}");
        }
        let nobody = json!({"urls": ["http://127.0.0.1:1/"]});
        is_free(&fixture, &customer, &nobody, "urls[0]", "could not be reached").await;
        fixture.finish().await;
    });
}

#[test]
fn attack_25_pdfs_that_cannot_be_read_are_told_apart() {
    run(async {
        let fixture = Fixture::with_config(|config| {
            allow_loopback(config);
            config.fetch.max_bytes = 300_000;
            config.fetch.per_minute = 1_000;
        })
        .await;
        let customer = fixture.customer(CREDIT).await;
        let web = WebServer::start().await;
        let good = pdf("secret", "");
        for (data, words) in [
            (b"secret, not a PDF".to_vec(), "is not a PDF"),
            (b"%PDF-1.7\nsecret".to_vec(), "is a damaged PDF"),
            (good[..60].to_vec(), "is a damaged PDF"),
            (pdf("secret", "/Encrypt << /Filter /Standard /V 2 /R 3 >>"), "is an encrypted PDF"),
            (pdf_of(&vec![b' '; 64 << 20], ""), "takes too much memory or time"),
            (pdf("", ""), "holds no text"),
            (vec![b'%'; 400_000], "is larger than 300000 bytes"),
        ] {
            let more = json!({"pdfs": [STANDARD.encode(data)]});
            is_free(&fixture, &customer, &more, "pdfs[0]", words).await;
        }
        for (given, words) in [
            ("not base64: secret", "is not base64"),
            ("data:text/html;base64,secret", "is not a PDF"),
            ("file:///etc/passwd", "is not base64"),
            ("", "is not base64"),
        ] {
            is_free(&fixture, &customer, &json!({"pdfs": [given]}), "pdfs[0]", words).await;
        }
        let page = json!({"pdfs": [web.url("text")]});
        is_free(&fixture, &customer, &page, "pdfs[0]", "is not a PDF").await;
        fixture.finish().await;
    });
}

/// Nobody has anything fetched who could not pay for an answer, or too much.
#[test]
fn attack_25_nothing_is_fetched_for_who_cannot_pay() {
    run(async {
        let fixture = Fixture::with_config(|config| {
            allow_loopback(config);
            (config.fetch.max_attachments, config.fetch.per_minute) = (3, 3);
        })
        .await;
        let web = WebServer::start().await;
        let more = json!({"urls": [web.url("text")]});
        let poor = fixture.customer(15 * PRICE).await;
        refused(&chat(&fixture, &poor, &more).await, 402, "insufficient_credits");
        let customer_with_limits = KeyLimits { total: Some(money(PRICE)), ..KeyLimits::default() };
        refused(
            &chat(&fixture, &fixture.customer_with_limits(CREDIT, customer_with_limits).await, &more).await,
            403,
            "key_limit_reached",
        );
        let other = KeyLimits { models: Some(vec!["other".into()]), ..KeyLimits::default() };
        assert_eq!(
            chat(&fixture, &fixture.customer_with_limits(CREDIT, other).await, &more).await.status,
            400
        );
        let outsider = Customer { key: "pryv_nonsense".into(), ..poor.clone() };
        refused(&chat(&fixture, &outsider, &more).await, 401, "invalid_api_key");
        let customer = fixture.customer(CREDIT).await;
        let unready = json!({"urls": [web.url("text")], "max_tokens": 0});
        refused(&chat(&fixture, &customer, &unready).await, 400, "invalid_params");
        assert_eq!(web.request_count(), 0);
        // One request under one key is not fetched for twice.
        let keyed = async || {
            let request = fixture.post(&customer, CHAT, &body(&json!({"chunks": 1}), &more));
            reply(request.header("idempotency-key", "one")).await
        };
        assert_eq!(keyed().await.status, 200);
        fixture.idle().await;
        refused(&keyed().await, 409, "idempotency_key_reused");
        assert_eq!(web.request_count(), 1);
        // Three a minute, for all keys of an owner.
        assert_eq!(chat(&fixture, &customer, &json!({"urls": vec![web.url("text"); 2]})).await.status, 200);
        let second = fixture.key(&customer.owner, KeyLimits::default()).await;
        let often = chat(&fixture, &second, &more).await;
        refused(&often, 429, "rate_limit_exceeded_rpm");
        assert!(often.header("retry-after").is_some());
        assert_eq!(web.request_count(), 3);
        assert_eq!(chat(&fixture, &second, &json!({})).await.status, 200);
        fixture.finish().await;
    });
}

/// Neither the caller's credentials nor anything of an earlier answer goes along, and no log has a query.
#[test]
fn attack_25_nothing_of_the_caller_goes_along() {
    run(async {
        let fixture = Fixture::with_config(allow_loopback).await;
        let web = WebServer::start().await;
        let customer = fixture.customer(CREDIT).await;
        let token = "wombat-query-token";
        let (page, hop) = (format!("text?{token}"), format!("to?/text?{token}"));
        let missing = format!("missing?{token}");
        for (paths, status) in [(&[page, hop][..], 200), (&[missing], 400)] {
            let urls: Vec<String> = paths.iter().map(|path| web.url(path)).collect();
            let request = fixture.post(&customer, CHAT, &body(&json!({"chunks": 1}), &json!({"urls": urls})));
            let request = request.header("cookie", "a=secret").header("referer", "https://secret.example/");
            assert_eq!(reply(request).await.status, status);
        }
        for headers in web.seen() {
            let mut names: Vec<&str> = headers.keys().map(reqwest::header::HeaderName::as_str).collect();
            names.sort_unstable();
            assert_eq!(names, ["accept", "accept-encoding", "host", "user-agent"]);
        }
        assert_eq!(web.request_count(), 4);
        let metrics = fixture.server.metrics().await;
        assert!(!logged().contains(token) && !metrics.contains(token));
        fixture.finish().await;
    });
}

/// A client that goes away is not read for any longer, and was never charged.
#[test]
fn attack_25_a_client_that_goes_away_leaves_nothing() {
    run(async {
        let fixture = Fixture::with_config(|config| {
            allow_loopback(config);
            config.fetch.max_attachments = 1;
            config.fetch.max_at_once = 1;
        })
        .await;
        let web = WebServer::start().await;
        let customer = fixture.customer(CREDIT).await;
        let request = fixture.post(&customer, CHAT, &body(&json!({}), &json!({"urls": [web.url("silent")]})));
        let waiting = tokio::spawn(request.send());
        harness::eventually("it is fetched", async || (web.request_count() > 0).then_some(())).await;
        let other = json!({"urls": [web.url("text")]});
        refused(&chat(&fixture, &customer, &other).await, 503, "service_unavailable");
        waiting.abort();
        harness::eventually("its turn is free", async || {
            (chat(&fixture, &customer, &other).await.status == 200).then_some(())
        })
        .await;
        assert_eq!(CREDIT - fixture.available(&customer).await, 2 * PRICE);
        fixture.finish().await;
    });
}

/// Both fields are refused by name where chunks are priced, and where attachments are turned off.
#[test]
fn attack_25_attachments_are_refused_where_they_are_not_sold() {
    run(async {
        let fixture = Fixture::with_config(|config| {
            config.sessions.operator_key = Some(Secret::from(hex::encode(sponsor_key())));
            config.fetch = FetchConfig { enabled: false, ..FetchConfig::default() };
        })
        .await;
        let customer = fixture.customer(CREDIT).await;
        for field in ["urls", "pdfs"] {
            let more = json!({field: ["https://example.com/secret"]});
            is_free(&fixture, &customer, &more, field, "is not available on this server").await;
            let answer = reply(fixture.server.post("/mpp/chat/completions", &body(&json!({}), &more))).await;
            answer.assert(400, "invalid_params");
            assert!(answer.text.contains("POST /v1/chat/completions") && !answer.text.contains("secret"));
        }
        assert_eq!(chat(&fixture, &customer, &json!({"urls": [], "pdfs": null})).await.status, 200);
        fixture.finish().await;
    });
}
