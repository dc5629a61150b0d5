//! The Node: holds the parts and passes what happened to the one that answers for it.

use std::time::Duration;

use super::account::{Bytes, Faults, Segments};
use super::chance::Chance;
use super::demand::{Demand, Moved};
use super::membership::{self, Membership};
use super::neighbours::Neighbour;
use super::pieces::Ask;
use super::policy::{ANNOUNCE_DELAY, LARGEST_PART_OF_MEMORY, PACED_STEP, PROBE_AHEAD, Policy, Terms};
use super::session::Session;
use super::supply::{View, earlier, supply, withdraw};
use super::upload::Uploads;
use super::{AskId, Failure, FetchId, Input, Output, Report, Wake, choose, eviction, peering};
use crate::model::ids::{PeerId, SegmentId, SwarmId};
use crate::model::time::Time;
use crate::model::timeline::{PieceGrid, Timeline};
use crate::wire::message::{Message, Slot};

/// How often silence and old segments are looked at, while anybody watches.
const HOUSEKEEPING: Duration = Duration::from_secs(2);

/// The whole P2P mind of one daemon.
#[derive(Clone, Debug)]
pub struct Node {
    pub(super) me: PeerId,
    /// What holds: what was wished for, but for uploads that no budget covers.
    pub(super) policy: Policy,
    /// Whether uploads were wished for.
    willing: bool,
    pub(super) now: Time,
    pub(super) sessions: Vec<Session>,
    pub(super) neighbours: Vec<Neighbour>,
    pub(super) uploads: Uploads,
    pub(super) membership: Membership,
    pub(super) chance: Chance,
    pub(super) faults: Faults,
    /// What sessions that are over came to.
    pub(super) past: Bytes,
    /// Their segments.
    pub(super) past_segments: Segments,
    pub(super) next_fetch: u64,
    /// New content since memory was last looked at, in bytes.
    pub(super) unchecked: u64,
    /// What the driver was told of how many neighbours there may be.
    room: usize,
    next_slot: u8,
    announce_at: Option<Time>,
    house_at: Option<Time>,
    /// When something about fetching, asking or meeting is due.
    content_at: Option<(Time, Wake)>,
    /// When an answer that goes at a pace may be read further.
    feed_at: Option<Time>,
    wake: Option<(Time, Wake)>,
}

/// How much of what a Node has decided an input may have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stirs {
    /// Nothing at all.
    Nothing,
    /// What is to be announced or uploaded.
    Little,
    /// Anything.
    Everything,
}

impl Node {
    /// A Node that watches nothing; `seed` decides every choice it makes by chance.
    #[must_use]
    pub fn new(me: PeerId, policy: Policy, trackers: usize, seed: u64) -> Self {
        Self {
            me,
            willing: policy.upload,
            policy,
            now: Time::ZERO,
            sessions: Vec::new(),
            neighbours: Vec::new(),
            uploads: Uploads::new(&policy, Time::ZERO),
            membership: Membership::new(trackers),
            chance: Chance::new(seed),
            faults: Faults::default(),
            past: Bytes::default(),
            past_segments: Segments::default(),
            next_fetch: 0,
            unchecked: 0,
            room: 0,
            next_slot: 0,
            announce_at: None,
            house_at: None,
            content_at: None,
            feed_at: None,
            wake: None,
        }
    }

