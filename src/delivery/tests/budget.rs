//! Budgets and what single renditions are kept from: one Node, one neighbour that is only messages.

use std::time::Duration;

use crate::delivery::budget::Allowance;
use crate::delivery::policy::{Options, Policy, Terms};
use crate::delivery::*;
use crate::model::ids::{PeerId, SegmentId, SwarmId};
use crate::model::time::Time;
use crate::model::timeline::{Choice, Kind, Segment, Timeline};
use crate::wire::digest::PieceHash;
use crate::wire::message::{Message, Slot};

/// Three pieces: 16 KiB, 16 KiB and the rest.
const LENGTH: u32 = 40_000;
const PIECE: u64 = 16_384;
const TARGET: Duration = Duration::from_secs(4);

struct Rig {
    node: Node,
    now: Time,
    asks: u64,
}

fn swarm() -> SwarmId {
    SwarmId::of("cdn.example/live/720p.m3u8")
}

fn segment(sequence: u64) -> SegmentId {
    SegmentId::of(swarm(), sequence, &format!("seg{sequence}.ts"))
}

fn peer() -> PeerId {
    PeerId::from_entropy([1; 12])
}

impl Rig {
    /// A player that watches segments 0 and 1, all of both from the origin, and a neighbour that wants them too.
    fn seeding() -> Self {
        let me = PeerId::from_entropy([0; 12]);
        let policy = Policy::new(&Options::default(), 64 << 20);
        let mut rig = Self { node: Node::new(me, policy, 1, 1), now: Time::ZERO, asks: 0 };
        rig.play();
        rig.meet();
        rig
    }

    fn tell(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.node.handle(self.now, input, &mut out);
        out
    }

    fn play(&mut self) {
        let segments = (0..4).map(|s| Segment { id: segment(s), sequence: s, duration: TARGET }).collect();
        let timeline = Timeline {
            swarm: swarm(),
            kind: Kind::Live,
            target: TARGET,
            choice: Choice::default(),
            segments,
        };
        self.tell(Input::Listed { timeline, viewer: 1 });
        for sequence in 0..2 {
            self.segment(sequence);
        }
    }

    /// The player asks for a segment and the origin brings it; what was done about it.
    fn segment(&mut self, sequence: u64) -> Vec<Output> {
        let (ask, segment) = (AskId(self.asks), segment(sequence));
        self.asks += 1;
        let mut all = self.tell(Input::Asked { ask, viewer: 1, swarm: swarm(), segment, from: 0, to: None });
        let fetch = all.iter().find_map(|output| match output {
            Output::Fetch { fetch, .. } => Some(*fetch),
            _ => None,
        });
        let fetch = fetch.expect("the origin is asked");
        all.extend(self.tell(Input::Head { fetch, length: Some(u64::from(LENGTH)), shareable: true }));
        all.extend(self.tell(Input::Arrived { fetch, up_to: LENGTH }));
        for piece in 0..3 {
            all.extend(self.tell(Input::Hashed { segment, piece, hash: hash(sequence, piece) }));
        }
        all.extend(self.tell(Input::Fetched { fetch }));
        all.extend(self.tell(Input::Took { ask, up_to: LENGTH }));
        all.extend(self.tell(Input::Done { ask }));
        all
    }

    /// The neighbour comes; what it is told first.
    fn meet(&mut self) -> Vec<Output> {
        let mut all = self.tell(Input::Joined { peer: peer() });
        all.extend(self.says(Message::Hello { version: 1, features: 0, uploads: true }));
        all.extend(self.says(Message::Joined { slot: Slot(0), swarm: swarm() }));
        all.extend(self.says(Message::Window { slot: Slot(0), first: 0, last: u64::MAX }));
        all
    }

    fn says(&mut self, message: Message) -> Vec<Output> {
        self.tell(Input::Said { peer: peer(), message })
    }

    /// The neighbour asks for a piece, and has it when it is sent.
    fn asks_for(&mut self, sequence: u64, piece: u8) -> Vec<Output> {
        let segment = segment(sequence);
        self.now += Duration::from_millis(100);
        let mut out = self.says(Message::Request { segment, piece, within_ms: 4000 });
        if sent(&out) == 1 {
            out.extend(self.tell(Input::Sent { peer: peer(), segment, piece }));
        }
        out
    }

