//! `paceline check` without a stream: would the daemon work here, and would it find peers?
//!
//! Everything is tried as the daemon does it: the listener is bound, trackers are connected to, STUN servers are asked from
//! one socket. Each finding says what to do about it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio_rustls::TlsConnector;
use url::Url;

use super::stun::{self, Seen, Silent};
use crate::config::Config;
use crate::engine::origin::tls_config;
use crate::engine::{peers, sdp, signalling};
use crate::proxy::{self, BindError};

/// How long each thing that is asked may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// A clock that is further off than this misjudges live DASH and certificates.
const CLOCK: Duration = Duration::from_secs(5);

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `ok`, `advice` or `blocker`.
    pub kind: &'static str,
    /// What was found.
    pub what: String,
    /// What to do.
    pub advice: Option<String>,
}

fn ok(what: String) -> Finding {
    Finding { kind: "ok", what, advice: None }
}

fn advice(what: String, advice: &str) -> Finding {
    Finding { kind: "advice", what, advice: Some(advice.to_owned()) }
}

fn blocker(what: String, advice: &str) -> Finding {
    Finding { kind: "blocker", what, advice: Some(advice.to_owned()) }
}

/// Tries everything.
pub async fn examine(config: &Config) -> Vec<Finding> {
    let mut findings = vec![listener(config).await];
    let trackers: Vec<Url> = config.tracker.urls.iter().filter_map(|url| Url::parse(url).ok()).collect();
    if trackers.is_empty() {
        findings.push(advice(
            "no tracker is configured: everything is plain HTTP".to_owned(),
            "set tracker.urls to the one your publisher runs, or run `paceline tracker`; of a service's environment \
             (/etc/paceline/paceline.env) nothing is known here unless it is run with it: see the README, On a set-top box",
        ));
    }
    for url in &trackers {
        findings.push(tracker(url, &config.tracker.token).await);
    }
    findings.extend(udp(config, &trackers).await);
    findings.push(clock(&trackers).await);
    findings
}

/// The findings as lines, and as one JSON document.
pub fn text(findings: &[Finding]) -> String {
    let line = |of: &Finding| match &of.advice {
        Some(advice) => format!("{:<8}{}: {advice}", of.kind, of.what),
        None => format!("{:<8}{}", of.kind, of.what),
    };
    findings.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The same as JSON.
pub fn document(findings: &[Finding]) -> Value {
    let row = |of: &Finding| json!({ "severity": of.kind, "what": of.what, "advice": of.advice });
    json!({
        "healthy": findings.iter().all(|of| of.kind != "blocker"),
        "findings": findings.iter().map(row).collect::<Vec<_>>(),
    })
}

/// Whether players can be served.
async fn listener(config: &Config) -> Finding {
    let address = config.proxy.listen;
    match proxy::bind(&config.proxy).await {
        Ok(_) => ok(format!("players can be served at {address}")),
        Err(BindError::Taken(_)) if serves(address).await => {
            ok(format!("a daemon serves players at {address} already"))
        }
        Err(error) => blocker("players can't be served".to_owned(), &error.to_string()),
    }
}

/// Whether what listens there is one of us.
async fn serves(address: SocketAddr) -> bool {
    let address = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::from((Ipv6Addr::LOCALHOST, address.port())),
        _ => address,
    };
    answer(address, &address.to_string(), "/-/health", None)
        .await
        .is_ok_and(|head| head.starts_with("HTTP/1.1 200"))
}

/// The head of the answer to a GET; `secure` names whom to expect, over TLS.
async fn answer(
    address: impl tokio::net::ToSocketAddrs,
    host: &str,
    path: &str,
    secure: Option<&str>,
) -> Result<String, Unanswered> {
    let asked = async {
        let stream = TcpStream::connect(address).await?;
        let Some(name) = secure else { return head(stream, host, path).await };
        let config = tls_config().map_err(io::Error::other)?;
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        head(stream, host, path).await
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(head)) => Ok(head),
        Ok(Err(error)) if is_out_of_date(&error) => Err(Unanswered::OutOfDate),
        _ => Err(Unanswered::Silent),
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unanswered {
    /// The certificate does not hold at the time of this clock.
    OutOfDate,
    /// Whatever else.
    Silent,
}

fn is_out_of_date(error: &io::Error) -> bool {
    use rustls::CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    let of_tls = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    matches!(
        of_tls,
        Some(rustls::Error::InvalidCertificate(
            Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. }
        ))
    )
}

/// The head of the answer, as far as it fits into one read.
async fn head(mut stream: impl AsyncRead + AsyncWrite + Unpin, host: &str, path: &str) -> io::Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut head = vec![0; 2048];
    let length = stream.read(&mut head).await?;
    Ok(String::from_utf8_lossy(&head[..length]).into_owned())
}

