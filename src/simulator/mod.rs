//! A world in which many Nodes of the daemon's own kind live, with one clock and one seed.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::iter_over_hash_type)]

pub mod report;
