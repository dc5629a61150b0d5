//! What we know of one player: how far it asked, and a lower bound of what it has buffered.
//!
//! The playhead can't be seen. A player that has been given `d` seconds of media since it began can't have played more
//! than the time that passed since its first byte; one that paused or stalled only has more buffered than that.

use std::time::Duration;

use super::policy::{LEFT_AFTER, LEFT_AFTER_MOST, PROBES, SEEK};
use crate::model::ids::SwarmId;
use crate::model::time::Time;

/// How many segments may be in the player's hands at once; more are credited late, never early.
const OPEN: usize = 8;

/// How long a segment that is asked for again counts as a sign of a second player.
const CROWD: Duration = Duration::from_secs(30);

/// One player of one rendition.
#[derive(Clone, Debug)]
pub struct Demand {
    /// Who.
    pub viewer: u64,
    /// The highest sequence number asked for since the beginning or the last seek.
    pub front: u64,
    /// The lowest.
    start: u64,
    /// When it last asked, took or reloaded.
    pub active: Time,
    /// When it last asked.
    asked: Time,
    /// Different segments asked for in a row.
    pub run: u8,
    /// Where it was here when it went on in another rendition; nothing while it plays this one.
    left: Option<u64>,
    /// After so many segments in another it counts as gone there.
    pub patience: u8,
    /// Different segments asked for in others of the group since it last asked here.
    elsewhere: Vec<(SwarmId, u64)>,
    /// It hung up on something since it last asked here.
    hung_up: bool,
    /// Until then it looks like several players under one name: nothing can be said of their buffers.
    crowded_until: Time,
    /// When it asked for something else than it was to play next; nothing once it has a whole segment there.
    sought: Option<Time>,
    /// When playing can have begun at the earliest; moves on when the buffer would have run dry.
    began: Option<Time>,
    delivered: Duration,
    credited: Vec<(u64, Duration)>,
}

/// What a request tells of the player's position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// The next segment, or one that was asked for before.
    On,
    /// Somewhere else: what was buffered no longer counts.
    Seek,
}

impl Demand {
    /// A player that asks for its first segment.
    #[must_use]
    pub fn new(viewer: u64, sequence: u64, now: Time) -> Self {
        Self {
            viewer,
            front: sequence,
            start: sequence,
            active: now,
            asked: now,
            run: 1,
            left: None,
            patience: LEFT_AFTER,
            elsewhere: Vec::new(),
            hung_up: false,
            crowded_until: Time::ZERO,
            sought: None,
            began: None,
            delivered: Duration::ZERO,
            credited: Vec::new(),
        }
    }

    /// Whether it plays this rendition, as far as is known: it has not gone on in another.
    #[must_use]
    pub fn stays(&self) -> bool {
        self.left.is_none()
    }

    /// When it last asked for a segment.
    #[must_use]
    pub fn asked_at(&self) -> Time {
        self.asked
    }

    /// It asks for another segment of `other`, one of the same group, while it `waits` for something here or not; whether it has
    /// left here.
    pub fn asks_elsewhere(&mut self, other: SwarmId, waits: bool) -> bool {
        let at = self.elsewhere.iter().position(|(swarm, _)| *swarm == other).unwrap_or_else(|| {
            self.elsewhere.push((other, 0));
            self.elsewhere.len() - 1
        });
        let times = &mut self.elsewhere[at].1;
        *times = times.saturating_add(1);
        if self.left.is_none() && *times > u64::from(self.patience) && !waits {
            self.left = Some(self.front);
        }
        self.left.is_some()
    }

    /// Having left, it has come to where `front` is the segment here. `sure`: that is known; otherwise both are only taken to be
    /// numbered alike, and it can't be further than it went.
    pub fn is_at(&mut self, front: u64, sure: bool) {
        let went = self.elsewhere.iter().map(|(_, times)| times).sum::<u64>();
        let most = self.left.unwrap_or(self.front).saturating_add(went).saturating_add(SEEK);
        self.front = self.front.max(if sure { front } else { front.min(most) });
    }

