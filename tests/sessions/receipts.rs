//! Receipts, and the missing amount when a voucher does not cover a request.

use std::time::Duration;

use farebox::id::Timestamp;
use farebox::payments::http::ChallengeHeader;
use farebox_test_support::agent::{self, Challenge};
use farebox_test_support::harness::{Reply, reply, run};
use farebox_test_support::payer::Payer;
use farebox_test_support::sse::{self, Frame};
use reqwest::Method;
use serde_json::{Value, json};

use crate::fixture::{CHAT, DEPOSIT, Fixture, PRICE, amount, body, on_every_engine};

/// All that a receipt must say, whatever it is for.
fn check(receipt: &Value, payer: &Payer) {
    for (name, expected) in [
        ("method", json!("tempo")),
        ("intent", json!("session")),
        ("status", json!("success")),
        ("reference", json!(payer.id)),
        ("channelId", json!(payer.id)),
        ("challengeId", json!(payer.challenge.id)),
    ] {
        assert_eq!(receipt[name], expected, "{name} of {receipt}");
    }
    let time = receipt["timestamp"].as_str().expect("a time");
    assert!(farebox::id::Timestamp::parse_rfc3339(time).is_some(), "{time}");
    assert!(amount(&receipt["spent"]) <= amount(&receipt["acceptedCumulative"]), "{receipt}");
}

#[test]
fn a_stream_carries_a_receipt_first_and_last() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.payer(DEPOSIT).await;
        for (payload, chunks, total) in [(payer.open(30 * PRICE), 7, 7), (payer.voucher(30 * PRICE), 5, 12)] {
            let mut stream = fixture.stream(&payer, payload, &json!({"chunks": chunks})).await;
            let headers = stream.response.headers().clone();
            assert_eq!(headers["payment-session"], format!("{:#x}", payer.id));
            assert_eq!(headers["cache-control"], "private");
            let head = Reply { status: 200, headers, text: String::new() };
            let first = head.receipt();
            check(&first, &payer);
            assert_eq!((&first["units"], amount(&first["spent"])), (&json!(0), (total - chunks) * PRICE));
            let transcript = fixture.read_and_pay(&payer, &mut stream).await;
            check(&transcript.receipt, &payer);
            assert_eq!(transcript.receipt["units"], chunks, "of this request");
            assert_eq!(amount(&transcript.receipt["spent"]), total * PRICE, "of the channel");
            assert_eq!(amount(&transcript.receipt["acceptedCumulative"]), 30 * PRICE);
        }
        assert_eq!(fixture.close(&payer).await, 12 * PRICE);
    }));
}

#[test]
fn every_action_that_worked_has_a_receipt() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.payer(DEPOSIT).await;
        let hash = |receipt: &Value| receipt["txHash"].as_str().map(str::len);
        let opened = fixture.done(&payer, payer.open(PRICE)).await;
        let voucher = fixture.done(&payer, payer.voucher(2 * PRICE)).await;
        let again = fixture.done(&payer, payer.voucher(2 * PRICE)).await;
        let topped_up = fixture.done(&payer, payer.top_up(500)).await;
        let closed = fixture.done(&payer, payer.close(2 * PRICE)).await;
        for receipt in [&opened, &voucher, &again, &topped_up, &closed] {
            check(receipt, &payer);
        }
        // Only what went to the chain has a transaction.
        let hashes = [&opened, &voucher, &again, &topped_up, &closed].map(hash);
        assert_eq!(hashes, [Some(66), None, None, Some(66), Some(66)]);
        for receipt in [&voucher, &again, &topped_up] {
            assert_eq!(amount(&receipt["acceptedCumulative"]), 2 * PRICE);
        }
        assert_eq!(fixture.closed(&payer).await, 0);
    }));
}

/// A client cannot guess cost and cover: the answer names the missing amount.
#[test]
fn a_short_request_names_the_missing_amount() {
    run(async {
        let fixture = Fixture::with_config(|config| config.models[0].max_output_tokens = 10).await;
        let payer = fixture.opened(DEPOSIT, 7 * PRICE).await;
        fixture.reply(&payer, payer.voucher(7 * PRICE), &body(&json!({"chunks": 6}), true)).await;
        fixture.idle().await;
        let (_, accepted, spent, ..) = fixture.channel_amounts(&payer).await;
        assert_eq!((accepted, spent), (7 * PRICE, 6 * PRICE));
        let non_streaming = body(&json!({}), false);
        let challenge = reply(fixture.server.post(CHAT, &non_streaming)).await.challenge();
        let non_streaming_payer = Payer { challenge, ..payer.clone() };
        let short =
            fixture.reply(&non_streaming_payer, non_streaming_payer.voucher(accepted), &non_streaming).await;
        short.assert(402, "insufficient_balance");
        let missing = amount(&short.json()["requiredTopUp"]);
        assert_eq!(missing, 10 * PRICE - (accepted - spent));
        // With that much more the same request is served.
        let answer = fixture
            .reply(&non_streaming_payer, non_streaming_payer.voucher(accepted + missing), &non_streaming)
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text);

        // A first voucher that buys nothing gets the same answer, before anything is sent.
        let poor = fixture.payer(DEPOSIT).await;
        let short = fixture.reply(&poor, poor.open(PRICE - 30), &body(&json!({}), true)).await;
        short.assert(402, "insufficient_balance");
        assert_eq!(amount(&short.json()["requiredTopUp"]), 30);
        fixture.finish().await;
    });
}

