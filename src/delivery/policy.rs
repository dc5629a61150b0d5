//! Every number of the delivery core, with its unit and where it comes from.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::units::{BitsPerSecond, Size};

/// The `[p2p]` section of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Whether anything is taken from or given to other viewers. Off: plain HTTP, no tracker, no STUN, no UDP socket.
    pub enabled: bool,
    /// Whether pieces are sent to other viewers: `always` does, `never` only takes; `auto` does unless this machine runs on
    /// a battery below 20 % or reaches the Internet by a metered connection, a cellular line or a VPN.
    pub upload: Upload,
    /// Neighbours per rendition. More spread faster and cost about 0.4 MiB of memory each. 1 to 15.
    pub max_neighbours: u8,
    /// Upload limit in bits per second, all neighbours together, as a number or like `2M`; 0 is no limit.
    pub upload_limit: BitsPerSecond,
    /// What may be uploaded in a day and in a month (UTC), as bytes or like `2GB`; 0 is no limit. Then nothing is uploaded
    /// until the next one begins.
    pub upload_daily: Size,
    /// See [`Self::upload_daily`].
    pub upload_monthly: Size,
    /// The file in which the driver keeps over a restart what was switched at run time and what of the budgets is spent.
    /// Empty: nothing is kept.
    pub state: String,
    /// Whether uploads give way to other traffic on this line, as a video call, by RFC 6817. Off: they take what they get.
    pub background: bool,
    /// The part of the player's buffer, in seconds, that only the origin fills. Larger is safer, smaller saves more.
    pub critical_s: f64,
    /// How far ahead of the player segments are taken from peers, in seconds of media. 0 takes nothing ahead.
    pub prefetch_s: f64,
}

/// The three settings of `upload`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Upload {
    /// Upload unless something speaks against it.
    #[default]
    Auto,
    /// Upload.
    Always,
    /// Take only: nothing is announced and nothing is sent.
    Never,
}

impl Upload {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            enabled: true,
            upload: Upload::Auto,
            max_neighbours: 15,
            upload_limit: BitsPerSecond(0),
            upload_daily: Size(0),
            upload_monthly: Size(0),
            state: String::new(),
            background: true,
            critical_s: 1.0,
            prefetch_s: 30.0,
        }
    }
}

/// What a running Node goes by; may change while it runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// Whether peers are used.
    pub p2p: bool,
    /// Whether peers are served.
    pub upload: bool,
    /// Neighbours per swarm.
    pub max_neighbours: u8,
    /// All neighbours together; `None` is no limit.
    pub upload_limit: Option<BitsPerSecond>,
    /// See [`Options::background`].
    pub background: bool,
    /// See [`Options::critical_s`].
    pub critical: Duration,
    /// See [`Options::prefetch_s`].
    pub prefetch: Duration,
    /// Bytes of content that may be kept, counting what is in flight.
    pub memory: u64,
}

/// What one rendition is kept from. It only takes away: what the policy forbids stays forbidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Whether peers may be used for it.
    pub p2p: bool,
    /// Whether it may be uploaded.
    pub upload: bool,
    /// How far ahead of the player it is taken from peers, instead of the policy's.
    pub prefetch: Option<Duration>,
}

impl Default for Terms {
    fn default() -> Self {
        Self { p2p: true, upload: true, prefetch: None }
    }
}

impl Terms {
    /// What holds for a rendition with these terms.
    #[must_use]
    pub fn over(&self, policy: &Policy) -> Policy {
        let p2p = policy.p2p && self.p2p;
        let upload = policy.upload && self.upload && p2p;
        Policy { p2p, upload, prefetch: self.prefetch.unwrap_or(policy.prefetch), ..*policy }
    }
}

