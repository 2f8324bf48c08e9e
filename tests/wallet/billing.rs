//! Balance, ledger, export, packs, pages, and checkouts that cannot be.

use farebox::money::Money;
use farebox_test_support::agent::Agent;
use farebox_test_support::harness::{Reply, Server, reply, run};
use serde_json::{Value, json};

use crate::management::{
    BALANCE, CHECKOUT, LEDGER, balance_of, dollars, done, get, give, on_every_engine, post, proof, refused,
    spend, with,
};
use crate::stripe_double::{StripeDouble, WEBHOOK};

#[test]
fn credit_packs_are_public_and_configured() {
    run(async {
        let server = Server::with_config(|config| {
            config.billing.packs[0].credits = Money::from_micros(11_500_000);
        })
        .await;
        let packs = done(&reply(server.get("/api/v1/billing/credit-packs")).await);
        let first = json!({ "id": "starter", "name": "Starter", "priceUsd": "10.00", "creditsUsd": "11.50" });
        assert_eq!(packs["packs"][0], first);
        assert_eq!(packs["cardPayments"], false);
    });
}

#[test]
fn a_wallet_sees_its_balance_by_get_and_by_post() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let agent = Agent::random();
            give(server, &agent, dollars(10)).await;
            spend(server, &agent, Money::from_micros(1_250_000), "model", "r").await;
            let by_get = done(&get(server, BALANCE, &proof(&agent, "balance", "")).await);
            let by_post = done(&post(server, BALANCE, &proof(&agent, "balance", "")).await);
            for shown in [by_get, by_post] {
                for (name, amount) in [
                    ("credited", "10.00"),
                    ("spent", "1.25"),
                    ("held", "0.00"),
                    ("available", "8.75"),
                    ("debt", "0.00"),
                ] {
                    assert_eq!(shown[name], amount, "{name}");
                }
                assert_eq!(shown["walletAddress"], format!("{:#x}", agent.address()));
            }
            let nobody = done(&post(server, BALANCE, &proof(&Agent::random(), "balance", "")).await);
            assert_eq!(nobody["available"], "0.00");
        },
    ));
}

async fn ledger(server: &Server, agent: &Agent, query: &Value) -> Reply {
    post(server, LEDGER, &with(proof(agent, "ledger", ""), query)).await
}

fn services(page: &Value) -> Vec<String> {
    let entries = page["entries"].as_array().expect("entries");
    entries.iter().map(|entry| entry["service"].as_str().expect("a service").to_owned()).collect()
}

#[test]
fn the_ledger_is_filtered_and_read_page_by_page() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let agent = Agent::random();
            give(server, &agent, dollars(10)).await;
            for index in 0..7 {
                spend(
                    server,
                    &agent,
                    Money::from_micros(1000),
                    if index % 2 == 0 { "even" } else { "odd" },
                    "r",
                )
                .await;
            }
            let all = done(&ledger(server, &agent, &json!({})).await);
            assert_eq!((services(&all).len(), &all["next"]), (8, &Value::Null));
            let newest = &all["entries"][0];
            assert_eq!((&newest["amount"], &newest["direction"]), (&json!("0.001"), &json!("out")));
            for (query, count) in [
                (json!({ "kind": "usage" }), 7),
                (json!({ "kind": "credit" }), 1),
                (json!({ "kind": "purchase" }), 0),
                (json!({ "service": "odd" }), 3),
                (json!({ "service": "ODD" }), 0),
                (json!({ "from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z" }), 8),
                (json!({ "from": "2100-01-01T00:00:00Z" }), 0),
                (json!({ "to": "2020-01-01T00:00:00Z" }), 0),
                (json!({ "kind": "", "service": "", "from": "", "limit": 1000 }), 8),
            ] {
                assert_eq!(services(&done(&ledger(server, &agent, &query).await)).len(), count, "{query}");
            }
            let (mut seen, mut cursor) = (Vec::new(), Value::Null);
            for _ in 0..3 {
                let mut query = json!({ "limit": "2", "kind": "usage", "service": "even" });
                if cursor.is_string() {
                    query["cursor"] = cursor;
                }
                let page = done(&ledger(server, &agent, &query).await);
                seen.extend(services(&page));
                cursor = page["next"].clone();
                if cursor.is_null() {
                    break;
                }
            }
            assert_eq!((seen.len(), cursor), (4, Value::Null));
            for wrong in [
                json!({ "kind": "theft" }),
                json!({ "from": "yesterday" }),
                json!({ "limit": 0 }),
                json!({ "limit": 1001 }),
                json!({ "limit": "x" }),
                json!({ "cursor": "x" }),
                json!({ "format": "xml" }),
                json!({ "knid": "usage" }),
            ] {
                refused(&ledger(server, &agent, &wrong).await, 400, "invalid_params");
            }
            // By GET, with everything in the query.
            let query = with(proof(&agent, "ledger", ""), &json!({ "kind": "usage", "limit": "3" }));
            assert_eq!(services(&done(&get(server, LEDGER, &query).await)).len(), 3);
            assert_eq!(services(&done(&ledger(server, &Agent::random(), &json!({})).await)).len(), 0);
        },
    ));
}

