//! Bytes that arrive, from the origin and from neighbours, and what they mean for who else has to know.

use std::time::Duration;

use super::account::Reason;
use super::eviction;
use super::neighbours::Neighbour;
use super::node::Stirs;
use super::pieces::{Ask, Came, Pieces};
use super::policy::{ASKED_RETRY, ASKED_TRIES, LONGEST_HOLD, MISSING_RETRY};
use super::retry::origin_pause;
use super::supply::withdraw;
use super::{AskId, Failure, Fault, FetchId, Node, Output, Report, contest, peering};
use crate::model::ids::{PeerId, SegmentId};
use crate::model::time::Time;
use crate::model::timeline::PieceGrid;
use crate::wire::digest::PieceHash;
use crate::wire::message::Message;

impl Node {
    pub(super) fn head(
        &mut self,
        fetch: FetchId,
        length: Option<u64>,
        shareable: bool,
        out: &mut Vec<Output>,
    ) -> Stirs {
        let Some((s, p)) = self.fetch_of(fetch) else { return Stirs::Nothing };
        if length.is_some_and(|length| !self.keeps(length)) {
            let session = &mut self.sessions[s];
            session.oversized |= length > Some(0);
            return self.pass_through(s, p, out);
        }
        let pieces = &self.sessions[s].active[p];
        if length.is_none() && pieces.grid.is_some() && pieces.held() & !pieces.doubtful() == 0 {
            // An origin that tells no length can't confirm a neighbour's, and a short one would cut the segment off.
            self.sessions[s].entitled = true;
            return self.pass_through(s, p, out);
        }
        let now = self.now;
        let session = &mut self.sessions[s];
        session.entitled = true;
        let pieces = &mut session.active[p];
        pieces.failures = 0;
        pieces.shareable &= shareable;
        if let Some(begun) = pieces.fetches.iter_mut().find(|f| f.id == fetch) {
            (begun.head, begun.stirred, begun.silent) = (Some(now), now, false);
        }
        let (mut liars, mut said) = (Vec::new(), Vec::new());
        if let Some(grid) = length.and_then(PieceGrid::for_length) {
            let own = pieces.held() & !pieces.doubtful();
            if own == 0 && pieces.grid.is_some_and(|known| known != grid) {
                withdraw(pieces, &mut self.neighbours, |_| true, out);
                said = contest::end(pieces);
                liars = pieces.begin_anew(grid);
                another(pieces, fetch, out);
            }
            if !pieces.set_length(grid, true) {
                self.faults.disputed += 1;
                another(pieces, fetch, out);
            }
            session.learn_length(u64::from(grid.length()));
        }
        session.active[p].dirty = true;
        let segment = session.active[p].id();
        for liar in liars {
            self.lied(liar, s, segment, out);
        }
        for said in said {
            self.hear_again(s, segment, said, out);
        }
        self.announce_now();
        self.feed(s, segment, out);
        Stirs::Everything
    }

    /// A segment that can't be kept: whoever waits for it is sent to the origin.
    fn pass_through(&mut self, s: usize, p: usize, out: &mut Vec<Output>) -> Stirs {
        let pieces = &mut self.sessions[s].active[p];
        for fetch in std::mem::take(&mut pieces.fetches) {
            out.push(Output::CancelFetch { fetch: fetch.id });
        }
        pieces.shareable = false;
        // Nobody is asked for it any more: who was right needs no settling, which would begin the next fetch at once.
        pieces.contest = None;
        for ask in std::mem::take(&mut pieces.asks) {
            out.push(Output::Fail { ask: ask.id, why: Failure::PassThrough });
        }
        Stirs::Everything
    }

    pub(super) fn arrived(&mut self, fetch: FetchId, up_to: u32, out: &mut Vec<Output>) {
        let Some((s, p)) = self.fetch_of(fetch) else { return };
        let now = self.now;
        let session = &mut self.sessions[s];
        let pieces = &mut session.active[p];
        let (segment, sequence) = (pieces.id(), pieces.segment.sequence);
        let Some(under_way) = pieces.fetches.iter_mut().find(|f| f.id == fetch) else { return };
        let fresh = u64::from(up_to.saturating_sub(under_way.got));
        under_way.got = under_way.got.max(up_to);
        (under_way.stirred, under_way.silent) = (now, false);
        session.bytes.http += fresh;
        session.ledger.of(segment, sequence).http += fresh;
        self.feed(s, segment, out);
        self.made_room_for(fresh, out);
    }

