//! A mirror of what a Node has been given in the small [`universe`](super::universe), which checks everything that it does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::universe::*;
use crate::delivery::budget::Allowance;
use crate::delivery::policy::{Options, Policy, Terms};
use crate::delivery::*;
use crate::model::ids::{PeerId, SegmentId, SwarmId};
use crate::model::time::Time;
use crate::model::timeline::{Kind, Segment, Timeline};
use crate::wire::digest::PieceHash;
use crate::wire::message::{Message, Slot};
use crate::wire::tracker::Account;

#[derive(Clone, Debug)]
pub(super) struct Fetch {
    segment: SegmentId,
    from: u32,
    to: u32,
    got: u32,
    headed: bool,
    /// When an origin that answers has brought all of it.
    due: Time,
}

/// What the Node was given and has asked for.
pub(super) struct Mirror {
    pub(super) node: Node,
    pub(super) now: Time,
    pub(super) policy: Policy,
    terms: Terms,
    /// What may still be uploaded, and until when; the Node has asked for more.
    budget: Option<(u64, Time)>,
    renewed: bool,
    fetches: BTreeMap<FetchId, Fetch>,
    /// Bytes that reached the driver from the origin, by segment; a flag each.
    origin: BTreeMap<SegmentId, Vec<bool>>,
    pub(super) held: BTreeSet<(SegmentId, u8)>,
    pub(super) asks: BTreeMap<AskId, (SegmentId, u32, u32)>,
    pub(super) flights: BTreeSet<(PeerId, SegmentId, u8)>,
    connected: BTreeSet<PeerId>,
    sending: Vec<(PeerId, SegmentId, u8)>,
    pub(super) joined: bool,
    /// It has left the swarm and not come back.
    left: bool,
    account: Option<Account>,
    next_ask: u64,
    /// The origin answers everything within [`HTTP`], and players take what they get at once.
    pub(super) prompt: bool,
    /// When each request has to be answered, and what its player has.
    promised: BTreeMap<AskId, Time>,
    asked: BTreeMap<AskId, (u64, u64, Time)>,
    /// The last that failed.
    failed: Option<AskId>,
    buffers: BTreeMap<u64, Buffer>,
    /// What players were let read and have not taken yet.
    taking: Vec<AskId>,
    /// The longest that a request waited for its end.
    pub(super) longest: Duration,
    /// Requests of neighbours that were not refused.
    queued: BTreeSet<(PeerId, SegmentId, u8)>,
    room: usize,
    /// Since when it holds more than it may, and could do with less.
    over_since: Option<Time>,
    /// Who is in our swarm.
    watching: BTreeSet<PeerId>,
    /// What each neighbour has announced and not taken back.
    announced: BTreeMap<(PeerId, SegmentId), u64>,
    /// What it has been seen to do.
    pub(super) seen: BTreeSet<&'static str>,
    /// The piece that is being handed in.
    piece: Option<(SegmentId, u8, PieceHash)>,
}

impl Mirror {
    pub(super) fn new() -> Self {
        Self::with(4 << 20)
    }

    /// With so many bytes for content.
    pub(super) fn with(memory: u64) -> Self {
        let policy = Policy::new(&Options::default(), memory);
        Self {
            node: Node::new(peer(99), policy, 1, 3),
            now: Time::from_micros(1),
            policy,
            terms: Terms::default(),
            budget: None,
            renewed: false,
            fetches: BTreeMap::new(),
            origin: BTreeMap::new(),
            held: BTreeSet::new(),
            asks: BTreeMap::new(),
            flights: BTreeSet::new(),
            connected: BTreeSet::new(),
            sending: Vec::new(),
            joined: false,
            left: false,
            account: None,
            next_ask: 0,
            prompt: false,
            promised: BTreeMap::new(),
            asked: BTreeMap::new(),
            failed: None,
            buffers: BTreeMap::new(),
            taking: Vec::new(),
            longest: Duration::ZERO,
            queued: BTreeSet::new(),
            room: 0,
            over_since: None,
            watching: BTreeSet::new(),
            announced: BTreeMap::new(),
            seen: BTreeSet::new(),
            piece: None,
        }
    }

