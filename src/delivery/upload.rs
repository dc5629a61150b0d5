//! Whom we serve, in what order; refusing early.
//!
//! A request is either queued, at most [`UPLOADS_EACH`] for each neighbour, or refused at once so that the asker goes
//! elsewhere; what the [`Budget`] does not cover is refused for good. What nobody else can give goes first, then the
//! earliest deadline; as fast as [`Pace`] lets it. Deadlines of those who bring us much
//! count as earlier: what they get spreads furthest, and whoever gives is served.

use std::time::Duration;

use super::budget::{Allowance, Budget};
use super::pace::{Flight, Pace};
use super::policy::{
    ENDGAME, Policy, UPLOAD_DISPLACED, UPLOAD_QUEUE, UPLOADS_EACH, UPLOADS_UNMEASURED, UPLOADS_WAITING,
};
use crate::model::ids::{PeerId, SegmentId};
use crate::model::time::Time;
use crate::model::units::BitsPerSecond;

/// Neighbours' uplinks are measured over stretches at least this long.
const MEASURE: Duration = Duration::from_millis(200);

#[derive(Clone, Debug)]
struct Waiting {
    peer: PeerId,
    segment: SegmentId,
    piece: u8,
    bytes: u32,
    /// Others have it too: it can wait for what only we have.
    elsewhere: bool,
    deadline: Time,
}

/// What a request is about.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Who asks.
    pub peer: PeerId,
    /// For what.
    pub segment: SegmentId,
    /// Which piece of it.
    pub piece: u8,
    /// Its length.
    pub bytes: u32,
    /// How long the asker can wait.
    pub within: Duration,
    /// How much earlier than its deadline it counts, for what the asker brought us.
    pub merit: Duration,
    /// Others have it too: it can wait for what only we have.
    pub elsewhere: bool,
}

/// A piece that the driver has.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    peer: PeerId,
    segment: SegmentId,
    piece: u8,
    bytes: u32,
    flight: Flight,
}

/// A request that was accepted and is refused after all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Displaced {
    /// Who asked.
    pub peer: PeerId,
    /// For what.
    pub segment: SegmentId,
    /// Which piece of it.
    pub piece: u8,
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
    /// The budget does not cover it, nor anything after it.
    Spent,
}

/// The queue of pieces to send.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Uploads {
    waiting: Vec<Waiting>,
    under_way: Vec<UnderWay>,
    rate: Option<BitsPerSecond>,
    pace: Pace,
    /// What may be uploaded at all.
    pub budget: Budget,
    busy_since: Option<Time>,
    sent: u64,
}

impl Uploads {
    /// An empty queue.
    #[must_use]
    pub fn new(policy: &Policy, now: Time) -> Self {
        Self {
            budget: Budget::default(),
            waiting: Vec::new(),
            under_way: Vec::new(),
            pace: Pace::new(policy, now),
            rate: None,
            busy_since: None,
            sent: 0,
        }
    }

    /// Changes what holds.
    pub fn change(&mut self, policy: &Policy, now: Time) {
        self.pace.change(policy, now);
    }

    /// A ping came back from a neighbour with this base; true when pieces that wait may go now.
    pub fn heard(&mut self, base: Duration, round_trip: Duration, now: Time) -> bool {
        self.pace.hear(base, round_trip, now)
    }

    /// How far apart neighbours are to be pinged so that uploads can give way; `None` while nothing is sent.
    #[must_use]
    pub fn probing(&self, now: Time) -> Option<Duration> {
        self.pace.probing(now)
    }

    /// When all neighbours are to be pinged, if nothing will be sent from now until then to let their bases be seen.
    pub fn rest(&mut self, now: Time) -> Option<Time> {
        self.pace.rest(now)
    }

    /// Whether a piece is on its way to this neighbour: a ping would wait behind it.
    #[must_use]
    pub fn sending_to(&self, peer: PeerId) -> bool {
        self.under_way.iter().any(|u| u.peer == peer)
    }

