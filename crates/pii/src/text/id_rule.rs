//! Identity numbers as data: a layout, a check, and the words that announce it.

use std::ops::Range;

use super::{
    candidate::{Candidate, Evidence},
    context::Context,
    input::{Input, Word},
    layout::Layout,
};
use crate::Entity;

/// What is known about a number beyond its shape. Checks read it upper-cased, without joiners.
#[derive(Clone, Copy)]
pub(super) enum Check {
    /// The shape says it all.
    Shape,
    /// The issuer's rules on allowed values; chance meets them often.
    Plausible(fn(&str) -> bool),
    /// Check digits.
    Checksum(fn(&str) -> bool),
}

/// One kind of number.
pub(super) struct IdRule {
    pub(super) entity: Entity,
    /// Name in findings.
    pub(super) name: &'static str,
    /// Layouts (see [`Layout`]) and the score each has without context.
    pub(super) layouts: &'static [(&'static str, f32)],
    pub(super) check: Check,
    /// Words that announce the number, lower case. See [`Context::distance`].
    pub(super) context: &'static [&'static str],
}

/// A number whose check passed and that scores this much without context counts as validated.
const SELF_EVIDENT: f32 = 0.8;
/// Groups out of a longer row of groups: a word must name them.
const IN_ROW: f32 = 0.1;

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
        nearby: &mut Nearby<'_>,
        span: Range<usize>,
        base: f32,
        threshold: f32,
    ) -> Option<Candidate> {
        let mut said = || nearby.context(&span).score(self.context);
        let (score, evidence) = if base >= SELF_EVIDENT && self.has_checksum() {
            (base, Evidence::Checksum)
        } else if let Some(said) = said() {
            let evidence = if self.has_checksum() { Evidence::Checksum } else { Evidence::Context };
            (said.max(base), evidence)
        } else if nearby.input.in_row(&span) {
            (base.min(IN_ROW), Evidence::Pattern)
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

/// Every rule, ready to be tried at a word by the word's length.
pub(super) struct IdRules {
    rules: Vec<&'static IdRule>,
    /// Compiled layouts: rule, layout, score without context.
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

    /// Tries every rule at a word. `threshold` is the least score wanted, none when not wanted at all.
    pub(super) fn find(
        &self,
        input: Input<'_>,
        word: Word,
        threshold: impl Fn(Entity) -> Option<f32>,
        found: &mut Vec<Candidate>,
    ) {
        if input.glued_left(word.start) || input.continues_left(word.start) {
            return;
        }
        let mut nearby = Nearby { input, known: None };
        for index in self.by_length.get(word.len()).into_iter().flatten() {
            let (rule, layout, base) = &self.layouts[*index];
            if !layout.may_start(word.kinds) {
                continue;
            }
            let Some(end) = layout.matches(input.bytes, word.start) else { continue };
            let rule = self.rules[*rule];
            let span = word.start..end;
            let Some(threshold) = threshold(rule.entity) else { continue };
            if input.glued_right(end)
                || input.continues_right(end)
                || !rule.accepts(&compact(&input.text[span.clone()]))
            {
                continue;
            }
            found.extend(rule.candidate(&mut nearby, span, *base, threshold));
        }
    }
}

/// The context of the span last asked about: several rules read the same number.
struct Nearby<'t> {
    input: Input<'t>,
    known: Option<(Range<usize>, Context)>,
}

impl Nearby<'_> {
    fn context(&mut self, span: &Range<usize>) -> &Context {
        let known = self.known.take().filter(|(known, _)| known == span);
        let (_, context) =
            self.known.insert(known.unwrap_or_else(|| (span.clone(), Context::of(self.input, span))));
        context
    }
}

/// Letters in upper case and digits, nothing else.
pub(super) fn compact(text: &str) -> String {
    text.bytes().filter(u8::is_ascii_alphanumeric).map(|b| char::from(b.to_ascii_uppercase())).collect()
}
