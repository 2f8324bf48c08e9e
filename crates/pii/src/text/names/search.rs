//! Names in one text: those of the small model merged with those of a token classifier.

use std::{num::NonZeroUsize, ops::Range, sync::atomic::AtomicBool};

use super::NameRecognizer;
use crate::{
    Classifier, Entity, EntitySpan, RecognitionModel, Selection, Stopped,
    text::candidate::{Candidate, Evidence},
};

/// Search for names in one text.
pub(in crate::text) struct NameSearch<'r> {
    /// Normalised text.
    pub(in crate::text) text: &'r str,
    pub(in crate::text) selection: &'r Selection,
    pub(in crate::text) stop: &'r AtomicBool,
    pub(in crate::text) threads: NonZeroUsize,
}

impl NameSearch<'_> {
    /// Finds names by the small model, and by the classifier if there is one.
    ///
    /// # Errors
    /// [`Stopped`] soon after `stop` is set.
    pub(in crate::text) fn run(
        &self,
        names: &NameRecognizer,
        classifier: Option<&Classifier>,
    ) -> Result<Vec<Candidate>, Stopped> {
        let wanted = |entity| self.selection.threshold(entity).is_some();
        let decides_about = |entity| classifier.is_some_and(|classifier| self.decides(classifier, entity));
        let finds_names = NameRecognizer::ENTITIES.into_iter().any(wanted);
        let accurate = self.selection.model() == &RecognitionModel::Accurate;
        let mut candidates = Vec::new();
        let mut uncertain = Vec::new();
        if finds_names {
            let wants_uncertain = accurate && classifier.is_some() && wanted(Entity::Person);
            let read = names.find(self.text, wants_uncertain, self.stop)?;
            for name in read.names {
                // A configured classifier decides about the entities that it knows.
                if accurate || !decides_about(name.entity) {
                    candidates.extend(self.candidate(name, "names"));
                }
            }
            uncertain = read.uncertain;
        }
        let Some(classifier) = classifier else { return Ok(candidates) };
        let by_model = candidates.len();
        let regions = if accurate { uncertain } else { std::iter::once(0..self.text.len()).collect() };
        for name in classifier.find(self.text, &regions, self.stop, self.threads)? {
            if decides_about(name.entity) && touches(&regions, &name.span) {
                self.add(name, by_model, &mut candidates);
            }
        }
        Ok(candidates)
    }

    /// True if the classifier decides about an entity. Of `accurate`, it is people only: numbers are left to the
    /// rules, and places to the small model, which is better at them.
    fn decides(&self, classifier: &Classifier, entity: Entity) -> bool {
        match self.selection.model() {
            RecognitionModel::Accurate => entity == Entity::Person,
            RecognitionModel::Rules | RecognitionModel::Fast | RecognitionModel::Named(_) => {
                classifier.knows(entity)
            }
        }
    }

    /// Adds a name that the classifier found. If the small model, whose findings are the first `by_model` candidates in
    /// order of position, has found it too, the two become one that covers both.
    fn add(&self, name: EntitySpan, by_model: usize, candidates: &mut Vec<Candidate>) {
        let Some(found) = self.candidate(name, "network") else { return };
        let from = candidates[..by_model].partition_point(|c| c.span.end <= found.span.start);
        match candidates[..by_model].get_mut(from) {
            Some(same) if same.entity == found.entity && same.span.start < found.span.end => {
                same.span.start = same.span.start.min(found.span.start);
                same.span.end = same.span.end.max(found.span.end);
                same.score = same.score.max(found.score);
            }
            _ => candidates.push(found),
        }
    }

    fn candidate(&self, name: EntitySpan, recognizer: &'static str) -> Option<Candidate> {
        let EntitySpan { entity, span, score } = name;
        let evidence = match (entity, recognizer) {
            (_, "network") => Evidence::Network,
            (Entity::Person, _) => Evidence::Guess,
            _ => Evidence::Place,
        };
        let wanted = self.selection.threshold(entity).is_some_and(|least| score >= least);
        wanted.then_some(Candidate { entity, span, score, evidence, recognizer })
    }
}

/// True if a span overlaps one of `regions`, which are in order.
fn touches(regions: &[Range<usize>], span: &Range<usize>) -> bool {
    let next = regions.partition_point(|region| region.end <= span.start);
    regions.get(next).is_some_and(|region| region.start < span.end)
}
