//! An uplink that many flows share: each gets an equal part, but none more than its own path carries.

use std::time::Duration;

use crate::model::time::Time;

/// A piece on its way out.
#[derive(Clone, Copy, Debug)]
pub struct Flow<T> {
    /// What it is.
    pub what: T,
    /// Bytes still to leave.
    left: f32,
    /// The most its path carries, in bytes per microsecond.
    most: f32,
    /// What it gets now.
    rate: f32,
}

/// Everything that is leaving a host.
#[derive(Clone, Debug)]
pub struct Uplink<T> {
    rate: f32,
    flows: Vec<Flow<T>>,
    since: Time,
    next: Option<Time>,
}

impl<T: Copy> Uplink<T> {
    /// An idle uplink of `rate` bytes per microsecond.
    #[must_use]
    pub fn new(rate: f32) -> Self {
        Self { rate, flows: Vec::new(), since: Time::ZERO, next: None }
    }

    /// A piece of `bytes` begins to leave over a path that carries at most `most`.
    pub fn send(&mut self, now: Time, what: T, bytes: u32, most: f32) {
        self.run(now);
        self.flows.push(Flow { what, left: bytes as f32, most, rate: 0.0 });
        self.share();
    }

    /// When the next piece will have left; `None` when nothing is leaving.
    #[must_use]
    pub fn next(&self) -> Option<Time> {
        self.next
    }

    fn plan(&mut self) {
        let wait = |f: &Flow<T>| (f.left / f.rate.max(1e-9)).ceil().max(0.0) as u64;
        let least = self.flows.iter().map(wait).min();
        self.next = least.map(|us| self.since + Duration::from_micros(us.max(1)));
    }

    /// A piece that has left by `now`.
    pub fn left(&mut self, now: Time) -> Option<T> {
        if self.next.is_none_or(|next| next > now) {
            return None;
        }
        self.run(now);
        let Some(at) = self.flows.iter().position(|f| f.left <= 0.5) else {
            self.plan();
            return None;
        };
        let flow = self.flows.remove(at);
        self.share();
        Some(flow.what)
    }

    /// Forgets what is on its way to where it is no longer wanted.
    pub fn retain(&mut self, now: Time, keep: impl Fn(&T) -> bool) {
        self.run(now);
        self.flows.retain(|f| keep(&f.what));
        self.share();
    }

    /// Whether something like this is leaving.
    pub fn any(&self, is: impl Fn(&T) -> bool) -> bool {
        self.flows.iter().any(|f| is(&f.what))
    }

    /// How long what is said now waits before the uplink: behind all that is leaving, but for what its own path holds back.
    #[must_use]
    pub fn queue(&self, now: Time) -> Duration {
        let since = (now - self.since).as_micros() as f32;
        let stands = |f: &Flow<T>| if f.rate < f.most { (f.left - f.rate * since).max(0.0) } else { 0.0 };
        let bytes: f32 = self.flows.iter().map(stands).sum();
        if bytes > 0.0 { Duration::from_micros((bytes / self.rate) as u64) } else { Duration::ZERO }
    }

    fn run(&mut self, now: Time) {
        let us = (now - self.since).as_micros() as f32;
        for flow in &mut self.flows {
            flow.left -= flow.rate * us;
        }
        self.since = self.since.max(now);
    }

    /// Water-filling: paths that carry less than an equal part leave the rest to the others.
    fn share(&mut self) {
        self.divide();
        self.plan();
    }

    fn divide(&mut self) {
        self.flows.iter_mut().for_each(|f| f.rate = 0.0);
        let (mut rate, mut open) = (self.rate, self.flows.len());
        while open > 0 {
            let part = rate / open as f32;
            let mut limited = false;
            for flow in self.flows.iter_mut().filter(|f| f.rate == 0.0) {
                if flow.most <= part {
                    flow.rate = flow.most;
                    rate -= flow.most;
                    open -= 1;
                    limited = true;
                }
            }
            if !limited {
                self.flows.iter_mut().filter(|f| f.rate == 0.0).for_each(|f| f.rate = part.max(1e-6));
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_share_and_a_slow_path_leaves_the_rest_to_others() {
        let mut uplink = Uplink::new(1.0);
        uplink.send(Time::ZERO, 'a', 1000, 10.0);
        assert_eq!(uplink.next(), Some(Time::from_micros(1000)));
        uplink.send(Time::ZERO, 'b', 1000, 0.25);
        assert_eq!(uplink.next(), Some(Time::from_micros(1334)), "three quarters for the fast path");
        assert_eq!(uplink.left(Time::from_micros(1334)), Some('a'));
        assert_eq!(uplink.left(Time::from_micros(1334)), None);
        assert_eq!(uplink.next(), Some(Time::from_micros(4000)));
        assert_eq!(uplink.left(Time::from_micros(4000)), Some('b'));
        assert_eq!(uplink.next(), None);
    }
    #[test]
    fn what_is_said_waits_behind_what_stands_before_the_uplink() {
        let mut uplink = Uplink::new(1.0);
        assert_eq!(uplink.queue(Time::ZERO), Duration::ZERO);
        uplink.send(Time::ZERO, 'a', 1000, 0.25);
        assert_eq!(uplink.queue(Time::ZERO), Duration::ZERO, "its path takes it more slowly than the uplink");
        uplink.send(Time::ZERO, 'b', 3000, 10.0);
        assert_eq!(uplink.queue(Time::ZERO), Duration::from_micros(3000));
        assert_eq!(uplink.queue(Time::from_micros(2000)), Duration::from_micros(1500), "half of it has left");
    }
}
