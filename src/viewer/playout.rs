//! Buffer and playhead of a player: the one definition of start-up and stall, and of what is fetched next and when.
//!
//! Playing begins when the first segment is complete, and stalls when the buffer is empty before the next one is.
//! A [`Playout`] knows how much is buffered, a [`Cursor`] which segment is next; neither knows of the other, and the
//! driver (a real player, or the simulator's) asks both.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::iter_over_hash_type)]

use std::time::Duration;

use crate::model::time::Time;
use crate::model::timeline::Timeline;

/// The next segment is asked for when less than this is buffered.
pub const BUFFER: Duration = Duration::from_secs(12);
/// Live playing starts this many segments from the edge.
pub const FROM_EDGE: usize = 3;
/// A listing is loaded again no sooner than this, whatever its target duration says: nobody is to be flooded.
pub const LEAST_RELOAD: Duration = Duration::from_millis(250);

/// What a player has buffered and played.
#[derive(Clone, Debug)]
pub struct Playout {
    began: Time,
    /// When the buffer is empty if nothing more comes; `None` before playing began.
    empty_at: Option<Time>,
    delivered: Duration,
    startup: Option<Duration>,
    stalls: u32,
    stalled: Duration,
    /// Since when nothing more is awaited.
    finished: Option<Time>,
}

impl Playout {
    /// A player that is told to play at `now`.
    #[must_use]
    pub fn new(now: Time) -> Self {
        Self {
            began: now,
            empty_at: None,
            delivered: Duration::ZERO,
            startup: None,
            stalls: 0,
            stalled: Duration::ZERO,
            finished: None,
        }
    }

    /// A segment that plays for `duration` is complete.
    pub fn complete(&mut self, now: Time, duration: Duration) {
        self.delivered += duration;
        self.empty_at = Some(match self.empty_at {
            None => {
                self.startup = Some(now - self.began);
                now + duration
            }
            Some(empty) if empty < now => {
                self.stalls += 1;
                self.stalled += now - empty;
                now + duration
            }
            Some(empty) => empty + duration,
        });
    }

    /// Nothing more is coming: from now on an empty buffer is the end and no stall.
    pub fn finish(&mut self, now: Time) {
        self.finished.get_or_insert(now);
    }

    /// What can be played without another segment.
    #[must_use]
    pub fn buffered(&self, now: Time) -> Duration {
        self.empty_at.map_or(Duration::ZERO, |empty| empty - now)
    }

    /// When the next segment is to be asked for; now or earlier means now.
    #[must_use]
    pub fn wants_at(&self) -> Time {
        self.empty_at.map_or(self.began, |empty| empty.back(BUFFER))
    }

    /// When so much of what was delivered will have been played; `None`: not before more is delivered.
    #[must_use]
    pub fn reaches(&self, played: Duration) -> Option<Time> {
        let left = self.delivered.checked_sub(played)?;
        Some(self.empty_at.map_or(self.began, |empty| empty.back(left)))
    }

    /// Playing stands still for `length`, because the user wants it so: no stall.
    pub fn hold(&mut self, now: Time, length: Duration) {
        if let Some(empty) = &mut self.empty_at
            && *empty > now
        {
            *empty += length;
        }
    }

    /// From the beginning to the first complete segment.
    #[must_use]
    pub fn startup(&self) -> Option<Duration> {
        self.startup
    }

    /// How often it stalled and for how long, a stall under way included.
    #[must_use]
    pub fn stalls(&self, now: Time) -> (u32, Duration) {
        let now = self.finished.map_or(now, |finished| finished.min(now));
        match self.empty_at {
            Some(empty) if empty < now => (self.stalls + 1, self.stalled + (now - empty)),
            _ => (self.stalls, self.stalled),
        }
    }

    /// Media that was played.
    #[must_use]
    pub fn played(&self, now: Time) -> Duration {
        self.delivered.saturating_sub(self.buffered(now))
    }
}

/// What is to be fetched next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A segment of the listing.
    Take {
        /// Its place in the listing.
        index: usize,
        /// Segments before it that left the live window before they were taken.
        missed: u64,
    },
    /// Nothing new is listed yet: the listing is to be loaded again.
    Reload,
    /// Everything was taken, and nothing will be added.
    End,
}

/// How far a player is in the listings of one rendition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    next: Option<u64>,
    from_edge: u8,
}

impl Default for Cursor {
    fn default() -> Self {
        Self::starting(FROM_EDGE)
    }
}

