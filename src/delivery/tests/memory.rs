//! Content stays within its limit, not only where memory is looked at.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use super::rig::{self, TARGET, segment, swarm};
use crate::delivery::policy::{Options, Policy};
use crate::delivery::*;
use crate::model::ids::{PeerId, SegmentId};
use crate::model::time::Time;
use crate::model::timeline::PieceGrid;
use crate::wire::digest::PieceHash;

/// One player of a recording, whose origin answers.
struct Film {
    node: Node,
    now: Time,
    memory: u64,
    /// Bytes that came and were not dropped.
    held: BTreeMap<SegmentId, u64>,
    /// The most that was held at any moment.
    most: u64,
}

impl Film {
    fn opened(memory: u64, segments: u64) -> Self {
        let node = Node::new(PeerId::from_entropy([0; 12]), Policy::new(&Options::default(), memory), 1, 1);
        let mut film = Self { node, now: Time::ZERO, memory, held: BTreeMap::new(), most: 0 };
        film.tell(Input::Listed { timeline: rig::film(segments), viewer: 1 });
        film
    }

    fn tell(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.node.handle(self.now, input, &mut out);
        for output in &out {
            if let Output::Drop { segment } = output {
                self.held.remove(segment);
            }
        }
        let held = self.held.values().sum();
        self.most = self.most.max(held);
        assert!(held <= self.memory, "{held} bytes of {}", self.memory);
        out
    }

    /// A player takes a segment, which the origin brings in parts of so many bytes, with its length told first or not.
    fn plays(&mut self, sequence: u64, length: u32, part: u32, told: bool) {
        let (ask, segment) = (AskId(sequence), segment(sequence));
        let asked = Input::Asked { ask, viewer: 1, swarm: swarm(), segment, from: 0, to: None };
        let fetch = self.tell(asked).into_iter().find_map(|o| match o {
            Output::Fetch { fetch, .. } => Some(fetch),
            _ => None,
        });
        let fetch = fetch.expect("nobody else has it");
        let grid = PieceGrid::for_length(u64::from(length)).unwrap();
        let hashed = |piece| Input::Hashed { segment, piece, hash: PieceHash([piece; 16]) };
        self.tell(Input::Head { fetch, length: told.then_some(u64::from(length)), shareable: true });
        let (mut came, mut piece) = (0, 0);
        while came < length {
            came = length.min(came + part);
            self.held.insert(segment, u64::from(came));
            self.tell(Input::Arrived { fetch, up_to: came });
            while told && piece < grid.pieces() && grid.span(piece).end <= came {
                self.tell(hashed(piece));
                piece += 1;
            }
        }
        self.tell(Input::Fetched { fetch });
        (piece..grid.pieces()).for_each(|piece| drop(self.tell(hashed(piece))));
        self.tell(Input::Took { ask, up_to: length });
        self.tell(Input::Done { ask });
        self.now += TARGET;
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 40,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/seeds/memory.proptest"))),
        ..ProptestConfig::default()
    })]

    /// Whatever the segments' lengths, in whatever parts they come: the limit is never passed, not by a byte, and what is
    /// left free for that is not much.
    #[test]
    fn content_stays_within_its_limit_to_the_byte(
        memory in 3u64 << 20..20 << 20,
        lengths in proptest::collection::vec((1u32..700_000, 1u32..300_000, any::<bool>()), 100),
    ) {
        let mut film = Film::opened(memory, lengths.len() as u64);
        let mut all = 0;
        for (sequence, (length, part, told)) in lengths.into_iter().enumerate() {
            film.plays(sequence as u64, length, part, told);
            all += u64::from(length);
        }
        let full = all.min(memory / 4 * 3);
        prop_assert!(film.most >= full, "{} bytes of {memory} at most", film.most);
    }
}
