//! How fast pieces may leave, so that the queue before our uplink stays short: LEDBAT (RFC 6817) for messages that are
//! pieces, where the only clock is a ping.
//!
//! What the uplink carries of ours is measured while pieces wait, and that is the rate. The allowance is a little more or
//! less: `rate x (1 + (aim - delay) / settling)` brings the delay to the aim from either side, and does not swing, as
//! adding up corrections would. With no queue in sight the rate grows by a part in each round trip. Bytes that have not
//! left are bounded as well: when others take a part of the uplink, less of ours leaves, and that holds back before the
//! first ping tells.

use std::time::Duration;

use crate::delivery::policy::{
    NEAR, SLOWEST_UPLOAD, UNDER_WAY, UNKNOWN_ROUND_TRIP, UPLINK_AIM, UPLINK_GROWTH, UPLINK_MEMORY,
    UPLINK_SETTLING, UPLINK_SLACK, UPLINK_TARGET,
};
use crate::model::time::Time;
use crate::model::units::BitsPerSecond;

/// Pings whose least delay counts (RFC 6817: CURRENT_FILTER). They are of different neighbours: one of them being slow
/// says nothing about our uplink.
const FILTER: usize = 2;
/// … where a piece alone takes longer than [`LONG`] to leave, and most pings stand behind one.
const FILTER_LONG: usize = 4;
/// See [`FILTER_LONG`]; in seconds.
const LONG: f32 = 0.1;
/// Delays older than this are not compared with new ones.
const FRESH: Duration = Duration::from_secs(2);
/// Base round trips are averaged over about this many.
const AVERAGE: f32 = 8.0;
/// What leaves is measured over stretches at least this long …
const STRETCH: Duration = Duration::from_millis(250);
/// … and of so many pieces.
const PIECES: f32 = 6.0;
/// The rate is not believed to be more than this many times what was seen to leave.
const BELIEVED: f32 = 1.25;
/// As long as no queue was ever seen it may be this many times as much.
const BELIEVED_OPENING: f32 = 2.5;
/// See [`SLOWEST_UPLOAD`]; in bytes per second.
const SLOWEST: f32 = SLOWEST_UPLOAD.0 as f32 / 8.0;
/// The allowance is off the rate by no more than this.
const LEAST: f32 = 0.5;

/// The allowance, and what it goes by.
#[derive(Clone, Debug)]
pub struct Ledbat {
    /// What the uplink is taken to carry of ours, in bytes per second; 0 until the first piece tells how large pieces are.
    rate: f32,
    /// The largest piece, in bytes.
    piece: f32,
    /// The usual base round trip of neighbours, in seconds.
    base: Option<f32>,
    /// Delays over the base, in seconds, newest first.
    delays: [f32; FILTER_LONG],
    heard: Time,
    /// When a neighbour beyond our own network was last heard.
    far: Option<Time>,
    changed: Time,
    halved: Time,
    used: Time,
    /// When everything that went can be expected to have left.
    free: Time,
    /// The rate doubles until the first sign of a queue.
    opening: bool,
    /// A piece had to wait since the last change: only then more would be used.
    held: bool,
    stretch: Stretch,
    /// What left in the last stretch, in bytes per second.
    carried: Option<f32>,
}

/// A piece that was handed to the driver, by the clock: most drivers hear that it left a round trip later.
#[derive(Clone, Copy, Debug)]
pub struct Flight {
    leaves: Time,
    late: Time,
    gone: Time,
}

impl Flight {
    /// It stands in our uplink's queue: it can't have left yet, or should have been heard of. Much later it is its neighbour
    /// that is slow, or pings would tell.
    #[must_use]
    pub fn queued(&self, now: Time) -> bool {
        now < self.leaves || (self.late <= now && now < self.gone)
    }

    /// A piece that went with or after this one was heard to have left, and one uplink sends in order.
    pub fn overtaken(&mut self, by: Self) {
        if self.leaves <= by.leaves {
            *self = Self { leaves: Time::ZERO, late: Time::ZERO, gone: Time::ZERO };
        }
    }

    /// When time alone takes it out of the queue that it is in.
    #[must_use]
    pub fn until(&self, now: Time) -> Option<Time> {
        let until = if now < self.leaves { self.leaves } else { self.gone };
        self.queued(now).then_some(until)
    }
}

