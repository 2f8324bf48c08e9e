//! The names in one text: those of the small model and those of a network, put together.

use std::{num::NonZeroUsize, ops::Range, sync::atomic::AtomicBool};

use super::{Name, Names};
use crate::{
    Classifier, Entity, Model, Selection, Stopped,
    text::candidate::{Candidate, Evidence},
};

/// A text and how it is read.
pub(in crate::text) struct Reading<'r> {
    /// Normalised.
    pub(in crate::text) text: &'r str,
    pub(in crate::text) selection: &'r Selection,
    pub(in crate::text) stop: &'r AtomicBool,
    pub(in crate::text) threads: NonZeroUsize,
}

impl Reading<'_> {
    /// What the small model finds, and the network where there is one.
    pub(in crate::text) fn names(
        &self,
        names: &Names,
        network: Option<&Classifier>,
    ) -> Result<Vec<Candidate>, Stopped> {
        let wanted = |entity| self.selection.threshold(entity).is_some();
        let owned = |entity| network.is_some_and(|network| self.owns(network, entity));
        let any_of_ours = Names::ENTITIES.into_iter().any(wanted);
        let accurate = self.selection.model() == &Model::Accurate;
        let mut candidates = Vec::new();
        let mut doubts = Vec::new();
        if any_of_ours {
            let doubts_wanted = accurate && network.is_some() && wanted(Entity::Person);
            let read = names.find(self.text, doubts_wanted, self.stop)?;
            for name in read.names {
                // A configured network has the last word on what it knows.
                if accurate || !owned(name.entity) {
                    candidates.extend(self.candidate(name, "names"));
                }
            }
            doubts = read.doubts;
        }
        let Some(network) = network else { return Ok(candidates) };
        let ours = candidates.len();
        let places = if accurate { doubts } else { std::iter::once(0..self.text.len()).collect() };
        for name in network.find(self.text, &places, self.stop, self.threads)? {
            if owned(name.entity) && touches(&places, &name.span) {
                let name = Name { entity: name.entity, span: name.span, score: name.score };
                self.add(name, ours, &mut candidates);
            }
        }
        Ok(candidates)
    }

    /// Whether the network is asked about an entity. The numbers that `accurate` knows are the rules', and the places
    /// the small model's, which knows them better.
    fn owns(&self, network: &Classifier, entity: Entity) -> bool {
        match self.selection.model() {
            Model::Accurate => entity == Entity::Person,
            Model::Rules | Model::Fast | Model::Named(_) => network.knows(entity),
        }
    }

    /// Adds what the network found. When it and the small model, whose findings are the first `ours` candidates in order
    /// of position, have found the same name, the two become one that covers both.
    fn add(&self, name: Name, ours: usize, candidates: &mut Vec<Candidate>) {
        let Some(found) = self.candidate(name, "network") else { return };
        let from = candidates[..ours].partition_point(|c| c.span.end <= found.span.start);
        match candidates[..ours].get_mut(from) {
            Some(same) if same.entity == found.entity && same.span.start < found.span.end => {
                same.span.start = same.span.start.min(found.span.start);
                same.span.end = same.span.end.max(found.span.end);
                same.score = same.score.max(found.score);
            }
            _ => candidates.push(found),
        }
    }

    fn candidate(&self, name: Name, recognizer: &'static str) -> Option<Candidate> {
        let Name { entity, span, score } = name;
        let evidence = match (entity, recognizer) {
            (_, "network") => Evidence::Network,
            (Entity::Person, _) => Evidence::Guess,
            _ => Evidence::Place,
        };
        let wanted = self.selection.threshold(entity).is_some_and(|least| score >= least);
        wanted.then_some(Candidate { entity, span, score, evidence, recognizer })
    }
}

/// Whether a span has something in common with one of `places`, which are in order.
fn touches(places: &[Range<usize>], span: &Range<usize>) -> bool {
    let next = places.partition_point(|place| place.end <= span.start);
    places.get(next).is_some_and(|place| place.start < span.end)
}
