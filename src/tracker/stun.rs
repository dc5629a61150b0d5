//! STUN binding responses (RFC 8489 §6, §7, §14.2), so that a private deployment needs nobody else's server.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::watch;

use super::options::Options;
use super::refusals::{Limit, Refusals};
use super::service::network;

const COOKIE: u32 = 0x2112_A442;
const HEADER: usize = 20;
/// Answers to one network per [`WINDOW`], for each connection that it may have: a viewer asks once for each of its offers, ten
/// at most at a time, and for each offer that it answers. The answer is little larger than the question, and no flood is
/// worth it.
const ANSWERS_EACH: usize = 20;
const WINDOW: Duration = Duration::from_secs(10);
/// Networks that are counted; past it everybody is answered until the window ends.
const COUNTED: usize = 10_000;

/// Answers binding requests for ever; the caller ends it.
pub async fn run(socket: UdpSocket, options: watch::Receiver<Options>, refusals: Arc<Refusals>) {
    let mut request = [0; 1500];
    let mut answered = Answered { networks: HashMap::new(), window: Instant::now() };
    loop {
        // An error is the echo of an answer that did not arrive: the next request is another one.
        let Ok((length, from)) = socket.recv_from(&mut request).await else { continue };
        let Some(response) = respond(&request[..length], from) else { continue };
        let most = most(options.borrow().max_per_network);
        if answered.may(from.ip(), most, Instant::now()) {
            let _ = socket.send_to(&response, from).await;
        } else {
            refusals.refuse(Limit::Stun, most, from.ip());
        }
    }
}

/// Answers to a network that may have so many connections.
fn most(connections: usize) -> usize {
    connections.saturating_mul(ANSWERS_EACH)
}

/// Answers of this window, by network.
struct Answered {
    networks: HashMap<IpAddr, usize>,
    window: Instant,
}

impl Answered {
    /// Whether one more answer may go there, where a network gets so many; it is counted then.
    fn may(&mut self, to: IpAddr, most: usize, now: Instant) -> bool {
        if now.saturating_duration_since(self.window) > WINDOW {
            self.networks.clear();
            self.window = now;
        }
        let network = network(to);
        if self.networks.len() >= COUNTED && !self.networks.contains_key(&network) {
            return true;
        }
        let count = self.networks.entry(network).or_default();
        let may = *count < most;
        *count += usize::from(may);
        may
    }
}

/// The success response to a binding request; `None` to anything else.
#[must_use]
pub fn respond(request: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
    let header: &[u8; HEADER] = request.get(..HEADER)?.try_into().ok()?;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let cookie = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    if header[..2] != [0, 1] || cookie != COOKIE || length % 4 != 0 || request.len() != HEADER + length {
        return None;
    }
    let port = from.port() ^ (COOKIE >> 16) as u16;
    let mut address = Vec::with_capacity(20);
    match from.ip().to_canonical() {
        IpAddr::V4(ip) => {
            address.extend([0, 1]);
            address.extend(port.to_be_bytes());
            address.extend((u32::from(ip) ^ COOKIE).to_be_bytes());
        }
        IpAddr::V6(ip) => {
            address.extend([0, 2]);
            address.extend(port.to_be_bytes());
            address.extend(ip.octets().iter().zip(&header[4..]).map(|(a, b)| a ^ b));
        }
    }
    let mut response = vec![1, 1];
    response.extend((address.len() as u16 + 4).to_be_bytes());
    response.extend(&header[4..]);
    response.extend([0, 0x20]);
    response.extend((address.len() as u16).to_be_bytes());
    response.extend(address);
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Vec<u8> {
        let mut request = vec![0, 1, 0, 0];
        request.extend(COOKIE.to_be_bytes());
        request.extend(*b"\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae");
        request
    }

    #[test]
    fn the_address_is_told_as_in_rfc_5769() {
        let v4 = respond(&request(), "192.0.2.1:32853".parse().unwrap()).unwrap();
        assert_eq!(v4[20..], [0, 0x20, 0, 8, 0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]);
        let v6 =
            respond(&request(), "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap()).unwrap();
        let expected = b"\x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9";
        assert_eq!(&v6[20..], expected);
    }

    #[test]
    fn all_viewers_of_a_company_are_answered_and_no_flood() {
        let now = Instant::now();
        let mut answered = Answered { networks: HashMap::new(), window: now };
        let company = |n: u8| IpAddr::from([203, 0, 113, n]);
        let most = most(Options::default().max_per_network);
        // Each makes ten offers as it comes, all of them behind a few addresses.
        let comers = (0..2000 * 10).filter(|n| answered.may(company((n % 3) as u8), most, now));
        assert_eq!(comers.count(), 2000 * 10);
        let flood = (0..100_000).filter(|_| answered.may(company(9), most, now));
        assert_eq!(flood.count(), most - 2000 * 10);
        assert!(answered.may(IpAddr::from([203, 0, 114, 1]), most, now), "others are not meant");
        assert!(answered.may(company(9), most, now + WINDOW * 2));
    }

    #[test]
    fn nothing_else_is_answered() {
        let from = "192.0.2.1:1".parse().unwrap();
        let mut other = request();
        other[1] = 0x11;
        assert_eq!(respond(&other, from), None);
        assert_eq!(respond(&request()[..19], from), None);
        let mut long = request();
        long.extend([0; 4]);
        assert_eq!(respond(&long, from), None);
        assert_eq!(respond(&[], from), None);
    }
}
