//! The publisher's server: so much for each request, so much in all, a time to the first byte, and bad days.
//!
//! All answers under way get the same rate, at most [`Service::each`] and at most an equal part of the capacity. One
//! number, the bytes that an answer begun at time zero would have got by now, therefore places the next step of every
//! answer in one heap, and a request costs the logarithm of those under way.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use super::event::{Incoming, ORIGIN, What};
use super::place::Place;
use crate::delivery::chance::Chance;
use crate::delivery::{Fault, FetchId};
use crate::model::time::Time;
use crate::model::units::BitsPerSecond;

/// Bytes come in portions of this: what a client's read gives at a time.
const PORTION: u32 = 64 * 1024;

/// What the origin can do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Service {
    /// The most that one answer gets.
    pub each: BitsPerSecond,
    /// The most that all get together; `None`: no limit.
    pub capacity: Option<BitsPerSecond>,
    /// From a request's arrival to the first byte.
    pub first_byte: Duration,
    /// Of all requests, the share that is answered with an error (503).
    pub failing: f64,
    /// Of all answers, the share that breaks off somewhere in the middle.
    pub breaking: f64,
    /// When it is gone: what is under way breaks off, what is asked for is an error.
    pub gone: Option<(Duration, Duration)>,
}

impl Service {
    /// When it is gone, from and to.
    #[must_use]
    pub fn absence(&self) -> Option<(Time, Time)> {
        self.gone.map(|(from, to)| (Time::ZERO + from, Time::ZERO + to))
    }

    /// As of when the manifest is that whoever asks at `at` goes by: the last good one, while there is no newer.
    #[must_use]
    pub fn manifest(&self, at: Time) -> Time {
        self.absence().filter(|(from, to)| (*from..*to).contains(&at)).map_or(at, |(from, _)| from)
    }
}

/// A request or the end of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// When it arrives.
    pub at: Time,
    /// From which host.
    pub host: u32,
    /// The host's own number for it.
    pub fetch: FetchId,
    /// The bytes of the segment that are wanted; `None`: the request is withdrawn.
    pub span: Option<(u32, u32)>,
    /// The segment's length.
    pub length: u32,
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    host: u32,
    fetch: FetchId,
    from: u32,
    sent: u32,
    to: u32,
    length: u32,
    began: f64,
    /// Where it breaks off, if it does.
    breaks: Option<u32>,
}

/// The server.
#[derive(Clone, Debug)]
pub struct Origin {
    service: Service,
    chance: Chance,
    arriving: BinaryHeap<Reverse<Request>>,
    answers: BTreeMap<u64, Answer>,
    by_fetch: BTreeMap<(u32, FetchId), u64>,
    steps: BinaryHeap<Reverse<(u64, u64)>>,
    next: u64,
    /// Bytes that an answer begun at time zero would have got.
    progress: f64,
    now: Time,
    /// When it will be gone, until it is.
    goes: Option<Time>,
    sequence: u32,
    /// Bytes sent, second by second.
    pub sent: Vec<u64>,
    /// Requests taken.
    pub requests: u64,
}

impl Origin {
    /// An idle server.
    #[must_use]
    pub fn new(service: Service, seed: u64) -> Self {
        Self {
            service,
            chance: Chance::new(seed),
            arriving: BinaryHeap::new(),
            answers: BTreeMap::new(),
            by_fetch: BTreeMap::new(),
            steps: BinaryHeap::new(),
            next: 0,
            progress: 0.0,
            now: Time::ZERO,
            goes: service.absence().map(|(from, _)| from),
            sequence: 0,
            sent: Vec::new(),
            requests: 0,
        }
    }

    /// A request is on its way.
    pub fn ask(&mut self, request: Request) {
        self.arriving.push(Reverse(request));
    }

    /// Does everything that is due before `end`.
    pub fn run(&mut self, end: Time, places: &[Place], out: &mut Vec<Incoming>) {
        loop {
            let request = self.arriving.peek().map(|Reverse(r)| r.at);
            let step = self.step_at();
            let first = request.into_iter().chain(step).chain([end]).min();
            if let Some(goes) = self.goes.filter(|goes| Some(*goes) < first) {
                self.move_to(goes);
                self.break_off(places, out);
                continue;
            }
            match (request, step) {
                (Some(at), step) if at < end && step.is_none_or(|step| at <= step) => {
                    self.move_to(at);
                    let Some(Reverse(request)) = self.arriving.pop() else { return };
                    self.take(request, places, out);
                }
                (_, Some(step)) if step < end => {
                    self.move_to(step);
                    self.step(places, out);
                }
                _ => return,
            }
        }
    }

