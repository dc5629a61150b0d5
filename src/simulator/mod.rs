//! A world in which many Nodes of the daemon's own kind live, with one clock and one seed.
//!
//! The same scenario, viewers, seconds and seed give the same report, byte for byte, however many shards it is cut into
//! and in whatever order they work. Nothing here decides anything about delivery: that is the Nodes' own.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::iter_over_hash_type)]

mod bound;
mod broker;
mod carry;
mod content;
mod direct;
mod event;
mod host;
mod link;
mod network;
mod origin;
mod place;
mod plain;
mod plan;
mod player;
pub mod report;
mod said;
pub mod scenario;
mod shard;
mod story;
mod summary;
mod suspend;
mod tally;
#[cfg(test)]
mod tests;
mod world;

pub use shard::Shard;
pub use world::{Refused, World, run};
