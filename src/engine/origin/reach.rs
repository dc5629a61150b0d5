//! Which addresses may be connected to, and how private each is.
//!
//! What a player names may be anywhere but at ourselves. What a manifest or a redirect names is never more private than
//! the host that named it: a public playlist can't make us ask the router.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::iter_over_hash_type)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, RwLock};

use url::Host;

/// How private an address may be that a request ends at; each class includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// Addresses of the public Internet.
    Public,
    /// Also what proxies on this machine let names of the Internet resolve to (198.18.0.0/15, of RFC 2544): they know which name is
    /// meant, we don't know where it leads. So it is as private as a network of our own to whoever is kept from that, and
    /// opens none to what was found there.
    StandIn,
    /// Also private networks (RFC 1918, RFC 4193, RFC 6598), link-local ones, and the public addresses next to our own.
    Lan,
    /// Also this machine, by its loopback or a public address, but never one of the daemon's own listeners.
    Loopback,
}

impl Reach {
    /// Every class.
    pub const ALL: [Self; 4] = [Self::Public, Self::StandIn, Self::Lan, Self::Loopback];
}

/// Cloud metadata services: never asked, whoever names them.
const METADATA: [Ipv4Addr; 6] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
];

/// What hosts files call this machine.
const OWN_NAMES: [&str; 5] =
    ["localhost", "localhost.localdomain", "localhost6", "ip6-localhost", "ip6-loopback"];

/// How private an address is; `None` when nobody may ask it: unspecified, multicast, broadcast, reserved, metadata, and
/// forms that hide another address.
#[must_use]
pub fn class(address: IpAddr) -> Option<Reach> {
    match address {
        IpAddr::V4(v4) => class_v4(v4),
        IpAddr::V6(v6) => class_v6(v6),
    }
}

fn class_v4(v4: Ipv4Addr) -> Option<Reach> {
    let [a, b, c, _] = v4.octets();
    if METADATA.contains(&v4) || v4.is_multicast() || v4.is_broadcast() || a == 0 || a >= 240 {
        return None;
    }
    // Documentation and protocol assignments (RFC 6890) lead nowhere.
    if v4.is_documentation() || (a, b, c) == (192, 0, 0) {
        return None;
    }
    if a == 198 && b & 0xFE == 18 {
        return Some(Reach::StandIn);
    }
    if v4.is_loopback() {
        return Some(Reach::Loopback);
    }
    let shared = a == 100 && b & 0xC0 == 64;
    if v4.is_private() || v4.is_link_local() || shared { Some(Reach::Lan) } else { Some(Reach::Public) }
}

fn class_v6(v6: Ipv6Addr) -> Option<Reach> {
    if let Some(v4) = v6.to_ipv4_mapped() {
        return class_v4(v4);
    }
    let s = v6.segments();
    if v6.is_loopback() {
        return Some(Reach::Loopback);
    }
    match s[0] {
        // NAT64 (RFC 6052): the address inside counts.
        0x64 if s[1..6] == [0xFF9B, 0, 0, 0, 0] => {
            let [.., a, b, c, d] = v6.octets();
            class_v4(Ipv4Addr::new(a, b, c, d))
        }
        // Unspecified, IPv4-compatible, and what else lies below 2000::/3.
        0..0x2000 => None,
        // Teredo, documentation, ORCHID; 6to4.
        0x2001 if s[1] == 0 || s[1] == 0xDB8 || s[1] & 0xFFF0 == 0x20 => None,
        0x2002 => None,
        0x2000..0x4000 => Some(Reach::Public),
        0xFD00 if s[1] == 0xEC2 => None,
        0xFD20 if s[1] == 0xCE => None,
        0xFC00..0xFE00 | 0xFE80..0xFEC0 => Some(Reach::Lan),
        _ => None,
    }
}

