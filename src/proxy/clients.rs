//! Whom the proxy serves, and how far into private networks each may lead it.
//!
//! What somebody names is never more private than where he stands: a daemon that listens for other machines is no way for
//! them into this one, nor a public page's way into the network of whoever looks at it. Only channels lead further, since the
//! user said where. Strangers are not served at all: an open proxy is found within hours.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use url::Url;

use crate::engine::origin::reach::{class_of_host, is_near};
use crate::engine::origin::{Reach, class};

/// Fields by which a reverse proxy says for whom it asks, and what it was asked. Not Via, which forward proxies send as well,
/// another daemon of the network among them: who is behind one of those stands where it does.
pub const FORWARDED: [&str; 10] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-forwarded-server",
    "x-real-ip",
    "x-client-ip",
    "cf-connecting-ip",
    "true-client-ip",
];

/// Those of them that say for whom: the others may change between two requests of one.
pub const ON_BEHALF: [&str; 6] =
    ["forwarded", "x-forwarded-for", "x-real-ip", "x-client-ip", "cf-connecting-ip", "true-client-ip"];

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its address.
    pub ip: IpAddr,
    /// How private an address may be that it leads us to; `None`: it is not served.
    pub reach: Option<Reach>,
}

impl Client {
    /// Who has connected from `peer` to our address `local`.
    #[must_use]
    pub fn new(peer: SocketAddr, local: Option<SocketAddr>) -> Self {
        let ip = peer.ip().to_canonical();
        Self { ip, reach: reach(ip, local.map(|local| local.ip().to_canonical())) }
    }

    /// Whoever asks with these fields: behind a reverse proxy that is anybody.
    #[must_use]
    pub fn of(self, fields: &HeaderMap) -> Self {
        let behind = FORWARDED.iter().any(|name| fields.contains_key(*name));
        Self { reach: self.reach.map(|reach| if behind { Reach::Public } else { reach }), ..self }
    }

    /// Whether it is on this machine or its private network.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.reach > Some(Reach::Public)
    }
}

fn reach(client: IpAddr, local: Option<IpAddr>) -> Option<Reach> {
    if client.is_loopback() || local == Some(client) {
        return Some(Reach::Loopback);
    }
    match class(client) {
        // What holds another address within itself is not at that address.
        Some(Reach::Loopback | Reach::Lan) => Some(Reach::Lan),
        // Networks whose machines have public addresses, as all have with IPv6: whose the next machine is can't be told.
        _ => local.is_some_and(|local| is_near(local, client)).then_some(Reach::Public),
    }
}

/// How private an address may be that a page of this web origin (RFC 6454) leads us to.
#[must_use]
pub fn of_page(origin: &str) -> Reach {
    let page = Url::parse(origin).ok();
    page.and_then(|page| class_of_host(&page.host()?)).unwrap_or(Reach::Public)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_leads_us_where_he_could_not_be_himself() {
        use Reach::{Lan, Loopback, Public};
        for (client, local, expected) in [
            ("127.0.0.1", "127.0.0.1", Some(Loopback)),
            ("::1", "::1", Some(Loopback)),
            ("::ffff:127.0.0.1", "::ffff:127.0.0.1", Some(Loopback)),
            ("192.168.1.5", "192.168.1.5", Some(Loopback)),
            ("192.168.1.6", "192.168.1.5", Some(Lan)),
            ("10.1.2.3", "192.168.1.5", Some(Lan)),
            ("fe80::2", "fe80::1", Some(Lan)),
            ("64:ff9b::127.0.0.1", "64:ff9b::1", Some(Lan)),
            ("2606:4700:1:2::7", "2606:4700:1:2::1", Some(Public)),
            ("2606:4700:1:3::7", "2606:4700:1:2::1", None),
            ("8.8.8.9", "8.8.8.8", Some(Public)),
            ("8.8.8.8", "192.168.1.5", None),
            ("0.0.0.0", "192.168.1.5", None),
        ] {
            let at = |text: &str| SocketAddr::new(text.parse().unwrap(), 9);
            let client_at = Client::new(at(client), Some(at(local)));
            assert_eq!(client_at.reach, expected, "{client} at {local}");
            assert_eq!(client_at.of(&HeaderMap::new()), client_at);
            let forwarded =
                HeaderMap::from_iter([("x-forwarded-for".parse().unwrap(), "8.8.8.8".parse().unwrap())]);
            assert_eq!(
                client_at.of(&forwarded).reach,
                expected.map(|_| Public),
                "{client} is a reverse proxy"
            );
        }
    }

    #[test]
    fn a_reverse_proxy_is_known_by_what_it_says_and_a_forward_proxy_is_none() {
        let here = Client { ip: IpAddr::from([127, 0, 0, 1]), reach: Some(Reach::Loopback) };
        for (field, reach) in [
            ("Forwarded", Reach::Public),
            ("X-Forwarded-For", Reach::Public),
            ("X-Forwarded-Host", Reach::Public),
            ("X-Forwarded-Proto", Reach::Public),
            ("X-Forwarded-Port", Reach::Public),
            ("X-Forwarded-Server", Reach::Public),
            ("X-Real-IP", Reach::Public),
            ("X-Client-IP", Reach::Public),
            ("CF-Connecting-IP", Reach::Public),
            ("True-Client-IP", Reach::Public),
            ("Via", Reach::Loopback),
            ("User-Agent", Reach::Loopback),
        ] {
            let fields = HeaderMap::from_iter([(field.parse().unwrap(), "x".parse().unwrap())]);
            assert_eq!(here.of(&fields).reach, Some(reach), "{field}");
        }
    }

    #[test]
    fn nor_does_a_page() {
        use Reach::{Lan, Loopback, Public};
        for (origin, expected) in [
            ("https://player.example", Public),
            ("https://player.example:8443", Public),
            ("http://93.184.216.34", Public),
            ("null", Public),
            ("http://127.0.0.1:8080", Loopback),
            ("http://[::1]", Loopback),
            ("http://localhost:3000", Loopback),
            ("http://192.168.1.9", Lan),
            ("http://nas.lan", Lan),
            ("http://nas", Lan),
            ("http://localhost.example", Public),
        ] {
            assert_eq!(of_page(origin), expected, "{origin}");
        }
    }
}
