//! What of a session description is believed, and what we tell.
//!
//! A description comes from a stranger by way of a tracker. Every candidate in it makes the stack send packets to an
//! address of the stranger's choice, so there are few of them, and only to where another viewer can be.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::origin::reach::{self, Reach};

/// The longest description, in bytes.
pub const LONGEST: usize = 16 * 1024;
/// Candidates taken from one description; more are left out.
pub const CANDIDATES: usize = 8;
/// Ports below this belong to services, not to viewers.
pub const LOWEST_PORT: u16 = 1024;

/// Why a description is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Longer than [`LONGEST`].
    #[error("description of {0} bytes")]
    TooLong(usize),
    /// Not exactly one data section.
    #[error("description without exactly one data section")]
    Sections,
    /// No SHA-256 fingerprint: nobody could be held to it.
    #[error("description without a SHA-256 fingerprint")]
    Fingerprint,
    /// No address that may be tried.
    #[error("description without an address that may be tried")]
    NoCandidate,
}

/// The SHA-256 fingerprint of a certificate (RFC 8122 §5): who opens a connection has proved to hold its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

/// A stranger's description, looked through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// What may be handed to the stack.
    pub text: String,
    /// The only certificate that the stack takes by it.
    pub certificate: Fingerprint,
}

/// Where candidates may lead, from where we are ourselves.
#[derive(Clone, Debug, Default)]
pub struct Neighbourhood {
    /// Our own addresses.
    pub own: Vec<IpAddr>,
    /// Private addresses are tried whether or not we have one of the same network.
    pub lan: bool,
}

impl Neighbourhood {
    fn admits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        match reach::class(address) {
            // What stands in for names on one machine is none of another's addresses.
            None | Some(Reach::StandIn) => false,
            Some(Reach::Public) => true,
            Some(Reach::Loopback) => !self.own.is_empty() && self.own.iter().all(IpAddr::is_loopback),
            Some(Reach::Lan) => self.lan || self.own.iter().any(|own| same_network(*own, address)),
        }
    }
}

/// Private addresses are believed to be near when the first half of the address is ours.
fn same_network(own: IpAddr, other: IpAddr) -> bool {
    match (own, other) {
        (IpAddr::V4(own), IpAddr::V4(other)) => own.octets()[..2] == other.octets()[..2],
        (IpAddr::V6(own), IpAddr::V6(other)) => own.segments()[..4] == other.segments()[..4],
        _ => false,
    }
}

/// A stranger's description with only the candidates that may be tried, and one fingerprint: with several, whoever is held to one
/// could name another's beside it.
///
/// # Errors
/// When it is not one of a data channel, or nothing is left of it.
pub fn incoming(text: &str, around: &Neighbourhood) -> Result<Description, Refused> {
    if text.len() > LONGEST {
        return Err(Refused::TooLong(text.len()));
    }
    let lines = || text.lines().map(str::trim_end);
    let mut sections = lines().filter(|line| line.starts_with("m="));
    let data =
        sections.next().is_some_and(|m| m.starts_with("m=application ") && m.contains("webrtc-datachannel"));
    if !data || sections.next().is_some() {
        return Err(Refused::Sections);
    }
    let (told, certificate) =
        lines().find_map(|line| Some((line, fingerprint(line)?))).ok_or(Refused::Fingerprint)?;
    let (mut kept, mut named) = (String::with_capacity(text.len()), false);
    let mut candidates = 0;
    for line in lines() {
        if let Some(candidate) = line.strip_prefix("a=candidate:") {
            let may = candidates < CANDIDATES
                && address_of(candidate).is_some_and(|address| around.admits(address));
            if !may {
                continue;
            }
            candidates += 1;
        }
        let of_certificate = line.to_ascii_lowercase().starts_with("a=fingerprint");
        if of_certificate && (line != told || std::mem::replace(&mut named, true)) {
            continue;
        }
        kept.push_str(line);
        kept.push_str("\r\n");
    }
    if candidates == 0 { Err(Refused::NoCandidate) } else { Ok(Description { text: kept, certificate }) }
}