    pub(super) fn hashed(
        &mut self,
        segment: SegmentId,
        piece: u8,
        hash: PieceHash,
        out: &mut Vec<Output>,
    ) -> Stirs {
        let Some(s) = self.session_of(segment) else { return Stirs::Nothing };
        let session = &mut self.sessions[s];
        let Some(pieces) = session.pieces(segment) else { return Stirs::Nothing };
        let (twice, before) = (pieces.held() & 1 << piece != 0, pieces.hash(piece));
        let by_peer = pieces.doubtful() & 1 << piece != 0;
        let length = pieces.grid.map_or(0, |grid| grid.span(piece).len() as u64);
        let liars = pieces.own_piece(piece, hash);
        pieces.tidy();
        withdraw(pieces, &mut self.neighbours, |flight| flight.piece == piece, out);
        if twice {
            session.bytes.wasted += length;
            session.bytes.both += if by_peer { length } else { 0 };
        }
        let disproved = before.is_some_and(|before| before != hash);
        self.settle(s, segment, piece, (disproved, &liars), out);
        for liar in liars {
            self.lied(liar, s, segment, out);
        }
        for (peer, truthful) in peering::judge(&self.neighbours, segment, piece, hash) {
            if truthful {
                self.confirm(peer, s, out);
            } else {
                self.lied(peer, s, segment, out);
            }
        }
        self.announce_soon();
        Stirs::Everything
    }

    /// A neighbour has other bytes under a segment's name than the origin gave us: it lies, or the origin gives each viewer
    /// bytes of its own. What came from the origin alone is then told as not shared.
    pub(super) fn not_the_same(&mut self, s: usize, segment: SegmentId) {
        let session = &mut self.sessions[s];
        let Some(sequence) = session.active.get(segment).map(|p| p.segment.sequence) else { return };
        let record = session.ledger.of(segment, sequence);
        if record.p2p == 0 {
            record.reason = Reason::NotShared;
        }
    }

    /// Looks at memory after as much new content as there was room left for.
    fn made_room_for(&mut self, bytes: u64, out: &mut Vec<Output>) {
        self.unchecked += bytes;
        self.kept += bytes;
        if self.unchecked >= eviction::slack(self.policy.memory) {
            self.unchecked = 0;
            self.evict(out);
        }
    }

    pub(super) fn fetched(&mut self, fetch: FetchId, out: &mut Vec<Output>) -> Stirs {
        let Some((s, p)) = self.fetch_of(fetch) else { return Stirs::Nothing };
        let now = self.now;
        let session = &mut self.sessions[s];
        let Some(ended) = session.active[p].end_fetch(fetch) else { return Stirs::Nothing };
        if let Some(head) = ended.head {
            session.learn(head - ended.started, now - head, u64::from(ended.got - ended.from));
        }
        let pieces = &mut session.active[p];
        let segment = pieces.id();
        pieces.failures = 0;
        if pieces.grid.is_none() && ended.to.is_none() {
            // The length was not announced: it is what came.
            match PieceGrid::for_length(u64::from(ended.got)) {
                Some(grid) => {
                    pieces.set_length(grid, true);
                }
                None => return self.pass_through(s, p, out),
            }
        }
        self.feed(s, segment, out);
        // Players that read an answer of unknown length learn here that it is complete.
        let pieces = &self.sessions[s].active[p];
        if let Some(grid) = pieces.grid {
            for ask in pieces.asks.iter().filter(|ask| ask.ready == grid.length()) {
                out.push(Output::Ready { ask: ask.id, up_to: ask.ready, length: Some(grid.length()) });
            }
        }
        Stirs::Everything
    }

