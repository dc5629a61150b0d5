//! Connections: names resolved once, every answer checked, and the checked address connected to.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::reach::{self, OwnListeners, Reach};

/// The longest answer of an upstream proxy to CONNECT, in bytes.
const CONNECT_ANSWER: usize = 8 * 1024;

/// Connects to what its reach allows.
#[derive(Clone, Debug)]
pub struct Connector {
    /// How private the address may be.
    pub reach: Reach,
    /// Where we listen ourselves.
    pub own: OwnListeners,
    /// How long all attempts together may take.
    pub timeout: Duration,
    /// `host:port` of an upstream proxy, where one is configured.
    pub proxy: Option<String>,
}

/// How private the address was that answered.
#[derive(Clone, Copy, Debug)]
pub struct Reached(pub Reach);

/// An open connection.
#[derive(Debug)]
pub struct Link {
    io: TokioIo<TcpStream>,
    reached: Reach,
    proxied: bool,
}

impl Connector {
    /// Connects to `host:port`, directly.
    ///
    /// # Errors
    /// When no address of the host may be asked, or none answers in time.
    pub async fn open(&self, host: &str, port: u16) -> io::Result<(TcpStream, Reach)> {
        let attempt = async {
            let mut last = None;
            for (address, class) in self.resolve(host, port).await? {
                match TcpStream::connect(address).await {
                    Ok(stream) => {
                        let _ = stream.set_nodelay(true);
                        return Ok((stream, class));
                    }
                    Err(error) => last = Some(error),
                }
            }
            Err(last.unwrap_or_else(|| io::Error::other(format!("{host} has no address"))))
        };
        match tokio::time::timeout(self.timeout, attempt).await {
            Ok(done) => done,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("{host} did not answer in time"))),
        }
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<(SocketAddr, Reach)>> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let answers: Vec<SocketAddr> = match bare.parse::<IpAddr>() {
            Ok(ip) => vec![SocketAddr::new(ip, port)],
            Err(_) => tokio::net::lookup_host((bare, port)).await?.collect(),
        };
        let denied = |why: String| io::Error::new(io::ErrorKind::PermissionDenied, why);
        if answers.iter().any(|&address| self.own.is_own(address)) {
            return Err(denied(format!("{host}:{port} is this daemon itself")));
        }
        let mut allowed = Vec::new();
        for address in answers {
            if let Some(class) = reach::class(address.ip()).filter(|class| *class <= self.reach) {
                allowed.push((address, class));
            }
        }
        if allowed.is_empty() {
            return Err(denied(format!("{host} leads to an address that may not be asked from here")));
        }
        Ok(allowed)
    }

    async fn link(self, uri: Uri) -> io::Result<Link> {
        let host = uri.host().ok_or_else(|| io::Error::other("no host"))?.to_owned();
        let tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let Some(proxy) = &self.proxy else {
            let (stream, reached) = self.open(&host, port).await?;
            return Ok(Link { io: TokioIo::new(stream), reached, proxied: false });
        };
        let (proxy_host, proxy_port) =
            proxy.rsplit_once(':').ok_or_else(|| io::Error::other("proxy without port"))?;
        let proxy_port = proxy_port.parse().map_err(io::Error::other)?;
        // The proxy is the user's own setting; what lies behind it is the proxy's to decide.
        let anywhere = Self { reach: Reach::Loopback, proxy: None, ..self.clone() };
        let (mut stream, _) = anywhere.open(proxy_host, proxy_port).await?;
        if tls {
            let handshake = tunnel(&mut stream, &host, port);
            tokio::time::timeout(self.timeout, handshake).await.map_err(io::Error::other)??;
        }
        Ok(Link { io: TokioIo::new(stream), reached: self.reach, proxied: !tls })
    }
}

async fn tunnel(stream: &mut TcpStream, host: &str, port: u16) -> io::Result<()> {
    let request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() == CONNECT_ANSWER {
            return Err(io::Error::other("the upstream proxy's answer is too long"));
        }
        // Byte by byte, so that nothing of what follows is taken.
        answer.push(stream.read_u8().await?);
    }
    let accepted = answer.split(|&b| b == b' ').nth(1).is_some_and(|status| status.starts_with(b"2"));
    if accepted { Ok(()) } else { Err(io::Error::other("the upstream proxy refused to connect")) }
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
        Connected::new().proxy(self.proxied).extra(Reached(self.reached))
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
}
