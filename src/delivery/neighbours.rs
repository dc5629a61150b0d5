//! What we know of each neighbour: what it watches, what it has, how fast it is, whether it can be believed.

use std::time::Duration;

use super::policy::{ANNOUNCED, BUSY_PAUSE, PATIENCE, PATIENCE_FLOOR, UNKNOWN_PIECE_TIME};
use crate::model::ids::{PeerId, SegmentId, SwarmId};
use crate::model::time::Time;
use crate::wire::message::{Message, Slot};

/// A rendition that a neighbour watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watches {
    /// The neighbour's number for it.
    pub slot: Slot,
    /// Which rendition.
    pub swarm: SwarmId,
    /// The sequence numbers it wants to hear of.
    pub window: (u64, u64),
}

/// A segment that a neighbour announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Has {
    /// Which segment.
    pub segment: SegmentId,
    /// A bit for each piece that may be asked for.
    pub bits: u64,
    /// More will come; since when.
    pub loading: Option<Time>,
}

/// A peer with an open data channel.
#[derive(Clone, Debug)]
pub struct Neighbour {
    /// Who.
    pub peer: PeerId,
    /// Whether it may be asked for pieces; false until its hello.
    pub uploads: bool,
    /// Its hello has come.
    pub greeted: bool,
    /// Its word has agreed with bytes we trust; until then it is noted, not gone by.
    pub confirmed: bool,
    /// What it watches.
    pub watches: Vec<Watches>,
    /// Requests to it that are in flight.
    pub flights: usize,
    /// Not asked before this.
    pub busy_until: Time,
    /// Pieces it owed and did not bring in time, since the last that came.
    pub misses: u8,
    /// Its newest measured round trip.
    pub round_trip: Option<Duration>,
    /// The ping under way: number and time.
    pub ping: Option<(u32, Time)>,
    /// Bytes of accepted pieces from it, all in all.
    pub delivered: u64,
    /// Bytes we sent it, all in all.
    pub uploaded: u64,
    /// When it last watched something that we watch.
    pub useful_at: Time,
    /// Announcements from before it was confirmed, to be gone by afterwards.
    pub pending: Vec<Message>,
    has: Vec<Has>,
    told: Vec<(SegmentId, u64)>,
    piece_time: Option<Duration>,
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
            watches: Vec::new(),
            flights: 0,
            busy_until: Time::ZERO,
            misses: 0,
            round_trip: None,
            ping: None,
            delivered: 0,
            uploaded: 0,
            useful_at: now,
            pending: Vec::new(),
            has: Vec::new(),
            told: Vec::new(),
            piece_time: None,
        }
    }

    /// Whether it watches this rendition.
    #[must_use]
    pub fn in_swarm(&self, swarm: SwarmId) -> bool {
        self.watches.iter().any(|w| w.swarm == swarm)
    }

    /// What it announced of a segment.
    #[must_use]
    pub fn has(&self, segment: SegmentId) -> Option<Has> {
        self.has.iter().find(|h| h.segment == segment).copied()
    }

    /// Notes an announcement; the oldest is forgotten past [`ANNOUNCED`].
    pub fn announces(&mut self, segment: SegmentId, bits: u64, loading: bool, now: Time) {
        let index = self.has.iter().position(|h| h.segment == segment).unwrap_or_else(|| {
            if self.has.len() == ANNOUNCED {
                self.has.remove(0);
            }
            self.has.push(Has { segment, bits: 0, loading: None });
            self.has.len() - 1
        });
        let has = &mut self.has[index];
        has.bits |= bits;
        has.loading = loading.then(|| has.loading.unwrap_or(now));
    }

    /// It no longer has the segment.
    pub fn loses(&mut self, segment: SegmentId) {
        self.has.retain(|h| h.segment != segment);
        self.told.retain(|(s, _)| *s != segment);
    }

    /// It said that one piece is not to be had from it.
    pub fn lacks(&mut self, segment: SegmentId, piece: u8) {
        if let Some(has) = self.has.iter_mut().find(|h| h.segment == segment) {
            has.bits &= !(1u64.checked_shl(u32::from(piece)).unwrap_or(0));
        }
    }

    /// What it was told that we hold of a segment; `None` when the segment was never mentioned to it.
    #[must_use]
    pub fn told(&self, segment: SegmentId) -> Option<u64> {
        self.told.iter().find(|(s, _)| *s == segment).map(|(_, bits)| *bits)
    }

    /// Notes what it is being told.
    pub fn tell(&mut self, segment: SegmentId, bits: u64) {
        match self.told.iter_mut().find(|(s, _)| *s == segment) {
            Some((_, told)) => *told |= bits,
            None => {
                if self.told.len() == ANNOUNCED {
                    self.told.remove(0);
                }
                self.told.push((segment, bits));
            }
        }
    }

    /// We no longer have a segment; true when it has to be told so.
    pub fn untell(&mut self, segment: SegmentId) -> bool {
        let before = self.told.len();
        self.told.retain(|(s, _)| *s != segment);
        self.told.len() != before
    }

    /// The slot and window it declared for a rendition.
    #[must_use]
    pub fn watch(&self, swarm: SwarmId) -> Option<Watches> {
        self.watches.iter().find(|w| w.swarm == swarm).copied()
    }

    /// A piece came `took` after it was asked for: its usual time follows by a quarter.
    pub fn brought(&mut self, took: Duration, bytes: u64) {
        self.piece_time = Some(match self.piece_time {
            Some(usual) => (usual * 3 + took) / 4,
            None => took,
        });
        self.misses = 0;
        self.delivered += bytes;
    }

    /// It is busy: left alone for one to three times [`BUSY_PAUSE`]; `draw` in [0, 1) decides.
    pub fn refused(&mut self, now: Time, hint: Duration, draw: f64) {
        let pause = BUSY_PAUSE.mul_f64(1.0 + 2.0 * draw).max(hint.min(BUSY_PAUSE * 10));
        self.busy_until = now + pause;
    }

    /// A piece it owed is late: it is asked last from now on.
    pub fn missed(&mut self) {
        self.misses = self.misses.saturating_add(1);
        let usual = self.usual_time();
        self.piece_time = Some((usual * 2).min(Duration::from_secs(4)));
    }

    /// How long it takes for a piece, as far as known.
    #[must_use]
    pub fn usual_time(&self) -> Duration {
        self.piece_time.unwrap_or(UNKNOWN_PIECE_TIME)
    }

    /// After this a request to it is late.
    #[must_use]
    pub fn patience(&self) -> Duration {
        (self.usual_time() * PATIENCE).max(PATIENCE_FLOOR)
    }

    /// Who is asked first: those that kept their word, the faster the earlier.
    #[must_use]
    pub fn preference(&self) -> (bool, Duration) {
        (self.misses >= 2, self.usual_time())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neighbour() -> Neighbour {
        Neighbour::new(PeerId::from_entropy([1; 12]), Time::ZERO)
    }

    #[test]
    fn announcements_add_up_and_the_oldest_give_way() {
        let mut neighbour = neighbour();
        for segment in 0..ANNOUNCED as u64 + 3 {
            neighbour.announces(SegmentId(segment), 1, true, Time::ZERO);
        }
        neighbour.announces(SegmentId(10), 0b110, false, Time::ZERO);
        assert_eq!(neighbour.has(SegmentId(2)), None);
        assert_eq!(neighbour.has(SegmentId(10)).map(|h| (h.bits, h.loading)), Some((0b111, None)));
        neighbour.lacks(SegmentId(10), 1);
        assert_eq!(neighbour.has(SegmentId(10)).map(|h| h.bits), Some(0b101));
        neighbour.loses(SegmentId(10));
        assert_eq!(neighbour.has(SegmentId(10)), None);
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
        slow.brought(Duration::from_millis(10), 1);
        fast.brought(Duration::from_millis(200), 1);
        assert!(slow.preference() < fast.preference());
        slow.missed();
        slow.missed();
        assert!(slow.preference() > fast.preference());
    }
}
