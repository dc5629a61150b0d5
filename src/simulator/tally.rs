//! What is counted while the world runs; shards count for themselves and are added up.

use std::time::Duration;

use super::report::Second;
use crate::delivery::account::{Bytes, Faults, Reason};
use crate::model::time::Time;

/// Width of a bin of the spread, in milliseconds.
pub const BIN_MS: u64 = 20;
/// Bins of the spread: 20 s; later ones count as the last.
const BINS: usize = 1000;

/// How a live segment spread: when the first viewer had its first byte, and when each had all of it.
#[derive(Clone, Debug, Default)]
pub struct Spread {
    /// The first byte at any viewer, after its publication.
    pub first: Option<Duration>,
    /// Viewers that completed it, by the time after its publication.
    pub bins: Vec<u32>,
}

impl Spread {
    fn add(&mut self, other: &Self) {
        self.first = match (self.first, other.first) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        if self.bins.len() < other.bins.len() {
            self.bins.resize(other.bins.len(), 0);
        }
        for (mine, theirs) in self.bins.iter_mut().zip(&other.bins) {
            *mine += theirs;
        }
    }
}

/// Sums over viewers.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// All bytes.
    pub bytes: Bytes,
    /// Bytes after each viewer's first 20 s.
    pub steady: Bytes,
    /// The same, of viewers that keep to the rules.
    pub honest: Bytes,
    /// What went wrong with peers.
    pub faults: Faults,
    /// Segments by reason.
    pub reasons: [u64; Reason::ALL.len()],
    /// Chances to take a first copy, of all viewers together, in billionths: whole numbers add up alike in any order.
    pub draws: u64,
    /// Whether anybody took the segment with this number.
    pub played: Vec<bool>,
    /// Bytes from the origin to viewers that had not seen a picture yet, second by second.
    pub startup: Vec<u64>,
    /// Segments that players took.
    pub segments: u64,
    /// … too late.
    pub late: u64,
    /// Interruptions.
    pub stalls: u64,
    /// Their length.
    pub stalled: Duration,
    /// Start-up times in ms, in no order.
    pub startups: Vec<f32>,
    /// Pieces with wrong content that were kept.
    pub wrong: u64,
    /// Requests of players that failed.
    pub failed: u64,
    /// Messages between peers, other than pieces.
    pub messages: u64,
    /// Their bytes.
    pub message_bytes: u64,
    /// Neighbours at the end.
    pub neighbours: u64,
    /// Viewers counted for that.
    pub viewers: u64,
    /// Events.
    pub events: u64,
    /// Upload capacity over each viewer's stay, in bytes.
    pub capacity: f64,
    /// Second by second.
    pub series: Vec<Second>,
    /// Live segments by their sequence number.
    pub spread: Vec<Spread>,
}

impl Tally {
    /// The entry of a second.
    pub fn second(&mut self, at: Time) -> &mut Second {
        let index = (at.as_micros() / 1_000_000) as usize;
        if self.series.len() <= index {
            self.series.resize(index + 1, Second::default());
        }
        &mut self.series[index]
    }

    /// Segments of steady states, whatever the reason of how they came.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.reasons.iter().sum()
    }

    /// A player took all of the segment with this number.
    pub fn plays(&mut self, sequence: u64) {
        let index = sequence as usize;
        if self.played.len() <= index {
            self.played.resize(index + 1, false);
        }
        self.played[index] = true;
    }

    /// The origin brought bytes to a viewer that has not seen a picture yet.
    pub fn starts(&mut self, at: Time, bytes: u64) {
        let second = (at.as_micros() / 1_000_000) as usize;
        if self.startup.len() <= second {
            self.startup.resize(second + 1, 0);
        }
        self.startup[second] += bytes;
    }

    fn spread_of(&mut self, sequence: u64) -> &mut Spread {
        let index = sequence as usize;
        if self.spread.len() <= index {
            self.spread.resize(index + 1, Spread::default());
        }
        &mut self.spread[index]
    }

    /// A viewer has the first byte of a segment, so long after its publication.
    pub fn first_byte(&mut self, sequence: u64, after: Duration) {
        let spread = self.spread_of(sequence);
        spread.first = Some(spread.first.map_or(after, |first| first.min(after)));
    }

    /// A viewer has all of a segment, so long after its publication.
    pub fn complete(&mut self, sequence: u64, after: Duration) {
        let bin = ((after.as_millis() as u64 / BIN_MS) as usize).min(BINS - 1);
        let spread = self.spread_of(sequence);
        if spread.bins.len() <= bin {
            spread.bins.resize(bin + 1, 0);
        }
        spread.bins[bin] += 1;
    }

    /// Adds what another shard counted.
    pub fn add(&mut self, other: &Self) {
        self.bytes.add(other.bytes);
        self.steady.add(other.steady);
        self.honest.add(other.honest);
        self.faults.add(other.faults);
        for (mine, theirs) in self.reasons.iter_mut().zip(other.reasons) {
            *mine += theirs;
        }
        self.draws += other.draws;
        for (sequence, _) in other.played.iter().enumerate().filter(|(_, played)| **played) {
            self.plays(sequence as u64);
        }
        for (second, bytes) in other.startup.iter().enumerate() {
            self.starts(Time::from_micros(second as u64 * 1_000_000), *bytes);
        }
        self.segments += other.segments;
        self.late += other.late;
        self.stalls += other.stalls;
        self.stalled += other.stalled;
        self.startups.extend_from_slice(&other.startups);
        self.wrong += other.wrong;
        self.failed += other.failed;
        self.messages += other.messages;
        self.message_bytes += other.message_bytes;
        self.neighbours += other.neighbours;
        self.viewers += other.viewers;
        self.events += other.events;
        self.capacity += other.capacity;
        for (index, theirs) in other.series.iter().enumerate() {
            let mine = self.second(Time::from_micros(index as u64 * 1_000_000));
            mine.viewers += theirs.viewers;
            mine.http_bytes += theirs.http_bytes;
            mine.p2p_bytes += theirs.p2p_bytes;
            mine.wasted_bytes += theirs.wasted_bytes;
            mine.stalled += theirs.stalled;
        }
        for (index, theirs) in other.spread.iter().enumerate() {
            self.spread_of(index as u64).add(theirs);
        }
    }
}
