//! Quantities that carry their unit.

use std::fmt;
use std::time::Duration;

/// A rate in bits per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct BitsPerSecond(pub u64);

impl BitsPerSecond {
    /// The rate at which `bytes` moved in `during`; zero for no time at all.
    #[must_use]
    pub fn over(bytes: u64, during: Duration) -> Self {
        let micros = during.as_micros();
        if micros == 0 {
            return Self(0);
        }
        Self(u64::try_from(u128::from(bytes) * 8_000_000 / micros).unwrap_or(u64::MAX))
    }

    /// How long `bytes` take at this rate; `None` at rate zero.
    #[must_use]
    pub fn time_for(self, bytes: u64) -> Option<Duration> {
        let micros = (u128::from(bytes) * 8_000_000).checked_div(u128::from(self.0))?;
        Some(Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for BitsPerSecond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..=999 => write!(f, "{} bit/s", self.0),
            1_000..=999_999 => write!(f, "{:.1} kbit/s", self.0 as f64 / 1e3),
            _ => write!(f, "{:.2} Mbit/s", self.0 as f64 / 1e6),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_and_its_time_agree() {
        let rate = BitsPerSecond::over(500_000, Duration::from_secs(4));
        assert_eq!(rate, BitsPerSecond(1_000_000));
        assert_eq!(rate.time_for(500_000), Some(Duration::from_secs(4)));
        assert_eq!(BitsPerSecond(0).time_for(1), None);
        assert_eq!(BitsPerSecond::over(1, Duration::ZERO), BitsPerSecond(0));
        assert_eq!(rate.to_string(), "1.00 Mbit/s");
    }
}
