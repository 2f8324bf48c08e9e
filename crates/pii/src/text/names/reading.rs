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
        let mut candidates = Vec::new();
        let mut hints = Vec::new();
        if any_of_ours {
            let read = names.find(self.text, self.stop)?;
            for name in read.names {
                // A configured network has the last word on what it knows.
                if !matches!(self.selection.model(), Model::Named(_)) || !owned(name.entity) {
                    candidates.extend(self.candidate(name, "names"));
                }
            }
            hints = read.hints;
        }
        if let Some(network) = network {
            let hints = if self.selection.model() == &Model::Accurate {
                hints
            } else {
                std::iter::once(0..self.text.len()).collect::<Vec<Range<usize>>>()
            };
            for name in network.find(self.text, &hints, self.stop, self.threads)? {
                if owned(name.entity) {
                    let name = Name { entity: name.entity, span: name.span, score: name.score };
                    self.add(name, &mut candidates);
                }
            }
        }
        Ok(candidates)
    }

    /// Whether the network is asked about an entity. The numbers that `accurate` knows are the rules'.
    fn owns(&self, network: &Classifier, entity: Entity) -> bool {
        match self.selection.model() {
            Model::Accurate => matches!(entity, Entity::Person | Entity::Location),
            Model::Rules | Model::Fast | Model::Named(_) => network.knows(entity),
        }
    }

    /// Adds what the network found. Two findings of one name become one that covers both.
    fn add(&self, name: Name, candidates: &mut Vec<Candidate>) {
        let Some(found) = self.candidate(name, "network") else { return };
        // Those of the small model come first, in order of position.
        let from = candidates.partition_point(|c| c.recognizer == "names" && c.span.end <= found.span.start);
        match candidates.get_mut(from) {
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
