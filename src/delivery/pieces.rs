//! What is true of each piece of one segment.
//!
//! A piece is *held* (its bytes are in memory and right), *in flight* (asked from one neighbour, two in the endgame),
//! *fetched* (an origin fetch will bring it) or *missing*. Its hash is known from our own bytes or on the word of a
//! neighbour; a piece whose hash nobody vouched for is never asked from a peer.
//!
//! This file records and answers; it never picks. `choose` and `session` decide what to ask next.

use std::ops::Range;

use super::AskId;
use super::contest::Contest;
use super::fetches::Fetch;
use super::words::Words;
use crate::model::ids::{PeerId, SegmentId};
use crate::model::time::Time;
use crate::model::timeline::{PieceGrid, Segment};
use crate::wire::digest::PieceHash;

/// A piece asked from a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flight {
    /// Which piece.
    pub piece: u8,
    /// From whom.
    pub peer: PeerId,
    /// When.
    pub asked: Time,
}

/// A player's request that is not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Its name.
    pub id: AskId,
    /// The viewer that asks.
    pub viewer: u64,
    /// First byte wanted.
    pub from: u32,
    /// One past the last; `None`: to the segment's end.
    pub to: Option<u32>,
    /// Up to where the player was told it may read.
    pub ready: u32,
    /// Up to where the player's connection took it.
    pub took: u32,
    /// When it came.
    pub asked: Time,
    /// When it last got a byte (or came).
    pub fed: Time,
    /// When the player would run dry without it, where it had anything when it asked.
    pub needed: Option<Time>,
    /// Everything was here when it was asked for.
    pub hit: bool,
}

/// What became of a neighbour's word for a piece's hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Nobody had said or seen anything of this piece.
    New,
    /// It is what we know already.
    Agrees,
    /// It differs from bytes that we took from the origin ourselves.
    Wrong,
    /// It differs from what another neighbour said; the origin has to settle it.
    Disputed,
}

/// What became of a piece that a neighbour sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// Held from now on.
    Accepted,
    /// We had it already: wasted.
    Duplicate,
    /// Its hash is not the one vouched for.
    WrongBytes,
    /// Nobody vouched for it, or the segment is no longer shared.
    Unwanted,
}

/// The hash of a piece, and on whose word.
#[derive(Clone, Copy, Debug)]
struct Vouched {
    hash: PieceHash,
    /// The place of a neighbour among the vouchers, where it is not our own bytes'.
    whose: u8,
    /// Who said the same first after that one; one more than its place among the vouchers, 0 for nobody.
    second: u8,
}

/// One segment that is held, on its way, or wanted; what announcements are compared with stands first.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct Pieces {
    /// Which segment.
    pub segment: Segment,
    held: u64,
    own: u64,
    /// Pieces whose hash is known, and the hashes; our own bytes', or on the word of a neighbour.
    known: u64,
    /// Neighbours contradict each other; being settled.
    pub contest: Option<Box<Contest>>,
    /// What neighbours and we told each other of it.
    pub words: Words,
    /// How it is cut; `None` until its length is known.
    pub grid: Option<PieceGrid>,
    /// False when the origin forbids sharing it, or neighbours contradict each other: then only the origin is asked.
    pub shareable: bool,
    /// The origin's own answers contradict each other, or it can't be settled who is right: only the origin is asked.
    pub disputed: bool,
    /// New pieces that neighbours were not told of yet.
    pub dirty: bool,
    /// Neighbours are loading it, and the others are told so.
    pub heard: bool,
    hashes: Vec<Vouched>,
    /// Asked from neighbours.
    pub flights: Vec<Flight>,
    /// Asked from the origin.
    pub fetches: Vec<Fetch>,
    /// Wanted by players.
    pub asks: Vec<Ask>,
    /// Neighbours whose word was taken; forgotten once the segment is complete.
    vouchers: Vec<PeerId>,
    /// Whether our own manifest has listed it; until then no player gets a byte of it.
    pub listed: bool,
    /// When we first knew of it.
    pub seen: Time,
    /// It is the first copy around here, and offered in parts until then.
    pub seeding_until: Option<Time>,
    /// From when to when neighbours may object to our taking the first copy; they were told.
    pub claimed: Option<(Time, Time)>,
    /// Failed origin fetches since the last one that brought bytes.
    pub failures: u8,
    /// The origin said last that it has no such segment.
    pub missing: bool,
    /// Not before this is the origin asked again.
    pub retry_at: Time,
    /// When a neighbour last delivered a piece of it.
    pub fed_by_peers: Option<Time>,
    pub(super) loose: Vec<Range<u32>>,
}

