//! Pieces in, ranges out.
//!
//! A [`Buffer`] holds the bytes of one segment as the chunks they came in; a chunk is never copied and never split on
//! the way to a player or a peer. A piece that is here and comes again from the origin waits beside it until it is whole:
//! then it takes its place and its hash is told, because only the origin's word settles what a peer sent. When the origin
//! says that the segment is another, all begins anew, and who is still bringing the old one is told so.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::iter_over_hash_type)]

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes};

use crate::model::timeline::PieceGrid;
use crate::wire::digest::PieceHash;

/// The bytes of one segment that are here. Shared by the fetches that fill it and the answers that read it.
#[derive(Debug, Default)]
pub struct Buffer {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    version: Version,
    grid: Option<PieceGrid>,
    chunks: Chunks,
    /// Pieces that are whole and whose hash was given out or checked.
    whole: u64,
    /// Of those, the ones that the origin brought.
    own: u64,
    /// What the origin sends of pieces that are whole already.
    again: Chunks,
}

/// Bytes by their offset; they never overlap.
#[derive(Debug, Default)]
struct Chunks(BTreeMap<u32, Bytes>);

/// Which of the segments that were under one name one after the other: bytes of an older one are not taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version(u64);

/// A piece that became whole with bytes from the origin, and its hash.
pub type Hashed = (u8, PieceHash);

impl Buffer {
    /// A fetch begins to bring the segment. With its length, where that is known already, whole pieces can be told from here
    /// on; with another than before, nothing of before is left.
    pub fn begin(&self, grid: Option<PieceGrid>) -> (Version, Vec<Hashed>) {
        let mut inner = self.lock();
        let Some(grid) = grid else { return (inner.version, Vec::new()) };
        if inner.grid.is_some_and(|known| known != grid) {
            *inner = Inner { version: Version(inner.version.0 + 1), ..Inner::default() };
        }
        inner.grid = Some(grid);
        (inner.version, inner.newly_whole(0..grid.length()))
    }

    /// Puts in bytes from the origin that begin at `offset`; answers which pieces they completed. `None`: the segment is
    /// another by now than when their fetch began.
    pub fn write(&self, of: Version, offset: u32, bytes: Bytes) -> Option<Vec<Hashed>> {
        let mut inner = self.lock();
        let end = offset.saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        (inner.version == of).then(|| {
            inner.insert(offset, bytes);
            inner.newly_whole(offset..end)
        })
    }

    /// A fetch has brought all there is, and the length was not told before. One that was told by others stands.
    pub fn end(&self, of: Version, grid: PieceGrid) -> Vec<Hashed> {
        let mut inner = self.lock();
        if inner.version != of || *inner.grid.get_or_insert(grid) != grid {
            return Vec::new();
        }
        inner.newly_whole(0..grid.length())
    }

    /// Puts in a piece from a peer, whose hash was checked, of a segment that is cut like this. Where a fetch has learnt
    /// since that it is cut otherwise, or a piece isn't as long as its place, it is of no use.
    pub fn keep(&self, grid: PieceGrid, piece: u8, bytes: Bytes) {
        let mut inner = self.lock();
        let span = grid.span(piece);
        if *inner.grid.get_or_insert(grid) != grid || bytes.len() != span.len() {
            return;
        }
        if inner.whole & 1 << piece == 0 {
            // The origin's part of it waits for its other part.
            for (offset, part) in inner.chunks.take(span.clone()) {
                inner.again.insert(offset, part);
            }
        }
        inner.chunks.insert(span.start, bytes);
        inner.whole |= 1 << piece;
    }

    /// The bytes from `from` on, as far as one chunk goes and not past `to`; empty when the byte is not here.
    #[must_use]
    pub fn read(&self, from: u32, to: u32) -> Bytes {
        let inner = self.lock();
        let Some((&start, chunk)) = inner.chunks.0.range(..=from).next_back() else { return Bytes::new() };
        let skip = (from - start) as usize;
        if skip >= chunk.len() || to <= from {
            return Bytes::new();
        }
        chunk.slice(skip..chunk.len().min(skip + (to - from) as usize))
    }

    /// All bytes of a piece, in order; `None` when some are missing.
    #[must_use]
    pub fn piece(&self, piece: u8) -> Option<Vec<Bytes>> {
        let inner = self.lock();
        inner.chunks.collect(inner.grid?.span(piece))
    }

