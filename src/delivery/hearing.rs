//! What neighbours say, and how much of what was decided it can change.

use std::time::Duration;

use super::neighbours::{self, Neighbour, Watches};
use super::node::Stirs;
use super::pieces::Pieces;
use super::policy::{IN_FLIGHT_FEW, REPEATS, UPLOAD_QUEUE};
use super::session::Session;
use super::supply::withdraw;
use super::upload::{Displaced, Queued, Request};
use super::{Node, Output, Report, Wake, contest, early, peering};
use crate::model::ids::{PeerId, SegmentId, SwarmId};
use crate::model::time::Time;
use crate::wire::message::{Message, Slot};

impl Node {
    pub(super) fn said(&mut self, peer: PeerId, message: Message, out: &mut Vec<Output>) -> Stirs {
        let now = self.now;
        let Some(n) = self.position(peer) else { return Stirs::Nothing };
        let neighbour = &mut self.neighbours[n];
        match message {
            Message::Hello { uploads, .. } => (neighbour.greeted, neighbour.uploads) = (true, uploads),
            Message::Joined { slot, swarm } => self.meets(n, slot, swarm, out),
            Message::Left { slot } => self.leaves(n, slot, out),
            Message::Takes { slot } => neighbour.only_takes(slot),
            Message::Window { slot, first, last } => self.window(n, slot, (first, last), out),
            Message::Have { slot, segment, .. } => return self.announced(n, slot, segment, message, out),
            Message::Lost { segment } => return self.lost(n, segment, out),
            Message::Request { segment, piece, within_ms } => {
                let within = Duration::from_millis(u64::from(within_ms));
                return self.requested(n, (segment, piece), within, out);
            }
            Message::Busy { segment, piece, retry_ms } => {
                return self.busy(n, segment, piece, retry_ms);
            }
            Message::Cancel { segment, piece } => {
                self.uploads.cancel(peer, segment, piece);
                return Stirs::Little;
            }
            Message::Ping { nonce, reply: false } => {
                out.push(Output::Say { peer, message: Message::Ping { nonce, reply: true } });
                return Stirs::Nothing;
            }
            Message::Ping { nonce, reply: true } => {
                let heard = neighbour.answers(nonce, now);
                let little = heard.is_some_and(|(base, took)| self.uploads.heard(base, took, now));
                return if little { Stirs::Little } else { Stirs::Nothing };
            }
            Message::Part { .. } => return Stirs::Nothing,
        }
        Stirs::Everything
    }

    /// A neighbour no longer has a segment: what was asked of it will not come, and is not held against it. With it, it has
    /// forgotten what it was told of it.
    fn lost(&mut self, n: usize, segment: SegmentId, out: &mut Vec<Output>) -> Stirs {
        let (peer, now) = (self.neighbours[n].peer, self.now);
        early::take_back(&mut self.neighbours[n], |_, of| of == segment);
        let mut stirs = Stirs::Nothing;
        for session in &mut self.sessions {
            let Some(pieces) = session.active.noted_mut(segment) else { continue };
            pieces.words.unsay(n);
            contest::take_back(pieces, peer);
            release(pieces, &mut self.neighbours, n, now, out);
            if !pieces.complete() {
                stirs = Stirs::Everything;
            }
        }
        stirs
    }

    /// A neighbour announces what it has of a segment, or loads.
    fn announced(
        &mut self,
        n: usize,
        slot: Slot,
        segment: SegmentId,
        message: Message,
        out: &mut Vec<Output>,
    ) -> Stirs {
        let (neighbour, timers) = (&self.neighbours[n], (self.announce_at, self.content_at));
        let Some(s) = self.session_at(n, slot).filter(|&s| self.sessions[s].joined) else {
            // It has not heard yet that we left; if we come back, it says all of it again.
            return Stirs::Nothing;
        };
        let (peer, confirmed) = (neighbour.peer, neighbour.confirmed);
        let words = |s: &Session| s.active.get(segment).and_then(|p| p.words.has(n)).unwrap_or_default();
        let before = words(&self.sessions[s]);
        self.have(n, s, message, out);
        self.pass_on(s, segment);
        if self.neighbours.get(n).is_none_or(|n| n.peer != peer) {
            return Stirs::Everything;
        }
        let after = words(&self.sessions[s]);
        if before.loading.is_some() && after.loading.is_none() {
            // Who waited for it to load waits no longer.
            return Stirs::Everything;
        }
        if !confirmed && self.neighbours[n].confirmed {
            return Stirs::Everything;
        }
        let stirs = self.news(n, s, segment, after.bits & !before.bits);
        let quiet = stirs == Stirs::Little && timers == (self.announce_at, self.content_at);
        if quiet { Stirs::Nothing } else { stirs }
    }

