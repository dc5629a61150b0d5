//! A token bucket: bytes at a rate, with little at once.

use std::time::Duration;

use crate::model::time::Time;
use crate::model::units::BitsPerSecond;

/// Bytes that may be sent now. Without a limit everything may.
#[derive(Clone, Debug)]
pub struct Bucket {
    limit: Option<BitsPerSecond>,
    /// This much of the limit may go at once.
    burst: Duration,
    /// In bytes; negative after a piece larger than the burst.
    level: f64,
    filled: Time,
}

impl Bucket {
    /// A full bucket that lets what `burst` brings go at once.
    #[must_use]
    pub fn new(limit: Option<BitsPerSecond>, burst: Duration, now: Time) -> Self {
        let mut bucket = Self { limit, burst, level: 0.0, filled: now };
        bucket.level = bucket.most();
        bucket
    }

    /// Changes the limit; what was saved up beyond the new burst is lost, and a first limit begins with a full one.
    pub fn set_limit(&mut self, limit: Option<BitsPerSecond>, now: Time) {
        self.fill(now);
        let first = self.limit.is_none();
        self.limit = limit;
        self.level = if first { self.most() } else { self.level.min(self.most()) };
    }

    /// Whether anything may be sent now.
    pub fn open(&mut self, now: Time) -> bool {
        self.fill(now);
        self.limit.is_none() || self.level > 0.0
    }

    /// Takes out what is sent; the debt of a large piece delays the next one.
    pub fn spend(&mut self, bytes: u32) {
        if self.limit.is_some() {
            self.level -= f64::from(bytes);
        }
    }

    /// When it will be [`open`](Self::open) again; `None` when it is.
    #[must_use]
    pub fn ready_at(&self) -> Option<Time> {
        let rate = self.limit?.0 as f64 / 8.0;
        // One byte more than the debt, so that rounding never wakes us a microsecond early for ever.
        (self.level <= 0.0).then(|| self.filled + Duration::from_secs_f64((1.0 - self.level) / rate.max(1.0)))
    }

    fn most(&self) -> f64 {
        self.limit.map_or(0.0, |limit| limit.0 as f64 / 8.0 * self.burst.as_secs_f64())
    }

    fn fill(&mut self, now: Time) {
        if let Some(limit) = self.limit {
            self.level += limit.0 as f64 / 8.0 * (now - self.filled).as_secs_f64();
            self.level = self.level.min(self.most());
        }
        self.filled = self.filled.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BURST: Duration = Duration::from_millis(500);

    #[test]
    fn over_a_minute_the_limit_holds() {
        let mut now = Time::ZERO;
        let mut bucket = Bucket::new(Some(BitsPerSecond(1_000_000)), BURST, now);
        let mut sent = 0u64;
        while now < Time::from_micros(60_000_000) {
            if bucket.open(now) {
                bucket.spend(16_384);
                sent += 16_384;
            } else {
                now = bucket.ready_at().expect("an empty bucket names the moment it is full again");
            }
        }
        let rate = sent as f64 * 8.0 / 60.0;
        assert!((990_000.0..1_015_000.0).contains(&rate), "{rate} bit/s");
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let mut bucket = Bucket::new(None, BURST, Time::ZERO);
        for _ in 0..1000 {
            assert!(bucket.open(Time::ZERO));
            bucket.spend(u32::MAX);
        }
        assert_eq!(bucket.ready_at(), None);
    }
}
