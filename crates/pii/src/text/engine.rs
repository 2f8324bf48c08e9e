//! Drives the recognisers over a text.

use std::{
    num::NonZeroUsize,
    sync::{Arc, atomic::AtomicBool},
};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use super::{
    candidate::Candidate,
    finding::Finding,
    id_rule::IdRules,
    input::{Input, Word},
    names::{Names, Reading},
    normalize::Normalized,
    overlap,
    recognizers::{self, Edges, Found, Trigger, WordRule},
};
use crate::{Classifier, Model, Offer, Selection, Stopped};

/// The recognisers. Building one takes some milliseconds, cloning one is free.
#[derive(Clone)]
pub struct Engine {
    rules: Arc<Rules>,
    names: Arc<Names>,
    models: Arc<Models>,
}

/// Networks that were loaded.
#[derive(Default)]
pub struct Models {
    /// Finds people and the parts of addresses for [`Model::Accurate`].
    pub accurate: Option<Classifier>,
    /// Others, by the names that requests call them.
    pub named: Vec<(Arc<str>, Classifier)>,
}

impl Default for Engine {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine {
    /// Compiles the rules and reads the small model of names.
    ///
    /// # Panics
    /// Never: all patterns and weights are constants of this crate.
    #[must_use]
    pub fn new() -> Self {
        Self::with_models(Models::default())
    }

    /// As [`Engine::new`], with networks.
    #[must_use]
    pub fn with_models(models: Models) -> Self {
        Self { rules: Arc::new(Rules::new()), names: Arc::new(Names::new()), models: Arc::new(models) }
    }

    /// What requests may choose from; `preferred` is for those that do not say, or [`Model::Fast`] where it is not
    /// loaded.
    #[must_use]
    pub fn offer(&self, preferred: Model) -> Offer {
        let named = self.models.named.iter().map(|(name, _)| Arc::clone(name)).collect();
        Offer::new(preferred, self.models.accurate.is_some(), named)
    }

    /// Finds what `selection` asks for: in order of position, without overlaps, offsets into `text`.
    #[must_use]
    pub fn analyze(&self, text: &str, selection: &Selection) -> Vec<Finding> {
        let never = AtomicBool::new(false);
        self.analyze_until(text, selection, &never, NonZeroUsize::MIN).unwrap_or_default()
    }

    /// As [`Engine::analyze`], on at most `threads` threads, all of which end with the call. A model that was not
    /// loaded finds what `fast` does.
    ///
    /// # Errors
    /// [`Stopped`] soon after `stop` is set.
    pub fn analyze_until(
        &self,
        text: &str,
        selection: &Selection,
        stop: &AtomicBool,
        threads: NonZeroUsize,
    ) -> Result<Vec<Finding>, Stopped> {
        Stopped::check(stop)?;
        let normalized = Normalized::new(text);
        let input = Input::new(&normalized.text);
        let mut candidates = Vec::new();
        self.rules.at_words(input, selection, &mut candidates);
        Stopped::check(stop)?;
        self.rules.at_literals(input, selection, &mut candidates);
        Stopped::check(stop)?;
        if *selection.model() != Model::Rules {
            let network = self.network(selection.model());
            candidates
                .extend(Reading { text: input.text, selection, stop, threads }.names(&self.names, network)?);
        }
        Ok(locate(text, &normalized, overlap::resolve(input.text, candidates)))
    }

