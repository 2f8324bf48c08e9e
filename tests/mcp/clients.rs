//! Other people's clients, unmodified, against `farebox dev` as its users start it.

use std::path::PathBuf;
use std::process::Stdio;

use alloy::signers::SignerSync as _;
use farebox_test_support::agent::Agent;
use farebox_test_support::dev::{Dev, installed, succeeds};
use farebox_test_support::harness::{client, run};
use farebox_test_support::process::free_port;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

#[test]
fn mppx_pays_by_the_call_over_both_official_sdks() {
    run(async {
        let dev = Dev::start(crate::FAREBOX).await;
        installed("tests/clients/node_modules/@modelcontextprotocol/client");
        let script = installed("tests/clients/mcp_pay.mjs");
        for era in ["2025", "2026"] {
            succeeds(Command::new("node").arg(&script).arg(dev.json()).arg(era)).await;
        }
    });
}

/// The person in front of the browser: opens the page, reads the message and signs it. Returns the URL that the browser
/// goes to.
pub async fn consent(dev: &Dev, page: &str) -> String {
    let wallet = agent(dev).signer;
    let html = client().get(page).send().await.expect("the page opens").text().await.expect("text");
    let (_, rest) = html.split_once("name=\"request\" value=\"").unwrap_or_else(|| panic!("no form: {html}"));
    let (request, _) = rest.split_once('"').expect("it ends");
    let mut body = json!({ "request": request, "walletAddress": wallet.address() });
    let asked = post(dev, "/oauth/message", &body).await;
    let message = asked["message"].as_str().expect("a message");
    let signature = wallet.sign_message_sync(message.as_bytes()).expect("a local key signs");
    body["message"] = json!(message);
    body["signature"] = json!(alloy::hex::encode_prefixed(signature.as_bytes()));
    post(dev, "/oauth/authorize", &body).await["redirect"].as_str().expect("a redirect").to_owned()
}

/// The wallet of `farebox dev` that has credits.
pub fn agent(dev: &Dev) -> Agent {
    let described = std::fs::read_to_string(dev.json()).expect("it is there");
    let described: Value = serde_json::from_str(&described).expect("JSON");
    let key = described["agentPrivateKey"].as_str().expect("a key");
    Agent { signer: key.parse().expect("a private key") }
}

async fn post(dev: &Dev, path: &str, body: &Value) -> Value {
    let request = client().post(format!("{}{path}", dev.url)).header("content-type", "application/json");
    let answer = request.body(body.to_string()).send().await.expect("an answer");
    let text = answer.text().await.expect("text");
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {text}"))
}

/// A program with a conversation on its standard streams.
pub struct Conversation {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Conversation {
    pub fn begin(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().expect("the program starts");
        let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        Self { process, lines }
    }

    /// The rest of the first line that has `marker`, from there on.
    pub async fn line_with(&mut self, marker: &str) -> String {
        let mut said = String::new();
        while let Some(line) = self.lines.next_line().await.expect("text") {
            if let Some(start) = line.find(marker) {
                // A terminal gets links between control characters.
                let rest = line[start..].split(char::is_control).next().unwrap_or_default();
                return rest.trim().to_owned();
            }
            said += &line;
            said.push('\n');
        }
        panic!("it ended without {marker}: {said}");
    }

    async fn say(&mut self, line: &str) {
        let input = self.process.stdin.as_mut().expect("piped");
        input.write_all(format!("{line}\n").as_bytes()).await.expect("it listens");
    }

    /// Closes its input.
    fn hang_up(&mut self) {
        drop(self.process.stdin.take());
    }

