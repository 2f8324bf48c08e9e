//! What a payer is told of its money: receipts, and what is missing when something is.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Reply, reply, run};
use crate::payer::Payer;
use crate::sse::Frame;
use crate::stage::{CHAT, DEPOSIT, PRICE, Stage, amount, body, on_every_engine};

/// All that a receipt must say, whatever it is for.
fn check(receipt: &Value, payer: &Payer) {
    for (name, expected) in [
        ("method", json!("tempo")),
        ("intent", json!("session")),
        ("status", json!("success")),
        ("reference", json!(payer.id)),
        ("channelId", json!(payer.id)),
        ("challengeId", json!(payer.asked.id)),
    ] {
        assert_eq!(receipt[name], expected, "{name} of {receipt}");
    }
    let time = receipt["timestamp"].as_str().expect("a time");
    assert!(farebox::id::Timestamp::parse_rfc3339(time).is_some(), "{time}");
    assert!(amount(&receipt["spent"]) <= amount(&receipt["acceptedCumulative"]), "{receipt}");
}

#[test]
fn a_stream_carries_a_receipt_first_and_last() {
    run(on_every_engine(async |stage| {
        let payer = stage.payer(DEPOSIT).await;
        for (payload, chunks, total) in [(payer.open(30 * PRICE), 7, 7), (payer.voucher(30 * PRICE), 5, 12)] {
            let mut stream = stage.stream(&payer, payload, &json!({"chunks": chunks})).await;
            let headers = stream.response.headers().clone();
            assert_eq!(headers["payment-session"], format!("{:#x}", payer.id));
            assert_eq!(headers["cache-control"], "private");
            let head = Reply { status: 200, headers, text: String::new() };
            let first = head.receipt();
            check(&first, &payer);
            assert_eq!((&first["units"], amount(&first["spent"])), (&json!(0), (total - chunks) * PRICE));
            let transcript = stage.listen(&payer, &mut stream).await;
            check(&transcript.receipt, &payer);
            assert_eq!(transcript.receipt["units"], chunks, "of this request");
            assert_eq!(amount(&transcript.receipt["spent"]), total * PRICE, "of the channel");
            assert_eq!(amount(&transcript.receipt["acceptedCumulative"]), 30 * PRICE);
        }
        assert_eq!(stage.close(&payer).await, 12 * PRICE);
    }));
}

#[test]
fn every_action_that_worked_has_a_receipt() {
    run(on_every_engine(async |stage| {
        let payer = stage.payer(DEPOSIT).await;
        let hash = |receipt: &Value| receipt["txHash"].as_str().map(str::len);
        let opened = stage.done(&payer, payer.open(PRICE)).await;
        let voucher = stage.done(&payer, payer.voucher(2 * PRICE)).await;
        let again = stage.done(&payer, payer.voucher(2 * PRICE)).await;
        let topped_up = stage.done(&payer, payer.top_up(500)).await;
        let closed = stage.done(&payer, payer.close(2 * PRICE)).await;
        for receipt in [&opened, &voucher, &again, &topped_up, &closed] {
            check(receipt, &payer);
        }
        // Only what went to the chain has a transaction.
        let hashes = [&opened, &voucher, &again, &topped_up, &closed].map(hash);
        assert_eq!(hashes, [Some(66), None, None, Some(66), Some(66)]);
        for receipt in [&voucher, &again, &topped_up] {
            assert_eq!(amount(&receipt["acceptedCumulative"]), 2 * PRICE);
        }
        assert_eq!(stage.closed(&payer).await, 0);
    }));
}

/// Cost and cover are what a client cannot guess: it is told what to add.
#[test]
fn a_short_request_is_told_how_much_is_missing() {
    run(async {
        let stage = Stage::tuned(|config| config.models[0].max_output_tokens = 10).await;
        let payer = stage.opened(DEPOSIT, 7 * PRICE).await;
        stage.reply(&payer, payer.voucher(7 * PRICE), &body(&json!({"chunks": 6}), true)).await;
        stage.idle().await;
        let (_, accepted, spent, ..) = stage.standing(&payer).await;
        assert_eq!((accepted, spent), (7 * PRICE, 6 * PRICE));
        let whole = body(&json!({}), false);
        let asked = reply(stage.server.post(CHAT, &whole)).await.asked();
        let of_whole = Payer { asked, ..payer.clone() };
        let short = stage.reply(&of_whole, of_whole.voucher(accepted), &whole).await;
        short.assert(402, "insufficient_balance");
        let missing = amount(&short.json()["requiredTopUp"]);
        assert_eq!(missing, 10 * PRICE - (accepted - spent));
        // With that much more the same request is served.
        let answer = stage.reply(&of_whole, of_whole.voucher(accepted + missing), &whole).await;
        assert_eq!(answer.status, 200, "{}", answer.text);

        // A first voucher that buys nothing is told the same, before anything is sent.
        let poor = stage.payer(DEPOSIT).await;
        let short = stage.reply(&poor, poor.open(PRICE - 30), &body(&json!({}), true)).await;
        short.assert(402, "insufficient_balance");
        assert_eq!(amount(&short.json()["requiredTopUp"]), 30);
        stage.finish().await;
    });
}

