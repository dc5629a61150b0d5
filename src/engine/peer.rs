//! One connection to a peer: a WebRTC connection with one data channel, decoded in, bounded out.
//!
//! Control messages leave before pieces; a piece leaves in parts, each of which waits until the short send buffer has
//! room, so a small urgent message never waits behind much.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Once, OnceLock, PoisonError};

use bytes::{Bytes, BytesMut};
use rtc::peer_connection::configuration::setting_engine::SctpMaxMessageSize;
use tokio::sync::{Notify, mpsc, oneshot};
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCCertificate,
    RTCConfigurationBuilder, RTCIceGatheringState, RTCIceServer, RTCPeerConnectionState,
    RTCSessionDescription, SettingEngineBuilder,
};

use super::peers::Options;
use super::receiving::{Allowance, receive};
use super::sdp;
use super::udp::{Guarded, Shared, locked};
use crate::model::ids::SegmentId;
use crate::wire::digest::PieceHash;
use crate::wire::message::Message;
use crate::wire::{MAX_MESSAGE, MAX_PART};

/// The one data channel of a connection.
pub const LABEL: &str = "paceline/1";
/// Bytes in flight on a channel: more collapses after a burst of losses, less leaves long paths idle.
const SEND_BUFFER: usize = 256 * 1024;
/// Bytes the stack may hold for us.
const RECEIVE_BUFFER: u32 = 1 << 20;
/// Control messages that may wait; a peer that takes them slower is given up.
pub const CONTROL: usize = 512;
/// Pieces that may wait; the delivery core hands out less.
pub const BULK: usize = 32;
/// Requests that are remembered, so that only what was asked for is taken.
pub(super) const ASKED: usize = 128;

/// A failure of the stack, in its words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failed(String);

impl From<webrtc::error::Error> for Failed {
    fn from(error: webrtc::error::Error) -> Self {
        Self(error.to_string())
    }
}

/// A connection that is being made or is open.
#[derive(Clone)]
pub struct Peer {
    connection: Arc<dyn PeerConnection>,
    filter: Shared,
    events: Arc<Events>,
    /// The agreed channel, until [`Peer::run`] takes it.
    channel: Arc<Mutex<Option<Agreed>>>,
    /// How much the other side may say.
    allowance: Allowance,
}

/// The channel that is agreed on, once it is there.
type Agreed = oneshot::Receiver<Arc<dyn DataChannel>>;

/// A piece to send.
#[derive(Debug)]
pub struct Outgoing {
    /// The segment.
    pub segment: SegmentId,
    /// Which piece.
    pub piece: u8,
    /// Its bytes, in order.
    pub bytes: Vec<Bytes>,
}

/// What an open channel brings.
#[derive(Debug)]
pub enum Incoming {
    /// A control message.
    Said(Message),
    /// A whole piece.
    Piece {
        /// The segment.
        segment: SegmentId,
        /// Which piece.
        piece: u8,
        /// Its bytes.
        bytes: Bytes,
        /// Their hash.
        hash: PieceHash,
    },
    /// A piece of ours is in the send buffer.
    Sent {
        /// The segment.
        segment: SegmentId,
        /// Which piece.
        piece: u8,
    },
}

/// Why a channel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Closed, lost, or given up by us.
    Gone,
    /// It broke the protocol.
    Misbehaved,
}

/// What the stack tells us. It holds this for as long as it lives, so a channel is handed on and never kept here: each
/// channel holds its connection, and the two would hold each other for ever.
struct Events {
    gathered: Notify,
    lost: Notify,
    first: Mutex<Option<oneshot::Sender<Arc<dyn DataChannel>>>>,
}

impl Events {
    /// Hands on the one channel that is agreed on; false when it is another one, or nobody waits for it any more.
    fn arrived(&self, channel: Arc<dyn DataChannel>) -> bool {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        first.is_some_and(|first| first.send(channel).is_ok())
    }
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Events {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.notify_one();
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        if matches!(state, RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed) {
            self.lost.notify_one();
        }
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        // One channel is agreed on: a second one is not a viewer of ours.
        if !self.arrived(channel) {
            self.lost.notify_one();
        }
    }
}

