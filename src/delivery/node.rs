//! The Node: holds the parts and passes what happened to the one that answers for it.

use std::time::Duration;

use smallvec::SmallVec;

use super::account::{Bytes, Faults, Segments};
use super::chance::Chance;
use super::membership::{self, Membership};
use super::neighbours::Neighbour;
use super::policy::{ANNOUNCE_COMMON_DELAY, ANNOUNCE_DELAY, COMMON, LARGEST_PART_OF_MEMORY, Policy};
use super::session::Session;
use super::supply::{View, earlier, supply};
use super::upload::Uploads;
use super::{FetchId, Input, Output, Report, Wake, choose, peering};
use crate::model::ids::{PeerId, SegmentId, SwarmId};
use crate::model::time::Time;
use crate::model::timeline::PieceGrid;
use crate::wire::message::Message;

/// How often silence and old segments are looked at, while anybody watches.
pub(super) const HOUSEKEEPING: Duration = Duration::from_secs(2);

/// The whole P2P mind of one daemon.
///
/// What every message needs stands first: most of what it costs is to wait for memory.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct Node {
    pub(super) now: Time,
    wake: Option<(Time, Wake)>,
    pub(super) announce_at: Option<Time>,
    /// When something about fetching, asking or meeting is due.
    pub(super) content_at: Option<(Time, Wake)>,
    /// Bytes of content that are here at most: what was here when memory was last looked at, and all that came since.
    pub(super) kept: u64,
    pub(super) sessions: Vec<Session>,
    pub(super) neighbours: Vec<Neighbour>,
    /// When an answer that goes at a pace may be read further.
    pub(super) feed_at: Option<Time>,
    /// The tails of the names of neighbours, in the same order: looked through for every message, and here in place.
    pub(super) tails: SmallVec<[u32; 16]>,
    pub(super) house_at: Option<Time>,
    pub(super) me: PeerId,
    /// Whether uploads were wished for.
    pub(super) willing: bool,
    pub(super) next_slot: u8,
    /// What holds: what was wished for, but for uploads that no budget covers.
    pub(super) policy: Policy,
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
}