    /// It asks for `sequence` here again, wherever it has been in between. Whether it had been taken for gone and was not: who goes
    /// on just where it was plays several at once. Not who hung up before it left: the next is what it was to have next.
    pub fn comes_back(&mut self, sequence: u64) -> bool {
        self.elsewhere.clear();
        let hung_up = std::mem::take(&mut self.hung_up);
        let Some(left) = self.left.take() else { return false };
        if sequence != left.saturating_add(1) || hung_up {
            self.patience = (self.patience / 2).max(LEFT_AFTER);
            return false;
        }
        self.patience = self.patience.saturating_mul(2).min(LEFT_AFTER_MOST);
        self.front = left;
        true
    }

    /// The same player where it goes on with `sequence` in another rendition, which is `place` in this one.
    ///
    /// What it has buffered counts there where it asks for what comes next, but for the end of it that is `in_doubt`. Whoever asks
    /// for what it has may throw that away, or be somebody else under the same name.
    #[must_use]
    pub fn goes_on(&self, place: u64, sequence: u64, in_doubt: Duration, now: Time) -> Self {
        let run = if self.run > PROBES { PROBES + 1 } else { 1 };
        let next = place == self.front.saturating_add(1);
        let (began, delivered) = match self.began.filter(|_| next) {
            Some(_) => (Some(now), self.buffered(now).saturating_sub(in_doubt)),
            None => (None, Duration::ZERO),
        };
        let crowded_until = self.crowded_until;
        Self { run, crowded_until, began, delivered, ..Self::new(self.viewer, sequence, now) }
    }

    /// The player asks for segment `sequence`, which passes over so much media that it did not ask for.
    pub fn asks(&mut self, sequence: u64, passed: Duration, now: Time) -> Moved {
        let since = now - std::mem::replace(&mut self.asked, now);
        self.active = now;
        // Who has had the time to play what is passed over may have played it elsewhere: in another rendition.
        if sequence.abs_diff(self.front) > SEEK || since < passed {
            let (run, crowded_until, patience) = (self.run, self.crowded_until, self.patience);
            let played = sequence > self.front && since >= passed;
            // Two players under one name are in two places, and neither seeks.
            let sought = (now >= crowded_until && !played).then_some(now);
            *self = Self { run, crowded_until, patience, sought, ..Self::new(self.viewer, sequence, now) };
            return Moved::Seek;
        }
        if !self.taken(sequence).is_zero() {
            self.crowded_until = now + CROWD;
            self.lose_buffer();
        }
        if sequence > self.front {
            self.front = sequence;
            self.run = self.run.saturating_add(1);
        }
        self.start = self.start.min(sequence);
        Moved::On
    }

    /// The player hung up on a request, one `here` or in another rendition: it seeks, or stops, or goes to another rendition.
    pub fn hangs_up(&mut self, here: bool) {
        self.hung_up |= here;
        self.lose_buffer();
    }

    /// Nothing can be said any more of what it has.
    fn lose_buffer(&mut self) {
        (self.began, self.delivered) = (None, Duration::ZERO);
        self.credited.clear();
    }

    /// The player's connection has taken `media` of segment `sequence` by now, all in all.
    pub fn takes(&mut self, sequence: u64, media: Duration, now: Time) {
        self.active = now;
        if self.is_of_another_place(sequence) {
            return;
        }
        let began = *self.began.get_or_insert(now);
        if self.delivered < now - began {
            self.began = Some(now.back(self.delivered));
        }
        let at = self.credited.iter().position(|(s, _)| *s == sequence).unwrap_or_else(|| {
            if self.credited.len() == OPEN {
                self.credited.remove(0);
            }
            self.credited.push((sequence, Duration::ZERO));
            self.credited.len() - 1
        });
        let entry = &mut self.credited[at];
        self.delivered += media.saturating_sub(entry.1);
        entry.1 = entry.1.max(media);
    }

