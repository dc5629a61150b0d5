//! The Node between an honest driver and everybody else: players, origin, tracker and neighbours do whatever the
//! bytes say. It never panics, speaks only of what there is, comes to rest, and keeps nothing once all have gone.
#![cfg_attr(fuzzing, no_main)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use paceline::delivery::budget::Allowance;
use paceline::delivery::policy::{Options, Policy, Terms};
use paceline::delivery::{AskId, Fault, FetchId, Input, Node, Output};
use paceline::model::ids::{Group, PeerId, SegmentId, SwarmId};
use paceline::model::time::Time;
use paceline::model::timeline::{Choice, Kind, PieceGrid, Segment, Timeline};
use paceline::wire::digest::PieceHash;
use paceline::wire::message::{Message, Slot};

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check(bytes));

/// Steps of one run; bytes for more are not looked at.
const STEPS: usize = 300;
/// Outputs of one input.
const OUTPUTS: usize = 2000;
/// Times in a row that the Node may want to be woken at one moment.
const AT_ONCE: usize = 20;
const TARGET: Duration = Duration::from_secs(4);
const MEMORY: u64 = 16 << 20;

/// Panics where something does not hold of what `bytes` make happen.
pub fn check(bytes: &[u8]) {
    let mut world = World::new();
    let mut chance = Bits { rest: bytes };
    for _ in 0..STEPS {
        if chance.rest.is_empty() {
            break;
        }
        world.step(&mut chance);
    }
    world.leave();
}

/// Choices drawn from bytes; zeroes at their end.
struct Bits<'a> {
    rest: &'a [u8],
}

impl Bits<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let have = N.min(self.rest.len());
        bytes[..have].copy_from_slice(&self.rest[..have]);
        self.rest = &self.rest[have..];
        bytes
    }

    fn u8(&mut self) -> u8 {
        let [byte] = self.take();
        byte
    }

    fn below(&mut self, end: u8) -> u8 {
        self.u8() % end
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    /// One in eight.
    fn rarely(&mut self) -> bool {
        self.u8().is_multiple_of(8)
    }
}

fn swarm(n: u8) -> SwarmId {
    SwarmId::of(["one rendition", "another"][usize::from(n % 2)])
}

fn segment(n: u8, sequence: u8) -> SegmentId {
    SegmentId::of(swarm(n), u64::from(sequence), "segment")
}

fn peer(n: u8) -> PeerId {
    PeerId::from_entropy([n; 12])
}

fn truth(segment: SegmentId, piece: u8) -> PieceHash {
    PieceHash([segment.0 as u8 ^ piece.wrapping_mul(29); 16])
}

/// How long a segment really is.
fn length(segment: SegmentId) -> u32 {
    [320_000, 1_500_000, 16_384, 1][segment.0 as usize % 4]
}

struct Fetch {
    segment: SegmentId,
    from: u32,
    at: u32,
    end: u32,
    headed: bool,
}

struct World {
    node: Node,
    now: Time,
    policy: Policy,
    /// What may still be uploaded.
    left: Option<u64>,
    renews: bool,
    fetches: BTreeMap<FetchId, Fetch>,
    /// Open requests and how far each may be read.
    asks: BTreeMap<AskId, u32>,
    connected: BTreeSet<PeerId>,
    /// What neighbours have been asked for.
    flights: Vec<(PeerId, SegmentId, u8)>,
    sending: Vec<(PeerId, SegmentId, u8)>,
    pings: Vec<(PeerId, u32)>,
    held: BTreeSet<(SegmentId, u8)>,
    next_ask: u64,
}

impl World {
    fn new() -> Self {
        let policy = Policy::new(&Options::default(), MEMORY);
        Self {
            node: Node::new(peer(99), policy, 1, 3),
            now: Time::from_micros(1),
            policy,
            left: None,
            renews: false,
            fetches: BTreeMap::new(),
            asks: BTreeMap::new(),
            connected: BTreeSet::new(),
            flights: Vec::new(),
            sending: Vec::new(),
            pings: Vec::new(),
            held: BTreeSet::new(),
            next_ask: 0,
        }
    }