/// How much of what a Node has decided an input may have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stirs {
    /// Nothing at all.
    Nothing,
    /// What is to be announced or uploaded.
    Little,
    /// What neighbours are asked for: they have more to give, or their hands are free again; all, or one of them.
    Asking(Option<usize>),
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
            tails: SmallVec::new(),
            uploads: Uploads::new(&policy, Time::ZERO),
            membership: Membership::new(trackers),
            chance: Chance::new(seed),
            faults: Faults::default(),
            past: Bytes::default(),
            past_segments: Segments::default(),
            next_fetch: 0,
            unchecked: 0,
            kept: 0,
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
            Input::Unsent { peer, segment, piece } => self.unsent(peer, segment, piece, out),
            Input::SwarmSize { tracker, swarm, viewers } => self.swarm_size(tracker, swarm, viewers),
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
                let gave = self.policy.upload;
                self.uploads.allow(allowance);
                if gave && self.uploads.budget.is_over() {
                    out.push(Output::Report(Report::BudgetSpent));
                }
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
            Stirs::Asking(only) => self.ask_neighbours(only, out),
            Stirs::Everything => self.bring(out),
        }
        if self.announce_at.is_some_and(|at| at <= now) {
            self.announce_at = None;
            for session in &mut self.sessions {
                let policy = session.terms.over(&self.policy);
                let due = peering::announce(session, &self.neighbours, &policy, now, out);
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
        ];
        self.wake = self.content_at;
        for timer in timers.into_iter().flatten() {
            self.wake = earlier(self.wake, timer);
        }
    }

    /// Decides anew what is fetched and asked for, and whom to meet.
    fn bring(&mut self, out: &mut Vec<Output>) {
        let (now, mut wake) = (self.now, None);
        if self.house_at.is_some_and(|at| at <= now) {
            self.keep_house(out);
        }
        self.room(out);
        self.give_up_late(out);
        self.listen();
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
            let due =
                choose::choose(session, &mut self.neighbours, None, &policy, now, &mut self.chance, out);
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
        self.content_at =
            self.listen().map_or(self.content_at, |at| earlier(self.content_at, (at, Wake::Silence)));
    }

    /// Asks neighbours for more. What the origin is asked for can only have become less urgent, and is looked at when it
    /// would have been due.
    fn ask_neighbours(&mut self, only: Option<usize>, out: &mut Vec<Output>) {
        let (now, before) = (self.now, out.len());
        for session in &mut self.sessions {
            let policy = session.terms.over(&self.policy);
            let due =
                choose::choose(session, &mut self.neighbours, only, &policy, now, &mut self.chance, out);
            self.content_at = due.map_or(self.content_at, |due| earlier(self.content_at, due));
        }
        for asked in &out[before..] {
            let Output::Say { peer, message: Message::Request { .. } } = asked else { continue };
            if let Some(n) = self.position(*peer) {
                let late = now + self.neighbours[n].patience();
                self.content_at = earlier(self.content_at, (late, Wake::Patience));
            }
        }
    }

    /// Something about asking is due no later than this.
    pub(super) fn wake_for(&mut self, wake: (Time, Wake)) {
        self.content_at = earlier(self.content_at, wake);
    }

    /// Hands the driver as many pieces as it may have.
    fn send_pieces(&mut self, out: &mut Vec<Output>) {
        while let Some((peer, segment, piece)) = self.uploads.next(self.now) {
            if let Some(n) = self.position(peer)
                && let Some(pieces) = self.sessions.iter_mut().find_map(|s| s.active.noted_mut(segment))
            {
                pieces.words.sends(n, piece);
            }
            out.push(Output::SendPiece { peer, segment, piece });
        }
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
        self.announce_within(ANNOUNCE_DELAY);
    }

    /// A piece that came from a neighbour is told to the others; there is less hurry with one that `copies` of them have.
    pub(super) fn announce_piece(&mut self, copies: usize) {
        self.announce_within(if copies >= COMMON { ANNOUNCE_COMMON_DELAY } else { ANNOUNCE_DELAY });
    }

    fn announce_within(&mut self, delay: Duration) {
        let at = self.now + delay;
        self.announce_at = Some(self.announce_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// New pieces are told to neighbours with the next step.
    pub(super) fn announce_now(&mut self) {
        self.announce_at = Some(self.now);
    }

    fn sent(&mut self, peer: PeerId, segment: SegmentId, piece: u8) -> Stirs {
        let bytes = u64::from(self.uploads.sent(peer, segment, piece, self.now));
        if let Some(n) = self.position(peer) {
            let neighbour = &mut self.neighbours[n];
            neighbour.uploaded += bytes;
            neighbour.worth += bytes / 2;
        }
        match self.session_of(segment) {
            Some(s) => self.sessions[s].bytes.uploaded += bytes,
            None => self.past.uploaded += bytes,
        }
        Stirs::Little
    }

    /// What was to be sent is gone: its asker hears so, instead of waiting for it.
    fn unsent(&mut self, peer: PeerId, segment: SegmentId, piece: u8, out: &mut Vec<Output>) -> Stirs {
        if self.uploads.unsent(peer, segment, piece, self.now) {
            out.push(Output::Say { peer, message: Message::Busy { segment, piece, retry_ms: 0 } });
        }
        Stirs::Little
    }

    fn swarm_size(&mut self, tracker: usize, swarm: SwarmId, viewers: u32) -> Stirs {
        let Some(session) = self.sessions.iter_mut().find(|s| s.swarm == swarm) else {
            return Stirs::Nothing;
        };
        // What one tracker doesn't know another may.
        let viewers = self.membership.size(tracker, viewers, &mut session.told);
        session.viewers = viewers;
        session.most_viewers = session.most_viewers.max(viewers);
        self.membership.reconsider(session, &self.neighbours, &self.policy);
        Stirs::Everything
    }
}