#[test]
fn the_export_has_no_formulas() {
    run(async {
        let server = Server::start().await;
        let agent = Agent::random();
        give(&server, &agent, dollars(10)).await;
        spend(&server, &agent, Money::from_micros(1000), "=HYPERLINK(\"http://evil\",\"x\")", "-1.2").await;
        spend(&server, &agent, Money::from_micros(1000), "plain", "r-1").await;
        let by_format = ledger(&server, &agent, &json!({ "format": "csv" })).await;
        let body = proof(&agent, "ledger", "").to_string();
        let by_accept = reply(server.post(LEDGER, &body).header("accept", "text/csv")).await;
        for export in [by_format, by_accept] {
            assert_eq!(export.status, 200, "{}", export.text);
            assert!(export.header("content-type").is_some_and(|kind| kind.starts_with("text/csv")));
            let lines: Vec<_> = export.text.split("\r\n").collect();
            assert_eq!((lines.len(), lines[4]), (5, ""), "{}", export.text);
            assert!(
                export.text.contains(",\"'=HYPERLINK(\"\"http://evil\"\",\"\"x\"\")\",1,0.001,\"'-1.2\",")
            );
            assert!(
                lines.iter().all(|line| !line.split(',').any(|cell| cell.starts_with(['=', '+', '-', '@'])))
            );
        }
        let first = ledger(&server, &agent, &json!({ "format": "csv", "limit": 2 })).await;
        let cursor = first.header("x-next-cursor").expect("there is more");
        let rest = ledger(&server, &agent, &json!({ "format": "csv", "cursor": cursor })).await;
        assert_eq!(rest.text.split("\r\n").count(), 3, "{}", rest.text);
    });
}

#[test]
fn a_checkout_is_for_what_is_sold() {
    run(async {
        let double = StripeDouble::start().await;
        let server = Server::with_config(|config| double.configure(config)).await;
        let agent = Agent::random();
        let ask =
            async |order: Value| post(&server, CHECKOUT, &with(proof(&agent, "checkout", ""), &order)).await;
        for wrong in [
            json!({}),
            json!({ "usdAmount": "10", "packId": "starter" }),
            json!({ "packId": "free" }),
            json!({ "usdAmount": "4.99" }),
            json!({ "usdAmount": "1000.01" }),
            json!({ "usdAmount": "10.001" }),
            json!({ "usdAmount": "-10" }),
            json!({ "usdAmount": "1e2" }),
            json!({ "usdAmount": [10] }),
            json!({ "usdAmount": "10", "credits": "1000" }),
        ] {
            refused(&ask(wrong).await, 400, "invalid_params");
        }
        assert_eq!(double.seen(|seen| seen.requests), 0);
        for (order, cents, credits) in [
            (json!({ "usdAmount": "25.50" }), "2550", "25.50"),
            (json!({ "usdAmount": 25.5 }), "2550", "25.50"),
            (json!({ "usdAmount": 30 }), "3000", "30.00"),
            (json!({ "packId": "plus" }), "5000", "50.00"),
        ] {
            let begun = done(&ask(order).await);
            assert_eq!(begun["creditsUsd"], credits);
            let id = begun["checkoutId"].as_str().expect("an id");
            assert_eq!(begun["url"], format!("https://checkout.stripe.invalid/{id}"));
            let fields = double.seen(|seen| seen.sessions[id].clone());
            assert_eq!(fields["line_items[0][price_data][unit_amount]"], cents);
            assert_eq!(fields["metadata[farebox_checkout]"], id);
            assert_eq!(fields["mode"], "payment");
            let success = format!("{}/api/v1/billing/success?session_id={{CHECKOUT_SESSION_ID}}", server.url);
            assert_eq!(fields["success_url"], success);
        }
        assert_eq!(balance_of(&server, &agent).await.credited(), Money::ZERO, "nothing is credited unpaid");
    });
}