/// A stream that runs dry says what the next voucher must reach and what the deposit is, and waits
/// for both a top-up and a voucher where the deposit is too small.
#[test]
fn a_stream_beyond_the_deposit_waits_for_a_top_up_and_a_voucher() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.opened(5 * PRICE, 5 * PRICE).await;
        let mut stream = fixture.stream(&payer, payer.voucher(5 * PRICE), &json!({"chunks": 8})).await;
        let (mut texts, mut needed) = (0, Value::Null);
        while needed.is_null() {
            match stream.next().await.expect("it goes on") {
                Frame::Chunk(chunk) => texts += u64::from(sse::text(&chunk).is_some()),
                Frame::NeedVoucher(ask) => needed = ask,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((texts, &needed["channelId"]), (5, &json!(payer.id)));
        let [accepted, deposit, required] =
            ["acceptedCumulative", "deposit", "requiredCumulative"].map(|name| amount(&needed[name]));
        assert_eq!((accepted, deposit), (5 * PRICE, 5 * PRICE));
        assert!(required > deposit, "{needed}");
        // A voucher alone is refused, a top-up alone allows nothing.
        fixture.manage(&payer, payer.voucher(8 * PRICE)).await.assert(402, "amount_exceeds_deposit");
        fixture.done(&payer, payer.top_up(3 * PRICE)).await;
        let silence = tokio::time::timeout(Duration::from_millis(700), stream.text()).await;
        assert!(silence.is_err(), "delivered without a voucher: {silence:?}");
        fixture.done(&payer, payer.voucher(8 * PRICE)).await;
        let transcript = fixture.read_and_pay(&payer, &mut stream).await;
        assert_eq!((transcript.texts.len(), transcript.cost(), transcript.errors.len()), (3, 8 * PRICE, 0));
        assert_eq!((fixture.close(&payer).await, fixture.earned().await), (8 * PRICE, 8 * PRICE));
    }));
}

/// A wallet that lost everything but its key finds its channel again.
#[test]
fn a_wallet_that_proves_itself_gets_its_channel() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.opened(DEPOSIT, 40 * PRICE).await;
        fixture.run(&payer, payer.voucher(40 * PRICE), &json!({"chunks": 33})).await;
        fixture.idle().await;
        let challenge = reply(fixture.server.request(Method::HEAD, CHAT)).await.challenge();
        assert_eq!((&challenge.echo["intent"], challenge.amount()), (&json!("charge"), 0));
        let proof = agent::authorization(&payer.agent.proof(&challenge));
        let known = reply(fixture.server.request(Method::HEAD, CHAT).header("authorization", proof)).await;
        assert_eq!(known.status, 204, "{known:?}");
        assert_eq!(known.header("payment-session"), Some(format!("{:#x}", payer.id).as_str()));
        let header = known.header("payment-session-snapshot").expect("a snapshot");
        assert!(!header.contains('='), "without padding: {header}");
        let snapshot = mpp::protocol::core::Base64UrlJson::from_raw(header).decode_value().expect("JSON");
        for name in ["acceptedCumulative", "requiredCumulative", "deposit", "settled", "spent", "chainId"] {
            assert!(snapshot.get(name).is_some(), "{name} of {snapshot}");
        }
        assert_eq!((amount(&snapshot["spent"]), amount(&snapshot["deposit"])), (33 * PRICE, DEPOSIT));

        // Another wallet learns nothing of it.
        let other = agent::Agent::random();
        let challenge = reply(fixture.server.request(Method::HEAD, CHAT)).await.challenge();
        let proof = agent::authorization(&other.proof(&challenge));
        let unknown = reply(fixture.server.request(Method::HEAD, CHAT).header("authorization", proof)).await;
        assert_eq!((unknown.status, unknown.header("payment-session")), (204, None));
        assert_eq!(unknown.header("payment-session-snapshot"), None);
        assert_eq!(fixture.close(&payer).await, 33 * PRICE);
    }));
}

