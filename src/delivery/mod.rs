//! Who fetches what, from whom, when: the P2P mind of one daemon.
//!
//! [`Node`] is told what happened ([`Input`]), answers with what to do ([`Output`]), and names the moment at which time
//! alone will change something ([`Wake`]). It deals in ids, piece numbers and lengths; bytes stay with the driver.
//! The daemon's brain and the simulator drive the very same code.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::iter_over_hash_type)]

pub mod account;
pub mod budget;
pub mod chance;
pub mod choices;
mod choose;
pub mod contest;
pub mod demand;
mod early;
mod eviction;
mod exchange;
pub mod fetches;
mod hearing;
mod house;
mod intake;
pub mod lottery;
mod membership;
pub mod neighbours;
mod node;
pub mod pace;
mod peering;
pub mod pieces;
pub mod policy;
mod report;
pub mod retry;
pub mod session;
pub mod shelf;
mod sparing;
mod supply;
mod switching;
#[cfg(test)]
mod tests;
mod turns;
mod upload;
mod view;
mod viewing;
pub mod waits;
mod wake;
pub mod words;

pub use exchange::{AskId, FetchId, Input, Output};
pub use {node::Node, report::Failure, report::Fault, report::Report, wake::Wake};
