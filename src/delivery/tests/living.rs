//! What happens in the small [`universe`](super::universe): the origin answers or does not, neighbours speak and deliver,
//! players ask and take, time passes.

use std::time::Duration;

use super::mirror::Mirror;
use super::rig::choice;
use super::universe::*;
use crate::delivery::budget::Allowance;
use crate::delivery::policy::Terms;
use crate::delivery::*;
use crate::model::ids::{PeerId, SegmentId, SwarmId};
use crate::model::time::Time;
use crate::model::timeline::{Kind, Segment, Timeline};
use crate::wire::digest::PieceHash;
use crate::wire::message::{Message, Slot};

impl Mirror {
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
            let over = match &message {
                Message::Lost { segment } => Some(Some(*segment)),
                Message::Left { .. } => Some(None),
                Message::Joined { swarm, .. } if *swarm != self::swarm() => Some(None),
                _ => None,
            };
            let joined = self.node.sessions().iter().any(|s| s.joined);
            match &message {
                Message::Joined { swarm, .. } if *swarm == self::swarm() => {
                    self.watching.insert(peer(who));
                }
                Message::Joined { .. } | Message::Left { .. } => self.parted(peer(who)),
                Message::Have { segment, pieces, .. } if joined && self.watching.contains(&peer(who)) => {
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
            if let Some(which) = over {
                let of = |f: &&(PeerId, SegmentId, u8)| f.0 == peer(who) && which.is_none_or(|s| s == f.1);
                assert_eq!(self.flights.iter().find(of), None, "asked of one that has it no longer");
            }
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
            let elsewhere =
                self.node.sessions().iter().any(|session| session.timeline.choice.group.is_some());
            let slack = buffer.asks(sequence, &before, elsewhere, now);
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
    pub(super) fn takes(&mut self, ask: AskId) {
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
                let timeline = Timeline {
                    swarm: swarm(),
                    kind,
                    target: TARGET,
                    choice: choice(count % 2 == 1),
                    segments,
                };
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
                self.said(n, Message::Hello { version: 1, features: 0, uploads: n != SHY });
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
                self.tell(Input::SwarmSize { tracker: 0, swarm: swarm(), viewers: u32::from(viewers) });
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
                    if let Some(buffer) = self.asked.get(&ask).and_then(|a| self.buffers.get_mut(&a.0)) {
                        buffer.lose();
                    }
                    self.tell(Input::Done { ask });
                }
            }
        }
    }
}
