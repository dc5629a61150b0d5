//! Whom we serve, in what order; refusing early.
//!
//! A request is either queued, at most [`UPLOADS_EACH`] for each neighbour, or refused at once so that the asker goes
//! elsewhere. The queue is served by deadline, whoever was served least first among equals.

use std::time::Duration;

use super::pace::Bucket;
use super::policy::{UPLOAD_QUEUE, UPLOADS_EACH, UPLOADS_UNMEASURED};
use crate::model::ids::{PeerId, SegmentId};
use crate::model::time::Time;
use crate::model::units::BitsPerSecond;

/// Pieces handed to the driver at the same time; the rest waits here, where it can still be reordered.
const UNDER_WAY: usize = 2;
/// Neighbours' uplinks are measured over stretches at least this long.
const MEASURE: Duration = Duration::from_millis(200);

#[derive(Clone, Debug)]
struct Waiting {
    peer: PeerId,
    segment: SegmentId,
    piece: u8,
    bytes: u32,
    deadline: Time,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queued {
    /// It will be served.
    Accepted,
    /// Too much is queued already; ask again after this.
    Busy(Duration),
    /// It is being served already.
    Refused,
}

/// The queue of pieces to send.
#[derive(Clone, Debug)]
pub struct Uploads {
    waiting: Vec<Waiting>,
    under_way: Vec<(PeerId, SegmentId, u8, u32)>,
    bucket: Bucket,
    rate: Option<BitsPerSecond>,
    busy_since: Option<Time>,
    sent: u64,
}

impl Uploads {
    /// An empty queue.
    #[must_use]
    pub fn new(limit: Option<BitsPerSecond>, now: Time) -> Self {
        Self {
            waiting: Vec::new(),
            under_way: Vec::new(),
            bucket: Bucket::new(limit, now),
            rate: None,
            busy_since: None,
            sent: 0,
        }
    }

    /// Changes the cap.
    pub fn set_limit(&mut self, limit: Option<BitsPerSecond>, now: Time) {
        self.bucket.set_limit(limit, now);
    }

    /// A neighbour asks for a piece that we hold and that it needs within `within`.
    pub fn request(
        &mut self,
        peer: PeerId,
        segment: SegmentId,
        piece: u8,
        bytes: u32,
        within: Duration,
        now: Time,
    ) -> Queued {
        let same = |p: PeerId, s: SegmentId, i: u8| p == peer && s == segment && i == piece;
        let waiting = self.waiting.iter().any(|w| same(w.peer, w.segment, w.piece));
        if waiting || self.under_way.iter().any(|&(p, s, i, _)| same(p, s, i)) {
            return Queued::Refused;
        }
        let of_peer = self.waiting.iter().filter(|w| w.peer == peer).count()
            + self.under_way.iter().filter(|u| u.0 == peer).count();
        let queue = self.queue_time();
        if of_peer >= UPLOADS_EACH || queue.is_none_or(|time| time > UPLOAD_QUEUE.min(within)) {
            return Queued::Busy(queue.unwrap_or(UPLOAD_QUEUE).clamp(UPLOAD_QUEUE / 5, UPLOAD_QUEUE));
        }
        self.waiting.push(Waiting { peer, segment, piece, bytes, deadline: now + within });
        Queued::Accepted
    }

    /// How long what is queued will take; `None`: more than can be said to be little.
    fn queue_time(&self) -> Option<Duration> {
        let queued = self.waiting.iter().map(|w| u64::from(w.bytes)).sum::<u64>()
            + self.under_way.iter().map(|u| u64::from(u.3)).sum::<u64>();
        match self.rate {
            Some(rate) => rate.time_for(queued),
            None => {
                (self.waiting.len() + self.under_way.len() < UPLOADS_UNMEASURED).then_some(Duration::ZERO)
            }
        }
    }

    /// The next piece to hand to the driver; `None` when the queue is empty, full under way, or over the cap.
    pub fn next(&mut self, now: Time) -> Option<(PeerId, SegmentId, u8)> {
        if self.under_way.len() >= UNDER_WAY {
            return None;
        }
        let index = (0..self.waiting.len()).min_by_key(|&i| {
            let w = &self.waiting[i];
            (w.deadline, self.under_way.iter().filter(|u| u.0 == w.peer).count())
        })?;
        if !self.bucket.take(self.waiting[index].bytes, now) {
            return None;
        }
        let Waiting { peer, segment, piece, bytes, .. } = self.waiting.swap_remove(index);
        if self.under_way.is_empty() {
            (self.busy_since, self.sent) = (Some(now), 0);
        }
        self.under_way.push((peer, segment, piece, bytes));
        Some((peer, segment, piece))
    }

