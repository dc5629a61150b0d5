//! How much may be on its way to neighbours, so that our uplink's queue stays short (RFC 6817, with the decrease of
//! draft-irtf-iccrg-ledbat-plus-plus and the fixed point of FAST TCP).
//!
//! The window counts bytes handed to the driver and not yet gone. Bytes in a queue are delay: `window = rate x (base +
//! delay)`, so a window multiplied by `(base + aim) / (base + delay)` is the one that makes the delay the aim, whatever
//! the rate has become. And when others take a part of the uplink, less leaves the window in the same moment: it holds
//! back before the first ping tells.

use std::time::Duration;

use super::super::policy::{
    NEAR, SLOWEST_UPLOAD, UNDER_WAY, UNKNOWN_ROUND_TRIP, UPLINK_AIM, UPLINK_MEMORY, UPLINK_TARGET,
    UPLOADS_UNMEASURED,
};
use crate::model::time::Time;
use crate::model::units::BitsPerSecond;

/// The least of so many pings counts (RFC 6817: CURRENT_FILTER): they come from different neighbours, and one of them
/// being slow says nothing about our uplink.
const FILTER: usize = 3;
/// Pings before this are not compared with new ones.
const FRESH: Duration = Duration::from_secs(2);
/// The window passes what was measured to be used by no more than this.
const HEADROOM: f32 = 1.25;
/// Pieces are let go at this many times the allowance: the window is what binds, this only spreads them.
const SPREAD: f32 = 1.25;
/// Base round trips are averaged over about this many pings.
const AVERAGE: f32 = 8.0;

/// The window, and what it goes by.
#[derive(Clone, Debug)]
pub struct Window {
    /// Bytes; 0 until the first piece tells how large pieces are.
    bytes: f32,
    /// The largest piece lately, in bytes.
    piece: f32,
    /// The usual base round trip of neighbours, in seconds.
    base: Option<f32>,
    /// Delay over the base by the last pings, in seconds, newest first.
    delays: [f32; FILTER],
    heard: Time,
    /// When a neighbour beyond our own network was last heard.
    far: Option<Time>,
    changed: Time,
    used: Time,
    /// It doubles until the first sign of a queue.
    opening: bool,
    /// A piece had to wait for it since it last changed: only then more would be used.
    held: bool,
}

impl Window {
    /// For an uplink nothing is known of.
    #[must_use]
    pub fn new() -> Self {
        Self {
            bytes: 0.0,
            piece: 0.0,
            base: None,
            delays: [0.0; FILTER],
            heard: Time::ZERO,
            far: None,
            changed: Time::ZERO,
            used: Time::ZERO,
            opening: true,
            held: false,
        }
    }

    /// A piece of this length is wanted. After a long silence everything begins anew.
    pub fn wanted(&mut self, bytes: u32, now: Time) {
        if now - self.used > UPLINK_MEMORY {
            (self.bytes, self.piece, self.opening) = (0.0, 0.0, true);
        }
        self.used = now;
        self.piece = self.piece.max(bytes as f32);
        if self.opening {
            self.bytes = self.bytes.max(UNDER_WAY * self.piece);
        }
    }

    /// Whether another piece may go while `under_way` bytes have not left; one piece always may.
    pub fn open(&mut self, under_way: u64) -> bool {
        let open = under_way == 0 || (under_way as f32) < self.bytes;
        self.held |= !open;
        open
    }

    /// A piece had to wait for its turn in time.
    pub fn holds(&mut self) {
        self.held = true;
    }

