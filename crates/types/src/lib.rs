//! Money, identifiers, moments and the form of signatures: the types that every part of farebox
//! shares. No I/O; only [`id::Timestamp::now`] reads the clock, for the edges of the program.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod id;
pub mod money;
pub mod secret;
pub mod signature;