    /// What the uplink was seen to carry; `None` before it was busy for a while.
    #[must_use]
    pub fn rate(&self) -> Option<BitsPerSecond> {
        self.rate
    }

    /// The driver is done with a piece; its length in bytes, 0 when it was not under way.
    pub fn sent(&mut self, peer: PeerId, segment: SegmentId, piece: u8, now: Time) -> u32 {
        let found = self.under_way.iter().position(|u| (u.0, u.1, u.2) == (peer, segment, piece));
        let Some(index) = found else { return 0 };
        let bytes = self.under_way.swap_remove(index).3;
        self.sent += u64::from(bytes);
        if let Some(since) = self.busy_since
            && now - since >= MEASURE
        {
            let rate = BitsPerSecond::over(self.sent, now - since);
            self.rate = Some(self.rate.map_or(rate, |old| BitsPerSecond((old.0 + rate.0) / 2)));
            (self.busy_since, self.sent) = (Some(now), 0);
        }
        bytes
    }

    /// A neighbour no longer wants a piece.
    pub fn cancel(&mut self, peer: PeerId, segment: SegmentId, piece: u8) {
        self.waiting.retain(|w| (w.peer, w.segment, w.piece) != (peer, segment, piece));
    }

    /// A neighbour is gone.
    pub fn forget(&mut self, peer: PeerId) {
        self.waiting.retain(|w| w.peer != peer);
        self.under_way.retain(|u| u.0 != peer);
    }

    /// A segment is no longer here.
    pub fn forget_segment(&mut self, segment: SegmentId) {
        self.waiting.retain(|w| w.segment != segment);
    }

    /// When the cap lets the next queued piece go; `None` when nothing waits for it.
    #[must_use]
    pub fn ready_at(&self) -> Option<Time> {
        if self.waiting.is_empty() || self.under_way.len() >= UNDER_WAY {
            None
        } else {
            self.bucket.ready_at()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> PeerId {
        PeerId::from_entropy([n; 12])
    }

    const SOON: Duration = Duration::from_secs(4);

    #[test]
    fn a_third_piece_for_the_same_neighbour_is_refused_at_once() {
        let mut uploads = Uploads::new(None, Time::ZERO);
        let mut ask = |n, piece| uploads.request(peer(n), SegmentId(1), piece, 16_384, SOON, Time::ZERO);
        assert_eq!(ask(1, 0), Queued::Accepted);
        assert_eq!(ask(1, 1), Queued::Accepted);
        assert!(matches!(ask(1, 2), Queued::Busy(_)));
        assert_eq!(ask(2, 0), Queued::Accepted);
        assert_eq!(ask(1, 0), Queued::Refused, "already queued");
    }

    #[test]
    fn the_earliest_deadline_goes_first() {
        let mut uploads = Uploads::new(None, Time::ZERO);
        uploads.request(peer(1), SegmentId(1), 0, 1, SOON * 2, Time::ZERO);
        uploads.request(peer(2), SegmentId(1), 1, 1, SOON, Time::ZERO);
        assert_eq!(uploads.next(Time::ZERO), Some((peer(2), SegmentId(1), 1)));
        uploads.cancel(peer(1), SegmentId(1), 0);
        assert_eq!(uploads.next(Time::ZERO), None);
    }

    #[test]
    fn a_slow_uplink_refuses_what_would_wait_too_long() {
        let mut uploads = Uploads::new(None, Time::ZERO);
        let mut now = Time::ZERO;
        for n in 0..3 {
            uploads.request(peer(n), SegmentId(1), n, 100_000, SOON, now);
            uploads.next(now);
            now += Duration::from_secs(1);
            uploads.sent(peer(n), SegmentId(1), n, now);
        }
        assert_eq!(uploads.request(peer(7), SegmentId(2), 0, 100_000, SOON, now), Queued::Accepted);
        assert!(matches!(uploads.request(peer(8), SegmentId(2), 1, 100_000, SOON, now), Queued::Busy(_)));
    }
}
