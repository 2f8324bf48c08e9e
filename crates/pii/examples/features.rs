//! Turns training texts into features, for `train/train.py`.
//!
//! `features words` reads a word a line and writes the key it has in the lexicon. `features` reads a JSON object a line,
//! `{"text": "…", "names": [[start, end, "PERSON"], …]}` with offsets in characters, and writes a token a line: its
//! label and features, tab-separated, with an empty line after each stretch.

use std::io::{BufRead as _, BufWriter, Write as _};

use farebox_pii::{Entity, training::TrainingExtractor};

#[derive(serde::Deserialize)]
struct Document {
    text: String,
    names: Vec<(usize, usize, String)>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words = std::env::args().nth(1).is_some_and(|mode| mode == "words");
    let training = TrainingExtractor::new();
    let mut out = BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        if words {
            writeln!(out, "{}", TrainingExtractor::lexicon_key(&line))?;
            continue;
        }
        let document: Document = serde_json::from_str(&line)?;
        let starts: Vec<usize> = document.text.char_indices().map(|(at, _)| at).collect();
        let byte = |char: usize| starts.get(char).copied().unwrap_or(document.text.len());
        let mut names = Vec::new();
        for (start, end, entity) in &document.names {
            let entity = Entity::from_name(entity).ok_or("no such entity")?;
            names.push((byte(*start), byte(*end), entity));
        }
        for sequence in training.sequences(&document.text, &names) {
            for (label, features) in sequence {
                write!(out, "{label}")?;
                for feature in features {
                    write!(out, "\t{feature:08x}")?;
                }
                writeln!(out)?;
            }
            writeln!(out)?;
        }
    }
    Ok(())
}