impl Cursor {
    /// A player that begins a growing rendition `from_edge` segments from its end; 3 is the third from the end.
    #[must_use]
    pub fn starting(from_edge: usize) -> Self {
        Self { next: None, from_edge: from_edge.clamp(1, 255) as u8 }
    }

    /// Everything from this sequence number on is to be taken (again).
    pub fn back_to(&mut self, sequence: u64) {
        self.next = Some(sequence);
    }

    /// What comes next by the newest listing. Asking again changes nothing, but that `missed` is told once.
    ///
    /// A growing rendition begins so many segments from its edge as [`starting`](Self::starting) said, any other at its beginning. A listing that ends
    /// further back than its own length is no stale copy: the origin counts from anew, and so does the player.
    pub fn next(&mut self, timeline: &Timeline) -> Next {
        let segments = &timeline.segments;
        let grows = timeline.kind.grows();
        let idle = if grows { Next::Reload } else { Next::End };
        let Some(last) = segments.last() else { return idle };
        let stale = segments.len().max(FROM_EDGE) as u64;
        let restarted = |next: u64| grows && last.sequence.saturating_add(1 + stale) < next;
        let next = self.next.filter(|&next| !restarted(next)).unwrap_or_else(|| {
            let first = if grows { segments.len().saturating_sub(usize::from(self.from_edge)) } else { 0 };
            segments.get(first).map_or(0, |segment| segment.sequence)
        });
        let index = segments.partition_point(|segment| segment.sequence < next);
        let Some(segment) = segments.get(index) else { return idle };
        self.next = Some(segment.sequence);
        // What is missing in the middle of a listing is a gap that the publisher declared.
        Next::Take { index, missed: if index == 0 { segment.sequence - next } else { 0 } }
    }

    /// The segment with this number was taken, or given up.
    pub fn took(&mut self, sequence: u64) {
        self.next = Some(sequence.saturating_add(1));
    }
}

