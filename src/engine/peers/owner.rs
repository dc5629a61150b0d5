//! Who is connected and who is being connected: one task owns it all, and is spoken to by channels.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};

use super::complaints::Complaints;
use super::life::Life;
use super::options::Options;
use super::shunned::Shunned;
use crate::engine::link::{Command, Event};
use crate::engine::origin;
use crate::engine::peer::{BULK, CONTROL, Ended, Outgoing, Peer};
use crate::engine::sdp::{self, Fingerprint};
use crate::engine::signalling::Signal;
use crate::engine::udp::Shared;
use crate::model::ids::{PeerId, SwarmId};
use crate::wire::message::Message;
use crate::wire::tracker::{self, Account, Offer, OfferId, ToTracker};

/// Connections at the same time, open or being made, offers included.
pub(super) const CONNECTIONS: usize = 96;
/// Of those, offers that wait for an answer; for another one the oldest goes. The rest is for peers that come to us.
const OFFERS: usize = CONNECTIONS / 2;
/// Messages of trackers and connections that may wait for the owner.
pub(super) const INBOX: usize = 256;

/// The first steps of a connection; false when they failed.
pub(super) type Begin =
    Box<dyn FnOnce(Peer, Arc<Options>) -> Pin<Box<dyn Future<Output = bool> + Send>> + Send>;

/// Numbers connections; never used twice.
pub(super) type ConnectionId = u64;

/// What reaches the owner from its connections' tasks.
pub(super) enum Internal {
    Offers { news: Announcement, made: Vec<(ConnectionId, OfferId, String)> },
    Answer { id: ConnectionId, tracker: usize, answer: Box<ToTracker> },
    Opened(ConnectionId, oneshot::Sender<()>),
    Ended(ConnectionId, Ended),
}

/// What trackers are told of a swarm, besides offers.
#[derive(Clone, Copy)]
pub(super) struct Announcement {
    swarm: SwarmId,
    started: bool,
    uploads: bool,
    account: Account,
}

pub(super) struct Connection {
    /// Known from the beginning, or from the answer on; so is the next.
    pub(super) peer: Arc<OnceLock<PeerId>>,
    /// What the other side has to hold the key of.
    pub(super) certificate: Option<Fingerprint>,
    swarm: SwarmId,
    pub(super) link: Peer,
    /// It began with our offer.
    pub(super) ours: bool,
    pub(super) open: bool,
    /// Ours, while it waits for an answer.
    pub(super) offer: Option<OfferId>,
    control: mpsc::Sender<Message>,
    bulk: mpsc::Sender<Outgoing>,
    task: AbortHandle,
    /// How far above the configured port its own is.
    port: u16,
}

pub(super) struct Owner {
    pub(super) last_port: u16,
    /// There was no address for the last connection, and that was said.
    pub(super) placeless: bool,
    pub(super) options: Arc<Options>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) inbox: mpsc::Sender<Internal>,
    pub(super) signals: mpsc::Sender<Signal>,
    pub(super) connections: HashMap<ConnectionId, Connection>,
    pub(super) peers: HashMap<PeerId, ConnectionId>,
    pub(super) shunned: Shunned,
    pub(super) trackers: HashMap<usize, mpsc::Sender<ToTracker>>,
    pub(super) up: Vec<usize>,
    /// Why those that are not there are not, as it was said.
    pub(super) absent: Complaints,
    /// What trackers have complained of.
    pub(super) complaints: Complaints,
    /// The token that trackers are connected to with.
    pub(super) token: String,
    /// Those that were being connected to with another one when it changed.
    pub(super) outdated: Vec<usize>,
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
    pub(super) next: ConnectionId,
    pub(super) turn: usize,
    /// Peers that may be met at the same time, as the Node says.
    pub(super) room: usize,
    pub(super) tasks: JoinSet<()>,
}

