//! The `[tracker_server]` section of the configuration.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::networks::{self, Named, Network};

/// The `[tracker_server]` section of the configuration: the service that `paceline tracker` runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The address to listen on, TCP for the tracker and UDP for STUN. A tracker is for others, so it is all addresses.
    pub listen: SocketAddr,
    /// A certificate file (PEM); with it and `key` the tracker speaks `wss`. Read again when it changes.
    pub certificate: PathBuf,
    /// The key of the certificate (PEM).
    pub key: PathBuf,
    /// How often viewers announce themselves, in seconds. Shorter is fresher and more work.
    pub interval_s: u64,
    /// Answer STUN binding requests on the UDP port of the same number.
    pub stun: bool,
    /// Connections at the same time.
    pub max_connections: usize,
    /// Connections of one network (/24 or /48) at the same time.
    pub max_per_network: usize,
    /// Swarms at the same time.
    pub max_swarms: usize,
    /// Web origins whose pages may connect, such as `https://player.example`. Empty: any.
    pub allowed_origins: Vec<String>,
    /// Names of networks that the statistics tell apart, such as `berlin=10.1.0.0/16`; at most 64 names. Everything else
    /// is `other`.
    pub networks: Vec<Named>,
    /// Networks that may see the page, `/stats` and `/metrics`, besides this machine, such as `10.0.0.0/8`.
    pub stats_from: Vec<Network>,
    /// A token that opens them from anywhere: `/?token=TOKEN`, or `Authorization: Bearer TOKEN`. Empty: none.
    pub stats_token: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 7224)),
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            interval_s: 120,
            stun: true,
            max_connections: 20_000,
            max_per_network: 2_000,
            max_swarms: 10_000,
            allowed_origins: Vec::new(),
            networks: Vec::new(),
            stats_from: Vec::new(),
            stats_token: String::new(),
        }
    }
}

impl Options {
    /// These options with what of `new` holds without a restart: who may see the numbers, whose pages may connect, and
    /// the connections of one network.
    #[must_use]
    pub fn reloaded(&self, new: &Self) -> Self {
        Self {
            allowed_origins: new.allowed_origins.clone(),
            stats_from: new.stats_from.clone(),
            stats_token: new.stats_token.clone(),
            max_per_network: new.max_per_network,
            ..self.clone()
        }
    }

    /// Whether each key by itself can be used; what files say is [`super::check`]'s.
    ///
    /// # Errors
    /// Which can't.
    pub fn check(&self) -> Result<(), BadOptions> {
        if !INTERVAL_S.contains(&self.interval_s) {
            return Err(BadOptions::Interval);
        }
        let most = networks::MOST;
        match networks::beyond(&self.networks) {
            Some((at, name)) => Err(BadOptions::Network { at, name: name.to_owned(), most }),
            None => Ok(()),
        }
    }

    /// How often viewers are told to announce themselves.
    pub(super) fn interval(&self) -> Duration {
        Duration::from_secs(self.interval_s.clamp(*INTERVAL_S.start(), *INTERVAL_S.end()))
    }
}

/// Seconds between two announcements: fewer would be work for nothing, and with more nobody would know who is there.
const INTERVAL_S: RangeInclusive<u64> = 10..=3_600;

/// A mistake in the options.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadOptions {
    /// Viewers would announce themselves too often or too seldom.
    #[error("it is out of range; write {} to {}", INTERVAL_S.start(), INTERVAL_S.end())]
    Interval,
    /// More names of networks than can be told apart.
    #[error("`{name}` (number {}) is one name too many: {most} are told apart; one name may stand for several networks", .at + 1)]
    Network {
        /// Which entry, from 0.
        at: usize,
        /// Its name.
        name: String,
        /// Names there may be.
        most: usize,
    },
}

impl BadOptions {
    /// The key that is wrong.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::Interval => "interval_s",
            Self::Network { .. } => "networks",
        }
    }

    /// Which one of a list, from 0.
    #[must_use]
    pub fn entry(&self) -> Option<usize> {
        match self {
            Self::Interval => None,
            Self::Network { at, .. } => Some(*at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_brought_into_range_or_left_out_is_refused() {
        for (interval_s, fine) in [(9, false), (10, true), (3_600, true), (3_601, false)] {
            let options = Options { interval_s, ..Options::default() };
            assert_eq!(options.check().is_ok(), fine, "{interval_s}");
            assert_eq!(options.interval() == Duration::from_secs(interval_s), fine, "{interval_s}");
        }
        let named = |names: usize| {
            let networks = (0..names * 2).map(|n| format!("n{}=10.{n}.0.0/16", n % names).parse().unwrap());
            Options { networks: networks.collect(), ..Options::default() }
        };
        assert_eq!(named(64).check(), Ok(()), "a name may stand for several");
        let error = named(65).check().unwrap_err();
        assert_eq!((error.key(), error.entry()), ("networks", Some(64)));
        assert!(
            error.to_string().contains("`n64` (number 65)") && error.to_string().contains("64 are"),
            "{error}"
        );
    }
}
