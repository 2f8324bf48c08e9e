//! Recognisers, by family. Each family is a list of rules, which the engine runs without knowing them.

mod asia;
mod commonwealth;
mod contact;
mod crypto;
mod date;
mod europe;
mod finance;
mod keyed;
mod network;
mod phone;
mod secrets;
mod social_groups;
mod travel;
mod us;
mod vehicle;

use std::ops::Range;

use regex::Regex;

use super::{
    candidate::Evidence,
    context::Context,
    id_rule::IdRule,
    input::{RecognizerInput, Word},
};
use crate::Entity;

/// Rule that is tried at every word that may start a match: see [`super::engine`].
pub(super) struct WordRule {
    pub(super) entity: Entity,
    pub(super) name: &'static str,
    pub(super) find: fn(RecognizerInput<'_>, Word) -> Option<RuleMatch>,
}

/// Rule that is tried where one of its literals (ASCII, any case) occurs.
pub(super) struct LiteralRule {
    pub(super) entity: Entity,
    pub(super) name: &'static str,
    pub(super) literals: &'static [&'static str],
    pub(super) edges: WordEdges,
    pub(super) find: fn(RecognizerInput<'_>, Range<usize>) -> Option<RuleMatch>,
}

/// Edges of a literal that must not touch a letter or a digit. Tested before the rule is tried.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum WordEdges {
    Free,
    Left,
    Both,
}

/// Match of a rule, in bytes of the normalised text.
pub(super) struct RuleMatch {
    pub(super) span: Range<usize>,
    pub(super) score: f32,
    pub(super) evidence: Evidence,
}

impl RuleMatch {
    fn pattern(span: Range<usize>, score: f32) -> Self {
        Self { span, score, evidence: Evidence::Pattern }
    }

    /// Match of a value that its key announces.
    fn keyed(span: Range<usize>, score: f32) -> Self {
        Self { span, score, evidence: Evidence::Context }
    }

    /// Match with valid check digits, or of a format that random text does not meet.
    fn certain(span: Range<usize>, score: f32) -> Self {
        Self { span, score, evidence: Evidence::Checksum }
    }

    /// Match of a format, with a score that nearby words can raise.
    fn in_context(input: RecognizerInput<'_>, span: Range<usize>, base: f32, terms: &[&str]) -> Self {
        match Context::around(input, &span).score(terms) {
            Some(said) => Self::keyed(span, said.max(base)),
            None => Self::pattern(span, base),
        }
    }
}

pub(super) fn id_rules() -> Vec<&'static IdRule> {
    [
        us::RULES,
        commonwealth::RULES,
        asia::RULES,
        europe::RULES,
        finance::RULES,
        travel::RULES,
        vehicle::RULES,
        network::RULES,
    ]
    .into_iter()
    .flatten()
    .collect()
}

pub(super) fn word_rules() -> Vec<&'static WordRule> {
    [finance::WORDS, phone::WORDS, date::WORDS, network::WORDS, crypto::WORDS, secrets::WORDS]
        .into_iter()
        .flatten()
        .collect()
}

pub(super) fn literal_rules() -> Vec<&'static LiteralRule> {
    [
        contact::LITERAL_RULES,
        date::LITERAL_RULES,
        crypto::LITERAL_RULES,
        secrets::LITERAL_RULES,
        keyed::LITERAL_RULES,
        social_groups::LITERAL_RULES,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Compiles a pattern that is a constant of a recogniser.
fn compile(pattern: &str) -> Regex {
    Regex::new(pattern).expect("patterns of recognisers compile, every one is used in tests")
}
