//! What we know of each neighbour: what it watches, what it has, how fast it is, whether it can be believed.

use std::time::Duration;

use smallvec::SmallVec;

use super::pace::Base;
use super::policy::{
    BUSY_PAUSE, JOINED_MOST, JOINED_WITHIN, MERIT, MERIT_FULL, MISSED_PAUSE, PATIENCE, PATIENCE_FLOOR,
    PATIENCE_MOST, UNKNOWN_PIECE_TIME, UPLINK_TARGET,
};
use crate::model::ids::{PeerId, SwarmId};
use crate::model::time::Time;
use crate::wire::message::{Message, Slot};

/// In the first moments of a connection, a byte more or less makes too much of a rate.
const SETTLING: Duration = Duration::from_secs(2);
/// Pieces that did not come, in a row, from which on a neighbour is not counted on.
const MISSES: u8 = 2;
/// Requests that were refused, in a row, from which on it is not counted on either. Honest ones refuse most requests where
/// uplinks are scarce, but hardly so many with none in between.
const REFUSALS: u8 = 20;
/// What was brought so long ago counts little any more.
const FADING: Duration = Duration::from_secs(60);

/// A rendition that a neighbour watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watches {
    /// The neighbour's number for it.
    pub slot: Slot,
    /// Which rendition.
    pub swarm: SwarmId,
    /// The sequence numbers it wants to hear of.
    pub window: (u64, u64),
    /// It may be asked for pieces of it, if it may be asked at all.
    pub gives: bool,
}

/// A peer with an open data channel.
///
/// What is asked of all of them with every message or piece stands together, in the first cache line; in the second, what
/// is asked of one.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct Neighbour {
    /// Requests to it that are in flight.
    pub flights: usize,
    /// Whether it may be asked for pieces; false until its hello.
    pub uploads: bool,
    /// Its hello has come.
    pub greeted: bool,
    /// Its word has agreed with bytes we trust; until then it is noted, not gone by.
    pub confirmed: bool,
    /// Pieces it owed and did not bring in time, since the last that came.
    pub misses: u8,
    /// Who.
    pub peer: PeerId,
    /// Not asked before this.
    pub busy_until: Time,
    /// Bytes of accepted pieces from it, fading, as of a time.
    recent: (f64, Time),
    /// When it came.
    pub since: Time,
    /// What it watches. One in place: it is looked at with every message, and most watch one.
    pub watches: SmallVec<[Watches; 1]>,
    piece_time: Option<Duration>,
    /// The ping under way: number and time.
    pub ping: Option<(u32, Time)>,
    /// Its newest measured round trip.
    pub round_trip: Option<Duration>,
    /// The shortest round trips of the last minutes.
    pub base: Base,
    /// Bytes of accepted pieces from it, all in all.
    pub delivered: u64,
    /// What it was good for since neighbours were last compared: bytes from it, and half of those to it.
    pub worth: u64,
    /// Bytes we sent it, all in all.
    pub uploaded: u64,
    /// When it last watched something that we watch.
    pub useful_at: Time,
    /// Since when how many renditions were joined by it.
    joins: (Time, u16),
    /// Requests that it refused because it was busy, since the last piece that came.
    refusals: u8,
    /// Announcements to be gone by later: from before it was confirmed, or of what is not wanted yet.
    pub pending: Vec<Message>,
}

impl Neighbour {
    /// A peer that was just connected.
    #[must_use]
    pub fn new(peer: PeerId, now: Time) -> Self {
        Self {
            peer,
            uploads: false,
            greeted: false,
            confirmed: false,
            watches: SmallVec::new(),
            flights: 0,
            busy_until: Time::ZERO,
            misses: 0,
            round_trip: None,
            base: Base::new(),
            ping: None,
            delivered: 0,
            uploaded: 0,
            recent: (0.0, now),
            worth: 0,
            since: now,
            useful_at: now,
            joins: (now, 0),
            refusals: 0,
            pending: Vec::new(),
            piece_time: None,
        }
    }

    /// It joins a rendition; false where it has done so too often lately: each time it is told all that is here.
    pub fn may_join(&mut self, now: Time) -> bool {
        if now - self.joins.0 > JOINED_WITHIN {
            self.joins = (now, 0);
        }
        self.joins.1 = self.joins.1.saturating_add(1);
        self.joins.1 <= JOINED_MOST
    }

