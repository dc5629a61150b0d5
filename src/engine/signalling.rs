//! Tracker client: announces, relays offers and answers; reconnects when told.
//!
//! Nothing but swarm ids, our peer id and session descriptions leaves through here.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use url::Url;

use crate::wire::MAX_MESSAGE;
use crate::wire::tracker::{FromTracker, ToTracker};

/// Messages that may wait for one tracker; more are dropped, since the next announcement says it all again.
pub const OUTGOING: usize = 64;
/// What a connection reads at once, in bytes.
const READ_BUFFER: usize = 4096;
/// What may wait to be written before the connection counts as stuck, in bytes.
const WRITE_BUFFER: usize = 512 * 1024;

/// What a tracker connection tells.
#[derive(Debug)]
pub enum Signal {
    /// Open.
    Up(usize),
    /// Closed, or it did not open, for this reason.
    Down(usize, Option<String>),
    /// It said something.
    Said(usize, FromTracker),
}

/// How a tracker is connected to.
#[derive(Clone, Debug)]
pub struct Dial {
    /// Its index in the configured list.
    pub index: usize,
    /// `ws://` or `wss://`.
    pub url: Url,
    /// How long connecting may take.
    pub connecting: Duration,
    /// It is asked for a sign of life this often.
    pub ping: Duration,
    /// For `wss`.
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

/// Connects once and stays until the connection ends; the caller decides when to try again.
pub async fn run(dial: Dial, mut outgoing: mpsc::Receiver<ToTracker>, signals: mpsc::Sender<Signal>) {
    let (index, shown) = (dial.index, shown(&dial.url));
    let why = match tokio::time::timeout(dial.connecting, connect(&dial)).await {
        Ok(Ok(Socket::Plain(socket))) => {
            let _ = signals.send(Signal::Up(index)).await;
            talk(*socket, &dial, &mut outgoing, &signals).await;
            None
        }
        Ok(Ok(Socket::Tls(socket))) => {
            let _ = signals.send(Signal::Up(index)).await;
            talk(*socket, &dial, &mut outgoing, &signals).await;
            None
        }
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("no answer in time".to_owned()),
    };
    if let Some(why) = &why {
        tracing::debug!("tracker {shown}: {why}");
    }
    let _ = signals.send(Signal::Down(index, why)).await;
}

/// Connects once, to see whether a tracker is there.
///
/// # Errors
/// Why not, in a few words.
pub async fn reach(
    url: &Url,
    connecting: Duration,
    tls: Option<Arc<rustls::ClientConfig>>,
) -> Result<(), String> {
    let dial = Dial { index: 0, url: url.clone(), connecting, ping: connecting, tls };
    match tokio::time::timeout(connecting, connect(&dial)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    }
}

enum Socket {
    Plain(Box<WebSocketStream<TcpStream>>),
    Tls(Box<WebSocketStream<tokio_rustls::client::TlsStream<TcpStream>>>),
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

async fn connect(dial: &Dial) -> Result<Socket, Failed> {
    let host = dial.url.host_str().ok_or("no host")?;
    let port = dial.url.port_or_known_default().ok_or("no port")?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((bare, port)).await?;
    stream.set_nodelay(true)?;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    if dial.url.scheme() != "wss" {
        let (socket, _) =
            tokio_tungstenite::client_async_with_config(dial.url.as_str(), stream, Some(config)).await?;
        return Ok(Socket::Plain(Box::new(socket)));
    }
    let tls = dial.tls.clone().ok_or("no certificate authorities")?;
    let name = rustls::pki_types::ServerName::try_from(bare.to_owned())?;
    let stream = tokio_rustls::TlsConnector::from(tls).connect(name, stream).await?;
    let (socket, _) =
        tokio_tungstenite::client_async_with_config(dial.url.as_str(), stream, Some(config)).await?;
    Ok(Socket::Tls(Box::new(socket)))
}

async fn talk<S>(
    mut socket: WebSocketStream<S>,
    dial: &Dial,
    outgoing: &mut mpsc::Receiver<ToTracker>,
    signals: &mpsc::Sender<Signal>,
) where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut ping = tokio::time::interval(dial.ping);
    ping.reset();
    let mut alive = true;
    loop {
        let frame = tokio::select! {
            frame = socket.next() => frame,
            message = outgoing.recv() => {
                let Some(message) = message else { break };
                if socket.send(Frame::text(message.encode())).await.is_err() {
                    break;
                }
                continue;
            }
            _ = ping.tick() => {
                if !std::mem::take(&mut alive) || socket.send(Frame::Ping(Vec::new().into())).await.is_err() {
                    break;
                }
                continue;
            }
        };
        alive = true;
        match frame {
            Some(Ok(Frame::Text(text))) => match FromTracker::decode(text.as_str()) {
                Ok(said) => {
                    if signals.send(Signal::Said(dial.index, said)).await.is_err() {
                        break;
                    }
                }
                Err(error) => tracing::debug!("tracker {}: {error}", shown(&dial.url)),
            },
            Some(Ok(Frame::Close(_)) | Err(_)) | None => break,
            Some(Ok(_)) => {}
        }
    }
    let _ = socket.close(None).await;
}

/// A tracker as logs name it: a token in its query is nobody's business.
#[must_use]
pub fn shown(url: &Url) -> String {
    format!(
        "{}://{}:{}",
        url.scheme(),
        url.host_str().unwrap_or("?"),
        url.port_or_known_default().unwrap_or(0)
    )
}