    fn tell(&mut self, input: Input) {
        let mut out = Vec::new();
        self.node.handle(self.now, input, &mut out);
        assert!(out.len() < OUTPUTS, "{} outputs at once", out.len());
        out.into_iter().for_each(|output| self.carry(output));
        if std::mem::take(&mut self.renews) {
            self.left = None;
            self.tell(Input::Budget(None));
        }
    }

    fn carry(&mut self, output: Output) {
        match output {
            Output::Fetch { fetch, segment, from, to, .. } => {
                let end = to.unwrap_or_else(|| length(segment).max(from));
                assert!(to.is_none_or(|to| from < to), "an empty fetch");
                let new = Fetch { segment, from, at: from, end, headed: false };
                assert!(self.fetches.insert(fetch, new).is_none(), "a name is used twice");
            }
            Output::CancelFetch { fetch } => {
                self.fetches.remove(&fetch).expect("a fetch that is under way");
            }
            Output::Ready { ask, up_to, .. } => {
                let before = self.asks.insert(ask, up_to).expect("a request that is open");
                assert!(before <= up_to, "an answer goes backwards");
            }
            Output::Fail { ask, .. } => {
                self.asks.remove(&ask).expect("a request that is open");
            }
            Output::Keep { segment, piece } => {
                self.held.insert((segment, piece));
            }
            Output::Discard { segment, pieces } => {
                self.held.retain(|(s, p)| *s != segment || pieces & 1 << p == 0)
            }
            Output::Drop { segment } => self.held.retain(|(s, _)| *s != segment),
            Output::Say { peer, message } => {
                assert!(self.connected.contains(&peer), "{message:?} for somebody who has gone");
                let frame = message.encode();
                assert_eq!(Message::decode(frame), Ok(Some(message.clone())), "nobody would understand");
                match message {
                    Message::Request { segment, piece, .. } => self.flights.push((peer, segment, piece)),
                    Message::Cancel { segment, piece } => {
                        self.flights.retain(|flight| *flight != (peer, segment, piece))
                    }
                    Message::Ping { nonce, reply: false } => self.pings.push((peer, nonce)),
                    _ => {}
                }
            }
            Output::SendPiece { peer, segment, piece } => {
                assert!(self.connected.contains(&peer), "a piece for somebody who has gone");
                assert!(self.held.contains(&(segment, piece)), "a piece that is not here");
                if let Some(left) = &mut self.left {
                    let bytes = self.node.grid(segment).map_or(0, |grid| grid.span(piece).len() as u64);
                    *left = left.checked_sub(bytes).expect("a budget that covers it");
                }
                self.sending.push((peer, segment, piece));
            }
            Output::Disconnect { peer, shun } => {
                // Whoever lied is refused from now on, there or not.
                assert!(self.connected.remove(&peer) || shun, "somebody who is not there");
                self.gone(peer);
            }
            Output::Renew => self.renews = true,
            Output::Allow { .. }
            | Output::Announce { .. }
            | Output::Leave { .. }
            | Output::Connect { .. }
            | Output::Room { .. }
            | Output::Report(_) => {}
        }
    }

    fn gone(&mut self, peer: PeerId) {
        self.flights.retain(|flight| flight.0 != peer);
        self.sending.retain(|piece| piece.0 != peer);
        self.pings.retain(|ping| ping.0 != peer);
    }

