//! What a manifest says of one rendition, and how a segment is cut into pieces.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::address::Address;
use super::ids::{Group, SegmentId, SwarmId};

/// Whether and how a rendition grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A sliding window; old segments leave it.
    Live,
    /// Grows from its beginning and has not ended.
    Event,
    /// Complete.
    Vod,
}

impl Kind {
    /// Whether new segments may still appear.
    #[must_use]
    pub fn grows(self) -> bool {
        self != Self::Vod
    }
}

/// One media file or byte range that a rendition lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its name in the swarm.
    pub id: SegmentId,
    /// Its media sequence number (RFC 8216 §4.3.3.2).
    pub sequence: u64,
    /// How long it plays.
    pub duration: Duration,
}

/// One rendition as its newest manifest describes it; what the delivery core is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// The rendition's swarm.
    pub swarm: SwarmId,
    /// Whether it grows.
    pub kind: Kind,
    /// The longest segment the manifest allows (RFC 8216 §4.3.3.1).
    pub target: Duration,
    /// What the player can play in its place.
    pub choice: Choice,
    /// In playing order, sequence numbers ascending.
    pub segments: Arc<[Segment]>,
}

/// What a player has to choose from where it plays a rendition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// The renditions of which it plays one in place of another, this one among them; `None`: there is no other.
    pub group: Option<Group>,
    /// Whether it chooses by how fast it is served: between these, or between those that are played beside this one.
    pub adaptive: bool,
}

/// Where a listed segment is to be had from the origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// With its query, exactly as the player will ask for it.
    pub url: Address,
    /// The bytes of the file that are the segment, where it is not the whole file (EXT-X-BYTERANGE).
    pub range: Option<Range<u64>>,
}

impl Timeline {
    /// The number that segment `sequence` of `other`, a rendition of the same presentation, has in this one: of what plays at the
    /// same time, where both are listed from their beginnings; otherwise they are numbered alike.
    #[must_use]
    pub fn number_of(&self, other: &Self, sequence: u64) -> u64 {
        let Some(last) = self.segments.last() else { return sequence };
        if self.kind == Kind::Live || other.kind == Kind::Live {
            return sequence;
        }
        let before = other.segments.iter().take_while(|s| s.sequence < sequence);
        let (count, mut left) = before.fold((0, Duration::ZERO), |(n, media), s| (n + 1, media + s.duration));
        // Its middle: lengths differ by a little.
        left += other.segments.get(count).map_or(other.target, |s| s.duration) / 2;
        let at = self.segments.iter().find(|s| {
            let within = left < s.duration;
            left = left.saturating_sub(s.duration);
            within
        });
        at.map_or(last.sequence.saturating_add(1), |s| s.sequence)
    }

    /// The media between two segments, less what the publisher left out. What is listed no more played as long as any.
    #[must_use]
    pub fn between(&self, from: u64, to: u64) -> Duration {
        let after = from.saturating_add(1);
        let at = |sequence| self.segments.partition_point(|s| s.sequence < sequence);
        let listed = &self.segments[at(after)..at(to.max(after))];
        let (first, last) = match (self.segments.first(), self.segments.last()) {
            (Some(first), Some(last)) => (first.sequence, last.sequence),
            _ => (to, to),
        };
        let before = first.min(to).saturating_sub(after);
        let beyond = to.saturating_sub(after.max(last.saturating_add(1)));
        let unlisted = u32::try_from(before.saturating_add(beyond)).unwrap_or(u32::MAX);
        listed
            .iter()
            .map(|s| s.duration)
            .sum::<Duration>()
            .saturating_add(self.target.saturating_mul(unlisted))
    }
}

/// A timeline and where each of its segments is; what the proxy tells the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The media manifest's own URL, as fetched (after redirects).
    pub manifest: Url,
    /// The rendition's name, for people: the file name of its playlist, or the id of its Representation.
    pub rendition: String,
    /// The rendition.
    pub timeline: Timeline,
    /// One for each of `timeline.segments`, in the same order.
    pub places: Vec<Place>,
}

/// How a segment of known length is cut into pieces: the unit that peers trade.
///
/// A piece is a power-of-two multiple of 16 KiB chosen so that a segment has at most 64; the last one may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceGrid {
    length: u32,
    shift: u8,
}

impl PieceGrid {
    /// The smallest piece: 16 KiB.
    pub const MIN_SHIFT: u8 = 14;
    /// The largest piece: 1 MiB.
    pub const MAX_SHIFT: u8 = 20;
    /// The most pieces a segment may have; one bit each in a `u64`.
    pub const MAX_PIECES: u32 = 64;
    /// The longest segment that is cut into pieces and shared: 64 MiB.
    pub const MAX_LENGTH: u32 = Self::MAX_PIECES << Self::MAX_SHIFT;

    /// The grid for a segment of `length` bytes; `None` when it is empty or longer than [`Self::MAX_LENGTH`].
    #[must_use]
    pub fn for_length(length: u64) -> Option<Self> {
        let length = u32::try_from(length).ok().filter(|&l| l > 0 && l <= Self::MAX_LENGTH)?;
        (Self::MIN_SHIFT..=Self::MAX_SHIFT)
            .map(|shift| Self { length, shift })
            .find(|grid| length.div_ceil(1 << grid.shift) <= Self::MAX_PIECES)
    }

    /// The segment's length in bytes.
    #[must_use]
    pub fn length(self) -> u32 {
        self.length
    }

    /// How many pieces there are: 1 to 64.
    #[must_use]
    pub fn pieces(self) -> u8 {
        self.length.div_ceil(1 << self.shift) as u8
    }

    /// The bytes of piece `index`; empty past the end.
    #[must_use]
    pub fn span(self, index: u8) -> Range<u32> {
        let at = |i: u64| (i << self.shift).min(u64::from(self.length)) as u32;
        at(u64::from(index))..at(u64::from(index) + 1)
    }

    /// The piece that holds byte `offset`.
    #[must_use]
    pub fn piece_at(self, offset: u32) -> u8 {
        (offset >> self.shift).min(u32::from(u8::MAX)) as u8
    }

    /// A bit for every piece.
    #[must_use]
    pub fn all(self) -> u64 {
        u64::MAX >> (64 - u32::from(self.pieces()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn usual_segments_have_about_32_pieces() {
        for (length, pieces) in
            [(1, 1), (16_384, 1), (16_385, 2), (500_000, 31), (1 << 20, 64), (4_000_000, 62)]
        {
            assert_eq!(PieceGrid::for_length(length).map(PieceGrid::pieces), Some(pieces), "{length} bytes");
        }
        assert_eq!(PieceGrid::for_length(0), None);
        assert_eq!(PieceGrid::for_length((64 << 20) + 1), None);
    }

    proptest! {
        #[test]
        fn pieces_tile_the_segment(length in 1u64..=u64::from(PieceGrid::MAX_LENGTH)) {
            let grid = PieceGrid::for_length(length).unwrap();
            let mut end = 0;
            for index in 0..grid.pieces() {
                let span = grid.span(index);
                prop_assert_eq!(span.start, end);
                prop_assert!(span.end > span.start);
                prop_assert_eq!(grid.piece_at(span.start), index);
                prop_assert_eq!(grid.piece_at(span.end - 1), index);
                end = span.end;
            }
            prop_assert_eq!(u64::from(end), length);
            prop_assert_eq!(grid.all().count_ones(), u32::from(grid.pieces()));
            prop_assert!(grid.span(grid.pieces()).is_empty());
        }
    }
}