/// A stream that runs dry says what the next voucher must reach and what the deposit is, and waits
/// for both a top-up and a voucher where the deposit is too small.
#[test]
fn a_stream_beyond_the_deposit_waits_for_a_top_up_and_a_voucher() {
    run(on_every_engine(async |stage| {
        let payer = stage.opened(5 * PRICE, 5 * PRICE).await;
        let mut stream = stage.stream(&payer, payer.voucher(5 * PRICE), &json!({"chunks": 8})).await;
        let (mut texts, mut needed) = (0, Value::Null);
        while needed.is_null() {
            match stream.next().await.expect("it goes on") {
                Frame::Chunk(chunk) => texts += u64::from(crate::sse::text(&chunk).is_some()),
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
        stage.manage(&payer, payer.voucher(8 * PRICE)).await.assert(402, "amount_exceeds_deposit");
        stage.done(&payer, payer.top_up(3 * PRICE)).await;
        let silence = tokio::time::timeout(Duration::from_millis(700), stream.text()).await;
        assert!(silence.is_err(), "delivered without a voucher: {silence:?}");
        stage.done(&payer, payer.voucher(8 * PRICE)).await;
        let transcript = stage.listen(&payer, &mut stream).await;
        assert_eq!((transcript.texts.len(), transcript.cost(), transcript.errors.len()), (3, 8 * PRICE, 0));
        assert_eq!((stage.close(&payer).await, stage.earned().await), (8 * PRICE, 8 * PRICE));
    }));
}

/// A wallet that lost everything but its key finds its channel again.
#[test]
fn a_wallet_that_proves_itself_is_told_its_channel() {
    run(on_every_engine(async |stage| {
        let payer = stage.opened(DEPOSIT, 40 * PRICE).await;
        stage.run(&payer, payer.voucher(40 * PRICE), &json!({"chunks": 33})).await;
        stage.idle().await;
        let asked = reply(stage.server.request(Method::HEAD, CHAT)).await.asked();
        assert_eq!((&asked.echo["intent"], asked.amount()), (&json!("charge"), 0));
        let proof = crate::agent::authorization(&payer.agent.proof(&asked));
        let known = reply(stage.server.request(Method::HEAD, CHAT).header("authorization", proof)).await;
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
        let other = crate::agent::Agent::random();
        let asked = reply(stage.server.request(Method::HEAD, CHAT)).await.asked();
        let proof = crate::agent::authorization(&other.proof(&asked));
        let unknown = reply(stage.server.request(Method::HEAD, CHAT).header("authorization", proof)).await;
        assert_eq!((unknown.status, unknown.header("payment-session")), (204, None));
        assert_eq!(unknown.header("payment-session-snapshot"), None);
        assert_eq!(stage.close(&payer).await, 33 * PRICE);
    }));
}

/// However a request ends: by itself, whole, or because a newer one took its channel.
#[test]
fn an_entry_names_the_challenge_that_it_was_served_for() {
    run(on_every_engine(async |stage| {
        let payer = stage.payer(DEPOSIT).await;
        let script = json!({"endless": true, "intervalMs": 3});
        let mut old = stage.stream(&payer, payer.open(700 * PRICE), &script).await;
        old.text().await.expect("it runs");
        let mut newer = Payer { asked: stage.ask().await, ..payer.clone() };
        stage.run(&newer, newer.voucher(700 * PRICE), &json!({"chunks": 2})).await;
        let superseded = stage.listen(&payer, &mut old).await;
        assert_eq!(superseded.errors[0]["error"]["code"], "superseded");
        let whole = json!({
            "model": crate::stage::MODEL, "max_tokens": 5, "messages": [{ "role": "user", "content": "a b" }],
        })
        .to_string();
        let first = [payer.asked.id.clone(), newer.asked.id.clone()];
        newer.asked = reply(stage.server.post(CHAT, &whole)).await.asked();
        assert_eq!(stage.reply(&newer, newer.voucher(701 * PRICE), &whole).await.status, 200);
        stage.idle().await;
        for challenge in first.iter().chain([&newer.asked.id]) {
            let named = format!("%\"channel\":\"{:#x}\",\"challenge\":\"{challenge}\"%", payer.id);
            let entries = "SELECT count(*) FROM entries WHERE amount > 0 AND meta LIKE $1";
            let entries = sqlx::query_scalar::<_, i64>(entries).bind(named);
            let entries = entries.fetch_one(&stage.server.app.db.pool).await.expect("a number");
            assert_eq!(entries, 1, "{challenge}");
        }
        assert_eq!(stage.server.count("SELECT count(*) FROM entries").await, 3);
        let spent = stage.standing(&payer).await.2;
        assert_eq!(stage.close(&payer).await, spent);
    }));
}
