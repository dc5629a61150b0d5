//! Players: what they are told to be listed, what they ask for, how far they may read.

use super::demand::Moved;
use super::node::{HOUSEKEEPING, Stirs};
use super::pieces::Ask;
use super::policy::{PACED_STEP, PROBE_AHEAD};
use super::session::Session;
use super::{AskId, Failure, Node, Output, Report, peering};
use crate::model::ids::{SegmentId, SwarmId};
use crate::model::timeline::{PieceGrid, Timeline};
use crate::wire::message::{Message, Slot};

impl Node {
    pub(super) fn listed(&mut self, timeline: Timeline, viewer: u64, out: &mut Vec<Output>) -> Stirs {
        let now = self.now;
        let index = self.sessions.iter().position(|s| s.swarm == timeline.swarm).unwrap_or_else(|| {
            self.sessions.push(Session::new(timeline.clone(), now));
            self.sessions.len() - 1
        });
        if self.sessions[index].begins_anew(&timeline) {
            for segment in self.sessions[index].begin_anew(now) {
                self.give_up(index, segment, out);
            }
        }
        let session = &mut self.sessions[index];
        session.list(timeline, viewer, now);
        if let Some(demand) = session.demands.iter_mut().find(|d| d.viewer == viewer) {
            demand.active = now;
        }
        session.open_window(&session.terms.over(&self.policy), now);
        self.hear_early(index, out);
        self.house_at.get_or_insert(now + HOUSEKEEPING);
        self.evict(out);
        Stirs::Everything
    }

    pub(super) fn asked(
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
        let comes = self.comes(index, viewer, listed.sequence);
        let session = &mut self.sessions[index];
        session.began.get_or_insert(now);
        let (was_watched, rested) = (session.watched(), session.rests(now));
        let before = session.front_of(viewer);
        let moved = session.asks(viewer, listed.sequence, comes, now);
        let needed = session.needed_at(viewer, listed.sequence, now).filter(|&at| at > now);
        let pieces = session.open(listed, true, now);
        pieces.ask_anew(now);
        let ahead = pieces.complete();
        let (ready, took, hit) = (from, from, ahead);
        let asked = Ask { id: ask, viewer, from, to, ready, took, asked: now, fed: now, needed, hit };
        pieces.asks.push(asked);
        let sequence = pieces.segment.sequence;
        session.ledger.of(segment, sequence).ahead |= ahead;
        session.open_window(&session.terms.over(&self.policy), now);
        self.house_at.get_or_insert(now + HOUSEKEEPING);
        if rested {
            self.membership.reconsider(session, &self.neighbours, &self.policy);
        }
        self.watching(index, was_watched, moved, out);
        if before != self.sessions[index].front_of(viewer) {
            self.goes_on(index, viewer, sequence, out);
            self.hear_early(index, out);
        }
        self.feed(index, segment, out);
        Stirs::Everything
    }

    /// A player moved: joins the swarm once somebody really watches, and tells neighbours of a new window.
    pub(super) fn watching(&mut self, index: usize, was_watched: bool, moved: Moved, out: &mut Vec<Output>) {
        let now = self.now;
        let session = &mut self.sessions[index];
        if !session.watched() {
            return;
        }
        if !was_watched {
            for fetch in session.active.awake_mut().flat_map(|p| &mut p.fetches) {
                (fetch.allowed, fetch.stirred) = (None, now);
                out.push(Output::Allow { fetch: fetch.id, up_to: None });
            }
        }
        if !session.reported {
            session.reported = true;
            out.push(Output::Report(Report::StreamJoined { swarm: session.swarm }));
        }
        let policy = session.terms.over(&self.policy);
        if policy.p2p && !session.joined {
            // All of them are taken only where nobody could follow any more.
            let Some(slot) = self.free_slot() else { return };
            let session = &mut self.sessions[index];
            (session.joined, session.slot) = (true, slot);
            session.announce_at = Some(now);
            for neighbour in &self.neighbours {
                peering::introduce(neighbour.peer, session, &policy, out);
            }
        } else if session.joined {
            let (first, last) = session.window(&policy);
            if moved != Moved::Seek && last == u64::MAX {
                return;
            }
            for neighbour in self.neighbours.iter().filter(|n| n.in_swarm(session.swarm)) {
                let message = Message::Window { slot: session.slot, first, last };
                out.push(Output::Say { peer: neighbour.peer, message });
            }
        }
    }

    /// A name for a rendition that none of those has that we are in; the one that was free for longest.
    fn free_slot(&mut self) -> Option<Slot> {
        let all = (0..=u8::MAX).map(|later| Slot(self.next_slot.wrapping_add(later)));
        let taken = |slot: &Slot| self.sessions.iter().any(|s| s.joined && s.slot == *slot);
        let free = all.into_iter().find(|slot| !taken(slot))?;
        self.next_slot = free.0.wrapping_add(1);
        Some(free)
    }

    /// Lets players read on whose answers from memory go at a pace.
    pub(super) fn feed_paced(&mut self, out: &mut Vec<Output>) {
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
            let late = waiting.needed.filter(|&needed| needed < now).map(|needed| now - needed);
            let record = session.ledger.of(segment, sequence);
            if first {
                record.held = record.held.max(held);
                record.late |= late.is_some();
                session.ledger.late += u64::from(late.is_some());
                late.into_iter().for_each(|wait| session.ledger.stalls.add(wait));
            }
            if length == Some(up_to) {
                session.ledger.settle(segment);
            }
            let waiting = &mut session.active[at].asks[ask];
            (waiting.ready, waiting.fed) = (up_to, now);
            out.push(Output::Ready { ask: id, up_to, length });
        }
    }

    pub(super) fn took(&mut self, ask: AskId, up_to: u32, out: &mut Vec<Output>) {
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
                    fetch.stirred = now;
                    out.push(Output::Allow { fetch: fetch.id, up_to: Some(*allowed) });
                }
            }
            session.bytes.served += u64::from(fresh);
            session.credit(viewer, segment, up_to, now);
            return;
        }
    }

    /// A player that hung up in `swarm` goes elsewhere, perhaps to what it had asked for before in another rendition.
    fn hung_up(&mut self, viewer: u64, swarm: SwarmId) {
        for session in &mut self.sessions {
            let here = session.swarm == swarm;
            let demands = session.demands.iter_mut().filter(|demand| demand.viewer == viewer);
            demands.for_each(|demand| demand.hangs_up(here));
        }
    }

    pub(super) fn done(&mut self, ask: AskId, out: &mut Vec<Output>) -> Stirs {
        for session in &mut self.sessions {
            let Some(pieces) = session.active.awake_mut().find(|p| p.asks.iter().any(|a| a.id == ask)) else {
                continue;
            };
            let over = pieces.asks.iter().position(|a| a.id == ask).map(|at| pieces.asks.remove(at));
            let end = pieces.grid.map(PieceGrid::length);
            // Whoever asks beyond the end has all of it at the end.
            let broken = over
                .filter(|ask| ask.to.into_iter().chain(end).min().is_none_or(|end| ask.took < end))
                .map(|ask| ask.viewer);
            let promised = (0..self.neighbours.len()).any(|n| pieces.words.told(n).is_some());
            let swarm = session.swarm;
            if pieces.asks.is_empty() && !promised {
                for id in pieces.fetches.iter().map(|f| f.id).collect::<Vec<_>>() {
                    pieces.end_fetch(id);
                    out.push(Output::CancelFetch { fetch: id });
                }
            }
            if let Some(viewer) = broken {
                self.hung_up(viewer, swarm);
            }
            return Stirs::Everything;
        }
        Stirs::Nothing
    }
}
