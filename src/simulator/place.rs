//! Where hosts are and how they are connected: rates, delays, loss.
//!
//! A host's access line has an up and a down rate; between two hosts lies a delay of 20 to 120 ms one way, made of both
//! access lines and the distance of their regions. A path over a lossy line carries what NewReno makes of it
//! (1.22 x MSS / (RTT x sqrt(p)): 0.4 MB/s at 50 ms and 0.5 %), and no path more than its 256 KiB in flight. One message
//! in two hundred comes late over it.

use std::time::Duration;

use crate::delivery::chance::{Chance, mix};
use crate::model::units::BitsPerSecond;

/// The shortest delay between two parties, one way: what one does is seen by another no sooner.
pub const NEAREST: Duration = Duration::from_millis(20);
/// The same between processes of one machine.
pub const SAME_MACHINE: Duration = Duration::from_millis(1);
/// The longest.
pub const FARTHEST: Duration = Duration::from_millis(120);
/// A data channel has at most so much in flight (the daemon's send buffer).
const IN_FLIGHT: f64 = 256.0 * 1024.0;
/// SCTP payload of one packet.
const MSS: f64 = 1191.0;
/// Loss of a lossy line.
const LOSS: f64 = 0.005;
/// The shortest time until a message that was lost is sent again.
const RESENT: Duration = Duration::from_secs(1);
/// Of a line's rate, what is left for pieces after IP, UDP, DTLS, SCTP and our own small messages.
const PAYLOAD: f64 = 0.92;
/// Regions in the world, on a circle.
const REGIONS: u64 = 6;

/// How uplinks differ among those who can upload: share of hosts, and rate as a multiple of the mean.
const UPLINKS: [(f64, f64); 4] = [(0.25, 0.35), (0.35, 0.7), (0.25, 1.17), (0.15, 2.4667)];

/// One host's line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Payload bytes per microsecond upwards; 0: it can't upload.
    pub up: f32,
    /// Payload bytes per microsecond downwards.
    pub down: f32,
    /// Its region.
    pub region: u8,
    /// Its provider.
    pub provider: u8,
    /// One-way delay of its access line, in ms.
    pub access: u8,
    /// Its line loses packets.
    pub lossy: bool,
}

/// What lines are like in a scenario.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lines {
    /// Mean uplink of all hosts, those that can't upload included.
    pub uplink: BitsPerSecond,
    /// Share of hosts that can't upload.
    pub mute: f64,
    /// Share of hosts with a lossy line.
    pub lossy: f64,
    /// All on one machine: no delay worth the name, no limit worth the name.
    pub local: bool,
}

impl Lines {
    /// The shortest delay between any two parties.
    #[must_use]
    pub fn nearest(&self) -> Duration {
        if self.local { SAME_MACHINE } else { NEAREST }
    }
}

impl Place {
    /// The line of host `index` of the world with this seed.
    #[must_use]
    pub fn of(seed: u64, index: u32, lines: &Lines) -> Self {
        let mut chance = Chance::new(mix(seed ^ 0x9E37) ^ u64::from(index) << 20);
        let bytes = |rate: f64| (rate / 8e6 * PAYLOAD) as f32;
        if lines.local {
            return Self { up: 40.0, down: 40.0, region: 0, provider: 0, access: 0, lossy: false };
        }
        let mute = chance.unit() < lines.mute;
        let (mut draw, mut factor) = (chance.unit(), UPLINKS[UPLINKS.len() - 1].1);
        for (share, times) in UPLINKS {
            if draw < share {
                factor = times;
                break;
            }
            draw -= share;
        }
        let mean = lines.uplink.0 as f64 / (1.0 - lines.mute).max(0.01);
        Self {
            up: if mute { 0.0 } else { bytes(mean * factor) },
            down: bytes([20e6, 50e6, 100e6][chance.below(3)]),
            region: chance.below(REGIONS as usize) as u8,
            provider: (chance.unit() * 10.0) as u8,
            access: 10 + chance.below(21) as u8,
            lossy: chance.unit() < lines.lossy,
        }
    }

    /// One-way delay to another host.
    #[must_use]
    pub fn delay(&self, other: &Self) -> Duration {
        let apart = u64::from(self.region.abs_diff(other.region));
        let around = apart.min(REGIONS - apart);
        let far = 20 * around;
        let sum = u64::from(self.access) + u64::from(other.access) + far;
        Duration::from_millis(sum).clamp(self.nearest(), FARTHEST)
    }

    fn nearest(&self) -> Duration {
        if self.access == 0 { SAME_MACHINE } else { NEAREST }
    }

    /// One-way delay to the nearest edge of the origin, or to the tracker.
    #[must_use]
    pub fn delay_to_service(&self) -> Duration {
        if self.access == 0 {
            SAME_MACHINE
        } else {
            Duration::from_millis(u64::from(self.access) + 5).max(NEAREST)
        }
    }

    /// Of all that is said to `other`, the share that is lost at first.
    #[must_use]
    pub fn loss(&self, other: &Self) -> f64 {
        if self.lossy || other.lossy { LOSS } else { 0.0 }
    }

    /// How long it takes until something that was lost is sent again. A message is rarely followed by others whose coming
    /// would tell of its loss: the timer does, which is a second at least (RFC 9260, RTO.Min).
    #[must_use]
    pub fn resent_after(&self, other: &Self) -> Duration {
        (self.delay(other) * 2).max(RESENT)
    }

    /// What one data channel to `other` carries at most, in bytes per microsecond.
    #[must_use]
    pub fn channel(&self, other: &Self) -> f32 {
        let trip = self.delay(other).as_micros() as f64 * 2.0;
        let window = IN_FLIGHT / trip;
        let reno = 1.22 * MSS / (trip * LOSS.sqrt());
        (if self.lossy || other.lossy { window.min(reno) } else { window }) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: Lines = Lines { uplink: BitsPerSecond(3_000_000), mute: 0.3, lossy: 0.1, local: false };

    #[test]
    fn the_mean_uplink_and_the_mute_are_as_asked() {
        let places: Vec<Place> = (0..20_000).map(|i| Place::of(1, i, &LINES)).collect();
        let mean = places.iter().map(|p| f64::from(p.up)).sum::<f64>() / 20_000.0 * 8e6 / PAYLOAD;
        assert!((2.9e6..3.1e6).contains(&mean), "{mean}");
        let mute = places.iter().filter(|p| p.up == 0.0).count();
        assert!((5_700..6_300).contains(&mute), "{mute}");
    }

    #[test]
    fn a_lossy_path_carries_what_was_measured() {
        let place = |lossy| Place { up: 1.0, down: 1.0, region: 0, provider: 0, access: 12, lossy };
        // 25 ms one way: a round trip of about 50 ms.
        let lossy = place(true).channel(&place(false)) * 1e6;
        assert!((380_000.0..450_000.0).contains(&lossy), "{lossy} bytes per second");
        let clean = place(false).channel(&place(false)) * 1e6;
        assert!((5_000_000.0..5_600_000.0).contains(&clean), "{clean} bytes per second");
    }

    #[test]
    fn delays_lie_within_their_bounds() {
        let places: Vec<Place> = (0..200).map(|i| Place::of(3, i, &LINES)).collect();
        let delays: Vec<Duration> = places.iter().flat_map(|a| places.iter().map(|b| a.delay(b))).collect();
        assert!(delays.iter().all(|d| (NEAREST..=FARTHEST).contains(d)));
        assert!(delays.iter().max() > Some(&Duration::from_millis(110)));
    }
}
