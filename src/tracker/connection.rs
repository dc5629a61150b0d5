//! One connection: plain HTTP for health and statistics, or a WebSocket, with its bounds and time-outs.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::metrics;
use super::service::{Options, network};
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
    /// A viewer, and how to speak to it.
    Came(ConnectionId, mpsc::Sender<FromTracker>),
    /// It said something.
    Said(ConnectionId, ToTracker),
    /// It is gone.
    Gone(ConnectionId),
    /// Somebody asks for the statistics.
    Stats(oneshot::Sender<serde_json::Value>),
}

/// What every connection needs.
pub struct Door {
    options: Options,
    certificate: Option<Certificate>,
    inbox: mpsc::Sender<Inbox>,
    networks: Mutex<HashMap<IpAddr, usize>>,
    next: AtomicU64,
}

impl Door {
    /// For a tracker.
    pub fn new(options: Options, certificate: Option<Certificate>, inbox: mpsc::Sender<Inbox>) -> Self {
        Self { options, certificate, inbox, networks: Mutex::default(), next: AtomicU64::new(0) }
    }

    /// Counts a connection of a network; `None` when there are enough.
    fn enter(self: &Arc<Self>, from: IpAddr) -> Option<Place> {
        let network = network(from);
        let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        let count = networks.entry(network).or_default();
        if *count >= self.options.max_per_network {
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
    if connections.len() >= door.options.max_connections {
        return;
    }
    let Some(place) = door.enter(from.ip()) else { return };
    let _ = stream.set_nodelay(true);
    let door = Arc::clone(door);
    connections.spawn(async move {
        match door.certificate.as_ref().map(Certificate::current) {
            None => serve(stream, &door).await,
            Some(config) => {
                let tls = tokio_rustls::TlsAcceptor::from(config);
                if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
                    serve(stream, &door).await;
                }
            }
        }
        drop(place);
    });
}

async fn serve<S>(stream: S, door: &Arc<Door>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // The WebSocket is run by the connection's own task once the answer that opens it is written.
    let (upgraded, socket) = oneshot::channel();
    let upgraded = Mutex::new(Some(upgraded));
    let service = hyper::service::service_fn(|asked| answer(asked, door, &upgraded));
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
        talk(TokioIo::new(stream), door).await;
    }
}

type Upgraded = Mutex<Option<oneshot::Sender<hyper::upgrade::OnUpgrade>>>;

async fn answer(
    asked: Request<Incoming>,
    door: &Arc<Door>,
    upgraded: &Upgraded,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if asked.method() != Method::GET {
        return Ok(sentence(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here"));
    }
    if let Some(key) = websocket_key(asked.headers()) {
        let origin = asked.headers().get(header::ORIGIN);
        let allowed = &door.options.allowed_origins;
        if !allowed.is_empty() && !origin.is_some_and(|origin| allowed.iter().any(|a| origin == a.as_str())) {
            return Ok(sentence(StatusCode::FORBIDDEN, "pages of this site may not connect"));
        }
        let on = hyper::upgrade::on(asked);
        if let Some(sender) = upgraded.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = sender.send(on);
        }
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let fields = answer.headers_mut();
        fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
            fields.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
        return Ok(answer);
    }
    Ok(match asked.uri().path() {
        "/health" => sentence(StatusCode::OK, "ok"),
        "/stats" => stats(door, "application/json", |stats| Ok(format!("{stats:#}\n"))).await,
        "/metrics" => stats(door, prometheus::TEXT_FORMAT, metrics::text).await,
        "/" => sentence(
            StatusCode::OK,
            "this is a tracker: viewers connect to it with a WebSocket; see /stats and /metrics",
        ),
        _ => sentence(StatusCode::NOT_FOUND, "there is no such page; see /health, /stats and /metrics"),
    })
}

fn websocket_key(headers: &HeaderMap) -> Option<String> {
    let says = |name, word: &str| {
        let value = headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
        value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word))
    };
    let wanted = says(header::UPGRADE, "websocket") && says(header::CONNECTION, "upgrade");
    let version = headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    let key = headers.get(header::SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok());
    key.filter(|_| wanted && version).map(str::to_owned)
}

async fn stats(
    door: &Arc<Door>,
    kind: &'static str,
    text: impl Fn(&serde_json::Value) -> Result<String, prometheus::Error>,
) -> Response<Full<Bytes>> {
    let (reply, answer) = oneshot::channel();
    let asked = door.inbox.send(Inbox::Stats(reply)).await.is_ok();
    let Some(Ok(stats)) = (if asked { Some(answer.await) } else { None }) else {
        return sentence(StatusCode::SERVICE_UNAVAILABLE, "the tracker is ending");
    };
    let text = match text(&stats) {
        Ok(text) => text,
        Err(error) => return sentence(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    };
    let mut answer = Response::new(Full::from(text));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn sentence(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(format!("{text}\n")));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

async fn talk(stream: TokioIo<hyper::upgrade::Upgraded>, door: &Arc<Door>) {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    let id = ConnectionId(door.next.fetch_add(1, Ordering::Relaxed));
    let (writer, mut outgoing) = mpsc::channel(OUTGOING);
    if door.inbox.send(Inbox::Came(id, writer)).await.is_err() {
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