    fn network(&self, model: &Model) -> Option<&Classifier> {
        match model {
            Model::Rules | Model::Fast => None,
            Model::Accurate => self.models.accurate.as_ref(),
            Model::Named(name) => {
                self.models.named.iter().find(|(n, _)| n == name).map(|(_, network)| network)
            }
        }
    }
}

struct Rules {
    ids: IdRules,
    words: Vec<&'static WordRule>,
    triggers: Vec<&'static Trigger>,
    literals: AhoCorasick,
    /// Trigger of each literal of the automaton.
    trigger_of: Vec<usize>,
}

impl Rules {
    fn new() -> Self {
        let triggers = recognizers::triggers();
        let (trigger_of, literals): (Vec<usize>, Vec<&str>) = triggers
            .iter()
            .enumerate()
            .flat_map(|(index, trigger)| trigger.literals.iter().map(move |literal| (index, *literal)))
            .unzip();
        let literals = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::DFA))
            .build(literals)
            .expect("a few hundred short literals fit the automaton");
        let ids = IdRules::new(recognizers::id_rules());
        Self { ids, words: recognizers::word_rules(), triggers, literals, trigger_of }
    }

    fn at_words(&self, input: Input<'_>, selection: &Selection, found: &mut Vec<Candidate>) {
        let wanted: Vec<&WordRule> =
            self.words.iter().copied().filter(|rule| selection.threshold(rule.entity).is_some()).collect();
        let mut resume = vec![0; wanted.len()];
        for word in input.words().filter(|word| may_start_number(input, *word)) {
            self.ids.find(input, word, |entity| selection.threshold(entity), found);
            for (rule, resume) in wanted.iter().zip(&mut resume) {
                if word.start < *resume {
                    continue;
                }
                let Some(hit) = (rule.find)(input, word) else { continue };
                if hit.score >= selection.threshold(rule.entity).unwrap_or(f32::INFINITY) {
                    *resume = hit.span.end;
                    found.push(candidate(rule.entity, rule.name, hit));
                }
            }
        }
    }

    fn at_literals(&self, input: Input<'_>, selection: &Selection, found: &mut Vec<Candidate>) {
        // Where each trigger may fire again: a match is not searched a second time from its inside.
        let mut resume = vec![0; self.triggers.len()];
        for literal in self.literals.find_overlapping_iter(input.bytes) {
            let index = self.trigger_of[literal.pattern().as_usize()];
            let trigger = self.triggers[index];
            let span = literal.range();
            let Some(threshold) = selection.threshold(trigger.entity) else { continue };
            let glued = match trigger.edges {
                Edges::Free => false,
                Edges::Left => input.glued_left(span.start),
                Edges::Both => input.glued(&span),
            };
            if glued || span.start < resume[index] {
                continue;
            }
            let Some(hit) = (trigger.find)(input, span) else { continue };
            resume[index] = hit.span.end;
            if hit.score >= threshold {
                found.push(candidate(trigger.entity, trigger.name, hit));
            }
        }
    }
}

/// Words with digits, codes that begin with capitals, and the groups of hardware and IPv6 addresses.
fn may_start_number(input: Input<'_>, word: Word) -> bool {
    word.kinds.has_digit()
        || !word.kinds.has_lower()
        || word.len() <= 4 && matches!(input.at(word.end), Some(b':' | b'-'))
}

fn candidate(entity: crate::Entity, recognizer: &'static str, found: Found) -> Candidate {
    Candidate { entity, span: found.span, score: found.score, evidence: found.evidence, recognizer }
}

/// Maps candidates back to the original text, counting characters once from left to right.
fn locate(text: &str, normalized: &Normalized<'_>, candidates: Vec<Candidate>) -> Vec<Finding> {
    let ascii = text.is_ascii();
    let (mut byte, mut char) = (0, 0);
    let mut char_at = |position: usize| {
        char += if ascii { position - byte } else { text[byte..position].chars().count() };
        byte = position;
        char
    };
    let mut done = 0;
    let mut findings = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let span = normalized.original(candidate.span);
        // One original character may stand for several, two of which belong to different findings.
        let start = span.start.max(done);
        if start >= span.end {
            continue;
        }
        done = span.end;
        findings.push(Finding {
            entity: candidate.entity,
            start_char: char_at(start),
            end_char: char_at(span.end),
            start_byte: start,
            end_byte: span.end,
            score: candidate.score,
            recognizer: candidate.recognizer,
        });
    }
    findings
}