#[test]
fn without_a_processor_card_payments_are_not_offered() {
    run(async {
        let server = Server::start().await;
        let body = with(proof(&Agent::random(), "checkout", ""), &json!({ "usdAmount": "10" }));
        for (answer, status, code) in [
            (post(&server, CHECKOUT, &body).await, 503, "service_unavailable"),
            (reply(server.post(WEBHOOK, "{}")).await, 404, "not_found"),
        ] {
            refused(&answer, status, code);
            assert!(answer.text.contains("card payments are not configured"), "{}", answer.text);
        }
        let page = "/api/v1/billing/test-checkout/0b9c4a52-6d2e-4f0e-9a6e-3f6b0c5d7e81";
        refused(&reply(server.get(page)).await, 404, "not_found");
        refused(&reply(server.post(page, "")).await, 404, "not_found");
    });
}

#[test]
fn pages_after_a_payment_promise_nothing() {
    run(async {
        let server = Server::start().await;
        // What stands in the address never stands on the page.
        let hostile = "session_id=%3Cscript%3Ecs_1%3C/script%3E&product=cs_1&cs_1=%22%3Ecs_1";
        for (path, says) in [("success", "as soon as"), ("cancel", "Nothing was charged")] {
            let page = reply(server.get(&format!("/api/v1/billing/{path}?{hostile}"))).await;
            assert_eq!(page.status, 200);
            assert!(page.text.contains(says) && !page.text.contains("cs_1"), "{}", page.text);
            assert!(!page.text.contains("This is a test"), "it is not one");
            assert!(
                page.header("content-security-policy")
                    .is_some_and(|policy| policy.contains("default-src 'none'"))
            );
        }
    });
}

#[test]
fn the_development_server_has_a_test_checkout_that_says_so() {
    run(on_every_engine(
        |config| config.billing.test_checkout = true,
        async |server| {
            let agent = Agent::random();
            let body = with(proof(&agent, "checkout", ""), &json!({ "packId": "starter" }));
            let begun = done(&post(server, CHECKOUT, &body).await);
            assert_eq!(begun["test"], true);
            let url =
                begun["url"].as_str().expect("a URL").trim_start_matches(server.url.as_str()).to_owned();
            let page = reply(server.get(&url)).await;
            assert!(page.text.contains("This is a test, not a payment"), "{}", page.text);
            assert_eq!(balance_of(server, &agent).await.credited(), Money::ZERO, "looking pays nothing");
            for _ in 0..2 {
                let paid = reply(server.request(reqwest::Method::POST, &url)).await;
                let location = paid.header("location").unwrap_or_default();
                assert!(paid.status == 303 && location.starts_with("/api/v1/billing/success?"), "{location}");
                assert!(reply(server.get(location)).await.text.contains("This is a test"));
            }
            assert_eq!(balance_of(server, &agent).await.available(), dollars(10), "once");
            assert!(reply(server.get(&url)).await.text.contains("was paid before"));
        },
    ));
}