    pub(super) fn tell(&mut self, input: Input) -> usize {
        let mut out = Vec::new();
        self.node.handle(self.now, input, &mut out);
        let joins = self.node.sessions().iter().any(|s| s.joined);
        let count = out.len();
        assert!(count < 2000, "{count} outputs at once");
        for output in out {
            self.left = (self.left || matches!(output, Output::Leave { .. })) && !joins;
            assert!(!self.left || !shares(&output), "the swarm was left: {output:?}");
            self.check(output);
        }
        self.bounds();
        for ask in std::mem::take(&mut self.taking) {
            self.takes(ask);
        }
        count
    }

    /// Whatever comes from outside, only so much of it is kept.
    fn bounds(&mut self) {
        let policy = self.node.policy();
        let (mut used, mut idle, mut places) = (0, 0, 0);
        for session in self.node.sessions() {
            used += session.active.iter().map(|p| p.footprint()).sum::<u64>();
            idle += session.active.iter().filter(|p| p.idle()).map(|p| p.footprint()).sum::<u64>();
            // Everybody who gives has a full house, and whoever is in a swarm where all can know all.
            let gives = policy.p2p && policy.upload && session.terms.upload;
            let full = gives || session.viewers <= 16;
            places += if !session.joined { 0 } else { if full { 15 } else { 8 } };
        }
        assert_eq!(self.room, places, "places that the driver was told of, and places that there are");
        let over = used > policy.memory && idle > 0;
        self.over_since = if over { self.over_since.or(Some(self.now)) } else { None };
        let long = self.over_since.is_some_and(|since| self.now - since > HOUSEKEEPING);
        assert!(!long, "{used} bytes are kept, {idle} of them for nobody");
        for neighbour in self.node.neighbours() {
            assert!(neighbour.pending.len() <= 64, "{} announcements wait", neighbour.pending.len());
            let of = |one: &&(PeerId, SegmentId, u8)| one.0 == neighbour.peer;
            let queued = self.queued.iter().chain(&self.sending).filter(of).count();
            assert!(queued <= policy::UPLOADS_EACH, "{queued} pieces for one neighbour");
        }
        assert!(self.queued.len() <= policy::UPLOADS_WAITING, "{} pieces queue", self.queued.len());
        assert!(self.flights.len() <= policy::IN_FLIGHT, "{} requests in flight", self.flights.len());
    }

    /// Everything the Node says must fit what it was given.
    fn check(&mut self, output: Output) {
        match output {
            Output::Fetch { fetch, segment, from, to, .. } => {
                self.seen.insert("fetch");
                let to = to.unwrap_or(LENGTH);
                assert!(from < to, "an empty fetch");
                for other in self.fetches.values().filter(|f| f.segment == segment) {
                    let apart = to <= other.from || other.to <= from;
                    assert!(apart, "{from}..{to} is asked for while {}..{} is", other.from, other.to);
                }
                let new = Fetch { segment, from, to, got: from, headed: false, due: self.now + HTTP };
                assert!(self.fetches.insert(fetch, new).is_none(), "a name is used twice");
            }
            Output::CancelFetch { fetch } => {
                self.seen.insert("cancel fetch");
                self.fetches.remove(&fetch).expect("a fetch that is under way");
            }
            Output::Ready { ask, up_to, .. } => {
                self.seen.insert("ready");
                let (segment, ready, _) = *self.asks.get(&ask).expect("a request that is open");
                assert!(up_to >= ready, "an answer goes backwards");
                assert!(self.readable(segment, ready, up_to), "bytes {ready}..{up_to} are not here");
                if let Some(entry) = self.asks.get_mut(&ask) {
                    entry.1 = up_to;
                }
                if self.prompt {
                    self.taking.push(ask);
                }
            }
            Output::Fail { ask, .. } => {
                self.seen.insert("fail");
                self.asks.remove(&ask).expect("a request that is open");
                self.promised.remove(&ask);
                self.failed = Some(ask);
            }
            Output::Keep { segment, piece } => {
                self.seen.insert("keep");
                let (s, p, hash) = self.piece.expect("a piece that is being handed in");
                assert_eq!((s, p), (segment, piece));
                // A lie is kept only while nothing contradicts it; what the origin brought is never replaced.
                let own = self.whole(segment, piece);
                assert!(!own || hash == truth(segment, piece), "wrong bytes in the place of right ones");
                self.held.insert((segment, piece));
            }
            Output::Discard { segment, pieces } => {
                self.held.retain(|(s, p)| *s != segment || pieces & 1 << p == 0)
            }
            Output::Drop { segment } => {
                self.seen.insert("drop");
                self.held.retain(|(s, _)| *s != segment);
                self.origin.remove(&segment);
                self.queued.retain(|q| q.1 != segment);
            }
            Output::Say { peer, message } => self.says(peer, message),
            Output::SendPiece { peer, segment, piece } => {
                self.seen.insert("send");
                assert!(self.connected.contains(&peer), "a piece for somebody who has gone");
                assert!(self.held.contains(&(segment, piece)), "a piece that is not here");
                assert!(self.holds().p2p && self.holds().upload, "an upload that is forbidden");
                if let Some((left, _)) = &mut self.budget {
                    let bytes = grid().span(piece).len() as u64;
                    *left = left.checked_sub(bytes).expect("a budget that covers it");
                }
                assert!(self.queued.remove(&(peer, segment, piece)), "nobody asked for piece {piece}");
                self.sending.push((peer, segment, piece));
            }
            Output::Disconnect { peer, .. } => {
                self.seen.insert("disconnect");
                assert!(self.connected.remove(&peer), "somebody who is not there");
                self.gone(peer);
            }
            Output::Announce { swarm, account, .. } => {
                assert_eq!(swarm, self::swarm());
                assert!(self.holds().p2p);
                self.joined = true;
                self.told(account);
            }
            Output::Leave { account, .. } => {
                self.joined = false;
                self.told(account);
            }
            Output::Connect { .. } => assert!(self.policy.p2p),
            Output::Renew => {
                self.seen.insert("renew");
                let (_, until) = self.budget.expect("a budget");
                assert!(until <= self.now && !self.renewed, "asked for more before the end, or twice");
                self.renewed = true;
            }
            Output::Room { connections } => self.room = connections,
            Output::Allow { .. } | Output::Report(_) => {}
        }
    }