    fn rate(&self) -> f64 {
        let each = self.service.each.0 as f64;
        let part = self.service.capacity.map_or(each, |c| c.0 as f64 / self.answers.len().max(1) as f64);
        each.min(part) / 8e6
    }

    fn step_at(&self) -> Option<Time> {
        let Reverse((target, _)) = self.steps.peek()?;
        let left = (f64::from_bits(*target) - self.progress).max(0.0) / self.rate();
        Some(self.now + Duration::from_micros(left.ceil() as u64))
    }

    fn move_to(&mut self, at: Time) {
        self.progress += (at - self.now).as_micros() as f64 * self.rate();
        self.now = self.now.max(at);
    }

    fn take(&mut self, request: Request, places: &[Place], out: &mut Vec<Incoming>) {
        let Request { at, host, fetch, span, length } = request;
        let Some((from, to)) = span else {
            if let Some(id) = self.by_fetch.remove(&(host, fetch)) {
                self.answers.remove(&id);
            }
            return;
        };
        if at < self.now.back(Duration::ZERO) {
            return;
        }
        self.requests += 1;
        let gone = self.service.absence().is_some_and(|(from, to)| (from..to).contains(&at));
        if gone || self.happens(self.service.failing) {
            let what = What::Failed { fetch, fault: Fault::Unavailable };
            self.tell(self.now + self.service.first_byte, host, what, places, out);
            return;
        }
        let id = self.next;
        self.next += 1;
        let began = self.progress + self.service.first_byte.as_micros() as f64 * self.rate();
        let breaks = self.happens(self.service.breaking).then(|| {
            let part = self.chance.unit() * f64::from(to - from);
            from + part as u32
        });
        self.answers.insert(id, Answer { host, fetch, from, sent: from, to, length, began, breaks });
        self.by_fetch.insert((host, fetch), id);
        self.plan(id, from, to, from, began);
    }

    /// Draws for what happens to a share of all.
    fn happens(&mut self, share: f64) -> bool {
        share > 0.0 && self.chance.unit() < share
    }

    /// It is gone: whatever is under way breaks off.
    fn break_off(&mut self, places: &[Place], out: &mut Vec<Incoming>) {
        self.goes = None;
        self.steps.clear();
        self.by_fetch.clear();
        for Answer { host, fetch, .. } in std::mem::take(&mut self.answers).into_values() {
            let what = What::Failed { fetch, fault: Fault::Broken };
            self.tell(self.now, host, what, places, out);
        }
    }

    fn plan(&mut self, id: u64, from: u32, to: u32, sent: u32, began: f64) {
        let next = sent.saturating_add(PORTION).min(to);
        let target = began + f64::from(next - from);
        self.steps.push(Reverse((target.to_bits(), id)));
    }

    fn step(&mut self, places: &[Place], out: &mut Vec<Incoming>) {
        let Some(Reverse((_, id))) = self.steps.pop() else { return };
        let Some(answer) = self.answers.get_mut(&id) else { return };
        let before = answer.sent;
        answer.sent = answer.sent.saturating_add(PORTION).min(answer.to);
        if let Some(breaks) = answer.breaks.filter(|breaks| *breaks < answer.sent) {
            answer.sent = breaks;
        }
        let Answer { host, fetch, from, sent, to, length, began, breaks } = *answer;
        let broken = breaks == Some(sent);
        let second = (self.now.as_micros() / 1_000_000) as usize;
        if self.sent.len() <= second {
            self.sent.resize(second + 1, 0);
        }
        self.sent[second] += u64::from(sent - before);
        let what = What::Portion { fetch, up_to: sent, length, last: sent == to && !broken };
        self.tell(self.now, host, what, places, out);
        if broken {
            let what = What::Failed { fetch, fault: Fault::Broken };
            self.tell(self.now, host, what, places, out);
        }
        if sent == to || broken {
            self.answers.remove(&id);
            self.by_fetch.remove(&(host, fetch));
        } else {
            self.plan(id, from, to, sent, began);
        }
    }

    fn tell(&mut self, at: Time, host: u32, what: What, places: &[Place], out: &mut Vec<Incoming>) {
        self.sequence = self.sequence.wrapping_add(1);
        let at = at + places[host as usize].delay_to_service();
        out.push(Incoming { at, to: host, from: ORIGIN, number: self.sequence, what });
    }
}
