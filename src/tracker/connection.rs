//! One connection: plain HTTP, or a WebSocket, with its bounds and time-outs.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::access::Access;
use super::answer::answer;
use super::events::LISTENERS;
use super::networks::Networks;
use super::options::Options;
use super::refusals::{Limit, Refusals};
use super::service::network;
use super::swarms::ConnectionId;
use super::tls::Certificate;
use crate::wire::MAX_MESSAGE;
use crate::wire::tracker::{FromTracker, ToTracker};

/// Messages that may wait for one viewer; who does not take them is let go.
const OUTGOING: usize = 64;
/// What may wait to be written, in bytes.
const WRITE_BUFFER: usize = 512 * 1024;
/// What is read at once, in bytes: viewers are many and say little.
const READ_BUFFER: usize = 4096;
/// How long TLS and the request may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A silent viewer is asked for a sign of life this often, and let go when none came by the next time.
const PING: Duration = Duration::from_secs(60);
/// How long one message may take to be written.
const WRITE: Duration = Duration::from_secs(10);
/// Messages in a row that make no sense; the next one ends the connection.
const NONSENSE: u32 = 5;

/// What connections tell the owner of the swarms.
pub enum Inbox {
    /// A viewer, of which network, and how to speak to it.
    Came(ConnectionId, usize, mpsc::Sender<FromTracker>),
    /// It said something.
    Said(ConnectionId, ToTracker),
    /// It is gone.
    Gone(ConnectionId),
    /// Somebody asks whether its owner is there.
    Pulse(oneshot::Sender<()>),
    /// Somebody asks for the statistics.
    Stats(oneshot::Sender<serde_json::Value>),
    /// Somebody asks for the rates of the last hour.
    Past(oneshot::Sender<serde_json::Value>),
}

/// What every connection needs.
pub struct Door {
    /// They may change at any time.
    pub(super) options: watch::Receiver<Options>,
    pub(super) inbox: mpsc::Sender<Inbox>,
    /// Places for those who follow the events.
    pub(super) room: Arc<Semaphore>,
    certificate: Option<Certificate>,
    named: Arc<Networks>,
    refusals: Arc<Refusals>,
    networks: Mutex<HashMap<IpAddr, usize>>,
    next: AtomicU64,
}

impl Door {
    /// For a tracker.
    pub fn new(
        options: watch::Receiver<Options>,
        named: Arc<Networks>,
        refusals: Arc<Refusals>,
        certificate: Option<Certificate>,
        inbox: mpsc::Sender<Inbox>,
    ) -> Self {
        let (room, networks) = (Arc::new(Semaphore::new(LISTENERS)), Mutex::default());
        Self { options, inbox, room, certificate, named, refusals, networks, next: AtomicU64::new(0) }
    }

    /// Who may see the numbers at this moment.
    pub fn access(&self) -> Access {
        let options = self.options.borrow();
        Access::new(&options.stats_from, &options.stats_token)
    }

    /// Counts a connection of a network; `None` when there are enough.
    fn enter(self: &Arc<Self>, from: IpAddr) -> Option<Place> {
        let (network, most) = (network(from), self.options.borrow().max_per_network);
        let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        let count = networks.entry(network).or_default();
        if *count >= most {
            self.refusals.refuse(Limit::PerNetwork, most, from);
            return None;
        }
        *count += 1;
        Some(Place { door: Arc::clone(self), network })
    }
}

/// A connection's place among those of its network, given back when it ends.
struct Place {
    door: Arc<Door>,
    network: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut networks = self.door.networks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = networks.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                networks.remove(&self.network);
            }
        }
    }
}

/// Takes a connection in, unless there are too many.
pub fn accept(connections: &mut JoinSet<()>, stream: TcpStream, from: SocketAddr, door: &Arc<Door>) {
    let most = door.options.borrow().max_connections;
    if connections.len() >= most {
        door.refusals.refuse(Limit::Connections, most, from.ip());
        return;
    }
    let Some(place) = door.enter(from.ip()) else { return };
    let _ = stream.set_nodelay(true);
    let door = Arc::clone(door);
    connections.spawn(async move {
        match door.certificate.as_ref().map(Certificate::current) {
            None => serve(stream, from.ip(), &door).await,
            Some(config) => {
                let tls = tokio_rustls::TlsAcceptor::from(config);
                if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
                    serve(stream, from.ip(), &door).await;
                }
            }
        }
        drop(place);
    });
}

async fn serve<S>(stream: S, from: IpAddr, door: &Arc<Door>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // The WebSocket is run by the connection's own task once the answer that opens it is written.
    let (upgraded, socket) = oneshot::channel();
    let upgraded = Mutex::new(Some(upgraded));
    let service = hyper::service::service_fn(|asked| answer(asked, from, door, &upgraded));
    let http = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE)
        .max_headers(64)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if http.await.is_err() {
        return;
    }
    drop(upgraded);
    if let Ok(on) = socket.await
        && let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, on).await
    {
        talk(TokioIo::new(stream), from, door).await;
    }
}

async fn talk(stream: TokioIo<hyper::upgrade::Upgraded>, from: IpAddr, door: &Arc<Door>) {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    let id = ConnectionId(door.next.fetch_add(1, Ordering::Relaxed));
    let (writer, mut outgoing) = mpsc::channel(OUTGOING);
    if door.inbox.send(Inbox::Came(id, door.named.of(from), writer)).await.is_err() {
        return;
    }
    converse(&mut socket, id, &mut outgoing, &door.inbox).await;
    let _ = door.inbox.send(Inbox::Gone(id)).await;
    let _ = tokio::time::timeout(WRITE, socket.close(None)).await;
}

async fn converse<S>(
    socket: &mut WebSocketStream<S>,
    id: ConnectionId,
    outgoing: &mut mpsc::Receiver<FromTracker>,
    inbox: &mpsc::Sender<Inbox>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut ping = tokio::time::interval(PING);
    ping.reset();
    let (mut alive, mut nonsense) = (true, 0);
    loop {
        let frame = tokio::select! {
            frame = socket.next() => match frame {
                Some(Ok(frame)) => frame,
                Some(Err(_)) | None => return,
            },
            message = outgoing.recv() => {
                // The queue ends when its reader was too slow for it.
                let Some(message) = message else { return };
                if !write(socket, Frame::text(message.encode())).await {
                    return;
                }
                continue;
            }
            _ = ping.tick() => {
                if !std::mem::take(&mut alive) || !write(socket, Frame::Ping(Bytes::new())).await {
                    return;
                }
                continue;
            }
        };
        alive = true;
        let text = match frame {
            Frame::Text(text) => text,
            Frame::Ping(_) | Frame::Pong(_) => continue,
            Frame::Binary(_) | Frame::Close(_) | Frame::Frame(_) => return,
        };
        match ToTracker::decode(text.as_str()) {
            Ok(message) => {
                nonsense = 0;
                if inbox.send(Inbox::Said(id, message)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                nonsense += 1;
                let refusal = FromTracker::Failure(format!("not understood: {error}"));
                if nonsense > NONSENSE || !write(socket, Frame::text(refusal.encode())).await {
                    return;
                }
            }
        }
    }
}

async fn write<S>(socket: &mut WebSocketStream<S>, frame: Frame) -> bool
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    matches!(tokio::time::timeout(WRITE, socket.send(frame)).await, Ok(Ok(())))
}
