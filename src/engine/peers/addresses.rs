//! Where the sockets of a connection are bound.

use std::net::{IpAddr, SocketAddr};

use crate::engine::sdp;

/// Addresses of this machine. Unless they are given, the machine is asked anew for each connection: it may have none yet
/// when the daemon is started, and another one whenever it changes networks.
#[derive(Clone, Debug)]
pub struct Addresses {
    given: Vec<IpAddr>,
    port: u16,
    ask: fn() -> Vec<IpAddr>,
}

impl Addresses {
    /// Those that are given, or else those towards the Internet; from `port` on, or at ports of the system's choice (0).
    #[must_use]
    pub fn new(given: Vec<IpAddr>, port: u16) -> Self {
        Self { given, port, ask: sdp::default_addresses }
    }

    /// Whether each connection takes a port of its own above the configured one.
    #[must_use]
    pub fn are_counted(&self) -> bool {
        self.port != 0
    }

    /// Those of this moment, as they count for where peers may be; none while there is no network.
    #[must_use]
    pub fn now(&self) -> Vec<IpAddr> {
        if self.given.is_empty() { (self.ask)() } else { self.given.clone() }
    }

    /// Those of this moment for the connection that is `above` the configured port.
    #[must_use]
    pub fn at(&self, above: u16) -> Vec<SocketAddr> {
        let port = if self.are_counted() { self.port.saturating_add(above) } else { 0 };
        self.now().into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn the_machine_is_asked_each_time_unless_it_is_told() {
        thread_local!(static NOW: RefCell<Vec<IpAddr>> = const { RefCell::new(Vec::new()) });
        let mut addresses =
            Addresses { given: Vec::new(), port: 50_000, ask: || NOW.with_borrow(Vec::clone) };
        assert!(addresses.at(0).is_empty(), "the link is not up yet");
        for ips in [&["10.1.0.5"][..], &["192.168.7.9", "2001:4860::5"]] {
            let ips: Vec<IpAddr> = ips.iter().map(|ip| ip.parse().unwrap()).collect();
            NOW.set(ips.clone());
            let at: Vec<_> = ips.into_iter().map(|ip| SocketAddr::new(ip, 50_002)).collect();
            assert_eq!(addresses.at(2), at);
        }
        addresses.given = vec!["10.1.0.5".parse().unwrap()];
        assert_eq!(addresses.now(), addresses.given);
        addresses.port = 0;
        assert_eq!(addresses.at(7)[0].port(), 0, "the system chooses");
    }
}