    /// A neighbour asks for a piece that we hold.
    pub fn request(&mut self, request: Request, now: Time) -> Queued {
        let Request { peer, segment, piece, bytes, within, merit, elsewhere } = request;
        let same = |p: PeerId, s: SegmentId, i: u8| p == peer && s == segment && i == piece;
        let waiting = self.waiting.iter().any(|w| same(w.peer, w.segment, w.piece));
        if waiting || self.under_way.iter().any(|u| same(u.peer, u.segment, u.piece)) {
            return Queued::Refused;
        }
        let of_peer = self.waiting.iter().filter(|w| w.peer == peer).count()
            + self.under_way.iter().filter(|u| u.peer == peer).count();
        // What an asker says of its need is believed down to where everybody's is urgent: saying less brings nothing more.
        let deadline = (now + within.max(ENDGAME)).back(merit);
        let queue = self.queue_time(elsewhere, deadline);
        if of_peer >= UPLOADS_EACH || queue.is_none_or(|time| time > UPLOAD_QUEUE.min(within)) {
            return Queued::Busy(queue.unwrap_or(UPLOAD_QUEUE).clamp(UPLOAD_QUEUE / 5, UPLOAD_QUEUE));
        }
        if !self.budget.fits(bytes, self.promised()) {
            return Queued::Spent;
        }
        self.pace.wanted(bytes, now);
        self.waiting.push(Waiting { peer, segment, piece, bytes, elsewhere, deadline });
        Queued::Accepted
    }

    /// What may be uploaded from now on.
    pub fn allow(&mut self, allowance: Option<Allowance>) {
        self.budget.allow(allowance, self.promised());
    }

    /// Bytes that wait to be sent.
    fn promised(&self) -> u64 {
        self.waiting.iter().map(|w| u64::from(w.bytes)).sum()
    }

    /// A request that was accepted, and that later ones went before until its asker would give it up: to be refused now, so
    /// that the asker goes elsewhere. To be called after [`request`](Self::request) until there is none.
    pub fn displaced(&mut self) -> Option<Displaced> {
        let last =
            (0..self.waiting.len()).max_by_key(|&i| (self.waiting[i].elsewhere, self.waiting[i].deadline))?;
        let Waiting { peer, segment, piece, elsewhere, deadline, bytes } = self.waiting[last];
        let wait =
            self.pace.rate(self.rate)?.time_for(self.before(elsewhere, deadline) - u64::from(bytes))?;
        if !elsewhere || wait <= UPLOAD_DISPLACED {
            return None;
        }
        self.waiting.swap_remove(last);
        Some(Displaced { peer, segment, piece })
    }

    /// Bytes that leave before a piece with this place in the queue, those at the same place included.
    fn before(&self, elsewhere: bool, deadline: Time) -> u64 {
        let before = self.waiting.iter().filter(|w| (w.elsewhere, w.deadline) <= (elsewhere, deadline));
        before.map(|w| u64::from(w.bytes)).sum::<u64>() + self.bytes_under_way()
    }

    /// How long what is queued before a piece will take; `None`: more than can be said to be little.
    fn queue_time(&self, elsewhere: bool, deadline: Time) -> Option<Duration> {
        if self.waiting.len() >= UPLOADS_WAITING {
            return None;
        }
        if self.rate.is_none() && self.waiting.len() + self.under_way.len() >= UPLOADS_UNMEASURED {
            return None;
        }
        match self.pace.rate(self.rate) {
            Some(rate) => rate.time_for(self.before(elsewhere, deadline)),
            None => Some(Duration::ZERO),
        }
    }

    fn bytes_under_way(&self) -> u64 {
        self.under_way.iter().map(|u| u64::from(u.bytes)).sum()
    }

    /// The next piece to hand to the driver; `None` when the queue is empty, enough is under way, or it is not time yet.
    ///
    /// One at a time for each neighbour, until the driver has room for another: a channel sends in order, so whatever waits
    /// there more than has to is passed by nothing more urgent, and no cancel reaches it.
    pub fn next(&mut self, now: Time) -> Option<(PeerId, SegmentId, u8)> {
        let free = (0..self.waiting.len()).filter(|&i| !self.sending_to(self.waiting[i].peer));
        let index = free.min_by_key(|&i| (self.waiting[i].elsewhere, self.waiting[i].deadline))?;
        let queued = self.under_way.iter().filter(|u| u.flight.queued(now)).map(|u| u64::from(u.bytes)).sum();
        let flight = self.pace.take(self.waiting[index].bytes, queued, now)?;
        let Waiting { peer, segment, piece, bytes, .. } = self.waiting.swap_remove(index);
        if self.under_way.is_empty() {
            (self.busy_since, self.sent) = (Some(now), 0);
        }
        self.budget.spend(bytes);
        self.under_way.push(UnderWay { peer, segment, piece, bytes, flight });
        Some((peer, segment, piece))
    }

    /// What the uplink was seen to carry; `None` before it was busy for a while.
    #[must_use]
    pub fn rate(&self) -> Option<BitsPerSecond> {
        self.rate
    }