    /// Whether it watches this rendition.
    #[must_use]
    pub fn in_swarm(&self, swarm: SwarmId) -> bool {
        self.watches.iter().any(|w| w.swarm == swarm)
    }

    /// Whether it watches this rendition and may be asked for pieces of it.
    #[must_use]
    pub fn gives(&self, swarm: SwarmId) -> bool {
        self.uploads && self.watches.iter().any(|w| w.swarm == swarm && w.gives)
    }

    /// The slot and window it declared for a rendition.
    #[must_use]
    pub fn watch(&self, swarm: SwarmId) -> Option<Watches> {
        self.watches.iter().find(|w| w.swarm == swarm).copied()
    }

    /// A piece came `took` after it was asked for: its usual time follows by a quarter.
    pub fn brought(&mut self, took: Duration, bytes: u64, now: Time) {
        self.piece_time = Some(match self.piece_time {
            Some(usual) => (usual * 3 + took) / 4,
            None => took,
        });
        (self.misses, self.refusals) = (0, 0);
        self.delivered += bytes;
        self.recent = (self.faded(now) + bytes as f64, now);
        self.worth += bytes;
    }

    /// Bytes per second from it over the last minute or since it came, in which the first seconds count for little.
    #[must_use]
    pub fn brings(&self, now: Time) -> f64 {
        self.faded(now) / ((now - self.since).min(FADING) + SETTLING).as_secs_f64()
    }

    /// What it brought, the less the longer ago. No exponential: that is not the same number on every machine.
    fn faded(&self, now: Time) -> f64 {
        let (bytes, at) = self.recent;
        bytes / (1.0 + (now - at).as_secs_f64() / FADING.as_secs_f64())
    }

    /// It gives nothing of the rendition that it calls `slot`, until it joins anew.
    pub fn only_takes(&mut self, slot: Slot) {
        self.watches.iter_mut().filter(|watch| watch.slot == slot).for_each(|watch| watch.gives = false);
    }

    /// It answers a ping: its base, where there is one by now, and how long the answer took.
    pub fn answers(&mut self, nonce: u32, now: Time) -> Option<(Duration, Duration)> {
        let (_, at) = self.ping.filter(|(sent, _)| *sent == nonce)?;
        let took = now - at;
        (self.round_trip, self.ping) = (Some(took), None);
        self.base.learn(took, now).map(|base| (base, took))
    }

    /// It is busy: left alone for one to three times [`BUSY_PAUSE`]; `draw` in [0, 1) decides.
    pub fn refused(&mut self, now: Time, hint: Duration, draw: f64) {
        let pause = BUSY_PAUSE.mul_f64(1.0 + 2.0 * draw).max(hint.min(BUSY_PAUSE * 10));
        self.busy_until = now + pause;
    }

    /// A request to it ended with that.
    pub fn refused_one(&mut self) {
        self.refusals = self.refusals.saturating_add(1);
    }

    /// A piece it owed is late: it is left alone for a while, the longer the more often that happened in a row, and
    /// asked last afterwards.
    pub fn missed(&mut self, now: Time) {
        self.misses = self.misses.saturating_add(1);
        self.busy_until = now + MISSED_PAUSE * 2u32.pow(u32::from(self.misses.min(7)) - 1);
        let usual = self.usual_time();
        self.piece_time = Some((usual * 2).min(Duration::from_secs(4)));
    }

    /// It has not, after all, what it was asked for so long ago. If that was longer than it usually takes, it is left alone
    /// for as long again: whoever offers and withdraws would otherwise cost time for nothing.
    pub fn withdrew(&mut self, waited: Duration, now: Time) {
        if waited > self.usual_time() {
            self.busy_until = self.busy_until.max(now + waited);
        }
    }

    /// How long it takes for a piece, as far as known.
    #[must_use]
    pub fn usual_time(&self) -> Duration {
        self.piece_time.unwrap_or(UNKNOWN_PIECE_TIME)
    }

    /// After this a request to it is late.
    #[must_use]
    pub fn patience(&self) -> Duration {
        (self.usual_time() * PATIENCE).clamp(PATIENCE_FLOOR, PATIENCE_MOST)
    }

    /// Its newest round trip was much longer than its base.
    #[must_use]
    pub fn loaded(&self) -> bool {
        self.round_trip.zip(self.base.least()).is_some_and(|(newest, base)| newest > base + UPLINK_TARGET)
    }