    fn budget(&mut self, left: u64, lasts: Duration) -> Vec<Output> {
        self.tell(Input::Budget(Some(Allowance { left, until: self.now + lasts })))
    }

    /// Wakes the Node until `until`; what it did.
    fn sleep_until(&mut self, until: Time) -> Vec<Output> {
        let mut all = Vec::new();
        while let Some((at, _)) = self.node.next_wakeup().filter(|(at, _)| *at <= until) {
            self.now = self.now.max(at);
            all.extend(self.tell(Input::Tick));
        }
        self.now = until;
        all
    }
}

fn hash(sequence: u64, piece: u8) -> PieceHash {
    PieceHash([sequence as u8 ^ piece.wrapping_mul(17); 16])
}

fn sent(out: &[Output]) -> usize {
    out.iter().filter(|output| matches!(output, Output::SendPiece { .. })).count()
}

fn refused(out: &[Output]) -> bool {
    out.iter().any(|o| matches!(o, Output::Say { message: Message::Busy { retry_ms: 0, .. }, .. }))
}

/// What our hello says of uploads.
fn hello(out: &[Output]) -> Option<bool> {
    out.iter().find_map(|output| match output {
        Output::Say { message: Message::Hello { uploads, .. }, .. } => Some(*uploads),
        _ => None,
    })
}

fn announced(out: &[Output]) -> bool {
    out.iter().any(|output| match output {
        Output::Say { message: Message::Have { pieces, .. }, .. } => !pieces.is_empty(),
        _ => false,
    })
}

fn told(out: &[Output], message: &Message) -> bool {
    out.iter().any(|output| matches!(output, Output::Say { message: said, .. } if said == message))
}

#[test]
fn what_a_budget_covers_is_sent_and_then_neighbours_hear_that_nothing_is() {
    let mut rig = Rig::seeding();
    rig.budget(2 * PIECE, Duration::from_secs(60));
    assert_eq!(sent(&rig.asks_for(0, 0)), 1);
    assert_eq!(sent(&rig.asks_for(0, 1)), 1);
    assert!(!rig.node.is_spent() && rig.node.policy().upload);
    let out = rig.asks_for(1, 0);
    assert!(refused(&out) && sent(&out) == 0, "{out:?}");
    assert!(out.contains(&Output::Disconnect { peer: peer(), shun: false }), "to be met anew");
    assert!(rig.node.is_spent() && !rig.node.policy().upload);
    assert_eq!(rig.node.handed_out(), 2 * PIECE);
    let out = rig.meet();
    assert_eq!((hello(&out), announced(&out)), (Some(false), false));
    assert!(refused(&rig.asks_for(1, 0)), "whoever asks all the same");
    let out = rig.segment(2);
    assert!(!announced(&out), "what comes later is not told of either");
}

#[test]
fn at_the_end_of_the_period_more_is_asked_for_and_uploads_go_on() {
    let mut rig = Rig::seeding();
    let ends = rig.now + Duration::from_secs(8);
    rig.budget(0, Duration::from_secs(8));
    assert!(rig.node.is_spent());
    rig.meet();
    let out = rig.sleep_until(ends + Duration::from_secs(1));
    assert_eq!(out.iter().filter(|output| **output == Output::Renew).count(), 1);
    assert!(rig.node.is_spent(), "not before the driver has answered");
    let out = rig.budget(PIECE, Duration::from_secs(60));
    assert!(out.contains(&Output::Disconnect { peer: peer(), shun: false }));
    let out = rig.meet();
    assert_eq!((hello(&out), announced(&out)), (Some(true), true));
    assert_eq!(sent(&rig.asks_for(1, 0)), 1);
}

#[test]
fn nothing_but_the_end_of_the_period_wakes_a_node_without_a_stream() {
    let me = PeerId::from_entropy([0; 12]);
    let mut node = Node::new(me, Policy::new(&Options::default(), 64 << 20), 1, 1);
    let mut out = Vec::new();
    let until = Time::from_micros(5);
    node.handle(Time::ZERO, Input::Budget(Some(Allowance { left: 1, until })), &mut out);
    assert_eq!((node.next_wakeup(), out.is_empty()), (Some((until, Wake::Budget)), true));
    node.handle(until, Input::Tick, &mut out);
    assert_eq!((node.next_wakeup(), &out[..]), (None, &[Output::Renew][..]));
    node.handle(until, Input::Budget(None), &mut out);
    assert_eq!(node.next_wakeup(), None);
}

