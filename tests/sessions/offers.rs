//! Offers of sessions: their form, and the contents of their credentials.

use farebox_test_support::db;
use farebox_test_support::harness::{self, SECRET, reply, run};
use farebox_test_support::payer::{self, Payer};
use reqwest::Method;
use serde_json::{Value, json};

use crate::fixture::{CHAT, DEPOSIT, Fixture, MODEL, PRICE, amount, body};

/// One more than 96 bits hold.
const TOO_LARGE: &str = "79228162514264337593543950336";

fn is_lower_hex(value: &Value, digits: usize) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.len() == digits + 2
        && text.starts_with("0x")
        && text[2..].bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[test]
fn a_challenge_says_all_that_opening_a_channel_needs() {
    run(async {
        let fixture = Fixture::start().await;
        let challenge = fixture.challenge().await;
        assert_eq!(
            (&challenge.echo["method"], &challenge.echo["intent"]),
            (&json!("tempo"), &json!("session"))
        );
        let request = &challenge.request;
        assert_eq!(
            (amount(&request["amount"]), &request["unitType"], amount(&request["suggestedDeposit"])),
            (PRICE, &json!("chunk"), 2_000 * PRICE)
        );
        let details = &request["methodDetails"];
        assert_eq!((&details["sessionProtocol"], &details["chainId"]), (&json!("v2"), &json!(1337)));
        for address in
            [&request["currency"], &request["recipient"], &details["escrowContract"], &details["operator"]]
        {
            assert!(is_lower_hex(address, 40), "{address} in {request}");
        }
        // Its expiry is stated once, outside.
        assert!(!challenge.expires.is_empty() && request.get("expires").is_none(), "{request}");
        // Nobody has a channel yet.
        for absent in ["channelId", "sessionSnapshot", "feePayer"] {
            assert_eq!(details.get(absent), None, "{details}");
        }
        fixture.finish().await;
    });
}

#[test]
fn a_refusal_to_a_known_payer_says_how_its_channel_stands() {
    run(async {
        let fixture = Fixture::start().await;
        let payer = fixture.opened(DEPOSIT, 20 * PRICE).await;
        // Read, and not paid further than that.
        let served =
            fixture.reply(&payer, payer.voucher(20 * PRICE), &body(&json!({"chunks": 20}), true)).await;
        assert_eq!(served.status, 200, "{}", served.text);
        fixture.idle().await;
        let short = fixture.reply(&payer, payer.voucher(20 * PRICE), &body(&json!({}), true)).await;
        short.assert(402, "insufficient_balance");
        let request = short.challenge().request;
        // Its deposit is there already: none is suggested.
        assert_eq!(request.get("suggestedDeposit"), None);
        let details = &request["methodDetails"];
        let snapshot = &details["sessionSnapshot"];
        assert_eq!((&details["channelId"], &snapshot["channelId"]), (&json!(payer.id), &json!(payer.id)));
        assert!(is_lower_hex(&snapshot["channelId"], 64) && is_lower_hex(&snapshot["escrow"], 40));
        assert_eq!(snapshot["chainId"], 1337);
        for (name, value) in payer.descriptor().as_object().expect("an object") {
            let lower = value.as_str().expect("hex").to_lowercase();
            assert_eq!(snapshot["descriptor"][name], lower, "{name}");
        }
        for (name, expected) in [
            ("acceptedCumulative", 20 * PRICE),
            ("spent", 20 * PRICE),
            ("settled", 0),
            ("deposit", DEPOSIT),
            ("requiredCumulative", 21 * PRICE),
        ] {
            assert_eq!(amount(&snapshot[name]), expected, "{name}");
        }
        // With what it asks for the request is served.
        let required = amount(&snapshot["requiredCumulative"]);
        let transcript = fixture.run(&payer, payer.voucher(required), &json!({"chunks": 1})).await;
        assert_eq!(transcript.texts.len(), 1);
        fixture.finish().await;
    });
}

