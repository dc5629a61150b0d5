//! A network in user space: every packet between two daemons of a demo crosses a line with delay, loss and a queue.
//!
//! Each daemon is given a door of the relay for its tracker. The door passes everything on, but in the offers and answers
//! that reach its daemon it puts addresses of the relay in the place of the author's. So each side knows the other by an
//! address of the relay, and what arrives there goes over the sender's line and on to the other side.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;

use super::path::{Line, Path};
use crate::model::ids::PeerId;
use crate::model::time::Time;
use crate::wire::tracker::{FromTracker, OfferId, ToTracker};

/// Packets of one direction on their way; more are lost, as in a queue that is full.
const ON_THE_WAY: usize = 8192;
/// Offers that may wait for an answer.
const OFFERS: usize = 2048;
/// The largest datagram.
const DATAGRAM: usize = 65_536;

/// What went over the relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Packets that arrived.
    pub relayed: u64,
    /// Packets that were lost.
    pub lost: u64,
}

/// The network of a demo; ends with its last handle.
#[derive(Debug)]
pub struct Relay {
    path: Path,
    tracker: SocketAddr,
    began: Instant,
    lines: Mutex<HashMap<PeerId, Arc<Mutex<Line>>>>,
    /// Offers that were passed on and wait for an answer.
    offers: Mutex<HashMap<OfferId, Half>>,
    tasks: Mutex<Vec<AbortHandle>>,
    relayed: AtomicU64,
    lost: AtomicU64,
}

