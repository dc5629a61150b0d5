//! Connections: names resolved once, every answer checked, and the checked address connected to.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
#[cfg(target_os = "linux")]
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use url::Host;

#[cfg(target_os = "linux")]
use super::Options;
use super::reach::{self, OwnListeners, Reach};
use super::upstream;

/// Addresses of one host that are tried; the others are left out.
const ADDRESSES: usize = 8;

/// Connects to what its reach allows.
#[derive(Clone, Debug)]
pub struct Connector {
    /// How private the address may be.
    pub reach: Reach,
    /// Where we listen ourselves.
    pub own: OwnListeners,
    /// How long all attempts together may take.
    pub timeout: Duration,
    /// How long an address is tried alone before the next one is tried as well.
    pub next_address: Duration,
    /// `host:port` of an upstream proxy, where one is configured.
    pub proxy: Option<Arc<str>>,
    /// Whether a proxy that is this daemon itself was warned about.
    pub warned: Arc<AtomicBool>,
}

/// What is known of the connection that an answer came on.
#[derive(Clone, Debug)]
pub struct Reached {
    /// How private its address is.
    pub class: Reach,
    /// An answer has come on it before: it may be closed by the server at any time.
    pub used: Arc<AtomicBool>,
}

/// An open connection.
#[derive(Debug)]
pub struct Link {
    io: TokioIo<TcpStream>,
    reached: Reached,
    proxied: bool,
}

fn denied(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

impl Connector {
    /// A connection on which one can speak to `host:port` as if to the host itself: direct, or a tunnel.
    ///
    /// # Errors
    /// When no address of the host may be asked, or none answers in time.
    pub async fn tunnel(&self, host: &str, port: u16, reach: Reach) -> io::Result<TcpStream> {
        let so_far = Self { reach, ..self.clone() };
        let Some((mut stream, to, _)) = so_far.proxy(host, port).await? else {
            return Ok(so_far.open(host, port).await?.0);
        };
        in_time(host, self.timeout, upstream::connect(&mut stream, &to, port)).await?;
        Ok(stream)
    }

    async fn link(self, uri: Uri) -> io::Result<Link> {
        let host = uri.host().ok_or_else(|| io::Error::other("no host"))?;
        let tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let link = |stream, class, proxied| {
            is_heard(&stream);
            let reached = Reached { class, used: Arc::default() };
            Link { io: TokioIo::new(stream), reached, proxied }
        };
        match self.proxy(host, port).await? {
            None => self.open(host, port).await.map(|(stream, class)| link(stream, class, false)),
            Some((mut stream, to, class)) if tls => {
                in_time(host, self.timeout, upstream::connect(&mut stream, &to, port)).await?;
                Ok(link(stream, class, false))
            }
            Some((stream, _, class)) => Ok(link(stream, class, true)),
        }
    }

    /// A connection to the upstream proxy, if there is one, with what it is to be told of the host and how private that is.
    async fn proxy(&self, host: &str, port: u16) -> io::Result<Option<(TcpStream, String, Reach)>> {
        let Some(proxy) = &self.proxy else { return Ok(None) };
        let (to, class) = self.by_name(host, port)?;
        let (proxy_host, proxy_port) =
            proxy.rsplit_once(':').ok_or_else(|| io::Error::other("proxy without port"))?;
        let proxy_port = proxy_port.parse().map_err(io::Error::other)?;
        // The proxy is the user's own setting: it may be anywhere but here.
        let anywhere = Self { reach: Reach::Loopback, ..self.clone() };
        match anywhere.open(proxy_host, proxy_port).await {
            Ok((stream, _)) => Ok(Some((stream, to, class))),
            Err(error)
                if error.kind() == io::ErrorKind::PermissionDenied && error.raw_os_error().is_none() =>
            {
                if !self.warned.swap(true, Ordering::Relaxed) {
                    tracing::warn!("origin.proxy is not used: {error}; remove it from the configuration");
                }
                Ok(None)
            }
            Err(error) => Err(io::Error::new(error.kind(), format!("the upstream proxy: {error}"))),
        }
    }

    /// A host in the one form in which nobody reads it otherwise, and how private it is. What names lead to is the proxy's to
    /// find out and to judge; an address in whatever notation, and a name that is no public one, is judged here all the same.
    fn by_name(&self, host: &str, port: u16) -> io::Result<(String, Reach)> {
        let bare = bare(host);
        let parsed = if bare.contains(':') { Host::parse(&format!("[{bare}]")) } else { Host::parse(bare) };
        let parsed = parsed.map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "that is no host"))?;
        let ip = match parsed {
            Host::Ipv4(ip) => Some(IpAddr::from(ip)),
            Host::Ipv6(ip) => Some(ip.into()),
            Host::Domain(_) => None,
        };
        let class = match ip {
            Some(ip) => self.allowed(host, &[SocketAddr::new(ip, port)])?.first().map(|(_, class)| *class),
            None => reach::class_of_host(&parsed),
        };
        match class.filter(|class| *class <= self.reach) {
            Some(class) => Ok((parsed.to_string(), class)),
            None => Err(denied(format!("{host} may not be asked from here"))),
        }
    }

    async fn open(&self, host: &str, port: u16) -> io::Result<(TcpStream, Reach)> {
        let attempt = async {
            let bare = bare(host);
            let answers: Vec<SocketAddr> = match bare.parse::<IpAddr>() {
                Ok(ip) => vec![SocketAddr::new(ip, port)],
                Err(_) => tokio::net::lookup_host((bare, port)).await?.collect(),
            };
            let (stream, class) = match self.allowed(host, &answers)?.as_slice() {
                [(only, class)] => (TcpStream::connect(only).await?, *class),
                several => race(several, self.next_address).await?,
            };
            let _ = stream.set_nodelay(true);
            Ok((stream, class))
        };
        in_time(host, self.timeout, attempt).await
    }

    /// Those of a host's addresses that may be connected to, never none.
    fn allowed(&self, host: &str, answers: &[SocketAddr]) -> io::Result<Vec<(SocketAddr, Reach)>> {
        if answers.iter().any(|&address| self.own.is_own(address)) {
            return Err(denied(format!("{host} leads to this daemon itself")));
        }
        let classes = answers.iter().filter_map(|address| Some((*address, class(*address)?)));
        let allowed: Vec<_> = classes.filter(|(_, class)| *class <= self.reach).take(ADDRESSES).collect();
        match (allowed.is_empty(), answers.is_empty()) {
            (false, _) => Ok(allowed),
            (true, true) => Err(io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"))),
            (true, false) => {
                Err(denied(format!("{host} leads to an address that may not be asked from here")))
            }
        }
    }
}