/// A time in which something was under way throughout.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    since: Time,
    /// Bytes that left.
    bytes: f32,
    /// A piece had to wait: the uplink and not the demand decided how many.
    held: bool,
}

impl Ledbat {
    /// For an uplink nothing is known of.
    #[must_use]
    pub fn new() -> Self {
        Self {
            rate: 0.0,
            piece: 0.0,
            base: None,
            delays: [0.0; FILTER_LONG],
            heard: Time::ZERO,
            far: None,
            changed: Time::ZERO,
            halved: Time::ZERO,
            used: Time::ZERO,
            free: Time::ZERO,
            opening: true,
            held: false,
            stretch: Stretch { since: Time::ZERO, bytes: 0.0, held: false },
            carried: None,
        }
    }

    /// A piece of this length is wanted. After a long silence everything but bases begins anew.
    pub fn wanted(&mut self, bytes: u32, now: Time) {
        if now - self.used > UPLINK_MEMORY {
            (self.rate, self.piece, self.opening, self.carried) = (0.0, 0.0, true, None);
        }
        self.used = now;
        self.piece = self.piece.max(bytes as f32);
        if self.opening {
            self.rate = self.rate.max(self.in_round_trip(UNDER_WAY));
        }
    }

    /// Whether a piece of `bytes` may go behind `queued` that have not left; one always may.
    pub fn open(&mut self, queued: u64, bytes: u32) -> bool {
        let open = queued == 0 || self.at_home() || queued as f32 + bytes as f32 <= UNDER_WAY * self.piece;
        if !open {
            self.holds();
        }
        open
    }

    /// A piece goes now: when its leaving can be expected, and when hearing of it is late.
    pub fn goes(&mut self, bytes: u32, now: Time) -> Flight {
        let takes = Duration::from_secs_f32((bytes as f32 / self.rate.max(SLOWEST)).min(10.0));
        let leaves = self.free.max(now) + takes;
        self.free = leaves;
        let base = Duration::from_secs_f32(self.base_s());
        let late = leaves + base + UPLINK_AIM + UPLINK_SLACK;
        Flight { leaves, late, gone: late + UPLINK_TARGET * 6 }
    }

    /// A piece has to wait for its turn.
    pub fn holds(&mut self) {
        (self.held, self.stretch.held) = (true, true);
    }

    /// A piece goes after nothing was under way.
    pub fn begins(&mut self, now: Time) {
        self.stretch = Stretch { since: now, bytes: 0.0, held: false };
    }

    /// A piece has left.
    pub fn left(&mut self, bytes: u32, now: Time) {
        self.stretch.bytes += bytes as f32;
        let took = now - self.stretch.since;
        if took < STRETCH || self.stretch.bytes < PIECES * self.piece {
            return;
        }
        let carried = self.stretch.bytes / took.as_secs_f32();
        let delay = if now - self.heard < FRESH { self.delay() } else { 0.0 };
        // Without a queue the uplink could carry more; without demand it was not asked to.
        let full = delay > self.queue_begins() && self.stretch.held;
        if full || delay > UPLINK_TARGET.as_secs_f32() {
            self.rate = self.rate.midpoint(carried).max(SLOWEST);
        }
        if self.stretch.held {
            // More would have gone, and did not leave.
            let no_more = self.carried.is_some_and(|before| carried < before * 1.2);
            self.opening &= !(no_more && carried * 2.0 < self.rate);
            self.rate = self.rate.min((carried * self.believed()).max(SLOWEST));
        }
        self.carried = Some(carried);
        self.begins(now);
    }

    /// A ping came back from a neighbour with this base; true when the allowance may have changed.
    pub fn hear(&mut self, base: Duration, round_trip: Duration, now: Time) -> bool {
        let near = base < NEAR;
        if near && self.far.is_some_and(|far| now - far < FRESH) {
            return false;
        }
        if !near {
            self.far = Some(now);
        }
        let usual = self.base.unwrap_or(base.as_secs_f32());
        self.base = Some(usual + (base.as_secs_f32() - usual) / AVERAGE);
        let delay = if near { 0.0 } else { (round_trip - base.min(round_trip)).as_secs_f32() };
        if now - self.heard > FRESH {
            self.delays = [delay; FILTER_LONG];
        }
        self.heard = now;
        self.delays.rotate_right(1);
        self.delays[0] = delay;
        // What was changed has to have had its effect on what is heard.
        if (now - self.changed).as_secs_f32() >= self.round_trip() {
            self.change(now);
            self.changed = now;
        }
        true
    }

