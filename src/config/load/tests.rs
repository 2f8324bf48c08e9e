//! Tests of merging and checking the sources of a configuration.

use super::*;
use crate::config::Secret;

const GOOD: &str = r#"
        [payments]
        secret = "0123456789abcdef0123456789abcdef"
        recipient = "0x52908400098527886e0f7030069857d2e4169ee7"
    "#;

fn with(text: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, String> {
    let dir = tempfile::tempdir().expect("temporary folder");
    let path = dir.path().join("farebox.toml");
    std::fs::write(&path, text).expect("written");
    let own = |list: &[(&str, &str)]| list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    load(&Sources { file: Some(path), env: own(env), flags: own(flags) }).map_err(|e| e.to_string())
}

#[test]
fn flags_win_over_environment_over_file() {
    let text = format!("{GOOD}\n[server]\nlisten = \"127.0.0.1:1\"\nbody_limit_bytes = 300000");
    let env = [("FAREBOX_SERVER_LISTEN", "127.0.0.1:2"), ("FAREBOX_PII_PREVIEW_PRICE", "0.10")];
    let config = with(&text, &env, &[("server.listen", "127.0.0.1:3")]).expect("valid");
    assert_eq!(config.server.listen.port(), 3);
    assert_eq!(config.server.body_limit_bytes, 300_000);
    assert_eq!(config.pii.preview_price.micros(), 100_000);
}

/// Every container beside a service named `farebox` has these.
#[test]
fn attack_46_variables_of_a_service_of_that_name_are_not_ours() {
    for name in [
        "FAREBOX_SERVICE_HOST",
        "FAREBOX_SERVICE_PORT",
        "FAREBOX_SERVICE_PORT_HTTP",
        "FAREBOX_PORT",
        "FAREBOX_PORT_8402_TCP",
        "FAREBOX_PORT_8402_TCP_PROTO",
        "FAREBOX_PORT_8402_UDP_ADDR",
    ] {
        with(GOOD, &[(name, "tcp://10.0.0.1:8402")], &[]).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for name in ["FAREBOX_PORTS", "FAREBOX_PORT_HTTP_TCP", "FAREBOX_SERVICE", "FAREBOX_PORT_8402"] {
        assert!(with(GOOD, &[(name, "x")], &[]).is_err(), "{name}");
    }
}

#[test]
fn attack_46_what_the_example_leaves_to_be_set_must_be_set() {
    let example = include_str!("../../../farebox.example.toml");
    let secret = "change-me-change-me-change-me-change-me";
    let recipient = "0x00000000000000000000000000000000000000aa";
    assert!(example.contains(secret) && example.contains(recipient));
    let error = with(example, &[], &[]).expect_err("refused");
    assert!(error.contains("payments.secret") && error.contains("openssl rand"), "{error}");
    let mine = example.replace(secret, "0123456789abcdef0123456789abcdef");
    let error = with(&mine, &[], &[]).expect_err("refused");
    assert!(error.contains("payments.recipient"), "{error}");
    with(&mine.replace(recipient, "0x52908400098527886E0F7030069857D2E4169EE7"), &[], &[]).expect("valid");
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_name() {
    for (text, env, expected) in [
        ("[server]\nlissten = \"x\"", None, "server.listen"),
        ("[serverr]\nlisten = \"x\"", None, "server.listen"),
        ("[paymens]", None, "payments"),
        ("", Some(("FAREBOX_SERVER_LISTN", "x")), "FAREBOX_SERVER_LISTEN"),
    ] {
        let env: Vec<_> = env.into_iter().collect();
        let error = with(&format!("{GOOD}{text}"), &env, &[]).expect_err("refused");
        assert!(error.contains(&format!("did you mean \"{expected}\"?")), "{error}");
    }
}

const MODEL: &str = r#"
        [[upstreams]]
        name = "local"
        base_url = "http://127.0.0.1:9000/v1"
        [[models]]
        id = "small"
        upstreams = ["local", { name = "local", model = "other" }]
        price_per_chunk = "0.0001"
        price_per_million_output = "1"
        context_length = 8192
        max_output_tokens = 1024
    "#;

#[test]
fn models_and_upstreams_are_lists_of_the_file() {
    let config = with(&format!("{GOOD}{MODEL}"), &[], &[]).expect("valid");
    assert_eq!(config.models[0].sources().nth(1).and_then(|source| source.model.as_deref()), Some("other"));
    assert_eq!(config.models[0].price_per_chunk.micros(), 100);
    assert!(with(GOOD, &[], &[]).expect("valid").models.is_empty());
}

#[test]
fn lists_are_checked_like_sections() {
    for (from, to, expected) in [
        ("base_url =", "base_ulr =", "upstreams[0].base_ulr\"; did you mean \"base_url\"?"),
        ("price_per_chunk", "price_per_chnk", "models[0].price_per_chnk\"; did you mean"),
        ("model = \"other\"", "modle = \"other\"", "models[0].upstreams[1].modle\"; did you mean \"model\"?"),
        (
            "{ name = \"local\", model",
            "[{ nam = 1 }], { model",
            "models[0].upstreams[1][0].nam\"; did you mean \"name\"?",
        ),
        ("[\"local\", ", "[5, ", "models[0].upstreams: write an upstream's name, or {"),
        ("\"0.0001\"", "0.0001", "models[0].price_per_chunk: "),
        ("[[models]]", "[models]", "models: begin each entry with [[models]]"),
        ("name = \"local\"\n", "api_key = 12345\n", "upstreams[0].api_key: is not valid (its value is not"),
    ] {
        assert!(MODEL.contains(from), "{from}");
        let text = format!("{GOOD}{}", MODEL.replacen(from, to, 1));
        let error = with(&text, &[], &[]).expect_err("refused");
        assert!(error.contains(expected), "{error}");
    }
    for (env, flags) in [
        (vec![("FAREBOX_MODELS", "[]")], vec![]),
        (vec![("FAREBOX_UPSTREAMS_NAME", "x")], vec![]),
        (vec![], vec![("models.id", "x")]),
    ] {
        let error = with(GOOD, &env, &flags).expect_err("refused");
        assert!(error.contains("only the configuration file can hold"), "{error}");
    }
}

#[test]
fn bad_values_name_their_key_and_hide_secrets() {
    for (extra, key) in [
        ("[server]\nlisten = \"nowhere\"", "server.listen"),
        ("[pii]\npreview_price = \"-1\"", "pii.preview_price"),
        ("[pii]\npreview_price = 0.05", "pii.preview_price"),
        ("[server]\npublic_url = \"https://a.example/path\"", "server.public_url"),
        ("[payments]\nmodes = [\"sideways\"]", "payments"),
    ] {
        let text =
            if extra.starts_with("[payments]") { extra.to_owned() } else { format!("{GOOD}\n{extra}") };
        let error = with(&text, &[], &[]).expect_err("refused");
        assert!(error.starts_with(key), "{error}");
    }
    let error = with("[payments]\nsecret = \"hunter2hunter2\"", &[], &[]).expect_err("too short");
    assert!(error.contains("at least 32 bytes") && !error.contains("hunter2"), "{error}");
}

#[test]
fn a_syntax_error_gives_the_line_and_not_the_text() {
    let error =
        with("[payments]\nsecret = \"hunter2hunter2hunter2hunter2hunter2\nx", &[], &[]).expect_err("refused");
    assert!(error.contains("line 3") && !error.contains("hunter2"), "{error}");
}

#[test]
fn the_example_documents_every_key_and_loads() {
    let example = include_str!("../../../farebox.example.toml");
    let entries = list_keys()
        .into_iter()
        .filter(|(list, _)| !list.contains('.'))
        .flat_map(|(list, keys)| keys.into_iter().map(move |key| format!("{list}.{key}")));
    for key in known_keys().into_iter().chain(entries) {
        let field = key.split('.').nth(1).expect("section.key");
        assert!(
            example.contains(&format!("\n{field} = ")) || example.contains(&format!("\n# {field} = ")),
            "farebox.example.toml does not document {key}"
        );
    }
}

#[test]
fn clients_of_the_configuration_are_named_by_their_urls() {
    let client = "[mcp.clients.\"https://client.example/oauth.json\"]\nname = \"Example\"\n";
    let good = format!("{GOOD}\n{client}redirect_uris = [\"http://127.0.0.1/callback\"]");
    let config = with(&good, &[], &[]).expect("valid");
    assert_eq!(config.mcp.clients["https://client.example/oauth.json"].name, "Example");
    for wrong in [client.to_owned(), format!("{client}redirect_uris = []\nlogo = \"x\"")] {
        let error = with(&format!("{GOOD}\n{wrong}"), &[], &[]).expect_err("refused");
        assert!(error.starts_with("mcp.clients"), "{error}");
    }
}

#[test]
fn keys_of_upstreams_may_be_elsewhere() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = folder.path().join("key");
    std::fs::write(&file, "sk-file\n").expect("written");
    let entry = |key: &str| {
        let upstream = format!("[[upstreams]]\nname = \"a\"\nbase_url = \"http://127.0.0.1:9/v1\"\n{key}\n");
        with(&format!("{GOOD}\n{upstream}"), &[("PRIMARY_KEY", "sk-env"), ("EMPTY", "")], &[])
    };
    let from_file = format!("api_key_file = \"{}\"", file.display());
    for (key, expected) in [
        ("api_key = \"sk\"", "sk"),
        ("api_key = \"env:PRIMARY_KEY\"", "sk-env"),
        (from_file.as_str(), "sk-file"),
    ] {
        let config = entry(key).unwrap_or_else(|error| panic!("{key}: {error}"));
        assert_eq!(config.upstreams[0].keys().next().map(Secret::expose), Some(expected), "{key}");
    }
    for (key, said) in [
        ("api_key = \"env:MISSING\"", "MISSING is not set"),
        ("api_key = \"env:EMPTY\"", "EMPTY is not set"),
        ("api_key_file = \"/nowhere/key\"", "/nowhere/key cannot be read"),
        (&format!("api_key = \"sk\"\n{from_file}"), "not in both"),
        ("api_key = \"sk\"\napi_keys = [\"sk-2\"]", "not in both"),
        ("api_keys = [\"sk\", \"env:MISSING\"]", "MISSING is not set"),
        ("api_keys = [\"sk\", 5]", "is not valid (its value is not"),
    ] {
        let error = entry(key).expect_err("refused");
        assert!(error.contains("upstreams[0].api_key") && error.contains(said), "{error}");
    }
}

#[test]
fn several_keys_of_an_upstream_come_from_a_list_or_from_the_lines_of_a_file() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = folder.path().join("keys");
    std::fs::write(&file, "sk-1\n\n  sk-2\r\n").expect("written");
    let from_file = format!("api_key_file = \"{}\"", file.display());
    for (key, expected) in
        [("api_keys = [\"sk-1\", \"env:OTHER\"]", ["sk-1", "sk-env"]), (&from_file, ["sk-1", "sk-2"])]
    {
        let upstream = format!("[[upstreams]]\nname = \"a\"\nkind = \"openrouter\"\n{key}\n");
        let config = with(&format!("{GOOD}\n{upstream}"), &[("OTHER", "sk-env")], &[]).expect("valid");
        assert_eq!(config.upstreams[0].keys().map(Secret::expose).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn the_guides_upstreams_load() {
    let guide = include_str!("../../../docs/guides/operator.md");
    let blocks = guide.split("```toml\n").skip(1).filter_map(|block| block.split("```").next());
    let is_entry = |block: &&str| block.starts_with("[[upstreams]]") || block.starts_with("[[models]]");
    let entries: String = blocks.filter(is_entry).collect();
    let entries = entries.replace("api_key_file = \"/run/secrets/vllm\"", "").replace("proj_…", "proj_1");
    let variables = ["OPENAI", "AZURE_OPENAI", "OPENROUTER", "ANTHROPIC", "GEMINI"];
    let variables: Vec<_> = variables.iter().map(|name| (format!("{name}_API_KEY"), "sk")).collect();
    let variables: Vec<_> = variables.iter().map(|(name, key)| (name.as_str(), *key)).collect();
    let config = with(&format!("{GOOD}\n{entries}"), &variables, &[]).expect("valid");
    assert_eq!(config.models[0].upstreams.iter().map(|group| group.0.len()).collect::<Vec<_>>(), [2, 1]);
    let kinds: std::collections::HashSet<_> =
        config.upstreams.iter().map(|upstream| format!("{:?}", upstream.kind)).collect();
    assert_eq!(kinds.len(), 7, "an entry for each kind: {kinds:?}");
}