/// A proof counts once, and its answer is the same for as long as its challenge lives: a client whose first answer was
/// lost must not open a second channel.
#[test]
fn attack_08_a_proof_of_a_wallet_gets_its_whole_answer_again_until_it_expires() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.opened(DEPOSIT, 40 * PRICE).await;
        let challenge = reply(fixture.server.request(Method::HEAD, CHAT)).await.challenge();
        let proof = agent::authorization(&payer.agent.proof(&challenge));
        let prove = || reply(fixture.server.request(Method::HEAD, CHAT).header("authorization", &proof));
        let answers = futures_util::future::join_all((0..4).map(|_| prove())).await;
        let answered: Vec<_> = answers.iter().filter(|answer| answer.status != 409).collect();
        assert!(!answered.is_empty());
        // The stored answer, not a new one.
        fixture.close(&payer).await;
        let late = prove().await;
        for answer in answered.into_iter().chain([&late]) {
            assert_eq!(answer.status, 204, "{answer:?}");
            assert_eq!(answer.header("payment-session"), Some(format!("{:#x}", payer.id).as_str()));
            let snapshot = answer.header("payment-session-snapshot");
            assert_eq!(snapshot, late.header("payment-session-snapshot"));
            assert!(snapshot.is_some() && answer.header("payment-receipt").is_some());
        }
        // Beyond its time it is nothing any more.
        let opaque = farebox::payments::Resource::http("HEAD", CHAT, None).opaque(uuid::Uuid::new_v4());
        let past = Timestamp::now().checked_sub_millis(1_000).expect("this century");
        let app = &fixture.server.app;
        let old = app.issuer.issue(&app.offers.account[0], &opaque, None, past);
        let old = Challenge::parse(&ChallengeHeader::new(&old, None).value);
        let proof = agent::authorization(&payer.agent.proof(&old));
        let expired = reply(fixture.server.request(Method::HEAD, CHAT).header("authorization", proof)).await;
        assert_eq!(expired.status, 402);
        assert_ne!(expired.challenge().id, old.id);
    }));
}

/// "Voucher Submission Transport": any method of the resource takes a session credential without a body.
#[test]
fn get_and_put_take_vouchers_and_closes() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.opened(DEPOSIT, 5 * PRICE).await;
        for (method, payload, accepted) in [
            (Method::GET, payer.voucher(8 * PRICE), 8),
            (Method::PUT, payer.voucher(9 * PRICE), 9),
            (Method::PUT, payer.close(9 * PRICE), 9),
        ] {
            let request = fixture.server.request(method, CHAT);
            let taken = reply(request.header("authorization", payer.authorization(payload))).await;
            assert_eq!(taken.status, 204, "{}", taken.text);
            assert_eq!(amount(&taken.receipt()["acceptedCumulative"]), accepted * PRICE);
        }
        fixture.closed(&payer).await;
        let bare = reply(fixture.server.request(Method::GET, CHAT)).await;
        bare.assert(405, "method_not_allowed");
        assert_eq!(bare.header("allow"), Some("POST,HEAD,GET,PUT"));
    }));
}

#[test]
fn an_open_with_content_names_its_transaction() {
    run(on_every_engine(async |fixture| {
        for stream in [true, false] {
            let script = json!({"chunks": 3});
            let payer = fixture.payer(DEPOSIT).await;
            let (asking, body) = if stream {
                (payer.clone(), crate::fixture::body(&script, true))
            } else {
                crate::requests::payer_for_non_streaming(fixture, &payer, &script).await
            };
            let payer = Payer::prepare(payer.agent.clone(), asking.challenge, DEPOSIT);
            let answer = fixture.reply(&payer, payer.open(60 * PRICE), &body).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            let hash = answer.receipt()["txHash"].as_str().expect("a hash").to_owned();
            assert!(hash.len() == 66, "{hash}");
            assert!(!stream || answer.text.contains(&hash), "also in the last receipt: {}", answer.text);
            fixture.idle().await;
            fixture.close(&payer).await;
        }
    }));
}

/// Every end of a request has a receipt: its own end, not streamed, or a newer one on its channel.
#[test]
fn an_entry_names_the_challenge_that_it_was_served_for() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.payer(DEPOSIT).await;
        let script = json!({"endless": true, "intervalMs": 3});
        let mut old = fixture.stream(&payer, payer.open(700 * PRICE), &script).await;
        old.text().await.expect("it runs");
        let mut newer = Payer { challenge: fixture.challenge().await, ..payer.clone() };
        fixture.run(&newer, newer.voucher(700 * PRICE), &json!({"chunks": 2})).await;
        let superseded = fixture.read_and_pay(&payer, &mut old).await;
        assert_eq!(superseded.errors[0]["error"]["code"], "superseded");
        let non_streaming = json!({
            "model": crate::fixture::MODEL, "max_tokens": 5, "messages": [{ "role": "user", "content": "a b" }],
        })
        .to_string();
        let first = [payer.challenge.id.clone(), newer.challenge.id.clone()];
        newer.challenge = reply(fixture.server.post(CHAT, &non_streaming)).await.challenge();
        assert_eq!(fixture.reply(&newer, newer.voucher(701 * PRICE), &non_streaming).await.status, 200);
        fixture.idle().await;
        for challenge in first.iter().chain([&newer.challenge.id]) {
            let named = format!("%\"channel\":\"{:#x}\",\"challenge\":\"{challenge}\"%", payer.id);
            let entries = "SELECT count(*) FROM entries WHERE amount > 0 AND meta LIKE $1";
            let entries = sqlx::query_scalar::<_, i64>(entries).bind(named);
            let entries = entries.fetch_one(&fixture.server.app.db.pool).await.expect("a number");
            assert_eq!(entries, 1, "{challenge}");
        }
        assert_eq!(fixture.server.count("SELECT count(*) FROM entries").await, 3);
        let spent = fixture.channel_amounts(&payer).await.2;
        assert_eq!(fixture.close(&payer).await, spent);
    }));
}
