//! What plain HTTP would have brought by when: the same requests of one player, with nobody but the origin to answer them.
//!
//! Requests that are open at the same time share the viewer's line, whoever of them began first; so each is followed byte by
//! byte beside the real ones. The origin's own limit is not known to any one viewer and is not part of it, so that with
//! [`Service::capacity`](super::origin::Service::capacity) HTTP alone is late by this measure; when it is gone is.

use std::time::Duration;

use crate::delivery::AskId;
use crate::model::time::Time;

/// How long a player leaves a request alone that failed.
pub const AGAIN: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
struct Flow {
    ask: AskId,
    /// From the request to the first byte.
    wait: Duration,
    bytes: u32,
    /// When the first byte comes.
    begins: Time,
    left: f64,
    done: Option<Time>,
}

/// A player's requests, as plain HTTP would answer them.
#[derive(Clone, Debug)]
pub struct Plain {
    /// What one answer gets, and what all get together, in bytes per microsecond.
    each: f64,
    all: f64,
    /// When the origin is gone.
    gone: Option<(Time, Time)>,
    flows: Vec<Flow>,
    now: Time,
}

impl Plain {
    /// An origin that gives each answer so many bytes per microsecond, over a line that takes so many.
    #[must_use]
    pub fn new(each: f64, all: f64, gone: Option<(Time, Time)>, now: Time) -> Self {
        Self { each, all, gone, flows: Vec::new(), now }
    }

    /// When the first byte comes of what is asked for at `at`, and again [`AGAIN`] after each answer that is an error. Whether
    /// the origin is back right before a try or right after one is luck: what the unluckiest would have is granted.
    fn begins(&self, at: Time, wait: Duration) -> Time {
        let arrives = at + wait / 2;
        match self.gone.filter(|(from, to)| (*from..*to).contains(&arrives)) {
            Some((_, to)) => to + wait + AGAIN + wait / 2,
            None => at + wait,
        }
    }

    /// A request for so many bytes, of which the first would come after `wait`.
    pub fn asks(&mut self, now: Time, ask: AskId, wait: Duration, bytes: u32) {
        self.run(now);
        let begins = self.begins(now, wait);
        self.flows.push(Flow { ask, wait, bytes, begins, left: f64::from(bytes), done: None });
    }

    /// The origin fails the request, as it would have failed a player's own: it is made again after [`AGAIN`]. One that would
    /// have been over a moment ago was not: its answer is the one that broke off.
    pub fn fails(&mut self, now: Time, ask: AskId) {
        self.run(now);
        self.again(now, |flow| flow.ask == ask);
    }

    /// Every connection breaks off, and is made again [`AGAIN`] after that is found at `found`.
    pub fn breaks(&mut self, now: Time, found: Time) {
        self.run(now);
        self.again(found, |flow| flow.done.is_none());
    }

    /// These are found to have failed at `found`, and made again.
    fn again(&mut self, found: Time, which: impl Fn(&Flow) -> bool) {
        for at in 0..self.flows.len() {
            let Flow { wait, bytes, .. } = self.flows[at];
            if which(&self.flows[at]) {
                let begins = self.begins(found + AGAIN, wait);
                let flow = &mut self.flows[at];
                (flow.begins, flow.left, flow.done) = (begins, f64::from(bytes), None);
            }
        }
    }

    /// The request is over. When plain HTTP would have answered all of it; `None`: later than now.
    pub fn ends(&mut self, now: Time, ask: AskId) -> Option<Time> {
        self.run(now);
        let at = self.flows.iter().position(|flow| flow.ask == ask)?;
        self.flows.remove(at).done
    }

    fn run(&mut self, until: Time) {
        if let Some((from, _)) = self.gone.filter(|(from, _)| self.now < *from && *from <= until) {
            self.flow(from);
            self.again(from, |flow| flow.done.is_none());
        }
        self.flow(until);
    }

    fn flow(&mut self, until: Time) {
        while self.now < until {
            let now = self.now;
            let open = |flow: &&mut Flow| flow.done.is_none();
            let busy = self.flows.iter_mut().filter(open).filter(|flow| flow.begins <= now).count();
            let rate = self.each.min(self.all / busy.max(1) as f64);
            let mut next = until;
            for flow in self.flows.iter_mut().filter(open) {
                let ends = || now + Duration::from_micros((flow.left / rate).ceil().max(1.0) as u64);
                next = next.min(if flow.begins <= now { ends() } else { flow.begins });
            }
            let moved = (next - now).as_micros() as f64 * rate;
            for flow in self.flows.iter_mut().filter(open).filter(|flow| flow.begins <= now) {
                flow.left -= moved;
                flow.done = (flow.left <= 0.0).then_some(next);
            }
            self.now = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_micros(ms * 1000)
    }

    /// 1 MB/s for each, 1.5 MB/s for all; the first byte after 50 ms.
    fn plain(requests: &[(u64, u32)]) -> Plain {
        asked(Plain::new(1.0, 1.5, None, Time::ZERO), requests)
    }

    fn asked(mut plain: Plain, requests: &[(u64, u32)]) -> Plain {
        for (n, &(when, bytes)) in (0..).zip(requests) {
            plain.asks(at(when), AskId(n), Duration::from_millis(50), bytes);
        }
        plain
    }

    #[test]
    fn one_request_takes_its_wait_and_its_bytes() {
        let mut one = plain(&[(100, 500_000)]);
        assert_eq!(one.clone().ends(at(649), AskId(0)), None);
        assert_eq!(one.ends(at(9000), AskId(0)), Some(at(650)));
        assert_eq!(one.ends(at(9000), AskId(0)), None, "it is over");
    }

    #[test]
    fn requests_at_the_same_time_share_the_line() {
        let mut two = plain(&[(0, 300_000), (100, 300_000)]);
        // 100 kB alone, 200 kB at three quarters of the rate; then the second has 100 kB left and all of its own rate.
        assert_eq!(two.ends(at(9000), AskId(0)).map(|t| t.as_micros() / 1000), Some(416));
        assert_eq!(two.ends(at(9000), AskId(1)).map(|t| t.as_micros() / 1000), Some(516));
    }

    #[test]
    fn while_the_origin_is_gone_it_is_asked_again_and_again() {
        let gone = Plain::new(1.0, 1.5, Some((at(1000), at(3000))), Time::ZERO);
        // Broken off halfway; a try arrives just before 3000, and the next 1050 after it.
        assert_eq!(asked(gone.clone(), &[(450, 1_000_000)]).ends(at(9000), AskId(0)), Some(at(5075)));
        assert_eq!(asked(gone.clone(), &[(450, 100_000)]).ends(at(9000), AskId(0)), Some(at(600)));
        assert_eq!(asked(gone, &[(2950, 100_000)]).ends(at(9000), AskId(0)), Some(at(4175)));
    }

    #[test]
    fn a_failure_makes_it_begin_anew() {
        let mut one = plain(&[(0, 100_000)]);
        one.fails(at(100), AskId(0));
        assert_eq!(one.clone().ends(at(9000), AskId(0)), Some(at(1250)));
        one.fails(at(1260), AskId(0));
        assert_eq!(one.ends(at(9000), AskId(0)), Some(at(2410)), "broken off at the very end");
    }
}