impl Policy {
    /// What `options` mean, with `memory` bytes for content. Numbers out of range are brought into it.
    #[must_use]
    pub fn new(options: &Options, memory: u64) -> Self {
        Self {
            p2p: options.enabled,
            upload: options.enabled && options.upload != Upload::Never,
            max_neighbours: options.max_neighbours.clamp(1, 15),
            upload_limit: (options.upload_limit.0 > 0).then_some(options.upload_limit),
            background: options.background,
            critical: seconds(options.critical_s, 60.0),
            prefetch: prefetch(options.prefetch_s),
            memory,
        }
    }
}

/// Seconds of a configuration as a time of at most `most`.
fn seconds(s: f64, most: f64) -> Duration {
    Duration::from_secs_f64(if s.is_finite() { s.clamp(0.0, most) } else { 0.0 })
}

/// How far ahead of the player a number of seconds reaches.
#[must_use]
pub fn prefetch(s: f64) -> Duration {
    seconds(s, 600.0)
}

/// No answer leaves a player longer than this without a byte; several players give up at 10 s.
pub const LONGEST_HOLD: Duration = Duration::from_secs(8);
/// Of a segment's duration, how much an answer may be held while the player has other renditions: a longer hold lowers
/// the throughput it measures.
pub const HOLD_WITH_ALTERNATIVES: f64 = 0.25;
/// … or so much, for what neighbours are sending just then, unless the answer has not begun.
pub const HOLD_UNDER_WAY: f64 = 0.375;
/// With other renditions on offer an answer from memory goes at the origin's pace, but no slower than so many times the
/// bit rate: with more a player would see, at an origin that gives it two to four times its rate, more than that origin has …
pub const PACED_LEAST: u64 = 2;
/// … after so many bytes at once …
pub const PACED_START: u32 = 8 * 1024;
/// … in steps of this.
pub const PACED_STEP: Duration = Duration::from_millis(40);
/// An HTTP fetch is expected to take this much longer than measured.
pub const FETCH_SAFETY: f64 = 1.5;
/// Time to first byte of an origin that was not measured yet.
pub const FIRST_BYTE_GUESS: Duration = Duration::from_millis(300);
/// Renditions with siblings count as watched from this many different segments on: several players open the first
/// two of every variant and then leave them. One that comes from a rendition that it watched, and goes on where it was there,
/// watches the new one from its first segment on.
pub const PROBES: u8 = 2;
/// A player that asked for more than so many segments of another rendition of the same group, and for none of this one meanwhile,
/// has left this one …
pub const LEFT_AFTER: u8 = 1;
/// … or for twice as many each time that it then went on just where it was, as who plays both at once; up to this.
pub const LEFT_AFTER_MOST: u8 = 16;
/// A front that moves by more than this many segments is a seek.
pub const SEEK: u64 = 2;
/// While a rendition is only probed, its body is fetched no further than this ahead of the player, in bytes.
pub const PROBE_AHEAD: u32 = 512 * 1024;
/// A live viewer without a request or manifest for this many target durations has gone.
pub const LIVE_GONE: u32 = 3;
/// A VOD viewer without a request for this long has gone.
pub const VOD_GONE: Duration = Duration::from_secs(300);
/// A viewer without a request for this long, and for two target durations, looks for no neighbours until it asks again: an
/// offer that nobody answers costs a connection for as long as it stands.
pub const RESTING: Duration = Duration::from_secs(30);
/// A live manifest this far behind the one before, in media, is no stale copy (two target durations at most on a CDN):
/// its origin began anew.
pub const STALE: Duration = Duration::from_secs(20);
/// After an origin began anew nothing is shared for this many target durations: by then every player has loaded the new
/// manifest (they reload once in one), and no neighbour offers old bytes under a name that is used again.
pub const ANEW: u32 = 3;
/// Played live segments are kept for others this long.
pub const LIVE_KEEP: Duration = Duration::from_secs(20);

