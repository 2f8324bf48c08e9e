//! Other people's clients and validators, unmodified, against `farebox dev` as its users start it.

use farebox_test_support::agent::CHAIN_ID;
use farebox_test_support::dev::{Dev, chromium, installed, succeeds};
use farebox_test_support::harness::{BODY, PREVIEW, SPONSORED, Server, client, funded, run, shared_chain};
use mpp::client::{Fetch as _, TempoProvider};
use serde_json::Value;
use tokio::process::Command;

#[test]
fn mppx_pays_by_pull_push_sponsored_and_proof() {
    run(async {
        let dev = Dev::start(crate::FAREBOX).await;
        installed("tests/clients/node_modules/mppx");
        let script = installed("tests/clients/mppx_pay.mjs");
        for (mode, target) in
            [("pull", PREVIEW), ("push", PREVIEW), ("sponsored", SPONSORED), ("proof", "GET /mpp/account")]
        {
            let mut node = Command::new("node");
            succeeds(node.arg(&script).arg(dev.json()).args([mode, target])).await;
        }
    });
}

#[test]
fn pympp_pays_by_pull_and_sponsored() {
    run(async {
        let dev = Dev::start(crate::FAREBOX).await;
        let python = installed(".tools/python/bin/python");
        let script = installed("tests/clients/pympp_pay.py");
        for (mode, target) in [("pull", PREVIEW), ("sponsored", SPONSORED)] {
            succeeds(Command::new(&python).arg(&script).arg(dev.json()).args([mode, target])).await;
        }
    });
}

#[test]
fn mppx_validate_finds_nothing_to_complain_about() {
    run(async {
        let dev = Dev::start(crate::FAREBOX).await;
        let mut validator = Command::new(installed("tests/clients/node_modules/.bin/mppx"));
        validator.args(["validate", &dev.url, "--yes"]);
        validator
            .env("FAREBOX_DEV", dev.json())
            .env("MPPX_CONFIG", installed("tests/clients/mppx.config.mjs"));
        let verdict = succeeds(validator.env("NO_UPDATE_NOTIFIER", "1").env("NO_COLOR", "1")).await;
        let summary = verdict.lines().find_map(|line| line.strip_prefix("Summary: ")).unwrap_or_default();
        // Failures, warnings and skipped checks would follow after a comma.
        assert!(summary.ends_with(" passed") && !summary.contains(','), "{verdict}");
        assert!(verdict.contains("Payment: successful (HTTP 200)"), "{verdict}");
    });
}

#[test]
fn agentcash_discovery_has_no_warnings() {
    run(async {
        let dev = Dev::start(crate::FAREBOX).await;
        let program = installed("tests/clients/node_modules/.bin/discovery");
        let preview = format!("{}{PREVIEW}", dev.url);
        for (verb, target) in [("discover", &dev.url), ("check", &preview)] {
            let text = succeeds(Command::new(&program).args([verb, target, "--json"])).await;
            let start = text.find('{').unwrap_or_else(|| panic!("no JSON: {text}"));
            let mut documents = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>();
            let verdict = documents.next().expect("a document").expect("JSON");
            assert_eq!(verdict["warnings"], serde_json::json!([]), "{verb}: {verdict:#}");
        }
    });
}

/// Chat whole and streamed, tools, images, errors, retries: as their users write it, with only the
/// base URL changed.
#[test]
fn openais_own_clients_work_with_prepaid_credits() {
    run(async {
        let dev = Dev::start(crate::FAREBOX).await;
        installed("tests/clients/node_modules/openai");
        let script = installed("tests/clients/openai_chat.mjs");
        let verdict = succeeds(Command::new("node").arg(&script).arg(dev.json())).await;
        assert!(verdict.contains("\"ok\":true"), "{verdict}");
        let python = installed(".tools/python/bin/python");
        let script = installed("tests/clients/openai_chat.py");
        let verdict = succeeds(Command::new(python).arg(script).arg(dev.json())).await;
        assert!(verdict.contains("\"ok\": true"), "{verdict}");
    });
}

/// Every route, with and without a key, fed with what its schema allows and what it does not: no 5xx, and
/// every answer as documented.
#[test]
fn schemathesis_finds_answers_as_they_are_documented() {
    run(async {
        let dev = Dev::start(crate::FAREBOX).await;
        let described = std::fs::read_to_string(dev.json()).expect("it is there");
        let described: Value = serde_json::from_str(&described).expect("JSON");
        let key = described["apiKey"].as_str().expect("a key");
        let program = installed(".tools/python/bin/schemathesis");
        for header in [format!("Authorization: Bearer {key}"), "X-Request-Id: schema".to_owned()] {
            let mut validator = Command::new(&program);
            validator.args(["run", &format!("{}/openapi-full.json", dev.url), "-H", &header, "--no-color"]);
            validator.args(["--phases", "examples,coverage,fuzzing", "--seed", "7", "--max-examples", "20"]);
            let checks = "not_a_server_error,status_code_conformance,content_type_conformance,\
                          response_schema_conformance,response_headers_conformance";
            validator.args(["--checks", checks, "--warnings", "off", "--suppress-health-check", "all"]);
            // The operators' route says what the machine is like, not what the request is like.
            validator.args(["--exclude-path", "/readyz"]);
            succeeds(&mut validator).await;
        }
    });
}

