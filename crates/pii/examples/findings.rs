//! Findings for a file of texts: what `scripts/eval-pii.sh` compares with other programs.
//!
//! `findings MODEL < texts > findings`: a JSON string a line in, a list `[[start, end, "ENTITY", score], …]` in
//! characters a line out. The last line on standard error is `{"bytes": …, "seconds": …}` of the analysis alone.
//! Exits with 3 when this build does not have the model.

use std::io::{self, BufRead as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use farebox_pii::{Classifier, Finding, NameClassifiers, PiiEngine, RecognitionModel, Selection};
use serde_json::{Value, json};

/// Exit code for a model that is not offered.
const NO_SUCH_MODEL: u8 = 3;

fn main() -> ExitCode {
    let model = std::env::args().nth(1).unwrap_or_else(|| "rules".to_owned());
    let request = json!({ "piiConfig": { "model": model } });
    let engine = match engine() {
        Ok(engine) => engine,
        Err(error) => {
            eprintln!("models/rampart: {error}");
            return ExitCode::FAILURE;
        }
    };
    let offer = engine.available_models(RecognitionModel::Fast);
    let selection = match Selection::from_request(request.as_object().expect("an object"), &offer) {
        Ok(selection) => selection,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(NO_SUCH_MODEL);
        }
    };
    match analyze_all(&engine, &selection) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// With the network for people and addresses, where its files are.
fn engine() -> Result<PiiEngine, Box<dyn std::error::Error>> {
    let folder = std::env::var("FAREBOX_MODELS").unwrap_or_else(|_| "models".to_owned());
    let folder = Path::new(&folder).join("rampart");
    if !folder.is_dir() {
        return Ok(PiiEngine::new());
    }
    let text = |name: &str| std::fs::read_to_string(folder.join(name));
    let network = std::fs::read(folder.join("model.onnx"))?;
    let accurate = Classifier::from_onnx(network, &text("vocab.txt")?, &text("config.json")?)?;
    Ok(PiiEngine::with_classifiers(NameClassifiers { accurate: Some(accurate), named: Vec::new() }))
}

fn analyze_all(engine: &PiiEngine, selection: &Selection) -> io::Result<()> {
    let texts: Vec<String> = io::stdin()
        .lock()
        .lines()
        .map(|line| serde_json::from_str(&line?).map_err(io::Error::from))
        .collect::<io::Result<_>>()?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let (mut bytes, mut spent) = (0, Duration::ZERO);
    for text in &texts {
        let start = Instant::now();
        let findings = engine.analyze(text, selection);
        spent += start.elapsed();
        bytes += text.len();
        let findings: Vec<Value> = findings.iter().map(as_json).collect();
        writeln!(out, "{}", Value::from(findings))?;
    }
    out.flush()?;
    eprintln!("{}", json!({ "bytes": bytes, "seconds": spent.as_secs_f64() }));
    Ok(())
}

fn as_json(finding: &Finding) -> Value {
    json!([finding.start_char, finding.end_char, finding.entity, finding.score])
}