    /// What trackers are told grows as long as it is one account, and is never more than came.
    fn told(&mut self, account: Account) {
        let before = self.account.replace(account).filter(|before| before.began_us == account.began_us);
        let (before, totals) = (before.unwrap_or_default(), self.node.totals());
        assert!(before.http <= account.http && account.http <= totals.http, "{account:?}");
        assert!(before.p2p <= account.p2p && account.p2p <= totals.p2p, "{account:?}");
        assert!(before.uploaded <= account.uploaded && account.uploaded <= totals.uploaded, "{account:?}");
    }

    fn says(&mut self, peer: PeerId, message: Message) {
        assert!(self.connected.contains(&peer), "{message:?} for somebody who has gone");
        match message {
            Message::Request { segment, piece, .. } => {
                self.seen.insert("request");
                assert!(self.holds().p2p);
                assert!(!self.held.contains(&(segment, piece)), "piece {piece} is here");
                let said = self.announced.get(&(peer, segment)).copied().unwrap_or_default();
                assert!(said & 1 << piece != 0, "piece {piece} is asked of one that never had it");
                let others = self.flights.iter().filter(|f| (f.1, f.2) == (segment, piece)).count();
                assert!(others < 2, "piece {piece} is asked from three");
                assert!(self.flights.insert((peer, segment, piece)), "piece {piece} is asked twice of one");
            }
            Message::Busy { segment, piece, .. } => {
                self.queued.remove(&(peer, segment, piece));
            }
            Message::Cancel { segment, piece } => {
                self.seen.insert("cancel");
                self.flights.remove(&(peer, segment, piece));
            }
            Message::Have { segment, pieces, .. } => {
                self.seen.insert("have");
                assert!(self.holds().upload || pieces.is_empty(), "a download-only viewer announces");
                assert!(!self.node.is_spent() || pieces.is_empty(), "what no budget covers is announced");
                for (piece, _) in pieces {
                    assert!(self.held.contains(&(segment, piece)), "piece {piece} is announced and not here");
                }
            }
            _ => {}
        }
    }

    /// What the Node may do.
    fn holds(&self) -> Policy {
        self.terms.over(&self.policy)
    }

    /// The bytes of a piece all came from the origin.
    fn whole(&self, segment: SegmentId, piece: u8) -> bool {
        let span = grid().span(piece);
        self.origin
            .get(&segment)
            .is_some_and(|got| got[span.start as usize..span.end as usize].iter().all(|b| *b))
    }