    /// A neighbour leaves a rendition: it has nothing of it any more, and has forgotten what it was told.
    fn leaves(&mut self, n: usize, slot: Slot, out: &mut Vec<Output>) {
        let (peer, now) = (self.neighbours[n].peer, self.now);
        if let Some(s) = self.session_at(n, slot) {
            for pieces in self.sessions[s].active.iter_mut() {
                pieces.words.unsay(n);
                contest::take_back(pieces, peer);
                release(pieces, &mut self.neighbours, n, now, out);
            }
        }
        let neighbour = &mut self.neighbours[n];
        early::take_back(neighbour, |of, _| of == slot);
        neighbour.watches.retain(|w| w.slot != slot);
    }

    /// A neighbour joins a rendition, or says so again with other rights.
    fn meets(&mut self, n: usize, slot: Slot, swarm: SwarmId, out: &mut Vec<Output>) {
        let watches = &self.neighbours[n].watches;
        let is_new = !watches.iter().any(|w| (w.slot, w.swarm) == (slot, swarm));
        // Who watches more than are remembered is no liar for it.
        if watches.iter().filter(|w| w.slot != slot && w.swarm != swarm).count() >= peering::WATCHES {
            return;
        }
        if is_new && !self.neighbours[n].may_join(self.now) {
            let peer = self.neighbours[n].peer;
            self.shun(peer, "it joins and leaves without end", out);
            return;
        }
        let watches = &self.neighbours[n].watches;
        let other = |w: &&Watches| (w.slot == slot) != (w.swarm == swarm);
        for left in watches.iter().filter(other).map(|w| w.slot).collect::<Vec<_>>() {
            self.leaves(n, left, out);
        }
        peering::joins(&mut self.neighbours[n], slot, swarm);
        if let Some(session) = self.sessions.iter_mut().find(|s| s.swarm == swarm) {
            session.fruitless = 0;
            if is_new {
                session.settled_at = session.settled_at.max(self.now + peering::SETTLING);
            }
            // The tracker told the size when we came; whoever came since is seen here.
            let there = self.neighbours.iter().filter(|n| n.in_swarm(swarm)).count() as u32 + 1;
            session.viewers = session.viewers.max(there);
            session.most_viewers = session.most_viewers.max(there);
        }
    }

    /// How much an announcement has changed: something only when it named pieces that are wanted, and its neighbour can
    /// be asked for them.
    fn news(&mut self, n: usize, s: usize, segment: SegmentId, fresh: u64) -> Stirs {
        let neighbour = &self.neighbours[n];
        let Some(pieces) = self.sessions[s].active.get(segment) else { return Stirs::Little };
        if pieces.contest.is_some() {
            return Stirs::Everything;
        }
        if fresh == 0 || fresh & pieces.open() == 0 || neighbour.flights >= IN_FLIGHT_FEW {
            return Stirs::Little;
        }
        if neighbour.busy_until > self.now {
            self.wake_for((neighbour.busy_until, Wake::Busy));
            return Stirs::Little;
        }
        Stirs::Asking(Some(n))
    }

    fn window(&mut self, n: usize, slot: Slot, window: (u64, u64), out: &mut Vec<Output>) {
        let neighbour = &mut self.neighbours[n];
        let Some(watch) = neighbour.watches.iter_mut().find(|w| w.slot == slot) else { return };
        watch.window = window;
        let swarm = watch.swarm;
        if let Some(session) = self.sessions.iter_mut().find(|s| s.swarm == swarm) {
            let policy = session.terms.over(&self.policy);
            peering::synchronise(session, n, neighbour, &policy, out);
        }
    }