    /// The driver is done with a piece; its length in bytes, 0 when it was not under way.
    pub fn sent(&mut self, peer: PeerId, segment: SegmentId, piece: u8, now: Time) -> u32 {
        let found =
            self.under_way.iter().position(|u| (u.peer, u.segment, u.piece) == (peer, segment, piece));
        let Some(index) = found else { return 0 };
        let UnderWay { bytes, flight, .. } = self.under_way.swap_remove(index);
        self.under_way.iter_mut().for_each(|u| u.flight.overtaken(flight));
        self.sent += u64::from(bytes);
        if let Some(since) = self.busy_since
            && now - since >= MEASURE
        {
            let rate = BitsPerSecond::over(self.sent, now - since);
            self.rate = Some(self.rate.map_or(rate, |old| BitsPerSecond((old.0 + rate.0) / 2)));
            (self.busy_since, self.sent) = (Some(now), 0);
        }
        self.pace.left(bytes, self.bytes_under_way(), now);
        bytes
    }

    /// The driver had not the piece that it was to send: it says nothing of the uplink, and is not under way. Whether it was.
    pub fn unsent(&mut self, peer: PeerId, segment: SegmentId, piece: u8, now: Time) -> bool {
        let before = self.under_way.len();
        self.under_way.retain(|u| (u.peer, u.segment, u.piece) != (peer, segment, piece));
        if self.under_way.len() == before {
            return false;
        }
        self.pace.left(0, self.bytes_under_way(), now);
        true
    }

    /// A neighbour no longer wants a piece.
    pub fn cancel(&mut self, peer: PeerId, segment: SegmentId, piece: u8) {
        self.waiting.retain(|w| (w.peer, w.segment, w.piece) != (peer, segment, piece));
    }

    /// A neighbour is gone.
    pub fn forget(&mut self, peer: PeerId) {
        self.waiting.retain(|w| w.peer != peer);
        self.under_way.retain(|u| u.peer != peer);
    }

    /// A segment is no longer here.
    pub fn forget_segment(&mut self, segment: SegmentId) {
        self.waiting.retain(|w| w.segment != segment);
    }

