//! The program's start: its cost, and its errors.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use farebox::db::{Db, DbError, Engine};
use farebox_test_support::db;
use farebox_test_support::process::{Setup, TIME_LIMIT, program};
use tokio::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn start_with_an_existing_database_is_measured() {
    let db = db::sqlite().await;
    let devnet = crate::devnet().await;
    let setup = Setup::new(crate::FAREBOX, &devnet, &db.url);
    setup.serve().await.kill().await;
    let server = setup.serve().await;
    let resident = Command::new("ps").args(["-o", "rss=", "-p", &server.id().to_string()]).output().await;
    let resident = String::from_utf8(resident.expect("ps runs").stdout).expect("a number");
    let resident: u64 = resident.trim().parse().expect("KiB");
    println!("start to first answer: {:?}; resident: {} MiB", server.starting, resident / 1024);
    assert!(resident > 0 && resident < 256 * 1024, "{resident} KiB for an idle server");
    server.kill().await;
    devnet.stop().await;
}

/// Keys and answers are in them.
#[tokio::test(flavor = "multi_thread")]
async fn attack_46_files_that_it_makes_are_for_nobody_else() {
    let devnet = crate::devnet().await;
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = folder.path().join("farebox.db");
    let server = Setup::new(crate::FAREBOX, &devnet, &format!("sqlite://{}", file.display())).serve().await;
    for file in std::fs::read_dir(folder.path()).expect("it is there").map(|file| file.expect("a file")) {
        let mode = file.metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", file.path().display());
    }
    assert!(file.is_file());
    server.kill().await;
    devnet.stop().await;
}

/// Runs a command that must fail soon, and returns its message.
async fn refusal(mut command: Command) -> String {
    let output = tokio::time::timeout(TIME_LIMIT, command.output()).await;
    let output = output.expect("it gives up in time").expect("the program starts");
    let message = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(output.stdout.is_empty() && message.contains("farebox: "), "{message}");
    message
}

#[tokio::test]
async fn a_bad_configuration_is_refused_in_a_sentence() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let good = "[payments]\nsecret = \"0123456789abcdef0123456789abcdef\"\n\
        recipient = \"0x52908400098527886e0f7030069857d2e4169ee7\"\n";
    for (name, text, expected) in [
        ("unknown key", format!("{good}[server]\nlissten = \"x\""), "did you mean \"server.listen\"?"),
        ("unknown section", format!("{good}[serverr]\nlisten = \"x\""), "did you mean \"server.listen\"?"),
        ("syntax", format!("{good}[server\n"), "is not valid TOML"),
        ("short secret", "[payments]\nsecret = \"hunter2hunter2\"".to_owned(), "at least 32 bytes"),
        ("no recipient", good.lines().take(2).collect::<Vec<_>>().join("\n"), "payments.recipient"),
        ("not an address", format!("{good}[server]\nlisten = \"nowhere\""), "server.listen"),
        ("price", format!("{good}[pii]\npreview_price = \"-1\""), "pii.preview_price"),
        ("database", format!("{good}[database]\nurl = \"mysql://hunter2@h/d\""), "sqlite://"),
        ("chain", format!("{good}[chain]\nrpc_url = \"hunter2\""), "chain.rpc_url"),
        ("log filter", format!("{good}[log]\nfilter = \"farebox=loud\""), "log.filter"),
    ] {
        let path = folder.path().join(format!("{name}.toml"));
        std::fs::write(&path, text).expect("written");
        let message = refusal(serve(&path, folder.path())).await;
        assert!(message.contains(expected) && !message.contains("hunter2"), "{name}: {message}");
    }
    let message = refusal(serve(&folder.path().join("missing.toml"), folder.path())).await;
    assert!(message.contains("cannot read") && message.contains("missing.toml"), "{message}");

    let mut misspelt = program(crate::FAREBOX);
    misspelt.args(["serve"]).env("FAREBOX_SERVER_LISTN", "x");
    let message = refusal(misspelt).await;
    assert!(message.contains("did you mean \"FAREBOX_SERVER_LISTEN\"?"), "{message}");
}

/// `farebox serve` on a free port with the configuration at `path`.
fn serve(path: &Path, folder: &Path) -> Command {
    let mut command = program(crate::FAREBOX);
    command.arg("serve").arg("--config").arg(path).current_dir(folder);
    if !std::fs::read_to_string(path).is_ok_and(|text| text.contains("listen")) {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_or_missing_is_named() {
    let db = db::sqlite().await;
    let devnet = crate::devnet().await;
    let setup = Setup::new(crate::FAREBOX, &devnet, &db.url);
    let server = setup.serve().await;

    // One SQLite database has one server; its owner is not disturbed.
    let message = refusal(setup.second_instance().command("serve")).await;
    assert!(message.contains("in use by another farebox process"), "{message}");
    assert!(message.contains("only PostgreSQL can be shared"), "{message}");
    // The owner's death ends that.
    server.kill().await;
    setup.serve().await.kill().await;

    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = listener.local_addr().expect("a bound listener has an address").to_string();
    let message =
        refusal(setup.second_instance().with("FAREBOX_SERVER_LISTEN", &taken).command("serve")).await;
    assert!(message.contains(&format!("cannot listen on {taken} (server.listen)")), "{message}");

    for (url, expected) in [
        ("postgres://farebox:hunter2@127.0.0.1:1/farebox", ["database.url", "refused"]),
        ("sqlite:///nowhere/farebox.db", ["/nowhere/farebox.db", "No such file"]),
    ] {
        let message =
            refusal(setup.second_instance().with("FAREBOX_DATABASE_URL", url).command("serve")).await;
        assert!(
            expected.iter().all(|part| message.contains(part)) && !message.contains("hunter2"),
            "{message}"
        );
    }
    devnet.stop().await;
}

/// They died of "tuple concurrently updated".
#[tokio::test(flavor = "multi_thread")]
async fn attack_36_instances_that_start_together_on_an_empty_database_all_start() {
    for _ in 0..20 {
        let Some(database) = db::engines_before(1).await.pop().filter(|db| db.db.engine == Engine::Postgres)
        else {
            return;
        };
        let start = async || -> Result<bool, DbError> {
            let db = Db::connect(&database.url, 2).await?;
            db.migrate().await?;
            db.is_current().await
        };
        let started = futures_util::future::join_all((0..8).map(|_| start())).await;
        for started in started {
            assert!(matches!(started, Ok(true)), "{started:?}");
        }
    }
}