    pub(super) fn failed(&mut self, fetch: FetchId, fault: Fault, out: &mut Vec<Output>) -> Stirs {
        let Some((s, p)) = self.fetch_of(fetch) else { return Stirs::Nothing };
        let now = self.now;
        let session = &mut self.sessions[s];
        if fault == Fault::Denied {
            session.entitled = false;
        }
        let pieces = &mut session.active[p];
        let brought = pieces.end_fetch(fetch).is_some_and(|ended| ended.got > ended.from);
        pieces.failures = if brought { 1 } else { pieces.failures.saturating_add(1) };
        pieces.missing = fault == Fault::Missing;
        let (segment, failures) = (pieces.id(), pieces.failures);
        let most = if pieces.asks.is_empty() { Duration::MAX } else { ASKED_RETRY };
        let pause = if fault == Fault::Missing { MISSING_RETRY } else { origin_pause(failures).min(most) };
        pieces.retry_at = now + pause;
        // What others bring is not lost with this one.
        let lost = |ask: &Ask| !pieces.missing(ask.from.max(ask.ready), ask.to).is_empty();
        let lost: Vec<AskId> = pieces.asks.iter().filter(|ask| lost(ask)).map(|ask| ask.id).collect();
        // Who waits longest for a byte has had none since then.
        let since = pieces.asks.iter().filter(|ask| lost.contains(&ask.id)).map(|ask| ask.fed).min();
        let since = since.unwrap_or(now);
        let in_time = pieces.retry_at - since < LONGEST_HOLD;
        let promising = pieces.words.anywhere() != 0;
        let session = &mut self.sessions[s];
        let again = match fault {
            // Neighbours may still bring it, but no player bears more than that without a byte.
            Fault::Unavailable | Fault::Broken => in_time && (promising || failures < ASKED_TRIES),
            Fault::Missing if session.is_newest(segment) => {
                pause * u32::from(failures) < session.timeline.target && in_time
            }
            Fault::Missing => failures < 2,
            Fault::Denied | Fault::Refused => false,
        };
        let pieces = &mut session.active[p];
        if !again {
            pieces.asks.retain(|ask| !lost.contains(&ask.id));
            out.extend(lost.into_iter().map(|ask| Output::Fail { ask, why: Failure::Origin(fetch) }));
        }
        peering::no_longer_loading(&mut self.sessions[s], p, &self.neighbours, out);
        Stirs::Everything
    }

    pub(super) fn joined(&mut self, peer: PeerId, out: &mut Vec<Output>) -> Stirs {
        self.forget(peer, out);
        self.neighbours.push(Neighbour::new(peer, self.now));
        self.tails.push(tail(peer));
        self.membership.greet(self.now);
        peering::greet(peer, &self.sessions, &self.policy, out);
        Stirs::Everything
    }

    pub(super) fn left(&mut self, peer: PeerId, misbehaved: bool, out: &mut Vec<Output>) -> Stirs {
        self.faults.misbehaved += u64::from(misbehaved);
        if misbehaved {
            out.push(Output::Disconnect { peer, shun: true });
            out.push(Output::Report(Report::Shunned { peer, why: "it broke the protocol" }));
        }
        self.forget(peer, out);
        for session in self.sessions.iter_mut().filter(|s| s.joined) {
            session.fruitless = 0;
            self.membership.reconsider(session, &self.neighbours, &self.policy);
        }
        Stirs::Everything
    }

    /// Removes every trace of a neighbour; what was asked of it is open again.
    pub(super) fn forget(&mut self, peer: PeerId, _: &mut Vec<Output>) {
        let Some(n) = self.position(peer) else { return };
        self.neighbours.remove(n);
        self.tails.remove(n);
        self.uploads.forget(peer);
        for pieces in self.sessions.iter_mut().flat_map(|s| s.active.iter_mut()) {
            pieces.words.forget(n);
            contest::forget(pieces, peer);
            pieces.flights.retain(|f| f.peer != peer);
        }
    }

    /// Where a neighbour stands.
    pub(super) fn position(&self, peer: PeerId) -> Option<usize> {
        let tail = tail(peer);
        let alike = self.tails.iter().enumerate().filter(|(_, t)| **t == tail);
        alike.map(|(n, _)| n).find(|&n| self.neighbours[n].peer == peer)
    }

    pub(super) fn session_of(&self, segment: SegmentId) -> Option<usize> {
        self.sessions.iter().position(|s| s.active.position(segment).is_some())
    }

    /// A request to a neighbour is over; when it was made.
    pub(super) fn land(&mut self, segment: SegmentId, piece: u8, n: usize) -> Option<Time> {
        let s = self.session_of(segment)?;
        let neighbour = &mut self.neighbours[n];
        let pieces = self.sessions[s].pieces(segment)?;
        let at = pieces.flights.iter().position(|f| f.piece == piece && f.peer == neighbour.peer)?;
        neighbour.flights = neighbour.flights.saturating_sub(1);
        Some(pieces.flights.swap_remove(at).asked)
    }