impl Peer {
    /// A connection with its sockets bound at `addresses`, and nothing said yet.
    ///
    /// # Errors
    /// What the stack says.
    pub async fn new(options: &Options, addresses: Vec<SocketAddr>, filter: Shared) -> Result<Self, Failed> {
        let mut engine = SettingEngineBuilder::new()
            .with_sctp_max_message_size(SctpMaxMessageSize::Bounded(MAX_MESSAGE as u32))
            .with_sctp_max_receive_buffer_size(RECEIVE_BUFFER)
            .with_multicast_dns_mode(rtc::ice::mdns::MulticastDnsMode::Disabled)
            .with_ice_timeouts(Some(options.disconnected), Some(options.failed), Some(options.keep_alive))
            .with_ice_connection_attempts(Some(options.check_interval), Some(options.checks))
            .with_host_acceptance_min_wait(None);
        if addresses.iter().any(|address| address.ip().is_loopback()) {
            engine = engine.with_include_loopback_candidate(true);
        }
        let access = options.access.borrow().clone();
        let servers = access.ice_servers.into_iter().map(|server| RTCIceServer {
            urls: vec![server.url],
            username: server.username,
            credential: server.credential,
        });
        let mut configuration = RTCConfigurationBuilder::new().with_ice_servers(servers.collect());
        if let Some(certificate) = certificate() {
            configuration = configuration.with_certificates(vec![certificate]);
        }
        let (first, channel) = oneshot::channel();
        let events = Arc::new(Events {
            gathered: Notify::default(),
            lost: Notify::default(),
            first: Mutex::new(Some(first)),
        });
        let connection = PeerConnectionBuilder::new()
            .with_configuration(configuration.build())
            .with_setting_engine(engine.build())
            .with_handler(Arc::clone(&events) as Arc<dyn PeerConnectionEventHandler>)
            .with_runtime(Arc::new(Guarded::new(Arc::clone(&filter))))
            .with_udp_addrs(addresses)
            .with_data_channel_send_buffer_limit(SEND_BUFFER)
            .build()
            .await?;
        let channel = Arc::new(Mutex::new(Some(channel)));
        let allowance = Allowance { each: options.message_each, at_once: options.messages_at_once };
        Ok(Self { connection: Arc::new(connection), filter, events, channel, allowance })
    }

    /// Our offer, with all candidates in it.
    ///
    /// # Errors
    /// What the stack says.
    pub async fn offer(&self, options: &Options) -> Result<String, Failed> {
        let channel = self.connection.create_data_channel(LABEL, None).await?;
        if !self.events.arrived(channel) {
            return Err(Failed("a second offer on one connection".into()));
        }
        let offer = self.connection.create_offer(None).await?;
        self.connection.set_local_description(offer).await?;
        self.gathered(options).await
    }

    /// Our answer to an offer that was looked through.
    ///
    /// # Errors
    /// What the stack says.
    pub async fn answer(&self, offer: String, options: &Options) -> Result<String, Failed> {
        self.connection.set_remote_description(RTCSessionDescription::offer(offer)?).await?;
        let answer = self.connection.create_answer(None).await?;
        self.connection.set_local_description(answer).await?;
        self.gathered(options).await
    }

    /// Takes the answer to our offer.
    ///
    /// # Errors
    /// What the stack says.
    pub async fn accept(&self, answer: String) -> Result<(), Failed> {
        Ok(self.connection.set_remote_description(RTCSessionDescription::answer(answer)?).await?)
    }

    async fn gathered(&self, options: &Options) -> Result<String, Failed> {
        // A STUN server that does not answer only costs its candidate.
        let _ = tokio::time::timeout(options.gathering, self.events.gathered.notified()).await;
        let description = self.connection.local_description().await;
        let text = description.map(|d| d.sdp).ok_or_else(|| Failed("no local description".into()))?;
        if !sdp::is_seen_from_outside(&text) {
            unseen(options);
        }
        Ok(text)
    }

    /// Closes the connection and its sockets.
    pub async fn close(&self) {
        let _ = self.connection.close().await;
    }

    /// Runs the channel from its opening to its end: what comes goes to `incoming`, what is to be sent is taken from
    /// the two queues. `opened` is told once messages can be sent, within `patience` or never.
    pub async fn run(
        &self,
        patience: std::time::Duration,
        opened: oneshot::Sender<()>,
        incoming: mpsc::Sender<Incoming>,
        control: mpsc::Receiver<Message>,
        bulk: mpsc::Receiver<Outgoing>,
    ) -> Ended {
        let opening = tokio::time::timeout(patience, self.open());
        let channel = tokio::select! {
            channel = opening => channel.ok().flatten(),
            () = self.events.lost.notified() => None,
        };
        let Some(channel) = channel else { return Ended::Gone };
        locked(&self.filter).opened();
        let _ = opened.send(());
        let (asked, forgotten) = mpsc::channel(ASKED);
        tokio::select! {
            ended = receive(&*channel, &self.filter, self.allowance, &incoming, forgotten) => ended,
            () = send(&*channel, &incoming, control, bulk, asked) => Ended::Gone,
            () = self.events.lost.notified() => Ended::Gone,
        }
    }

    /// The channel, once it is there and open.
    async fn open(&self) -> Option<Arc<dyn DataChannel>> {
        let arriving = self.channel.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let channel = arriving.await.ok()?;
        if channel.label().await.ok()? != LABEL || !channel.ordered().await.ok()? {
            return None;
        }
        while let Some(event) = channel.poll().await {
            match event {
                DataChannelEvent::OnOpen => return Some(channel),
                DataChannelEvent::OnClose | DataChannelEvent::OnClosing => return None,
                _ => {}
            }
        }
        None
    }
}

