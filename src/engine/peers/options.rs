//! What the P2P side is started with, and what the `[ice]` section makes of it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use url::Url;

use super::addresses::Addresses;
use super::owner::CONNECTIONS;
use crate::engine::sdp::LOWEST_PORT;
use crate::model::ids::PeerId;

/// The `[ice]` section of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IceOptions {
    /// STUN servers, such as `stun:stun.example:3478`. Empty: the trackers' own, at the same host and port; `none`: none.
    pub stun: Vec<String>,
    /// TURN servers, which relay where nothing else works, such as `turn:user:secret@turn.example:3478`.
    pub turn: Vec<String>,
    /// The first of 96 UDP ports that connections take; 0 lets the system choose.
    pub udp_port: u16,
    /// Addresses of this machine to use. Empty: the one towards the Internet, whichever it is at the time.
    pub addresses: Vec<IpAddr>,
    /// Also connect to private addresses that are not of our own network.
    pub lan: bool,
}

/// The highest port from which on there is one for each connection.
const HIGHEST_PORT: u16 = u16::MAX - (CONNECTIONS as u16 - 1);

/// What of the section can't be used. What a server says may hold a secret, so it is told by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadIce {
    /// Of `ice.stun`.
    #[error("number {0} is no server; write it like `stun:stun.example:3478`, or `none` alone")]
    Stun(usize),
    /// Of `ice.turn`.
    #[error("number {0} is no server; write it like `turn:user:secret@turn.example:3478`")]
    Turn(usize),
    /// `ice.udp_port` leaves no room, or is where viewers take no packets from.
    #[error(
        "of the {CONNECTIONS} ports from {0} on not all can be used; write {LOWEST_PORT} to {HIGHEST_PORT}, or 0"
    )]
    Port(u16),
}

impl BadIce {
    /// The key of the section that it stands under.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::Stun(_) => "stun",
            Self::Turn(_) => "turn",
            Self::Port(_) => "udp_port",
        }
    }

    /// Which one of a list, from 0.
    #[must_use]
    pub fn entry(&self) -> Option<usize> {
        match self {
            Self::Stun(number) | Self::Turn(number) => Some(number - 1),
            Self::Port(_) => None,
        }
    }
}

impl IceOptions {
    /// Whether servers are written as servers, and ports can be used.
    ///
    /// # Errors
    /// Which is not.
    pub fn check(&self) -> Result<(), BadIce> {
        if self.udp_port != 0 && !(LOWEST_PORT..=HIGHEST_PORT).contains(&self.udp_port) {
            return Err(BadIce::Port(self.udp_port));
        }
        let none = matches!(self.stun.as_slice(), [none] if none == "none");
        let is_stun = |server: &String| {
            server.split_once(':').is_some_and(|(scheme, host)| {
                matches!(scheme, "stun" | "stuns") && !host.contains(['@', '?']) && is_host(host)
            })
        };
        if let Some(at) = self.stun.iter().position(|server| !is_stun(server)).filter(|_| !none) {
            return Err(BadIce::Stun(at + 1));
        }
        match self.turn.iter().position(|server| !is_turn(server)) {
            Some(at) => Err(BadIce::Turn(at + 1)),
            None => Ok(()),
        }
    }
}

fn is_turn(server: &str) -> bool {
    let Some((scheme, rest)) = server.split_once(':') else { return false };
    let Some((who, host)) = rest.rsplit_once('@') else { return false };
    let known = who.split_once(':').is_some_and(|(user, secret)| !user.is_empty() && !secret.is_empty());
    let (host, transport) = host.split_once('?').unwrap_or((host, "transport=udp"));
    matches!(scheme, "turn" | "turns")
        && known
        && matches!(transport, "transport=udp" | "transport=tcp")
        && is_host(host)
}

/// `host` or `host:port`.
fn is_host(text: &str) -> bool {
    let url = Url::parse(&format!("x://{text}")).ok();
    !text.contains('/') && url.is_some_and(|url| url.host_str().is_some_and(|host| !host.is_empty()))
}

/// A STUN or TURN server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IceServer {
    /// `stun:host:port` or `turn:host:port`.
    pub url: String,
    /// For TURN.
    pub username: String,
    /// For TURN.
    pub credential: String,
}

/// What opens trackers and relays to us: secrets, which may be others while the P2P side runs. What is opened from then on
/// is opened with those.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// A tracker's admission token, where it wants one.
    pub token: String,
    /// STUN and TURN.
    pub ice_servers: Vec<IceServer>,
}

impl Access {
    /// What the configuration means on this machine.
    #[must_use]
    pub fn new(ice: &IceOptions, trackers: &[Url], token: String) -> Self {
        Self { token, ice_servers: ice_servers(ice, if on_loopback(trackers) { &[] } else { trackers }) }
    }
}

