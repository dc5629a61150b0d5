//! One rendition that at least one player here is watching.

use std::time::Duration;

use smallvec::SmallVec;

use super::account::{Bytes, Ledger};
use super::choices::Choices;
use super::demand::{Demand, Moved};
use super::lottery::Crowd;
use super::pieces::{Ask, Pieces};
use super::policy::{
    AHEAD_LEAST, AHEAD_PART_OF_MEMORY, ANEW, FETCH_SAFETY, FIRST_BYTE_GUESS, LARGEST_PART_OF_MEMORY,
    LIVE_GONE, LONGEST_OF_USUAL, MISSING_NEWEST, PACED_LEAST, PACED_START, PROBES, Policy, RESTING, STALE,
    SWAP, Terms, UNLISTED_AHEAD, VOD_GONE,
};
use super::shelf::Shelf;
use crate::model::ids::{SegmentId, SwarmId};
use crate::model::time::Time;
use crate::model::timeline::{Choice, Kind, Segment, Timeline};
use crate::model::units::BitsPerSecond;
use crate::wire::message::Slot;
use crate::wire::tracker::Account;

/// A rendition with its players, its segments and its account.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Session {
    /// Its swarm.
    pub swarm: SwarmId,
    /// Our number for it towards neighbours.
    pub slot: Slot,
    /// We are in its swarm.
    pub joined: bool,
    /// The origin has served us a segment of it: only then is anything shared.
    pub entitled: bool,
    /// Somebody has really watched it.
    pub reported: bool,
    /// Segments of it are too large to keep.
    pub oversized: bool,
    /// Its viewers as the tracker tells, us included; 0 when unknown.
    pub viewers: u32,
    /// The most it ever was.
    pub most_viewers: u32,
    /// Players, one each. One in place: where it is decides what every message is worth, and most are watched by one.
    pub demands: SmallVec<[Demand; 1]>,
    /// Segments that are held, on their way or wanted; sequence numbers ascending.
    pub active: Shelf,
    /// No lottery before this: neighbours that just came are still telling what they have.
    pub settled_at: Time,
    /// What is opened before this is not shared: the origin began anew, and names may be used again for other bytes.
    pub anew_until: Time,
    /// The newest manifest, with what there is to choose for any player here.
    pub timeline: Timeline,
    /// When it came.
    pub listed_at: Time,
    /// When the first one came, and the account began.
    pub opened: Time,
    /// When the trackers are told next.
    pub announce_at: Option<Time>,
    /// When they were told last.
    pub announced_at: Option<Time>,
    /// Announcements so far.
    pub announcements: u32,
    /// Announcements in a row that brought no neighbour.
    pub fruitless: u32,
    /// When it was first asked for.
    pub began: Option<Time>,
    /// What came of it.
    pub bytes: Bytes,
    /// Segment by segment.
    pub ledger: Ledger,
    /// What it is kept from.
    pub terms: Terms,
    /// How long live segments take to come from neighbours, from when they were seen, as a multiple of their duration;
    /// smoothed, 0 before the first.
    pub spread: f64,
    /// When neighbours last were too slow for a player here.
    pub short_at: Option<Time>,
    /// How many viewers each tracker told of, where there are several trackers.
    pub told: Vec<u32>,
    choices: Choices,
    first_byte: Option<Duration>,
    rate: Option<BitsPerSecond>,
    usual_length: Option<u64>,
}

impl Session {
    /// A rendition whose manifest was just seen.
    #[must_use]
    pub fn new(timeline: Timeline, now: Time) -> Self {
        Self {
            swarm: timeline.swarm,
            slot: Slot(0),
            timeline,
            listed_at: now,
            opened: now,
            demands: SmallVec::new(),
            active: Shelf::default(),
            entitled: false,
            reported: false,
            joined: false,
            viewers: 0,
            most_viewers: 0,
            told: Vec::new(),
            settled_at: Time::ZERO,
            anew_until: Time::ZERO,
            announce_at: None,
            announced_at: None,
            announcements: 0,
            fruitless: 0,
            began: None,
            bytes: Bytes::default(),
            ledger: Ledger::default(),
            oversized: false,
            terms: Terms::default(),
            spread: 0.0,
            short_at: None,
            choices: Choices::default(),
            first_byte: None,
            rate: None,
            usual_length: None,
        }
    }

