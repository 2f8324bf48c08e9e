//! Engine that runs the recognisers on a text.

use std::{
    num::NonZeroUsize,
    sync::{Arc, atomic::AtomicBool},
};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use super::{
    candidate::Candidate,
    finding::Finding,
    id_rule::IdRules,
    input::{RecognizerInput, Word},
    names::{NameRecognizer, NameSearch},
    normalize::NormalizedText,
    overlap,
    recognizers::{self, LiteralRule, RuleMatch, WordEdges, WordRule},
};
use crate::{AvailableModels, Classifier, RecognitionModel, Selection, Stopped};

/// Engine with compiled rules and loaded models. Building one takes some milliseconds, cloning one is free.
#[derive(Clone)]
pub struct PiiEngine {
    rules: Arc<RuleSet>,
    names: Arc<NameRecognizer>,
    classifiers: Arc<NameClassifiers>,
}

/// Token classifiers that the caller loaded.
#[derive(Default)]
pub struct NameClassifiers {
    /// Finds people and the parts of addresses for [`RecognitionModel::Accurate`].
    pub accurate: Option<Classifier>,
    /// Others, by the names that requests use for them.
    pub named: Vec<(Arc<str>, Classifier)>,
}

impl Default for PiiEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl PiiEngine {
    /// Compiles the rules and reads the small name model.
    ///
    /// # Panics
    /// Never: all patterns and weights are constants of this crate.
    #[must_use]
    pub fn new() -> Self {
        Self::with_classifiers(NameClassifiers::default())
    }

    /// Builds an engine as [`PiiEngine::new`] does, with token classifiers.
    #[must_use]
    pub fn with_classifiers(classifiers: NameClassifiers) -> Self {
        Self {
            rules: Arc::new(RuleSet::new()),
            names: Arc::new(NameRecognizer::new()),
            classifiers: Arc::new(classifiers),
        }
    }

    /// Models that requests may choose from. Those that name none get `preferred`, or [`RecognitionModel::Fast`] if
    /// that is not loaded.
    #[must_use]
    pub fn available_models(&self, preferred: RecognitionModel) -> AvailableModels {
        let named = self.classifiers.named.iter().map(|(name, _)| Arc::clone(name)).collect();
        AvailableModels::new(preferred, self.classifiers.accurate.is_some(), named)
    }

    /// Finds the selected entities: in order of position, without overlaps, with offsets into `text`.
    #[must_use]
    pub fn analyze(&self, text: &str, selection: &Selection) -> Vec<Finding> {
        let never = AtomicBool::new(false);
        self.analyze_until(text, selection, &never, NonZeroUsize::MIN).unwrap_or_default()
    }

    /// Analyzes a text on at most `threads` threads, all of which end with the call. A model that is not loaded
    /// finds what `fast` finds.
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
        let normalized = NormalizedText::new(text);
        let input = RecognizerInput::new(&normalized.text);
        let mut candidates = Vec::new();
        self.rules.match_words(input, selection, &mut candidates);
        Stopped::check(stop)?;
        self.rules.match_literals(input, selection, &mut candidates);
        Stopped::check(stop)?;
        if *selection.model() != RecognitionModel::Rules {
            let classifier = self.classifier(selection.model());
            candidates.extend(
                NameSearch { text: input.text, selection, stop, threads }.run(&self.names, classifier)?,
            );
        }
        Ok(to_findings(text, &normalized, overlap::resolve(input.text, candidates)))
    }

    fn classifier(&self, model: &RecognitionModel) -> Option<&Classifier> {
        match model {
            RecognitionModel::Rules | RecognitionModel::Fast => None,
            RecognitionModel::Accurate => self.classifiers.accurate.as_ref(),
            RecognitionModel::Named(name) => {
                self.classifiers.named.iter().find(|(n, _)| n == name).map(|(_, classifier)| classifier)
            }
        }
    }
}

struct RuleSet {
    ids: IdRules,
    words: Vec<&'static WordRule>,
    literal_rules: Vec<&'static LiteralRule>,
    literals: AhoCorasick,
    /// Index of the rule, by pattern of the automaton.
    rule_of: Vec<usize>,
}

impl RuleSet {
    fn new() -> Self {
        let literal_rules = recognizers::literal_rules();
        let (rule_of, literals): (Vec<usize>, Vec<&str>) = literal_rules
            .iter()
            .enumerate()
            .flat_map(|(index, rule)| rule.literals.iter().map(move |literal| (index, *literal)))
            .unzip();
        let literals = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::DFA))
            .build(literals)
            .expect("a few hundred short literals fit the automaton");
        let ids = IdRules::new(recognizers::id_rules());
        Self { ids, words: recognizers::word_rules(), literal_rules, literals, rule_of }
    }

    fn match_words(&self, input: RecognizerInput<'_>, selection: &Selection, found: &mut Vec<Candidate>) {
        let selected: Vec<&WordRule> =
            self.words.iter().copied().filter(|rule| selection.threshold(rule.entity).is_some()).collect();
        let mut resume = vec![0; selected.len()];
        for word in input.words().filter(|word| may_start_match(input, *word)) {
            self.ids.find(input, word, |entity| selection.threshold(entity), found);
            for (rule, resume) in selected.iter().zip(&mut resume) {
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

    fn match_literals(&self, input: RecognizerInput<'_>, selection: &Selection, found: &mut Vec<Candidate>) {
        // End of the last match of each rule: a match is not searched a second time from its inside.
        let mut resume = vec![0; self.literal_rules.len()];
        for literal in self.literals.find_overlapping_iter(input.bytes) {
            let index = self.rule_of[literal.pattern().as_usize()];
            let rule = self.literal_rules[index];
            let span = literal.range();
            let Some(threshold) = selection.threshold(rule.entity) else { continue };
            let touches_word = match rule.edges {
                WordEdges::Free => false,
                WordEdges::Left => input.touches_word_left(span.start),
                WordEdges::Both => input.touches_word(&span),
            };
            if touches_word || span.start < resume[index] {
                continue;
            }
            let Some(hit) = (rule.find)(input, span) else { continue };
            resume[index] = hit.span.end;
            if hit.score >= threshold {
                found.push(candidate(rule.entity, rule.name, hit));
            }
        }
    }
}

/// True for words with digits, codes without lower case, and the groups of hardware and IPv6 addresses.
fn may_start_match(input: RecognizerInput<'_>, word: Word) -> bool {
    word.char_kinds.has_digit()
        || !word.char_kinds.has_lower()
        || word.len() <= 4 && matches!(input.at(word.end), Some(b':' | b'-'))
}

fn candidate(entity: crate::Entity, recognizer: &'static str, found: RuleMatch) -> Candidate {
    Candidate { entity, span: found.span, score: found.score, evidence: found.evidence, recognizer }
}

/// Maps candidates back to the original text, counting characters once from left to right.
fn to_findings(text: &str, normalized: &NormalizedText<'_>, candidates: Vec<Candidate>) -> Vec<Finding> {
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