/// What the P2P side is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who we are.
    pub me: PeerId,
    /// Trackers, in the order of their indices.
    pub trackers: Vec<Url>,
    /// What opens those trackers, and relays.
    pub access: watch::Receiver<Access>,
    /// Where sockets are bound.
    pub addresses: Addresses,
    /// Private addresses are tried anyway.
    pub lan: bool,
    /// How long candidates are gathered.
    pub gathering: Duration,
    /// How long from an offer or answer to an open channel.
    pub opening: Duration,
    /// How long an offer waits for an answer.
    pub offer_life: Duration,
    /// ICE: a peer is disconnected after this silence …
    pub disconnected: Duration,
    /// … and given up after this.
    pub failed: Duration,
    /// ICE: a sign of life this often.
    pub keep_alive: Duration,
    /// ICE: time between two checks.
    pub check_interval: Duration,
    /// ICE: checks of one candidate pair.
    pub checks: u16,
    /// A peer may say one thing in this time, besides the pieces that it was asked for …
    pub message_each: Duration,
    /// … and so many at once; then it is read no further for a while.
    pub messages_at_once: u32,
    /// How long connecting to a tracker may take.
    pub tracker_connecting: Duration,
    /// How often a silent tracker is asked for a sign of life.
    pub tracker_ping: Duration,
    /// In so much time a tracker's complaints are passed on a few times only.
    pub complaints_each: Duration,
}

impl Options {
    /// What the configuration means on this machine.
    #[must_use]
    pub fn new(me: PeerId, ice: &IceOptions, trackers: Vec<Url>, access: watch::Receiver<Access>) -> Self {
        let addresses = if !ice.addresses.is_empty() {
            ice.addresses.clone()
        } else if on_loopback(&trackers) {
            vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]
        } else {
            Vec::new()
        };
        Self {
            me,
            trackers,
            access,
            addresses: Addresses::new(addresses, ice.udp_port),
            lan: ice.lan,
            gathering: Duration::from_secs(5),
            opening: Duration::from_secs(15),
            offer_life: Duration::from_secs(50),
            disconnected: Duration::from_secs(4),
            failed: Duration::from_secs(4),
            keep_alive: Duration::from_millis(1500),
            check_interval: Duration::from_millis(40),
            checks: 75,
            message_each: Duration::from_millis(2),
            messages_at_once: 2000,
            tracker_connecting: Duration::from_secs(10),
            tracker_ping: Duration::from_secs(45),
            complaints_each: Duration::from_secs(60),
        }
    }
}

/// Viewers that meet on this machine only stay on it.
fn on_loopback(trackers: &[Url]) -> bool {
    let local = |url: &Url| match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    !trackers.is_empty() && trackers.iter().all(local)
}

/// A tracker's address with the admission token, as it is connected to.
#[must_use]
pub fn with_token(tracker: &Url, token: &str) -> Url {
    let mut url = tracker.clone();
    if !token.is_empty() {
        url.query_pairs_mut().append_pair("token", token);
    }
    url
}

/// The STUN servers that the configuration means, as `stun:host:port`.
#[must_use]
pub fn stun_servers(ice: &IceOptions, trackers: &[Url]) -> Vec<String> {
    let servers = ice_servers(ice, trackers).into_iter().map(|server| server.url);
    servers.filter(|url| url.starts_with("stun:")).collect()
}

fn ice_servers(ice: &IceOptions, trackers: &[Url]) -> Vec<IceServer> {
    let plain = |url: String| IceServer { url, ..IceServer::default() };
    let mut servers: Vec<IceServer> = match ice.stun.as_slice() {
        [none] if none == "none" => Vec::new(),
        [] => trackers
            .iter()
            .filter_map(|url| {
                Some(plain(format!("stun:{}:{}", url.host_str()?, url.port_or_known_default()?)))
            })
            .collect(),
        listed => listed.iter().cloned().map(plain).collect(),
    };
    for turn in &ice.turn {
        let (scheme, rest) = turn.split_once(':').unwrap_or(("turn", turn));
        let (user, host) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (username, credential) = user.split_once(':').unwrap_or((user, ""));
        servers.push(IceServer {
            url: format!("{scheme}:{host}"),
            username: username.to_owned(),
            credential: credential.to_owned(),
        });
    }
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_has_a_port_that_others_believe() {
        for (udp_port, fine) in [
            (0, true),
            (443, false),
            (1024, true),
            (50_000, true),
            (65_440, true),
            (65_441, false),
            (65_535, false),
        ] {
            let ice = IceOptions { udp_port, ..IceOptions::default() };
            assert_eq!(ice.check().is_ok(), fine, "{udp_port}");
        }
        assert!(BadIce::Port(65_441).to_string().contains("1024 to 65440"));
    }

    #[test]
    fn a_token_is_one_more_parameter() {
        let url: Url = "wss://t.example/announce?a=b".parse().unwrap();
        assert_eq!(with_token(&url, ""), url);
        assert_eq!(with_token(&url, "x y&").as_str(), "wss://t.example/announce?a=b&token=x+y%26");
    }
}