    /// Its neighbours have not kept up with a player lately.
    #[must_use]
    pub fn is_short(&self, now: Time) -> bool {
        self.short_at.is_some_and(|at| now - at < SWAP)
    }

    /// Out of its swarm, as if it had never been joined.
    pub fn leave(&mut self) {
        self.joined = false;
        self.viewers = 0;
        self.told.clear();
        (self.announce_at, self.announced_at) = (None, None);
    }

    /// Whether the origin was started anew: a live manifest that is numbered from well before the newest one again.
    #[must_use]
    pub fn begins_anew(&self, timeline: &Timeline) -> bool {
        let last = |of: &Timeline| of.segments.last().map(|s| s.sequence);
        let first = self.timeline.segments.first().map(|s| s.sequence);
        let (Some(first), Some(before), Some(now)) = (first, last(&self.timeline), last(timeline)) else {
            return false;
        };
        let behind = self
            .timeline
            .target
            .saturating_mul(u32::try_from(before.saturating_sub(now)).unwrap_or(u32::MAX));
        self.timeline.kind.grows() && (now < first || behind > STALE)
    }

    /// Shares nothing for a while. What is here of the old stream and nobody waits for, to be given up.
    pub fn begin_anew(&mut self, now: Time) -> Vec<SegmentId> {
        self.anew_until = now + self.timeline.target * ANEW;
        self.active.iter_mut().for_each(|pieces| pieces.shareable = false);
        self.active.iter().filter(|pieces| pieces.idle()).map(Pieces::id).collect()
    }

    /// Takes in a newer manifest, of this viewer; segments that neighbours told us of first become playable here.
    pub fn list(&mut self, timeline: Timeline, viewer: u64, now: Time) {
        self.timeline = timeline;
        let (patience, demands) = (self.patience(), &self.demands);
        let is_there = |other, at| now - at <= patience || demands.iter().any(|d| d.viewer == other);
        self.choices.note(viewer, self.timeline.choice, now, is_there);
        self.timeline.choice = self.choices.all();
        self.listed_at = now;
        let told =
            self.active.iter().filter(|pieces| !pieces.listed).filter_map(|p| self.listed(p.id()).copied());
        for segment in told.collect::<Vec<_>>() {
            self.active.becomes(segment);
        }
    }

    /// What this player has to choose from. Others may have come by another manifest.
    #[must_use]
    pub fn choice_of(&self, viewer: u64) -> Choice {
        self.choices.of(viewer).unwrap_or(self.timeline.choice)
    }

    /// Those who play it, and did not go on in another rendition.
    pub fn players(&self) -> impl Iterator<Item = &Demand> {
        self.demands.iter().filter(|demand| demand.stays())
    }

    /// The highest sequence number that any player here asked for.
    #[must_use]
    pub fn front(&self) -> Option<u64> {
        self.players().map(|d| d.front).max()
    }

    /// The lowest front of the players here: what lies well before it nobody here needs.
    #[must_use]
    pub fn rear(&self) -> Option<u64> {
        self.players().map(|d| d.front).min()
    }

    /// The front, or where those are who may come back while nobody plays it. What neighbours say of what comes next is noted.
    #[must_use]
    pub fn foremost(&self) -> Option<u64> {
        self.front().or_else(|| self.demands.iter().map(|d| d.front).max())
    }

    /// Where this player is.
    #[must_use]
    pub fn front_of(&self, viewer: u64) -> Option<u64> {
        self.demands.iter().find(|d| d.viewer == viewer).map(|d| d.front)
    }

    /// Somebody really watches it, as opposed to a player that looks into every variant.
    #[must_use]
    pub fn watched(&self) -> bool {
        self.players().any(|d| d.run > PROBES || self.choice_of(d.viewer).group.is_none())
    }

    /// The segment with this name, if anything is known of it.
    pub fn pieces(&mut self, segment: SegmentId) -> Option<&mut Pieces> {
        self.active.get_mut(segment)
    }

