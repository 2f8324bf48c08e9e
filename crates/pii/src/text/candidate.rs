//! Candidates: reports of recognisers before overlaps are resolved.

use std::ops::Range;

use crate::Entity;

/// Kind of evidence for a candidate, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Evidence {
    /// The small model labels it a person, or a configured model labels it something other than a name.
    Guess,
    /// A network labels it a name.
    Network,
    /// The small model labels it a place or an organisation.
    Place,
    /// Format alone.
    Pattern,
    /// Format, and words around it that name it.
    Context,
    /// Check digits, or a format that random text does not meet.
    Checksum,
}

/// Possible finding, in bytes of the normalised text. The span is never empty.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) entity: Entity,
    pub(super) span: Range<usize>,
    /// Confidence, 0 to 1.
    pub(super) score: f32,
    pub(super) evidence: Evidence,
    pub(super) recognizer: &'static str,
}