    /// It announced pieces and did not bring them, more than once in a row, or was busy each time for long: what it says it has
    /// can't be counted on.
    #[must_use]
    pub fn owes(&self) -> bool {
        self.misses >= MISSES || self.refuses()
    }

    fn refuses(&self) -> bool {
        self.refusals >= REFUSALS
    }

    /// What speaks for keeping it. Who only takes and refuses whatever it is asked for is worth nothing for what it takes.
    #[must_use]
    pub fn keeping(&self) -> u64 {
        if self.refuses() { 0 } else { self.worth }
    }

    /// Who is asked first: those that kept their word, the faster the earlier.
    #[must_use]
    pub fn preference(&self) -> (bool, Duration) {
        (self.owes(), self.usual_time())
    }
}

/// How much earlier than its deadline a request of `peer` counts, for what it brings us compared with the others.
#[must_use]
pub fn merit(neighbours: &[Neighbour], peer: PeerId, now: Time) -> Duration {
    let own = neighbours.iter().find(|n| n.peer == peer).map_or(0.0, |n| n.brings(now));
    if own <= 0.0 {
        return Duration::ZERO;
    }
    let all: f64 = neighbours.iter().map(|n| n.brings(now)).sum();
    let times = own * neighbours.len() as f64 / all;
    MERIT.mul_f64((times / MERIT_FULL).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merit_is_what_a_neighbour_brings_compared_with_the_others() {
        let now = Time::from_micros(10_000_000);
        let mut all: Vec<Neighbour> =
            (0..4).map(|n| Neighbour::new(PeerId::from_entropy([n; 12]), Time::ZERO)).collect();
        assert_eq!(merit(&all, all[0].peer, now), Duration::ZERO, "nobody has brought anything");
        all[0].brought(Duration::from_millis(100), 900_000, now);
        all[1].brought(Duration::from_millis(100), 100_000, now);
        assert_eq!(merit(&all, all[0].peer, now), MERIT, "more than three times the mean is all there is");
        let little = merit(&all, all[1].peer, now);
        assert!(little > Duration::ZERO && little < MERIT / 5, "{little:?}");
        assert_eq!(merit(&all, all[2].peer, now), Duration::ZERO);
        assert_eq!(merit(&all, PeerId::from_entropy([9; 12]), now), Duration::ZERO, "a stranger");
        let later = now + FADING * 10;
        all[1].brought(Duration::from_millis(100), 500_000, later);
        assert!(merit(&all, all[0].peer, later) < merit(&all, all[1].peer, later) / 4, "it fades");
    }

    fn neighbour() -> Neighbour {
        Neighbour::new(PeerId::from_entropy([1; 12]), Time::ZERO)
    }

    #[test]
    fn a_busy_neighbour_is_left_alone_for_a_while() {
        let mut neighbour = neighbour();
        let now = Time::from_micros(1_000_000);
        neighbour.refused(now, Duration::ZERO, 0.0);
        assert_eq!(neighbour.busy_until, now + BUSY_PAUSE);
        neighbour.refused(now, Duration::from_secs(60), 0.5);
        assert_eq!(neighbour.busy_until, now + BUSY_PAUSE * 10, "a neighbour can't bar itself for ever");
    }

    #[test]
    fn who_misses_twice_is_asked_last() {
        let (mut slow, mut fast) = (neighbour(), neighbour());
        slow.brought(Duration::from_millis(10), 1, Time::ZERO);
        fast.brought(Duration::from_millis(200), 1, Time::ZERO);
        assert!(slow.preference() < fast.preference());
        slow.missed(Time::ZERO);
        slow.missed(Time::ZERO);
        assert!(slow.preference() > fast.preference());
    }

    #[test]
    fn who_is_always_busy_is_asked_last_and_goes_first_until_it_brings_something() {
        let mut busy = neighbour();
        busy.worth = 1_000;
        (1..REFUSALS).for_each(|_| busy.refused_one());
        assert_eq!((busy.owes(), busy.keeping()), (false, 1_000));
        busy.refused_one();
        assert_eq!((busy.owes(), busy.keeping()), (true, 0));
        assert!(busy.preference() > neighbour().preference());
        busy.brought(Duration::from_millis(10), 1, Time::ZERO);
        assert_eq!((busy.owes(), busy.keeping()), (false, 1_001));
    }
}
