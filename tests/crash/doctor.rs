//! `farebox doctor`: what would not work is named before the server is started.

use std::path::Path;

use farebox::services::chat::scripted::ScriptedUpstream;
use farebox_test_support::db;
use farebox_test_support::process::{Setup, TIME_LIMIT};

/// A configuration with a model of an upstream, in a file.
fn with_model(setup: Setup, folder: &Path, base_url: &str, model: &str) -> Setup {
    let text = format!(
        "[[upstreams]]\nname = \"local\"\nbase_url = \"{base_url}\"\n\n[[models]]\nid = \"{model}\"\n\
         upstreams = [{{ name = \"local\" }}]\nprice_per_chunk = \"0.0001\"\nprice_per_million_input = \"0.2\"\n\
         price_per_million_output = \"0.8\"\ncontext_length = 1000\nmax_output_tokens = 100\n"
    );
    let file = folder.join(format!("{}.toml", uuid::Uuid::new_v4()));
    std::fs::write(&file, text).expect("written");
    setup.with("FAREBOX_CONFIG", file.display().to_string())
}

/// Runs it; returns its exit code and what it says.
async fn doctor(setup: &Setup) -> (Option<i32>, String) {
    let output = tokio::time::timeout(TIME_LIMIT, setup.command("doctor").output()).await;
    let output = output.expect("it ends in time").expect("the program starts");
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code(), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_names_what_would_not_work() {
    let devnet = crate::devnet().await;
    let folder = tempfile::tempdir().expect("temporary folder");
    let upstream = ScriptedUpstream::start().await.expect("a port");
    let (scripted, missing) = (upstream.base_url(), "http://127.0.0.1:1/v1");
    for database in db::engines().await {
        let setup = || Setup::new(crate::FAREBOX, &devnet, &database.url);
        let good = with_model(setup(), folder.path(), &scripted, "scripted-echo");
        let (code, said) = doctor(&good).await;
        assert_eq!(code, Some(0), "{said}");
        for line in [
            "chain.rpc_url: the node serves chain 1337",
            "database.url: answers",
            "upstreams.local: answers, and has",
        ] {
            assert!(
                said.lines().any(|found| found.starts_with("ok") && found.contains(line)),
                "{line}: {said}"
            );
        }
        for (setup, line) in [
            (
                setup().with("FAREBOX_CHAIN_CHAIN_ID", "5"),
                "chain.rpc_url: the node serves chain 1337, configured is 5",
            ),
            (
                setup().with("FAREBOX_CHAIN_RPC_URL", "http://127.0.0.1:1"),
                "chain.rpc_url: the node is unreachable",
            ),
            (
                setup().with("FAREBOX_CHAIN_CURRENCY", format!("0x{}", "77".repeat(20))),
                "chain.currency: 0x7777",
            ),
            (
                with_model(setup(), folder.path(), &scripted, "unheard-of"),
                "upstreams.local: does not list unheard-of",
            ),
            (with_model(setup(), folder.path(), missing, "any"), "upstreams.local: cannot be reached"),
            (setup().with("FAREBOX_DATABASE_URL", "postgres://hunter2@127.0.0.1:1/x"), "database.url: "),
            (
                setup().with("FAREBOX_DATABASE_URL", "sqlite:///no/such/folder/farebox.db"),
                "database.url: there is no folder",
            ),
        ] {
            let (code, said) = doctor(&setup).await;
            assert_eq!(code, Some(1), "{line}: {said}");
            assert!(
                said.lines().any(|found| found.starts_with("FAILED") && found.contains(line)),
                "{line}: {said}"
            );
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
    devnet.stop().await;
}

/// It looks, and makes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_changes_nothing() {
    let devnet = crate::devnet().await;
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = folder.path().join("new.db");
    let setup = Setup::new(crate::FAREBOX, &devnet, &format!("sqlite://{}", file.display()));
    let (code, said) = doctor(&setup).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("a new SQLite database"), "{said}");
    assert!(!file.exists());
    devnet.stop().await;
}