    fn step(&mut self, chance: &mut Bits<'_>) {
        match chance.below(16) {
            0 => self.list(chance),
            1 | 2 => self.ask(chance),
            3..=5 => self.origin(chance),
            6 => self.meet(chance),
            7 | 8 => self.claim(chance),
            9 => self.deliver(chance),
            10 => self.babble(chance),
            11 => self.request(chance),
            12 => {
                if let Some((peer, segment, piece)) = self.sending.pop() {
                    let gone = piece % 8 == 7;
                    let sent = Input::Sent { peer, segment, piece };
                    self.tell(if gone { Input::Unsent { peer, segment, piece } } else { sent });
                }
            }
            13 => self.wait(Duration::from_millis(u64::from(chance.u16() % 4000))),
            14 => self.player(chance),
            _ => self.outside(chance),
        }
    }

    /// A manifest, right or wrong: the same sequence number may come back as another segment.
    fn list(&mut self, chance: &mut Bits<'_>) {
        let (n, viewer, first, count) = (chance.u8(), chance.below(3), chance.below(8), chance.below(8));
        let kind = [Kind::Live, Kind::Event, Kind::Vod][usize::from(n % 3)];
        let far = if chance.rarely() { u64::MAX - 20 } else { 0 };
        let segments = (first..first + count)
            .map(|s| Segment { id: segment(n, s), sequence: far + u64::from(s), duration: TARGET })
            .collect();
        let any = count % 2 == 1;
        let choice = Choice { group: any.then_some(Group(0)), adaptive: any };
        let timeline = Timeline { swarm: swarm(n), kind, target: TARGET, choice, segments };
        self.tell(Input::Listed { timeline, viewer: u64::from(viewer) });
    }

    fn ask(&mut self, chance: &mut Bits<'_>) {
        let (n, viewer, sequence) = (chance.u8(), chance.below(3), chance.below(16));
        let (from, to) = match chance.rarely() {
            true => (chance.u32(), Some(chance.u32())),
            false => (0, None),
        };
        // A request for nothing never comes this far.
        let to = to.filter(|to| *to > from);
        let ask = AskId(self.next_ask);
        self.next_ask += 1;
        self.asks.insert(ask, from);
        let (swarm, segment) = (swarm(n), segment(n, sequence));
        self.tell(Input::Asked { ask, viewer: u64::from(viewer), swarm, segment, from, to });
    }

    fn origin(&mut self, chance: &mut Bits<'_>) {
        let which = usize::from(chance.u8()) % self.fetches.len().max(1);
        let Some((&fetch, state)) = self.fetches.iter_mut().nth(which) else { return };
        let does = chance.below(8);
        if does == 0 {
            self.fetches.remove(&fetch);
            let faults = [Fault::Denied, Fault::Refused, Fault::Unavailable, Fault::Broken];
            return self.tell(Input::Failed { fetch, fault: faults[usize::from(chance.below(4))] });
        }
        if !std::mem::replace(&mut state.headed, true) {
            let length = match chance.rarely() {
                true => [None, Some(0), Some(17), Some(1 << 40)][usize::from(chance.below(4))],
                false => Some(u64::from(length(state.segment))),
            };
            let shareable = !chance.rarely();
            // No more is read than was told.
            state.end = length.map_or(state.end, |length| u64::from(state.end).min(length) as u32);
            self.tell(Input::Head { fetch, length, shareable });
        }
        let Some(state) = self.fetches.get_mut(&fetch) else { return };
        let more = if does < 4 { u32::from(chance.u16()) } else { u32::MAX };
        let (segment, from, before) = (state.segment, state.from, state.at);
        state.at = before.saturating_add(more).min(state.end).max(before);
        let (at, end) = (state.at, state.end);
        self.tell(Input::Arrived { fetch, up_to: at });
        // The driver hashes by the grid that the Node goes by.
        let grid = self.node.grid(segment);
        for (piece, span) in grid.iter().flat_map(|grid| (0..grid.pieces()).map(|p| (p, grid.span(p)))) {
            if span.end > before && span.start >= from && span.end <= at {
                self.held.insert((segment, piece));
                self.tell(Input::Hashed { segment, piece, hash: truth(segment, piece) });
            }
        }
        if at >= end && self.fetches.remove(&fetch).is_some() {
            self.tell(Input::Fetched { fetch });
        }
    }

