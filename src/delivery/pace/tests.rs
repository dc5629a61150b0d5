//! A model of a household's uplink: one queue that drops what does not fit, our pieces, pings, and somebody's call.
//!
//! Pieces enter the queue in one burst, which is worse than what a transport does; what is dropped comes again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::super::Output;
use super::super::chance::Chance;
use super::super::membership::Membership;
use super::super::neighbours::Neighbour;
use super::super::policy::{Options, Policy};
use super::super::upload::{Queued, Request, Uploads};
use super::{Base, Pace};
use crate::model::ids::{PeerId, SegmentId};
use crate::model::time::Time;
use crate::wire::message::Message;

const PACKET: u32 = 1200;
const SECOND: u64 = 1_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A neighbour's request reaches us.
    Request(usize),
    /// A piece, or what was missing of it, is sent (again).
    Packets(usize, u64, u32),
    /// The driver is done with a piece.
    Sent(usize, u64),
    /// An answer to our ping.
    Pong(usize, u32),
    /// A packet of the call.
    Call,
}

/// What a driver means by "sent".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Means {
    /// The other side has it.
    Acknowledged,
    /// It is in a send buffer of 256 KiB.
    Buffered,
}

struct Away {
    round_trip: Duration,
    /// What its own line adds to everything, by chance, at most.
    loaded: Duration,
    here: bool,
    unsent: u64,
}

struct World {
    now: Time,
    events: BinaryHeap<Reverse<(Time, u64, Event)>>,
    number: u64,
    uploads: Uploads,
    membership: Membership,
    neighbours: Vec<Neighbour>,
    away: Vec<Away>,
    chance: Chance,
    means: Means,
    piece: u32,
    /// Of the uplink, in bits per second.
    rate: u64,
    /// How much the queue holds, as time.
    queue: Duration,
    free_at: Time,
    /// Payload that arrived, in bytes.
    carried: u64,
    call_until: Time,
    call: Vec<Duration>,
    call_lost: u32,
    messages: u64,
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn at(seconds: u64) -> Time {
    Time::from_micros(seconds * SECOND)
}

fn asked(n: usize, segment: SegmentId, piece: u8, bytes: u32) -> Request {
    let (peer, within, merit) = (name(n), Duration::from_secs(4), Duration::ZERO);
    Request { peer, segment, piece, bytes, within, merit, elsewhere: true }
}

fn name(n: usize) -> PeerId {
    PeerId::from_entropy([n as u8 + 1; 12])
}

impl World {
    fn new(rate: u64, piece: u32, round_trips: &[u64], seed: u64) -> Self {
        let policy = Policy::new(&Options::default(), 64 << 20);
        let mut world = Self {
            now: Time::ZERO,
            events: BinaryHeap::new(),
            number: 0,
            uploads: Uploads::new(&policy, Time::ZERO),
            membership: Membership::new(0),
            neighbours: Vec::new(),
            away: Vec::new(),
            chance: Chance::new(seed),
            means: Means::Acknowledged,
            piece,
            rate,
            queue: ms(350),
            free_at: Time::ZERO,
            carried: 0,
            call_until: Time::ZERO,
            call: Vec::new(),
            call_lost: 0,
            messages: 0,
        };
        for &round_trip in round_trips {
            world.join(ms(round_trip));
        }
        world
    }

    fn join(&mut self, round_trip: Duration) {
        let n = self.neighbours.len();
        self.neighbours.push(Neighbour::new(name(n), self.now));
        self.away.push(Away { round_trip, loaded: ms(5), here: true, unsent: 0 });
        self.membership.greet(self.now);
        // A swarm asks for the next piece as soon as it has one; few neighbours ask for two at a time.
        let ahead = if self.neighbours.len() < 4 { 2 } else { 1 };
        for _ in 0..ahead {
            self.plan(ms(500) + round_trip, Event::Request(n));
        }
    }

    fn plan(&mut self, after: Duration, event: Event) {
        self.number += 1;
        self.events.push(Reverse((self.now + after, self.number, event)));
    }