    fn readable(&self, segment: SegmentId, from: u32, to: u32) -> bool {
        let got = self.origin.get(&segment);
        (from..to).step_by(97).chain((to > from).then(|| to - 1)).all(|at| {
            self.held.contains(&(segment, grid().piece_at(at))) || got.is_some_and(|got| got[at as usize])
        })
    }

    fn parted(&mut self, peer: PeerId) {
        self.announced.retain(|said, _| said.0 != peer);
        self.watching.remove(&peer);
    }

    fn gone(&mut self, peer: PeerId) {
        self.parted(peer);
        self.flights.retain(|f| f.0 != peer);
        self.sending.retain(|s| s.0 != peer);
        self.queued.retain(|q| q.0 != peer);
    }

    fn bytes(&mut self, id: FetchId, more: u32) {
        let Some(fetch) = self.fetches.get_mut(&id) else { return };
        if !std::mem::replace(&mut fetch.headed, true) {
            let length = Some(u64::from(LENGTH));
            self.tell(Input::Head { fetch: id, length, shareable: true });
        }
        let Some(fetch) = self.fetches.get_mut(&id) else { return };
        let (segment, before) = (fetch.segment, fetch.got);
        fetch.got = (fetch.got + more).min(fetch.to);
        let up_to = fetch.got;
        let got = self.origin.entry(segment).or_insert_with(|| vec![false; LENGTH as usize]);
        got[before as usize..up_to as usize].fill(true);
        self.tell(Input::Arrived { fetch: id, up_to });
        for piece in 0..grid().pieces() {
            let span = grid().span(piece);
            if span.end > before && span.start < up_to && self.whole(segment, piece) {
                self.held.insert((segment, piece));
                self.tell(Input::Hashed { segment, piece, hash: truth(segment, piece) });
            }
        }
        if self.fetches.get(&id).is_some_and(|fetch| fetch.got == fetch.to) {
            self.fetches.remove(&id);
            self.tell(Input::Fetched { fetch: id });
        }
    }

    fn origin(&mut self, which: u8, does: Does) {
        let Some(&id) = self.fetches.keys().nth(usize::from(which) % self.fetches.len().max(1)) else {
            return;
        };
        match does {
            Does::Head => self.bytes(id, 0),
            Does::Bytes(more) => self.bytes(id, 4 * u32::from(more)),
            Does::All => self.bytes(id, LENGTH),
            Does::Fail(how) => {
                self.fetches.remove(&id);
                let fault =
                    [Fault::Denied, Fault::Refused, Fault::Unavailable, Fault::Broken][usize::from(how)];
                self.tell(Input::Failed { fetch: id, fault });
            }
        }
    }

    pub(super) fn said(&mut self, who: u8, message: Message) {
        if self.connected.contains(&peer(who)) {
            match &message {
                Message::Joined { swarm, .. } if *swarm == self::swarm() => {
                    self.watching.insert(peer(who));
                }
                Message::Joined { .. } | Message::Left { .. } => self.parted(peer(who)),
                Message::Have { segment, pieces, .. } if self.watching.contains(&peer(who)) => {
                    let bits = pieces.iter().fold(0, |bits, (piece, _)| bits | 1 << piece);
                    *self.announced.entry((peer(who), *segment)).or_default() |= bits;
                }
                Message::Lost { segment } => drop(self.announced.remove(&(peer(who), *segment))),
                Message::Busy { segment, piece, retry_ms: 0 } => {
                    self.announced.entry((peer(who), *segment)).and_modify(|bits| *bits &= !(1 << piece));
                }
                _ => {}
            }
            self.tell(Input::Said { peer: peer(who), message });
        }
    }

    fn deliver(&mut self, who: u8, wrong: bool) {
        let Some(&(from, segment, piece)) = self.flights.iter().find(|f| f.0 == peer(who)) else { return };
        self.flights.remove(&(from, segment, piece));
        let hash = if wrong { PieceHash([0xEE; 16]) } else { truth(segment, piece) };
        self.piece = Some((segment, piece, hash));
        let length = grid().span(piece).len() as u32;
        self.tell(Input::Piece { peer: from, segment, piece, length, hash });
        self.piece = None;
    }

