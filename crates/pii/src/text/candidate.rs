//! What a recogniser reports before overlaps are resolved.

use std::ops::Range;

use crate::Entity;

/// Why a candidate is believed, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Evidence {
    /// The small model takes it for a person, or a configured model for anything else than names.
    Guess,
    /// A network takes it for a name.
    Network,
    /// The small model takes it for a place or an organisation.
    Place,
    /// It has the right shape.
    Pattern,
    /// It has the right shape and the words around it say what it is.
    Context,
    /// A checksum or a grammar that chance does not meet.
    Checksum,
}

/// A possible finding, in bytes of the normalised text. The span is never empty.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) entity: Entity,
    pub(super) span: Range<usize>,
    /// 0 to 1.
    pub(super) score: f32,
    pub(super) evidence: Evidence,
    pub(super) recognizer: &'static str,
}