pub(super) async fn run(
    options: Options,
    mut commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
) {
    let (inbox, mut internal) = mpsc::channel(INBOX);
    let (signals, mut signalled) = mpsc::channel(INBOX);
    let mut access = options.access.clone();
    access.mark_unchanged();
    let mut owner = Owner::new(options, events, inbox, signals);
    let mut joined: Vec<(SwarmId, Account)> = Vec::new();
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                None | Some(Command::Stop) => break,
                Some(Command::Announce { swarm, offers, started, uploads, account }) => {
                    joined.retain(|(s, _)| *s != swarm);
                    joined.push((swarm, account));
                    owner.announce(Announcement { swarm, started, uploads, account }, offers).await;
                }
                Some(Command::Leave { swarm, account }) => {
                    joined.retain(|(s, _)| *s != swarm);
                    owner.leave(swarm, account);
                }
                Some(command) => owner.command(command).await,
            },
            Some(signal) = signalled.recv() => owner.signal(signal).await,
            Some(news) = internal.recv() => owner.internal(news).await,
            Ok(()) = access.changed() => owner.admission(),
            Some(_) = owner.tasks.join_next() => {}
        }
    }
    // Only when the brain ended without a word: it says so of each swarm otherwise.
    for (swarm, account) in joined {
        owner.leave(swarm, account);
    }
    owner.stop().await;
}

impl Owner {
    pub(super) fn new(
        options: Options,
        events: mpsc::Sender<Event>,
        inbox: mpsc::Sender<Internal>,
        signals: mpsc::Sender<Signal>,
    ) -> Self {
        let token = options.access.borrow().token.clone();
        Self {
            last_port: 0,
            placeless: false,
            options: Arc::new(options),
            events,
            inbox,
            signals,
            connections: HashMap::new(),
            peers: HashMap::new(),
            shunned: Shunned::default(),
            trackers: HashMap::new(),
            up: Vec::new(),
            absent: Complaints::default(),
            complaints: Complaints::default(),
            token,
            outdated: Vec::new(),
            tls: origin::tls_config().ok().map(Arc::new),
            next: 0,
            turn: 0,
            room: 0,
            tasks: JoinSet::new(),
        }
    }

    pub(super) async fn command(&mut self, command: Command) {
        match command {
            Command::Connect { tracker } => self.connect(tracker),
            Command::Say { peer, message } => {
                let sent = self.connection(peer).is_some_and(|c| c.control.try_send(message).is_ok());
                self.lose_unless(sent, peer).await;
            }
            Command::SendPiece { peer, segment, piece, bytes } => {
                let outgoing = Outgoing { segment, piece, bytes };
                let sent = self.connection(peer).is_some_and(|c| c.bulk.try_send(outgoing).is_ok());
                self.lose_unless(sent, peer).await;
            }
            Command::Disconnect { peer, shun } => {
                self.drop_peer(peer, Ended::Gone).await;
                if shun {
                    self.shun(peer).await;
                }
            }
            Command::Room { connections } => self.room = connections,
            Command::Announce { .. } | Command::Leave { .. } | Command::Stop => {}
        }
    }

    /// Refuses a peer from now on, and ends what else it has here by other ids: a certificate is one daemon's.
    async fn shun(&mut self, peer: PeerId) {
        let Some(certificate) = self.shunned.shun(peer) else { return };
        let others = self.connections.values().filter(|c| c.certificate == Some(certificate));
        for other in others.filter_map(|c| c.peer.get().copied()).collect::<Vec<_>>() {
            self.drop_peer(other, Ended::Gone).await;
        }
    }

    /// Ends the connection that took no more; and whoever takes it for open hears that there is none.
    async fn lose_unless(&mut self, sent: bool, peer: PeerId) {
        match (sent, self.connection(peer)) {
            (true, _) => {}
            (false, Some(_)) => self.drop_peer(peer, Ended::Gone).await,
            (false, None) => self.tell(Event::Left { peer, misbehaved: false }).await,
        }
    }

    fn connection(&self, peer: PeerId) -> Option<&Connection> {
        self.connections.get(self.peers.get(&peer)?).filter(|c| c.open)
    }

    /// Makes offers and then announces; without a tracker that is up there is nobody to announce to.
    async fn announce(&mut self, news: Announcement, offers: usize) {
        let offers = offers.min(OFFERS);
        self.make_room(offers);
        let offers = offers.min(CONNECTIONS.saturating_sub(self.connections.len()));
        let mut made = Vec::new();
        for _ in 0..offers {
            let Ok(mut raw) = random() else { break };
            raw.iter_mut().for_each(|byte| *byte = b'a' + *byte % 26);
            let offer_id = OfferId::from_bytes(&raw);
            made.push((self.reserve(), offer_id));
        }
        let (options, inbox) = (Arc::clone(&self.options), self.inbox.clone());
        let mut ready = Vec::new();
        for (id, offer_id) in made {
            let (done, offer) = oneshot::channel();
            ready.push((id, offer_id.clone(), offer));
            self.dial(id, news.swarm, offer_id, done).await;
        }
        self.tasks.spawn(async move {
            let mut made = Vec::new();
            for (id, offer_id, offer) in ready {
                if let Ok(Ok(Some(sdp))) = tokio::time::timeout(options.gathering * 2, offer).await {
                    made.push((id, offer_id, sdp));
                }
            }
            let _ = inbox.send(Internal::Offers { news, made }).await;
        });
    }

