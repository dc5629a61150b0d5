//! A mirror of what a Node has been given in the small [`universe`](super::universe), which checks everything that it does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::universe::*;
use crate::delivery::policy::{Options, Policy, Terms};
use crate::delivery::*;
use crate::model::ids::{PeerId, SegmentId};
use crate::model::time::Time;
use crate::wire::digest::PieceHash;
use crate::wire::message::Message;
use crate::wire::tracker::Account;

#[derive(Clone, Debug)]
pub(super) struct Fetch {
    pub(super) segment: SegmentId,
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) got: u32,
    pub(super) headed: bool,
    /// When an origin that answers has brought all of it.
    pub(super) due: Time,
}

/// What the Node was given and has asked for.
pub(super) struct Mirror {
    pub(super) node: Node,
    pub(super) now: Time,
    pub(super) policy: Policy,
    pub(super) terms: Terms,
    /// What may still be uploaded, and until when; the Node has asked for more.
    pub(super) budget: Option<(u64, Time)>,
    pub(super) renewed: bool,
    pub(super) fetches: BTreeMap<FetchId, Fetch>,
    /// Bytes that reached the driver from the origin, by segment; a flag each.
    pub(super) origin: BTreeMap<SegmentId, Vec<bool>>,
    pub(super) held: BTreeSet<(SegmentId, u8)>,
    pub(super) asks: BTreeMap<AskId, (SegmentId, u32, u32)>,
    pub(super) flights: BTreeSet<(PeerId, SegmentId, u8)>,
    pub(super) connected: BTreeSet<PeerId>,
    pub(super) sending: Vec<(PeerId, SegmentId, u8)>,
    pub(super) joined: bool,
    /// It has left the swarm and not come back.
    pub(super) left: bool,
    pub(super) account: Option<Account>,
    pub(super) next_ask: u64,
    /// The origin answers everything within [`HTTP`], and players take what they get at once.
    pub(super) prompt: bool,
    /// When each request has to be answered, and what its player has.
    pub(super) promised: BTreeMap<AskId, Time>,
    pub(super) asked: BTreeMap<AskId, (u64, u64, Time)>,
    /// The last that failed.
    pub(super) failed: Option<AskId>,
    pub(super) buffers: BTreeMap<u64, Buffer>,
    /// What players were let read and have not taken yet.
    pub(super) taking: Vec<AskId>,
    /// The longest that a request waited for its end.
    pub(super) longest: Duration,
    /// Requests of neighbours that were not refused.
    pub(super) queued: BTreeSet<(PeerId, SegmentId, u8)>,
    pub(super) room: usize,
    /// Since when it holds more than it may, and could do with less.
    pub(super) over_since: Option<Time>,
    /// Who is in our swarm.
    pub(super) watching: BTreeSet<PeerId>,
    /// What each neighbour has announced and not taken back.
    pub(super) announced: BTreeMap<(PeerId, SegmentId), u64>,
    /// What it has been seen to do.
    pub(super) seen: BTreeSet<&'static str>,
    /// The piece that is being handed in.
    pub(super) piece: Option<(SegmentId, u8, PieceHash)>,
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
        let begun = self.fetches.keys().next_back().copied();
        for output in out {
            self.left = (self.left || matches!(output, Output::Leave { .. })) && !joins;
            assert!(!self.left || !shares(&output), "the swarm was left: {output:?}");
            self.check(output);
        }
        self.called_off(begun);
        self.bounds();
        for ask in std::mem::take(&mut self.taking) {
            self.takes(ask);
        }
        count
    }

    /// Whatever comes from outside, only so much of it is kept.
    fn bounds(&mut self) {
        let claims = self.node.sessions().iter().flat_map(|session| session.active.iter());
        for (_, until) in claims.filter_map(|pieces| pieces.claimed) {
            let woken = self.node.next_wakeup().is_some_and(|(at, _)| at <= until.max(self.now));
            assert!(woken, "a claim until {until}, and {:?}", self.node.next_wakeup());
        }
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
        let held: u64 = self.held.iter().map(|(_, piece)| grid().span(*piece).len() as u64).sum();
        assert!(held <= self.node.kept, "{held} bytes are here, and {} are counted", self.node.kept);
        self.books();
        for neighbour in self.node.neighbours() {
            assert!(neighbour.pending.len() <= 64, "{} announcements wait", neighbour.pending.len());
            let of = |one: &&(PeerId, SegmentId, u8)| one.0 == neighbour.peer;
            let queued = self.queued.iter().chain(&self.sending).filter(of).count();
            assert!(queued <= policy::UPLOADS_EACH, "{queued} pieces for one neighbour");
        }
        assert!(self.queued.len() <= policy::UPLOADS_WAITING, "{} pieces queue", self.queued.len());
        assert!(self.flights.len() <= policy::IN_FLIGHT, "{} requests in flight", self.flights.len());
    }

    /// What the Node has noted as under way is what it has asked for and not called off.
    fn books(&self) {
        let all = || self.node.sessions().iter().flat_map(|session| session.active.iter());
        let fetches: BTreeSet<FetchId> = all().flat_map(|p| &p.fetches).map(|fetch| fetch.id).collect();
        assert!(fetches.iter().eq(self.fetches.keys()), "fetches {fetches:?}, not {:?}", self.fetches);
        let flights =
            |p: &pieces::Pieces| p.flights.iter().map(|f| (f.peer, p.id(), f.piece)).collect::<Vec<_>>();
        let noted: BTreeSet<_> = all().flat_map(flights).collect();
        assert_eq!(noted, self.flights, "requests to neighbours");
        for neighbour in self.node.neighbours() {
            let count = self.flights.iter().filter(|flight| flight.0 == neighbour.peer).count();
            assert_eq!(neighbour.flights, count, "requests to {:?}", neighbour.peer);
        }
    }

    /// What an origin that answers is to bring is asked of no neighbour.
    fn asked_once(&self, segment: SegmentId, piece: u8) {
        let of = self.node.sessions().iter().filter_map(|session| session.active.get(segment));
        for fetch in of.flat_map(|pieces| &pieces.fetches).filter(|fetch| !fetch.silent) {
            let span = grid().span(piece);
            let apart = span.end <= fetch.got || fetch.to.unwrap_or(LENGTH) <= span.start;
            assert!(apart, "piece {piece} is asked of a neighbour while {fetch:?} is to bring it");
        }
    }

    /// What the origin was asked for, after this fetch, no neighbour is still to bring.
    fn called_off(&self, begun: Option<FetchId>) {
        let new = self.fetches.iter().filter(|(id, _)| begun.is_none_or(|begun| **id > begun));
        for fetch in new.map(|(_, fetch)| fetch) {
            let twice = self.flights.iter().find(|(_, segment, piece)| {
                let span = grid().span(*piece);
                *segment == fetch.segment && span.start < fetch.to && fetch.from < span.end
            });
            assert_eq!(twice, None, "{fetch:?} is asked for while a neighbour is to bring it");
        }
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
            Output::Disconnect { peer, shun } => {
                self.seen.insert("disconnect");
                // Whoever lied is refused from now on, there or not.
                assert!(self.connected.remove(&peer) || shun, "somebody who is not there");
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
                // What neighbours have of a rendition that was left, they say anew if it is joined again.
                self.announced.clear();
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
                assert_ne!(peer, self::peer(SHY), "one that does not upload is asked");
                let said = self.announced.get(&(peer, segment)).copied().unwrap_or_default();
                assert!(said & 1 << piece != 0, "piece {piece} is asked of one that never had it");
                let others = self.flights.iter().filter(|f| (f.1, f.2) == (segment, piece)).count();
                assert!(others < 2, "piece {piece} is asked from three");
                self.asked_once(segment, piece);
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
    pub(super) fn holds(&self) -> Policy {
        self.terms.over(&self.policy)
    }

    /// The bytes of a piece all came from the origin.
    pub(super) fn whole(&self, segment: SegmentId, piece: u8) -> bool {
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

    pub(super) fn parted(&mut self, peer: PeerId) {
        self.announced.retain(|said, _| said.0 != peer);
        self.watching.remove(&peer);
    }

    pub(super) fn gone(&mut self, peer: PeerId) {
        self.parted(peer);
        self.flights.retain(|f| f.0 != peer);
        self.sending.retain(|s| s.0 != peer);
        self.queued.retain(|q| q.0 != peer);
    }
}