/// mppx's command line says who it is: a stream that opens its channel asks it for all that the answer can cost, within
/// half of the deposit, and then for nothing on the way. Nobody else is asked ahead.
#[test]
fn the_command_line_that_forgets_vouchers_is_asked_before_its_first_stream() {
    run(async {
        let fixture = Fixture::start().await;
        // The longest stream of three tokens: 70 chunks. Half of the deposit is less.
        for (deposit, asked) in [(DEPOSIT, 70 * PRICE), (100 * PRICE, 50 * PRICE)] {
            let script = json!({ "chunks": 3 }).to_string();
            let body = json!({
                "model": MODEL, "stream": true, "max_tokens": 3,
                "messages": [{ "role": "user", "content": script }],
            });
            let body = &body.to_string();
            let payer = fixture.payer(deposit).await;
            let as_client = async |payload: Value, agent: &str| {
                let request = fixture.server.post(CHAT, body).header("user-agent", agent);
                reply(request.header("authorization", payer.authorization(payload))).await
            };
            // The answer may get lost, and the same open come again.
            for _ in 0..2 {
                let refused = as_client(payer.open(PRICE), "mppx/0.11.0").await;
                refused.assert(402, "insufficient_balance");
                let snapshot = refused.challenge().request["methodDetails"]["sessionSnapshot"].clone();
                assert_eq!(amount(&snapshot["requiredCumulative"]), asked);
                assert_eq!((amount(&snapshot["spent"]), amount(&snapshot["deposit"])), (0, deposit));
            }
            let streamed = as_client(payer.voucher(asked), "mppx/0.11.0").await;
            assert_eq!(streamed.status, 200, "{}", streamed.text);
            assert!(!streamed.text.contains("payment-need-voucher"), "{}", streamed.text);
            assert!(streamed.text.contains("payment-receipt"), "{}", streamed.text);
            assert_eq!(fixture.channel_amounts(&payer).await.2, 3 * PRICE);
            fixture.close(&payer).await;
        }
        // What it is suggested pays for the longest answer beside the usual: it signs no more than that.
        for (stream, agent, suggested) in [
            (true, "mppx/0.11.0", 2_000 + 4_096),
            (false, "mppx/0.11.0", 2_000 + 4_096),
            (true, "another", 2_000),
            (false, "another", 4_096),
        ] {
            let request = fixture.server.post(CHAT, &body(&json!({}), stream)).header("user-agent", agent);
            let challenge = reply(request).await.challenge();
            assert_eq!(amount(&challenge.request["suggestedDeposit"]), suggested * PRICE, "{stream} {agent}");
        }
        let payer = fixture.payer(DEPOSIT).await;
        let request = fixture.server.post(CHAT, &body(&json!({"chunks": 1}), true));
        let request = request.header("user-agent", "another mppx/0.11.0");
        let streamed = reply(request.header("authorization", payer.authorization(payer.open(PRICE)))).await;
        assert_eq!(streamed.status, 200, "{}", streamed.text);
        fixture.finish().await;
    });
}

#[test]
fn unknown_fields_are_ignored_and_unknown_actions_refused() {
    run(async {
        let fixture = Fixture::start().await;
        let payer = fixture.payer(DEPOSIT).await;
        let extended = |mut payload: Value| {
            payload["fromTheFuture"] = json!({"a": [1]});
            payload["descriptor"]["fromTheFuture"] = json!("x");
            payload
        };
        fixture.done(&payer, extended(payer.open(PRICE))).await;
        fixture.done(&payer, extended(payer.voucher(2 * PRICE))).await;
        fixture.done(&payer, extended(payer.top_up(500))).await;
        let before = fixture.channel_amounts(&payer).await;
        for action in [json!("settle"), json!("Voucher"), json!(""), json!(1), Value::Null] {
            let mut payload = payer.voucher(3 * PRICE);
            payload["action"] = action.clone();
            fixture.manage(&payer, payload.clone()).await.assert(402, "malformed_credential");
            let reply = fixture.reply(&payer, payload, &body(&json!({}), true)).await;
            reply.assert(402, "malformed_credential");
        }
        assert_eq!(
            (fixture.channel_amounts(&payer).await, fixture.upstream.observed().requests),
            (before, 0)
        );
        fixture.done(&payer, extended(payer.close(2 * PRICE))).await;
        assert_eq!(fixture.closed(&payer).await, 0);
        fixture.finish().await;
    });
}

#[test]
fn missing_fields_are_named_and_amounts_beyond_96_bits_refused() {
    run(async {
        let fixture = Fixture::start().await;
        let payer = fixture.opened(DEPOSIT, PRICE).await;
        let new = fixture.payer(DEPOSIT).await;
        let before = fixture.channel_amounts(&payer).await;
        for (payer, payload, amount) in [
            (&new, new.open(PRICE), "cumulativeAmount"),
            (&payer, payer.voucher(2 * PRICE), "cumulativeAmount"),
            (&payer, payer.close(2 * PRICE), "cumulativeAmount"),
            (&payer, payer.top_up(500), "additionalDeposit"),
        ] {
            for beyond in [TOO_LARGE, "340282366920938463463374607431768211456"] {
                let mut large = payload.clone();
                large[amount] = json!(beyond);
                fixture.manage(payer, large).await.assert(402, "malformed_credential");
            }
            for field in ["channelId", "descriptor", amount] {
                let mut without = payload.clone();
                without.as_object_mut().expect("an object").remove(field);
                fixture.manage(payer, without).await.assert(402, "malformed_credential");
            }
        }
        assert_eq!(fixture.channel_amounts(&payer).await, before);
        assert_eq!(fixture.close(&payer).await, 0);
        fixture.finish().await;
    });
}

