//! Decoding of label probabilities: word pieces to words, words to entity spans.

use std::ops::Range;

use super::{labels::Label, wordpiece::WordPiece};
use crate::{Entity, EntitySpan};

/// Word that is labelled as a part of an entity.
#[derive(Clone, Debug)]
pub(super) struct LabelledWord {
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

/// Adds the words that are more likely a part of an entity than not, by the mean over their pieces.
pub(super) fn words(
    pieces: &[WordPiece],
    probabilities: &[f32],
    labels: &[Label],
    labelled: &mut Vec<LabelledWord>,
) {
    let mut at = 0;
    while at < pieces.len() {
        let span = pieces[at].word.clone();
        let count = pieces[at..].iter().take_while(|piece| piece.word == span).count();
        let rows = &probabilities[at * labels.len()..(at + count) * labels.len()];
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
            matching.map(|(_, probability)| probability).sum::<f32>()
        };
        let begins = of_first(true) > of_first(false);
        labelled.push(LabelledWord { entity, kind, begins, span, score: mean(&ours) });
    }
}

/// Joins words that belong together. Windows overlap, so that a word may be there twice.
pub(super) fn join(text: &str, labelled: &mut Vec<LabelledWord>) -> Vec<EntitySpan> {
    labelled.sort_by(|a, b| {
        (a.span.start, a.span.end).cmp(&(b.span.start, b.span.end)).then(b.score.total_cmp(&a.score))
    });
    labelled.dedup_by(|later, earlier| later.span.start < earlier.span.end);
    let mut names: Vec<(EntitySpan, f32)> = Vec::new();
    let mut last: Option<&LabelledWord> = None;
    for word in &*labelled {
        let joined = last.is_some_and(|last| continues_name(text, last, word));
        last = Some(word);
        match names.last_mut() {
            Some((name, words)) if joined => {
                name.span.end = word.span.end;
                name.score = (name.score * *words + word.score) / (*words + 1.0);
                *words += 1.0;
            }
            _ => {
                let (entity, span) = (word.entity, word.span.clone());
                names.push((EntitySpan { entity, span, score: word.score.clamp(0.0, 1.0) }, 1.0));
            }
        }
    }
    names.into_iter().map(|(name, _)| name).collect()
}

/// True if a word continues the name of the word before it: given name and surname, street and city.
fn continues_name(text: &str, last: &LabelledWord, next: &LabelledWord) -> bool {
    let gap = &text[last.span.end..next.span.start];
    if last.entity != next.entity {
        return false;
    }
    if gap.is_empty() {
        return true;
    }
    let starts_new = next.begins && last.kind == next.kind;
    match next.entity {
        Entity::Location => {
            gap.len() <= 3
                && gap.chars().all(|c| c.is_whitespace() || matches!(c, ',' | '-' | '.'))
                && !starts_new
        }
        _ => matches!(gap, "-" | ". " | ".") || (gap.trim_matches(' ').is_empty() && !starts_new),
    }
}