    /// Takes in one thing that happened and appends what has to be done about it to `out`.
    ///
    /// Call it with [`Input::Tick`] no later than [`next_wakeup`](Self::next_wakeup) says; earlier is harmless. A `now`
    /// before the latest one seen counts as that one. The order of `out` is the order to act in.
    pub fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        self.now = self.now.max(now);
        let stirs = match input {
            Input::Arrived { fetch, up_to } => return self.arrived(fetch, up_to, out),
            Input::Took { ask, up_to } => return self.took(ask, up_to, out),
            Input::Tick => self.due(),
            Input::Listed { timeline, viewer } => self.listed(timeline, viewer, out),
            Input::Asked { ask, viewer, swarm, segment, from, to } => {
                self.asked(ask, viewer, swarm, segment, (from, to), out)
            }
            Input::Done { ask } => self.done(ask, out),
            Input::Head { fetch, length, shareable } => self.head(fetch, length, shareable, out),
            Input::Hashed { segment, piece, hash } => self.hashed(segment, piece, hash, out),
            Input::Fetched { fetch } => self.fetched(fetch, out),
            Input::Failed { fetch, fault } => self.failed(fetch, fault, out),
            Input::Joined { peer } => self.joined(peer, out),
            Input::Left { peer, misbehaved } => self.left(peer, misbehaved, out),
            Input::Said { peer, message } => self.said(peer, message, out),
            Input::Piece { peer, segment, piece, length, hash } => {
                self.piece_came(peer, segment, (piece, length, hash), out)
            }
            Input::Sent { peer, segment, piece } => self.sent(peer, segment, piece),
            Input::SwarmSize { swarm, viewers } => self.swarm_size(swarm, viewers),
            Input::Tracker { tracker, up, interval_s } => {
                let now = self.now;
                self.membership.tracker(tracker, up, interval_s, &mut self.sessions, now, &mut self.chance);
                Stirs::Everything
            }
            Input::Policy(policy) => {
                self.willing = policy.upload;
                self.change(policy, out)
            }
            Input::Terms { swarm, terms } => self.set_terms(swarm, terms, out),
            Input::Budget(allowance) => {
                self.uploads.budget.allow(allowance);
                self.change(self.policy, out)
            }
        };
        self.advance(stirs, out);
    }

    /// When time alone will change something, and what; `None` until the next input.
    ///
    /// May change with every [`handle`](Self::handle), never between two.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<(Time, Wake)> {
        self.wake
    }

    /// What time alone has made due.
    fn due(&self) -> Stirs {
        let now = self.now;
        let house = self.house_at.is_some_and(|at| at <= now);
        if house || self.content_at.is_some_and(|(at, _)| at <= now) {
            Stirs::Everything
        } else {
            Stirs::Little
        }
    }

    /// Does everything that is due, as far as what happened can have changed it: most of what neighbours say changes
    /// nothing about what is to be asked for, and a Node hears hundreds of things for each segment.
    fn advance(&mut self, stirs: Stirs, out: &mut Vec<Output>) {
        let now = self.now;
        if self.feed_at.is_some_and(|at| at <= now) {
            self.feed_paced(out);
        }
        match stirs {
            Stirs::Nothing => return,
            Stirs::Little => {}
            Stirs::Everything => self.bring(out),
        }
        if self.announce_at.is_some_and(|at| at <= now) {
            self.announce_at = None;
            for session in &mut self.sessions {
                let policy = session.terms.over(&self.policy);
                let due = peering::announce(session, &mut self.neighbours, &policy, now, out);
                self.announce_at = self.announce_at.into_iter().chain(due).min();
            }
        }
        if let Some(at) = self.uploads.rest(now) {
            self.membership.ping_all(at);
            self.wake_for((at, Wake::Ping));
        }
        self.send_pieces(out);
        if self.uploads.budget.has_ended(now) {
            out.push(Output::Renew);
        }
        let timers = [
            self.membership.probe(&mut self.neighbours, &self.uploads, now, out),
            self.announce_at.map(|at| (at, Wake::Announce)),
            self.house_at.map(|at| (at, Wake::Gone)),
            self.uploads.ready_at(now).map(|at| (at, Wake::Pace)),
            self.feed_at.map(|at| (at, Wake::Paced)),
            self.uploads.budget.ends_at().map(|at| (at, Wake::Budget)),
            self.content_at,
        ];
        self.wake = timers.into_iter().flatten().min();
    }

    /// Decides anew what is fetched and asked for, and whom to meet.
    fn bring(&mut self, out: &mut Vec<Output>) {
        let (now, mut wake) = (self.now, None);
        if self.house_at.is_some_and(|at| at <= now) {
            self.keep_house(out);
        }
        self.room(out);
        self.give_up_late(out);
        for session in &mut self.sessions {
            let policy = session.terms.over(&self.policy);
            let view = View { me: self.me, policy: &policy, now, uplink: self.uploads.rate() };
            let before = out.len();
            let due = supply(session, &mut self.neighbours, &view, &mut self.next_fetch, out);
            if out.len() != before {
                // A fetch that began is announced at once: it keeps the others from beginning theirs.
                self.announce_at = Some(now);
            }
            wake = due.map_or(wake, |due| earlier(wake, due));
            let due = choose::choose(session, &mut self.neighbours, &policy, now, &mut self.chance, out);
            wake = due.map_or(wake, |due| earlier(wake, due));
        }
        if let Some(peer) = self.membership.swap(&mut self.sessions, &mut self.neighbours, &self.policy, now)
        {
            out.push(Output::Disconnect { peer, shun: false });
            self.forget(peer, out);
        }
        let due = self.membership.drive(&mut self.sessions, &mut self.neighbours, &self.policy, now, out);
        wake = due.map_or(wake, |due| earlier(wake, due));
        self.content_at = self.next_late().map_or(wake, |at| earlier(wake, (at, Wake::Patience)));
    }

    /// Something about asking is due no later than this.
    pub(super) fn wake_for(&mut self, wake: (Time, Wake)) {
        self.content_at = earlier(self.content_at, wake);
    }

    /// Lets players read on whose answers from memory go at a pace.
    fn feed_paced(&mut self, out: &mut Vec<Output>) {
        self.feed_at = None;
        for index in 0..self.sessions.len() {
            let awake = self.sessions[index].active.awake();
            let paced: Vec<SegmentId> =
                awake.filter(|(_, p)| p.asks.iter().any(|ask| ask.hit)).map(|(_, p)| p.id()).collect();
            for segment in paced {
                self.feed(index, segment, out);
            }
        }
    }

    /// Hands the driver as many pieces as it may have.
    fn send_pieces(&mut self, out: &mut Vec<Output>) {
        while let Some((peer, segment, piece)) = self.uploads.next(self.now) {
            if let Some(neighbour) = self.neighbours.iter_mut().find(|n| n.peer == peer) {
                neighbour.sends(segment, piece);
            }
            out.push(Output::SendPiece { peer, segment, piece });
        }
    }

    fn listed(&mut self, timeline: Timeline, viewer: u64, out: &mut Vec<Output>) -> Stirs {
        let now = self.now;
        let slot = Slot(self.next_slot);
        let index = self.sessions.iter().position(|s| s.swarm == timeline.swarm).unwrap_or_else(|| {
            self.next_slot = self.next_slot.wrapping_add(1);
            self.sessions.push(Session::new(timeline.clone(), slot, now));
            self.sessions.len() - 1
        });
        if self.sessions[index].begins_anew(&timeline) {
            for segment in self.sessions[index].begin_anew(now) {
                self.give_up(index, segment, out);
            }
        }
        let session = &mut self.sessions[index];
        session.list(timeline, now);
        if let Some(demand) = session.demands.iter_mut().find(|d| d.viewer == viewer) {
            demand.active = now;
        }
        session.open_window(session.terms.over(&self.policy).prefetch, now);
        self.house_at.get_or_insert(now + HOUSEKEEPING);
        self.evict(out);
        Stirs::Everything
    }

    fn asked(
        &mut self,
        ask: AskId,
        viewer: u64,
        swarm: SwarmId,
        segment: SegmentId,
        (from, to): (u32, Option<u32>),
        out: &mut Vec<Output>,
    ) -> Stirs {
        let now = self.now;
        let fail = Output::Fail { ask, why: Failure::PassThrough };
        let Some(index) = self.sessions.iter().position(|s| s.swarm == swarm) else {
            out.push(fail);
            return Stirs::Nothing;
        };
        let session = &mut self.sessions[index];
        let known = session.listed(segment).cloned();
        let known = known.or_else(|| session.pieces(segment).filter(|p| p.listed).map(|p| p.segment));
        let (Some(listed), false) = (known, session.oversized) else {
            out.push(fail);
            return Stirs::Nothing;
        };
        session.began.get_or_insert(now);
        let was_watched = session.watched();
        let moved = match session.demands.iter_mut().find(|d| d.viewer == viewer) {
            Some(demand) => demand.asks(listed.sequence, now),
            None => {
                session.demands.push(Demand::new(viewer, listed.sequence, now));
                Moved::Seek
            }
        };
        let needed = session.needed_at(viewer, listed.sequence, now).filter(|&at| at > now);
        let pieces = session.open(listed, true, now);
        let ahead = pieces.complete();
        let (ready, took, hit) = (from, from, ahead);
        let asked = Ask { id: ask, viewer, from, to, ready, took, asked: now, fed: now, needed, hit };
        pieces.asks.push(asked);
        let sequence = pieces.segment.sequence;
        session.ledger.of(segment, sequence).ahead |= ahead;
        session.open_window(session.terms.over(&self.policy).prefetch, now);
        self.house_at.get_or_insert(now + HOUSEKEEPING);
        self.watching(index, was_watched, moved, out);
        self.feed(index, segment, out);
        Stirs::Everything
    }

    /// A player moved: joins the swarm once somebody really watches, and tells neighbours of a new window.
    fn watching(&mut self, index: usize, was_watched: bool, moved: Moved, out: &mut Vec<Output>) {
        let now = self.now;
        let session = &mut self.sessions[index];
        if !session.watched() {
            return;
        }
        if !was_watched {
            for fetch in session.active.awake_mut().flat_map(|p| &mut p.fetches) {
                fetch.allowed = None;
                out.push(Output::Allow { fetch: fetch.id, up_to: None });
            }
        }
        if !session.reported {
            session.reported = true;
            out.push(Output::Report(Report::StreamJoined { swarm: session.swarm }));
        }
        let policy = session.terms.over(&self.policy);
        if policy.p2p && !session.joined {
            session.joined = true;
            session.announce_at = Some(now);
            for neighbour in &self.neighbours {
                peering::introduce(neighbour.peer, session, &policy, out);
            }
        } else if session.joined && (moved == Moved::Seek || !session.timeline.kind.grows()) {
            let (first, last) = session.window(policy.prefetch);
            for neighbour in self.neighbours.iter().filter(|n| n.in_swarm(session.swarm)) {
                let message = Message::Window { slot: session.slot, first, last };
                out.push(Output::Say { peer: neighbour.peer, message });
            }
        }
    }

    /// Lets every player that waits for this segment read as far as it can be read.
    pub(super) fn feed(&mut self, index: usize, segment: SegmentId, out: &mut Vec<Output>) {
        let now = self.now;
        let session = &mut self.sessions[index];
        let Some(at) = session.active.position(segment) else { return };
        let length = session.active[at].grid.map(PieceGrid::length);
        if let Some(length) = length {
            // Bytes past the end: the origin says so itself (416).
            session.active[at].asks.retain(|ask| {
                if ask.from >= length {
                    out.push(Output::Fail { ask: ask.id, why: Failure::PassThrough });
                }
                ask.from < length
            });
        }
        for ask in 0..session.active[at].asks.len() {
            let pieces = &session.active[at];
            let waiting = &pieces.asks[ask];
            let end = waiting.to.or(length).unwrap_or(u32::MAX);
            let mut up_to = pieces.readable(waiting.ready).min(end);
            if let Some(paced) = session.paced(waiting, now).filter(|&paced| paced < up_to) {
                up_to = paced;
                let at = now + PACED_STEP;
                self.feed_at = Some(self.feed_at.map_or(at, |sooner| sooner.min(at)));
            }
            if up_to <= waiting.ready {
                continue;
            }
            let (first, sequence) = (waiting.ready == waiting.from, pieces.segment.sequence);
            let (id, held) = (waiting.id, now - waiting.asked);
            let late = waiting.needed.is_some_and(|needed| needed < now);
            let record = session.ledger.of(segment, sequence);
            if first {
                record.held = record.held.max(held);
                record.late |= late;
                session.ledger.late += u64::from(late);
            }
            if length == Some(up_to) {
                session.ledger.settle(segment);
            }
            let waiting = &mut session.active[at].asks[ask];
            (waiting.ready, waiting.fed) = (up_to, now);
            out.push(Output::Ready { ask: id, up_to, length });
        }
    }

    fn took(&mut self, ask: AskId, up_to: u32, out: &mut Vec<Output>) {
        let now = self.now;
        for session in &mut self.sessions {
            let found = session.active.awake_mut().find_map(|p| {
                let at = p.asks.iter().position(|a| a.id == ask)?;
                Some((p, at))
            });
            let Some((pieces, at)) = found else { continue };
            let segment = pieces.id();
            let taken = &mut pieces.asks[at];
            let fresh = up_to.saturating_sub(taken.took);
            taken.took = taken.took.max(up_to);
            let viewer = taken.viewer;
            for fetch in pieces.fetches.iter_mut() {
                if let Some(allowed) = &mut fetch.allowed
                    && *allowed < up_to.saturating_add(PROBE_AHEAD / 2)
                {
                    *allowed = up_to.saturating_add(PROBE_AHEAD);
                    out.push(Output::Allow { fetch: fetch.id, up_to: Some(*allowed) });
                }
            }
            session.bytes.served += u64::from(fresh);
            session.credit(viewer, segment, up_to, now);
            return;
        }
    }

    fn done(&mut self, ask: AskId, out: &mut Vec<Output>) -> Stirs {
        for session in &mut self.sessions {
            let Some(pieces) = session.active.awake_mut().find(|p| p.asks.iter().any(|a| a.id == ask)) else {
                continue;
            };
            pieces.asks.retain(|a| a.id != ask);
            let segment = pieces.id();
            let promised = self.neighbours.iter().any(|n| n.told(segment).is_some());
            if pieces.asks.is_empty() && !promised {
                for id in pieces.fetches.iter().map(|f| f.id).collect::<Vec<_>>() {
                    pieces.end_fetch(id);
                    out.push(Output::CancelFetch { fetch: id });
                }
            }
            return Stirs::Everything;
        }
        Stirs::Nothing
    }

    /// How many neighbours there may be, where that has changed: so many for each rendition, if none is shared.
    fn room(&mut self, out: &mut Vec<Output>) {
        let joined = self.sessions.iter().filter(|s| s.joined);
        let room = joined.map(|s| membership::places(s, &self.policy)).sum();
        if room != self.room {
            self.room = room;
            out.push(Output::Room { connections: room });
        }
    }

    /// The session and segment that a fetch is for.
    pub(super) fn fetch_of(&self, fetch: FetchId) -> Option<(usize, usize)> {
        self.sessions.iter().enumerate().find_map(|(s, session)| {
            let mut awake = session.active.awake();
            let (p, _) = awake.find(|(_, p)| p.fetches.iter().any(|f| f.id == fetch))?;
            Some((s, p))
        })
    }

    /// Whether a segment of this length is kept at all.
    pub(super) fn keeps(&self, length: u64) -> bool {
        length > 0
            && length <= u64::from(PieceGrid::MAX_LENGTH)
            && length <= self.policy.memory / LARGEST_PART_OF_MEMORY
    }

    /// New pieces are told to neighbours shortly.
    pub(super) fn announce_soon(&mut self) {
        let at = self.now + ANNOUNCE_DELAY;
        self.announce_at = Some(self.announce_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// New pieces are told to neighbours with the next step.
    pub(super) fn announce_now(&mut self) {
        self.announce_at = Some(self.now);
    }

    fn sent(&mut self, peer: PeerId, segment: SegmentId, piece: u8) -> Stirs {
        let bytes = u64::from(self.uploads.sent(peer, segment, piece, self.now));
        if let Some(neighbour) = self.neighbours.iter_mut().find(|n| n.peer == peer) {
            neighbour.uploaded += bytes;
            neighbour.worth += bytes / 2;
        }
        match self.session_of(segment) {
            Some(s) => self.sessions[s].bytes.uploaded += bytes,
            None => self.past.uploaded += bytes,
        }
        Stirs::Little
    }

    fn swarm_size(&mut self, swarm: SwarmId, viewers: u32) -> Stirs {
        let Some(session) = self.sessions.iter_mut().find(|s| s.swarm == swarm) else {
            return Stirs::Nothing;
        };
        session.viewers = viewers;
        session.most_viewers = session.most_viewers.max(viewers);
        self.membership.reconsider(session, &self.neighbours, &self.policy);
        Stirs::Everything
    }

    /// Leaves every swarm, with a last account for the trackers. To be called when the daemon ends; nothing but that may
    /// follow.
    pub fn leave(&mut self, out: &mut Vec<Output>) {
        for session in self.sessions.iter_mut().filter(|s| s.joined) {
            session.leave();
            out.push(Output::Leave { swarm: session.swarm, account: session.account(self.now) });
        }
    }

    /// Goes by `policy` from now on, but for uploads that are not wished for or that no budget covers.
    pub(super) fn change(&mut self, mut policy: Policy, out: &mut Vec<Output>) -> Stirs {
        let (before, now) = (self.policy, self.now);
        policy.upload = self.willing && !self.uploads.budget.is_over();
        self.policy = policy;
        self.uploads.change(&policy, now);
        if before.p2p && !policy.p2p {
            self.leave(out);
        }
        if before.p2p && (!policy.p2p || before.upload != policy.upload) {
            // A neighbour learns who we are by the hello, which comes once: meet anew.
            while let Some(neighbour) = self.neighbours.first() {
                let peer = neighbour.peer;
                out.push(Output::Disconnect { peer, shun: false });
                self.forget(peer, out);
            }
        }
        if policy.p2p && !before.p2p {
            self.membership = Membership::new(self.membership.trackers.len());
            for index in 0..self.sessions.len() {
                self.watching(index, true, Moved::On, out);
            }
        }
        Stirs::Everything
    }

    /// What one rendition is kept from changes: it leaves its swarm or comes back, gives or takes only.
    fn set_terms(&mut self, swarm: SwarmId, terms: Terms, out: &mut Vec<Output>) -> Stirs {
        let Some(index) = self.sessions.iter().position(|s| s.swarm == swarm) else { return Stirs::Nothing };
        let session = &mut self.sessions[index];
        let before = std::mem::replace(&mut session.terms, terms).over(&self.policy);
        let policy = terms.over(&self.policy);
        if before == policy {
            return Stirs::Nothing;
        }
        if session.joined && !policy.p2p {
            session.leave();
            for pieces in session.active.iter_mut() {
                withdraw(pieces, &mut self.neighbours, |_| true, out);
                self.uploads.forget_segment(pieces.id());
            }
            for neighbour in self.neighbours.iter().filter(|n| n.in_swarm(swarm)) {
                out.push(Output::Say { peer: neighbour.peer, message: Message::Left { slot: session.slot } });
            }
            out.push(Output::Leave { swarm, account: session.account(self.now) });
        } else if session.joined {
            if !policy.upload {
                // What was promised before is not sent any more.
                session.active.iter().for_each(|pieces| self.uploads.forget_segment(pieces.id()));
            }
            // Whoever joins anew is taken for one that gives, unless it says otherwise.
            for neighbour in &self.neighbours {
                peering::introduce(neighbour.peer, session, &policy, out);
            }
        } else {
            self.watching(index, true, Moved::On, out);
        }
        let session = &self.sessions[index];
        for neighbour in self.neighbours.iter_mut().filter(|n| n.in_swarm(swarm)) {
            peering::synchronise(session, neighbour, &policy, out);
        }
        Stirs::Everything
    }

    /// Viewers that have gone, segments that are old, neighbours that are of no use.
    fn keep_house(&mut self, out: &mut Vec<Output>) {
        let now = self.now;
        for index in (0..self.sessions.len()).rev() {
            let session = &mut self.sessions[index];
            let patience = session.patience();
            let asking: Vec<u64> =
                session.active.awake().flat_map(|(_, p)| p.asks.iter().map(|a| a.viewer)).collect();
            session.demands.retain(|d| asking.contains(&d.viewer) || now - d.active <= patience * 2);
            if self.sessions[index].gone_at().is_some_and(|at| at <= now) {
                self.close(index, out);
            }
        }
        for neighbour in &mut self.neighbours {
            if self.sessions.iter().any(|s| s.joined && neighbour.in_swarm(s.swarm)) {
                neighbour.useful_at = now;
            }
        }
        for index in membership::idle(&self.sessions, &self.neighbours, now).into_iter().rev() {
            let peer = self.neighbours[index].peer;
            out.push(Output::Disconnect { peer, shun: false });
            self.forget(peer, out);
        }
        self.evict(out);
        self.house_at =
            (!self.sessions.is_empty() || !self.neighbours.is_empty()).then_some(now + HOUSEKEEPING);
    }

    fn close(&mut self, index: usize, out: &mut Vec<Output>) {
        let now = self.now;
        let mut session = self.sessions.remove(index);
        for pieces in session.active.iter_mut() {
            for fetch in &pieces.fetches {
                out.push(Output::CancelFetch { fetch: fetch.id });
            }
            withdraw(pieces, &mut self.neighbours, |_| true, out);
            self.uploads.forget_segment(pieces.id());
            for neighbour in &mut self.neighbours {
                neighbour.untell(pieces.id());
            }
            out.push(Output::Drop { segment: pieces.id() });
        }
        self.past.add(session.bytes);
        self.past_segments.add(session.ledger.close());
        if session.joined {
            for neighbour in self.neighbours.iter().filter(|n| n.in_swarm(session.swarm)) {
                out.push(Output::Say { peer: neighbour.peer, message: Message::Left { slot: session.slot } });
            }
            out.push(Output::Leave { swarm: session.swarm, account: session.account(now) });
        }
        let (swarm, bytes, viewers) = (session.swarm, session.bytes, session.most_viewers);
        let watched = session.reported;
        out.push(Output::Report(Report::StreamLeft { swarm, bytes, viewers, watched }));
    }

    /// Gives up memory where there is too much of it, or where it is old.
    pub(super) fn evict(&mut self, out: &mut Vec<Output>) {
        for (index, segment) in
            eviction::victims(&self.sessions, &self.neighbours, self.policy.memory, self.now)
        {
            self.give_up(index, segment, out);
        }
    }

    /// A segment is no longer here.
    fn give_up(&mut self, index: usize, segment: SegmentId, out: &mut Vec<Output>) {
        self.sessions[index].active.remove(segment);
        self.uploads.forget_segment(segment);
        out.push(Output::Drop { segment });
        peering::retract(segment, &mut self.neighbours, out);
    }
}