    /// Takes back the oldest offers that nobody answered, where there would be too many with so many more.
    fn make_room(&mut self, more: usize) {
        let waiting = self.connections.iter().filter(|(_, c)| c.offer.is_some()).map(|(id, _)| *id);
        let mut waiting: Vec<ConnectionId> = waiting.collect();
        waiting.sort_unstable();
        let spare = (waiting.len() + more).saturating_sub(OFFERS);
        waiting.iter().take(spare).for_each(|&id| self.close(id));
    }

    pub(super) fn reserve(&mut self) -> ConnectionId {
        self.next += 1;
        self.next
    }

    /// A connection that begins with our offer.
    pub(super) async fn dial(
        &mut self,
        id: ConnectionId,
        swarm: SwarmId,
        offer_id: OfferId,
        done: oneshot::Sender<Option<String>>,
    ) {
        let begin: Begin = Box::new(move |link, options| {
            Box::pin(async move {
                let offer = link.offer(&options).await;
                let _ = done.send(offer.as_ref().ok().map(|offer| sdp::outgoing(offer)));
                offer.is_ok()
            })
        });
        self.spawn((id, swarm), None, Some(offer_id), begin).await;
    }

    /// Binds the sockets of a connection and starts its task; false when that fails.
    pub(super) async fn spawn(
        &mut self,
        (id, swarm): (ConnectionId, SwarmId),
        stranger: Option<(PeerId, Fingerprint)>,
        offer: Option<OfferId>,
        begin: Begin,
    ) -> bool {
        let port = self.free_port();
        let addresses = self.options.addresses.at(port);
        if addresses.is_empty() {
            if !std::mem::replace(&mut self.placeless, true) {
                tracing::info!("no peers for now: this machine has no address towards the Internet");
            }
            return false;
        }
        self.placeless = false;
        let link = match Peer::new(&self.options, addresses, Shared::default()).await {
            Ok(link) => link,
            Err(error) => {
                tracing::warn!(
                    "no connection to a peer can be made: {error}; P2P rests until that is mended"
                );
                return false;
            }
        };
        let (control, control_queue) = mpsc::channel(CONTROL);
        let (bulk, bulk_queue) = mpsc::channel(BULK);
        let known = Arc::new(OnceLock::new());
        if let Some((peer, _)) = stranger {
            let _ = known.set(peer);
        }
        let life = Life {
            id,
            link: link.clone(),
            peer: Arc::clone(&known),
            options: Arc::clone(&self.options),
            inbox: self.inbox.clone(),
            events: self.events.clone(),
        };
        let ours = offer.is_some();
        let task = self.tasks.spawn(life.live(begin, ours, control_queue, bulk_queue));
        let (certificate, open) = (stranger.map(|(_, certificate)| certificate), false);
        let connection = Connection {
            peer: known,
            certificate,
            swarm,
            link,
            ours,
            open,
            offer,
            control,
            bulk,
            task,
            port,
        };
        self.connections.insert(id, connection);
        true
    }

    /// How far above the configured port the next one is that no connection has. Ports go round, since a socket that was
    /// just closed may not be free yet.
    fn free_port(&mut self) -> u16 {
        if !self.options.addresses.are_counted() {
            return 0;
        }
        let most = CONNECTIONS as u16;
        let taken = |port: u16| self.connections.values().any(|connection| connection.port == port);
        let free = (1..=most).map(|step| (self.last_port + step) % most).find(|&port| !taken(port));
        self.last_port = free.unwrap_or(self.last_port);
        self.last_port
    }

