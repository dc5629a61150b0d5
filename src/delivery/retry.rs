//! When to try a tracker or the origin again.

use std::time::Duration;

use super::chance::Chance;
use super::policy::{FETCH_RETRY, RECONNECT_FIRST, RECONNECT_MOST};
use crate::model::time::Time;

/// One configured tracker.
#[derive(Clone, Debug, Default)]
pub struct Tracker {
    /// Whether its connection is open.
    pub up: bool,
    /// When to try it next; `None` while it is up or being tried.
    pub next: Option<Time>,
    /// How often it wants to hear of each swarm.
    pub interval: Duration,
    failures: u32,
}

impl Tracker {
    /// A tracker that was never tried, to be tried at `at`.
    #[must_use]
    pub fn due(at: Time) -> Self {
        Self { next: Some(at), ..Self::default() }
    }

    /// It answered, and wants to hear this often.
    pub fn came_up(&mut self, interval: Duration) {
        *self = Self { up: true, interval, ..Self::default() };
    }

    /// It went away, or an attempt failed: tried again after 1 s, 2 s, … 60 s, each drawn from half to all of it.
    pub fn went_down(&mut self, now: Time, chance: &mut Chance) {
        let full = (RECONNECT_FIRST * 2u32.saturating_pow(self.failures.min(16))).min(RECONNECT_MOST);
        self.failures = self.failures.saturating_add(1);
        self.up = false;
        self.next = Some(now + full.mul_f64(0.5 + chance.unit() / 2.0));
    }
}

/// How long the origin is left alone after its `failures`-th failure in a row.
#[must_use]
pub fn origin_pause(failures: u8) -> Duration {
    FETCH_RETRY * 2u32.saturating_pow(u32::from(failures.saturating_sub(1).min(8)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reconnects_back_off_to_a_minute_and_start_over_once_up() {
        let (mut tracker, mut chance, mut now) = (Tracker::default(), Chance::new(1), Time::ZERO);
        let mut last = Duration::ZERO;
        for attempt in 0..12u32 {
            tracker.went_down(now, &mut chance);
            let next = tracker.next.expect("a tracker that is down is tried again");
            last = next - now;
            let full = Duration::from_secs(1 << attempt.min(6)).min(RECONNECT_MOST);
            assert!(last >= full / 2 && last <= full, "attempt {attempt}: {last:?}");
            now = next;
        }
        assert!(last >= RECONNECT_MOST / 2);
        tracker.came_up(Duration::from_secs(120));
        tracker.went_down(now, &mut chance);
        assert!(tracker.next.is_some_and(|next| next - now <= RECONNECT_FIRST));
    }
}
