//! Buffer and playhead of a player: the one definition of start-up and stall.
//!
//! Playing begins when the first segment is complete, and stalls when the buffer is empty before the next one is.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::iter_over_hash_type)]

use std::time::Duration;

use crate::model::time::Time;

/// The next segment is asked for when less than this is buffered.
pub const BUFFER: Duration = Duration::from_secs(12);
/// Live playing starts this many segments from the edge.
pub const FROM_EDGE: usize = 3;

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

    /// From the beginning to the first complete segment.
    #[must_use]
    pub fn startup(&self) -> Option<Duration> {
        self.startup
    }

    /// How often it stalled and for how long, a stall under way included.
    #[must_use]
    pub fn stalls(&self, now: Time) -> (u32, Duration) {
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

#[cfg(test)]
mod tests {
    use super::*;
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
}
