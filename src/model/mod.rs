//! The words everything else is written in; imports nothing of ours.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::iter_over_hash_type)]

pub mod address;
pub mod ids;
pub mod shown;
pub mod time;
pub mod timeline;
pub mod units;