    /// Ours of the rendition that neighbour `n` calls `slot`.
    fn session_at(&self, n: usize, slot: Slot) -> Option<usize> {
        let swarm = self.neighbours[n].watches.iter().find(|w| w.slot == slot)?.swarm;
        self.sessions.iter().position(|s| s.swarm == swarm)
    }

    /// Neighbour `n` announces something in session `s`; both are there. May end its connection, and others'.
    pub(super) fn have(&mut self, n: usize, s: usize, message: Message, out: &mut Vec<Output>) {
        let Message::Have { segment, sequence, length, loading, ref pieces, .. } = message else { return };
        if self.is_of_another(s, segment) {
            return;
        }
        let Neighbour { peer, confirmed, .. } = self.neighbours[n];
        let now = self.now;
        let have = peering::Have { segment, sequence, length, loading, pieces };
        let session = &mut self.sessions[s];
        let policy = session.terms.over(&self.policy);
        match peering::have(session, (n, &self.neighbours[n]), &have, &policy, now) {
            peering::Verdict::Confirmed => self.confirm(peer, s, out),
            peering::Verdict::Liar => self.lied(peer, s, segment, out),
            peering::Verdict::Contested(piece) => {
                if let Some(pieces) = session.pieces(segment) {
                    contest::note(pieces, piece, peer, message);
                    withdraw(pieces, &mut self.neighbours, |_| true, out);
                }
            }
            peering::Verdict::Early => early::remember(&mut self.neighbours[n], message),
            peering::Verdict::Fine if !confirmed => early::remember(&mut self.neighbours[n], message),
            peering::Verdict::Fine => {}
        }
    }

    /// That a segment is being loaded is passed on at once.
    fn pass_on(&mut self, s: usize, segment: SegmentId) {
        if self.sessions[s].active.get(segment).is_some_and(|p| p.heard && p.dirty && p.held() == 0) {
            self.announce_now();
        }
    }

    /// More is listed in session `s`, or wanted: what neighbours said of that before is heard again.
    pub(super) fn hear_early(&mut self, s: usize, out: &mut Vec<Output>) {
        let swarm = self.sessions[s].swarm;
        let mut said = Vec::new();
        for neighbour in self.neighbours.iter_mut().filter(|n| n.confirmed && !n.pending.is_empty()) {
            let peer = neighbour.peer;
            said.extend(early::recall(neighbour, swarm).into_iter().map(|message| (peer, message)));
        }
        for (peer, message) in said {
            let Message::Have { segment, .. } = message else { continue };
            // What was heard before it may have ended the connection.
            if let Some(n) = self.position(peer) {
                self.have(n, s, message, out);
                self.pass_on(s, segment);
            }
        }
    }

    /// Whether a segment that session `s` knows nothing of, and would open on a neighbour's word, is another one's: names of
    /// ours stand for one rendition each.
    fn is_of_another(&self, s: usize, segment: SegmentId) -> bool {
        let knows = |s: &Session| s.active.position(segment).is_some() || s.listed(segment).is_some();
        let opens = self.sessions.len() > 1 && self.sessions[s].timeline.kind.grows();
        opens && !knows(&self.sessions[s]) && self.sessions.iter().any(knows)
    }

    pub(super) fn confirm(&mut self, peer: PeerId, s: usize, out: &mut Vec<Output>) {
        let now = self.now;
        let Some(neighbour) = self.position(peer).map(|n| &mut self.neighbours[n]) else { return };
        if neighbour.confirmed {
            return;
        }
        for message in peering::confirm(&mut self.sessions[s], neighbour, now) {
            let Message::Have { slot, .. } = message else { continue };
            // What it said before may have been of another rendition; and what is heard now may end the connection.
            if let Some(n) = self.position(peer)
                && let Some(s) = self.session_at(n, slot)
            {
                self.have(n, s, message, out);
            }
        }
    }

