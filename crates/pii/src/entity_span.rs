//! Span of a named entity, as the name model and token classifiers report it.

use std::ops::Range;

use crate::Entity;

/// Named entity and its place in a text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EntitySpan {
    pub(crate) entity: Entity,
    /// Bytes of the text.
    pub(crate) span: Range<usize>,
    /// Probability that the span is such an entity, 0 to 1.
    pub(crate) score: f32,
}