    /// One packet enters the queue: when it is through; `None`: it was dropped.
    fn enqueue(&mut self, bytes: u32) -> Option<Time> {
        let free = self.free_at.max(self.now);
        let needs = Duration::from_nanos(u64::from(bytes) * 8_000_000_000 / self.rate);
        if free - self.now + needs > self.queue {
            return None;
        }
        self.free_at = free + needs;
        Some(self.free_at)
    }

    fn noise(&mut self, n: usize) -> Duration {
        let most = self.away[n].loaded;
        most.mul_f64(self.chance.unit())
    }

    fn run(&mut self, until: Time) {
        loop {
            let mut out = Vec::new();
            let mut wakes = vec![until];
            if let Some(sweep) = self.uploads.rest(self.now) {
                self.membership.ping_all(sweep);
            }
            while let Some((peer, segment, _)) = self.uploads.next(self.now) {
                self.send(peer, segment.0);
            }
            let (neighbours, now) = (&mut self.neighbours, self.now);
            wakes.extend(self.membership.ping(neighbours, now, &mut out).map(|(at, _)| at));
            wakes.extend(self.membership.probe(neighbours, &self.uploads, now, &mut out).map(|(at, _)| at));
            wakes.extend(self.uploads.ready_at(now));
            assert!(wakes.iter().all(|&at| at > now || at == until), "a wake-up that changes nothing");
            for output in out {
                self.say(output);
            }
            let next = self.events.peek().map_or(until, |Reverse((at, ..))| *at);
            let wake = wakes.into_iter().min().unwrap_or(until);
            self.now = self.now.max(wake.min(next));
            if self.now >= until {
                return;
            }
            if next <= self.now
                && let Some(Reverse((_, _, event))) = self.events.pop()
            {
                self.happens(event);
            }
        }
    }

    fn send(&mut self, peer: PeerId, number: u64) {
        let n = self.neighbours.iter().position(|x| x.peer == peer).unwrap();
        self.away[n].unsent += u64::from(self.piece);
        self.plan(Duration::ZERO, Event::Packets(n, number, self.piece.div_ceil(PACKET)));
        if self.means == Means::Buffered && self.away[n].unsent <= 256 << 10 {
            self.plan(Duration::ZERO, Event::Sent(n, number));
        }
    }

    fn say(&mut self, output: Output) {
        let Output::Say { peer, message: Message::Ping { nonce, reply: false } } = output else { panic!() };
        self.messages += 1;
        let n = self.neighbours.iter().position(|x| x.peer == peer).unwrap();
        // A lost ping is sent again by the transport.
        let through = self.enqueue(100).unwrap_or(self.now + ms(1000));
        let wait = through - self.now + self.away[n].round_trip + self.noise(n);
        self.plan(wait, Event::Pong(n, nonce));
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Request(n) => self.request(n),
            Event::Packets(n, number, count) => self.packets(n, number, count),
            Event::Sent(n, number) => {
                self.uploads.sent(name(n), SegmentId(number), 0, self.now);
            }
            Event::Pong(n, nonce) => {
                let Some((sent, at)) = self.neighbours[n].ping else { return };
                assert_eq!(sent, nonce, "a ping was overtaken by the next");
                let took = self.now - at;
                (self.neighbours[n].ping, self.neighbours[n].round_trip) = (None, Some(took));
                if let Some(base) = self.neighbours[n].base.learn(took, self.now) {
                    self.uploads.heard(base, took, self.now);
                }
            }
            Event::Call => {
                match self.enqueue(PACKET) {
                    Some(through) => self.call.push(through - self.now),
                    None => self.call_lost += 1,
                }
                if self.now < self.call_until {
                    self.plan(Duration::from_micros(6_400), Event::Call);
                }
            }
        }
    }