    /// The player has a whole segment: how long that took since it sought, if it had.
    pub fn settles(&mut self, sequence: u64, now: Time) -> Option<Duration> {
        if self.is_of_another_place(sequence) {
            return None;
        }
        self.sought.take().map(|since| now - since)
    }

    /// Whether it was on its way before the last seek, however many are open at the same time.
    fn is_of_another_place(&self, sequence: u64) -> bool {
        sequence < self.start || sequence > self.front.saturating_add(SEEK)
    }

    /// How much of `sequence` the player has taken, in media time.
    #[must_use]
    pub fn taken(&self, sequence: u64) -> Duration {
        self.credited.iter().find(|(s, _)| *s == sequence).map_or(Duration::ZERO, |(_, media)| *media)
    }

    /// The last segment that the player has taken all of; `None` before the first.
    #[must_use]
    pub fn taken_to(&self) -> Option<u64> {
        self.credited.iter().filter(|(_, media)| !media.is_zero()).map(|(sequence, _)| *sequence).max()
    }

    /// A lower bound of what the player has buffered; zero before its first byte.
    #[must_use]
    pub fn buffered(&self, now: Time) -> Duration {
        self.began.map_or(Duration::ZERO, |began| self.delivered.saturating_sub(now - began))
    }

    /// When the player runs dry before segment `sequence`, at the earliest, if nothing more comes; `None` when nothing is known
    /// of that: before its first byte, and while the same segments are asked for twice, as by two players under one name.
    #[must_use]
    pub fn dry_at(&self, sequence: u64, now: Time) -> Option<Time> {
        if now < self.crowded_until {
            return None;
        }
        let later = self.credited.iter().filter(|(s, _)| *s > sequence).map(|(_, media)| *media).sum();
        self.began.map(|_| now + self.buffered(now).saturating_sub(later))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    const SEGMENT: Duration = Duration::from_secs(4);

    #[test]
    fn the_buffer_is_what_was_taken_less_the_time_since() {
        let mut demand = Demand::new(1, 10, at(0));
        assert_eq!(demand.buffered(at(0)), Duration::ZERO);
        assert_eq!(demand.dry_at(12, at(0)), None);
        demand.takes(10, SEGMENT, at(1));
        demand.takes(11, SEGMENT, at(1));
        assert_eq!(demand.buffered(at(1)), Duration::from_secs(8));
        assert_eq!(demand.buffered(at(4)), Duration::from_secs(5));
        assert_eq!(demand.dry_at(12, at(4)), Some(at(9)));
        assert_eq!(demand.dry_at(11, at(4)), Some(at(9)), "more of itself is no later segment");
        assert_eq!(demand.dry_at(10, at(4)), Some(at(5)), "what comes after a gap can't be played before it");
    }

    #[test]
    fn a_stall_or_pause_never_counts_against_the_player() {
        let mut demand = Demand::new(1, 10, at(0));
        demand.takes(10, SEGMENT, at(0));
        assert_eq!(demand.buffered(at(60)), Duration::ZERO);
        demand.takes(11, SEGMENT, at(60));
        assert_eq!(demand.buffered(at(60)), SEGMENT, "what comes after a pause counts from then");
    }

    #[test]
    fn the_same_segment_twice_is_counted_once() {
        let mut demand = Demand::new(1, 10, at(0));
        demand.takes(10, SEGMENT, at(0));
        demand.takes(10, SEGMENT / 2, at(0));
        demand.takes(10, SEGMENT, at(0));
        assert_eq!(demand.buffered(at(0)), SEGMENT);
    }

    #[test]
    fn two_players_under_one_name_are_never_held() {
        let mut demand = Demand::new(1, 10, at(0));
        demand.takes(10, SEGMENT, at(0));
        demand.asks(11, Duration::ZERO, at(1));
        demand.takes(11, SEGMENT, at(1));
        assert!(demand.dry_at(12, at(1)).is_some());
        demand.asks(10, Duration::ZERO, at(2));
        assert_eq!(demand.dry_at(12, at(2)), None, "somebody else is a segment behind");
        demand.takes(12, SEGMENT, at(39));
        assert!(demand.dry_at(13, at(40)).is_some(), "and has gone");
    }

    #[test]
    fn a_jump_is_a_seek_and_empties_the_buffer() {
        let mut demand = Demand::new(1, 10, at(0));
        demand.takes(10, SEGMENT, at(0));
        assert_eq!(demand.asks(11, Duration::ZERO, at(1)), Moved::On);
        assert_eq!(demand.asks(12, Duration::ZERO, at(1)), Moved::On);
        assert_eq!(demand.asks(11, Duration::ZERO, at(1)), Moved::On, "hls.js asks one before");
        assert_eq!((demand.front, demand.run), (12, 3));
        assert_eq!(demand.asks(50, Duration::ZERO, at(2)), Moved::Seek);
        assert_eq!((demand.front, demand.buffered(at(2))), (50, Duration::ZERO));
        assert_eq!(demand.asks(5, Duration::ZERO, at(3)), Moved::Seek);
    }

    #[test]
    fn what_is_open_together_counts_and_what_was_open_before_a_seek_does_not() {
        let mut demand = Demand::new(1, 10, at(0));
        (11..16).for_each(|sequence| assert_eq!(demand.asks(sequence, Duration::ZERO, at(0)), Moved::On));
        (10..16).for_each(|sequence| demand.takes(sequence, SEGMENT, at(1)));
        assert_eq!(demand.buffered(at(1)), SEGMENT * 6);
        assert_eq!(demand.asks(17, SEGMENT, at(2)), Moved::Seek);
        demand.takes(15, SEGMENT, at(3));
        assert_eq!(demand.buffered(at(3)), Duration::ZERO);
    }

    #[test]
    fn who_passes_over_a_segment_has_sought_if_there_was_no_time_to_play_it() {
        let mut demand = Demand::new(1, 10, at(0));
        demand.takes(10, SEGMENT * 9, at(0));
        assert_eq!(demand.asks(12, SEGMENT, at(3)), Moved::Seek);
        assert_eq!((demand.front, demand.dry_at(12, at(3))), (12, None));
        demand.takes(12, SEGMENT * 9, at(3));
        assert_eq!(demand.asks(14, SEGMENT, at(7)), Moved::On, "it may have played 13 in another rendition");
        assert!(demand.dry_at(14, at(7)).is_some());
    }

    #[test]
    fn who_asks_again_for_what_it_has_or_hangs_up_has_nothing_that_counts() {
        for hangs_up in [false, true] {
            let mut demand = Demand::new(1, 10, at(0));
            demand.takes(10, SEGMENT, at(0));
            demand.takes(11, SEGMENT, at(0));
            if hangs_up {
                demand.hangs_up(true);
            } else {
                demand.asks(11, Duration::ZERO, at(1));
            }
            assert_eq!((demand.buffered(at(1)), demand.dry_at(12, at(40))), (Duration::ZERO, None));
            demand.takes(11, SEGMENT, at(40));
            assert_eq!(demand.buffered(at(40)), SEGMENT, "what it takes from now on counts");
        }
    }

    #[test]
    fn a_seek_is_over_with_the_first_whole_segment_there() {
        const FAR: Duration = Duration::from_secs(3600);
        let mut demand = Demand::new(1, 10, at(0));
        assert_eq!(demand.settles(10, at(0)), None, "that is the start");
        demand.asks(50, FAR, at(2));
        assert_eq!(demand.settles(10, at(3)), None, "what it had asked for before");
        assert_eq!(demand.settles(50, at(5)), Some(Duration::from_secs(3)));
        assert_eq!(demand.settles(51, at(6)), None, "once");
        demand.asks(5, FAR, at(7));
        demand.asks(90, FAR, at(8));
        assert_eq!(demand.settles(90, at(9)), Some(Duration::from_secs(1)), "who seeks on has sought once");
        demand.takes(90, SEGMENT, at(9));
        demand.asks(90, Duration::ZERO, at(10));
        demand.asks(10, FAR, at(11));
        assert_eq!(demand.settles(10, at(12)), None, "two players under one name");
    }
}