/// How private an address is, seen from this machine.
fn class(address: SocketAddr) -> Option<Reach> {
    match reach::class(address.ip())? {
        Reach::Public => {
            let source = source(address).ok();
            Some(source.map_or(Reach::Public, |source| reach::from_here(address.ip(), source)))
        }
        private => Some(private),
    }
}

/// The address that packets to `address` leave from. Nothing is sent: connecting a UDP socket only looks up the way; where
/// there is none, nothing will be connected to either.
fn source(address: SocketAddr) -> io::Result<IpAddr> {
    let any = match address {
        SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(address)?;
    Ok(socket.local_addr()?.ip())
}

/// A request of which nothing comes through ends soon, and not when the system has given up. What is sent is little, and read at
/// once; of a tunnel nobody knows that.
fn is_heard(stream: &TcpStream) {
    #[cfg(target_os = "linux")]
    if let Err(error) = SockRef::from(stream).set_tcp_user_timeout(Some(Options::unheard())) {
        tracing::debug!("a connection that is dead will be found out late: {error}");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = stream;
}

fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

async fn in_time<T>(
    host: &str,
    limit: Duration,
    attempt: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let late =
        |_| io::Error::new(io::ErrorKind::TimedOut, format!("{host} could not be connected to in time"));
    tokio::time::timeout(limit, attempt).await.map_err(late)?
}

/// The first of several addresses that answers (RFC 8305): each has a head start on the next one, unless it fails.
async fn race(addresses: &[(SocketAddr, Reach)], head_start: Duration) -> io::Result<(TcpStream, Reach)> {
    let mut waiting = families_in_turn(addresses).into_iter();
    // Ends with this function: the attempts that lost are aborted when the set is dropped.
    let mut attempts = JoinSet::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no address");
    loop {
        if let Some((address, class)) = waiting.next() {
            attempts.spawn(async move { TcpStream::connect(address).await.map(|stream| (stream, class)) });
        } else if attempts.is_empty() {
            return Err(last);
        }
        let more = waiting.len() > 0;
        tokio::select! {
            Some(done) = attempts.join_next() => match done {
                Ok(Ok(winner)) => return Ok(winner),
                Ok(Err(error)) => last = error,
                Err(gone) => last = io::Error::other(gone),
            },
            () = tokio::time::sleep(head_start), if more => {}
        }
    }
}

/// The system's order of preference, but with the two families in turn: if one is broken, the other is next.
fn families_in_turn(addresses: &[(SocketAddr, Reach)]) -> Vec<(SocketAddr, Reach)> {
    let first_is_v6 = addresses.first().is_some_and(|(address, _)| address.is_ipv6());
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.iter().copied().partition(|(address, _)| address.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut order = Vec::with_capacity(addresses.len());
    while order.len() < addresses.len() {
        order.extend(first.next());
        order.extend(second.next());
    }
    order
}

impl tower_service::Service<Uri> for Connector {
    type Response = Link;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Link>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().link(uri))
    }
}

impl Connection for Link {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.proxied).extra(self.reached.clone())
    }
}

impl Read for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Link {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connector(reach: Reach) -> Connector {
        Connector {
            reach,
            own: OwnListeners::default(),
            timeout: Duration::from_secs(20),
            next_address: Duration::from_millis(50),
            proxy: None,
            warned: Arc::default(),
        }
    }