    fn request(&mut self, n: usize) {
        if !self.away[n].here {
            return;
        }
        self.number += 1;
        let round_trip = self.away[n].round_trip;
        match self.uploads.request(asked(n, SegmentId(self.number), 0, self.piece), self.now) {
            Queued::Accepted => {}
            Queued::Busy(hint) => {
                let pause = ms(100).mul_f64(1.0 + 2.0 * self.chance.unit()).max(hint);
                self.plan(pause + round_trip, Event::Request(n));
            }
            Queued::Refused | Queued::Spent => panic!("every request is a new one"),
        }
    }

    fn packets(&mut self, n: usize, number: u64, count: u32) {
        let (mut lost, mut through) = (0, self.now);
        for _ in 0..count {
            match self.enqueue(PACKET) {
                Some(at) => through = at,
                None => lost += 1,
            }
        }
        let round_trip = self.away[n].round_trip + self.noise(n);
        if lost > 0 {
            self.plan(self.queue + round_trip, Event::Packets(n, number, lost));
            return;
        }
        self.carried += u64::from(self.piece);
        self.away[n].unsent -= u64::from(self.piece);
        let arrives = through - self.now + round_trip;
        self.plan(arrives, Event::Request(n));
        // Does nothing where the driver has said so before.
        self.plan(arrives, Event::Sent(n, number));
    }

    fn call(&mut self, until: Time) {
        self.call_until = until;
        self.call.clear();
        self.plan(Duration::ZERO, Event::Call);
    }

    /// The part of the uplink that our payload took from now until then.
    fn share(&mut self, until: Time) -> f64 {
        let (before, began) = (self.carried, self.now);
        self.run(until);
        (self.carried - before) as f64 * 8.0 / (until - began).as_secs_f64() / self.rate as f64
    }

    /// The call's delay since it was last asked: what 99 of 100 packets stay within, and the worst.
    fn called(&mut self) -> (Duration, Duration) {
        let mut delays = std::mem::take(&mut self.call);
        delays.sort_unstable();
        (delays[delays.len() * 99 / 100], delays[delays.len() - 1])
    }
}

const NEAR_AND_FAR: [u64; 12] = [20, 25, 30, 40, 40, 50, 60, 60, 80, 90, 100, 120];

#[test]
fn alone_on_its_uplink_it_uses_nine_tenths_of_it() {
    for (rate, piece, neighbours, least) in [
        // A piece takes an eighth of a second here.
        (1_000_000, 16 << 10, 12, 0.88),
        (3_000_000, 16 << 10, 12, 0.92),
        (3_000_000, 64 << 10, 12, 0.90),
        (3_000_000, 16 << 10, 4, 0.92),
        (20_000_000, 64 << 10, 12, 0.90),
        (40_000_000, 64 << 10, 12, 0.95),
    ] {
        for seed in 0..2 {
            let mut world = World::new(rate, piece, &NEAR_AND_FAR[..neighbours], seed);
            world.run(at(5));
            let share = world.share(at(35));
            assert!(share > least, "{share:.3} of {rate} bit/s with {neighbours} neighbours");
        }
    }
}

#[test]
fn a_call_on_the_same_uplink_does_not_notice() {
    for (means, neighbours, seed) in [
        (Means::Acknowledged, 12, 0),
        (Means::Acknowledged, 4, 1),
        (Means::Acknowledged, 12, 2),
        (Means::Buffered, 12, 3),
        (Means::Buffered, 4, 4),
    ] {
        let mut world = World::new(3_000_000, 16 << 10, &NEAR_AND_FAR[..neighbours], seed);
        world.means = means;
        world.run(at(20));
        world.call(at(50));
        world.run(at(if means == Means::Acknowledged { 22 } else { 24 }));
        let (onset, name) = (world.called().1, format!("{means:?}, {neighbours} neighbours"));
        // Where "sent" means no more than "in the buffer", only pings tell, and the queue may fill once.
        let bound = if means == Means::Acknowledged { ms(300) } else { world.queue };
        assert!(onset <= bound, "{name}: {onset:?} as the call begins");
        let lost = world.call_lost;
        let share = world.share(at(50));
        let (most, worst) = world.called();
        assert!(
            most < ms(if means == Means::Acknowledged { 110 } else { 125 }) && worst < ms(150),
            "{name}: {most:?} and {worst:?}"
        );
        assert_eq!(world.call_lost, lost, "{name}");
        assert!(lost == 0 || means == Means::Buffered, "{name}: {lost} packets as the call begins");
        // Half of the uplink is the call's.
        assert!(share > 0.44, "{name}: {share:.2} of the uplink beside the call");
        world.run(at(54));
        let share = world.share(at(58));
        assert!(share > 0.85, "{name}: {share:.2} of the uplink after the call");
    }
}