async fn tracker(url: &Url, token: &str) -> Finding {
    let tls = tls_config().ok().map(Arc::new);
    let shown = signalling::shown(url);
    match signalling::reach(&peers::with_token(url, token), PATIENCE, tls).await {
        Ok(()) => ok(format!("the tracker {shown} answers")),
        Err(why) => blocker(
            format!("the tracker {shown} can't be reached ({why})"),
            "is the address right, is it running, does a firewall stand between?",
        ),
    }
}

/// Whether UDP gets out and back, and what the NAT does to it: over IPv6, too, where this machine has an address there.
async fn udp(config: &Config, trackers: &[Url]) -> Vec<Finding> {
    let servers = peers::stun_servers(&config.ice, trackers);
    let mut findings = Vec::new();
    if config.ice.udp_port != 0 && UdpSocket::bind(("0.0.0.0", config.ice.udp_port)).await.is_err() {
        findings.push(advice(
            format!("UDP port {} is taken", config.ice.udp_port),
            "unless a daemon runs, choose another ice.udp_port",
        ));
    }
    if servers.is_empty() {
        let what = "no STUN server is known: only viewers of the same network can be met".to_owned();
        findings.push(advice(what, "set ice.stun, or a tracker that answers STUN"));
        return findings;
    }
    let own = sdp::default_addresses();
    let v6 = own.iter().any(IpAddr::is_ipv6);
    // Without any there is something wrong, and it shows over IPv4.
    let v4 = !v6 || own.iter().any(IpAddr::is_ipv4);
    if v4 {
        findings.extend(over(Ipv4Addr::UNSPECIFIED.into(), &servers, !v6).await);
    }
    if v6 {
        let of_v6 = over(Ipv6Addr::UNSPECIFIED.into(), &servers, !v4).await;
        // A name that leads nowhere does so whatever is asked over.
        findings.extend(of_v6.into_iter().filter(|of| !findings.contains(of)).collect::<Vec<_>>());
    }
    findings
}

/// What STUN servers say over one protocol, from the unspecified address of it; whether it is the `only` one here.
async fn over(any: IpAddr, servers: &[String], only: bool) -> Vec<Finding> {
    let over = if any.is_ipv6() { " over IPv6" } else { "" };
    let Ok(socket) = UdpSocket::bind((any, 0)).await else {
        let what = format!("no UDP socket can be opened{over}");
        return vec![blocker(what, "peers are only reached over UDP")];
    };
    let (mut findings, mut seen) = (Vec::new(), Vec::new());
    for server in servers {
        match stun::ask(&socket, server).await {
            Ok(one) => seen.push(one),
            // There is rarely a NAT before an address of IPv6: peers are told the right one without a server.
            Err(Silent::OtherFamily) if any.is_ipv6() && !only => {}
            Err(why) => findings.push(silent(why, server, any)),
        }
    }
    findings.extend(nat(&seen, socket.local_addr().ok().map(|local| local.port())));
    findings
}

/// Why there is no answer of a STUN server, and what to do.
fn silent(why: Silent, server: &str, any: IpAddr) -> Finding {
    let (over, other, here) =
        if any.is_ipv6() { (" over IPv6", "IPv4", "IPv6") } else { ("", "IPv6", "IPv4") };
    match why {
        Silent::Unknown => advice(
            format!("the name of the STUN server {server} is not known"),
            "is it right, and does this machine's name server answer?",
        ),
        Silent::OtherFamily => Finding {
            kind: "advice",
            what: format!("the STUN server {server} has addresses of {other} only"),
            advice: Some(format!(
                "over {here} it can't say how this machine is seen: name a server in ice.stun that has addresses of both"
            )),
        },
        Silent::NoAnswer => advice(
            format!("the STUN server {server} does not answer{over}"),
            "UDP may be closed on the way, or the server is gone; without STUN or TURN nobody outside is met",
        ),
    }
}

/// What the addresses that servers saw, all of one protocol, tell of the NAT (RFC 4787 §4.1). It may go by the address that a
/// packet is for: two ports of one server are one destination to it.
fn nat(seen: &[Seen], port: Option<u16>) -> Option<Finding> {
    let Seen { by, at } = *seen.first()?;
    let over = if at.is_ipv6() { " over IPv6" } else { "" };
    Some(if seen.iter().any(|other| other.at != at) {
        advice(
            format!("the NAT gives each destination another port{over} (symmetric): few peers can be met"),
            "set ice.turn to a TURN server, or open UDP on the router",
        )
    } else if seen.iter().any(|other| other.by != by) {
        ok(format!("UDP is open{over}, and seen as {at} by all: peers can be met"))
    } else if is_own(at.ip()) && Some(at.port()) == port {
        ok(format!("UDP is open{over}, without a NAT in front of the one STUN server that answers ({at})"))
    } else {
        advice(
            format!(
                "UDP is open{over}, and seen as {at}; what kind of NAT that is, one STUN server alone can't tell"
            ),
            "name two on different machines in ice.stun, and check again: they stand for the tracker's own, so name that one \
             as well to keep it",
        )
    })
}