/// How private a host is as far as its name tells, which others will look up: this machine's name for itself, one that only
/// a network gives (RFC 6761, RFC 6762, RFC 8375), or one of the Internet's, whatever that leads to.
#[must_use]
pub fn class_of_host<S: AsRef<str>>(host: &Host<S>) -> Option<Reach> {
    match host {
        Host::Ipv4(ip) => class((*ip).into()),
        Host::Ipv6(ip) => class((*ip).into()),
        Host::Domain(name) => {
            let name = name.as_ref().to_ascii_lowercase();
            let name = name.trim_end_matches('.');
            let own = OWN_NAMES.contains(&name) || name.ends_with(".localhost");
            let reach = if is_local_name(name) { Reach::Lan } else { Reach::Public };
            Some(if own { Reach::Loopback } else { reach })
        }
    }
}

/// A name that is no public one: without a dot, or under one that networks give themselves.
#[must_use]
pub fn is_local_name(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    !name.contains('.')
        || [".local", ".lan", ".home.arpa", ".internal", ".localdomain"].iter().any(|end| name.ends_with(end))
}

/// How private a public address is to whom packets to it leave from `source`: one of this machine's own, or of its network
/// where that can be told (a /64), no more than a private one. With IPv6 all machines have such, and whoever asks from within
/// comes past the firewall that keeps the Internet from them. Who has the next IPv4 address may be anybody.
#[must_use]
pub fn from_here(address: IpAddr, source: IpAddr) -> Reach {
    let (address, source) = (address.to_canonical(), source.to_canonical());
    let network = address.is_ipv6() && is_near(address, source);
    if address == source || network { Reach::Lan } else { Reach::Public }
}

/// Of one network, as far as addresses tell: a /64 (RFC 4291 §2.5.1), or a /24.
#[must_use]
pub fn is_near(one: IpAddr, other: IpAddr) -> bool {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => one.octets()[..3] == other.octets()[..3],
        (IpAddr::V6(one), IpAddr::V6(other)) => one.segments()[..4] == other.segments()[..4],
        _ => false,
    }
}

/// The addresses at which this daemon listens itself; a request that would end there is a loop.
#[derive(Clone, Debug, Default)]
pub struct OwnListeners(Arc<RwLock<Vec<SocketAddr>>>);

impl OwnListeners {
    /// Another listener is open.
    pub fn add(&self, address: SocketAddr) {
        if let Ok(mut own) = self.0.write() {
            own.push(address);
        }
    }

    /// Whether a connection to `address` would come back to us.
    #[must_use]
    pub fn is_own(&self, address: SocketAddr) -> bool {
        let Ok(own) = self.0.read() else { return true };
        let ip = canonical(address.ip());
        own.iter().filter(|own| own.port() == address.port()).any(|own| {
            // A listener on all addresses, or any loopback address with our port: it is us as far as can be told.
            own.ip().is_unspecified() || canonical(own.ip()) == ip || ip.is_loopback()
        })
    }

    /// Whether a listener of ours has this port.
    #[must_use]
    pub fn has_port(&self, port: u16) -> bool {
        self.0.read().is_ok_and(|own| own.iter().any(|own| own.port() == port))
    }
}