    /// The segment's state, made when there is none.
    pub fn open(&mut self, segment: Segment, listed: bool, now: Time) -> &mut Pieces {
        // By name first: a neighbour may have put a wrong name to the same sequence number.
        let known = self.active.position(segment.id);
        let at = known.unwrap_or_else(|| {
            let mut pieces = Pieces::new(segment, listed, now);
            pieces.shareable = now >= self.anew_until;
            self.active.insert(pieces)
        });
        let at =
            if listed && !self.active[at].listed { self.active.becomes(segment).unwrap_or(at) } else { at };
        &mut self.active[at]
    }

    /// Makes sure that every listed segment that is worth loading now has its state.
    pub fn open_window(&mut self, policy: &Policy, now: Time) {
        let Some(front) = self.front() else { return };
        let (first, end) = (self.first_past(front), self.reach(front, policy).0);
        for index in first..end {
            let segment = self.timeline.segments[index];
            if self.active.get(segment.id).is_none_or(|known| !known.listed) {
                self.open(segment, true, now);
            }
        }
    }

    fn first_past(&self, front: u64) -> usize {
        self.timeline.segments.partition_point(|s| s.sequence <= front)
    }

    /// How far ahead of a player at `front` segments are loaded: past the last that is listed and lies within the time and the
    /// memory that there are for it, and how many that are not listed yet fit besides.
    ///
    /// What is loaded past that would push out what is played before it.
    fn reach(&self, front: u64, policy: &Policy) -> (usize, u64) {
        let (first, usual) = (self.first_past(front), self.usual_length.unwrap_or(0));
        let (mut media, mut bytes) = (Duration::ZERO, 0);
        let room = policy.memory / AHEAD_PART_OF_MEMORY;
        let mut known = self.active.after(front).peekable();
        for (index, segment) in self.timeline.segments.iter().enumerate().skip(first) {
            let needed = index - first < AHEAD_LEAST || media < policy.critical;
            while known.next_if(|p| p.segment.sequence < segment.sequence).is_some() {}
            let here = known.peek().filter(|p| p.segment.sequence == segment.sequence);
            bytes += here.and_then(|p| p.grid).map_or(usual, |grid| u64::from(grid.length()));
            media += segment.duration;
            if media > policy.prefetch || (bytes > room && !needed) {
                return (index, 0);
            }
        }
        let (all, grows) = (self.timeline.segments.len(), self.timeline.kind.grows());
        let fit = (room.saturating_sub(bytes)).checked_div(usual).unwrap_or(UNLISTED_AHEAD);
        let fit = fit.max(AHEAD_LEAST.saturating_sub(all - first) as u64);
        (all, if grows { fit.min(UNLISTED_AHEAD) } else { 0 })
    }

    /// The listed segment with this name.
    #[must_use]
    pub fn listed(&self, segment: SegmentId) -> Option<&Segment> {
        self.timeline.segments.iter().find(|s| s.id == segment)
    }

    /// Whether this is one of the last segments of a rendition that grows: it may be listed before it is there.
    #[must_use]
    pub fn is_newest(&self, segment: SegmentId) -> bool {
        let newest = self.timeline.segments.iter().rev().take(MISSING_NEWEST);
        self.timeline.kind.grows() && newest.into_iter().any(|s| s.id == segment)
    }

    /// The last sequence number worth loading now for a player at `front`, listed or on a neighbour's word.
    #[must_use]
    pub fn horizon(&self, front: u64, policy: &Policy) -> u64 {
        let (end, unlisted) = self.reach(front, policy);
        let listed = self.timeline.segments[..end].last().map_or(front, |last| last.sequence.max(front));
        listed.saturating_add(unlisted)
    }

    /// When the viewer's player runs dry before segment `sequence`, at the earliest. `None`: it has nothing yet.
    /// What it was given of later segments is of no use to it before it has this one.
    #[must_use]
    pub fn needed_at(&self, viewer: u64, sequence: u64, now: Time) -> Option<Time> {
        let demand = self.demands.iter().find(|d| d.viewer == viewer)?;
        let mut at = demand.dry_at(sequence, now)?;
        for (_, earlier) in self.active.awake().filter(|(_, p)| p.segment.sequence < sequence) {
            if earlier.asks.iter().any(|ask| ask.viewer == viewer) {
                at += earlier.segment.duration.saturating_sub(demand.taken(earlier.segment.sequence));
            }
        }
        Some(at)
    }