    pub(super) fn piece_came(
        &mut self,
        peer: PeerId,
        segment: SegmentId,
        (piece, length, hash): (u8, u32, PieceHash),
        out: &mut Vec<Output>,
    ) -> Stirs {
        let Some(n) = self.position(peer) else { return Stirs::Nothing };
        let asked = self.land(segment, piece, n);
        let (now, length) = (self.now, u64::from(length));
        let Some(s) = self.session_of(segment) else {
            self.past.wasted += length;
            return Stirs::Everything;
        };
        let session = &mut self.sessions[s];
        let Some(pieces) = session.pieces(segment) else { return Stirs::Nothing };
        let sequence = pieces.segment.sequence;
        match pieces.peer_piece(piece, length, hash) {
            Came::Accepted => {
                pieces.fed_by_peers = Some(now);
                let copies = pieces.words.copies(piece);
                withdraw(pieces, &mut self.neighbours, |flight| flight.piece == piece, out);
                let needless = pieces.end_needless();
                out.extend(needless.into_iter().map(|fetch| Output::CancelFetch { fetch }));
                session.bytes.p2p += length;
                let record = session.ledger.of(segment, sequence);
                record.p2p += length;
                record.peers |= 1u32.checked_shl(n as u32).unwrap_or(0);
                if record.http == 0 {
                    record.reason = Reason::Prefetch;
                }
                if let Some(asked) = asked {
                    self.neighbours[n].brought(now - asked, length, now);
                }
                out.push(Output::Keep { segment, piece });
                self.feed(s, segment, out);
                self.announce_piece(copies);
                self.made_room_for(length, out);
                let session = &mut self.sessions[s];
                let complete = session.active.get(segment).filter(|p| p.complete());
                let Some((took, duration)) = complete.map(|p| (now - p.seen, p.segment.duration)) else {
                    return Stirs::Asking(None);
                };
                session.learn_spread(took, duration);
                Stirs::Everything
            }
            Came::Duplicate | Came::Unwanted => {
                session.bytes.wasted += length;
                Stirs::Asking(None)
            }
            Came::WrongBytes => {
                session.bytes.wasted += length;
                self.faults.wrong_bytes += 1;
                self.shun(peer, "it sent bytes that are not what was vouched for", out);
                Stirs::Everything
            }
        }
    }

    /// Gives up requests that took too long; the neighbours that owe them are asked last from now on.
    pub(super) fn give_up_late(&mut self, out: &mut Vec<Output>) {
        let now = self.now;
        for pieces in self.sessions.iter_mut().flat_map(|s| s.active.awake_mut()) {
            let segment = pieces.id();
            let neighbours = &mut self.neighbours;
            let mut late = 0;
            pieces.flights.retain(|flight| {
                let Some(neighbour) = neighbours.iter_mut().find(|n| n.peer == flight.peer) else {
                    return false;
                };
                if now - flight.asked < neighbour.patience() {
                    return true;
                }
                neighbour.missed(now);
                neighbour.flights = neighbour.flights.saturating_sub(1);
                let message = Message::Cancel { segment, piece: flight.piece };
                out.push(Output::Say { peer: flight.peer, message });
                late += 1;
                false
            });
            self.faults.late += late;
        }
    }

    /// Notes which fetches the origin has left without a byte for too long; answers when the next one will be.
    pub(super) fn listen(&mut self) -> Option<Time> {
        let now = self.now;
        let awake = self.sessions.iter_mut().flat_map(|s| s.active.awake_mut());
        awake.filter_map(|pieces| pieces.listen(now)).min()
    }

    /// When the next request to a neighbour will be late.
    pub(super) fn next_late(&self) -> Option<Time> {
        let flights = self.sessions.iter().flat_map(|s| s.active.awake()).flat_map(|(_, p)| &p.flights);
        flights
            .filter_map(|flight| {
                let neighbour = self.neighbours.iter().find(|n| n.peer == flight.peer)?;
                Some(flight.asked + neighbour.patience())
            })
            .min()
    }
}

/// The origin has another segment under this name than what is here: that goes, and so do answers that have begun with it, and other
/// fetches, which may be bringing the rest of it.
fn another(pieces: &mut Pieces, fetch: FetchId, out: &mut Vec<Output>) {
    out.push(Output::Drop { segment: pieces.id() });
    let others: Vec<FetchId> = pieces.fetches.iter().map(|f| f.id).filter(|id| *id != fetch).collect();
    for fetch in others {
        pieces.end_fetch(fetch);
        out.push(Output::CancelFetch { fetch });
    }
    pieces.loose.clear();
    pieces.asks.retain(|ask| {
        let begun = ask.ready > ask.from;
        if begun {
            out.push(Output::Fail { ask: ask.id, why: Failure::PassThrough });
        }
        !begun
    });
}

/// The end of a name, in which names of one kind of client differ.
fn tail(peer: PeerId) -> u32 {
    let [.., a, b, c, d] = peer.0;
    u32::from_le_bytes([a, b, c, d])
}
