//! A part of the hosts, with what is on its way to them.
//!
//! Time goes in windows as long as the shortest delay of the world. What a host does in one window reaches others in a
//! later one, so within a window every host is on its own: shards may work at the same time, and each takes its hosts
//! one after the other, which keeps a host's memory near while it is used.

use std::collections::VecDeque;
use std::sync::Arc;

use super::event::{Incoming, SCENARIO, What};
use super::host::{Around, Desk, Host, Outbox, SILENCE, Scene};
use super::story::Story;
use super::tally::Tally;
use crate::model::time::Time;

/// What a host acts in: all of a shard but its hosts.
macro_rules! scene {
    ($shard:ident, $now:expr) => {
        Scene {
            around: &$shard.around,
            tally: &mut $shard.tally,
            outbox: &mut $shard.outbox,
            story: &mut $shard.story,
            desk: &mut $shard.desk,
            now: $now,
        }
    };
}

/// Windows that are over and kept to be filled again, and windows ahead that they are for: most of what is on its way
/// arrives within so many.
const SPARE: usize = 8;

/// A host that is woken so often at the same moment is a defect, of its Node or of its player.
const IDLE: u32 = 1000;

/// Hosts of a world, every n-th of them.
#[derive(Debug)]
pub struct Shard {
    around: Arc<Around>,
    hosts: Vec<Option<Box<Host>>>,
    number: u32,
    shards: u32,
    /// What is due in this window and each later one.
    wheel: VecDeque<Vec<Incoming>>,
    /// Windows that are over, emptied, to be used again.
    spare: Vec<Vec<Incoming>>,
    /// In what order the window's events happen: where each stands. Kept from window to window.
    order: Vec<u32>,
    /// How many of them are for each host, and where those begin.
    begins: Vec<u32>,
    /// What has come from other shards' hosts, the origin and the tracker since the last window.
    pub(super) arrived: Vec<Incoming>,
    /// What leaves for the hosts of each other shard in this window.
    pub(super) away: Vec<Vec<Incoming>>,
    window: u64,
    width: u64,
    /// What leaves the shard's hosts in this window.
    pub(super) outbox: Outbox,
    /// What it counted.
    pub(super) tally: Tally,
    pub(super) story: Story,
    desk: Desk,
    /// Hosts that are there.
    pub(super) present: u32,
}

impl Shard {
    /// Shard `number` of `shards`, with no hosts yet.
    #[must_use]
    pub fn new(around: Arc<Around>, number: u32, shards: u32, width: u64) -> Self {
        let count = (around.places.len() as u32 + shards - 1 - number) / shards;
        let story = Story::of(around.traced);
        Self {
            around,
            hosts: (0..count).map(|_| None).collect(),
            number,
            shards,
            wheel: VecDeque::new(),
            spare: Vec::new(),
            order: Vec::new(),
            begins: Vec::new(),
            arrived: Vec::new(),
            away: (0..shards).map(|_| Vec::new()).collect(),
            window: 0,
            width,
            outbox: Outbox::default(),
            tally: Tally::default(),
            story,
            desk: Desk::default(),
            present: 0,
        }
    }

    /// Puts something down for later; what is due already happens in the next window.
    pub(super) fn put(&mut self, incoming: Incoming) {
        let at = (incoming.at.as_micros() / self.width).saturating_sub(self.window) as usize;
        if self.wheel.len() <= at {
            self.wheel.resize_with(at + 1, Vec::new);
        }
        let bucket = &mut self.wheel[at];
        // A window that is far off has little in it, and takes no room from those that fill now.
        if bucket.len() == bucket.capacity()
            && at < SPARE
            && let Some(mut spare) = self.spare.pop()
        {
            spare.append(bucket);
            *bucket = spare;
        }
        bucket.push(incoming);
    }

    /// Lives through one window.
    pub fn work(&mut self) {
        let mut arrived = std::mem::take(&mut self.arrived);
        arrived.drain(..).for_each(|incoming| self.put(incoming));
        self.arrived = arrived;
        let mut bucket = self.wheel.pop_front().unwrap_or_default();
        self.window += 1;
        let end = Time::from_micros(self.window * self.width);
        self.put_in_order(&bucket);
        let order = std::mem::take(&mut self.order);
        let mut turns = order.iter().map(|&at| at as usize).peekable();
        while let Some(first) = turns.next() {
            let index = bucket[first].to;
            self.happens(bucket[first].take(), end);
            while let Some(next) = turns.next_if(|&next| bucket[next].to == index) {
                self.happens(bucket[next].take(), end);
            }
            self.look_ahead(index, end);
        }
        self.order = order;
        bucket.clear();
        if self.spare.len() < SPARE {
            self.spare.push(bucket);
        }
        self.sort_out();
    }