#[test]
fn a_budget_that_does_not_cover_what_is_promised_says_that_it_is_spent() {
    let mut rig = Rig::seeding();
    rig.budget(10 * PIECE, Duration::from_secs(60));
    for piece in 0..3 {
        // Nothing is told to have been sent: the last waits.
        rig.says(Message::Request { segment: segment(0), piece, within_ms: 4000 });
    }
    let left = 1;
    let spent = |out: &[Output]| out.iter().filter(|o| **o == Output::Report(Report::BudgetSpent)).count();
    assert_eq!(spent(&rig.budget(left, Duration::from_secs(60))), 1);
    assert!(rig.node.is_spent());
    assert_eq!(spent(&rig.budget(0, Duration::from_secs(60))), 0, "it is told once");
}

#[test]
fn a_budget_ends_nothing_where_nothing_is_given() {
    let mut rig = Rig::seeding();
    let takes = Options { upload: policy::Upload::Never, ..Options::default() };
    rig.tell(Input::Policy(Policy::new(&takes, 64 << 20)));
    let out = rig.budget(0, Duration::from_secs(60));
    assert!(!out.contains(&Output::Report(Report::BudgetSpent)), "{out:?}");
}

#[test]
fn a_budget_that_is_told_anew_disturbs_nobody() {
    let mut rig = Rig::seeding();
    rig.budget(10 * PIECE, Duration::from_secs(60));
    assert_eq!(rig.budget(9 * PIECE, Duration::from_secs(60)), []);
    assert_eq!(rig.tell(Input::Budget(None)), []);
    assert_eq!(rig.node.neighbours().len(), 1);
}

#[test]
fn a_rendition_that_is_only_taken_says_so_and_gives_nothing() {
    let mut rig = Rig::seeding();
    let slot = rig.node.sessions()[0].slot;
    let takes = Terms { upload: false, ..Terms::default() };
    let out = rig.tell(Input::Terms { swarm: swarm(), terms: takes });
    assert!(told(&out, &Message::Joined { slot, swarm: swarm() }) && told(&out, &Message::Takes { slot }));
    assert_eq!(rig.node.neighbours().len(), 1, "nobody is sent away");
    assert!(refused(&rig.asks_for(0, 0)));
    assert!(!announced(&rig.segment(2)));
    let out = rig.tell(Input::Terms { swarm: swarm(), terms: Terms::default() });
    assert!(told(&out, &Message::Joined { slot, swarm: swarm() }) && !told(&out, &Message::Takes { slot }));
    assert!(announced(&out), "what came in between is told now");
    assert_eq!(sent(&rig.asks_for(2, 0)), 1);
}

#[test]
fn a_neighbour_that_only_takes_a_rendition_is_not_asked_for_it() {
    let mut rig = Rig::seeding();
    assert!(rig.node.neighbours()[0].gives(swarm()));
    rig.says(Message::Takes { slot: Slot(0) });
    assert!(!rig.node.neighbours()[0].gives(swarm()) && rig.node.neighbours()[0].in_swarm(swarm()));
    rig.says(Message::Joined { slot: Slot(0), swarm: swarm() });
    assert!(rig.node.neighbours()[0].gives(swarm()));
}

#[test]
fn a_rendition_without_peers_leaves_its_swarm_and_comes_back() {
    let mut rig = Rig::seeding();
    let slot = rig.node.sessions()[0].slot;
    let alone = Terms { p2p: false, ..Terms::default() };
    let out = rig.tell(Input::Terms { swarm: swarm(), terms: alone });
    let left = |output: &Output| matches!(output, Output::Leave { swarm: of, .. } if *of == swarm());
    assert!(told(&out, &Message::Left { slot }) && out.iter().any(left));
    assert!(out.contains(&Output::Room { connections: 0 }));
    assert!(refused(&rig.asks_for(0, 0)));
    let out = rig.segment(2);
    assert!(!out.iter().any(|output| matches!(output, Output::Say { .. })), "{out:?}");
    let out = rig.tell(Input::Terms { swarm: swarm(), terms: Terms::default() });
    let slot = rig.node.sessions()[0].slot;
    assert!(told(&out, &Message::Joined { slot, swarm: swarm() }) && announced(&out));
    assert!(rig.node.sessions()[0].joined);
}