/// How long after one load of a growing listing the next one follows (RFC 8216 §6.3.4): its target duration when it had
/// changed, half of that when not.
#[must_use]
pub fn reload_after(changed: bool, target: Duration) -> Duration {
    let pause = if changed { target } else { target / 2 };
    pause.max(LEAST_RELOAD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::{SegmentId, SwarmId};
    use crate::model::timeline::{Choice, Kind, Segment};
    use proptest::prelude::*;

    fn at(ms: u64) -> Time {
        Time::from_micros(ms * 1000)
    }

    const SEGMENT: Duration = Duration::from_secs(4);

    #[test]
    fn playing_starts_with_the_first_segment_and_stalls_when_the_next_is_late() {
        let mut playout = Playout::new(at(100));
        assert_eq!((playout.startup(), playout.wants_at()), (None, at(100)));
        playout.complete(at(350), SEGMENT);
        assert_eq!(playout.startup(), Some(Duration::from_millis(250)));
        playout.complete(at(1000), SEGMENT);
        assert_eq!(playout.buffered(at(2350)), Duration::from_secs(6));
        assert_eq!(playout.stalls(at(8350)), (0, Duration::ZERO), "empty this very moment");
        assert_eq!(playout.stalls(at(9350)), (1, Duration::from_secs(1)), "a stall under way counts");
        playout.complete(at(9350), SEGMENT);
        assert_eq!(playout.stalls(at(9350)), (1, Duration::from_secs(1)));
        assert_eq!(playout.played(at(10_350)), Duration::from_secs(9));
    }

    #[test]
    fn the_end_is_no_stall_but_waiting_for_what_never_came_was_one() {
        let mut playout = Playout::new(at(0));
        playout.complete(at(0), SEGMENT);
        let mut late = playout.clone();
        playout.finish(at(3000));
        assert_eq!(playout.stalls(at(60_000)), (0, Duration::ZERO));
        assert_eq!(playout.played(at(60_000)), SEGMENT);
        late.finish(at(5000));
        assert_eq!(late.stalls(at(60_000)), (1, Duration::from_secs(1)));
    }

    #[test]
    fn the_next_is_asked_for_below_twelve_seconds() {
        let mut playout = Playout::new(at(0));
        for _ in 0..3 {
            assert!(playout.wants_at() <= at(0));
            playout.complete(at(0), SEGMENT);
        }
        assert!(playout.wants_at() <= at(0), "exactly twelve seconds");
        playout.complete(at(0), SEGMENT);
        assert_eq!(playout.wants_at(), at(4000));
    }

    proptest! {
        /// A naive player that steps through time a millisecond at a time sees the same.
        #[test]
        fn a_player_that_steps_sees_the_same(gaps in proptest::collection::vec(0u64..9000, 1..12)) {
            let mut playout = Playout::new(at(0));
            let (mut now, mut buffer, mut played, mut stalled, mut started) = (0u64, 0u64, 0u64, 0u64, false);
            for gap in gaps {
                for _ in 0..gap {
                    now += 1;
                    if buffer > 0 {
                        buffer -= 1;
                        played += 1;
                    } else if started {
                        stalled += 1;
                    }
                }
                playout.complete(at(now), SEGMENT);
                buffer += 4000;
                started = true;
                prop_assert_eq!(playout.buffered(at(now)), Duration::from_millis(buffer));
                prop_assert_eq!(playout.played(at(now)), Duration::from_millis(played));
                prop_assert_eq!(playout.stalls(at(now)).1, Duration::from_millis(stalled));
            }
        }
    }

    fn listing(kind: Kind, numbers: std::ops::Range<u64>) -> Timeline {
        let swarm = SwarmId::of("http://origin.example/live.m3u8");
        let segments = numbers
            .map(|sequence| Segment {
                id: SegmentId::of(swarm, sequence, "name"),
                sequence,
                duration: SEGMENT,
            })
            .collect();
        Timeline { swarm, kind, target: SEGMENT, choice: Choice::default(), segments }
    }

    fn take(index: usize) -> Next {
        Next::Take { index, missed: 0 }
    }

    #[test]
    fn live_begins_three_from_the_edge_and_anything_else_at_its_beginning() {
        for (kind, numbers, first) in [
            (Kind::Live, 10..16, take(3)),
            (Kind::Event, 0..9, take(6)),
            (Kind::Live, 10..12, take(0)),
            (Kind::Live, 10..10, Next::Reload),
            (Kind::Vod, 0..9, take(0)),
            (Kind::Vod, 0..0, Next::End),
        ] {
            let timeline = listing(kind, numbers.clone());
            assert_eq!(Cursor::default().next(&timeline), first, "{kind:?} {numbers:?}");
        }
    }

    #[test]
    fn what_left_the_window_is_missed_once() {
        let mut cursor = Cursor::default();
        assert_eq!(cursor.next(&listing(Kind::Live, 10..16)), take(3));
        cursor.took(13);
        let later = listing(Kind::Live, 20..26);
        assert_eq!(cursor.next(&later), Next::Take { index: 0, missed: 6 });
        assert_eq!(cursor.next(&later), take(0));
    }

    #[test]
    fn a_stale_listing_is_waited_out_and_a_new_count_is_followed() {
        let mut cursor = Cursor::default();
        cursor.took(99);
        assert_eq!(cursor.next(&listing(Kind::Live, 94..100)), Next::Reload, "all taken");
        assert_eq!(cursor.next(&listing(Kind::Live, 90..96)), Next::Reload, "an older copy from a cache");
        assert_eq!(cursor.next(&listing(Kind::Live, 0..6)), take(3), "the origin began anew");
        let mut cursor = Cursor::default();
        cursor.took(99);
        assert_eq!(cursor.next(&listing(Kind::Vod, 0..6)), Next::End, "what ended does not begin anew");
    }

    #[test]
    fn a_listing_is_reloaded_after_a_target_duration_or_half_of_it() {
        assert_eq!(reload_after(true, SEGMENT), SEGMENT);
        assert_eq!(reload_after(false, SEGMENT), SEGMENT / 2);
        assert_eq!(reload_after(false, Duration::from_millis(1)), LEAST_RELOAD);
    }

    proptest! {
        /// Whatever windows are seen, no segment is taken twice or out of order, and what isn't taken is counted.
        #[test]
        fn every_segment_is_taken_or_missed(
            steps in proptest::collection::vec(0u64..12, 1..30),
            length in 1u64..8,
        ) {
            let mut cursor = Cursor::default();
            let (mut start, mut taken, mut missed) = (0, Vec::new(), 0);
            for forward in steps {
                start += forward;
                let timeline = listing(Kind::Live, start..start + length);
                while let Next::Take { index, missed: more } = cursor.next(&timeline) {
                    let sequence = timeline.segments[index].sequence;
                    prop_assert!(taken.last().is_none_or(|&last| last < sequence));
                    missed += more;
                    taken.push(sequence);
                    cursor.took(sequence);
                }
            }
            let (first, last) = (taken[0], taken[taken.len() - 1]);
            prop_assert_eq!(last - first + 1, taken.len() as u64 + missed);
        }
    }
}
