//! What the P2P side is started with, and what the `[ice]` section makes of it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::engine::sdp;
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
    /// Addresses of this machine to use. Empty: the one towards the Internet.
    pub addresses: Vec<IpAddr>,
    /// Also connect to private addresses that are not of our own network.
    pub lan: bool,
}

/// A server that is none. What it says holds no secret, so the server is told by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadServer {
    /// Of `ice.stun`.
    #[error("number {0} is no server; write it like `stun:stun.example:3478`, or `none` alone")]
    Stun(usize),
    /// Of `ice.turn`.
    #[error("number {0} is no server; write it like `turn:user:secret@turn.example:3478`")]
    Turn(usize),
}

impl BadServer {
    /// The key of the configuration that it stands under.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::Stun(_) => "ice.stun",
            Self::Turn(_) => "ice.turn",
        }
    }
}

impl IceOptions {
    /// Whether servers are written as servers.
    ///
    /// # Errors
    /// Which is not.
    pub fn check(&self) -> Result<(), BadServer> {
        let none = matches!(self.stun.as_slice(), [none] if none == "none");
        let is_stun = |server: &String| {
            server.split_once(':').is_some_and(|(scheme, host)| {
                matches!(scheme, "stun" | "stuns") && !host.contains(['@', '?']) && is_host(host)
            })
        };
        if let Some(at) = self.stun.iter().position(|server| !is_stun(server)).filter(|_| !none) {
            return Err(BadServer::Stun(at + 1));
        }
        match self.turn.iter().position(|server| !is_turn(server)) {
            Some(at) => Err(BadServer::Turn(at + 1)),
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

/// What the P2P side is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who we are.
    pub me: PeerId,
    /// Trackers, in the order of their indices.
    pub trackers: Vec<Url>,
    /// A tracker's admission token, where it wants one.
    pub token: String,
    /// STUN and TURN.
    pub ice_servers: Vec<IceServer>,
    /// Where sockets are bound.
    pub addresses: Vec<SocketAddr>,
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
    /// How long connecting to a tracker may take.
    pub tracker_connecting: Duration,
    /// How often a silent tracker is asked for a sign of life.
    pub tracker_ping: Duration,
}

impl Options {
    /// What the configuration means on this machine.
    #[must_use]
    pub fn new(me: PeerId, ice: &IceOptions, trackers: Vec<Url>, token: String) -> Self {
        let local = |url: &Url| match url.host() {
            Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
            Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
            Some(url::Host::Domain(name)) => name == "localhost",
            None => false,
        };
        // Viewers that meet on this machine only stay on it.
        let loopback = !trackers.is_empty() && trackers.iter().all(local);
        let addresses = if !ice.addresses.is_empty() {
            ice.addresses.clone()
        } else if loopback {
            vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]
        } else {
            sdp::default_address().into_iter().collect()
        };
        let addresses = addresses.into_iter().map(|ip| SocketAddr::new(ip, ice.udp_port)).collect();
        let ice_servers = ice_servers(ice, if loopback { &[] } else { &trackers });
        Self {
            me,
            trackers,
            token,
            ice_servers,
            addresses,
            lan: ice.lan,
            gathering: Duration::from_secs(5),
            opening: Duration::from_secs(15),
            offer_life: Duration::from_secs(50),
            disconnected: Duration::from_secs(4),
            failed: Duration::from_secs(4),
            keep_alive: Duration::from_millis(1500),
            check_interval: Duration::from_millis(40),
            checks: 75,
            tracker_connecting: Duration::from_secs(10),
            tracker_ping: Duration::from_secs(45),
        }
    }
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