    fn change(&mut self, now: Time) {
        let delay = self.delay();
        self.opening &= delay <= self.queue_begins();
        if delay <= self.queue_begins() && self.held {
            let elapsed = (now - self.changed).as_secs_f32().min(0.5);
            let growth = if self.opening { 2.0 } else { 1.0 + UPLINK_GROWTH * elapsed };
            let unknown = self.in_round_trip(2.0 * UNDER_WAY);
            let most = self.carried.map_or(unknown, |carried| carried * self.believed());
            self.rate = (self.rate * growth).min(most.max(self.rate));
        }
        let rising = self.delays[0] >= self.delays[1];
        let halving = delay > 2.0 * UPLINK_TARGET.as_secs_f32() && rising;
        if halving && (now - self.halved).as_secs_f32() > 2.0 * self.round_trip() {
            self.rate = (self.rate / 2.0).max(SLOWEST);
            self.halved = now;
        }
        self.held = false;
    }

    /// So many pieces in each round trip, in bytes per second.
    fn in_round_trip(&self, pieces: f32) -> f32 {
        pieces * self.piece / self.base_s().max(0.02)
    }

    /// The uplink's queue, in seconds.
    fn delay(&self) -> f32 {
        let filter = if self.piece_time() > LONG { FILTER_LONG } else { FILTER };
        self.delays[..filter].iter().copied().fold(f32::INFINITY, f32::min)
    }

    /// How far the rate may be from what was seen to leave.
    fn believed(&self) -> f32 {
        if self.opening { BELIEVED_OPENING } else { BELIEVED }
    }

    /// How long a piece takes to leave, in seconds.
    fn piece_time(&self) -> f32 {
        self.piece / self.rate.max(1.0)
    }

    /// The delay to have, in seconds; more where even pings between two long pieces seldom see the queue empty.
    fn aim(&self) -> f32 {
        UPLINK_AIM.as_secs_f32() + 0.5 * (self.piece_time() - LONG).max(0.0)
    }

    /// Less than this may be the jitter of the line, in seconds.
    fn queue_begins(&self) -> f32 {
        self.aim() / 2.0
    }

    fn base_s(&self) -> f32 {
        self.base.unwrap_or(UNKNOWN_ROUND_TRIP.as_secs_f32())
    }

    /// With what stands in the queue now, in seconds.
    fn round_trip(&self) -> f32 {
        self.base_s() + self.delay()
    }

    /// All neighbours are on our own network: nothing of ours goes over the uplink.
    fn at_home(&self) -> bool {
        self.far.is_none() && self.base.is_some()
    }

    /// How fast pieces may leave; `None` before the first, and where the uplink does not matter.
    #[must_use]
    pub fn allowance(&self) -> Option<BitsPerSecond> {
        if self.rate <= 0.0 || self.at_home() {
            return None;
        }
        // A queue of one piece is no queue: the longer a piece takes, the gentler.
        let settling = UPLINK_SETTLING.as_secs_f32() + self.piece_time() / 2.0;
        let factor = 1.0 + (self.aim() - self.delay()) / settling;
        let allowed = (self.rate * factor.max(LEAST)).max(SLOWEST);
        Some(BitsPerSecond((allowed * 8.0) as u64))
    }

    /// How long it takes until nothing of ours stands in the queue any more, once nothing is sent.
    #[must_use]
    pub fn drained_after(&self) -> Duration {
        Duration::from_secs_f32(self.round_trip().min(0.5)) + UPLINK_AIM
    }

    /// A queue stands before the uplink, or nobody knows.
    #[must_use]
    pub fn pressed(&self) -> bool {
        self.base.is_none() || self.delay() > self.queue_begins()
    }
}

impl Default for Ledbat {
    fn default() -> Self {
        Self::new()
    }
}