/// What a line says of a certificate's SHA-256.
fn fingerprint(line: &str) -> Option<Fingerprint> {
    const HEAD: &str = "a=fingerprint:sha-256 ";
    let is_one = line.get(..HEAD.len()).is_some_and(|head| head.eq_ignore_ascii_case(HEAD));
    let mut pairs = line.get(HEAD.len()..).filter(|_| is_one)?.split(':');
    let mut print = [0; 32];
    for byte in &mut print {
        let pair = pairs.next().filter(|pair| pair.len() == 2 && !pair.starts_with('+'))?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    pairs.next().is_none().then_some(Fingerprint(print))
}

/// Our own description, with each address once.
#[must_use]
pub fn outgoing(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    for line in text.lines().map(str::trim_end) {
        // The stack repeats every candidate for RTCP, which a data channel does not have.
        let component = line.strip_prefix("a=candidate:").and_then(|c| c.split_ascii_whitespace().nth(1));
        if component.is_some_and(|component| component != "1") {
            continue;
        }
        kept.push_str(line);
        kept.push_str("\r\n");
    }
    kept
}

/// Whether our own description says where others see us: by a STUN server's word, at a relay, or by a public address of our own.
#[must_use]
pub fn is_seen_from_outside(text: &str) -> bool {
    let mut candidates = text.lines().filter(|line| line.starts_with("a=candidate:"));
    candidates.any(|line| {
        let told = [" typ srflx", " typ relay"].iter().any(|kind| line.contains(kind));
        let own = line.strip_prefix("a=candidate:").and_then(address_of);
        told || own.and_then(reach::class) == Some(Reach::Public)
    })
}

/// The address of a UDP candidate (RFC 8839 §5.1) at a port a viewer may have.
fn address_of(candidate: &str) -> Option<IpAddr> {
    let mut fields = candidate.split_ascii_whitespace();
    let (_foundation, component) = (fields.next()?, fields.next()?);
    let (transport, _priority) = (fields.next()?, fields.next()?);
    let (address, port) = (fields.next()?, fields.next()?);
    let port: u16 = port.parse().ok()?;
    let usable = component == "1" && transport.eq_ignore_ascii_case("udp") && port >= LOWEST_PORT;
    // A host name (mDNS) would have to be asked for on the network: only in the browser's own interest.
    address.parse().ok().filter(|_| usable)
}

/// The addresses that this machine uses towards the Internet, one of each protocol that leads there; no packet is sent to find
/// out.
#[must_use]
pub fn default_addresses() -> Vec<IpAddr> {
    // Addresses that are documented to lead nowhere (RFC 5737, RFC 3849); connecting only asks the routing table.
    let v4 = towards((Ipv4Addr::UNSPECIFIED, 0).into(), (Ipv4Addr::new(192, 0, 2, 1), 9).into());
    let nowhere = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    let v6 = towards((Ipv6Addr::UNSPECIFIED, 0).into(), (nowhere, 9).into());
    v4.into_iter().chain(v6).collect()
}

fn towards(any: SocketAddr, there: SocketAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(there).ok()?;
    let own = socket.local_addr().ok()?.ip();
    // An address of one link (RFC 4291 §2.5.6) says nothing without that link.
    let of_link = matches!(own, IpAddr::V6(v6) if v6.is_unicast_link_local());
    (!own.is_unspecified() && !of_link).then_some(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn print(byte: u8) -> String {
        format!("a=fingerprint:sha-256 {}\r\n", vec![format!("{byte:02X}"); 32].join(":"))
    }

    fn description(candidates: &[&str]) -> String {
        let mut text = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
            m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n"
            .to_owned()
            + &print(0xAB);
        for candidate in candidates {
            text += &format!("a=candidate:{candidate}\r\n");
        }
        text
    }

    fn around(own: &str) -> Neighbourhood {
        Neighbourhood { own: vec![own.parse().unwrap()], lan: false }
    }

    fn kept(own: &str, candidates: &[&str]) -> usize {
        incoming(&description(candidates), &around(own))
            .map_or(0, |kept| kept.text.matches("a=candidate:").count())
    }

    #[test]
    fn only_addresses_where_a_viewer_can_be_are_tried() {
        for (own, candidate, tried) in [
            ("10.1.0.5", "1 1 udp 1 1.1.1.1 5000 typ host", true),
            ("10.1.0.5", "1 1 UDP 1 10.1.9.9 5000 typ host", true),
            ("10.1.0.5", "1 1 udp 1 10.2.9.9 5000 typ host", false),
            ("10.1.0.5", "1 1 udp 1 127.0.0.1 5000 typ host", false),
            ("127.0.0.1", "1 1 udp 1 127.0.0.1 5000 typ host", true),
            ("10.1.0.5", "1 1 udp 1 169.254.169.254 5000 typ host", false),
            ("10.1.0.5", "1 1 udp 1 224.0.0.1 5000 typ host", false),
            ("10.1.0.5", "1 1 udp 1 0.0.0.0 5000 typ host", false),
            ("10.1.0.5", "1 1 udp 1 ::ffff:127.0.0.1 5000 typ host", false),
            ("10.1.0.5", "1 1 udp 1 1.1.1.1 53 typ host", false),
            ("10.1.0.5", "1 1 tcp 1 1.1.1.1 5000 typ host tcptype active", false),
            ("10.1.0.5", "1 2 udp 1 1.1.1.1 5000 typ host", false),
            ("10.1.0.5", "1 1 udp 1 abc.local 5000 typ host", false),
            ("10.1.0.5", "1 1 udp 1 1.1.1.1", false),
        ] {
            assert_eq!(kept(own, &[candidate]) == 1, tried, "{candidate} from {own}");
        }
        let many: Vec<String> =
            (0..1000).map(|n| format!("{n} 1 udp 1 1.1.1.1 {} typ host", 2000 + n)).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(kept("10.1.0.5", &many[..200]), CANDIDATES);
        assert!(incoming(&description(&many), &around("10.1.0.5")).is_err(), "too long");
    }

    #[test]
    fn whoever_is_held_to_one_certificate_names_no_other() {
        let good = description(&["1 1 udp 1 1.1.1.1 5000 typ host"]);
        let read = |text: &str| incoming(text, &around("10.1.0.5")).map(|kept| (kept.certificate, kept.text));
        assert_eq!(read(&good), Ok((Fingerprint([0xAB; 32]), good.clone())));
        let other = "a=fingerprint:sha-1 00:11\r\na=FINGERPRINT:sha-256 22\r\n";
        for more in [&print(0xCD), &print(0xAB), other] {
            assert_eq!(read(&format!("{good}{more}")), Ok((Fingerprint([0xAB; 32]), good.clone())), "{more}");
        }
        assert_eq!(
            read(&good.replace("v=0", &format!("v=0\r\n{}", print(1).trim_end()))).unwrap().0.0,
            [1; 32]
        );
        for bad in ["AB", "+A", "ABC", "XY"] {
            let text = good.replacen("AB:", &format!("{bad}:"), 1);
            assert_eq!(read(&text).is_ok(), bad == "AB", "{bad}");
        }
        assert!(read(&good.replacen("AB:", "", 1)).is_err(), "too short");
        assert!(read(&good.replacen("AB:", "AB:AB:", 1)).is_err(), "too long");
    }

    #[test]
    fn who_has_a_public_address_needs_nobody_to_tell() {
        for (candidate, seen) in [
            ("1 1 udp 1 10.1.0.5 5000 typ host", false),
            ("1 1 udp 1 fd00::5 5000 typ host", false),
            ("1 1 udp 1 10.1.0.5 5000 typ srflx raddr 0.0.0.0 rport 0", true),
            ("1 1 udp 1 2a00:1450::5 5000 typ host", true),
            ("1 1 udp 1 1.1.1.1 5000 typ host", true),
        ] {
            assert_eq!(is_seen_from_outside(&description(&[candidate])), seen, "{candidate}");
        }
    }

    #[test]
    fn what_is_no_data_channel_is_refused() {
        let good = description(&["1 1 udp 1 1.1.1.1 5000 typ host"]);
        let refused = |text: &str| incoming(text, &around("10.1.0.5")).unwrap_err();
        assert_eq!(refused(&good.replace("sha-256", "sha-1")), Refused::Fingerprint);
        assert_eq!(refused(&good.replace("m=application", "m=audio")), Refused::Sections);
        assert_eq!(refused(&format!("{good}m=video 9 RTP 0\r\n")), Refused::Sections);
        assert_eq!(refused(&description(&[])), Refused::NoCandidate);
        assert_eq!(refused(&"x".repeat(LONGEST + 1)), Refused::TooLong(LONGEST + 1));
    }

    proptest! {
        #[test]
        fn what_is_left_always_keeps_the_rules(lines in proptest::collection::vec("[ -~]{0,60}", 0..30)) {
            let mut text = description(&["1 1 udp 1 1.1.1.1 5000 typ host"]);
            for line in lines {
                text += &format!("a=candidate:{line}\r\n");
            }
            if let Ok(Description { text: kept, certificate }) = incoming(&text, &around("10.1.0.5")) {
                prop_assert_eq!(certificate, Fingerprint([0xAB; 32]));
                let candidates: Vec<_> = kept.lines().filter_map(|l| l.strip_prefix("a=candidate:")).collect();
                prop_assert!(candidates.len() <= CANDIDATES);
                for candidate in candidates {
                    let address = address_of(candidate).unwrap();
                    prop_assert!(around("10.1.0.5").admits(address));
                }
            }
        }
    }
}
