//! The daemon's only clock: monotonic, and running on through suspend.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::model::time::Time;

/// Counts from the moment it was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    began: Duration,
}

impl Clock {
    /// A clock that begins now.
    #[must_use]
    pub fn start() -> Self {
        Self { began: boot_time() }
    }

    /// The time since it began.
    #[must_use]
    pub fn now(&self) -> Time {
        Time::ZERO + self.elapsed()
    }

    /// How long ago it began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        boot_time().saturating_sub(self.began)
    }
}

/// Time since the machine was started, suspend included; never goes back.
fn boot_time() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// The time of day, in seconds since 1970-01-01 UTC, as the system has it: it may jump.
#[must_use]
pub fn unix() -> i64 {
    clock_gettime(ClockId::Realtime).tv_sec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_only_moves_forward() {
        let clock = Clock::start();
        let mut last = clock.now();
        for _ in 0..1000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
    }
}
