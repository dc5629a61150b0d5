//! The segments of one rendition, by sequence number; and which of them anything is going on with.
//!
//! A film's viewer keeps five hundred segments, of which half a dozen are being fetched, asked for or told of: those are
//! *awake*. Whoever gets hold of one to change it wakes it; it falls asleep when it is complete and idle.

use std::ops::{Index, IndexMut};

use super::pieces::Pieces;
use crate::model::ids::SegmentId;
use crate::model::timeline::Segment;

/// Segments, sequence numbers ascending.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    /// Names apart from the rest: looked through far more often than anything else.
    ids: Vec<SegmentId>,
    awake: Vec<bool>,
    // Boxed, so that putting one in its place moves pointers and not everything there is to know of five hundred.
    #[allow(clippy::vec_box)]
    pieces: Vec<Box<Pieces>>,
}

impl Shelf {
    /// Where a segment stands; the newest are looked at first.
    #[must_use]
    pub fn position(&self, segment: SegmentId) -> Option<usize> {
        self.ids.iter().rposition(|&id| id == segment)
    }

    /// A segment, to look at.
    #[must_use]
    pub fn get(&self, segment: SegmentId) -> Option<&Pieces> {
        self.position(segment).map(|at| &*self.pieces[at])
    }

    /// A segment, to change; it is awake from now on.
    pub fn get_mut(&mut self, segment: SegmentId) -> Option<&mut Pieces> {
        self.position(segment).map(|at| &mut self[at])
    }

    /// A segment, to note what was said of it; wakes nothing.
    pub fn noted_mut(&mut self, segment: SegmentId) -> Option<&mut Pieces> {
        self.position(segment).map(|at| &mut *self.pieces[at])
    }

    /// Puts a segment in its place, awake, and says where that is.
    pub fn insert(&mut self, pieces: Pieces) -> usize {
        let at = self.pieces.partition_point(|p| p.segment.sequence < pieces.segment.sequence);
        self.ids.insert(at, pieces.id());
        self.awake.insert(at, true);
        self.pieces.insert(at, Box::new(pieces));
        at
    }

    /// A segment that was known by a neighbour's word is listed as this: its number and duration are the manifest's from now on.
    /// Where it stands by then.
    pub fn becomes(&mut self, listed: Segment) -> Option<usize> {
        let at = self.position(listed.id)?;
        let (awake, moves) = (self.awake[at], self.pieces[at].segment.sequence != listed.sequence);
        (self.pieces[at].segment, self.pieces[at].listed) = (listed, true);
        if !moves {
            return Some(at);
        }
        let pieces = *self.remove(listed.id)?;
        let at = self.insert(pieces);
        self.awake[at] = awake;
        Some(at)
    }

    /// Takes a segment out.
    pub fn remove(&mut self, segment: SegmentId) -> Option<Box<Pieces>> {
        let at = self.position(segment)?;
        self.ids.remove(at);
        self.awake.remove(at);
        Some(self.pieces.remove(at))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Pieces> {
        self.pieces.iter().map(|p| &**p)
    }

    /// Those past this sequence number.
    pub fn after(&self, sequence: u64) -> impl Iterator<Item = &Pieces> {
        let first = self.pieces.partition_point(|p| p.segment.sequence <= sequence);
        self.pieces[first..].iter().map(|p| &**p)
    }

    /// All of them, to change; wakes none.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Pieces> {
        self.pieces.iter_mut().map(|p| &mut **p)
    }

    /// Places of those that are awake, from `from` on.
    #[must_use]
    pub fn next_awake(&self, from: usize) -> Option<usize> {
        self.awake.get(from..)?.iter().position(|&awake| awake).map(|at| from + at)
    }

    /// Those that are awake, with their places.
    pub fn awake(&self) -> impl Iterator<Item = (usize, &Pieces)> {
        let pairs = self.awake.iter().zip(&self.pieces).enumerate();
        pairs.filter(|(_, (awake, _))| **awake).map(|(at, (_, pieces))| (at, &**pieces))
    }

    /// Those that are awake, to change.
    pub fn awake_mut(&mut self) -> impl Iterator<Item = &mut Pieces> {
        self.awake.iter().zip(&mut self.pieces).filter(|(awake, _)| **awake).map(|(_, pieces)| &mut **pieces)
    }

    /// Lets a segment fall asleep if nothing is going on with it.
    pub fn settle(&mut self, at: usize) {
        let pieces = &mut self.pieces[at];
        let over = pieces.complete() && pieces.idle() && !pieces.dirty && pieces.contest.is_none();
        self.awake[at] = !over;
        if over {
            pieces.give_back();
        }
    }
}

impl Index<usize> for Shelf {
    type Output = Pieces;

    fn index(&self, at: usize) -> &Pieces {
        &self.pieces[at]
    }
}

impl IndexMut<usize> for Shelf {
    fn index_mut(&mut self, at: usize) -> &mut Pieces {
        self.awake[at] = true;
        &mut self.pieces[at]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::time::Time;
    use crate::model::timeline::PieceGrid;

    fn pieces(sequence: u64) -> Pieces {
        let segment = Segment { id: SegmentId(sequence * 7), sequence, duration: Duration::from_secs(4) };
        Pieces::new(segment, true, Time::ZERO)
    }

    #[test]
    fn in_order_however_they_come_and_asleep_when_nothing_goes_on() {
        let mut shelf = Shelf::default();
        for sequence in [5, 1, 3, 9] {
            shelf.insert(pieces(sequence));
        }
        shelf.remove(SegmentId(21));
        let order = |shelf: &Shelf| shelf.iter().map(|p| p.segment.sequence).collect::<Vec<_>>();
        assert_eq!(order(&shelf), [1, 5, 9]);
        assert_eq!(shelf.position(SegmentId(35)), Some(1));
        shelf.settle(1);
        assert_eq!(shelf.awake().count(), 3, "what is not complete stays awake");
        let five = shelf.get_mut(SegmentId(35)).unwrap();
        five.set_length(PieceGrid::for_length(100).unwrap(), true);
        five.own_piece(0, crate::wire::digest::PieceHash([0; 16]));
        shelf.settle(1);
        assert_eq!(shelf.awake().count(), 3, "so does what has news to be told");
        shelf.get_mut(SegmentId(35)).unwrap().dirty = false;
        shelf.settle(1);
        assert_eq!(shelf.awake().map(|(at, _)| at).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(shelf.next_awake(1), Some(2));
        assert_eq!(shelf.get_mut(SegmentId(35)).map(|p| p.segment.sequence), Some(5));
        assert_eq!(shelf.next_awake(1), Some(1), "whoever may change it wakes it");
    }
}
