//! From the chances of labels to names: pieces to words, words to names.

use std::ops::Range;

use super::{Labelled, labels::Label, wordpiece::Piece};
use crate::Entity;

/// A word that belongs to a name.
#[derive(Clone, Debug)]
pub(super) struct Part {
    entity: Entity,
    kind: usize,
    begins: bool,
    span: Range<usize>,
    score: f32,
}

pub(super) fn softmax(scores: &mut [f32]) {
    let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - top).exp();
        sum += *score;
    }
    for score in scores {
        *score /= sum;
    }
}

/// Adds the words that are more likely a part of something than of nothing, by the mean over their pieces.
pub(super) fn words(pieces: &[Piece], chances: &[f32], labels: &[Label], parts: &mut Vec<Part>) {
    let mut at = 0;
    while at < pieces.len() {
        let span = pieces[at].word.clone();
        let count = pieces[at..].iter().take_while(|piece| piece.word == span).count();
        let rows = &chances[at * labels.len()..(at + count) * labels.len()];
        at += count;
        let mean = |wanted: &dyn Fn(&Label) -> bool| {
            let of =
                |row: &[f32]| labels.iter().zip(row).filter(|(l, _)| wanted(l)).map(|(_, c)| c).sum::<f32>();
            #[allow(clippy::cast_precision_loss, reason = "a few pieces")]
            let mean = rows.chunks(labels.len()).map(of).sum::<f32>() / count as f32;
            mean
        };
        let likeliest = |label: &&Label| mean(&|l| l.entity == label.entity);
        let by_entity = labels.iter().max_by(|a, b| likeliest(a).total_cmp(&likeliest(b)));
        let Some(entity) = by_entity.and_then(|label| label.entity) else { continue };
        let ours = |label: &Label| label.entity == Some(entity);
        let by_kind = labels.iter().filter(|label| ours(label)).max_by(|a, b| {
            let of = |kind: usize| mean(&|l| l.kind == kind);
            of(a.kind).total_cmp(&of(b.kind))
        });
        let Some(kind) = by_kind.map(|label| label.kind) else { continue };
        let first = &rows[..labels.len()];
        let of_first = |begins: bool| {
            let matching = labels.iter().zip(first).filter(|(l, _)| l.kind == kind && l.begins == begins);
            matching.map(|(_, chance)| chance).sum::<f32>()
        };
        let begins = of_first(true) > of_first(false);
        parts.push(Part { entity, kind, begins, span, score: mean(&ours) });
    }
}

/// Words that belong together become one. Windows overlap, so that a word may be there twice.
pub(super) fn join(text: &str, parts: &mut Vec<Part>) -> Vec<Labelled> {
    parts.sort_by(|a, b| {
        (a.span.start, a.span.end).cmp(&(b.span.start, b.span.end)).then(b.score.total_cmp(&a.score))
    });
    parts.dedup_by(|later, earlier| later.span.start < earlier.span.end);
    let mut names: Vec<(Labelled, f32)> = Vec::new();
    let mut last: Option<&Part> = None;
    for part in &*parts {
        let joined = last.is_some_and(|last| belongs(text, last, part));
        last = Some(part);
        match names.last_mut() {
            Some((name, words)) if joined => {
                name.span.end = part.span.end;
                name.score = (name.score * *words + part.score) / (*words + 1.0);
                *words += 1.0;
            }
            _ => {
                let (entity, span) = (part.entity, part.span.clone());
                names.push((Labelled { entity, span, score: part.score.clamp(0.0, 1.0) }, 1.0));
            }
        }
    }
    names.into_iter().map(|(name, _)| name).collect()
}

/// Whether two neighbouring words are of one name: given name and surname, street and city.
fn belongs(text: &str, last: &Part, next: &Part) -> bool {
    let gap = &text[last.span.end..next.span.start];
    if last.entity != next.entity {
        return false;
    }
    if gap.is_empty() {
        return true;
    }
    let anew = next.begins && last.kind == next.kind;
    match next.entity {
        Entity::Location => {
            gap.len() <= 3 && gap.chars().all(|c| c.is_whitespace() || matches!(c, ',' | '-' | '.')) && !anew
        }
        _ => matches!(gap, "-" | ". " | ".") || (gap.trim_matches(' ').is_empty() && !anew),
    }
}