    fn meet(&mut self, chance: &mut Bits<'_>) {
        let n = chance.below(6);
        if chance.rarely() {
            if self.connected.remove(&peer(n)) {
                self.gone(peer(n));
                self.tell(Input::Left { peer: peer(n), misbehaved: chance.rarely() });
            }
            return;
        }
        self.gone(peer(n));
        self.connected.insert(peer(n));
        self.tell(Input::Joined { peer: peer(n) });
        if !chance.rarely() {
            let (slot, swarm) = (Slot(n % 2), swarm(chance.u8()));
            self.said(n, Message::Hello { version: 1, features: 0, uploads: n != 4 });
            self.said(n, Message::Joined { slot, swarm });
            self.said(n, Message::Window { slot, first: 0, last: u64::MAX });
        }
    }

    fn said(&mut self, n: u8, message: Message) {
        if self.connected.contains(&peer(n)) {
            self.tell(Input::Said { peer: peer(n), message });
        }
    }

    /// Says what it has, true or not.
    fn claim(&mut self, chance: &mut Bits<'_>) {
        let (n, of, sequence, flags, bits) =
            (chance.below(6), chance.u8(), chance.below(16), chance.u8(), chance.u32());
        let id = segment(of, sequence);
        let length = if flags & 7 == 7 { chance.u32() % PieceGrid::MAX_LENGTH } else { length(id) };
        let bits = u64::from(bits) * 0x1_0000_0001;
        let pieces = PieceGrid::for_length(u64::from(length)).map_or(0, PieceGrid::pieces);
        let name = |piece| if flags & 8 == 0 { truth(id, piece) } else { PieceHash([n; 16]) };
        let pieces = (0..pieces).filter(|p| bits >> p & 1 == 1).map(|p| (p, name(p))).collect();
        let (slot, loading, sequence) = (Slot(n % 2), flags & 16 == 0, u64::from(sequence));
        self.said(n, Message::Have { slot, segment: id, sequence, length, loading, pieces });
    }

    /// Sends what was asked for, or something else of another length.
    fn deliver(&mut self, chance: &mut Bits<'_>) {
        let which = usize::from(chance.u8()) % self.flights.len().max(1);
        if self.flights.is_empty() {
            return;
        }
        let (peer, segment, piece) = self.flights.remove(which);
        let (mut hash, real) = (truth(segment, piece), PieceGrid::for_length(u64::from(length(segment))));
        let mut length = real.map_or(1, |grid| grid.span(piece).len() as u32).max(1);
        match chance.below(8) {
            0 => hash = PieceHash([0xEE; 16]),
            1 => length = 1 + chance.u32() % (1 << PieceGrid::MAX_SHIFT),
            2 => {
                let message = Message::Busy { segment, piece, retry_ms: chance.u16() };
                return self.tell(Input::Said { peer, message });
            }
            _ => {}
        }
        self.tell(Input::Piece { peer, segment, piece, length, hash });
    }

    /// Any frame at all.
    fn babble(&mut self, chance: &mut Bits<'_>) {
        let (n, length) = (chance.below(6), usize::from(chance.u8()));
        let (frame, rest) = chance.rest.split_at(length.min(chance.rest.len()));
        chance.rest = rest;
        match Message::decode(Bytes::copy_from_slice(frame)) {
            // Parts are put together before the Node hears of them.
            Ok(None | Some(Message::Part { .. })) | Err(_) => {}
            Ok(Some(message)) => self.said(n, message),
        }
    }