    fn requested(
        &mut self,
        n: usize,
        (segment, piece): (SegmentId, u8),
        within: Duration,
        out: &mut Vec<Output>,
    ) -> Stirs {
        let peer = self.neighbours[n].peer;
        let refuse = |retry: Duration| {
            let retry_ms = retry.as_millis().min(u128::from(u16::MAX)) as u16;
            Output::Say { peer, message: Message::Busy { segment, piece, retry_ms } }
        };
        let may = self.policy.p2p && self.policy.upload;
        let sessions = self.sessions.iter().filter(|s| s.entitled && s.joined && s.terms.upload);
        let servable = sessions.filter_map(|s| s.active.get(segment)).next().and_then(|pieces| {
            let grid = pieces.grid.filter(|grid| piece < grid.pieces())?;
            let servable = pieces.shareable && pieces.held() & 1 << piece != 0;
            servable.then(|| (&pieces.words, grid.span(piece).len() as u32))
        });
        let servable = servable.filter(|(words, _)| may && words.times_sent(n, piece) < REPEATS);
        let Some((words, bytes)) = servable else {
            out.push(refuse(Duration::ZERO));
            return Stirs::Little;
        };
        let has_it = |other: usize| other != n && words.of(other) & 1 << piece != 0;
        let elsewhere = self.neighbours.iter().enumerate().any(|(other, n)| has_it(other) && n.uploads);
        let merit = neighbours::merit(&self.neighbours, peer, self.now);
        let request = Request { peer, segment, piece, bytes, within, merit, elsewhere };
        match self.uploads.request(request, self.now) {
            Queued::Accepted => {
                while let Some(Displaced { peer, segment, piece }) = self.uploads.displaced() {
                    self.faults.refused += 1;
                    let retry_ms = UPLOAD_QUEUE.as_millis() as u16;
                    out.push(Output::Say { peer, message: Message::Busy { segment, piece, retry_ms } });
                }
            }
            Queued::Busy(retry) => {
                self.faults.refused += 1;
                out.push(refuse(retry));
            }
            Queued::Refused => {}
            Queued::Spent => {
                out.push(refuse(Duration::ZERO));
                out.push(Output::Report(Report::BudgetSpent));
                return self.change(self.policy, out);
            }
        }
        Stirs::Little
    }

    fn busy(&mut self, n: usize, segment: SegmentId, piece: u8, retry_ms: u16) -> Stirs {
        let (now, draw) = (self.now, self.chance.unit());
        let neighbour = &mut self.neighbours[n];
        if retry_ms == 0 {
            let peer = neighbour.peer;
            if let Some(pieces) = self.sessions.iter_mut().find_map(|s| s.active.noted_mut(segment)) {
                pieces.words.lacks(n, piece);
                contest::lacks(pieces, peer, piece);
            }
        } else {
            neighbour.refused(now, Duration::from_millis(u64::from(retry_ms)), draw);
        }
        let asked = self.land(segment, piece, n);
        let neighbour = &mut self.neighbours[n];
        let owed = neighbour.owes();
        match asked {
            Some(asked) if retry_ms == 0 => neighbour.withdrew(now - asked, now),
            Some(_) => neighbour.refused_one(),
            None => {}
        }
        // Who waited for what it has waits no longer, once it is not counted on any more.
        let waits = retry_ms != 0 && owed == neighbour.owes();
        if waits { Stirs::Asking(None) } else { Stirs::Everything }
    }
}

/// Takes back what neighbour `n` was asked for of a segment that it has no longer.
fn release(pieces: &mut Pieces, neighbours: &mut [Neighbour], n: usize, now: Time, out: &mut Vec<Output>) {
    let peer = neighbours[n].peer;
    let asked = pieces.flights.iter().filter(|flight| flight.peer == peer).map(|flight| flight.asked).min();
    withdraw(pieces, neighbours, |flight| flight.peer == peer, out);
    if let Some(asked) = asked {
        neighbours[n].withdrew(now - asked, now);
    }
}
