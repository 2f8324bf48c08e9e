//! Measures models on marked texts: `measure MODEL [errors]`, with the texts of `train/train.py dev` on standard input.
//!
//! A finding hits when it is of the same entity and covers at least half of what either covers. Models other than
//! `rules` and `fast` are read from `models/NAME` (`accurate` from `models/rampart`), or from `FAREBOX_MODELS`.

use std::{collections::BTreeMap, io::BufRead as _, path::PathBuf, time::Instant};

use farebox_pii::{Classifier, Entity, Finding, NameClassifiers, PiiEngine, Selection};

#[derive(serde::Deserialize)]
struct Document {
    text: String,
    names: Vec<(usize, usize, String)>,
}

#[derive(Default)]
struct Count {
    hits: u32,
    missed: u32,
    wrong: u32,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = std::env::args().nth(1).ok_or("which model?")?;
    let show = std::env::args().nth(2).is_some();
    let engine = engine(&model)?;
    let offer = engine.available_models(farebox_pii::RecognitionModel::Fast);
    let entities = ["PERSON", "LOCATION", "ORGANIZATION"];
    let body = serde_json::json!({ "piiConfig": { "model": model }, "piiEntities": entities });
    let selection = Selection::from_request(body.as_object().ok_or("an object")?, &offer)?;
    let mut counts: BTreeMap<String, Count> = BTreeMap::new();
    let (mut bytes, mut seconds) = (0, 0.0);
    for line in std::io::stdin().lock().lines() {
        let document: Document = serde_json::from_str(&line?)?;
        let start = Instant::now();
        let found = engine.analyze(&document.text, &selection);
        seconds += start.elapsed().as_secs_f64();
        bytes += document.text.len();
        compare(&document, &found, &mut counts, show);
    }
    for (entity, count) in counts {
        let of = |other: u32| f64::from(count.hits) / f64::from((count.hits + other).max(1));
        let (precision, recall) = (of(count.wrong), of(count.missed));
        let f1 = 2.0 * precision * recall / (precision + recall).max(f64::MIN_POSITIVE);
        println!("{entity:<13} F1 {f1:.3}  precision {precision:.3}  recall {recall:.3}");
    }
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    let rate = bytes as f64 / seconds / 1e3;
    println!("{rate:.0} kB/s");
    Ok(())
}

fn engine(model: &str) -> Result<PiiEngine, Box<dyn std::error::Error>> {
    if matches!(model, "rules" | "fast") {
        return Ok(PiiEngine::new());
    }
    let models = std::env::var_os("FAREBOX_MODELS").map_or_else(|| PathBuf::from("models"), PathBuf::from);
    let folder = models.join(if model == "accurate" { "rampart" } else { model });
    let classifier = Classifier::from_onnx(
        std::fs::read(folder.join("model.onnx"))?,
        &std::fs::read_to_string(folder.join("vocab.txt"))?,
        &std::fs::read_to_string(folder.join("config.json"))?,
    )?;
    Ok(PiiEngine::with_classifiers(if model == "accurate" {
        NameClassifiers { accurate: Some(classifier), named: Vec::new() }
    } else {
        NameClassifiers { accurate: None, named: vec![(model.into(), classifier)] }
    }))
}

fn compare(document: &Document, found: &[Finding], counts: &mut BTreeMap<String, Count>, show: bool) {
    let part =
        |start: usize, end: usize| document.text.chars().skip(start).take(end - start).collect::<String>();
    let mut used = vec![false; document.names.len()];
    for finding in found {
        let hit = document.names.iter().enumerate().position(|(index, (start, end, entity))| {
            let both = finding.end_char.min(*end).saturating_sub(finding.start_char.max(*start));
            let either = finding.end_char.max(*end) - finding.start_char.min(*start);
            !used[index] && Entity::from_name(entity) == Some(finding.entity) && 2 * both >= either
        });
        let count = counts.entry(finding.entity.name().to_owned()).or_default();
        if let Some(index) = hit {
            used[index] = true;
            count.hits += 1;
        } else {
            count.wrong += 1;
            if show {
                let covered = part(finding.start_char, finding.end_char);
                println!(
                    "+ {} {covered:?} {:.2} {} in {:?}",
                    finding.entity, finding.score, finding.recognizer, document.text
                );
            }
        }
    }
    for ((start, end, entity), _) in document.names.iter().zip(&used).filter(|(_, used)| !**used) {
        counts.entry(entity.clone()).or_default().missed += 1;
        if show {
            println!("- {entity} {:?} in {:?}", part(*start, *end), document.text);
        }
    }
}
