//! A home line as numbers: how long it takes, what it loses, how fast it is, how much waits before it.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::iter_over_hash_type)]

use std::time::Duration;

use crate::model::time::Time;
use crate::model::units::BitsPerSecond;

/// What a line is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Path {
    /// From one side to the other.
    pub delay: Duration,
    /// Of all packets, the share that is lost.
    pub loss: f64,
    /// How fast packets leave.
    pub rate: BitsPerSecond,
    /// Bytes that may wait to leave; a packet beyond them is lost.
    pub queue: u64,
}

/// One side's way out, shared by everything that it sends.
#[derive(Clone, Debug)]
pub struct Line {
    path: Path,
    free: Time,
    chance: u64,
}

impl Line {
    /// An idle line; `seed` decides which packets it loses.
    #[must_use]
    pub fn new(path: Path, seed: u64) -> Self {
        Self { path, free: Time::ZERO, chance: seed }
    }

    /// A packet is sent; when it arrives, or `None`: it does not.
    pub fn send(&mut self, now: Time, bytes: usize) -> Option<Time> {
        let waiting = self.free - now;
        let queued = u128::from(self.path.rate.0) * waiting.as_micros() / 8_000_000;
        if queued + bytes as u128 > u128::from(self.path.queue) {
            return None;
        }
        let takes = self.path.rate.time_for(bytes as u64).unwrap_or_default();
        self.free = self.free.max(now) + takes;
        (self.draw() >= self.path.loss).then(|| self.free + self.path.delay)
    }

    /// A number in [0, 1) (SplitMix64).
    fn draw(&mut self) -> f64 {
        self.chance = self.chance.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.chance;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((x ^ (x >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: Path = Path {
        delay: Duration::from_millis(25),
        loss: 0.0,
        rate: BitsPerSecond(20_000_000),
        queue: 256 * 1024,
    };

    #[test]
    fn packets_leave_one_after_the_other_and_arrive_a_delay_later() {
        let mut line = Line::new(HOME, 1);
        assert_eq!(line.send(Time::ZERO, 1250), Some(Time::from_micros(25_500)));
        assert_eq!(line.send(Time::ZERO, 1250), Some(Time::from_micros(26_000)));
        assert_eq!(line.send(Time::from_micros(10_000), 1250), Some(Time::from_micros(35_500)));
    }

    #[test]
    fn what_the_queue_does_not_hold_is_lost() {
        let mut line = Line::new(HOME, 1);
        let through = (0..1000).filter(|_| line.send(Time::ZERO, 1024).is_some()).count();
        assert!((250..=260).contains(&through), "{through} packets of 1 KiB in a queue of 256");
        assert!(line.send(Time::from_micros(1_000_000), 1024).is_some(), "it empties");
    }

    #[test]
    fn about_one_in_two_hundred_is_lost() {
        let mut line = Line::new(Path { loss: 0.005, ..HOME }, 1);
        let lost = (0..100_000u64).filter(|n| line.send(Time::from_micros(n * 1000), 1000).is_none()).count();
        assert!((400..600).contains(&lost), "{lost} of 100,000");
    }
}
