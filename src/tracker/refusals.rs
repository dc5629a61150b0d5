//! Connections that are turned away because there are enough, and STUN requests that are not answered: counted by the limit
//! that they met, and said now and then. A viewer only sees that its connection ends, or that no answer comes, so whoever
//! runs the tracker has to hear which key to raise.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Each limit is spoken of this often at most.
const SAID_EACH: Duration = Duration::from_secs(60);

/// What there are enough of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Connections at the same time.
    Connections,
    /// Those of one network.
    PerNetwork,
    /// Answers over STUN to one network, in a time.
    Stun,
}

impl Limit {
    /// Those that connections meet.
    pub const OF_CONNECTIONS: [Self; 2] = [Self::Connections, Self::PerNetwork];

    /// The key of the configuration that sets it; so it is called in statistics, too.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Connections => "max_connections",
            Self::PerNetwork | Self::Stun => "max_per_network",
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Met {
    count: u64,
    said: Option<Instant>,
}

/// How often each limit was met.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<[Met; 3]>);

impl Refusals {
    /// A connection from there is turned away, or a request not answered, at a limit of `most`.
    pub fn refuse(&self, limit: Limit, most: usize, from: IpAddr) {
        if !self.is_news(limit, Instant::now()) {
            return;
        }
        match limit {
            Limit::Connections => tracing::warn!(
                "viewers are turned away: {most} connections are open; if there is memory for more, raise \
                 tracker_server.max_connections"
            ),
            Limit::PerNetwork => {
                let (network, bits) = of_network(from);
                tracing::warn!(
                    "viewers of {network}/{bits} are turned away: {most} connections of this one network are open; if \
                     many share an address, as a company's or all behind a reverse proxy, raise \
                     tracker_server.max_per_network"
                );
            }
            Limit::Stun => {
                let (network, bits) = of_network(from);
                tracing::warn!(
                    "viewers of {network}/{bits} don't hear where they are seen: {most} STUN requests of this one network are \
                     answered in ten seconds; if many share an address, as a company's, raise \
                     tracker_server.max_per_network"
                );
            }
        }
    }

    /// How often this limit was met since the start.
    #[must_use]
    pub fn count(&self, limit: Limit) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[limit as usize].count
    }

    /// Counts one; whether it is to be said, which it then is.
    fn is_news(&self, limit: Limit, now: Instant) -> bool {
        let met = &mut self.0.lock().unwrap_or_else(PoisonError::into_inner)[limit as usize];
        met.count += 1;
        let news = met.said.is_none_or(|said| now.saturating_duration_since(said) >= SAID_EACH);
        if news {
            met.said = Some(now);
        }
        news
    }
}

/// The network that an address counts for, as it is written.
fn of_network(address: IpAddr) -> (IpAddr, u8) {
    (super::service::network(address), if address.to_canonical().is_ipv4() { 24 } else { 48 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_each_limit_is_said_once_in_a_minute() {
        let (refusals, began) = (Refusals::default(), Instant::now());
        let mut said = [0; 2];
        for second in 0..150 {
            let now = began + Duration::from_secs(second);
            said[0] += u32::from(refusals.is_news(Limit::PerNetwork, now));
            said[1] += u32::from(second >= 100 && refusals.is_news(Limit::Connections, now));
        }
        assert_eq!(said, [3, 1]);
        assert_eq!(Limit::OF_CONNECTIONS.map(|limit| refusals.count(limit)), [50, 150]);
    }
}