    /// When time alone lets the next queued piece go; `None` when nothing waits for that.
    #[must_use]
    pub fn ready_at(&self, now: Time) -> Option<Time> {
        if self.waiting.iter().all(|w| self.sending_to(w.peer)) {
            return None;
        }
        // By the buckets, or by the queue that gets shorter.
        let queue = || self.under_way.iter().filter_map(|u| u.flight.until(now)).min();
        self.pace.ready_at(now).or_else(queue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::policy::Options;

    fn peer(n: u8) -> PeerId {
        PeerId::from_entropy([n; 12])
    }

    fn uploads() -> Uploads {
        Uploads::new(&Policy::new(&Options::default(), 64 << 20), Time::ZERO)
    }

    const SOON: Duration = Duration::from_secs(4);

    fn request(n: u8, (segment, piece): (u64, u8), bytes: u32, within: Duration) -> Request {
        let (peer, segment, merit) = (peer(n), SegmentId(segment), Duration::ZERO);
        Request { peer, segment, piece, bytes, within, merit, elsewhere: true }
    }

    /// An uplink of 100 kB/s.
    fn slow(uploads: &mut Uploads) -> Time {
        let mut now = Time::ZERO;
        for n in 0..3 {
            uploads.request(request(n, (1, n), 100_000, SOON), now);
            uploads.next(now);
            now += Duration::from_secs(1);
            uploads.sent(peer(n), SegmentId(1), n, now);
        }
        now
    }

    #[test]
    fn whoever_brings_much_does_not_wait_for_whoever_brings_nothing() {
        let mut uploads = uploads();
        let now = slow(&mut uploads);
        for n in 0..15 {
            uploads.request(request(n, (2, n), 30_000, SOON), now);
        }
        let late = request(20, (2, 20), 30_000, SOON * 2);
        assert!(matches!(uploads.request(late, now), Queued::Busy(_)));
        assert_eq!(uploads.displaced(), None);
        assert_eq!(uploads.request(Request { merit: SOON * 3 / 2, ..late }, now), Queued::Accepted);
        assert_eq!(uploads.next(now), Some((peer(20), SegmentId(2), 20)));
    }

    #[test]
    fn whoever_is_displaced_is_told() {
        let mut uploads = uploads();
        let now = slow(&mut uploads);
        let accepted = |queued: Queued| queued == Queued::Accepted;
        let calm =
            (0..15).filter(|&n| accepted(uploads.request(request(n, (2, n), 30_000, SOON), now))).count();
        let favoured = |n: u8| Request { merit: SOON, ..request(n, (2, n), 30_000, SOON) };
        let more = (20..35).filter(|&n| accepted(uploads.request(favoured(n), now))).count();
        let told: Vec<Displaced> = std::iter::from_fn(|| uploads.displaced()).collect();
        assert!(calm > 0 && more > 0 && !told.is_empty(), "{calm} {more} {told:?}");
        assert!(told.iter().all(|d| d.peer < peer(15)), "the favoured stay: {told:?}");
        // What stays leaves before anybody's patience ends: 100 kB/s.
        assert!(uploads.before(true, now + SOON * 9) <= 100_000 * 8 / 10 + 30_000);
    }

    #[test]
    fn who_claims_to_be_in_a_hurry_does_not_pass_those_who_are_for_what_they_bring() {
        let mut uploads = uploads();
        uploads.request(request(1, (1, 0), 1, Duration::from_millis(1)), Time::ZERO);
        let merit = Duration::from_secs(3);
        uploads.request(Request { merit, ..request(2, (1, 1), 1, SOON) }, Time::ZERO);
        assert_eq!(uploads.next(Time::ZERO), Some((peer(2), SegmentId(1), 1)));
    }

    #[test]
    fn the_queue_has_a_bound_whatever_the_merit() {
        let mut uploads = uploads();
        let now = slow(&mut uploads);
        let asks = (0..200u8).map(|n| {
            let merit = Duration::from_millis(10 * u64::from(n));
            uploads.request(Request { merit, ..request(n, (2, n % 64), 1, SOON) }, now)
        });
        assert_eq!(asks.filter(|queued| *queued == Queued::Accepted).count(), UPLOADS_WAITING);
    }

    #[test]
    fn a_piece_that_was_gone_says_nothing_of_the_uplink() {
        let mut uploads = uploads();
        let mut now = slow(&mut uploads);
        let rate = uploads.rate();
        for piece in 0..5 {
            uploads.request(request(9, (2, piece), 100_000, SOON), now);
            assert_eq!(uploads.next(now), Some((peer(9), SegmentId(2), piece)));
            now += Duration::from_secs(1);
            assert!(uploads.unsent(peer(9), SegmentId(2), piece, now));
            assert!(!uploads.unsent(peer(9), SegmentId(2), piece, now), "once");
            assert_eq!((uploads.rate(), uploads.bytes_under_way()), (rate, 0));
        }
    }

    #[test]
    fn a_third_piece_for_the_same_neighbour_is_refused_at_once() {
        let mut uploads = uploads();
        let mut ask = |n, piece| uploads.request(request(n, (1, piece), 16_384, SOON), Time::ZERO);
        assert_eq!(ask(1, 0), Queued::Accepted);
        assert_eq!(ask(1, 1), Queued::Accepted);
        assert!(matches!(ask(1, 2), Queued::Busy(_)));
        assert_eq!(ask(2, 0), Queued::Accepted);
        assert_eq!(ask(1, 0), Queued::Refused, "already queued");
    }

    #[test]
    fn a_channel_gets_its_next_piece_when_the_one_before_has_left() {
        let mut uploads = uploads();
        let now = slow(&mut uploads);
        for (n, piece, within) in [(1, 0, SOON), (1, 1, SOON), (2, 2, SOON * 2)] {
            uploads.request(request(n, (2, piece), 1_000, within), now);
        }
        let next = |uploads: &mut Uploads| uploads.next(now).map(|(peer, _, piece)| (peer, piece));
        assert_eq!(next(&mut uploads), Some((peer(1), 0)));
        assert_eq!(next(&mut uploads), Some((peer(2), 2)), "though it is less urgent");
        assert_eq!((next(&mut uploads), uploads.ready_at(now)), (None, None));
        uploads.sent(peer(1), SegmentId(2), 0, now);
        assert_eq!(next(&mut uploads), Some((peer(1), 1)));
    }

    #[test]
    fn the_earliest_deadline_goes_first() {
        let mut uploads = uploads();
        uploads.request(request(1, (1, 0), 1, SOON * 2), Time::ZERO);
        uploads.request(request(2, (1, 1), 1, SOON), Time::ZERO);
        assert_eq!(uploads.next(Time::ZERO), Some((peer(2), SegmentId(1), 1)));
        uploads.cancel(peer(1), SegmentId(1), 0);
        assert_eq!(uploads.next(Time::ZERO), None);
    }

    #[test]
    fn a_slow_uplink_refuses_what_would_wait_too_long() {
        let mut uploads = uploads();
        let now = slow(&mut uploads);
        let mut ask = |n, piece, elsewhere| {
            uploads.request(Request { elsewhere, ..request(n, (2, piece), 100_000, SOON) }, now)
        };
        assert_eq!(ask(7, 0, true), Queued::Accepted);
        assert!(matches!(ask(8, 1, true), Queued::Busy(_)));
        assert_eq!(
            ask(9, 2, false),
            Queued::Accepted,
            "what only we have does not wait for what others have"
        );
        assert_eq!(uploads.next(now), Some((peer(9), SegmentId(2), 2)));
    }
}
