//! Virtual players: when they ask for what, as measured on the real ones; what they have played.
//!
//! | kind | live start | open at once | reads ahead | reloads |
//! |---|---|---|---|---|
//! | ffplay | 3rd from the end | 2 | the segment after the one it plays | only when it has run out |
//! | VLC | 5th from the end | 1; from the 3rd on 1.1 s apart | 28 s or 8 MB | every target duration, asks 1.15 s later |
//! | hls.js | 3rd from the end | 1 | 28 s | every target duration, half when nothing is new |
//! | mpv | 3rd from the end | 2 | 150 MiB | every target duration |
//! | demo | 3rd from the end | 1 | 12 s | only when it has run out (our own headless viewer) |

use std::time::Duration;

use super::content::Programme;
use super::plain::{AGAIN, Plain};
use crate::delivery::AskId;
use crate::model::ids::SegmentId;
use crate::model::time::Time;
use crate::model::timeline::{Segment, Timeline};
use crate::viewer::playout::{Cursor, Next, Playout, reload_after};

/// Which player it is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ffplay, `ffmpeg -re`.
    Ffplay,
    /// VLC 3.
    Vlc,
    /// hls.js at its defaults.
    HlsJs,
    /// mpv.
    Mpv,
    /// `paceline watch`, which the demo's viewers are.
    Demo,
}

/// How a kind behaves.
#[derive(Clone, Copy, Debug)]
struct Manner {
    from_edge: usize,
    open: usize,
    ahead: Duration,
    /// So many are asked for one right after the other …
    burst: u8,
    /// … and from then on so far apart.
    apart: Duration,
    follow: Duration,
    by_clock: bool,
}

/// What mpv keeps ahead of its playhead at most, in bytes.
const MPV_CACHE: u64 = 150 << 20;
/// What VLC does.
const VLC_CACHE: u64 = 8_000_000;

impl Kind {
    fn manner(self, programme: &Programme) -> Manner {
        let calm = Duration::ZERO;
        let lasts = |bytes| programme.bitrate.time_for(bytes).unwrap_or(Duration::MAX);
        let base = Manner {
            from_edge: 3,
            open: 1,
            ahead: Duration::from_secs(28),
            burst: 0,
            apart: calm,
            follow: calm,
            by_clock: true,
        };
        match self {
            Self::Ffplay => Manner { open: 2, ahead: programme.segment, by_clock: false, ..base },
            Self::Vlc => Manner {
                from_edge: 5,
                ahead: base.ahead.min(lasts(VLC_CACHE)),
                burst: 2,
                apart: Duration::from_millis(1100),
                follow: Duration::from_millis(1150),
                ..base
            },
            Self::HlsJs => base,
            Self::Mpv => Manner { open: 2, ahead: lasts(MPV_CACHE), ..base },
            Self::Demo => Manner { ahead: Duration::from_secs(12), by_clock: false, ..base },
        }
    }
}

/// What a player does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Loads the manifest of its rendition.
    Load,
    /// Asks for a segment.
    Ask(Segment),
}

#[derive(Clone, Copy, Debug)]
struct Open {
    ask: AskId,
    segment: Segment,
    complete: bool,
}

/// A request that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The segment.
    pub segment: Segment,
    /// The player had nothing else to play when it came, and HTTP alone would have brought it more than 100 ms before.
    pub late: bool,
}

/// One virtual player.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Player {
    /// When it will act, as of the last look; to be looked at anew if something has changed since.
    plan: Option<Time>,
    changes: bool,
    manner: Manner,
    playout: Playout,
    cursor: Cursor,
    listing: Option<Timeline>,
    open: Vec<Open>,
    loading: bool,
    loaded: Time,
    changed: bool,
    next_ask: Time,
    asked: Duration,
    /// Segments asked for in a row since it began or sought, as far as that is told apart.
    row: u8,
    /// Does nothing until then.
    away_until: Time,
    earlier: (u32, Duration),
    /// What plain HTTP would have done for it.
    plain: Plain,
}

/// A segment this much later than HTTP alone is late.
const GRACE: Duration = Duration::from_millis(100);