    /// Whether a segment may be as long as a neighbour says (0: it does not): no longer than is kept, nor than any that the origin
    /// would have among those that it sent.
    #[must_use]
    pub fn may_be(&self, length: u64, policy: &Policy) -> bool {
        let usual = self.usual_length.map_or(u64::MAX, |usual| usual.saturating_mul(LONGEST_OF_USUAL));
        length <= (policy.memory / LARGEST_PART_OF_MEMORY).min(usual)
    }

    /// How long the origin is expected to need for `bytes` (`None`: a usual segment), with a margin.
    #[must_use]
    pub fn fetch_time(&self, bytes: Option<u64>) -> Duration {
        let bytes = bytes.or(self.usual_length);
        let body = match (bytes, self.rate) {
            (Some(bytes), Some(rate)) => rate.time_for(bytes),
            _ => None,
        };
        let body = body.unwrap_or(self.timeline.target / 4);
        (self.first_byte.unwrap_or(FIRST_BYTE_GUESS) + body).mul_f64(FETCH_SAFETY)
    }

    /// Learns from an origin fetch that took `wait` to its first byte and `body` for `bytes`.
    pub fn learn(&mut self, wait: Duration, body: Duration, bytes: u64) {
        let smooth = |old: Option<Duration>, new: Duration| old.map_or(new, |old| (old * 3 + new) / 4);
        self.first_byte = Some(smooth(self.first_byte, wait));
        if bytes >= 16 * 1024 {
            let rate = BitsPerSecond::over(bytes, body.max(Duration::from_micros(100)));
            self.rate = Some(self.rate.map_or(rate, |old| BitsPerSecond((old.0 / 4) * 3 + rate.0 / 4)));
        }
    }

    /// What the lottery goes by, with an uplink of ours as it was measured.
    #[must_use]
    pub fn crowd(&self, uplink: Option<BitsPerSecond>) -> Crowd {
        Crowd { viewers: self.viewers, uplink: self.uplink_ratio(uplink), spread: self.spread }
    }

    /// An uplink as a multiple of the bit rate; 2 while either is unknown.
    fn uplink_ratio(&self, uplink: Option<BitsPerSecond>) -> f64 {
        match (uplink, self.usual_length) {
            (Some(uplink), Some(length)) if length > 0 => {
                uplink.0 as f64 / BitsPerSecond::over(length, self.timeline.target).0.max(1) as f64
            }
            _ => 2.0,
        }
    }

