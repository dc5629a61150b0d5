//! How much memory a Node takes: several hundred thousand of them live in one simulation, and many a box has little.

// The allocator that counts is handed what the system's is handed, and hands it on.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use paceline::delivery::policy::{Options, Policy};
use paceline::delivery::{AskId, Input, Node, Output};
use paceline::model::ids::{PeerId, SegmentId, SwarmId};
use paceline::model::time::Time;
use paceline::model::timeline::{Choice, Kind, PieceGrid, Segment, Timeline};
use paceline::wire::digest::PieceHash;
use paceline::wire::message::{Message, Slot};

/// Counts the bytes that are in use.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system allocator does the work, with the very arguments that came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as of the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as of the caller.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        IN_USE.fetch_add(size, Ordering::Relaxed);
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as of the caller.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A segment of 4 s at 1 Mbit/s: 31 pieces.
const LENGTH: u32 = 500_000;
const TARGET: Duration = Duration::from_secs(4);
/// What a Node may take that watches nothing.
const IDLE: usize = 2 * 1024;
/// What it may take in the middle of a live stream, with a full house of neighbours: what it takes today and little more, so
/// that it only goes down.
const WATCHING: usize = 38 * 1024;

fn swarm() -> SwarmId {
    SwarmId::of("cdn.example/live/720p.m3u8")
}

fn segment(sequence: u64) -> SegmentId {
    SegmentId::of(swarm(), sequence, "segment")
}

fn hash(segment: SegmentId, piece: u8) -> PieceHash {
    PieceHash([segment.0 as u8 ^ piece.wrapping_mul(17); 16])
}

fn grid() -> PieceGrid {
    PieceGrid::for_length(u64::from(LENGTH)).unwrap()
}

struct Rig {
    node: Node,
    now: Time,
    out: Vec<Output>,
}

impl Rig {
    fn new() -> Self {
        let policy = Policy::new(&Options::default(), 64 << 20);
        let node = Node::new(PeerId::from_entropy([99; 12]), policy, 1, 1);
        Self { node, now: Time::ZERO, out: Vec::with_capacity(4096) }
    }

    /// Tells the Node; the origin brings at once whatever it is asked for.
    fn tell(&mut self, input: Input) {
        let mut out = std::mem::take(&mut self.out);
        self.node.handle(self.now, input, &mut out);
        let fetches: Vec<_> = out
            .drain(..)
            .filter_map(|output| match output {
                Output::Fetch { fetch, segment, from, to, .. } => {
                    Some((fetch, segment, from, to.unwrap_or(LENGTH)))
                }
                _ => None,
            })
            .collect();
        self.out = out;
        for (fetch, segment, from, to) in fetches {
            self.tell(Input::Head { fetch, length: Some(u64::from(LENGTH)), shareable: true });
            self.tell(Input::Arrived { fetch, up_to: to });
            let inside = |piece: &u8| grid().span(*piece).start >= from && grid().span(*piece).end <= to;
            for piece in (0..grid().pieces()).filter(inside) {
                self.tell(Input::Hashed { segment, piece, hash: hash(segment, piece) });
            }
            self.tell(Input::Fetched { fetch });
        }
    }

    fn list(&mut self, first: u64) {
        let segments = (first..first + 7).map(|s| Segment { id: segment(s), sequence: s, duration: TARGET });
        let (kind, segments) = (Kind::Live, segments.collect());
        let timeline = Timeline { swarm: swarm(), kind, target: TARGET, choice: Choice::default(), segments };
        self.tell(Input::Listed { timeline, viewer: 1 });
    }

    fn befriend(&mut self, n: u8) {
        let peer = PeerId::from_entropy([n; 12]);
        self.tell(Input::Joined { peer });
        for message in [
            Message::Hello { version: 1, features: 0, uploads: true },
            Message::Joined { slot: Slot(0), swarm: swarm() },
            Message::Window { slot: Slot(0), first: 0, last: u64::MAX },
        ] {
            self.tell(Input::Said { peer, message });
        }
    }

    /// The player asks for it, the origin brings it, and all neighbours have it too.
    fn plays(&mut self, sequence: u64, neighbours: u8) {
        let (ask, id) = (AskId(sequence), segment(sequence));
        self.tell(Input::Asked { ask, viewer: 1, swarm: swarm(), segment: id, from: 0, to: None });
        self.now += Duration::from_secs(1);
        self.tell(Input::Tick);
        self.tell(Input::Took { ask, up_to: LENGTH });
        self.tell(Input::Done { ask });
        for n in 0..neighbours {
            let (peer, slot, loading) = (PeerId::from_entropy([n; 12]), Slot(0), false);
            let pieces = (0..grid().pieces()).map(|piece| (piece, hash(id, piece))).collect();
            let message = Message::Have { slot, segment: id, sequence, length: LENGTH, loading, pieces };
            self.tell(Input::Said { peer, message });
        }
        assert!(self.node.complete(id), "segment {sequence} is here");
    }
}

/// All that is counted is one Node's: the only test of this file.
#[test]
fn a_node_takes_a_few_kilobytes() {
    let rig = Rig::new();
    let copy = |node: &Node| {
        let before = IN_USE.load(Ordering::SeqCst);
        let copy = Box::new(node.clone());
        let bytes = IN_USE.load(Ordering::SeqCst) - before;
        drop(copy);
        bytes
    };
    let idle = copy(&rig.node);
    println!("{idle} bytes idle");
    assert!(idle <= IDLE, "{idle} bytes for a Node that watches nothing");
    let mut rig = rig;
    rig.list(0);
    for n in 0..15 {
        rig.befriend(n);
    }
    for sequence in 0..30 {
        rig.list(sequence);
        rig.plays(sequence, 15);
        rig.now += Duration::from_secs(3);
        rig.tell(Input::Tick);
    }
    assert_eq!(rig.node.neighbours().len(), 15);
    let before = IN_USE.load(Ordering::SeqCst);
    let (watching, copied) = (size_of::<Node>(), copy(&rig.node));
    // What is really allocated, spare room included: dropped, and seen to be gone.
    drop(rig.node);
    let watching = watching + before - IN_USE.load(Ordering::SeqCst);
    println!("{watching} bytes watching, {copied} of them in use");
    assert!(watching <= WATCHING, "{watching} bytes in the middle of a live stream");
}