    /// Lets time pass, waking the Node whenever it wants; it may not want that for ever at one moment.
    pub(super) fn wait(&mut self, length: Duration) {
        let until = self.now + length;
        let (mut at_once, mut last) = (0, Time::ZERO);
        loop {
            let wake = self.node.next_wakeup().filter(|(at, _)| *at <= until);
            let due = self.fetches.iter().filter(|_| self.prompt).map(|(id, f)| (f.due, *id)).min();
            let due = due.filter(|(at, _)| *at <= until && wake.is_none_or(|(wake, _)| *at <= wake));
            if let Some((at, fetch)) = due {
                self.now = self.now.max(at);
                self.bytes(fetch, LENGTH);
                continue;
            }
            let Some((at, why)) = wake else { break };
            self.now = self.now.max(at);
            at_once = if self.now > last { 0 } else { at_once + 1 };
            last = self.now;
            if why == Wake::Budget {
                assert!(self.budget.is_some_and(|(_, until)| until == at) && !self.renewed);
            }
            assert!(at_once < 20, "woken for {why:?} again and again at {}", self.now);
            self.tell(Input::Tick);
        }
        self.now = until;
        for (ask, by) in &self.promised {
            assert!(self.now <= *by, "{ask:?} was to be answered by {by}, and is not at {}", self.now);
        }
    }

    /// The clock jumps: the machine was suspended, and nobody was woken in between.
    pub(super) fn jump(&mut self, length: Duration) {
        self.now += length;
        self.promised.clear();
        self.tell(Input::Tick);
    }

    /// The clock is behind for a moment, which counts as no time at all.
    pub(super) fn falter(&mut self, by: Duration) {
        self.tell(Input::Tick);
        let now = self.now;
        self.now = now.back(by);
        self.tell(Input::Tick);
        self.now = now;
        assert_eq!(self.node.now, now, "an earlier time counts as the latest one");
    }

    /// A player asks; nobody else does so in its name.
    pub(super) fn asks(&mut self, viewer: u64, sequence: u64, from: u32) {
        let (ask, id) = (AskId(self.next_ask), segment(sequence));
        self.next_ask += 1;
        self.asks.insert(ask, (id, from, from));
        let mut was = None;
        if self.prompt {
            let now = self.now;
            let before: Vec<u64> = self
                .asks
                .keys()
                .filter_map(|a| self.asked.get(a))
                .filter(|a| a.0 == viewer)
                .map(|a| a.1)
                .collect();
            let buffer = self.buffers.entry(viewer).or_insert(Buffer::at(sequence));
            was = Some((viewer, *buffer));
            let slack = buffer.asks(sequence, &before, now);
            self.asked.insert(ask, (viewer, sequence, now));
            self.promised.insert(ask, now + slack + HTTP + GRACE);
        }
        self.tell(Input::Asked { ask, viewer, swarm: swarm(), segment: id, from, to: None });
        if let Some(was) = was.filter(|_| self.failed == Some(ask)) {
            // It goes past the Node, which sees nothing of it.
            self.buffers.extend([was]);
        }
    }

    /// A player takes what it was let read, and is done with what it has all of.
    fn takes(&mut self, ask: AskId) {
        let Some(&(_, up_to, _)) = self.asks.get(&ask) else { return };
        let (viewer, sequence, asked) = self.asked[&ask];
        if up_to == LENGTH {
            self.longest = self.longest.max(self.now - asked);
            let by = self.promised.remove(&ask).expect("a request that is open");
            assert!(self.now <= by, "{ask:?} was to be answered by {by}, and is at {}", self.now);
            self.asks.remove(&ask);
        }
        if let Some(buffer) = self.buffers.get_mut(&viewer) {
            buffer.takes((up_to == LENGTH).then_some(sequence), self.now);
        }
        self.tell(Input::Took { ask, up_to });
        if up_to == LENGTH {
            self.tell(Input::Done { ask });
        }
    }