impl Player {
    /// A player that is told to play at `now`, and what plain HTTP would be to it.
    #[must_use]
    pub fn new(kind: Kind, programme: &Programme, plain: Plain, now: Time) -> Self {
        let manner = kind.manner(programme);
        Self {
            manner,
            playout: Playout::new(now),
            cursor: Cursor::starting(manner.from_edge),
            listing: None,
            open: Vec::new(),
            loading: false,
            loaded: now,
            changed: true,
            next_ask: now,
            asked: Duration::ZERO,
            row: 0,
            away_until: now,
            earlier: (0, Duration::ZERO),
            plan: None,
            changes: true,
            plain,
        }
    }

    /// What it has played.
    #[must_use]
    pub fn playout(&self) -> &Playout {
        &self.playout
    }

    /// Interruptions so far and their length.
    #[must_use]
    pub fn stalls(&self, now: Time) -> (u32, Duration) {
        let (stalls, length) = self.playout.stalls(now);
        (self.earlier.0 + stalls, self.earlier.1 + length)
    }

    /// Whether it stands still.
    #[must_use]
    pub fn stalled(&self, now: Time) -> bool {
        self.playout.startup().is_some() && self.playout.buffered(now).is_zero()
    }

    /// What it does now, if anything; to be called again until it does nothing.
    pub fn act(&mut self, now: Time) -> Option<Act> {
        self.changes = true;
        if now < self.away_until {
            return None;
        }
        let Some(listing) = &self.listing else {
            let first = !self.loading;
            self.loading = true;
            return first.then_some(Act::Load);
        };
        let grows = listing.kind.grows();
        let next = self.cursor.next(listing);
        if let Next::Take { index, .. } = next
            && self.may_ask(now)
        {
            let segment = listing.segments[index];
            self.cursor.took(segment.sequence);
            self.asked += segment.duration;
            self.row = self.row.saturating_add(1);
            self.next_ask = if self.row < self.manner.burst { now } else { now + self.manner.apart };
            return Some(Act::Ask(segment));
        }
        let out = next == Next::Reload && self.wants(now);
        if grows && !self.loading && (self.manner.by_clock || out) && now >= self.reload_at() {
            self.loading = true;
            return Some(Act::Load);
        }
        None
    }

    /// When it will do something by time alone; `None`: after the next thing that happens to it.
    #[must_use]
    pub fn acts_at(&mut self, now: Time) -> Option<Time> {
        if std::mem::take(&mut self.changes) {
            self.plan = self.plan();
        }
        self.plan.map(|at| at.max(now))
    }

    fn plan(&self) -> Option<Time> {
        let listing = self.listing.as_ref()?;
        let (mut cursor, mut at) = (self.cursor, None);
        let next = cursor.next(listing);
        let mut sooner = |t: Time| at = Some(at.map_or(t, |other: Time| other.min(t)));
        let ask = self.wants_at().map(|wants| wants.max(self.next_ask));
        if let (Next::Take { .. }, Some(ask), true) = (next, ask, self.open.len() < self.manner.open) {
            sooner(ask);
        }
        if listing.kind.grows() && !self.loading {
            if self.manner.by_clock {
                sooner(self.reload_at());
            } else if let (Next::Reload, Some(wants)) = (next, self.wants_at()) {
                sooner(wants.max(self.reload_at()));
            }
        }
        at.map(|at: Time| at.max(self.away_until))
    }

    fn reload_at(&self) -> Time {
        let target = self.listing.as_ref().map_or(Duration::ZERO, |l| l.target);
        self.loaded + reload_after(self.changed, target)
    }

    fn may_ask(&self, now: Time) -> bool {
        self.open.len() < self.manner.open && now >= self.next_ask && self.wants(now)
    }

    fn wants(&self, now: Time) -> bool {
        self.wants_at().is_some_and(|at| at <= now)
    }

    /// When what it asked for and has not played falls to its read-ahead; `None`: not before something comes.
    fn wants_at(&self) -> Option<Time> {
        self.playout.reaches(self.asked.saturating_sub(self.manner.ahead))
    }

    /// A manifest came.
    pub fn listed(&mut self, now: Time, listing: &Timeline) {
        self.changes = true;
        let last = |l: &Timeline| l.segments.last().map(|s| s.sequence);
        self.changed = self.listing.as_ref().map(last) != Some(last(listing));
        if self.changed {
            self.next_ask =
                self.next_ask.max(if self.listing.is_some() { now + self.manner.follow } else { now });
        }
        self.listing = Some(listing.clone());
        self.loaded = now;
        self.loading = false;
    }

