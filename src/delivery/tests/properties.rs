//! What holds of a Node whatever happens, in whatever order.
//!
//! A small universe (a live rendition of a dozen segments, three players, five peers that say true and false things) is
//! played to a Node by chance; a mirror of what it has been given checks everything that it does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use crate::delivery::budget::Allowance;
use crate::delivery::policy::{Options, Policy, Terms};
use crate::delivery::*;
use crate::model::time::Time;
use crate::model::timeline::{Kind, PieceGrid, Segment};
use crate::wire::message::Slot;

const LENGTH: u32 = 320_000;
const TARGET: Duration = Duration::from_secs(4);

#[derive(Clone, Debug)]
enum Step {
    List { viewer: u8, kind: u8, first: u8, count: u8 },
    Ask { viewer: u8, sequence: u8, from: u16 },
    Origin { which: u8, does: Does },
    Join(u8),
    Leave(u8),
    Greet(u8),
    Have { peer: u8, sequence: u8, bits: u32, lie: bool, loading: bool },
    Busy { peer: u8, retry: u8 },
    Lost { peer: u8, sequence: u8 },
    Deliver { peer: u8, wrong: bool },
    Request { peer: u8, sequence: u8, piece: u8 },
    Sent,
    Wait(u16),
    Size(u8),
    Tracker(bool),
    Policy { p2p: bool, upload: bool },
    Terms { p2p: bool, upload: bool },
    Budget { left: u32, lasts: u16 },
    HangUp(u8),
}

#[derive(Clone, Copy, Debug)]
enum Does {
    Head,
    Bytes(u16),
    All,
    Fail(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let peer = || 0u8..5;
    let sequence = || 0u8..12;
    let does = prop_oneof![
        Just(Does::Head),
        any::<u16>().prop_map(Does::Bytes),
        Just(Does::All),
        (0u8..4).prop_map(Does::Fail)
    ];
    prop_oneof![
        2 => (0u8..3, 0u8..3, 0u8..8, 0u8..8)
            .prop_map(|(viewer, kind, first, count)| Step::List { viewer, kind, first, count }),
        4 => (0u8..3, sequence(), prop_oneof![3 => Just(0u16), 1 => any::<u16>()])
            .prop_map(|(viewer, sequence, from)| Step::Ask { viewer, sequence, from }),
        8 => (any::<u8>(), does).prop_map(|(which, does)| Step::Origin { which, does }),
        2 => peer().prop_map(Step::Join),
        1 => peer().prop_map(Step::Leave),
        3 => peer().prop_map(Step::Greet),
        8 => (peer(), sequence(), any::<u32>(), prop::bool::weighted(0.15), any::<bool>())
            .prop_map(|(peer, sequence, bits, lie, loading)| Step::Have { peer, sequence, bits, lie, loading }),
        1 => (peer(), any::<u8>()).prop_map(|(peer, retry)| Step::Busy { peer, retry }),
        1 => (peer(), sequence()).prop_map(|(peer, sequence)| Step::Lost { peer, sequence }),
        6 => (peer(), prop::bool::weighted(0.1)).prop_map(|(peer, wrong)| Step::Deliver { peer, wrong }),
        2 => (peer(), sequence(), 0u8..8)
            .prop_map(|(peer, sequence, piece)| Step::Request { peer, sequence, piece }),
        2 => Just(Step::Sent),
        6 => (0u16..3000).prop_map(Step::Wait),
        1 => any::<u8>().prop_map(Step::Size),
        1 => any::<bool>().prop_map(Step::Tracker),
        1 => (prop::bool::weighted(0.8), prop::bool::weighted(0.8)).prop_map(|(p2p, upload)| Step::Policy { p2p, upload }),
        1 => (prop::bool::weighted(0.8), prop::bool::weighted(0.8)).prop_map(|(p2p, upload)| Step::Terms { p2p, upload }),
        1 => (0..3 * LENGTH, 1u16..20_000).prop_map(|(left, lasts)| Step::Budget { left, lasts }),
        1 => any::<u8>().prop_map(Step::HangUp),
    ]
}

fn swarm() -> SwarmId {
    SwarmId::of("a rendition")
}

fn segment(sequence: u64) -> SegmentId {
    SegmentId::of(swarm(), sequence, "segment")
}

fn peer(n: u8) -> PeerId {
    PeerId::from_entropy([n; 12])
}

fn truth(segment: SegmentId, piece: u8) -> PieceHash {
    PieceHash([segment.0 as u8 ^ piece.wrapping_mul(29); 16])
}

fn grid() -> PieceGrid {
    PieceGrid::for_length(u64::from(LENGTH)).unwrap()
}

#[derive(Clone, Debug)]
struct Fetch {
    segment: SegmentId,
    from: u32,
    to: u32,
    got: u32,
    headed: bool,
}

/// What the Node was given and has asked for.
struct Mirror {
    node: Node,
    now: Time,
    policy: Policy,
    terms: Terms,
    /// What may still be uploaded, and until when; the Node has asked for more.
    budget: Option<(u64, Time)>,
    renewed: bool,
    fetches: BTreeMap<FetchId, Fetch>,
    /// Bytes that reached the driver from the origin, by segment; a flag each.
    origin: BTreeMap<SegmentId, Vec<bool>>,
    held: BTreeSet<(SegmentId, u8)>,
    asks: BTreeMap<AskId, (SegmentId, u32, u32)>,
    flights: BTreeSet<(PeerId, SegmentId, u8)>,
    connected: BTreeSet<PeerId>,
    sending: Vec<(PeerId, SegmentId, u8)>,
    joined: bool,
    account: Option<Account>,
    next_ask: u64,
    /// What it has been seen to do.
    seen: BTreeSet<&'static str>,
    /// The piece that is being handed in.
    piece: Option<(SegmentId, u8, PieceHash)>,
}

impl Mirror {
    fn new() -> Self {
        let policy = Policy::new(&Options::default(), 4 << 20);
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
            account: None,
            next_ask: 0,
            seen: BTreeSet::new(),
            piece: None,
        }
    }

