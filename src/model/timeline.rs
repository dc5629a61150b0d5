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
    /// same time, where that can be told; otherwise they are taken to be numbered alike.
    #[must_use]
    pub fn number_of(&self, other: &Self, sequence: u64) -> u64 {
        let count = other.segments.partition_point(|s| s.sequence < sequence);
        let at = other.segments.get(count).filter(|s| s.sequence == sequence && self.is_timed_with(other));
        let (Some(at), Some(last)) = (at, self.segments.last()) else { return sequence };
        // Its middle: lengths differ by a little.
        let mut left = other.segments[..count].iter().map(|s| s.duration).sum::<Duration>() + at.duration / 2;
        for segment in self.segments.iter() {
            if left < segment.duration {
                return segment.sequence;
            }
            left -= segment.duration;
        }
        let beyond = left.as_micros() / self.target.as_micros().max(1);
        last.sequence.saturating_add(1).saturating_add(u64::try_from(beyond).unwrap_or(u64::MAX))
    }

    /// Whether it is known what of both plays at the same time: they are listed from their beginnings, to their ends. What still
    /// grows may be an update that leaves out what was listed before (EXT-X-SKIP), and so may the last of them; then they begin
    /// with other numbers.
    #[must_use]
    pub fn is_timed_with(&self, other: &Self) -> bool {
        let first = |of: &Self| of.segments.first().map(|s| s.sequence);
        self.kind == Kind::Vod && other.kind == Kind::Vod && first(self) == first(other)
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

    /// Segments of `seconds` each, from that number on.
    fn listed(kind: Kind, first: u64, segments: u64, seconds: u64) -> Timeline {
        let duration = Duration::from_secs(seconds);
        let segments =
            (first..first + segments).map(|sequence| Segment { id: SegmentId(sequence), sequence, duration });
        let (swarm, choice) = (SwarmId([0; 20]), Choice::default());
        Timeline { swarm, kind, target: duration, choice, segments: segments.collect() }
    }

    #[test]
    fn a_place_in_another_rendition_is_a_time_where_that_is_known_and_a_number_elsewhere() {
        let vod = |first, segments, seconds| listed(Kind::Vod, first, segments, seconds);
        assert_eq!(vod(0, 40, 4).number_of(&vod(0, 80, 2), 28), 14);
        assert_eq!(vod(0, 80, 2).number_of(&vod(0, 40, 4), 14), 29, "in the middle of it");
        let event = |first, segments, seconds| listed(Kind::Event, first, segments, seconds);
        assert_eq!(event(0, 40, 4).number_of(&event(0, 40, 4), 28), 28);
        assert_eq!(
            event(0, 40, 4).number_of(&event(30, 10, 4), 35),
            35,
            "an update tells of the newest alone"
        );
        assert_eq!(vod(0, 40, 4).number_of(&vod(30, 10, 4), 35), 35, "as the last one does");
        assert_eq!(event(0, 21, 4).number_of(&event(0, 60, 4), 50), 50, "a list of some time ago");
        assert_eq!(vod(0, 21, 4).number_of(&vod(0, 60, 4), 50), 50);
        assert_eq!(vod(0, 21, 4).number_of(&vod(0, 60, 4), 21), 21);
    }
}
