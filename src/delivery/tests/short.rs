//! Where memory is short for what a player is to have next, it is filled no further than what is played is kept.

use super::rig::{self, TARGET, hash, peer, segment, swarm};
use crate::delivery::policy::{Options, Policy};
use crate::delivery::*;
use crate::model::time::Time;
use crate::model::timeline::PieceGrid;
use crate::wire::message::{Message, Slot};

const LENGTH: u32 = 2_000_000;
const MEMORY: u64 = 8 << 20;

fn grid() -> PieceGrid {
    PieceGrid::for_length(u64::from(LENGTH)).unwrap()
}

/// One player of a film, and a neighbour that has all of it and says so to whoever declares a window, each segment once
/// until it is told that it is lost.
struct Film {
    node: Node,
    now: Time,
    front: u64,
    told: Vec<bool>,
    /// Segments that the origin was asked for.
    fetched: Vec<FetchId>,
    asked: AskId,
    ready: u32,
}

impl Film {
    fn opened(segments: u64) -> Self {
        let node = Node::new(peer(0), Policy::new(&Options::default(), MEMORY), 1, 1);
        let told = vec![false; segments as usize];
        let (now, fetched) = (Time::ZERO, Vec::new());
        let mut film = Self { node, now, front: 0, told, fetched, asked: AskId(0), ready: 0 };
        film.tell(Input::Listed { timeline: rig::film(segments), viewer: 1 });
        film.tell(Input::Joined { peer: peer(1) });
        film.says(Message::Hello { version: 1, features: 0, uploads: true });
        film.says(Message::Joined { slot: Slot(0), swarm: swarm() });
        film.says(Message::Window { slot: Slot(0), first: 0, last: u64::MAX });
        film
    }

    fn says(&mut self, message: Message) {
        self.tell(Input::Said { peer: peer(1), message });
    }

    /// Everything the neighbour is asked for comes at once.
    fn tell(&mut self, input: Input) {
        let mut out = Vec::new();
        self.node.handle(self.now, input, &mut out);
        for output in out {
            match output {
                Output::Drop { segment: gone } => {
                    let near = (self.front..self.front + 2).find(|&sequence| segment(sequence) == gone);
                    assert_eq!(near, None, "given up with the player at {}", self.front);
                }
                Output::Say { message: Message::Window { first, last, .. }, .. } => self.tells(first, last),
                Output::Say { message: Message::Lost { segment: gone }, .. } => {
                    let lost = (0..self.told.len()).filter(|&s| segment(s as u64) == gone);
                    lost.collect::<Vec<_>>().into_iter().for_each(|sequence| self.told[sequence] = false);
                }
                Output::Say { message: Message::Request { segment: of, piece, .. }, .. } => {
                    let sequence = (0..self.told.len() as u64).find(|&s| segment(s) == of).unwrap();
                    let (length, hash) = (grid().span(piece).len() as u32, hash(sequence, piece));
                    self.tell(Input::Piece { peer: peer(1), segment: of, piece, length, hash });
                }
                Output::Fetch { fetch, .. } => self.fetched.push(fetch),
                Output::Ready { ask, up_to, .. } if ask == self.asked => self.ready = up_to,
                _ => {}
            }
        }
    }

    fn tells(&mut self, first: u64, last: u64) {
        for sequence in first..=last.min(self.told.len() as u64 - 1) {
            if !std::mem::replace(&mut self.told[sequence as usize], true) {
                let pieces = (0..grid().pieces()).map(|piece| (piece, hash(sequence, piece))).collect();
                let (slot, segment) = (Slot(0), segment(sequence));
                self.says(Message::Have { slot, segment, sequence, length: LENGTH, loading: false, pieces });
            }
        }
    }

    /// The player takes a segment, which is there or comes in no time.
    fn plays(&mut self, sequence: u64) {
        (self.front, self.asked, self.ready) = (sequence, AskId(sequence), 0);
        let (ask, segment) = (self.asked, segment(sequence));
        self.tell(Input::Asked { ask, viewer: 1, swarm: swarm(), segment, from: 0, to: None });
        if let Some(fetch) = self.fetched.last().copied().filter(|_| self.ready == 0) {
            self.tell(Input::Head { fetch, length: Some(u64::from(LENGTH)), shareable: true });
            self.tell(Input::Arrived { fetch, up_to: LENGTH });
            for piece in 0..grid().pieces() {
                self.tell(Input::Hashed { segment, piece, hash: hash(sequence, piece) });
            }
            self.tell(Input::Fetched { fetch });
        }
        assert_eq!(self.ready, LENGTH, "segment {sequence}");
        self.tell(Input::Took { ask, up_to: LENGTH });
        self.tell(Input::Done { ask });
        self.now += TARGET;
        self.tell(Input::Tick);
    }
}

#[test]
fn what_is_taken_ahead_does_not_push_out_what_is_played_before_it() {
    let mut film = Film::opened(40);
    (0..40).for_each(|sequence| film.plays(sequence));
    assert!(film.fetched.len() <= 3, "{} segments from the origin", film.fetched.len());
    let totals = film.node.totals();
    let all = 40 * u64::from(LENGTH);
    assert!(
        totals.p2p + totals.http <= all,
        "{} bytes more than were played",
        totals.p2p + totals.http - all
    );
    assert_eq!(totals.wasted, 0);
}