/// A challenge that is not ours and one whose time is over are both "not found", so that clients
/// take the new one instead of giving their channel up.
#[test]
fn a_challenge_that_is_unknown_or_over_is_not_found() {
    run(async {
        let fixture = Fixture::start().await;
        let payer = fixture.opened(DEPOSIT, PRICE).await;
        let before = fixture.channel_amounts(&payer).await;
        let mut expired = payer.clone();
        expired.challenge.echo["expires"] = json!("2025-01-06T12:05:00Z");
        expired.challenge.resign(SECRET);
        for payload in [payer.open(PRICE), payer.voucher(2 * PRICE), payer.top_up(500), payer.close(PRICE)] {
            fixture.manage(&expired, payload).await.assert(402, "challenge_not_found");
        }
        let mut foreign = payer.clone();
        foreign.challenge.resign("another server's secret, long enough to be one");
        let mut unnamed = payer.clone();
        unnamed.challenge.echo["id"] = json!("kM9xPqWvT2nJrHsY4aDfEb");
        for outsider in [&foreign, &unnamed] {
            let reply = fixture.manage(outsider, payer.top_up(500)).await;
            reply.assert(402, "challenge_not_found");
            assert_eq!(reply.json()["type"], "https://paymentauth.org/problems/session/challenge-not-found");
        }
        assert_eq!(fixture.channel_amounts(&payer).await, before);
        assert_eq!(fixture.close(&payer).await, 0);
        fixture.finish().await;
    });
}

#[test]
fn vouchers_are_taken_by_head_while_a_stream_waits() {
    run(async {
        let fixture = Fixture::start().await;
        let payer = fixture.opened(DEPOSIT, PRICE).await;
        let mut stream = fixture.stream(&payer, payer.voucher(PRICE), &json!({"chunks": 4})).await;
        stream.text().await.expect("one is paid");
        let head = fixture.server.request(Method::HEAD, CHAT);
        let head = head.header("authorization", payer.authorization(payer.voucher(4 * PRICE)));
        let answer = reply(head).await;
        assert_eq!((answer.status, answer.text.as_str()), (204, ""));
        assert_eq!(amount(&answer.receipt()["acceptedCumulative"]), 4 * PRICE);
        let transcript = fixture.read_and_pay(&payer, &mut stream).await;
        assert_eq!((transcript.texts.len(), transcript.cost(), transcript.errors.len()), (3, 4 * PRICE, 0));
        assert_eq!(fixture.close(&payer).await, 4 * PRICE);
        fixture.finish().await;
    });
}

/// Nothing of an open is sponsored, signed or sent before it is known to be the one asked for.
#[test]
fn the_fee_of_another_transaction_is_not_sponsored() {
    run(async {
        let chain = harness::own_chain().await;
        let fixture = Fixture::on(db::sqlite().await, &chain, |_| {}).await;
        let path = format!("{CHAT}?feePayer=true");
        let challenge = fixture.challenge_at(&path).await;
        assert_eq!(challenge.request["methodDetails"]["feePayer"], true);
        let sent = chain.broadcasts();
        let agent = fixture.agent().await;
        let alterations: [fn(&mut payer::ChannelTerms); 3] = [
            |terms| terms.payee = alloy::primitives::Address::repeat_byte(7),
            |terms| terms.token = farebox::devnet::TOKENS[1],
            |terms| terms.escrow = alloy::primitives::Address::repeat_byte(8),
        ];
        for alter in alterations {
            let payer = Payer::altered(agent.clone(), challenge.clone(), DEPOSIT, alter);
            let request = fixture.server.request(Method::POST, &path);
            let answer = reply(request.header("authorization", payer.authorization(payer.open(PRICE)))).await;
            assert_eq!(answer.status, 402, "{}", answer.text);
        }
        assert_eq!(chain.broadcasts(), sent);
        assert_eq!(fixture.server.count("SELECT count(*) FROM sponsor_days").await, 0, "nothing is reserved");
        fixture.server.finish(chain).await;
    });
}

/// A request that is sent again is another request: what was delivered before is charged anyway.
#[test]
fn clients_are_warned_that_chat_sent_again_is_charged_again() {
    run(async {
        let fixture = Fixture::start().await;
        let document = reply(fixture.server.get("/openapi.json")).await.json();
        let chat = &document["paths"]["/mpp/chat/completions"]["post"];
        for text in [chat["description"].as_str(), document["info"]["x-guidance"].as_str()] {
            assert!(text.is_some_and(|text| text.contains("charged again")), "{text:?}");
        }
        fixture.finish().await;
    });
}