    pub(super) fn live(&mut self, step: Step) {
        match step {
            Step::List { viewer, kind, first, count } => {
                let kind = [Kind::Live, Kind::Event, Kind::Vod][usize::from(kind)];
                let segments = (u64::from(first)..u64::from(first + count).min(12))
                    .map(|s| Segment { id: segment(s), sequence: s, duration: TARGET })
                    .collect();
                let timeline =
                    Timeline { swarm: swarm(), kind, target: TARGET, alternatives: count % 2 == 1, segments };
                if self.node.sessions().is_empty() {
                    self.terms = Terms::default();
                }
                self.tell(Input::Listed { timeline, viewer: u64::from(viewer) });
            }
            Step::Ask { viewer, sequence, from } => {
                self.asks(u64::from(viewer), u64::from(sequence), 4 * u32::from(from));
            }
            Step::Origin { .. } if self.prompt => {}
            Step::Origin { which, does } => self.origin(which, does),
            Step::Join(n) => {
                self.gone(peer(n));
                self.connected.insert(peer(n));
                self.tell(Input::Joined { peer: peer(n) });
            }
            Step::Leave(n) => {
                if self.connected.remove(&peer(n)) {
                    self.gone(peer(n));
                    self.tell(Input::Left { peer: peer(n), misbehaved: false });
                }
            }
            Step::Greet(n) => {
                if !self.connected.contains(&peer(n)) {
                    self.live(Step::Join(n));
                }
                self.said(n, Message::Hello { version: 1, features: 0, uploads: n != 4 });
                self.said(n, Message::Joined { slot: Slot(0), swarm: swarm() });
                self.said(n, Message::Window { slot: Slot(0), first: 0, last: u64::MAX });
            }
            Step::Parts { peer: n, moves: false } => self.said(n, Message::Left { slot: Slot(0) }),
            Step::Parts { peer: n, moves: true } => {
                self.said(n, Message::Joined { slot: Slot(0), swarm: SwarmId::of("another") });
            }
            Step::Have { peer: n, sequence, bits, lie, loading } => {
                let (sequence, id) = (u64::from(sequence), segment(u64::from(sequence)));
                let name = |piece| if lie { PieceHash([n; 16]) } else { truth(id, piece) };
                let pieces = pieces::ones(u64::from(bits) & grid().all()).map(|p| (p, name(p))).collect();
                let (slot, segment, length) = (Slot(0), id, LENGTH);
                self.said(n, Message::Have { slot, segment, sequence, length, loading, pieces });
            }
            Step::Busy { peer: n, retry } => {
                if let Some(&(from, segment, piece)) = self.flights.iter().find(|f| f.0 == peer(n)) {
                    self.flights.remove(&(from, segment, piece));
                    self.said(n, Message::Busy { segment, piece, retry_ms: u16::from(retry) });
                }
            }
            Step::Lost { peer, sequence } => {
                self.said(peer, Message::Lost { segment: segment(u64::from(sequence)) })
            }
            Step::Deliver { peer, wrong } => self.deliver(peer, wrong),
            Step::Request { peer: n, sequence, piece } => {
                let (segment, within_ms) = (segment(u64::from(sequence)), 900);
                if self.connected.contains(&peer(n)) && !self.sending.contains(&(peer(n), segment, piece)) {
                    self.queued.insert((peer(n), segment, piece));
                }
                self.said(n, Message::Request { segment, piece, within_ms });
            }
            Step::Sent => {
                if let Some((peer, segment, piece)) = self.sending.pop() {
                    self.tell(Input::Sent { peer, segment, piece });
                }
            }
            Step::Wait(ms) => self.wait(Duration::from_millis(u64::from(ms))),
            Step::Size(viewers) => {
                self.tell(Input::SwarmSize { swarm: swarm(), viewers: u32::from(viewers) });
            }
            Step::Tracker(up) => {
                self.tell(Input::Tracker { tracker: 0, up, interval_s: 120 });
            }
            Step::Policy { p2p, upload } => {
                self.policy.p2p = p2p;
                self.policy.upload = p2p && upload;
                self.tell(Input::Policy(self.policy));
            }
            Step::Terms { p2p, upload } => {
                let terms = Terms { p2p, upload, prefetch: None };
                if !self.node.sessions().is_empty() {
                    self.terms = terms;
                }
                self.tell(Input::Terms { swarm: swarm(), terms });
            }
            Step::Budget { left, lasts } => {
                let (left, until) = (u64::from(left), self.now + Duration::from_millis(u64::from(lasts)));
                (self.budget, self.renewed) = (Some((left, until)), false);
                self.tell(Input::Budget(Some(Allowance { left, until })));
            }
            Step::HangUp(which) => {
                let ask = self.asks.keys().nth(usize::from(which) % self.asks.len().max(1)).copied();
                if let Some(ask) = ask {
                    self.asks.remove(&ask);
                    self.promised.remove(&ask);
                    self.tell(Input::Done { ask });
                }
            }
        }
    }
}
