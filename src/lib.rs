//! paceline: players take most of a stream from other viewers, without knowing it.
//!
//! The modules in the order in which a request meets them; an import may only point further down this list.
// What comes from outside is answered for, never panicked over; tests may.
#![cfg_attr(not(test), deny(clippy::expect_used, clippy::unwrap_used))]
#![cfg_attr(not(test), deny(clippy::panic, clippy::todo, clippy::unimplemented, clippy::unreachable))]

/// The command line: one file per subcommand.
#[cfg(feature = "daemon")]
pub mod cli;
/// The configuration file, made of the modules' own options.
#[cfg(feature = "daemon")]
pub mod config;
/// Who fetches what, from whom, when; pure.
pub mod delivery;
/// Sockets, clock and memory: carries out what delivery decides.
#[cfg(feature = "daemon")]
pub mod engine;
/// Manifests: read, rewritten, turned into identities; pure.
pub mod manifest;
/// The words everything else is written in; pure.
pub mod model;
/// What the pages of daemon and tracker share.
#[cfg(feature = "daemon")]
pub mod page;
/// The face to players: HTTP in, manifests rewritten, segments answered.
#[cfg(feature = "daemon")]
pub mod proxy;
/// Many Nodes in a virtual network, with one clock and one seed; pure.
pub mod simulator;
/// The tracker service, which brings the viewers of a rendition together.
pub mod tracker;
/// A headless player, and a channel to play.
pub mod viewer;
/// Every byte format we speak; pure.
pub mod wire;
