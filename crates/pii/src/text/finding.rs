//! Findings, and text without them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::Entity;

/// Personal data or a secret in the caller's text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// Kind of data.
    pub entity: Entity,
    /// First character, counted in Unicode scalar values.
    pub start_char: usize,
    /// One past the last character.
    pub end_char: usize,
    /// First byte of the UTF-8 text.
    pub start_byte: usize,
    /// One past the last byte.
    pub end_byte: usize,
    /// Confidence, 0 to 1.
    pub score: f32,
    /// The recogniser that found it.
    pub recognizer: &'static str,
}

/// Number of findings by wire name of the entity.
#[must_use]
pub fn counts(findings: &[Finding]) -> BTreeMap<&'static str, usize> {
    findings.iter().fold(BTreeMap::new(), |mut counts, finding| {
        *counts.entry(finding.entity.name()).or_default() += 1;
        counts
    })
}

/// Returns the text with a placeholder such as `<EMAIL_ADDRESS>` in place of each finding.
///
/// `findings` are those of [`PiiEngine::analyze`](super::PiiEngine::analyze) on the same text: in order, not
/// overlapping, on character boundaries. A finding that does not fit the text is left out.
#[must_use]
pub fn redact(text: &str, findings: &[Finding]) -> String {
    let mut redacted = String::with_capacity(text.len());
    let mut done = 0;
    for finding in findings {
        let (Some(kept), Some(_)) =
            (text.get(done..finding.start_byte), text.get(finding.start_byte..finding.end_byte))
        else {
            continue;
        };
        redacted.push_str(kept);
        redacted.push('<');
        redacted.push_str(finding.entity.name());
        redacted.push('>');
        done = finding.end_byte;
    }
    redacted.push_str(&text[done..]);
    redacted
}