fn canonical(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_classed() {
        use Reach::{Lan, Loopback, Public, StandIn};
        for (address, expected) in [
            ("1.1.1.1", Some(Public)),
            ("8.8.8.8", Some(Public)),
            ("223.255.255.1", Some(Public)),
            ("2606:4700::1111", Some(Public)),
            ("64:ff9b::1.1.1.1", Some(Public)),
            ("10.0.0.1", Some(Lan)),
            ("172.16.9.9", Some(Lan)),
            ("172.32.0.1", Some(Public)),
            ("192.168.1.1", Some(Lan)),
            ("169.254.1.1", Some(Lan)),
            ("100.64.0.1", Some(Lan)),
            ("100.128.0.1", Some(Public)),
            ("fd12::1", Some(Lan)),
            ("fe80::1", Some(Lan)),
            ("::ffff:10.0.0.1", Some(Lan)),
            ("64:ff9b::10.0.0.1", Some(Lan)),
            ("127.0.0.1", Some(Loopback)),
            ("127.9.9.9", Some(Loopback)),
            ("::1", Some(Loopback)),
            ("::ffff:127.0.0.1", Some(Loopback)),
            ("0.0.0.0", None),
            ("0.1.2.3", None),
            ("::", None),
            ("::127.0.0.1", None),
            ("169.254.169.254", None),
            ("169.254.170.23", None),
            ("fd00:ec2::23", None),
            ("::ffff:169.254.169.254", None),
            ("64:ff9b::169.254.169.254", None),
            ("100.100.100.200", None),
            ("168.63.129.16", None),
            ("192.0.0.192", None),
            ("fd00:ec2::254", None),
            ("fd20:ce::254", None),
            ("224.0.0.1", None),
            ("255.255.255.255", None),
            ("240.0.0.1", None),
            ("ff02::1", None),
            ("2002:7f00:1::", None),
            ("2001::1", None),
            ("2001:db8::1", None),
            ("192.0.2.1", None),
            ("198.18.0.1", Some(StandIn)),
            ("198.19.255.1", Some(StandIn)),
            ("::ffff:198.18.0.1", Some(StandIn)),
            ("198.17.255.255", Some(Public)),
            ("198.20.0.1", Some(Public)),
        ] {
            assert_eq!(class(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn hosts_are_classed_by_what_their_names_say() {
        use Reach::{Lan, Loopback, Public};
        for (host, expected) in [
            ("localhost", Some(Loopback)),
            ("LocalHost.", Some(Loopback)),
            ("a.localhost", Some(Loopback)),
            ("localhost.localdomain", Some(Loopback)),
            ("localhost.example", Some(Public)),
            ("nas", Some(Lan)),
            ("nas.", Some(Lan)),
            ("nas.lan", Some(Lan)),
            ("printer.local.", Some(Lan)),
            ("db.internal", Some(Lan)),
            ("o.example", Some(Public)),
            ("2130706433", Some(Loopback)),
            ("0x7f.1", Some(Loopback)),
            ("0xa9fea9fe", None),
            ("192.168.1", Some(Lan)),
            ("[::ffff:10.0.0.1]", Some(Lan)),
            ("1.1.1.1.", Some(Public)),
        ] {
            assert_eq!(class_of_host(&Host::parse(host).unwrap()), expected, "{host}");
        }
    }

    #[test]
    fn a_public_address_is_as_private_as_where_it_is() {
        for (address, source, expected) in [
            ("2606:4700:1:2::7", "2606:4700:1:2::7", Reach::Lan),
            ("2606:4700:1:2::7", "2606:4700:1:2:abcd::1", Reach::Lan),
            ("2606:4700:1:3::7", "2606:4700:1:2::7", Reach::Public),
            ("2606:4700:1:3::7", "fd00::7", Reach::Public),
            ("9.9.9.9", "9.9.9.9", Reach::Lan),
            ("::ffff:9.9.9.9", "9.9.9.9", Reach::Lan),
            ("9.9.9.9", "9.9.9.1", Reach::Public),
            ("9.9.8.9", "9.9.9.9", Reach::Public),
            ("9.9.9.9", "192.168.1.5", Reach::Public),
        ] {
            let expected = (address, source, expected);
            let judged = from_here(address.parse().unwrap(), source.parse().unwrap());
            assert_eq!((address, source, judged), expected);
        }
    }

    #[test]
    fn our_own_listeners_are_known_in_every_form() {
        let own = OwnListeners::default();
        own.add("127.0.0.1:7223".parse().unwrap());
        for (address, loops) in [
            ("127.0.0.1:7223", true),
            ("127.0.0.2:7223", true),
            ("[::1]:7223", true),
            ("[::ffff:127.0.0.1]:7223", true),
            ("127.0.0.1:7224", false),
            ("1.1.1.1:7223", false),
        ] {
            assert_eq!(own.is_own(address.parse().unwrap()), loops, "{address}");
        }
    }
}