    /// Up to where an answer from memory may be read by now; `None`: as fast as it goes.
    ///
    /// A player with other renditions to choose from measures how fast we are. It shall see what the origin gives, and
    /// not climb to a rendition that the origin can't carry; nor be slowed down to where it would leave its own.
    #[must_use]
    pub fn paced(&self, ask: &Ask, now: Time) -> Option<u32> {
        let rate = self.rate.filter(|_| ask.hit && self.choice_of(ask.viewer).adaptive)?;
        let media = BitsPerSecond::over(self.usual_length?, self.timeline.target);
        let rate = rate.max(BitsPerSecond(media.0.saturating_mul(PACED_LEAST)));
        let bytes = u128::from(rate.0) * (now - ask.asked).as_micros() / 8_000_000;
        Some(ask.from.saturating_add(PACED_START).saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX)))
    }

    /// A live segment is complete, `took` after it was seen, the last of it by a neighbour.
    pub fn learn_spread(&mut self, took: Duration, duration: Duration) {
        if self.timeline.kind.grows() && !duration.is_zero() {
            let times = (took.as_secs_f64() / duration.as_secs_f64()).min(4.0);
            self.spread = if self.spread == 0.0 { times } else { self.spread * 0.75 + times * 0.25 };
        }
    }

    /// Notes the length of a segment.
    pub fn learn_length(&mut self, length: u64) {
        self.usual_length = Some(self.usual_length.map_or(length, |old| (old * 3 + length) / 4));
    }

    /// A player asks for a segment, the first time or anew; or it comes from another rendition, with what it had there.
    pub fn asks(&mut self, viewer: u64, sequence: u64, comes: Option<Demand>, now: Time) -> Moved {
        let known = self.demands.iter().position(|d| d.viewer == viewer);
        let Some(at) = known else {
            self.demands.push(comes.unwrap_or_else(|| Demand::new(viewer, sequence, now)));
            return Moved::Seek;
        };
        let alone = self.choice_of(viewer).group.is_none();
        let demand = &mut self.demands[at];
        let plays_both = demand.comes_back(sequence);
        if let Some(comes) = comes.filter(|_| !plays_both) {
            let (run, patience) = (demand.run.max(comes.run), demand.patience);
            *demand = comes;
            (demand.run, demand.patience) = (run, patience);
            return Moved::Seek;
        }
        let passed = self.timeline.between(demand.front, sequence);
        // There is nothing else in which it could have been played.
        let nowhere = alone && !passed.is_zero();
        demand.asks(sequence, if nowhere { Duration::MAX } else { passed }, now)
    }

    /// A player has taken a segment up to `bytes`. It counts once it is whole: several players play nothing of a segment
    /// before its end is there.
    pub fn credit(&mut self, viewer: u64, segment: SegmentId, bytes: u32, now: Time) {
        let Some(pieces) = self.active.get(segment) else { return };
        let Segment { sequence, duration, .. } = pieces.segment;
        let whole = pieces.grid.is_some_and(|grid| bytes >= grid.length());
        let media = if whole { duration } else { Duration::ZERO };
        if let Some(demand) = self.demands.iter_mut().find(|d| d.viewer == viewer) {
            demand.takes(sequence, media, now);
            if whole && let Some(wait) = demand.settles(sequence, now) {
                self.ledger.seeks.add(wait);
            }
        }
        if media == duration && self.ledger.startup.is_none() {
            self.ledger.startup = self.began.map(|began| now - began);
        }
    }

    /// When a player was last heard of; `None` while a request is open.
    fn heard_at(&self) -> Option<Time> {
        if self.active.awake().any(|(_, p)| !p.asks.is_empty()) {
            return None;
        }
        Some(self.demands.iter().map(|d| d.active).max().unwrap_or(self.listed_at).max(self.listed_at))
    }

    /// When, without another request, its viewers count as gone; `None` while a request is open.
    #[must_use]
    pub fn gone_at(&self) -> Option<Time> {
        Some(self.heard_at()? + self.patience())
    }

    /// Its players have paused, or left a recording without a word: it serves whoever asks, and seeks nobody.
    #[must_use]
    pub fn rests(&self, now: Time) -> bool {
        self.heard_at().is_some_and(|heard| now - heard > RESTING.max(self.timeline.target * 2))
    }

    /// How long silence is not a stop.
    #[must_use]
    pub fn patience(&self) -> Duration {
        match self.timeline.kind {
            Kind::Live => (self.timeline.target * LIVE_GONE).max(Duration::from_secs(10)),
            Kind::Event | Kind::Vod => VOD_GONE,
        }
    }

    /// What neighbours shall tell us of: sequence numbers, both ends included.
    #[must_use]
    pub fn window(&self, policy: &Policy) -> (u64, u64) {
        let foremost = self.foremost();
        let first = self.rear().or(foremost).unwrap_or(0).saturating_sub(1);
        let last = foremost.map_or(first, |front| self.horizon(front, policy));
        // Who is at the edge wants to hear of whatever comes next.
        let edge = self.timeline.segments.last().is_none_or(|newest| last >= newest.sequence);
        (first, if self.timeline.kind.grows() && edge { u64::MAX } else { last })
    }

    /// What trackers are told of it: all of it each time, so that one that missed an announcement misses nothing.
    #[must_use]
    pub fn account(&self, now: Time) -> Account {
        Account {
            began_us: self.opened.as_micros(),
            age_ms: u64::try_from((now - self.opened).as_millis()).unwrap_or(u64::MAX),
            http: self.bytes.http,
            p2p: self.bytes.p2p,
            uploaded: self.bytes.uploaded,
        }
    }

    /// The lowest buffer bound of the players here.
    #[must_use]
    pub fn buffered(&self, now: Time) -> Duration {
        self.players().map(|d| d.buffered(now)).min().unwrap_or_default()
    }
}