    fn tell(&mut self, input: Input) -> usize {
        let mut out = Vec::new();
        self.node.handle(self.now, input, &mut out);
        let count = out.len();
        assert!(count < 2000, "{count} outputs at once");
        out.into_iter().for_each(|output| self.check(output));
        count
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
                let new = Fetch { segment, from, to, got: from, headed: false };
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
            }
            Output::Fail { ask, .. } => {
                self.seen.insert("fail");
                self.asks.remove(&ask).expect("a request that is open");
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
            Output::Allow { .. } | Output::Room { .. } | Output::Report(_) => {}
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
                let others = self.flights.iter().filter(|f| (f.1, f.2) == (segment, piece)).count();
                assert!(others < 2, "piece {piece} is asked from three");
                assert!(self.flights.insert((peer, segment, piece)), "piece {piece} is asked twice of one");
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

    fn gone(&mut self, peer: PeerId) {
        self.flights.retain(|f| f.0 != peer);
        self.sending.retain(|s| s.0 != peer);
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

    fn said(&mut self, who: u8, message: Message) {
        if self.connected.contains(&peer(who)) {
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
    fn wait(&mut self, length: Duration) {
        let until = self.now + length;
        let (mut at_once, mut last) = (0, Time::ZERO);
        while let Some((at, why)) = self.node.next_wakeup().filter(|(at, _)| *at <= until) {
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
    }

    fn live(&mut self, step: Step) {
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
                let (ask, segment) = (AskId(self.next_ask), segment(u64::from(sequence)));
                self.next_ask += 1;
                let from = 4 * u32::from(from);
                self.asks.insert(ask, (segment, from, from));
                let viewer = u64::from(viewer);
                self.tell(Input::Asked { ask, viewer, swarm: swarm(), segment, from, to: None });
            }
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
            Step::Request { peer, sequence, piece } => {
                self.said(
                    peer,
                    Message::Request { segment: segment(u64::from(sequence)), piece, within_ms: 900 },
                );
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
                    self.tell(Input::Done { ask });
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(600),
        max_shrink_iters: 20_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/seeds/node.proptest"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_in_whatever_order(steps in proptest::collection::vec(step(), 1..120)) {
        let mut mirror = Mirror::new();
        for step in steps {
            mirror.live(step);
        }
        // Left alone, it comes to rest: everybody has gone, and nothing is kept.
        let asks: Vec<AskId> = mirror.asks.keys().copied().collect();
        for ask in asks {
            mirror.asks.remove(&ask);
            mirror.tell(Input::Done { ask });
        }
        mirror.wait(Duration::from_secs(1200));
        prop_assert!(mirror.node.sessions().is_empty(), "a session without a viewer");
        prop_assert!(mirror.held.is_empty(), "{} pieces that nobody wants", mirror.held.len());
        prop_assert!(!mirror.joined, "in a swarm without a viewer");
    }
}

/// The universe is rich enough to see the Node do everything that is checked.
#[test]
fn everything_is_seen() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (steps, mut seen) = (proptest::collection::vec(step(), 60..160), BTreeSet::new());
    // Pieces change hands in one run of a hundred.
    for _ in 0..1500 {
        let mut mirror = Mirror::new();
        for step in steps.new_tree(&mut runner).unwrap().current() {
            mirror.live(step);
        }
        seen.append(&mut mirror.seen);
    }
    let all = [
        "cancel",
        "cancel fetch",
        "disconnect",
        "drop",
        "fail",
        "fetch",
        "have",
        "keep",
        "ready",
        "renew",
        "request",
        "send",
    ];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), all);
}