    fn request(&mut self, chance: &mut Bits<'_>) {
        let (n, of, sequence, piece) = (chance.below(6), chance.u8(), chance.below(16), chance.below(64));
        let segment = segment(of, sequence);
        let message = match of / 32 {
            0 => Message::Lost { segment },
            1 => Message::Cancel { segment, piece },
            2 => match self.pings.pop() {
                Some((peer, nonce)) => {
                    let message = Message::Ping { nonce, reply: true };
                    return self.tell(Input::Said { peer, message });
                }
                None => Message::Ping { nonce: u32::from(piece), reply: false },
            },
            3 => Message::Left { slot: Slot(n % 2) },
            _ => Message::Request { segment, piece, within_ms: chance.u16() },
        };
        self.said(n, message);
    }

    fn player(&mut self, chance: &mut Bits<'_>) {
        let which = usize::from(chance.u8()) % self.asks.len().max(1);
        let Some((&ask, &ready)) = self.asks.iter().nth(which) else { return };
        if chance.below(2) == 0 {
            return self.tell(Input::Took { ask, up_to: ready });
        }
        self.asks.remove(&ask);
        self.tell(Input::Done { ask });
    }

    fn outside(&mut self, chance: &mut Bits<'_>) {
        match chance.below(3) {
            0 => {
                let (swarm, viewers) = (swarm(chance.u8()), chance.u32());
                self.tell(Input::SwarmSize { tracker: 0, swarm, viewers });
            }
            1 => {
                let (up, interval_s) = (!chance.rarely(), chance.u32());
                self.tell(Input::Tracker { tracker: 0, up, interval_s });
            }
            _ => {
                let says = chance.u8();
                // What one rendition is kept from, and budgets, in the place of a rare policy.
                if says >= 248 {
                    let terms = Terms { p2p: says & 1 != 0, upload: says & 2 != 0, prefetch: None };
                    return self.tell(Input::Terms { swarm: swarm(chance.u8()), terms });
                }
                if says >= 240 {
                    let (left, lasts) =
                        (u64::from(chance.u32()) >> 8, Duration::from_millis(chance.u16().into()));
                    self.left = Some(left);
                    return self.tell(Input::Budget(Some(Allowance { left, until: self.now + lasts })));
                }
                self.policy.p2p = says & 7 != 0;
                self.policy.upload = self.policy.p2p && says & 8 == 0;
                self.policy.max_neighbours = 1 + (says >> 4) % 15;
                self.tell(Input::Policy(self.policy));
            }
        }
    }

    /// Lets time pass, waking the Node whenever it wants; it may not want that for ever at one moment.
    fn wait(&mut self, length: Duration) {
        let until = self.now + length;
        let (mut at_once, mut last) = (0, Time::ZERO);
        while let Some((at, why)) = self.node.next_wakeup().filter(|(at, _)| *at <= until) {
            self.now = self.now.max(at);
            at_once = if self.now > last { 0 } else { at_once + 1 };
            last = self.now;
            assert!(at_once < AT_ONCE, "woken for {why:?} again and again at {}", self.now);
            self.tell(Input::Tick);
        }
        self.now = until;
    }

    /// Everybody goes; then there is nothing left to do.
    fn leave(&mut self) {
        while let Some((ask, _)) = self.asks.pop_first() {
            self.tell(Input::Done { ask });
        }
        while let Some(peer) = self.connected.pop_first() {
            self.gone(peer);
            self.tell(Input::Left { peer, misbehaved: false });
        }
        self.tell(Input::Tracker { tracker: 0, up: true, interval_s: 120 });
        self.wait(Duration::from_secs(1200));
        assert!(self.node.sessions().is_empty(), "a session without a viewer");
        assert!(self.node.neighbours().is_empty(), "a neighbour that has gone");
        assert!(self.fetches.is_empty(), "{} fetches for nobody", self.fetches.len());
        assert!(self.held.is_empty(), "{} pieces that nobody wants", self.held.len());
        let mut out = Vec::new();
        self.node.handle(self.now + Duration::from_secs(600), Input::Tick, &mut out);
        assert!(out.is_empty(), "{out:?} for nobody");
    }
}