    /// Its request has a name. Plain HTTP would bring the first of its `bytes` after `wait`.
    pub fn asks(&mut self, now: Time, ask: AskId, segment: Segment, (wait, bytes): (Duration, u32)) {
        self.changes = true;
        self.plain.asks(now, ask, wait, bytes);
        self.open.push(Open { ask, segment, complete: false });
    }

    /// A request was answered in full; what that completes, in playing order.
    ///
    /// A player that has nothing yet, or nothing any more after a seek, misses its first segment from the moment at which
    /// plain HTTP would have brought it.
    pub fn takes(&mut self, now: Time, ask: AskId) -> Vec<Taken> {
        self.changes = true;
        if let Some(open) = self.open.iter_mut().find(|o| o.ask == ask) {
            open.complete = true;
        }
        let mut taken = Vec::new();
        while self.open.first().is_some_and(|o| o.complete) {
            let open = self.open.remove(0);
            let dry = self.playout.buffered(now).is_zero() && now >= self.away_until;
            let plain = self.plain.ends(now, open.ask);
            let late = dry && plain.is_some_and(|plain| now > plain + GRACE);
            taken.push(Taken { segment: open.segment, late });
            self.playout.complete(now, open.segment.duration);
            let last = self.listing.as_ref().filter(|l| !l.kind.grows()).and_then(|l| l.segments.last());
            if last.is_some_and(|last| last.sequence == open.segment.sequence) {
                self.playout.finish(now + self.playout.buffered(now));
            }
        }
        taken
    }

    /// A request failed: it is asked again after a while.
    pub fn fails(&mut self, now: Time, ask: AskId) {
        self.changes = true;
        self.abandon(now, ask);
        self.next_ask = now + AGAIN;
    }

    /// The origin failed a fetch of this segment. With nothing buffered the player's own would have been the same one.
    pub fn refused(&mut self, now: Time, segment: SegmentId) {
        let open = self.open.iter().filter(|open| open.segment.id == segment);
        if self.playout.buffered(now).is_zero() {
            open.for_each(|open| self.plain.fails(now, open.ask));
        }
    }

    /// Every connection it would have with plain HTTP breaks off, which is found at `found`.
    pub fn breaks(&mut self, now: Time, found: Time) {
        self.plain.breaks(now, found);
    }

    /// It hangs up on a request.
    pub fn abandon(&mut self, now: Time, ask: AskId) {
        self.changes = true;
        self.plain.ends(now, ask);
        let Some(at) = self.open.iter().position(|o| o.ask == ask) else { return };
        let open = self.open.remove(at);
        self.asked = self.asked.saturating_sub(open.segment.duration);
        self.cursor.back_to(open.segment.sequence);
    }

    /// What a request that is open is for.
    #[must_use]
    pub fn segment_of(&self, ask: AskId) -> Option<SegmentId> {
        self.open.iter().find(|open| open.ask == ask).map(|open| open.segment.id)
    }

    /// The requests that are open.
    pub fn open(&self) -> impl Iterator<Item = AskId> + '_ {
        self.open.iter().map(|o| o.ask)
    }

    /// It pauses: asks for nothing, plays nothing.
    pub fn pause(&mut self, now: Time, length: Duration) {
        self.changes = true;
        self.away_until = now + length;
        self.playout.hold(now, length);
    }

    /// It jumps to another segment of its rendition, and plays if it was paused: everything it had is gone.
    pub fn seek(&mut self, now: Time, sequence: u64) {
        self.changes = true;
        self.away_until = now;
        self.start_over(now);
        self.cursor.back_to(sequence);
    }

    /// It plays another rendition from where it is; what is buffered stays.
    pub fn switch(&mut self) {
        self.changes = true;
        self.listing = None;
        self.loading = false;
    }

    fn start_over(&mut self, now: Time) {
        let (stalls, length) = self.playout.stalls(now);
        self.earlier.0 += stalls;
        self.earlier.1 += length;
        self.playout = Playout::new(now);
        self.open.clear();
        self.asked = Duration::ZERO;
        self.row = 0;
        self.next_ask = now;
    }
}