/// Expected origin fetches of a new segment in a large swarm (the lottery's c): from so many …
pub const LOTTERY_WINNERS: f64 = 3.0;
/// … one more for each so many viewers …
pub const LOTTERY_CROWD: f64 = 2_000.0;
/// … to so many: the first copies reach everybody sooner, and cost the origin next to nothing.
pub const LOTTERY_MOST: f64 = 50.0;
/// Who can upload at so many times the bit rate takes part in full; slower ones in proportion.
pub const LOTTERY_UPLINK: f64 = 3.0;
/// Where uplinks are scarce there are up to so many times more: see [`super::lottery::scarcity`].
pub const LOTTERY_SCARCE: f64 = 8.0;
/// How fast the lottery's chances double, in seconds (its tau).
pub const LOTTERY_DOUBLING: f64 = 0.5;
/// Swarms up to this size take turns by rank instead of by chance: everyone knows everyone.
pub const RANKED_SWARM: u32 = 16;
/// Time between two ranks beside what the word needs to get around; covers scheduling jitter of slow machines.
pub const RANK_STEP: Duration = Duration::from_millis(60);
/// The last rank fetches after this part of the segment's duration. With an eighth two viewers who see a segment at the same
/// time both took it where the word needs a tenth of a second to get from one to the other.
pub const RANK_SPREAD: u32 = 4;
/// A neighbour that announced a segment and shows no piece of it for this part of a segment's duration no longer
/// keeps us from fetching it.
pub const LOADING_PATIENCE: u32 = 4;

/// Pieces that nobody near has this part of a segment's duration after it was seen are drawn for once more.
pub const RESCUE: f64 = 1.25;

/// Requests in flight to all neighbours together.
pub const IN_FLIGHT: usize = 16;
/// Requests in flight to one neighbour while several others hold the segment.
pub const IN_FLIGHT_EACH: usize = 1;
/// Requests in flight to one neighbour while few hold the segment: hides the round trip.
pub const IN_FLIGHT_FEW: usize = 2;
/// How many holders are "few".
pub const FEW_HOLDERS: usize = 4;
/// A busy neighbour is left alone this long at least, and up to three times as long.
pub const BUSY_PAUSE: Duration = Duration::from_millis(100);
/// A request is given up when it takes this many times the neighbour's usual time.
pub const PATIENCE: u32 = 4;
/// … but not before this.
pub const PATIENCE_FLOOR: Duration = Duration::from_millis(800);
/// … and at the latest after this: the piece can be had elsewhere.
pub const PATIENCE_MOST: Duration = Duration::from_millis(2_500);
/// After a piece that did not come a neighbour is left alone this long, doubling with each one more in a row.
pub const MISSED_PAUSE: Duration = Duration::from_millis(500);
/// The usual time of a neighbour that has not delivered yet.
pub const UNKNOWN_PIECE_TIME: Duration = Duration::from_millis(300);
/// With this much time left for what is needed first, what only one neighbour has of a later segment goes before it.
pub const UNHURRIED: Duration = Duration::from_secs(3);
/// When this little time is left, a piece in flight is asked from a second neighbour.
pub const ENDGAME: Duration = Duration::from_millis(1_500);
/// … if it is one of the last so many: uplinks have better things to do than to send everything twice.
pub const ENDGAME_PIECES: u32 = 3;
/// Announcements of new pieces wait this long for more to go in the same message …
pub const ANNOUNCE_DELAY: Duration = Duration::from_millis(30);
/// … and of pieces that so many neighbours have besides …
pub const COMMON: usize = 4;
/// … this long: whoever still lacks one of those knows where to get it.
pub const ANNOUNCE_COMMON_DELAY: Duration = Duration::from_millis(250);
/// For this part of a segment's duration the first holder offers each neighbour other pieces.
pub const SEEDING: u32 = 1;
/// Segments beyond the newest listed one that are loaded on a neighbour's word.
pub const UNLISTED_AHEAD: u64 = 2;