/// Says once that servers, where there are some, have not told where others see us.
fn unseen(options: &Options) {
    static ONCE: Once = Once::new();
    let access = options.access.borrow();
    let servers: Vec<&str> = access.ice_servers.iter().map(|server| server.url.as_str()).collect();
    if servers.is_empty() {
        return;
    }
    ONCE.call_once(|| {
        tracing::warn!(
            "{} did not answer: viewers in other networks can't be met. UDP may be closed on the way, or a tracker behind a \
             reverse proxy does not get it: name a STUN server in ice.stun. `paceline check` asks them again",
            servers.join(", ")
        );
    });
}

/// One certificate for all connections: making a key for each would cost more than the handshake.
fn certificate() -> Option<RTCCertificate> {
    static ONCE: OnceLock<Option<RTCCertificate>> = OnceLock::new();
    ONCE.get_or_init(|| {
        let provider = rtc::crypto::default_provider().ok()?;
        let params =
            rtc::peer_connection::certificate::CertificateParams::new(vec!["paceline".to_owned()]).ok()?;
        RTCCertificate::generate(provider.crypto(), rtc::crypto::SignatureScheme::EcdsaP256Sha256, params)
            .ok()
    })
    .clone()
}

/// Which pieces were asked for and may come.
pub(super) type Asked = (SegmentId, u8);

async fn send(
    channel: &dyn DataChannel,
    incoming: &mpsc::Sender<Incoming>,
    mut control: mpsc::Receiver<Message>,
    mut bulk: mpsc::Receiver<Outgoing>,
    asked: mpsc::Sender<Asked>,
) {
    loop {
        let outgoing = tokio::select! {
            biased;
            message = control.recv() => {
                let Some(message) = message else { return };
                if !say(channel, &message, &asked).await {
                    return;
                }
                continue;
            }
            piece = bulk.recv() => piece,
        };
        let Some(Outgoing { segment, piece, bytes }) = outgoing else { return };
        let length = bytes.iter().map(Bytes::len).sum::<usize>() as u32;
        for (offset, part) in parts(&bytes) {
            while let Ok(message) = control.try_recv() {
                if !say(channel, &message, &asked).await {
                    return;
                }
            }
            let message = Message::Part { segment, piece, length, offset, bytes: part };
            if !put(channel, &message).await {
                return;
            }
        }
        if incoming.send(Incoming::Sent { segment, piece }).await.is_err() {
            return;
        }
    }
}

async fn say(channel: &dyn DataChannel, message: &Message, asked: &mpsc::Sender<Asked>) -> bool {
    if let Message::Request { segment, piece, .. } = message {
        // When the receiver is behind, nothing more is asked for: what would come could not be told from what never was. The
        // brain looks elsewhere in time.
        if asked.try_send((*segment, *piece)).is_err() {
            return true;
        }
    }
    put(channel, message).await
}

async fn put(channel: &dyn DataChannel, message: &Message) -> bool {
    let mut frame = BytesMut::with_capacity(message.encoded_len());
    message.encode_into(&mut frame);
    channel.send(frame).await.is_ok()
}

/// The parts of a piece, each within one chunk and of at most [`MAX_PART`] bytes, with their offsets.
pub(super) fn parts(chunks: &[Bytes]) -> Vec<(u32, Bytes)> {
    let mut parts: Vec<(u32, Bytes)> = Vec::new();
    let mut gathered = BytesMut::new();
    let mut offset = 0u32;
    for chunk in chunks {
        let mut rest = chunk.clone();
        while !rest.is_empty() {
            let room = MAX_PART - gathered.len();
            gathered.extend_from_slice(&rest.split_to(room.min(rest.len())));
            if gathered.len() == MAX_PART {
                let part = std::mem::take(&mut gathered).freeze();
                parts.push((offset, part));
                offset += MAX_PART as u32;
            }
        }
    }
    if !gathered.is_empty() {
        parts.push((offset, gathered.freeze()));
    }
    parts
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;
    use crate::engine::peers::{Access, IceOptions};
    use crate::model::ids::PeerId;

    #[tokio::test]
    async fn nothing_is_left_of_a_closed_connection() {
        let options = Options::new(
            PeerId::from_entropy([7; 12]),
            &IceOptions::default(),
            vec!["ws://127.0.0.1:7224/".parse().unwrap()],
            watch::channel(Access::default()).1,
        );
        let peer = Peer::new(&options, options.addresses.at(0), Shared::default()).await.unwrap();
        peer.offer(&options).await.unwrap();
        assert!(peer.offer(&options).await.is_err(), "one offer is made");
        let events = Arc::downgrade(&peer.events);
        peer.close().await;
        drop(peer);
        // The stack's own task lets go of the connection in its own time.
        let gone = async {
            while events.upgrade().is_some() {
                tokio::task::yield_now().await;
            }
        };
        assert!(tokio::time::timeout(options.failed * 5, gone).await.is_ok(), "it holds itself");
    }
}
