//! Rules for identity numbers: a layout, a check, and context words.

use std::ops::Range;

use super::{
    candidate::{Candidate, Evidence},
    context::Context,
    input::{RecognizerInput, Word},
    layout::Layout,
};
use crate::Entity;

/// Validation of a number beyond its layout. Checks read it in upper case, without joiners.
#[derive(Clone, Copy)]
pub(super) enum Check {
    /// No further validation.
    Shape,
    /// The issuer's rules on allowed values, which random numbers often meet.
    Plausible(fn(&str) -> bool),
    /// Check digits.
    Checksum(fn(&str) -> bool),
}

/// Rule for one kind of number.
pub(super) struct IdRule {
    pub(super) entity: Entity,
    /// Name in findings.
    pub(super) name: &'static str,
    /// Layouts (see [`Layout`]) and the score each has without context.
    pub(super) layouts: &'static [(&'static str, f32)],
    pub(super) check: Check,
    /// Terms that announce the number, in lower case. See [`Context::score`].
    pub(super) context: &'static [&'static str],
}

/// Least score without context at which a number with valid check digits needs no context.
const CERTAIN_WITHOUT_CONTEXT: f32 = 0.8;
/// Score without context of groups out of a longer row of groups, which need a context word.
const MAX_SCORE_IN_ROW: f32 = 0.1;

impl IdRule {
    fn accepts(&self, compact: &str) -> bool {
        match self.check {
            Check::Shape => true,
            Check::Plausible(check) | Check::Checksum(check) => check(compact),
        }
    }

    fn has_checksum(&self) -> bool {
        matches!(self.check, Check::Checksum(_))
    }

    fn candidate(
        &self,
        nearby: &mut ContextCache<'_>,
        span: Range<usize>,
        base: f32,
        threshold: f32,
    ) -> Option<Candidate> {
        let mut context_score = || nearby.context(&span).score(self.context);
        let (score, evidence) = if base >= CERTAIN_WITHOUT_CONTEXT && self.has_checksum() {
            (base, Evidence::Checksum)
        } else if let Some(context_score) = context_score() {
            let evidence = if self.has_checksum() { Evidence::Checksum } else { Evidence::Context };
            (context_score.max(base), evidence)
        } else if nearby.input.in_digit_row(&span) {
            (base.min(MAX_SCORE_IN_ROW), Evidence::Pattern)
        } else {
            (base, Evidence::Pattern)
        };
        (score >= threshold).then_some(Candidate {
            entity: self.entity,
            span,
            score,
            evidence,
            recognizer: self.name,
        })
    }
}

/// Rules indexed by the length of the word that a number begins with.
pub(super) struct IdRules {
    rules: Vec<&'static IdRule>,
    /// Compiled layouts: index of the rule, layout, score without context.
    layouts: Vec<(usize, Layout, f32)>,
    by_length: Vec<Vec<usize>>,
}

impl IdRules {
    pub(super) fn new(rules: Vec<&'static IdRule>) -> Self {
        let mut layouts = Vec::new();
        let mut by_length: Vec<Vec<usize>> = Vec::new();
        for (rule, id) in rules.iter().enumerate() {
            for (pattern, score) in id.layouts {
                let layout = Layout::parse(pattern);
                let (shortest, longest) = layout.first_word();
                if by_length.len() <= longest {
                    by_length.resize(longest + 1, Vec::new());
                }
                for indices in &mut by_length[shortest..=longest] {
                    indices.push(layouts.len());
                }
                layouts.push((rule, layout, *score));
            }
        }
        Self { rules, layouts, by_length }
    }

    /// Tries every rule at a word. `threshold` is the least score of an entity, none if it is not selected.
    pub(super) fn find(
        &self,
        input: RecognizerInput<'_>,
        word: Word,
        threshold: impl Fn(Entity) -> Option<f32>,
        found: &mut Vec<Candidate>,
    ) {
        if input.touches_word_left(word.start) || input.continues_left(word.start) {
            return;
        }
        let mut nearby = ContextCache { input, known: None };
        for index in self.by_length.get(word.len()).into_iter().flatten() {
            let (rule, layout, base) = &self.layouts[*index];
            if !layout.may_start(word.char_kinds) {
                continue;
            }
            let Some(end) = layout.matches(input.bytes, word.start) else { continue };
            let rule = self.rules[*rule];
            let span = word.start..end;
            let Some(threshold) = threshold(rule.entity) else { continue };
            if input.touches_word_right(end)
                || input.continues_right(end)
                || !rule.accepts(&compact(&input.text[span.clone()]))
            {
                continue;
            }
            found.extend(rule.candidate(&mut nearby, span, *base, threshold));
        }
    }
}

/// Context of the span asked about last: several rules read the same number.
struct ContextCache<'t> {
    input: RecognizerInput<'t>,
    known: Option<(Range<usize>, Context)>,
}

impl ContextCache<'_> {
    fn context(&mut self, span: &Range<usize>) -> &Context {
        let known = self.known.take().filter(|(known, _)| known == span);
        let (_, context) =
            self.known.insert(known.unwrap_or_else(|| (span.clone(), Context::around(self.input, span))));
        context
    }
}

/// Returns the ASCII letters, in upper case, and digits of a text.
pub(super) fn compact(text: &str) -> String {
    text.bytes().filter(u8::is_ascii_alphanumeric).map(|b| char::from(b.to_ascii_uppercase())).collect()
}