/// Pieces queued for one neighbour; a request beyond it is refused with `busy`.
pub const UPLOADS_EACH: usize = 2;
/// Pieces queued for all neighbours before the uplink was measured.
pub const UPLOADS_UNMEASURED: usize = 8;
/// Pieces queued for all neighbours whatever is known: two for each of a full house.
pub const UPLOADS_WAITING: usize = 30;
/// A request is refused when the queue before it would take longer than this.
pub const UPLOAD_QUEUE: Duration = Duration::from_millis(350);
/// Whoever brings us much is served as if its deadline were up to this much earlier: what it is given is passed on the most.
pub const MERIT: Duration = Duration::from_secs(6);
/// … in full from so many times the mean of all neighbours on, in proportion below.
pub const MERIT_FULL: f64 = 3.0;
/// An accepted request that others with merit went before is refused after all once it would wait longer than this: its
/// asker gives it up after [`PATIENCE_FLOOR`] at the earliest, and would hold that against us.
pub const UPLOAD_DISPLACED: Duration = Duration::from_millis(700);
/// How often the same piece is sent to the same neighbour.
pub const REPEATS: u8 = 3;

/// In a swarm where not everybody knows everybody, a viewer that gives nothing has so many neighbours at most: each takes a
/// place from somebody who would pass on what it gets.
pub const LISTENER_NEIGHBOURS: u8 = 8;
/// Places that a viewer seeks to fill there by itself, of its most: whoever comes later finds some free.
pub const SOUGHT: f64 = 0.8;
/// Offers made when a swarm is joined and its size is not known.
pub const FIRST_OFFERS: usize = 6;
/// Offers in one announcement; foreign trackers take no more.
pub const MOST_OFFERS: usize = 10;
/// Announcements of one swarm are at least this far apart.
pub const ANNOUNCE_GAP: Duration = Duration::from_secs(5);
/// The second announcement follows the first after this, each further one after twice as long, up to the tracker's own
/// interval.
pub const ANNOUNCE_AGAIN: Duration = Duration::from_secs(15);
/// A neighbour may join so many renditions …
pub const JOINED_MOST: u16 = 64;
/// … within this.
pub const JOINED_WITHIN: Duration = Duration::from_secs(60);
/// A tracker that does not say otherwise wants to hear this often.
pub const ANNOUNCE_USUAL: Duration = Duration::from_secs(120);
/// A tracker that went away is tried again after this, doubling …
pub const RECONNECT_FIRST: Duration = Duration::from_secs(1);
/// … up to this; both are jittered.
pub const RECONNECT_MOST: Duration = Duration::from_secs(60);
/// Somebody new is tried this often.
pub const SWAP: Duration = Duration::from_secs(60);
/// … and this often by a viewer whose neighbours were too slow for it within the last [`SWAP`], but not before two
/// segments have passed: who happens to have met neighbours with little to give would otherwise stay with them for
/// minutes.
pub const SWAP_SHORT: Duration = Duration::from_secs(10);
/// Neighbours are pinged this often: their round trip is what ranks are spaced by.
pub const PING: Duration = Duration::from_secs(10);