/// Frameworks that applications are built with, as their users write them.
#[test]
fn frameworks_work_with_prepaid_credits() {
    run(async {
        let dev = Dev::start(crate::FAREBOX).await;
        installed("tests/clients/node_modules/ai");
        let script = installed("tests/clients/frameworks.mjs");
        succeeds(Command::new("node").arg(&script).arg(dev.json())).await;
        let python = installed(".tools/python/bin/python");
        for script in ["tests/clients/langchain_chat.py", "tests/clients/litellm_chat.py"] {
            succeeds(Command::new(&python).arg(installed(script)).arg(dev.json())).await;
        }
    });
}

/// Both documents are read by a validator and by code generators, and the clients that these make work.
#[test]
fn typed_clients_are_generated_from_the_documents() {
    run(async {
        let dev = Dev::start(crate::FAREBOX).await;
        let described: Value =
            serde_json::from_str(&std::fs::read_to_string(dev.json()).expect("it is there")).expect("JSON");
        let key = described["apiKey"].as_str().expect("a key");
        let clients = installed("tests/clients");
        let folder = tempfile::tempdir_in(&clients).expect("a folder beside the packages");
        let python = |name: &str| Command::new(installed(&format!(".tools/python/bin/{name}")));
        let settings = folder.path().join("settings.yaml");
        std::fs::write(&settings, "post_hooks: []\n").expect("written");
        for name in ["openapi", "openapi-full"] {
            let document = folder.path().join(format!("{name}.json"));
            let text = client().get(format!("{}/{name}.json", dev.url)).send().await.expect("an answer");
            std::fs::write(&document, text.bytes().await.expect("a document")).expect("written");
            succeeds(python("openapi-spec-validator").arg(&document)).await;
            let types = folder.path().join(format!("{name}.d.ts"));
            let mut generator = Command::new(installed("tests/clients/node_modules/.bin/openapi-typescript"));
            succeeds(generator.arg(&document).arg("-o").arg(&types)).await;
            let package = folder.path().join(name).join("farebox_client");
            let mut generator = python("openapi-python-client");
            generator.arg("generate").arg("--path").arg(&document).args([
                "--meta",
                "none",
                "--fail-on-warning",
            ]);
            succeeds(generator.arg("--config").arg(&settings).arg("--output-path").arg(&package)).await;
        }
        let source = folder.path().join("typed.ts");
        std::fs::copy(installed("tests/clients/typed.ts"), &source).expect("copied");
        let options =
            serde_json::json!({"strict": true, "target": "es2022", "module": "nodenext", "types": []});
        let settings = serde_json::json!({"compilerOptions": options, "files": ["typed.ts"]});
        std::fs::write(folder.path().join("tsconfig.json"), settings.to_string()).expect("written");
        let mut compiler = Command::new(installed("tests/clients/node_modules/.bin/tsc"));
        succeeds(compiler.arg("-p").arg(folder.path())).await;
        let program = folder.path().join("typed.js");
        succeeds(Command::new("node").arg(&program).args([&dev.url, key])).await;
        let mut program = python("python");
        program.arg(installed("tests/clients/typed.py")).arg(folder.path().join("openapi-full"));
        succeeds(program.args([&dev.url, key])).await;
    });
}

/// A key that is bought from the contract, by a wallet that has only viem.
#[test]
fn viem_buys_a_key_from_the_contract_and_uses_it() {
    run(async {
        let dev = Dev::start(crate::FAREBOX).await;
        installed("tests/clients/node_modules/viem");
        let script = installed("tests/clients/viem_buy.mjs");
        let verdict = succeeds(Command::new("node").arg(&script).arg(dev.json())).await;
        assert!(verdict.contains("\"ok\":true"), "{verdict}");
    });
}

/// A wallet, and a client that knows nothing of this server: a key is bought, spent to its last credit,
/// and the 402 that says so is paid beside the key.
#[test]
fn mppx_buys_a_key_and_tops_it_up_on_the_way() {
    run(async {
        let dev = Dev::start(crate::FAREBOX).await;
        installed("tests/clients/node_modules/mppx");
        let script = installed("tests/clients/mppx_key.mjs");
        let verdict = succeeds(Command::new("node").arg(&script).arg(dev.json())).await;
        assert!(verdict.contains("\"ok\":true"), "{verdict}");
    });
}

/// The pages that people see when they buy credits, in a real browser, with a person's impatience.
#[test]
fn a_browser_pays_at_the_test_checkout_once() {
    run(async {
        let Some(browser) = chromium() else { return };
        let dev = Dev::start(crate::FAREBOX).await;
        installed("tests/clients/node_modules/playwright-core");
        let script = installed("tests/clients/browser_checkout.mjs");
        let mut node = Command::new("node");
        let verdict = succeeds(node.arg(&script).arg(dev.json()).env("CHROMIUM", browser)).await;
        assert!(verdict.contains("\"ok\":true"), "{verdict}");
    });
}

#[test]
fn the_mpp_crates_client_pays() {
    run(async {
        let chain = shared_chain().await;
        let server = Server::start().await;
        let agent = funded(chain).await;
        let wallet = TempoProvider::new(agent.signer.clone(), chain.rpc_url()).expect("a wallet");
        let wallet = wallet.with_expected_chain_id(CHAIN_ID);
        for request in [server.post(PREVIEW, BODY), server.post(SPONSORED, BODY), server.get("/mpp/account")]
        {
            let request = request.header("accept-payment", "tempo/charge");
            let answer = request.send_with_payment(&wallet).await.expect("an answer");
            assert_eq!(answer.status().as_u16(), 200);
            assert!(answer.headers().contains_key("payment-receipt"));
        }
        server.assert_ledger(chain, 2).await;
    });
}