    /// Waits for its end; returns what else it said.
    pub async fn end(mut self) -> String {
        let mut said = String::new();
        while let Some(line) = self.lines.next_line().await.expect("text") {
            said += &line;
            said.push('\n');
        }
        let status = self.process.wait().await.expect("it ends");
        assert!(status.success(), "{said}");
        said
    }
}

#[test]
fn both_official_sdks_log_in_and_call_paid_tools() {
    run(async {
        let dev = Dev::start(crate::FAREBOX).await;
        installed("tests/clients/node_modules/@modelcontextprotocol/client");
        let script = installed("tests/clients/mcp_account.mjs");
        for era in ["2025", "2026"] {
            let mut sdk = Conversation::begin(Command::new("node").arg(&script).arg(dev.json()).arg(era));
            let page = sdk.line_with("http://").await;
            let redirect = consent(&dev, &page).await;
            sdk.say(&redirect).await;
            sdk.hang_up();
            let verdict = sdk.end().await;
            assert!(verdict.contains("\"ok\":true"), "{verdict}");
        }
    });
}

/// Both generations of the official SDK for Python: the later is installed beside the clients that need the earlier.
#[test]
fn both_official_python_sdks_log_in_and_call_paid_tools() {
    run(async {
        let python = installed(".tools/python/bin/python");
        let script = installed("tests/clients/mcp_account.py");
        let later = installed(".tools/python-mcp2");
        for (generation, folder) in [("1.", None), ("2.", Some(&later))] {
            let dev = Dev::start(crate::FAREBOX).await;
            let mut command = Command::new(&python);
            command.arg(&script).arg(dev.json());
            if let Some(folder) = folder {
                command.env("PYTHONPATH", folder);
            }
            let mut sdk = Conversation::begin(&mut command);
            let page = sdk.line_with("http://").await;
            let redirect = consent(&dev, &page).await;
            sdk.say(&redirect).await;
            let verdict = sdk.end().await;
            assert!(verdict.contains("\"ok\": true"), "{verdict}");
            assert!(verdict.contains(&format!("\"sdk\": \"{generation}")), "{verdict}");
        }
    });
}

/// pympp looks for payments in JSON-RPC errors, as before 2026-07-28.
#[test]
fn pympp_pays_by_the_call() {
    run(async {
        let dev = Dev::start(crate::FAREBOX).await;
        let script = installed("tests/clients/pympp_mcp.py");
        succeeds(Command::new(installed(".tools/python/bin/python")).arg(script).arg(dev.json())).await;
    });
}

/// Programs that know servers on standard streams alone.
#[test]
fn mcp_remote_logs_in_and_passes_a_paid_call_on() {
    run(async {
        let dev = Dev::start(crate::FAREBOX).await;
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let program = installed("tests/clients/node_modules/mcp-remote/dist/proxy.js");
        let mut command = Command::new("node");
        command
            .arg(installed("tests/clients/mcp_remote.mjs"))
            .arg(dev.json())
            .arg(folder.path())
            .arg(program);
        let mut remote = Conversation::begin(&mut command);
        let page = remote.line_with("http://").await;
        comes_back(&consent(&dev, &page).await).await;
        let verdict = remote.end().await;
        assert!(verdict.contains("\"ok\":true"), "{verdict}");
        assert_paid(&dev).await;
    });
}

/// The inspector without its page.
#[test]
fn the_inspector_logs_in_and_calls_a_paid_tool() {
    run(async {
        let dev = Dev::start(crate::FAREBOX).await;
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let callback = format!("http://127.0.0.1:{}/oauth/callback", free_port());
        let program = installed("tests/clients/node_modules/.bin/mcp-inspector");
        let inspector = format!(
            "{} {} --cli {}/mcp --transport http --callback-url {callback} --method tools/call --tool-name pii_preview \
             --tool-arg 'text=Mail jane@example.com'",
            installed(".tools/bin/node22").display(),
            program.display(),
            dev.url
        );
        // It logs in on a terminal only.
        let mut command = Command::new("script");
        command.args(["-qec", &inspector, "/dev/null"]).env("HOME", folder.path());
        let mut inspector = Conversation::begin(&mut command);
        let page = inspector.line_with("http://").await;
        comes_back(&consent(&dev, &page).await).await;
        let said = inspector.end().await;
        assert!(said.contains("Mail <EMAIL_ADDRESS>"), "{said}");
        assert_paid(&dev).await;
    });
}

/// The browser follows the redirect to the program that waits for it.
pub async fn comes_back(redirect: &str) {
    let arrived = client().get(redirect).send().await.expect("the program listens for the browser");
    assert!(arrived.status().is_success(), "{arrived:?}");
}

/// A model that calls one tool, and repeats what the tool said.
async fn scripted_model() -> (Conversation, String) {
    let script = installed("tests/clients/scripted_models.mjs");
    let arguments = r#"{"text":"Mail jane@example.com"}"#;
    let mut model = Conversation::begin(Command::new("node").arg(script).args(["pii_preview", arguments]));
    let url = model.line_with("http://").await;
    (model, url)
}

/// Codex: its own login, and a paid tool that its model calls.
#[test]
fn codex_logs_in_and_calls_a_paid_tool() {
    run(async {
        let dev = Dev::start(crate::FAREBOX).await;
        let (_model, model_url) = scripted_model().await;
        let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let config = format!(
            "model = \"scripted\"\nmodel_provider = \"scripted\"\napproval_policy = \"never\"\n\
             sandbox_mode = \"danger-full-access\"\nmcp_oauth_credentials_store = \"file\"\n\
             [model_providers.scripted]\nname = \"scripted\"\nbase_url = \"{model_url}/v1\"\nwire_api = \"responses\"\n\
             [mcp_servers.farebox]\nurl = \"{}/mcp\"\n",
            dev.url
        );
        std::fs::write(home.path().join("config.toml"), config).expect("written");
        let codex = |arguments: &[&str]| {
            let mut command = Command::new(installed("tests/clients/node_modules/.bin/codex"));
            command.args(arguments).env("CODEX_HOME", home.path()).env_remove("RUST_BACKTRACE");
            command
        };
        let mut login = Conversation::begin(&mut codex(&["mcp", "login", "farebox", "--no-browser"]));
        let page = login.line_with("http://").await;
        let redirect = consent(&dev, &page).await;
        login.say(&redirect).await;
        login.end().await;
        let said = succeeds(
            codex(&["exec", "--skip-git-repo-check", "Find personal data"]).current_dir(home.path()),
        )
        .await;
        assert!(said.contains("TOOL SAID") && said.contains("Mail <EMAIL_ADDRESS>"), "{said}");
        assert_paid(&dev).await;
    });
}

/// Claude Code: its own login, and a paid tool that its model calls.
#[test]
fn claude_code_logs_in_and_calls_a_paid_tool() {
    run(async {
        let dev = Dev::start(crate::FAREBOX).await;
        let (_model, model_url) = scripted_model().await;
        let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let program = claude_code();
        let in_home = |mut command: Command| {
            command.env("HOME", home.path()).env("ANTHROPIC_BASE_URL", &model_url);
            command.env("ANTHROPIC_API_KEY", "sk-ant-test").env("IS_SANDBOX", "1");
            command.env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1").env("ENABLE_TOOL_SEARCH", "false");
            command.current_dir(home.path());
            command
        };
        let claude = |arguments: &[&str]| {
            let mut command = Command::new(&program);
            command.args(arguments);
            in_home(command)
        };
        let url = format!("{}/mcp", dev.url);
        succeeds(&mut claude(&["mcp", "add", "--scope", "user", "--transport", "http", "farebox", &url]))
            .await;
        // It logs in on a terminal only.
        let in_terminal = format!("{} mcp login farebox --no-browser", program.display());
        let mut login = Command::new("script");
        login.args(["-qec", &in_terminal, "/dev/null"]);
        let mut login = in_home(login);
        let mut login = Conversation::begin(&mut login);
        let page = login.line_with("http://").await;
        let redirect = consent(&dev, &page).await;
        comes_back(&redirect).await;
        login.end().await;
        let ask = ["-p", "Find personal data", "--allowedTools", "mcp__farebox__pii_preview"];
        let said = succeeds(&mut claude(&ask)).await;
        assert!(said.contains("TOOL SAID") && said.contains("EMAIL_ADDRESS"), "{said}");
        assert_paid(&dev).await;
    });
}

/// The program of Claude Code for this machine: its package has one for each kind.
fn claude_code() -> PathBuf {
    let packages =
        std::fs::read_dir(installed("tests/clients/node_modules/@anthropic-ai")).expect("a folder");
    let mut programs = packages.flatten().map(|package| package.path().join("claude"));
    programs.find(|program| program.is_file()).expect("Claude Code is installed: run `make tools`")
}

/// The preview was paid from the account's credits.
async fn assert_paid(dev: &Dev) {
    let described: Value =
        serde_json::from_str(&std::fs::read_to_string(dev.json()).expect("it is there")).expect("JSON");
    let key = described["apiKey"].as_str().expect("a key");
    let credits =
        client().get(format!("{}/v1/credits", dev.url)).bearer_auth(key).send().await.expect("an answer");
    let credits: Value = serde_json::from_str(&credits.text().await.expect("text")).expect("JSON");
    assert_eq!(credits["data"]["total_usage"], 0.05, "{credits}");
}