/// Of an origin that has sent nothing for this long nothing is expected: neighbours are asked for what it was to bring.
pub const SILENCE: Duration = Duration::from_secs(3);
/// After this long without a byte the origin is asked for the same once more, beside the first request.
pub const ASK_BESIDE: Duration = Duration::from_secs(5);
/// What is passed through is tried again this many times where the origin fails or breaks off …
pub const FETCH_TRIES: u8 = 5;
/// … after this, doubling: the last try begins 3.75 s after the first failed.
pub const FETCH_RETRY: Duration = Duration::from_millis(250);
/// While a player waits, so many times …
pub const ASKED_TRIES: u8 = 6;
/// … and no further apart than this, as a player asks again that has no daemon: the last try begins at the same time.
pub const ASKED_RETRY: Duration = Duration::from_secs(1);
/// A listed segment that the origin does not have (yet) is asked for again after this …
pub const MISSING_RETRY: Duration = Duration::from_millis(500);
/// … while it is one of the newest so many; an older one once.
pub const MISSING_NEWEST: usize = 2;
/// What a player has listed and not used for this long is given up before anything else where listings need room: players with
/// a full buffer ask again well within it.
pub const LISTING_UNUSED: Duration = Duration::from_secs(60);
/// Segments longer than this part of the memory are passed through, neither kept nor shared.
pub const LARGEST_PART_OF_MEMORY: u64 = 4;
/// A neighbour's word on a segment that is so many times as long as usual is nothing to go by.
pub const LONGEST_OF_USUAL: u64 = 16;
/// After this many bytes of new content, memory is looked at again …
pub const EVICTION_STEP: u64 = 1 << 20;
/// … or after this part of the memory, where that is less.
pub const EVICTION_PART: u64 = 16;
/// Memory that is filled to one part in so many at most has room for whatever is on its way.
pub const ROOMY: u64 = 2;
/// Of the memory one part in so many is for what players are to have next …
pub const AHEAD_PART_OF_MEMORY: u64 = 2;
/// … but so many segments are taken ahead, however long they are: each is at most a quarter of the memory.
pub const AHEAD_LEAST: usize = 2;
/// How many finished segments the statistics list per stream.
pub const RECORDS: usize = 50;

/// The queue that uploads may stand in, as delay over the base: enough to keep the uplink busy between two pieces.
pub const UPLINK_AIM: Duration = Duration::from_millis(15);
/// A delay that is off the aim is brought there in about this time: shorter is faster, and it has to be longer than pings
/// are old.
pub const UPLINK_SETTLING: Duration = Duration::from_millis(300);
/// While the clock is behind the period of the upload budget it is looked at this often: it may be set at any moment.
pub const CLOCK_BEHIND: Duration = Duration::from_secs(3600);
/// Past this delay all others are believed to need the uplink too (LEDBAT++: 60 ms); past twice as much uploads halve.
pub const UPLINK_TARGET: Duration = Duration::from_millis(60);
/// With no queue in sight uploads grow by this part per second.
pub const UPLINK_GROWTH: f32 = 0.4;
/// What is under way may exceed what base round trip and aim ask for by this much: neighbours are not all as far away.
pub const UPLINK_SLACK: Duration = Duration::from_millis(30);
/// The shortest round trip of so many minutes is a neighbour's base (RFC 6817, 4.2: BASE_HISTORY).
pub const BASE_MINUTES: usize = 10;
/// A neighbour that has answered no more pings than this says nothing about our uplink yet: its base may be of a bad moment.
pub const BASE_PINGS: u8 = 2;
/// A base below this is on our own network or machine: the uplink does not lie between.
pub const NEAR: Duration = Duration::from_millis(4);
/// While pieces go out one neighbour after the other is pinged, this far apart …
pub const PROBE: Duration = Duration::from_millis(250);
/// … or this far, while a queue stands before the uplink.
pub const PROBE_PRESSED: Duration = Duration::from_millis(60);
/// A round trip that nobody has measured yet.
pub const UNKNOWN_ROUND_TRIP: Duration = Duration::from_millis(100);
/// Pieces handed to the driver at the same time while nothing speaks against it; the rest waits where it can still be
/// reordered.
pub const UNDER_WAY: f32 = 2.0;
/// However full the uplink is, this much is let go: a small piece in a second, about a tenth of a call.
pub const SLOWEST_UPLOAD: BitsPerSecond = BitsPerSecond(128_000);
/// Uploads that never stop by themselves stop so often for one round trip: a base can only be seen without our own queue.
pub const REST_EVERY: Duration = Duration::from_secs(60);
/// What was learned of the uplink is forgotten after this long without an upload.
pub const UPLINK_MEMORY: Duration = Duration::from_secs(60);