#[test]
fn an_uplink_that_is_never_full_limits_nothing() {
    for (round_trips, jitter) in [([1; 12], 2), (NEAR_AND_FAR, 5)] {
        let carried = |background: bool| {
            let mut world = World::new(1_000_000_000, 16 << 10, &round_trips, 1);
            let options = Options { background, ..Options::default() };
            world.uploads.change(&Policy::new(&options, 64 << 20), Time::ZERO);
            world.away.iter_mut().for_each(|away| away.loaded = ms(jitter));
            world.run(at(10));
            world.share(at(12))
        };
        let (on, off) = (carried(true), carried(false));
        assert!(on > 0.9 * off, "{on:.4} of the uplink and not {off:.4}");
    }
}

#[test]
fn what_the_lines_of_neighbours_add_is_not_our_queue() {
    let mut world = World::new(3_000_000, 16 << 10, &NEAR_AND_FAR, 1);
    world.away.iter_mut().step_by(2).for_each(|away| away.loaded = ms(400));
    world.run(at(5));
    let share = world.share(at(35));
    assert!(share > 0.75, "{share:.2} of the uplink");
}

#[test]
fn bases_are_seen_however_long_the_uplink_is_full_and_whoever_comes() {
    let mut world = World::new(3_000_000, 16 << 10, &NEAR_AND_FAR[..6], 1);
    let mut queues = Vec::new();
    for step in 1..3_000 {
        world.run(Time::from_micros(step * 100_000));
        if step % 300 == 0 {
            // Somebody new, who has never seen the uplink without our queue, for somebody who goes.
            world.away[(step / 300) as usize - 1].here = false;
            world.join(ms(30));
        }
        queues.push(world.free_at - world.now);
    }
    let late = &mut queues[2_400..];
    late.sort_unstable();
    let most = late[late.len() * 95 / 100];
    assert!(most < ms(120), "{most:?} after five minutes");
}

#[test]
fn an_uplink_that_others_fill_still_lets_a_little_through() {
    let mut world = World::new(1_600_000, 16 << 10, &NEAR_AND_FAR, 1);
    world.run(at(5));
    world.call(at(60));
    world.run(at(10));
    let before = world.carried;
    world.run(at(60));
    let pieces = (world.carried - before) / u64::from(world.piece);
    assert!((20..=120).contains(&pieces), "{pieces} pieces in 50 s");
}

#[test]
fn a_queue_is_not_expected_to_leave_faster_than_it_may() {
    let mut world = World::new(3_000_000, 16 << 10, &NEAR_AND_FAR, 1);
    world.means = Means::Buffered;
    world.run(at(20));
    world.call(at(60));
    // The buffer takes pieces at any rate; what is refused goes by what is allowed: half a second of 1.5 Mbit/s is six
    // pieces, and whoever already waits counts.
    let mut most = 0;
    for step in 0..100 {
        world.run(Time::from_micros(30 * SECOND + step * 100_000));
        let mut uploads = world.uploads.clone();
        let more = (0..60).filter(|&n| {
            let request = asked(100 + n, SegmentId(1), n as u8, world.piece);
            uploads.request(request, world.now) == Queued::Accepted
        });
        most = most.max(more.count());
    }
    assert!((1..=9).contains(&most), "{most} more pieces accepted on 1.5 Mbit/s");
}

#[test]
fn what_is_kept_of_the_uplink_is_small() {
    assert!(size_of::<Pace>() + 15 * size_of::<Base>() < 1024, "{}", size_of::<Pace>());
}
