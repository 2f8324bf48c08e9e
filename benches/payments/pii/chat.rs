//! Latency that an examination adds to a prompt.

use std::time::Instant;

use anyhow::Result;
use farebox::config::{self, PrivacyMode};
use farebox::services::chat::{Catalog, ChatRequest, Privacy, RequestLimits};
use farebox::services::pii::Examiner;
use serde_json::json;

use crate::report::{Table, micros, number, percentile, title};

const ROUNDS: usize = 2_000;

const PROMPT: &str = "Please answer the letter of Maria Gonzalez, who lives at 14 Harbour Road in Bristol and writes from \
maria.gonzalez@example.com. She ordered a lamp on 3 March and paid with card 4111 1111 1111 1111; her telephone is +44 \
20 7946 0018. Tell her that the lamp has left our warehouse in Rotterdam, that Acme Lighting Ltd. repairs what breaks, \
and that nobody here can change the address once a parcel is on its way. Keep it friendly, and not longer than a page. ";

pub fn measure() -> Result<()> {
    title("   A prompt of 2 kB in chat: personal data replaced before it is sent (fast)");
    let mut text = PROMPT.repeat(4);
    text.push_str(&"The rest is as we discussed it. ".repeat(20));
    text.truncate(2_048);
    let model =
        config::ModelConfig { id: "m".into(), context_length: 1 << 20, ..config::ModelConfig::default() };
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": text }] }).to_string();
    let catalog = Catalog::new(&[model]);
    let request = ChatRequest::parse(&body, &catalog, RequestLimits::default())?;
    let mut table = Table::new(&["", "us, median", "99 of 100 within"]);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    for (name, mode) in [("off", PrivacyMode::Off), ("placeholder", PrivacyMode::Placeholder)] {
        let privacy = Privacy::new(Examiner::without_models(), mode);
        let mut times = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let request = request.clone();
            let begun = Instant::now();
            std::hint::black_box(runtime.block_on(request.protect(&privacy))?);
            times.push(micros(begun.elapsed()));
        }
        table.row(name, [number(percentile(&times, 50)), number(percentile(&times, 99))]);
    }
    table.print();
    println!("  {ROUNDS} times each.");
    Ok(())
}
