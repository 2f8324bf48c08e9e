//! Grants as their wallet sees them.