/// Whether an address is this machine's.
fn is_own(ip: IpAddr) -> bool {
    std::net::UdpSocket::bind((ip, 0)).is_ok()
}

/// Whether our clock agrees with a tracker's.
async fn clock(trackers: &[Url]) -> Finding {
    let ours = SystemTime::now();
    for url in trackers {
        let Some((host, port)) = url.host_str().zip(url.port_or_known_default()) else { continue };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let secure = (url.scheme() == "wss").then_some(bare);
        let head = match answer((bare, port), &format!("{host}:{port}"), "/health", secure).await {
            Ok(head) => head,
            Err(Unanswered::OutOfDate) => {
                let what = format!("by this clock the certificate of {host} is not valid yet, or no more");
                return advice(
                    what,
                    "see what the time is: if it is right, the tracker needs a new certificate",
                );
            }
            Err(Unanswered::Silent) => continue,
        };
        let date = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("date").then(|| httpdate::parse_http_date(value.trim()).ok())?
        });
        let Some(theirs) = date else { continue };
        let apart = ours.duration_since(theirs).unwrap_or_else(|error| error.duration());
        if apart < CLOCK {
            return ok("the clock agrees with the tracker's".to_owned());
        }
        let what = format!("the clock is {} s off the tracker's", apart.as_secs());
        return advice(what, "set it by NTP, such as `timedatectl set-ntp true`");
    }
    // Older than this program it can't be.
    let since = ours.duration_since(UNIX_EPOCH).unwrap_or_default();
    if since < Duration::from_secs(1_780_000_000) {
        return blocker(
            "the clock is years behind: certificates will be refused".to_owned(),
            "set it by NTP",
        );
    }
    ok("the clock looks right; there was nobody to compare it with".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracker::stun_response;

    #[test]
    fn the_kind_of_nat_is_told_as_far_as_it_can_be() {
        let seen = |by: u8, port: u16| Seen {
            by: Ipv4Addr::new(198, 51, 100, by).into(),
            at: SocketAddr::from(([192, 0, 2, 1], port)),
        };
        assert_eq!(nat(&[], Some(1)), None);
        // Two ports of one machine are one server.
        for alone in [&[seen(1, 5)][..], &[seen(1, 5), seen(1, 5)]] {
            let found = nat(alone, Some(5)).unwrap();
            assert_eq!(found.kind, "advice");
            assert!(found.what.contains("one STUN server alone can't tell"), "{found:?}");
            assert!(found.advice.unwrap().contains("name two on different machines in ice.stun"));
        }
        assert_eq!(nat(&[seen(1, 5), seen(2, 5)], Some(1)).unwrap().kind, "ok");
        for apart in [&[seen(1, 5), seen(2, 6)][..], &[seen(1, 5), seen(1, 6)]] {
            let found = nat(apart, Some(1)).unwrap();
            assert_eq!(found.kind, "advice");
            assert!(found.what.contains("symmetric"), "{found:?}");
        }
        let own = Seen { by: Ipv4Addr::LOCALHOST.into(), at: SocketAddr::from(([127, 0, 0, 1], 5)) };
        assert_eq!(nat(&[own], Some(5)).unwrap().kind, "ok", "there is no NAT");
    }

    #[tokio::test]
    async fn each_protocol_has_a_nat_of_its_own() {
        for (ip, any, words) in [
            ("127.0.0.1:0", IpAddr::from(Ipv4Addr::UNSPECIFIED), "UDP is open, without a NAT"),
            ("[::1]:0", Ipv6Addr::UNSPECIFIED.into(), "UDP is open over IPv6, without a NAT"),
        ] {
            let server = UdpSocket::bind(ip).await.unwrap();
            let name = format!("stun:{}", server.local_addr().unwrap());
            let answers = tokio::spawn(async move {
                let mut request = [0; 64];
                let (length, from) = server.recv_from(&mut request).await.unwrap();
                server.send_to(&stun_response(&request[..length], from).unwrap(), from).await.unwrap();
            });
            let found = over(any, &[name], true).await;
            answers.await.unwrap();
            let [finding] = &found[..] else { panic!("{found:?}") };
            assert!(finding.kind == "ok" && finding.what.starts_with(words), "{finding:?}");
        }
        let (v4, v6) = (Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into());
        let servers = ["stun:[::1]:9".to_owned()];
        let found = over(v4, &servers, false).await;
        assert!(found[0].what.ends_with("has addresses of IPv6 only"), "{found:?}");
        let servers = ["stun:127.0.0.1:9".to_owned()];
        assert_eq!(over(v6, &servers, false).await, [], "nobody misses it");
        assert!(over(v6, &servers, true).await[0].what.ends_with("has addresses of IPv4 only"));
        let at = |port: u16| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], port));
        let seen = [1, 2].map(|by| Seen { by: IpAddr::from([198, 51, 100, by]), at: at(by.into()) });
        assert!(nat(&seen, None).unwrap().what.contains("another port over IPv6 (symmetric)"));
    }
}