/// One side of a connection that is being made.
#[derive(Clone, Debug)]
struct Half {
    /// Stands for the author towards the reader.
    socket: Arc<UdpSocket>,
    /// Where the author really is.
    author: SocketAddr,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Relay {
    /// A network whose tracker is at this address.
    #[must_use]
    pub fn new(tracker: SocketAddr, path: Path) -> Arc<Self> {
        Arc::new(Self {
            path,
            tracker,
            began: Instant::now(),
            lines: Mutex::default(),
            offers: Mutex::default(),
            tasks: Mutex::default(),
            relayed: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        })
    }

    /// What went over it so far.
    #[must_use]
    pub fn counted(&self) -> Counted {
        Counted { relayed: self.relayed.load(Ordering::Relaxed), lost: self.lost.load(Ordering::Relaxed) }
    }

    /// A door for one daemon: the tracker's address for it.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn door(self: &Arc<Self>, number: u64) -> io::Result<String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (relay, line) = (Arc::clone(self), Arc::new(Mutex::new(Line::new(self.path, number))));
        self.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (own, line) = (Arc::clone(&relay), Arc::clone(&line));
                relay.spawn(async move {
                    if let Err(error) = own.pass(stream, line).await {
                        tracing::debug!("a door of the relay: {error}");
                    }
                });
            }
        });
        Ok(format!("ws://{address}/"))
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = lock(&self.tasks);
        tasks.retain(|task| !task.is_finished());
        tasks.push(tokio::spawn(task).abort_handle());
    }

    /// Ends every door and every connection.
    pub fn stop(&self) {
        lock(&self.tasks).drain(..).for_each(|task| task.abort());
    }

    async fn pass(
        self: Arc<Self>,
        stream: TcpStream,
        line: Arc<Mutex<Line>>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut daemon = tokio_tungstenite::accept_async(stream).await?;
        let stream = TcpStream::connect(self.tracker).await?;
        let (mut tracker, _) =
            tokio_tungstenite::client_async(format!("ws://{}/", self.tracker), stream).await?;
        loop {
            tokio::select! {
                frame = daemon.next() => {
                    let Some(frame) = frame else { break };
                    let frame = frame?;
                    if let Frame::Text(text) = &frame {
                        self.author(text.as_str(), &line);
                    }
                    forward(&mut tracker, frame).await?;
                }
                frame = tracker.next() => {
                    let Some(frame) = frame else { break };
                    let frame = match frame? {
                        Frame::Text(text) => Frame::text(self.twist(text.as_str(), &line).await?),
                        frame => frame,
                    };
                    forward(&mut daemon, frame).await?;
                }
            }
        }
        Ok(())
    }

    /// Notes whose line this is.
    fn author(&self, text: &str, line: &Arc<Mutex<Line>>) {
        if let Ok(ToTracker::Announce { peer_id, .. }) = ToTracker::decode(text) {
            lock(&self.lines).entry(peer_id).or_insert_with(|| Arc::clone(line));
        }
    }

    /// What the tracker says to a daemon, with the relay's addresses in it.
    async fn twist(self: &Arc<Self>, text: &str, own: &Arc<Mutex<Line>>) -> io::Result<String> {
        match FromTracker::decode(text) {
            Ok(FromTracker::Offer { info_hash, peer_id, offer_id, sdp }) => {
                let socket = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
                let (sdp, author) = placed(&sdp, socket.local_addr()?);
                if let Some(author) = author {
                    let mut offers = lock(&self.offers);
                    if offers.len() >= OFFERS {
                        // Nobody answers that late; whoever does can't be met, and offers anew.
                        offers.clear();
                    }
                    offers.insert(offer_id.clone(), Half { socket, author });
                }
                Ok(FromTracker::Offer { info_hash, peer_id, offer_id, sdp }.encode())
            }
            Ok(FromTracker::Answer { info_hash, peer_id, offer_id, sdp }) => {
                let socket = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
                let (sdp, answerer) = placed(&sdp, socket.local_addr()?);
                let (line, offered) =
                    (lock(&self.lines).get(&peer_id).cloned(), lock(&self.offers).remove(&offer_id));
                if let (Some(answerer), Some(line), Some(offered)) = (answerer, line, offered) {
                    // What the answerer sends to the offerer's address crosses the answerer's line, and back.
                    self.carry(&offered.socket, line, &socket, offered.author);
                    self.carry(&socket, Arc::clone(own), &offered.socket, answerer);
                }
                Ok(FromTracker::Answer { info_hash, peer_id, offer_id, sdp }.encode())
            }
            _ => Ok(text.to_owned()),
        }
    }

    /// Carries what arrives at one socket over a line, and on from another.
    fn carry(
        self: &Arc<Self>,
        from: &Arc<UdpSocket>,
        line: Arc<Mutex<Line>>,
        by: &Arc<UdpSocket>,
        to: SocketAddr,
    ) {
        let (way, mut arriving) = mpsc::channel::<(Time, Vec<u8>)>(ON_THE_WAY);
        let (relay, socket) = (Arc::clone(self), Arc::clone(from));
        self.spawn(async move {
            let mut datagram = vec![0; DATAGRAM];
            while let Ok((length, _)) = socket.recv_from(&mut datagram).await {
                let now = Time::ZERO + relay.began.elapsed();
                let arrives = lock(&line).send(now, length);
                let sent = arrives.is_some_and(|at| way.try_send((at, datagram[..length].to_vec())).is_ok());
                relay.lost.fetch_add(u64::from(!sent), Ordering::Relaxed);
            }
        });
        let (relay, socket) = (Arc::clone(self), Arc::clone(by));
        self.spawn(async move {
            while let Some((at, datagram)) = arriving.recv().await {
                let due = relay.began + (at - Time::ZERO);
                tokio::time::sleep_until(due.into()).await;
                if socket.send_to(&datagram, to).await.is_ok() {
                    relay.relayed.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
}

async fn forward(
    to: &mut WebSocketStream<TcpStream>,
    frame: Frame,
) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    match frame {
        Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_) => Ok(()),
        frame => to.send(frame).await,
    }
}

/// A session description whose candidates are all at `relay`; and where its author really is.
fn placed(sdp: &str, relay: SocketAddr) -> (String, Option<SocketAddr>) {
    let mut author = None;
    let mut text = String::with_capacity(sdp.len());
    for line in sdp.lines() {
        let Some(candidate) = line.strip_prefix("a=candidate:") else {
            text += &format!("{line}\r\n");
            continue;
        };
        // foundation component transport priority address port typ host …
        let mut fields: Vec<String> = candidate.split_ascii_whitespace().map(str::to_owned).collect();
        let address =
            fields.get(4).zip(fields.get(5)).and_then(|(ip, port)| format!("{ip}:{port}").parse().ok());
        let host = fields.get(7).is_some_and(|kind| kind == "host");
        if let (Some(real @ SocketAddr::V4(_)), true) = (address, host)
            && author.is_none_or(|author| author == real)
        {
            author = Some(real);
            (fields[4], fields[5]) = (relay.ip().to_string(), relay.port().to_string());
            text += &format!("a=candidate:{}\r\n", fields.join(" "));
        }
    }
    (text, author)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_put_at_the_relay_and_the_rest_stays() {
        let sdp = "v=0\r\na=ice-ufrag:abc\r\na=candidate:1 1 udp 2130706431 127.0.0.1 40001 typ host\r\n\
            a=candidate:1 2 udp 2130706431 127.0.0.1 40001 typ host\r\n\
            a=candidate:2 1 udp 1 203.0.113.5 9 typ srflx raddr 0.0.0.0 rport 0\r\na=end-of-candidates\r\n";
        let (text, author) = placed(sdp, SocketAddr::from(([127, 0, 0, 1], 7)));
        assert_eq!(author, Some(SocketAddr::from(([127, 0, 0, 1], 40001))));
        assert_eq!(
            text,
            "v=0\r\na=ice-ufrag:abc\r\na=candidate:1 1 udp 2130706431 127.0.0.1 7 typ host\r\n\
             a=candidate:1 2 udp 2130706431 127.0.0.1 7 typ host\r\na=end-of-candidates\r\n"
        );
    }
}