    /// A ping came back from a neighbour with this base; true when the window changed. With `give_way` off the delay
    /// counts for nothing. `used` is what the uplink was measured to carry.
    pub fn hear(
        &mut self,
        base: Duration,
        round_trip: Duration,
        used: Option<BitsPerSecond>,
        give_way: bool,
        now: Time,
    ) -> bool {
        let near = base < NEAR;
        if near && self.far.is_some_and(|far| now - far < FRESH) {
            return false;
        }
        if !near {
            self.far = Some(now);
        }
        let usual = self.base.unwrap_or(base.as_secs_f32());
        self.base = Some(usual + (base.as_secs_f32() - usual) / AVERAGE);
        let delay = if near || !give_way { 0.0 } else { (round_trip - base.min(round_trip)).as_secs_f32() };
        if now - self.heard > FRESH {
            self.delays = [delay; FILTER];
        }
        self.heard = now;
        self.delays.rotate_right(1);
        self.delays[0] = delay;
        // Whatever was changed has to have had its effect on what is heard.
        if (now - self.changed).as_secs_f32() < self.round_trip() {
            return false;
        }
        self.change(used);
        self.changed = now;
        true
    }

    fn change(&mut self, used: Option<BitsPerSecond>) {
        let (delay, round_trip) = (self.delay(), self.round_trip());
        let (aim, target) = (UPLINK_AIM.as_secs_f32(), UPLINK_TARGET.as_secs_f32());
        // Towards the window that makes the delay the aim, by half of the way: pings are a round trip old.
        let gentle = 1.0 + 0.5 * (aim - delay) / round_trip;
        self.opening &= delay < aim / 2.0;
        let factor = match delay {
            much if much > 2.0 * target => 0.5,
            more if more > target => ((round_trip - delay + aim) / round_trip).max(0.5),
            some if some > aim => gentle,
            _ if !self.held => 1.0,
            _ if self.opening => 2.0,
            _ => gentle.min(2.0),
        };
        let mut bytes = self.bytes * factor;
        if factor > 1.0 {
            bytes = bytes.min(self.most(used).max(self.bytes));
        }
        self.bytes = bytes.max(self.slowest() * round_trip);
        self.held = false;
    }

    /// What can be of any use: with more under way, nothing would leave sooner.
    fn most(&self, used: Option<BitsPerSecond>) -> f32 {
        let pieces = match used {
            Some(_) => UNDER_WAY,
            None => UPLOADS_UNMEASURED as f32,
        };
        let useful = used.map_or(0.0, |used| used.0 as f32 / 8.0 * self.useful_for());
        (HEADROOM * useful).max(pieces * self.piece)
    }

    fn useful_for(&self) -> f32 {
        self.round_trip() - self.delay() + UPLINK_AIM.as_secs_f32()
    }

    /// The least that goes however full the uplink is, in bytes per second.
    fn slowest(&self) -> f32 {
        SLOWEST_UPLOAD * self.piece
    }

    /// The uplink's queue, in seconds.
    fn delay(&self) -> f32 {
        self.delays.iter().copied().fold(f32::INFINITY, f32::min)
    }

    /// With what stands in the queue now, in seconds; never quite zero.
    fn round_trip(&self) -> f32 {
        self.base.unwrap_or(UNKNOWN_ROUND_TRIP.as_secs_f32()).max(0.001) + self.delay()
    }

    /// What the window comes to as a rate; `None` before the first piece.
    #[must_use]
    pub fn allowance(&self) -> Option<BitsPerSecond> {
        let rate = (self.bytes / self.round_trip()).max(self.slowest()) * 8.0;
        (rate > 0.0).then_some(BitsPerSecond(rate as u64))
    }

    /// The rate at which pieces are let go one after the other.
    #[must_use]
    pub fn spread(&self) -> BitsPerSecond {
        BitsPerSecond(((self.bytes * SPREAD / self.round_trip()).max(self.slowest()) * 8.0) as u64)
    }

    /// How long it takes until nothing of ours stands in the queue any more, once nothing is sent.
    #[must_use]
    pub fn drained_after(&self) -> Duration {
        Duration::from_secs_f32(self.round_trip().min(0.5)) + UPLINK_AIM
    }

    /// A queue stands before the uplink.
    #[must_use]
    pub fn pressed(&self) -> bool {
        self.delay() > UPLINK_AIM.as_secs_f32() / 2.0
    }
}

impl Default for Window {
    fn default() -> Self {
        Self::new()
    }
}
