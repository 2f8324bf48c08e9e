//! The recognisers, by family. Each family is a list; the engine knows nothing of what is in it.

mod asia;
mod commonwealth;
mod contact;
mod crypto;
mod date;
mod europe;
mod finance;
mod groups;
mod keyed;
mod network;
mod phone;
mod secrets;
mod travel;
mod us;
mod vehicle;

use std::ops::Range;

use super::{
    candidate::Evidence,
    context::Context,
    id_rule::IdRule,
    input::{Input, Word},
};
use crate::Entity;

/// Looks at every word that may start a number: see [`super::engine`].
pub(super) struct WordRule {
    pub(super) entity: Entity,
    pub(super) name: &'static str,
    pub(super) find: fn(Input<'_>, Word) -> Option<Found>,
}

/// Looks where one of its literals (ASCII, any case) occurs.
pub(super) struct Trigger {
    pub(super) entity: Entity,
    pub(super) name: &'static str,
    pub(super) literals: &'static [&'static str],
    pub(super) edges: Edges,
    pub(super) find: fn(Input<'_>, Range<usize>) -> Option<Found>,
}

/// Where a literal must not touch a letter or a digit. Tested before the recogniser is called.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Edges {
    Free,
    Left,
    Both,
}

/// A match in normalised bytes.
pub(super) struct Found {
    pub(super) span: Range<usize>,
    pub(super) score: f32,
    pub(super) evidence: Evidence,
}

impl Found {
    fn pattern(span: Range<usize>, score: f32) -> Self {
        Self { span, score, evidence: Evidence::Pattern }
    }

    /// A value that its own key announces.
    fn keyed(span: Range<usize>, score: f32) -> Self {
        Self { span, score, evidence: Evidence::Context }
    }

    /// A checksum held, or a grammar that chance does not meet.
    fn certain(span: Range<usize>, score: f32) -> Self {
        Self { span, score, evidence: Evidence::Checksum }
    }

    /// A pattern that nearby words can raise.
    fn in_context(input: Input<'_>, span: Range<usize>, base: f32, terms: &[&str]) -> Self {
        match Context::of(input, &span).score(terms) {
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

pub(super) fn triggers() -> Vec<&'static Trigger> {
    [
        contact::TRIGGERS,
        date::TRIGGERS,
        crypto::TRIGGERS,
        secrets::TRIGGERS,
        keyed::TRIGGERS,
        groups::TRIGGERS,
    ]
    .into_iter()
    .flatten()
    .collect()
}
