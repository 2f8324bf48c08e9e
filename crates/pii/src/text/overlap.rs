//! Resolution of overlapping candidates.

use std::{cmp::Ordering, collections::BTreeMap, ops::Range};

use super::candidate::Candidate;

/// Makes candidates disjoint, in order of position.
///
/// Better evidence wins, then the higher score, then the longer span, then the one declared first. The part of
/// the loser beyond the winner stays covered, cut to size: a doubt about where one piece of personal data ends and
/// the next begins must not uncover any of it.
pub(super) fn resolve(text: &str, mut candidates: Vec<Candidate>) -> Vec<Candidate> {
    candidates.sort_by(strongest_first);
    let mut kept: BTreeMap<usize, Candidate> = BTreeMap::new();
    for candidate in candidates {
        for span in free_parts(&kept, &candidate.span) {
            let span = if span == candidate.span { span } else { trim(text, span) };
            if !span.is_empty() {
                kept.insert(span.start, Candidate { span, ..candidate.clone() });
            }
        }
    }
    kept.into_values().collect()
}

fn strongest_first(a: &Candidate, b: &Candidate) -> Ordering {
    b.evidence
        .cmp(&a.evidence)
        .then(b.score.total_cmp(&a.score))
        .then(b.span.len().cmp(&a.span.len()))
        .then(a.span.start.cmp(&b.span.start))
        .then(a.entity.cmp(&b.entity))
}

/// Parts of `span` that no kept candidate covers.
fn free_parts(kept: &BTreeMap<usize, Candidate>, span: &Range<usize>) -> Vec<Range<usize>> {
    let before = kept.range(..=span.start).next_back().map_or(0, |(_, other)| other.span.end);
    let mut from = span.start.max(before);
    let mut parts = Vec::new();
    for (start, other) in kept.range(span.start + 1..span.end.max(span.start + 1)) {
        if from < *start {
            parts.push(from..*start);
        }
        from = other.span.end;
    }
    if from < span.end {
        parts.push(from..span.end);
    }
    parts
}

/// Returns a cut span without the punctuation and spaces at its edges.
fn trim(text: &str, span: Range<usize>) -> Range<usize> {
    let part = text[span.clone()].trim_end_matches(|c: char| !c.is_alphanumeric());
    let end = span.start + part.len();
    end - part.trim_start_matches(|c: char| !c.is_alphanumeric()).len()..end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entity, text::candidate::Evidence};

    fn candidate(start: usize, end: usize, score: f32, evidence: Evidence) -> Candidate {
        Candidate { entity: Entity::Url, span: start..end, score, evidence, recognizer: "test" }
    }

    fn spans(text: &str, candidates: Vec<Candidate>) -> Vec<(usize, usize)> {
        resolve(text, candidates).iter().map(|c| (c.span.start, c.span.end)).collect()
    }

    #[test]
    fn evidence_then_score_then_length() {
        let text = "x".repeat(60);
        let kept = spans(
            &text,
            vec![
                candidate(0, 10, 0.9, Evidence::Pattern),
                candidate(0, 12, 0.6, Evidence::Checksum),
                candidate(20, 24, 0.6, Evidence::Context),
                candidate(20, 28, 0.6, Evidence::Context),
                candidate(30, 34, 0.7, Evidence::Pattern),
                candidate(30, 34, 0.6, Evidence::Pattern),
                candidate(12, 14, 0.6, Evidence::Pattern),
            ],
        );
        assert_eq!(kept, [(0, 12), (12, 14), (20, 28), (30, 34)]);
    }

    #[test]
    fn what_the_loser_covers_stays_covered() {
        let text = "abc, 123 def 456, xyz";
        let outer = candidate(0, 21, 0.6, Evidence::Pattern);
        let first = candidate(5, 8, 1.0, Evidence::Checksum);
        let second = candidate(13, 16, 1.0, Evidence::Checksum);
        assert_eq!(spans(text, vec![outer.clone(), first.clone()]), [(0, 3), (5, 8), (9, 21)]);
        assert_eq!(spans(text, vec![outer, first, second]), [(0, 3), (5, 8), (9, 12), (13, 16), (18, 21)]);
        let left = candidate(0, 8, 0.6, Evidence::Pattern);
        let right = candidate(5, 12, 0.7, Evidence::Pattern);
        assert_eq!(spans(text, vec![left, right]), [(0, 3), (5, 12)]);
    }
}