impl Pieces {
    /// A segment of which nothing is here yet.
    #[must_use]
    pub fn new(segment: Segment, listed: bool, now: Time) -> Self {
        Self {
            segment,
            listed,
            seen: now,
            grid: None,
            shareable: true,
            disputed: false,
            contest: None,
            dirty: false,
            seeding_until: None,
            heard: false,
            claimed: None,
            flights: Vec::new(),
            fetches: Vec::new(),
            asks: Vec::new(),
            failures: 0,
            missing: false,
            retry_at: Time::ZERO,
            fed_by_peers: None,
            words: Words::default(),
            held: 0,
            own: 0,
            known: 0,
            hashes: Vec::new(),
            vouchers: Vec::new(),
            loose: Vec::new(),
        }
    }

    /// The segment's name.
    #[must_use]
    pub fn id(&self) -> SegmentId {
        self.segment.id
    }

    /// A bit for each piece held.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Whether every piece is held.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.grid.is_some_and(|grid| self.held == grid.all())
    }

    /// Bytes of memory it takes, counting what is in flight.
    #[must_use]
    pub fn footprint(&self) -> u64 {
        let fetching: u64 = self.fetches.iter().map(|f| u64::from(f.got - f.from)).sum();
        let loose: u64 = self.loose.iter().map(|l| u64::from(l.end - l.start)).sum();
        let Some(grid) = self.grid else { return fetching + loose };
        let bits = self.flights.iter().fold(self.held, |bits, flight| bits | 1 << flight.piece);
        let pieces: u64 = ones(bits).map(|piece| grid.span(piece).len() as u64).sum();
        (pieces + fetching + loose).min(u64::from(grid.length()))
    }

    /// Nothing is on its way and nobody wants it.
    #[must_use]
    pub fn idle(&self) -> bool {
        self.flights.is_empty() && self.fetches.is_empty() && self.asks.is_empty()
    }

    /// Gives back the room that requests took which are over: most segments that are kept see no more.
    pub fn give_back(&mut self) {
        self.flights.shrink_to_fit();
        self.fetches.shrink_to_fit();
        self.asks.shrink_to_fit();
        self.loose.shrink_to_fit();
    }

    /// Whether the bytes are being brought: by the origin, or by neighbours.
    #[must_use]
    pub fn loading(&self) -> bool {
        !self.flights.is_empty() || !self.fetches.is_empty()
    }

    /// Sets the length, once; false when it contradicts what was known (then neighbours' words are forgotten).
    pub fn set_length(&mut self, grid: PieceGrid, from_origin: bool) -> bool {
        match self.grid {
            Some(known) if known == grid => return true,
            Some(_) if !from_origin => return false,
            Some(_) => {
                self.dispute();
                (self.held, self.own) = (0, 0);
                self.loose.clear();
                self.cut(grid);
                return false;
            }
            None => self.cut(grid),
        }
        true
    }

    /// The origin says another length than neighbours did, and nothing of ours speaks for theirs: everything begins anew.
    /// Whose word was taken.
    pub fn begin_anew(&mut self, grid: PieceGrid) -> Vec<PeerId> {
        let vouchers = std::mem::take(&mut self.vouchers);
        (self.held, self.own, self.contest) = (0, 0, None);
        self.loose.clear();
        self.cut(grid);
        vouchers
    }

    fn cut(&mut self, grid: PieceGrid) {
        self.grid = Some(grid);
        self.known = 0;
        let unknown = Vouched { hash: PieceHash([0; 16]), whose: 0, second: 0 };
        self.hashes = vec![unknown; usize::from(grid.pieces())];
        self.forget_vouchers();
    }

    /// The hash of a piece, where known.
    #[must_use]
    pub fn hash(&self, piece: u8) -> Option<PieceHash> {
        let known = self.known & 1u64.checked_shl(u32::from(piece)).unwrap_or(0) != 0;
        known.then(|| self.hashes[usize::from(piece)].hash)
    }

    /// Whose word the hash of a piece rests on; `None`: our own bytes, or nobody's any more.
    fn voucher(&self, piece: u8) -> Option<PeerId> {
        if self.own & 1 << piece != 0 {
            return None;
        }
        self.vouchers.get(usize::from(self.hashes.get(usize::from(piece))?.whose)).copied()
    }

    /// False when there are more vouchers than can be told apart.
    fn vouch(&mut self, piece: u8, hash: PieceHash, by: PeerId) -> bool {
        let Some(whose) = self.voucher_at(by) else { return false };
        self.hashes[usize::from(piece)] = Vouched { hash, whose, second: 0 };
        self.known |= 1 << piece;
        true
    }

    /// Where a neighbour stands among the vouchers, now if not before; below 255.
    fn voucher_at(&mut self, by: PeerId) -> Option<u8> {
        let at = self.vouchers.iter().position(|v| *v == by).unwrap_or(self.vouchers.len());
        let place = u8::try_from(at).ok().filter(|at| *at < u8::MAX)?;
        if at == self.vouchers.len() {
            self.vouchers.push(by);
        }
        Some(place)
    }

    /// Another neighbour says the same of a piece: its word stands if the first one's does not.
    fn seconds(&mut self, piece: u8, by: PeerId) {
        let has = self.hashes.get(usize::from(piece)).is_some_and(|known| known.second != 0);
        if has || self.voucher(piece).is_none_or(|first| first == by) {
            return;
        }
        if let Some(at) = self.voucher_at(by) {
            self.hashes[usize::from(piece)].second = at + 1;
        }
    }

    fn forget_vouchers(&mut self) {
        self.vouchers = Vec::new();
        self.hashes.iter_mut().for_each(|known| (known.whose, known.second) = (0, 0));
    }

    /// Takes a neighbour's word for a piece. `binding`: whether it counts enough to be gone by when it is the first.
    pub fn claim(&mut self, piece: u8, hash: PieceHash, by: PeerId, binding: bool) -> Claim {
        if usize::from(piece) >= self.hashes.len() {
            return Claim::Disputed;
        }
        match self.hash(piece) {
            None => {
                if binding && !self.vouch(piece, hash, by) {
                    return Claim::Disputed;
                }
                Claim::New
            }
            Some(known) if known == hash => {
                self.seconds(piece, by);
                Claim::Agrees
            }
            Some(_) if self.own & 1 << piece != 0 => Claim::Wrong,
            Some(_) => Claim::Disputed,
        }
    }

    /// Gives up everything that was taken on anybody's word; a bit for each piece that is no longer held.
    pub fn forget_words(&mut self) -> u64 {
        let lost = self.doubtful();
        self.held &= self.own;
        self.known &= self.own;
        lost
    }

    /// Gives up what was taken on this neighbour's word alone; a bit for each piece that is no longer held. What another
    /// said as well rests on that one's.
    pub fn forget_word(&mut self, of: PeerId) -> u64 {
        let mut bits = 0;
        for piece in ones(self.known).filter(|piece| self.voucher(*piece) == Some(of)).collect::<Vec<_>>() {
            let known = &mut self.hashes[usize::from(piece)];
            match std::mem::take(&mut known.second) {
                0 => bits |= 1 << piece,
                second => known.whose = second - 1,
            }
        }
        let lost = self.held & bits;
        self.known &= !bits;
        self.held &= !bits;
        lost
    }

    /// A piece came from the origin and its hash is this; returns the neighbours on whose word another was taken for it.
    pub fn own_piece(&mut self, piece: u8, hash: PieceHash) -> Vec<PeerId> {
        let disproved = self.hash(piece).is_some_and(|before| before != hash);
        let liars = if disproved { self.vouchers_of(piece) } else { Vec::new() };
        let Some(place) = self.hashes.get_mut(usize::from(piece)) else { return liars };
        place.hash = hash;
        self.known |= 1 << piece;
        self.held |= 1 << piece;
        self.own |= 1 << piece;
        self.dirty = true;
        self.settle();
        liars
    }

    /// On whose word the hash of a piece rests, first and second.
    fn vouchers_of(&self, piece: u8) -> Vec<PeerId> {
        let second = self.hashes.get(usize::from(piece)).and_then(|known| known.second.checked_sub(1));
        let second = second.and_then(|at| self.vouchers.get(usize::from(at)).copied());
        self.voucher(piece).into_iter().chain(second).collect()
    }

    /// Whose word it was no longer matters once everything is here and checked.
    fn settle(&mut self) {
        if self.complete() && self.contest.is_none() {
            self.forget_vouchers();
        }
    }

    /// A piece of so many bytes came from a neighbour. The hash says nothing of its length: whoever vouched for it may have vouched
    /// for more than a piece.
    pub fn peer_piece(&mut self, piece: u8, length: u64, hash: PieceHash) -> Came {
        let is_one =
            self.grid.is_some_and(|grid| piece < grid.pieces() && grid.span(piece).len() as u64 == length);
        if self.held & 1u64.checked_shl(u32::from(piece)).unwrap_or(0) != 0 {
            return Came::Duplicate;
        }
        match self.hash(piece) {
            None => Came::Unwanted,
            Some(_) if self.disputed => Came::Unwanted,
            Some(known) if known != hash || !is_one => Came::WrongBytes,
            Some(_) => {
                self.held |= 1 << piece;
                self.dirty = true;
                self.settle();
                Came::Accepted
            }
        }
    }

    /// From now on only the origin is believed. Pieces that came from neighbours are no longer held: see
    /// [`doubtful`](Self::doubtful), to be called before.
    pub fn dispute(&mut self) {
        self.disputed = true;
        self.contest = None;
        self.shareable = false;
        self.held &= self.own;
        self.known &= self.own;
    }

    /// Pieces held on a neighbour's word.
    #[must_use]
    pub fn doubtful(&self) -> u64 {
        self.held & !self.own
    }

    /// Up to where a reader that stands at `from` can read without a gap.
    #[must_use]
    pub fn readable(&self, from: u32) -> u32 {
        let mut at = from;
        loop {
            let before = at;
            if let Some(grid) = self.grid {
                while at < grid.length() && self.held & 1 << grid.piece_at(at) != 0 {
                    at = grid.span(grid.piece_at(at)).end;
                }
            }
            for span in self.fetches.iter().map(|f| f.from..f.got).chain(self.loose.iter().cloned()) {
                if span.start <= at {
                    at = at.max(span.end);
                }
            }
            if at == before {
                return at;
            }
        }
    }

    /// Forgets loose stretches that whole pieces cover. None covers what lies past the end: an origin that tells no
    /// length may send more than a neighbour said there is.
    pub fn tidy(&mut self) {
        let Some(grid) = self.grid else { return };
        let held = self.held;
        self.loose.retain(|span| {
            let mut pieces = grid.piece_at(span.start)..=grid.piece_at(span.end - 1);
            span.end > grid.length() || pieces.any(|p| held & 1 << p == 0)
        });
    }

    /// Pieces that `asks` from peers make sense for: not held, not in flight, not arriving from the origin, and vouched for.
    #[must_use]
    pub fn open(&self) -> u64 {
        let Some(grid) = self.grid.filter(|_| self.contest.is_none()) else { return 0 };
        let mut open = grid.all() & !self.held;
        for flight in &self.flights {
            open &= !(1 << flight.piece);
        }
        open & !self.arriving(grid) & self.known
    }
}

/// The numbers of the set bits, ascending.
pub fn ones(mut bits: u64) -> impl Iterator<Item = u8> + Clone {
    std::iter::from_fn(move || {
        (bits != 0).then(|| {
            let lowest = bits.trailing_zeros();
            bits &= bits - 1;
            lowest as u8
        })
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_lies_past_the_end_is_covered_by_no_piece() {
        let (id, duration) = (SegmentId(7), Duration::from_secs(4));
        let mut pieces = Pieces::new(Segment { id, sequence: 1, duration }, true, Time::ZERO);
        pieces.set_length(PieceGrid::for_length(16_384).unwrap(), false);
        pieces.own_piece(0, PieceHash([0; 16]));
        // The 65th piece, if there were one, and the end of one of the first.
        for span in [0..16_384, 1_048_576..1_048_577, 0..5_000_000] {
            let past = span.end > 16_384;
            pieces.loose = vec![span];
            pieces.tidy();
            assert_eq!(!pieces.loose.is_empty(), past);
        }
    }
}
