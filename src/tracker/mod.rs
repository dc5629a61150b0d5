//! The tracker: who is in which swarm ([`swarms`], pure), and the service that speaks for it.

#[cfg(feature = "daemon")]
mod access;
mod accounts;
#[cfg(feature = "daemon")]
mod answer;
#[cfg(feature = "daemon")]
mod connection;
#[cfg(feature = "daemon")]
mod events;
mod expiries;
#[cfg(feature = "daemon")]
mod history;
#[cfg(feature = "daemon")]
mod metrics;
mod names;
#[cfg(feature = "daemon")]
mod networks;
#[cfg(feature = "daemon")]
mod options;
#[cfg(feature = "daemon")]
mod page;
#[cfg(feature = "daemon")]
mod pulse;
#[cfg(feature = "daemon")]
mod refusals;
#[cfg(feature = "daemon")]
mod report;
#[cfg(feature = "daemon")]
mod service;
#[cfg(feature = "daemon")]
mod stun;
pub mod swarms;
#[cfg(test)]
mod tests;
#[cfg(feature = "daemon")]
mod tls;

#[cfg(feature = "daemon")]
pub use options::{BadOptions, Options};
#[cfg(feature = "daemon")]
pub use pulse::Pulse;
#[cfg(feature = "daemon")]
pub use service::{Bound, Error, bind, check, inherit, run, run_with};
#[cfg(feature = "daemon")]
pub use stun::respond as stun_response;