    #[test]
    fn every_answer_of_a_name_is_judged() {
        let at = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 80);
        let (public, lan, own) = (at("1.1.1.1"), at("10.0.0.1"), "127.0.0.1:7223".parse().unwrap());
        let judged = |reach, answers: &[SocketAddr]| {
            let connector = connector(reach);
            connector.own.add(own);
            let allowed = connector.allowed("o.example", answers);
            allowed.map(|all| all.len()).map_err(|error| error.kind())
        };
        use io::ErrorKind::{NotFound, PermissionDenied};
        for (reach, answers, expected) in [
            (Reach::Public, vec![public, lan], Ok(1)),
            (Reach::Public, vec![lan], Err(PermissionDenied)),
            (Reach::Lan, vec![public, lan], Ok(2)),
            (Reach::Lan, vec![at("127.0.0.1")], Err(PermissionDenied)),
            (Reach::Loopback, vec![at("127.0.0.1")], Ok(1)),
            // A name that a proxy on this machine stands in for: nobody's who may not lead into a network of ours, …
            (Reach::Public, vec![at("198.18.0.7")], Err(PermissionDenied)),
            (Reach::StandIn, vec![at("198.18.0.7"), public], Ok(2)),
            // … and what was found there leads into none.
            (Reach::StandIn, vec![lan], Err(PermissionDenied)),
            (Reach::Loopback, vec![at("169.254.169.254")], Err(PermissionDenied)),
            (Reach::Loopback, vec![public, own], Err(PermissionDenied)),
            (Reach::Loopback, vec![], Err(NotFound)),
            (Reach::Public, vec![public; 20], Ok(ADDRESSES)),
        ] {
            assert_eq!(judged(reach, &answers), expected, "{reach:?} {answers:?}");
        }
    }

    #[test]
    fn what_a_proxy_is_asked_for_is_judged_by_its_name() {
        use Reach::{Lan, Loopback, Public};
        let judged = |reach, host| connector(reach).by_name(host, 443).map_err(|error| error.kind());
        for (host, told, class) in [
            ("2130706433", "127.0.0.1", Loopback),
            ("0177.1", "127.0.0.1", Loopback),
            ("::1", "[::1]", Loopback),
            ("[::ffff:7f00:1]", "[::ffff:7f00:1]", Loopback),
            ("LOCALHOST", "localhost", Loopback),
            ("10.1", "10.0.0.1", Lan),
            ("nas.lan", "nas.lan", Lan),
            ("printer", "printer", Lan),
            ("o.example", "o.example", Public),
            ("1.1.1.1", "1.1.1.1", Public),
        ] {
            for reach in Reach::ALL {
                let expected = if class <= reach {
                    Ok((told.to_owned(), class))
                } else {
                    Err(io::ErrorKind::PermissionDenied)
                };
                assert_eq!(judged(reach, host), expected, "{host} {reach:?}");
            }
        }
        for (host, error) in [
            ("169.254.169.254", io::ErrorKind::PermissionDenied),
            ("2852039166", io::ErrorKind::PermissionDenied),
            ("a b", io::ErrorKind::InvalidInput),
            ("", io::ErrorKind::InvalidInput),
        ] {
            assert_eq!(judged(Loopback, host), Err(error), "{host}");
        }
    }

    #[test]
    fn families_take_turns() {
        let of = |ips: &[&str]| -> Vec<_> {
            ips.iter().map(|ip| (SocketAddr::new(ip.parse().unwrap(), 1), Reach::Public)).collect()
        };
        for (given, expected) in [
            (&["::1", "::2", "1.1.1.1"][..], &["::1", "1.1.1.1", "::2"][..]),
            (&["1.1.1.1", "1.1.1.2", "::1", "::2"], &["1.1.1.1", "::1", "1.1.1.2", "::2"]),
            (&["1.1.1.1"], &["1.1.1.1"]),
            (&[], &[]),
        ] {
            assert_eq!(families_in_turn(&of(given)), of(expected));
        }
    }

    /// After a change of network the system alone would try for a quarter of an hour.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_nothing_is_heard_of_is_given_up() {
        let origin = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/", origin.local_addr().unwrap()).parse().unwrap();
        let link = connector(Reach::Loopback).link(uri).await.unwrap();
        assert_eq!(SockRef::from(link.io.inner()).tcp_user_timeout().unwrap(), Some(Options::unheard()));
    }

    #[tokio::test]
    async fn a_dead_address_does_not_keep_a_living_one_waiting() {
        let alive = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refused = {
            let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            closed.local_addr().unwrap()
        };
        let there = alive.local_addr().unwrap();
        let both = [(refused, Reach::Loopback), (there, Reach::Loopback)];
        let (stream, _) = race(&both, Duration::from_secs(60)).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), there);
        assert!(race(&both[..1], Duration::from_secs(60)).await.is_err());
    }
}
