//! Texts on one thread, by model.

use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::Result;
use farebox::config;
use farebox_pii::{PiiEngine, RecognitionModel, Selection};
use serde_json::json;

use super::peers::Peers;
use crate::report::{Table, median, number, real, title};

const ROUNDS: usize = 5;
const SIZE: usize = 1_000_000;
/// Part of it for the slow contenders.
const SLOW_SIZE: usize = 20_000;

const PROSE: [&str; 6] = [
    "It was a bright cold day and the clocks were striking; nobody in the street looked up. ",
    "The committee met again to talk about the harbour, its cranes and the price of salt. ",
    "She had read the letter so often that the paper had gone soft along the folds. ",
    "A train of empty waggons stood at the crossing while the rain came down on the fields. ",
    "What the engineer wanted was simple: a bridge that would outlast everyone in the room. ",
    "They sold apples, candles and rope, and on market days also news from up the river. ",
];

pub fn measure(config: &config::PiiConfig, mut peers: Option<&mut Peers>) -> Result<()> {
    title("4. Personal data in texts: one thread, all entities wanted");
    let engine = PiiEngine::with_classifiers(config.networks()?);
    let texts = [("prose without any", clean()), ("prose, every 4th sentence with some", mixed()?)];
    let models: Vec<RecognitionModel> =
        [RecognitionModel::Rules, RecognitionModel::Fast, RecognitionModel::Accurate]
            .into_iter()
            .filter(|model| engine.available_models(RecognitionModel::Fast).find(model.name()).is_some())
            .collect();
    for (name, text) in &texts {
        let (mut rates, mut found) = (vec![Vec::new(); models.len() + 1], vec![0; models.len() + 1]);
        for _ in 0..ROUNDS {
            for (index, model) in models.iter().enumerate() {
                let text = if *model == RecognitionModel::Accurate { head(text, SLOW_SIZE) } else { text };
                let (selection, never) = (Selection::all(model.clone()), AtomicBool::new(false));
                let begun = Instant::now();
                let findings = engine.analyze_until(text, &selection, &never, NonZeroUsize::MIN)?;
                rates[index].push(real(text.len() as u64) / begun.elapsed().as_secs_f64() / 1e3);
                found[index] = findings.len() * 1_000_000 / text.len();
            }
            if let Some(peers) = peers.as_deref_mut() {
                let text = head(text, SLOW_SIZE);
                let (seconds, findings) = peers.run(&json!({ "peer": "presidio", "text": text }))?;
                rates[models.len()].push(real(text.len() as u64) / seconds / 1e3);
                found[models.len()] = usize::try_from(findings)? * 1_000_000 / text.len();
            }
        }
        let mut table = Table::new(&[name, "kB/s", "findings in a MB"]);
        let names = models.iter().map(RecognitionModel::name).chain(["Presidio, small model"]);
        for (index, name) in names.enumerate().filter(|(index, _)| !rates[*index].is_empty()) {
            table.row(name, [number(median(&rates[index])), found[index].to_string()]);
        }
        table.print();
    }
    println!(
        "  Medians of {ROUNDS} alternating rounds; `accurate` and Presidio on the first {SLOW_SIZE} bytes."
    );
    Ok(())
}

/// All sentences within `size` bytes.
fn head(text: &str, size: usize) -> &str {
    let end = text.get(..size).and_then(|head| head.rfind(". ")).map_or(text.len(), |at| at + 2);
    &text[..end]
}

fn clean() -> String {
    PROSE
        .iter()
        .cycle()
        .scan(0, |size, sentence| {
            *size += sentence.len();
            (*size <= SIZE).then_some(*sentence)
        })
        .collect()
}

/// Prose with an address, a number or a date in every fourth sentence, no two of them equal.
fn mixed() -> Result<String> {
    let mut text = String::with_capacity(SIZE + 256);
    let mut n = 0_usize;
    while text.len() < SIZE {
        text.push_str(PROSE[n % PROSE.len()]);
        if n.is_multiple_of(4) {
            let (a, b) = (n % 256, n / 256 % 256);
            match n / 4 % 5 {
                0 => write!(text, "Write to clerk{n}@harbour{a}.example.org before noon. ")?,
                1 => write!(text, "The office answers on +1 415 555 {:04}, most days. ", n % 10_000)?,
                2 => write!(text, "The crane logs in from 203.{a}.{b}.7 every hour. ")?,
                3 => write!(text, "Card 4111 1111 1111 1111 paid at https://shop{a}.example.com/pay. ")?,
                _ => write!(text, "His social security number is 536-22-{:04}. ", n % 9_000 + 1_000)?,
            }
        }
        n += 1;
    }
    Ok(text)
}
