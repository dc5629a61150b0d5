//! A neighbour's base round trip: what a ping takes when nothing stands in its way.

use std::time::Duration;

use crate::delivery::policy::{BASE_MINUTES, BASE_PINGS};
use crate::model::time::Time;

/// No ping was answered in that minute.
const UNKNOWN: u16 = u16::MAX;

/// The shortest round trips of the last minutes (RFC 6817, 4.2), in milliseconds; 24 bytes for each neighbour.
///
/// A route that became longer is believed after [`BASE_MINUTES`], a shorter one at once.
#[derive(Clone, Debug)]
pub struct Base {
    minutes: [u16; BASE_MINUTES],
    minute: u16,
    pings: u8,
}

impl Base {
    /// Nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self { minutes: [UNKNOWN; BASE_MINUTES], minute: 0, pings: 0 }
    }

    /// Takes in a round trip; the base, once enough pings were answered.
    pub fn learn(&mut self, round_trip: Duration, now: Time) -> Option<Duration> {
        // Wraps after 45 days: then a few old minutes live on for as long again.
        let minute = (now.as_micros() / 60_000_000) as u16;
        let passed = usize::from(minute.wrapping_sub(self.minute)).min(BASE_MINUTES);
        if passed > 0 {
            self.minutes.rotate_right(passed % BASE_MINUTES);
            self.minutes[..passed].fill(UNKNOWN);
        }
        self.minute = minute;
        let ms = u16::try_from(round_trip.as_millis()).unwrap_or(UNKNOWN).min(UNKNOWN - 1);
        self.minutes[0] = self.minutes[0].min(ms);
        self.pings = self.pings.saturating_add(1);
        if self.pings > BASE_PINGS { self.least() } else { None }
    }

    /// The shortest round trip of the last minutes; `None` before the first.
    #[must_use]
    pub fn least(&self) -> Option<Duration> {
        let least = self.minutes.iter().copied().min().filter(|&ms| ms != UNKNOWN)?;
        Some(Duration::from_millis(u64::from(least)))
    }
}

impl Default for Base {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: u64) -> Time {
        Time::from_micros(minute * 60_000_000 + 1)
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_base_is_the_least_of_the_last_ten_minutes() {
        let mut base = Base::new();
        assert_eq!(
            (base.learn(ms(80), at(0)), base.learn(ms(50), at(0))),
            (None, None),
            "too little is known"
        );
        assert_eq!(base.learn(ms(90), at(1)), Some(ms(50)));
        assert_eq!(base.learn(ms(90), at(9)), Some(ms(50)));
        assert_eq!(base.learn(ms(95), at(10)), Some(ms(90)), "the minute of the 50 ms is forgotten");
        assert_eq!(base.learn(ms(20), at(11)), Some(ms(20)));
        assert_eq!(base.learn(ms(70), at(400)), Some(ms(70)));
        assert_eq!(base.learn(ms(100_000), at(401)), Some(ms(70)));
        assert!(size_of::<Base>() <= 24);
    }
}
