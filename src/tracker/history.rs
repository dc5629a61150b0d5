//! How fast bytes went lately, so that a page that is opened now has a past to show. Nothing is noted while nothing happens.

use std::collections::VecDeque;
use std::time::Duration;

use super::accounts::Sums;
use crate::model::time::Time;

/// From one point to the next.
const EVERY: Duration = Duration::from_secs(10);
/// Points that are kept: an hour of them.
const KEPT: usize = 360;

/// Bytes per second at moments, oldest first.
#[derive(Clone, Debug, Default)]
pub struct History {
    points: VecDeque<(Time, Sums)>,
}

impl History {
    /// When the next point is due; `None` while nobody watches and nothing flows.
    #[must_use]
    pub fn due(&self, watched: bool) -> Option<Time> {
        let last = self.points.back();
        let still = !watched && last.is_none_or(|(_, rate)| *rate == Sums::default());
        (!still).then(|| last.map_or(Time::ZERO, |(at, _)| *at + EVERY))
    }

    /// Notes the rate of this moment. After a pause the line begins where it was left: at nothing.
    pub fn note(&mut self, now: Time, rate: Sums) {
        let paused = self.points.back().is_some_and(|(at, _)| now - *at > EVERY * 2);
        if paused || self.points.is_empty() {
            self.push((now.back(EVERY), Sums::default()));
        }
        self.push((now, rate));
    }

    fn push(&mut self, point: (Time, Sums)) {
        if self.points.len() == KEPT {
            self.points.pop_front();
        }
        self.points.push_back(point);
    }

    /// All of them.
    pub fn points(&self) -> impl Iterator<Item = &(Time, Sums)> {
        self.points.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn an_hour_is_kept_and_pauses_are_seen() {
        let mut history = History::default();
        assert_eq!((history.due(false), history.due(true)), (None, Some(Time::ZERO)));
        let busy = Sums { http: 1, ..Sums::default() };
        history.note(at(100), busy);
        assert_eq!(history.due(false), Some(at(110)), "once more, to see it end");
        history.note(at(110), Sums::default());
        assert_eq!(history.due(false), None);
        history.note(at(500), busy);
        let points: Vec<_> =
            history.points().map(|(at, rate)| (at.as_micros() / 1_000_000, rate.http)).collect();
        assert_eq!(points, [(90, 0), (100, 1), (110, 0), (490, 0), (500, 1)]);
        (51..1000).for_each(|n| history.note(at(n * 10), busy));
        assert_eq!(history.points().count(), KEPT);
    }
}
