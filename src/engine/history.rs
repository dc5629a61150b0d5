//! What came and went in the last minutes, so that a dashboard that is opened now has a past to show.
//!
//! It is noted when the engine runs anyway: nothing wakes for it, and while nothing plays nothing is noted. What is kept
//! of a stream goes with the stream.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Handle;
use super::brain::Question;
use super::report::seconds;
use crate::delivery::account::Bytes;
use crate::model::ids::SwarmId;
use crate::model::time::Time;

/// From one point to the next, at least.
const EVERY_US: u64 = 5_000_000;
/// Points that are kept: three minutes of them, which is what a dashboard shows.
const KEPT: usize = 37;

/// Bytes since the start at moments, oldest first.
#[derive(Debug, Default)]
struct History {
    points: VecDeque<(Time, Sums)>,
}

/// From peers, from origins and to peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    p2p: u64,
    http: u64,
    up: u64,
}

/// Of all streams together since the start, and of each that is watched.
#[derive(Debug, Default)]
pub struct Past {
    all: History,
    streams: HashMap<SwarmId, History>,
}

impl Past {
    /// Call it as often as you like, with the account of all and of each stream that is watched.
    pub fn note(
        &mut self,
        now: Time,
        all: impl FnOnce() -> Bytes,
        streams: impl Iterator<Item = (SwarmId, Bytes)>,
    ) {
        if !self.all.is_due(now) {
            return;
        }
        self.all.note(now, all().into());
        for (swarm, bytes) in streams {
            self.streams.entry(swarm).or_default().note(now, bytes.into());
        }
    }

    /// Nothing has played yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.points.is_empty()
    }

    /// Nobody watches this stream any more.
    pub fn forget(&mut self, swarm: SwarmId) {
        self.streams.remove(&swarm);
    }

    /// What a page is told first: of all together and of each stream when, and how many bytes until then, from peers,
    /// from origins and to peers.
    #[must_use]
    pub fn document(&self) -> Value {
        let streams = self.streams.iter().map(|(swarm, history)| (swarm.to_string(), history.document()));
        json!({ "totals": self.all.document(), "streams": streams.collect::<Map<_, _>>() })
    }
}

impl Handle {
    /// What came and went in the last minutes, which a dashboard is told first; null when the engine is gone.
    pub async fn past(&self) -> Value {
        self.ask(Question::Past).await.unwrap_or_default()
    }
}

impl History {
    fn is_due(&self, now: Time) -> bool {
        self.points.back().is_none_or(|(at, _)| *at + steps(1) <= now)
    }

    fn note(&mut self, now: Time, sums: Sums) {
        match self.points.back().map(|(at, _)| *at) {
            // It began after the others were noted last.
            None => self.push(now.back(steps(1)), Sums::default()),
            // What came since came at once, or something would have run: a rate is not spread over a pause.
            Some(last) if last + steps(3) < now => {
                self.push(last + steps(1), sums);
                self.push(last + steps(2), sums);
            }
            Some(_) => {}
        }
        self.push(now, sums);
    }

    fn push(&mut self, at: Time, sums: Sums) {
        if self.points.len() == KEPT {
            self.points.pop_front();
        }
        self.points.push_back((at, sums));
    }

    fn document(&self) -> Value {
        let point =
            |(at, sums): &(Time, Sums)| json!([seconds(at.as_micros()), sums.p2p, sums.http, sums.up]);
        self.points.iter().map(point).collect()
    }
}

/// So many times from one point to the next.
fn steps(count: u64) -> Duration {
    Duration::from_micros(EVERY_US * count)
}

impl From<Bytes> for Sums {
    fn from(bytes: Bytes) -> Self {
        Self { p2p: bytes.p2p, http: bytes.http, up: bytes.uploaded }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SwarmId = SwarmId([1; 20]);
    const B: SwarmId = SwarmId([2; 20]);

    fn at(tenths: u64) -> Time {
        Time::from_micros(tenths * 100_000)
    }

    fn bytes(http: u64) -> Bytes {
        Bytes { http, ..Bytes::default() }
    }

    #[test]
    fn a_point_is_kept_every_five_seconds_and_three_minutes_of_them() {
        let mut past = Past::default();
        for tenths in 100..5000 {
            past.note(at(tenths), || bytes(tenths), [(A, bytes(tenths))].into_iter());
        }
        for history in [&past.all, &past.streams[&A]] {
            let points = history.points.iter().map(|(at, sums)| (at.as_micros() / 100_000, sums.http));
            let points: Vec<_> = points.collect();
            assert_eq!((points.len(), points[0]), (KEPT, (3150, 3150)));
            assert!(points.is_sorted_by(|a, b| a.0 + 50 == b.0), "{points:?}");
        }
    }

    #[test]
    fn a_stream_begins_at_nothing_and_goes_when_nobody_watches_it() {
        let mut past = Past::default();
        past.note(at(100), || bytes(1), [(A, bytes(1))].into_iter());
        past.note(at(120), || bytes(2), [(A, bytes(2)), (B, bytes(1))].into_iter());
        past.note(at(150), || bytes(9), [(A, bytes(5)), (B, bytes(4))].into_iter());
        let [a, b] = [A, B].map(|swarm| swarm.to_string());
        let document = past.document();
        assert_eq!(document["totals"], json!([[5.0, 0, 0, 0], [10.0, 0, 1, 0], [15.0, 0, 9, 0]]));
        assert_eq!(document["streams"][&a], json!([[5.0, 0, 0, 0], [10.0, 0, 1, 0], [15.0, 0, 5, 0]]));
        assert_eq!(document["streams"][&b], json!([[10.0, 0, 0, 0], [15.0, 0, 4, 0]]));
        past.forget(A);
        assert_eq!(past.streams.keys().collect::<Vec<_>>(), [&B]);
    }

    #[test]
    fn what_came_before_a_pause_is_not_spread_over_it() {
        let mut past = Past::default();
        past.note(at(100), || bytes(1), [].into_iter());
        past.note(at(600), || bytes(3), [].into_iter());
        let points = [[5.0, 0.0], [10.0, 1.0], [15.0, 3.0], [20.0, 3.0], [60.0, 3.0]];
        let told = past.document()["totals"].as_array().unwrap().clone();
        let told: Vec<_> =
            told.iter().map(|point| [0, 2].map(|column| point[column].as_f64().unwrap())).collect();
        assert_eq!(told, points);
    }
}