    /// Takes pieces out again that peers sent. Who says so may not have heard yet that the origin has brought one of them:
    /// that stays, and what it has brought of the others takes their place.
    pub fn discard(&self, pieces: u64) {
        let mut inner = self.lock();
        let Some(grid) = inner.grid else { return };
        let doubtful = pieces & !inner.own;
        for piece in (0..grid.pieces()).filter(|piece| doubtful & 1 << piece != 0) {
            inner.whole &= !(1 << piece);
            inner.chunks.take(grid.span(piece));
            for (offset, part) in inner.again.take(grid.span(piece)) {
                inner.chunks.insert(offset, part);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A thread that panicked while it held the lock left a map of whole chunks behind: still right.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Puts bytes from the origin where they belong: beside those of pieces that are whole, else among what is here.
    fn insert(&mut self, mut offset: u32, mut bytes: Bytes) {
        let Some(grid) = self.grid.filter(|_| self.whole != 0) else {
            return self.chunks.insert(offset, bytes);
        };
        while !bytes.is_empty() && offset < grid.length() {
            let piece = grid.piece_at(offset);
            let here = bytes.split_to(bytes.len().min((grid.span(piece).end - offset) as usize));
            let length = here.len() as u32;
            let chunks = if self.whole & 1 << piece == 0 { &mut self.chunks } else { &mut self.again };
            chunks.insert(offset, here);
            offset += length;
        }
    }

    fn newly_whole(&mut self, span: Range<u32>) -> Vec<Hashed> {
        let Some(grid) = self.grid else { return Vec::new() };
        let span = span.start..span.end.min(grid.length());
        if span.is_empty() {
            return Vec::new();
        }
        let mut hashed = Vec::new();
        for piece in grid.piece_at(span.start)..=grid.piece_at(span.end - 1) {
            let again = self.whole & 1 << piece != 0;
            let source = if again { &self.again } else { &self.chunks };
            let Some(parts) = source.collect(grid.span(piece)) else { continue };
            self.whole |= 1 << piece;
            self.own |= 1 << piece;
            hashed.push((piece, PieceHash::of(&parts)));
            if again {
                self.chunks.take(grid.span(piece));
                for (offset, part) in self.again.take(grid.span(piece)) {
                    self.chunks.insert(offset, part);
                }
            }
        }
        hashed
    }
}

impl Chunks {
    /// Inserts what of `bytes` is not here yet.
    fn insert(&mut self, mut offset: u32, mut bytes: Bytes) {
        while !bytes.is_empty() {
            if let Some((&start, chunk)) = self.0.range(..=offset).next_back() {
                let end = start + chunk.len() as u32;
                if end > offset {
                    let skip = ((end - offset) as usize).min(bytes.len());
                    bytes.advance(skip);
                    offset += skip as u32;
                    continue;
                }
            }
            let free = match self.0.range(offset..).next() {
                Some((&next, _)) => bytes.len().min((next - offset) as usize),
                None => bytes.len(),
            };
            self.0.insert(offset, bytes.split_to(free));
            offset += free as u32;
        }
    }

    /// Takes out what is here of a span.
    fn take(&mut self, span: Range<u32>) -> Vec<(u32, Bytes)> {
        let touching: Vec<u32> = self
            .0
            .range(..span.end)
            .rev()
            .take_while(|(start, chunk)| **start + chunk.len() as u32 > span.start)
            .map(|(start, _)| *start)
            .collect();
        let mut taken = Vec::with_capacity(touching.len());
        for start in touching {
            let Some(chunk) = self.0.remove(&start) else { continue };
            let end = start + chunk.len() as u32;
            if start < span.start {
                self.0.insert(start, chunk.slice(..(span.start - start) as usize));
            }
            if end > span.end {
                self.0.insert(span.end, chunk.slice((span.end - start) as usize..));
            }
            let (from, to) = (start.max(span.start), end.min(span.end));
            taken.push((from, chunk.slice((from - start) as usize..(to - start) as usize)));
        }
        taken
    }

    fn collect(&self, span: Range<u32>) -> Option<Vec<Bytes>> {
        let mut parts = Vec::new();
        let mut at = span.start;
        while at < span.end {
            let (&start, chunk) = self.0.range(..=at).next_back()?;
            let skip = (at - start) as usize;
            if skip >= chunk.len() {
                return None;
            }
            let part = chunk.slice(skip..chunk.len().min(skip + (span.end - at) as usize));
            at += part.len() as u32;
            parts.push(part);
        }
        Some(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn content(length: usize) -> Bytes {
        (0..length).map(|i| (i * 7 + i / 251) as u8).collect::<Vec<_>>().into()
    }

    /// What a fetch has begun to bring.
    struct Fetch<'b>(&'b Buffer, Version);

    impl Fetch<'_> {
        fn begin(buffer: &Buffer, grid: PieceGrid) -> Fetch<'_> {
            Fetch(buffer, buffer.begin(Some(grid)).0)
        }

        fn write(&self, offset: u32, bytes: Bytes) -> Vec<Hashed> {
            self.0.write(self.1, offset, bytes).unwrap()
        }
    }

    #[test]
    fn whole_pieces_are_hashed_when_they_come() {
        let all = content(40_000);
        let buffer = Buffer::default();
        let grid = PieceGrid::for_length(40_000).unwrap();
        let (version, _) = buffer.begin(None);
        let fetch = Fetch(&buffer, version);
        assert!(fetch.write(0, all.slice(..10_000)).is_empty());
        assert_eq!(buffer.begin(Some(grid)), (version, Vec::new()));
        let hashed = fetch.write(10_000, all.slice(10_000..33_000));
        let expected: Vec<Hashed> = (0..2)
            .map(|p| (p, PieceHash::of([&all.slice(grid.span(p).start as usize..grid.span(p).end as usize)])))
            .collect();
        assert_eq!(hashed, expected);
        assert_eq!(
            fetch.write(10_000, all.slice(10_000..33_000)),
            expected[1..],
            "only piece 1 came again whole"
        );
        assert_eq!(buffer.piece(2), None);
        assert_eq!(fetch.write(33_000, all.slice(33_000..)).len(), 1);
    }

    #[test]
    fn a_discarded_piece_can_come_again() {
        let all = content(40_000);
        let buffer = Buffer::default();
        let grid = PieceGrid::for_length(40_000).unwrap();
        let fetch = Fetch::begin(&buffer, grid);
        fetch.write(0, all.slice(..16_384));
        buffer.keep(grid, 1, vec![0; 16_384].into());
        fetch.write(32_768, all.slice(32_768..));
        buffer.discard(0b010);
        assert_eq!(buffer.piece(1), None);
        assert!(buffer.read(16_384, 40_000).is_empty());
        assert_eq!(buffer.read(16_383, 40_000).len(), 1);
        assert_eq!(fetch.write(16_384, all.slice(16_384..32_768)).len(), 1);
        assert_eq!(buffer.piece(1).map(|p| p.concat()), Some(all[16_384..32_768].to_vec()));
    }

    #[test]
    fn what_the_origin_sends_takes_the_place_of_what_a_peer_sent() {
        let (all, grid) = (content(40_000), PieceGrid::for_length(40_000).unwrap());
        let (right, lie) = (all.slice(16_384..32_768), Bytes::from(vec![0; 16_384]));
        let buffer = Buffer::default();
        let fetch = Fetch::begin(&buffer, grid);
        assert!(fetch.write(16_384, right.slice(..5_000)).is_empty());
        buffer.keep(grid, 1, lie.clone());
        assert_eq!(
            buffer.piece(1).map(|p| p.concat()),
            Some(lie.to_vec()),
            "what the peer vouched for, unmixed"
        );
        assert_eq!(fetch.write(21_384, right.slice(5_000..)), [(1, PieceHash::of([&right]))]);
        assert_eq!(buffer.piece(1).map(|p| p.concat()), Some(right.to_vec()));
        buffer.keep(grid, 1, lie);
        assert_eq!(buffer.piece(1).map(|p| p.concat()), Some(right.to_vec()), "a whole piece stays");
    }

    /// The first of two pieces that come at once shows that both of a peer's were lies: the second is told of after that.
    #[test]
    fn what_the_origin_brought_is_never_discarded_with_what_a_peer_sent() {
        let (all, grid) = (content(40_000), PieceGrid::for_length(40_000).unwrap());
        let right = all.slice(32_768..);
        for at_once in [40_000, 36_000] {
            let buffer = Buffer::default();
            let fetch = Fetch::begin(&buffer, grid);
            buffer.keep(grid, 1, vec![0; 16_384].into());
            buffer.keep(grid, 2, vec![0; 7_232].into());
            let pieces = |hashed: Vec<Hashed>| hashed.into_iter().map(|(piece, _)| piece).collect::<Vec<_>>();
            let first = pieces(fetch.write(16_384, all.slice(16_384..at_once)));
            buffer.discard(0b100);
            let rest = pieces(fetch.write(at_once as u32, all.slice(at_once..)));
            assert_eq!([first, rest].concat(), [1, 2], "each is told of once");
            assert!(buffer.piece(2).is_some_and(|p| p.concat() == right), "{at_once} at once");
        }
    }

    /// The origin's bytes are not taken where others are already, and other bytes were where they belong.
    #[test]
    fn a_piece_stays_within_its_place_and_its_segment() {
        let (all, grid) = (content(40_000), PieceGrid::for_length(40_000).unwrap());
        let other = PieceGrid::for_length(30_000).unwrap();
        for (cut, piece) in [(grid, vec![0; 40_000]), (grid, vec![0; 100]), (other, vec![0; 16_384])] {
            let buffer = Buffer::default();
            let fetch = Fetch::begin(&buffer, grid);
            buffer.keep(cut, 0, piece.into());
            assert!(buffer.read(0, 40_000).is_empty());
            assert_eq!(fetch.write(0, all.clone()).len(), 3);
            assert_eq!(buffer.read(0, 40_000), all);
        }
    }

    /// Two servers of one origin that do not have the same: a player gets what one of them has.
    #[test]
    fn of_two_segments_under_one_name_nothing_is_mixed() {
        let (old, new) = (Bytes::from(vec![1; 40_000]), content(50_000));
        let buffer = Buffer::default();
        let (unknown, _) = buffer.begin(None);
        let first = Fetch::begin(&buffer, PieceGrid::for_length(40_000).unwrap());
        first.write(0, old.slice(..20_000));
        let second = Fetch::begin(&buffer, PieceGrid::for_length(50_000).unwrap());
        // Before the first hears that it is not wanted any more.
        for of in [first.1, unknown] {
            assert_eq!(buffer.write(of, 20_000, old.slice(20_000..)), None);
            assert!(buffer.end(of, PieceGrid::for_length(40_000).unwrap()).is_empty());
        }
        assert!(buffer.read(0, 50_000).is_empty() && buffer.read(20_000, 50_000).is_empty());
        assert_eq!(second.write(0, new.clone()).len(), usize::from(buffer.lock().grid.unwrap().pieces()));
        assert_eq!(buffer.read(0, 50_000), new);
    }

    /// A fetch that was told no length is over: what others know stands.
    #[test]
    fn what_came_is_the_length_where_none_was_told() {
        let all = content(40_000);
        for (told, whole) in [(None, 3), (Some(40_000), 0), (Some(50_000), 0)] {
            let buffer = Buffer::default();
            let fetch = Fetch(&buffer, buffer.begin(None).0);
            let told = told.and_then(PieceGrid::for_length);
            buffer.begin(told);
            fetch.write(0, all.clone());
            assert_eq!(buffer.end(fetch.1, PieceGrid::for_length(40_000).unwrap()).len(), whole, "{told:?}");
            assert_eq!(buffer.read(0, 40_000), all, "{told:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_order_the_bytes_are_right(
            length in 1usize..100_000,
            writes in proptest::collection::vec((0.0f64..1.0, 0.0f64..0.5), 1..30),
        ) {
            let all = content(length);
            let grid = PieceGrid::for_length(length as u64).unwrap();
            let buffer = Buffer::default();
            let fetch = Fetch::begin(&buffer, grid);
            let mut model = vec![false; length];
            let mut hashed = 0u64;
            for (from, size) in writes {
                let from = (from * length as f64) as usize;
                let to = length.min(from + (size * length as f64) as usize);
                for (piece, hash) in fetch.write(from as u32, all.slice(from..to)) {
                    let span = grid.span(piece).start as usize..grid.span(piece).end as usize;
                    prop_assert_eq!(hash, PieceHash::of([&all.slice(span)]));
                    hashed |= 1 << piece;
                }
                model[from..to].fill(true);
            }
            for at in 0..length {
                let got = buffer.read(at as u32, length as u32);
                prop_assert_eq!(!got.is_empty(), model[at]);
                prop_assert_eq!(&got[..], &all[at..at + got.len()]);
            }
            for piece in 0..grid.pieces() {
                let span = grid.span(piece).start as usize..grid.span(piece).end as usize;
                let whole = model[span.clone()].iter().all(|&here| here);
                prop_assert_eq!(hashed & 1 << piece != 0, whole);
                prop_assert_eq!(buffer.piece(piece).map(|p| p.concat()), whole.then(|| all[span].to_vec()));
            }
        }
    }
}
