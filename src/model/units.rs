//! Quantities that carry their unit.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

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
        Self(millionths(bytes, micros))
    }

    /// How long `bytes` take at this rate; `None` at rate zero.
    #[must_use]
    pub fn time_for(self, bytes: u64) -> Option<Duration> {
        let micros = (self.0 != 0).then(|| millionths(bytes, u128::from(self.0)))?;
        Some(Duration::from_micros(micros))
    }
}

/// A million times so many bytes' bits, by a divisor that is not zero. To divide 128 bits takes ten times as long, and
/// only terabytes need it.
fn millionths(bytes: u64, by: u128) -> u64 {
    match (bytes.checked_mul(8_000_000), u64::try_from(by)) {
        (Some(bits), Ok(by)) => bits / by,
        _ => u64::try_from(u128::from(bytes) * 8_000_000 / by).unwrap_or(u64::MAX),
    }
}

impl BitsPerSecond {
    /// `2000000`, `500k`, `2M`, `1.5M` or `1G`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (number, unit) = match text.char_indices().last()? {
            (at, 'k' | 'K') => (&text[..at], 1_000),
            (at, 'M') => (&text[..at], 1_000_000),
            (at, 'G') => (&text[..at], 1_000_000_000),
            _ => (text, 1),
        };
        // A whole number is read to the last bit, so that whatever is written is read back.
        if let Ok(number) = number.parse::<u64>() {
            return number.checked_mul(unit).map(Self);
        }
        let bits = number.parse::<f64>().ok()? * unit as f64;
        // Up to there the conversion is exact enough, and no line is faster.
        (0.0..1e18).contains(&bits).then_some(Self(bits as u64))
    }
}

impl Serialize for BitsPerSecond {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            bits if bits > 0 && bits % 1_000_000 == 0 => {
                serializer.serialize_str(&format!("{}M", bits / 1_000_000))
            }
            bits => serializer.serialize_str(&bits.to_string()),
        }
    }
}

impl<'de> Deserialize<'de> for BitsPerSecond {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Number(bits) => Ok(Self(bits)),
            Written::Text(text) => Self::parse(&text).ok_or_else(|| {
                serde::de::Error::custom(format!(
                    "`{text}` is no rate; write bits per second, like 2000000, 500k or 2M"
                ))
            }),
        }
    }
}

/// A quantity in a configuration: as a number, or with a unit.
#[derive(Deserialize)]
#[serde(untagged, expecting = "neither a whole number nor text with a unit")]
enum Written {
    Number(u64),
    Text(String),
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

/// A number of bytes, written as one or with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl Size {
    /// `1048576`, `1024KiB`, `1 MiB`, `1GB`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let number: u64 = text[..digits].parse().ok()?;
        let factor = match text[digits..].trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "kib" | "k" => 1 << 10,
            "mib" | "m" => 1 << 20,
            "gib" | "g" => 1 << 30,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            _ => return None,
        };
        number.checked_mul(factor).map(Self)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..1_000_000_000 => write!(f, "{:.1} MB", self.0 as f64 / 1e6),
            _ => write!(f, "{:.1} GB", self.0 as f64 / 1e9),
        }
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            bytes if bytes > 0 && bytes % (1 << 20) == 0 => {
                serializer.serialize_str(&format!("{}MiB", bytes >> 20))
            }
            bytes if bytes > 0 && bytes % 1_000_000 == 0 => {
                serializer.serialize_str(&format!("{}MB", bytes / 1_000_000))
            }
            bytes => serializer.serialize_str(&bytes.to_string()),
        }
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Number(bytes) => Ok(Self(bytes)),
            Written::Text(text) => Self::parse(&text).ok_or_else(|| {
                serde::de::Error::custom(format!("`{text}` is no size; write it like 256MiB or 2GB"))
            }),
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

    #[test]
    fn rates_have_units() {
        for (text, bits) in
            [("0", 0), ("2000000", 2_000_000), ("500k", 500_000), ("1.5M", 1_500_000), ("1G", 1_000_000_000)]
        {
            assert_eq!(BitsPerSecond::parse(text), Some(BitsPerSecond(bits)), "{text}");
            let written = serde_json::to_string(&BitsPerSecond(bits)).unwrap();
            assert_eq!(serde_json::from_str::<BitsPerSecond>(&written).unwrap().0, bits, "{written}");
        }
        for text in ["", "M", "fast", "-1", "1e99", "2 M", "2MB", "NaN"] {
            assert_eq!(BitsPerSecond::parse(text), None, "{text}");
        }
    }

    #[test]
    fn whatever_rate_is_written_is_read_back() {
        for bits in [
            0,
            1,
            999_999_999,
            1_000_000_000,
            1_234_567_890,
            2_000_000_000_000,
            u64::MAX / 1_000_000 * 1_000_000,
            u64::MAX,
        ] {
            assert_eq!(BitsPerSecond::parse(&bits.to_string()), Some(BitsPerSecond(bits)));
            let written = serde_json::to_string(&BitsPerSecond(bits)).unwrap();
            assert_eq!(serde_json::from_str::<BitsPerSecond>(&written).unwrap().0, bits, "{written}");
        }
        for (text, bits) in [("10G", 10_000_000_000), ("2.5G", 2_500_000_000), ("1000000k", 1_000_000_000)] {
            assert_eq!(BitsPerSecond::parse(text), Some(BitsPerSecond(bits)), "{text}");
        }
        for text in ["18446744073709551616", "99999999999G", "1.5e18", "inf", "1e10G"] {
            assert_eq!(BitsPerSecond::parse(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in
            [("7", Some(7)), ("256MiB", Some(256 << 20)), ("1 gb", Some(1_000_000_000)), ("x", None)]
        {
            assert_eq!(Size::parse(text).map(|s| s.0), bytes, "{text}");
        }
    }
}
