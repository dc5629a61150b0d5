//! The `[proxy]` and `[channels.NAME]` sections of the configuration.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::delivery::policy::{Terms, prefetch};
use crate::manifest::identity::Naming;

/// The `[proxy]` section of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The address players are pointed at. Other machines reach the daemon only with `allowed_hosts` set as well.
    pub listen: SocketAddr,
    /// Names, besides this machine's own, under which players may address the daemon, such as `box.lan:7223`.
    pub allowed_hosts: Vec<String>,
    /// Web origins whose pages may play through the daemon, such as `https://player.example`. None by default.
    pub allowed_origins: Vec<String>,
    /// Ports that CONNECT may reach, besides 443.
    pub connect_ports: Vec<u16>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7223)),
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            connect_ports: Vec::new(),
        }
    }
}

/// A `[channels.NAME]` section: a short address for a stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// The stream's manifest.
    pub url: Url,
    /// What names its segments: "url", or "sequence" where each viewer is given other URLs (HLS).
    #[serde(default)]
    pub identity: Naming,
    /// Whether peers may be used for it, where `[p2p]` allows that at all.
    #[serde(default = "yes")]
    pub p2p: bool,
    /// Whether it may be uploaded, where `[p2p]` allows that at all.
    #[serde(default = "yes")]
    pub upload: bool,
    /// How far ahead of the player it is taken from peers, in seconds, instead of `[p2p]`'s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefetch_s: Option<f64>,
}

fn yes() -> bool {
    true
}

impl Channel {
    /// A channel that `[p2p]` alone speaks of.
    #[must_use]
    pub fn new(url: Url, identity: Naming) -> Self {
        Self { url, identity, p2p: true, upload: true, prefetch_s: None }
    }

    /// What its streams are kept from.
    #[must_use]
    pub fn terms(&self) -> Terms {
        Terms { p2p: self.p2p, upload: self.upload, prefetch: self.prefetch_s.map(prefetch) }
    }
}