    /// One host after the other, and for each as time goes: by counting, and then by comparing the few that one host has.
    fn put_in_order(&mut self, bucket: &[Incoming]) {
        let (shards, number) = (self.shards, self.number);
        let slot = |event: &Incoming| ((event.to - number) / shards) as usize;
        self.begins.clear();
        self.begins.resize(self.hosts.len() + 1, 0);
        bucket.iter().for_each(|event| self.begins[slot(event) + 1] += 1);
        let mut sum = 0;
        for begin in &mut self.begins {
            sum += *begin;
            *begin = sum;
        }
        self.order.clear();
        self.order.resize(bucket.len(), 0);
        for (at, event) in (0..).zip(bucket) {
            let place = &mut self.begins[slot(event)];
            self.order[*place as usize] = at;
            *place += 1;
        }
        let key = |at: &u32| bucket[*at as usize].key();
        for of_one in self.order.chunk_by_mut(|a, b| bucket[*a as usize].to == bucket[*b as usize].to) {
            of_one.sort_unstable_by_key(key);
        }
    }

    /// What the hosts sent goes to whoever it is for; to be looked at when the next window begins.
    fn sort_out(&mut self) {
        let mut hosts = std::mem::take(&mut self.outbox.hosts);
        for incoming in hosts.drain(..) {
            let shard = incoming.to % self.shards;
            if shard == self.number {
                self.put(incoming);
            } else {
                self.away[shard as usize].push(incoming);
            }
        }
        self.outbox.hosts = hosts;
    }

    fn slot(&self, index: u32) -> usize {
        debug_assert_eq!(index % self.shards, self.number);
        (index / self.shards) as usize
    }

    fn happens(&mut self, event: Incoming, end: Time) {
        let Incoming { at, to, from, what, .. } = event;
        let slot = self.slot(to);
        match what {
            What::Join => self.join(slot, to, at),
            What::Leave(abrupt) => self.leave(slot, at, abrupt),
            what => {
                self.catch_up(slot, at.min(end));
                let Some(host) = self.hosts[slot].as_mut() else {
                    if matches!(what, What::Open | What::Said(_)) {
                        self.nobody(to, from, at);
                    }
                    return;
                };
                let mut scene = scene!(self, at);
                host.meets(from, what, &mut scene);
            }
        }
    }

    /// Whoever speaks to a host that has gone learns it after a while.
    fn nobody(&mut self, to: u32, from: u32, at: Time) {
        if from < SCENARIO {
            let at = at + SILENCE;
            self.outbox.hosts.push(Incoming { at, to: from, from: to, number: 0, what: What::Closed });
        }
    }

    fn join(&mut self, slot: usize, index: u32, at: Time) {
        let mut host = Box::new(Host::new(index, &self.around, at));
        self.present += 1;
        let mut scene = scene!(self, at);
        host.play(&mut scene);
        self.hosts[slot] = Some(host);
    }

    fn leave(&mut self, slot: usize, at: Time, abrupt: bool) {
        self.catch_up(slot, at);
        let Some(host) = self.hosts[slot].take() else { return };
        self.present -= 1;
        let mut scene = scene!(self, at);
        host.ends(abrupt, &mut scene);
    }

    /// Lets a host do what it does by itself before `until`.
    fn catch_up(&mut self, slot: usize, until: Time) {
        let Some(host) = self.hosts[slot].as_mut() else { return };
        let (mut now, mut idle) = (Time::ZERO, 0u32);
        while let Some(at) = host.next(now.max(host.last())).filter(|at| *at < until) {
            let before = now;
            now = at.max(host.last());
            idle = if now > before { 0 } else { idle + 1 };
            assert!(idle < IDLE, "{} wakes for nothing at {now}: {:?}", host.name(), host.why(now));
            let mut scene = scene!(self, now);
            host.own(&mut scene);
        }
    }

    /// Lets a host do what is left of this window, and notes when it is to be looked at again.
    fn look_ahead(&mut self, index: u32, end: Time) {
        let slot = self.slot(index);
        self.catch_up(slot, end);
        let Some(host) = self.hosts[slot].as_mut() else { return };
        let Some(at) = host.next(end) else { return };
        let window = at.as_micros() / self.width;
        if host.looked_at.is_none_or(|looked_at| looked_at < self.window || window < looked_at) {
            host.looked_at = Some(window);
            self.put(Incoming { at, to: index, from: SCENARIO, number: 0, what: What::Own });
        }
    }

    /// At the end of a second: who stands still.
    pub(super) fn census(&mut self, at: Time) {
        let stalled = self.hosts.iter().flatten().filter(|h| h.stalled(at)).count() as u32;
        let present = self.present;
        let second = self.tally.second(at.back(std::time::Duration::from_micros(1)));
        (second.viewers, second.stalled) = (present, stalled);
    }

    /// Everybody who is still there is counted, and gone.
    pub(super) fn close(&mut self, at: Time) {
        for slot in 0..self.hosts.len() {
            let Some(host) = self.hosts[slot].take() else { continue };
            host.count(at, &self.around, &mut self.tally);
        }
    }
}