    pub(super) async fn internal(&mut self, news: Internal) {
        match news {
            Internal::Offers { news, made } => self.announce_with(news, made),
            Internal::Answer { id, tracker, answer } => {
                let sent = self.connections.contains_key(&id)
                    && self.trackers.get(&tracker).is_some_and(|t| t.try_send(*answer).is_ok());
                if !sent {
                    self.close(id);
                }
            }
            Internal::Opened(id, ready) => {
                let Some(connection) = self.connections.get_mut(&id) else { return };
                let Some(&peer) = connection.peer.get() else { return };
                connection.open = true;
                let swarm = connection.swarm;
                if let Some(certificate) = connection.certificate {
                    self.shunned.met(peer, certificate);
                }
                self.tell(Event::Joined { peer, swarm }).await;
                let _ = ready.send(());
            }
            Internal::Ended(id, ended) => {
                let open = self.connections.get(&id).filter(|c| c.open).and_then(|c| c.peer.get().copied());
                self.close(id);
                if let Some(peer) = open {
                    self.tell(Event::Left { peer, misbehaved: ended == Ended::Misbehaved }).await;
                }
            }
        }
    }

    /// Tells every tracker; the offers go to one of them, since an offer can be answered once.
    fn announce_with(&mut self, news: Announcement, made: Vec<(ConnectionId, OfferId, String)>) {
        let Announcement { swarm, started, uploads, account } = news;
        self.turn = self.turn.wrapping_add(1);
        let chosen = self.up.get(self.turn % self.up.len().max(1)).copied();
        for (index, outgoing) in &self.trackers {
            let mine = Some(*index) == chosen;
            let offers: Vec<Offer> = made
                .iter()
                .filter(|_| mine)
                .map(|(_, offer_id, sdp)| Offer { offer_id: offer_id.clone(), sdp: sdp.clone() })
                .collect();
            let announce = ToTracker::Announce {
                info_hash: swarm,
                peer_id: self.options.me,
                event: started.then_some(tracker::Event::Started),
                numwant: offers.len() as u32,
                offers,
                extra: Some(tracker::Extra {
                    uploads,
                    known: self.peers.keys().take(tracker::MAX_KNOWN).copied().collect(),
                    account: Some(account),
                    ..tracker::Extra::default()
                }),
            };
            // A tracker that does not keep up hears it next time.
            let _ = outgoing.try_send(announce);
        }
        if chosen.is_none() {
            for (id, ..) in made {
                self.close(id);
            }
        }
    }

    /// Leaves a swarm: trackers are told, offers that were for it are withdrawn, open connections stay.
    fn leave(&mut self, swarm: SwarmId, account: Account) {
        for outgoing in self.trackers.values() {
            let _ = outgoing.try_send(ToTracker::Announce {
                info_hash: swarm,
                peer_id: self.options.me,
                event: Some(tracker::Event::Stopped),
                numwant: 0,
                offers: Vec::new(),
                extra: Some(tracker::Extra { account: Some(account), ..tracker::Extra::default() }),
            });
        }
        let waiting = self.connections.iter().filter(|(_, c)| c.swarm == swarm && !c.open);
        for id in waiting.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.close(id);
        }
    }

    async fn drop_peer(&mut self, peer: PeerId, ended: Ended) {
        let Some(&id) = self.peers.get(&peer) else { return };
        let open = self.connections.get(&id).is_some_and(|c| c.open);
        self.close(id);
        if open {
            self.tell(Event::Left { peer, misbehaved: ended == Ended::Misbehaved }).await;
        }
    }

    /// Ends a connection and frees what it holds.
    pub(super) fn close(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.remove(&id) else { return };
        if let Some(peer) = connection.peer.get()
            && self.peers.get(peer) == Some(&id)
        {
            self.peers.remove(peer);
        }
        connection.task.abort();
        let (link, patience) = (connection.link, self.options.failed);
        self.tasks.spawn(async move {
            let _ = tokio::time::timeout(patience, link.close()).await;
        });
    }

    /// The brain takes its time at most as long as its queue is full; that is felt by all peers.
    pub(super) async fn tell(&self, event: Event) {
        let _ = self.events.send(event).await;
    }

    pub(super) async fn stop(mut self) {
        for id in self.connections.keys().copied().collect::<Vec<_>>() {
            self.close(id);
        }
        // Closing the queues lets each tracker connection send what is in it and say goodbye.
        self.trackers.clear();
        let over = async { while self.tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(Duration::from_secs(2), over).await;
    }
}

fn random() -> Result<[u8; 20], getrandom::Error> {
    let mut bytes = [0; 20];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}
