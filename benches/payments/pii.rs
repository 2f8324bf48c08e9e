//! The PII rules on one thread.

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::Result;
use farebox_pii::{Engine, Selection};

use crate::report::{Table, median, number, real, title};

const ROUNDS: usize = 5;
const SIZE: usize = 1_000_000;

const PROSE: [&str; 6] = [
    "It was a bright cold day and the clocks were striking; nobody in the street looked up. ",
    "The committee met again to talk about the harbour, its cranes and the price of salt. ",
    "She had read the letter so often that the paper had gone soft along the folds. ",
    "A train of empty waggons stood at the crossing while the rain came down on the fields. ",
    "What the engineer wanted was simple: a bridge that would outlast everyone in the room. ",
    "They sold apples, candles and rope, and on market days also news from up the river. ",
];

pub fn measure() -> Result<()> {
    title("4. PII rules: text examined on one thread, all entities wanted");
    let engine = Engine::new();
    let texts = [("prose without PII", clean()), ("prose, every 4th sentence with PII", mixed()?)];
    let selection = Selection::default();
    let mut rates = [Vec::new(), Vec::new()];
    let mut found = [0, 0];
    for _ in 0..ROUNDS {
        for (index, (_, text)) in texts.iter().enumerate() {
            let begun = Instant::now();
            found[index] = std::hint::black_box(engine.analyze(text, &selection)).len();
            rates[index].push(real(text.len() as u64) / begun.elapsed().as_secs_f64() / 1e6);
        }
    }
    let mut table = Table::new(&["", "MB/s", "findings", "in MB"]);
    for (index, (name, text)) in texts.iter().enumerate() {
        let size = real(text.len() as u64) / 1e6;
        table.row(name, [number(median(&rates[index])), found[index].to_string(), number(size)]);
    }
    table.print();
    println!("  Medians of {ROUNDS} alternating rounds.");
    Ok(())
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
