//! What drives one Node by hand; its neighbours are only messages.

use std::time::Duration;

use crate::delivery::policy::{Options, Policy};
use crate::delivery::*;
use crate::model::ids::{Group, PeerId, SegmentId, SwarmId};
use crate::model::time::Time;
use crate::model::timeline::{Choice, Kind, PieceGrid, Segment, Timeline};
use crate::wire::digest::PieceHash;
use crate::wire::message::{Message, Slot};

pub const LENGTH: u32 = 40_000;
pub const TARGET: Duration = Duration::from_secs(4);

pub struct Rig {
    pub node: Node,
    pub now: Time,
    pub asks: u64,
}

pub fn swarm() -> SwarmId {
    SwarmId::of("cdn.example/live/720p.m3u8")
}

pub fn segment(sequence: u64) -> SegmentId {
    SegmentId::of(swarm(), sequence, &format!("seg{sequence}.ts"))
}

/// A recording of so many segments, as its manifest lists it.
pub fn film(segments: u64) -> Timeline {
    let segments = (0..segments).map(|s| Segment { id: segment(s), sequence: s, duration: TARGET }).collect();
    Timeline { swarm: swarm(), kind: Kind::Vod, target: TARGET, choice: Choice::default(), segments }
}

/// What there is to choose, if anything is.
pub fn choice(any: bool) -> Choice {
    Choice { group: any.then_some(Group(1)), adaptive: any }
}

pub fn peer(n: u8) -> PeerId {
    PeerId::from_entropy([n; 12])
}

pub fn hash(sequence: u64, piece: u8) -> PieceHash {
    PieceHash([sequence as u8 ^ piece.wrapping_mul(17); 16])
}

pub fn grid() -> PieceGrid {
    PieceGrid::for_length(u64::from(LENGTH)).unwrap()
}

impl Rig {
    pub fn new() -> Self {
        Self::with(Options::default())
    }

    pub fn with(options: Options) -> Self {
        Self { node: Node::new(peer(0), Policy::new(&options, 64 << 20), 1, 1), now: Time::ZERO, asks: 0 }
    }

    pub fn tell(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.node.handle(self.now, input, &mut out);
        out
    }

    pub fn list(&mut self, sequences: std::ops::Range<u64>) -> Vec<Output> {
        let segments = sequences.map(|s| Segment { id: segment(s), sequence: s, duration: TARGET }).collect();
        let timeline = Timeline {
            swarm: swarm(),
            kind: Kind::Live,
            target: TARGET,
            choice: Choice::default(),
            segments,
        };
        self.tell(Input::Listed { timeline, viewer: 1 })
    }

    pub fn ask(&mut self, viewer: u64, sequence: u64) -> (AskId, Vec<Output>) {
        let ask = AskId(self.asks);
        self.asks += 1;
        let segment = segment(sequence);
        (ask, self.tell(Input::Asked { ask, viewer, swarm: swarm(), segment, from: 0, to: None }))
    }

    /// The origin answers a fetch of the whole segment in no time, and the player takes it all.
    pub fn origin_brings(&mut self, fetch: FetchId, sequence: u64) -> Vec<Output> {
        let mut out = self.tell(Input::Head { fetch, length: Some(u64::from(LENGTH)), shareable: true });
        out.extend(self.tell(Input::Arrived { fetch, up_to: LENGTH }));
        for piece in 0..grid().pieces() {
            let hash = hash(sequence, piece);
            out.extend(self.tell(Input::Hashed { segment: segment(sequence), piece, hash }));
        }
        out.extend(self.tell(Input::Fetched { fetch }));
        out
    }

    /// A player takes a segment, from the origin if that is asked.
    pub fn plays(&mut self, sequence: u64) {
        let (ask, out) = self.ask(1, sequence);
        if let Some((fetch, ..)) = fetch_in(&out) {
            self.origin_brings(fetch, sequence);
        }
        self.tell(Input::Took { ask, up_to: LENGTH });
        self.tell(Input::Done { ask });
    }

    /// Plays segments 0 and 1 from the origin, so that the player has 8 s buffered.
    pub fn playing() -> Self {
        let mut rig = Self::new();
        rig.list(0..3);
        for sequence in 0..2 {
            let (ask, out) = rig.ask(1, sequence);
            rig.origin_brings(fetch_in(&out).expect("start-up is served by the origin").0, sequence);
            rig.tell(Input::Took { ask, up_to: LENGTH });
            rig.tell(Input::Done { ask });
        }
        rig
    }

    /// A neighbour that watches the same, uploads, and has said enough to be believed.
    pub fn befriend(&mut self, n: u8) {
        self.tell(Input::Joined { peer: peer(n) });
        self.say(n, Message::Hello { version: 1, features: 0, uploads: true });
        self.say(n, Message::Joined { slot: Slot(0), swarm: swarm() });
        self.say(n, Message::Window { slot: Slot(0), first: 0, last: u64::MAX });
        self.have(n, 1, 0..grid().pieces());
    }

    pub fn say(&mut self, n: u8, message: Message) -> Vec<Output> {
        self.tell(Input::Said { peer: peer(n), message })
    }

    pub fn have(&mut self, n: u8, sequence: u64, pieces: std::ops::Range<u8>) -> Vec<Output> {
        let pieces = pieces.map(|piece| (piece, hash(sequence, piece))).collect();
        let segment = segment(sequence);
        self.say(n, Message::Have { slot: Slot(0), segment, sequence, length: LENGTH, loading: true, pieces })
    }

    /// Wakes the Node whenever it wants, until `until`.
    pub fn sleep_until(&mut self, until: Time) -> Vec<Output> {
        let mut out = Vec::new();
        while let Some((at, _)) = self.node.next_wakeup().filter(|(at, _)| *at <= until) {
            assert!(at >= self.now || self.tell(Input::Tick).is_empty(), "a wake-up in the past");
            self.now = self.now.max(at);
            out.extend(self.tell(Input::Tick));
            assert!(
                self.node.next_wakeup() != Some((at, Wake::Slack)),
                "a wake-up that was served came again"
            );
        }
        self.now = until;
        out
    }
}

pub fn fetch_in(out: &[Output]) -> Option<(FetchId, u32, Option<u32>)> {
    out.iter().find_map(|output| match output {
        Output::Fetch { fetch, from, to, .. } => Some((*fetch, *from, *to)),
        _ => None,
    })
}

pub fn requests(out: &[Output]) -> Vec<(PeerId, u8)> {
    let request = |output: &Output| match output {
        Output::Say { peer, message: Message::Request { piece, .. } } => Some((*peer, *piece)),
        _ => None,
    };
    out.iter().filter_map(request).collect()
}

pub fn ready(out: &[Output], of: AskId) -> Option<u32> {
    let ready = |output: &Output| match output {
        Output::Ready { ask, up_to, .. } if *ask == of => Some(*up_to),
        _ => None,
    };
    out.iter().filter_map(ready).max()
}
