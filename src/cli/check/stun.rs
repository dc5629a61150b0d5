//! What a STUN server says of us, asked as the daemon asks (RFC 8489).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use url::Url;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// A STUN request is repeated this often within that time (RFC 8489 §6.2.1 begins with 500 ms).
const REPEAT: Duration = Duration::from_millis(500);
/// The magic cookie of STUN (RFC 8489 §5).
const COOKIE: u32 = 0x2112_A442;
/// Where a STUN server is whose port is not said (RFC 8489 §18.6).
const STUN_PORT: u16 = 3478;

/// What a STUN server answered.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Where it is.
    pub by: IpAddr,
    /// Where it saw us.
    pub at: SocketAddr,
}

/// Why a STUN server said nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silent {
    /// Its name leads nowhere.
    Unknown,
    /// It leads to the other protocol alone.
    OtherFamily,
    /// It was asked, in vain.
    NoAnswer,
}

/// Host and port of `stun:host:port`; without a port it is STUN's own (RFC 7064 §3.2).
fn place(server: &str) -> Option<(String, u16)> {
    let url = Url::parse(&format!("x://{}", server.split_once(':')?.1)).ok()?;
    let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']');
    Some((host.to_owned(), url.port().unwrap_or(STUN_PORT)))
}

/// Where a STUN server (`stun:host:port`) sees us, over the protocol that the socket is of.
///
/// # Errors
/// Why it does not say.
pub async fn ask(socket: &UdpSocket, server: &str) -> Result<Seen, Silent> {
    let place = place(server).ok_or(Silent::Unknown)?;
    let addresses = tokio::net::lookup_host(place).await.map_err(|_| Silent::Unknown)?;
    let is_v6 = socket.local_addr().is_ok_and(|own| own.is_ipv6());
    let to = addresses.into_iter().find(|to| to.is_ipv6() == is_v6).ok_or(Silent::OtherFamily)?;
    at(socket, to).await.ok_or(Silent::NoAnswer)
}

/// Where the STUN server at an address sees us.
async fn at(socket: &UdpSocket, to: SocketAddr) -> Option<Seen> {
    let mut id = [0; 12];
    getrandom::fill(&mut id).ok()?;
    let mut request = vec![0, 1, 0, 0];
    request.extend(COOKIE.to_be_bytes());
    request.extend(id);
    let mut response = [0; 576];
    let asked = async {
        loop {
            socket.send_to(&request, to).await.ok()?;
            let Ok(got) = tokio::time::timeout(REPEAT, socket.recv_from(&mut response)).await else {
                continue;
            };
            let (length, from) = got.ok()?;
            if from == to
                && let Some(address) = mapped(&response[..length], id)
            {
                return Some(Seen { by: to.ip(), at: address });
            }
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.ok()?
}

/// XOR-MAPPED-ADDRESS of a success response (RFC 8489 §14.2).
fn mapped(response: &[u8], id: [u8; 12]) -> Option<SocketAddr> {
    let head = response.get(..20)?;
    if head[..2] != [1, 1] || head[8..] != id {
        return None;
    }
    let mut rest = &response[20..];
    loop {
        let kind = u16::from_be_bytes(rest.get(..2)?.try_into().ok()?);
        let length = usize::from(u16::from_be_bytes(rest.get(2..4)?.try_into().ok()?));
        let value = rest.get(4..4 + length)?;
        if kind == 0x0020 {
            let port = u16::from_be_bytes(value.get(2..4)?.try_into().ok()?) ^ (COOKIE >> 16) as u16;
            let ip: IpAddr = match value[1] {
                1 => Ipv4Addr::from(u32::from_be_bytes(value.get(4..8)?.try_into().ok()?) ^ COOKIE).into(),
                2 => {
                    let mut mask = u128::from(COOKIE) << 96;
                    mask |= id.iter().fold(0, |bits, byte| bits << 8 | u128::from(*byte));
                    Ipv6Addr::from(u128::from_be_bytes(value.get(4..20)?.try_into().ok()?) ^ mask).into()
                }
                _ => return None,
            };
            return Some(SocketAddr::new(ip, port));
        }
        rest = rest.get(4 + length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracker::stun_response;

    #[test]
    fn what_our_own_server_answers_is_read() {
        let id = *b"twelve bytes";
        let mut request = vec![0, 1, 0, 0];
        request.extend(COOKIE.to_be_bytes());
        request.extend(id);
        for from in ["192.0.2.1:40000", "[2001:db8:1234:5678:11:2233:4455:6677]:32853"] {
            let from: SocketAddr = from.parse().unwrap();
            let response = stun_response(&request, from).unwrap();
            assert_eq!(mapped(&response, id), Some(from));
            assert_eq!(mapped(&response, [8; 12]), None, "of another request");
            for length in 0..response.len() {
                assert_eq!(mapped(&response[..length], id), None);
                // An attribute that is shorter than its protocol's addresses.
                let mut short = response[..length].to_vec();
                if let Some(told) = length.checked_sub(24).filter(|told| *told < 20) {
                    short[23] = told as u8;
                    assert_eq!(mapped(&short, id), None, "{told} bytes");
                }
            }
        }
    }

    #[test]
    fn a_server_without_a_port_is_asked_at_the_one_of_stun() {
        for (server, host, port) in [
            ("stun:stun.example", "stun.example", 3478),
            ("stun:stun.example:7224", "stun.example", 7224),
            ("stun:192.0.2.1", "192.0.2.1", 3478),
            ("stun:[2001:db8::1]", "2001:db8::1", 3478),
            ("stun:[2001:db8::1]:80", "2001:db8::1", 80),
        ] {
            assert_eq!(place(server), Some((host.to_owned(), port)), "{server}");
        }
    }

    #[tokio::test]
    async fn why_a_server_says_nothing_is_told() {
        for own in ["127.0.0.1:0", "[::1]:0"] {
            let (socket, server) = (UdpSocket::bind(own).await.unwrap(), UdpSocket::bind(own).await.unwrap());
            let at = server.local_addr().unwrap();
            let answers = tokio::spawn(async move {
                let mut request = [0; 64];
                let (length, from) = server.recv_from(&mut request).await.unwrap();
                server.send_to(&stun_response(&request[..length], from).unwrap(), from).await.unwrap();
            });
            let seen = ask(&socket, &format!("stun:{at}")).await.unwrap();
            answers.await.unwrap();
            assert_eq!((seen.by, seen.at), (at.ip(), socket.local_addr().unwrap()));
            let other = if at.is_ipv4() { "stun:[::1]" } else { "stun:127.0.0.1" };
            assert_eq!(ask(&socket, other).await.unwrap_err(), Silent::OtherFamily);
            assert_eq!(ask(&socket, "stun:").await.unwrap_err(), Silent::Unknown);
        }
    }
}
