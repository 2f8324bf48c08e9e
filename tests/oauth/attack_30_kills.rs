//! Class 30: kill -9 between the signature and the code, and between the code and the tokens. Each is one transaction:
//! all of it is there afterwards, or nothing.

use std::time::Duration;

use farebox_test_support::agent::Agent;
use farebox_test_support::db::{self, TestDb};
use farebox_test_support::harness::{client, run, shared_chain};
use farebox_test_support::process::{ServerProcess, Setup};
use farebox_test_support::random::{self, Random};
use reqwest::RequestBuilder;
use serde_json::json;

use crate::fixture::{Client, Tokens, form_request, message, opens, refused, signed_consent};

const ROUNDS: u64 = 6;
/// Longest time from a request to the kill, in microseconds: some die before it arrives, some after it is answered.
const LONGEST: u64 = 12_000;

async fn count(db: &TestDb, sql: &str) -> i64 {
    db.db.fetch_one(sql, Vec::new()).await.expect("the database answers").whole("n").expect("a number")
}

/// Sends a request, kills the server at a moment that nobody chose, and starts it again.
async fn cut_off(
    request: RequestBuilder,
    random: &mut Random,
    setup: &Setup,
    server: ServerProcess,
) -> ServerProcess {
    let sent = tokio::spawn(request.send());
    tokio::time::sleep(Duration::from_micros(random.below(LONGEST))).await;
    server.kill().await;
    let _ = sent.await;
    setup.serve().await
}

#[test]
fn attack_30_kill_9_leaves_a_consent_and_an_exchange_whole_or_undone() {
    run(async {
        let seed = random::seed(11);
        println!("FAREBOX_TEST_SEED={seed}");
        for db in db::engines().await {
            let setup = Setup::new(crate::FAREBOX, shared_chain().await, &db.url);
            let (origin, mut random) = (setup.origin(), Random(seed));
            let mut server = setup.serve().await;
            let wallet = Agent::random();
            let program = Client::registered(&origin).await;
            let mut ended = 0;
            for _ in 0..ROUNDS {
                let login = program.again();
                let sealed = login.begin(&origin, &[]).await;
                let text = message(&origin, &wallet, &sealed, &json!({})).await.json()["message"].clone();
                let body = signed_consent(&wallet, &sealed, text.as_str().expect("a message"), &json!({}));
                let consent = client().post(format!("{origin}/oauth/authorize")).json(&body);
                server = cut_off(consent, &mut random, &setup, server).await;
                let [nonces, codes, keys, grants] = [
                    "SELECT count(*) AS n FROM wallet_nonces",
                    "SELECT count(*) AS n FROM oauth_codes",
                    "SELECT count(*) AS n FROM api_keys",
                    "SELECT count(*) AS n FROM oauth_grants",
                ]
                .map(|sql| count(&db, sql));
                assert_eq!(
                    nonces.await,
                    codes.await,
                    "a signature is used up by a code, and by nothing less"
                );
                assert_eq!(keys.await, grants.await, "a grant is a key");
                let login = program.again();
                let code = login.code(&origin, &wallet, &json!({})).await;
                let form = [
                    ("grant_type", "authorization_code"),
                    ("code", code.as_str()),
                    ("client_id", &login.id),
                    ("code_verifier", &login.verifier),
                ];
                let exchange = form_request(&origin, "/oauth/token", &form);
                server = cut_off(exchange, &mut random, &setup, server).await;
                let used =
                    count(&db, "SELECT count(*) AS n FROM oauth_codes WHERE used_at IS NOT NULL").await;
                for families in [
                    "SELECT count(DISTINCT family) AS n FROM oauth_refresh_tokens",
                    "SELECT count(DISTINCT family) AS n FROM oauth_access_tokens",
                ] {
                    assert_eq!(
                        count(&db, families).await,
                        used - ended,
                        "tokens for every used code, until it came again"
                    );
                }
                // The answer is lost: the code is good, or it was used and its second use ends its family.
                let again = login.exchange(&origin, &code, &[]).await;
                if again.status == 200 {
                    assert!(opens(&origin, &Tokens::of(&again).access).await);
                } else {
                    refused(&again, 400, "invalid_grant");
                    ended += 1;
                    let fresh = program.again().log_in(&origin, &wallet, &json!({})).await;
                    assert!(opens(&origin, &fresh.access).await);
                }
            }
            setup.audit().await;
            server.kill().await;
        }
    });
}
