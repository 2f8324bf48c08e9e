//! Documents as their readers use them: each block of the README, the guides and the examples, and what `farebox dev`
//! prints, is run as it stands against `farebox dev`, with the versions that it names.

use farebox_test_support::documents::{Reader, with_blocks_to_run};
use farebox_test_support::harness::run;

/// Answer of the preview to the text of the documents.
const REDACTED: &str = "Mail <EMAIL_ADDRESS>";

fn assert_printed(printed: &str, expected: &[(&str, usize)]) {
    for (text, times) in expected {
        assert!(printed.matches(text).count() >= *times, "not {times} times {text}:\n{printed}");
    }
}

#[test]
fn the_readme_works_as_it_stands() {
    run(async {
        let reader = Reader::new(crate::FAREBOX).await;
        let printed = reader.picks_from("README.md").await;
        assert_printed(&printed, &[("402 Payment Required", 1), (REDACTED, 1)]);
        // With the key of `farebox dev`, with one that a wallet made, and with one that it bought. The operator's server has
        // begun to answer, or the block would have failed.
        assert_printed(&printed, &[("Hello there", 3), ("revoked:", 1), ("bought:", 1)]);
    });
}

#[test]
fn the_guides_work_as_they_stand() {
    run(async {
        let followed = ["agent.md", "developer.md", "wallet.md"];
        assert_eq!(with_blocks_to_run("docs/guides"), followed, "each guide is followed here");
        let reader = Reader::new(crate::FAREBOX).await;
        let agent = reader.follows("docs/guides/agent.md", "").await;
        assert_printed(
            &agent,
            &[("402 Payment Required", 1), (REDACTED, 5), ("Hello there", 2), ("pryv_", 1)],
        );
        let developer = reader.follows("docs/guides/developer.md", "").await;
        assert_printed(&developer, &[("Hello there", 2), ("Write to jane@example.com", 1)]);
        let wallet = reader.follows("docs/guides/wallet.md", "").await;
        assert_printed(&wallet, &[("answer:  Hello there", 1), ("revoked:", 1), ("answer: Hello there", 1)]);
    });
}

#[test]
fn each_example_runs_as_its_readme_says() {
    run(async {
        let reader = Reader::new(crate::FAREBOX).await;
        let restored = "Write to jane@example.com";
        let expected: [(&str, &[(&str, usize)]); 9] = [
            ("curl", &[("402 Payment Required", 1), ("[DONE]", 1), (restored, 1), ("balance", 1)]),
            ("agent-cli", &[(REDACTED, 2), ("Hello there", 1), ("Hello again", 1), ("closed", 1)]),
            ("agent-js", &[(REDACTED, 1), ("Count to three.", 1), ("closed:   0x", 1)]),
            ("agent-python", &[(REDACTED, 2), ("receipt:  0x", 2)]),
            ("agent", &[(REDACTED, 1), ("200 chunks", 1), ("closed    0x", 1)]),
            ("wallet-js", &[("answer:  Hello there", 1), ("revoked:", 1), ("answer: Hello there", 1)]),
            (
                "openai-python",
                &[("answer:   Hello there", 1), (restored, 1), ("refused:  400 model_not_found", 1)],
            ),
            (
                "openai-js",
                &[("answer:   Hello there", 1), (restored, 1), ("refused:  400 model_not_found", 1)],
            ),
            ("operator-ollama", &[("Hello there", 2), ("fp_ollama", 1)]),
        ];
        let folders = std::fs::read_dir("examples").expect("the folder is there").flatten();
        let folders = folders.filter(|entry| entry.path().is_dir()).count();
        assert_eq!(folders, expected.len(), "each folder of examples/ is run here");
        for (name, expected) in expected {
            let folder = format!("examples/{name}");
            let printed = reader.follows(&format!("{folder}/README.md"), &folder).await;
            assert_printed(&printed, expected);
        }
    });
}

/// It prints its own URL and keys, so every command works as it stands.
#[test]
fn what_farebox_dev_prints_works_as_it_stands() {
    run(async {
        let reader = Reader::new(crate::FAREBOX).await;
        let printed = reader.dev.printed();
        let commands: Vec<_> = printed.lines().filter_map(|line| line.strip_prefix("    ")).collect();
        assert!(printed.contains("http://localhost:") && commands.len() == 5, "{printed}");
        let mut script = commands.join("\n");
        script.push_str("\ncurl $OPENAI_BASE_URL/models -H \"Authorization: Bearer $OPENAI_API_KEY\"\n");
        let printed = reader.runs(&script, "").await;
        assert_printed(
            &printed,
            &[("402 Payment Required", 1), (REDACTED, 1), ("200 chunks", 1), ("Hello there", 1)],
        );
        assert_printed(&printed, &[("dev-scripted", 1)]);
    });
}
