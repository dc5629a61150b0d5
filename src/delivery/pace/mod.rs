//! How fast we upload: the configured cap, and the room that other traffic on this line leaves (RFC 6817).
//!
//! The sign is the round trip of pings: what they take more than their base is a queue. A neighbour's own line can cause
//! it as well as ours, so the neighbour with the least of it counts. Neighbours on our own network don't count at all.

use std::time::Duration;

pub mod base;
pub mod bucket;
pub mod ledbat;
#[cfg(test)]
mod tests;

pub use base::Base;
pub use ledbat::Flight;

use self::bucket::Bucket;
use self::ledbat::Ledbat;
use super::policy::{PROBE, PROBE_PRESSED, Policy, REST_EVERY};
use crate::model::time::Time;
use crate::model::units::BitsPerSecond;

/// Of the cap, half a second's worth may go at once; smaller bursts would leave the link idle between wake-ups.
const CAP_BURST: Duration = Duration::from_millis(500);
/// Of the allowance far less: a burst is a queue.
const BURST: Duration = Duration::from_millis(10);
/// An uplink that nothing of ours has been under way on for this long is empty.
const EMPTY: Duration = Duration::from_millis(500);
/// So long after the last piece neighbours are still pinged often: the next piece is near.
const ACTIVE: Duration = Duration::from_secs(1);

/// When the next piece may go.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Pace {
    last: Option<Time>,
    /// Nothing is under way since.
    empty: Option<Time>,
    /// Until when nothing is sent, so that bases can be seen.
    rests: Option<Time>,
    /// When the uplink was empty last.
    rested: Time,
    background: bool,
    limit: Option<BitsPerSecond>,
    spread: Bucket,
    cap: Bucket,
    ledbat: Ledbat,
}

impl Pace {
    /// Nothing was sent yet.
    #[must_use]
    pub fn new(policy: &Policy, now: Time) -> Self {
        Self {
            cap: Bucket::new(policy.upload_limit, CAP_BURST, now),
            limit: policy.upload_limit,
            background: policy.background,
            ledbat: Ledbat::new(),
            spread: Bucket::new(None, BURST, now),
            rests: None,
            rested: now,
            empty: Some(now),
            last: None,
        }
    }

    /// Takes over what the policy says.
    pub fn change(&mut self, policy: &Policy, now: Time) {
        (self.limit, self.background) = (policy.upload_limit, policy.background);
        self.cap.set_limit(policy.upload_limit, now);
        self.respread(now);
    }

    /// A piece of this length was accepted.
    pub fn wanted(&mut self, bytes: u32, now: Time) {
        self.ledbat.wanted(bytes, now);
        self.respread(now);
    }

    /// Takes what a piece of `bytes` needs, if it may go now behind `queued` bytes.
    pub fn take(&mut self, bytes: u32, queued: u64, now: Time) -> Option<Flight> {
        // Both are looked at each time: a bucket that is not filled would name a moment in the past.
        let (cap, spread) = (self.cap.open(now), self.spread.open(now));
        if self.rests.is_some_and(|until| now < until) || !cap {
            return None;
        }
        if self.background && !self.ledbat.open(queued, bytes) {
            return None;
        }
        if !spread {
            self.ledbat.holds();
            // If nothing is under way it is by our own will.
            self.empty = None;
            return None;
        }
        self.cap.spend(bytes);
        self.spread.spend(bytes);
        self.rests = None;
        if let Some(since) = self.empty.take() {
            self.ledbat.begins(now);
            if now - since >= EMPTY {
                self.rested = now;
            }
        }
        self.last = Some(now);
        Some(self.ledbat.goes(bytes, now))
    }

    /// A piece has left, with `under_way` bytes after it.
    pub fn left(&mut self, bytes: u32, under_way: u64, now: Time) {
        self.ledbat.left(bytes, now);
        if under_way == 0 {
            self.empty = Some(now);
        }
    }

    /// When time lets the next piece go; `None` when it does, or when one that is under way has to be gone first.
    #[must_use]
    pub fn ready_at(&self, now: Time) -> Option<Time> {
        let waits = [self.rests, self.cap.ready_at(), self.spread.ready_at()];
        waits.into_iter().flatten().max().filter(|&at| at > now)
    }

    /// A ping came back; true when pieces that wait may go now.
    pub fn hear(&mut self, base: Duration, round_trip: Duration, now: Time) -> bool {
        let changed = self.background && self.ledbat.hear(base, round_trip, now);
        if changed {
            self.respread(now);
        }
        changed
    }

    fn respread(&mut self, now: Time) {
        self.spread.set_limit(if self.background { self.ledbat.allowance() } else { None }, now);
    }

    /// How fast what waits can be expected to leave: the least of what was measured, what is allowed and the cap. `None`
    /// when nothing is known.
    #[must_use]
    pub fn rate(&self, used: Option<BitsPerSecond>) -> Option<BitsPerSecond> {
        let allowed = if self.background { self.ledbat.allowance() } else { None };
        [used, allowed, self.limit].into_iter().flatten().min()
    }

    /// How far apart neighbours are pinged while pieces leave; `None` while none do, or when nobody would listen.
    #[must_use]
    pub fn probing(&self, now: Time) -> Option<Duration> {
        let active = self.background && self.last.is_some_and(|last| now - last < ACTIVE);
        active.then(|| if self.ledbat.pressed() { PROBE_PRESSED } else { PROBE })
    }

    /// Uploads that never pause hide the base that they are measured by: from now and then nothing goes for a moment.
    /// When that is so, the time at which all neighbours are to be pinged.
    pub fn rest(&mut self, now: Time) -> Option<Time> {
        let tired = self.background && self.empty.is_none() && now - self.rested >= REST_EVERY;
        if !tired {
            return None;
        }
        self.rested = now;
        let drained = now + self.ledbat.drained_after();
        self.rests = Some(drained + BURST);
        Some(drained)
    }
}
