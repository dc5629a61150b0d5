//! Named scenarios: each a page of settings, and the claim that it tests.

use std::time::Duration;

use super::content::Programme;
use super::origin::Service;
use super::place::{Lines, Place};
use super::player::Kind;
use crate::delivery::chance::{Chance, mix};
use crate::delivery::policy::{Options, Policy};
use crate::model::timeline;
use crate::model::units::BitsPerSecond;

/// What a run may change of its scenario.
#[derive(Clone, Copy, Debug)]
pub struct Knobs {
    /// Viewers at the same time.
    pub viewers: Option<u32>,
    /// How long.
    pub seconds: Option<u64>,
    /// Decides every chance.
    pub seed: u64,
    /// False: HTTP alone, to compare with.
    pub p2p: bool,
    /// Whose story is told; viewers are numbered from 1, in the order in which they join.
    pub trace: Option<u32>,
    /// How many parts may work at the same time; changes nothing in the result.
    pub shards: usize,
}

impl Default for Knobs {
    fn default() -> Self {
        Self { viewers: None, seconds: None, seed: 1, p2p: true, trace: None, shards: 1 }
    }
}

/// How a viewer behaves towards its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// As the daemon does.
    Honest,
    /// Announces and never sends.
    Silent,
    /// Announces three of four segments as if it had all of them, with hashes of its own making; sends true bytes.
    Liar,
    /// Announces the truth and sends wrong bytes.
    Forger,
    /// Announces the truth, takes on whatever it is asked for, and sends it at a crawl.
    Crawler,
}

/// When viewers come and go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Crowd {
    /// All come within this time, at even distances, and stay.
    Within(Duration),
    /// A tenth is there first; the others come within `over`, from `at` on.
    Flash {
        /// When it begins.
        at: Duration,
        /// How long it lasts.
        over: Duration,
    },
    /// Whoever leaves is replaced at once by somebody new; mean stay. A third goes without a word.
    Churn(Duration),
    /// As `Within`; then all viewers of three providers in ten vanish at once.
    Blackout(Duration),
}

impl Crowd {
    /// From when on nobody new comes but in place of somebody else.
    #[must_use]
    pub fn settles(self) -> Duration {
        match self {
            Self::Within(over) => over,
            Self::Flash { at, over } => at + over,
            Self::Churn(_) | Self::Blackout(_) => Duration::from_secs(15),
        }
    }
}

/// Everything that is set in a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// What is played.
    pub programme: Programme,
    /// What the origin can do, for each viewer's share where `capacity` is set.
    pub service: Service,
    /// What lines are like.
    pub lines: Lines,
    /// When the tracker is gone.
    pub outage: Option<(Duration, Duration)>,
    /// Whether peers are used at all.
    pub p2p: bool,
    /// Bytes of content that each viewer keeps.
    pub memory: u64,
    /// Which players, and their parts of all.
    pub players: &'static [(Kind, f64)],
    /// Adversaries, and their parts of all.
    pub adversaries: &'static [(Role, f64)],
    /// When they come and go.
    pub crowd: Crowd,
    /// Users of recordings pause and seek now and then.
    pub restless: bool,
    /// Users switch renditions this often.
    pub switching: Option<Duration>,
    /// One machine in five is suspended at about this time, for so long.
    pub suspended: Option<(Duration, Duration)>,
}

/// A scenario by name.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// What the command line calls it.
    pub name: &'static str,
    /// What it shows, in a sentence.
    pub claim: &'static str,
    /// Viewers unless asked otherwise.
    pub viewers: u32,
    /// Seconds unless asked otherwise.
    pub seconds: u64,
    pub(super) adjust: fn(&mut Setting, u32),
}

const MIX: &[(Kind, f64)] = &[(Kind::Ffplay, 0.34), (Kind::Vlc, 0.33), (Kind::HlsJs, 0.33)];
const BITRATE: u64 = 1_000_000;
const MINUTE: u64 = 60;

/// What holds unless a scenario says otherwise: a live channel of 1 Mbit/s in 4 s segments, seven in the window.
fn usual() -> Setting {
    Setting {
        programme: Programme {
            kind: timeline::Kind::Live,
            segment: Duration::from_secs(4),
            window: 7,
            bitrate: BitsPerSecond(BITRATE),
            renditions: 1,
        },
        service: Service {
            each: BitsPerSecond(20_000_000),
            capacity: None,
            first_byte: Duration::from_millis(30),
            failing: 0.0,
            breaking: 0.0,
            gone: None,
        },
        lines: Lines { uplink: BitsPerSecond(3 * BITRATE), mute: 0.3, lossy: 0.1, local: false },
        outage: None,
        p2p: true,
        memory: 64 << 20,
        players: MIX,
        adversaries: &[],
        crowd: Crowd::Within(Duration::from_secs(15)),
        restless: false,
        switching: None,
        suspended: None,
    }
}

/// A film of so many segments, which viewers begin within this time; each keeps 256 MiB of it.
fn film(setting: &mut Setting, segments: u64, within: Duration) {
    setting.programme.kind = timeline::Kind::Vod;
    setting.programme.window = segments;
    setting.memory = 256 << 20;
    setting.crowd = Crowd::Within(within);
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "live",
        claim: "viewers of a live channel take nearly everything from each other",
        viewers: 1000,
        seconds: 120,
        adjust: |_, _| {},
    },
    Scenario {
        name: "demo",
        claim: "what `paceline demo` does, without a machine: everybody on one host",
        viewers: 5,
        seconds: 90,
        adjust: |setting, viewers| {
            setting.programme.window = 6;
            setting.lines.local = true;
            setting.lines.mute = 0.0;
            setting.players = &[(Kind::Demo, 1.0)];
            setting.service.each = BitsPerSecond(400_000_000);
            setting.service.first_byte = Duration::from_millis(1);
            setting.crowd = Crowd::Within(Duration::from_secs(u64::from(viewers)));
        },
    },
    Scenario {
        name: "live-2x",
        claim: "a mean uplink of twice the bit rate is enough",
        viewers: 1000,
        seconds: 120,
        adjust: |setting, _| setting.lines.uplink = BitsPerSecond(2 * BITRATE),
    },
    Scenario {
        name: "live-1.3x",
        claim: "a mean uplink of 1.3 times the bit rate is just enough",
        viewers: 1000,
        seconds: 120,
        adjust: |setting, _| setting.lines.uplink = BitsPerSecond(13 * BITRATE / 10),
    },
    Scenario {
        name: "flash",
        claim: "ten times as many viewers within 10 s: no stall that HTTP alone would not have had",
        viewers: 10_000,
        seconds: 90,
        adjust: |setting, _| {
            setting.crowd = Crowd::Flash { at: Duration::from_secs(40), over: Duration::from_secs(10) };
        },
    },
    Scenario {
        name: "churn",
        claim: "viewers stay 3 min on average, a third leaves without a word: nobody is late",
        viewers: 1000,
        seconds: 5 * MINUTE,
        adjust: |setting, _| setting.crowd = Crowd::Churn(Duration::from_secs(3 * MINUTE)),
    },
    Scenario {
        name: "isp",
        claim: "three in ten vanish at once: nobody else is late",
        viewers: 1000,
        seconds: 3 * MINUTE,
        adjust: |setting, _| setting.crowd = Crowd::Blackout(Duration::from_secs(90)),
    },
    Scenario {
        name: "tracker-gone",
        claim: "five minutes without a tracker are not noticed",
        viewers: 1000,
        seconds: 8 * MINUTE,
        adjust: |setting, _| setting.outage = Some((Duration::from_secs(60), Duration::from_secs(360))),
    },
    Scenario {
        name: "liars",
        claim: "one in ten lies about what it has, or sends wrong bytes: no wrong byte is played",
        viewers: 1000,
        seconds: 3 * MINUTE,
        adjust: |setting, _| setting.adversaries = &[(Role::Liar, 0.05), (Role::Forger, 0.05)],
    },
    Scenario {
        name: "silent",
        claim: "one in ten announces and never sends: nobody is late",
        viewers: 1000,
        seconds: 3 * MINUTE,
        adjust: |setting, _| setting.adversaries = &[(Role::Silent, 0.1)],
    },
    Scenario {
        name: "crawling",
        claim: "one in ten sends at a crawl whatever it is asked for: nobody is late",
        viewers: 1000,
        seconds: 3 * MINUTE,
        adjust: |setting, _| setting.adversaries = &[(Role::Crawler, 0.1)],
    },
    Scenario {
        name: "suspended",
        claim: "one machine in five is suspended for a minute: none is later than with HTTP alone when it wakes",
        viewers: 1000,
        seconds: 3 * MINUTE,
        adjust: |setting, _| setting.suspended = Some((Duration::from_secs(60), Duration::from_secs(60))),
    },
    Scenario {
        name: "slow-origin",
        claim: "an origin with half the rate that all viewers need carries them all",
        viewers: 1000,
        seconds: 3 * MINUTE,
        adjust: |setting, viewers| {
            setting.service.capacity = Some(BitsPerSecond(BITRATE / 2 * u64::from(viewers)));
            setting.crowd = Crowd::Within(Duration::from_secs(60));
        },
    },
    Scenario {
        name: "failing-origin",
        claim: "an origin that answers one request in ten with an error is not noticed",
        viewers: 1000,
        seconds: 2 * MINUTE,
        adjust: |setting, _| setting.service.failing = 0.1,
    },
    Scenario {
        name: "broken-bodies",
        claim: "an origin that breaks off one answer in ten is not noticed",
        viewers: 1000,
        seconds: 2 * MINUTE,
        adjust: |setting, _| setting.service.breaking = 0.1,
    },
    Scenario {
        name: "origin-gone",
        claim: "an origin that is gone for 20 s: players stand still for less long than with HTTP alone",
        viewers: 1000,
        seconds: 2 * MINUTE,
        adjust: |setting, _| {
            setting.service.gone = Some((Duration::from_secs(60), Duration::from_secs(80)));
        },
    },
    Scenario {
        name: "vod",
        claim: "viewers spread over 40 min of a film find most of it in each other's memory",
        viewers: 200,
        seconds: 90 * MINUTE,
        adjust: |setting, _| {
            film(setting, 1800, Duration::from_secs(40 * MINUTE));
        },
    },
    Scenario {
        name: "mpv",
        claim: "one viewer of a film in four loads the next 20 min at once, as mpv does: nobody is late for it",
        viewers: 100,
        seconds: 15 * MINUTE,
        adjust: |setting, _| {
            film(setting, 450, Duration::from_secs(5 * MINUTE));
            setting.players =
                &[(Kind::Mpv, 0.25), (Kind::Ffplay, 0.25), (Kind::Vlc, 0.25), (Kind::HlsJs, 0.25)];
        },
    },
    Scenario {
        name: "restless",
        claim: "viewers of a film pause and seek: start-up after a seek is HTTP's own",
        viewers: 200,
        seconds: 10 * MINUTE,
        adjust: |setting, _| {
            film(setting, 300, Duration::from_secs(60));
            setting.restless = true;
        },
    },
    Scenario {
        name: "switching",
        claim: "players that switch between two renditions every few seconds are not held up",
        viewers: 500,
        seconds: 2 * MINUTE,
        adjust: |setting, _| {
            setting.programme.renditions = 2;
            setting.switching = Some(Duration::from_secs(7));
        },
    },
];

/// All scenarios; the first is the usual one.
#[must_use]
pub fn scenarios() -> &'static [Scenario] {
    SCENARIOS
}

impl Scenario {
    /// Its settings for so many viewers.
    #[must_use]
    pub fn setting(&self, viewers: u32) -> Setting {
        let mut setting = usual();
        (self.adjust)(&mut setting, viewers);
        setting
    }
}

impl Setting {
    /// What a host's daemon goes by.
    #[must_use]
    pub fn policy(&self, place: &Place) -> Policy {
        let options = Options { enabled: self.p2p, ..Options::default() };
        let mut policy = Policy::new(&options, self.memory);
        policy.upload &= place.up > 0.0;
        policy
    }

    /// Which player a host has.
    #[must_use]
    pub fn player(&self, seed: u64, host: u32) -> Kind {
        pick(self.players, Chance::new(mix(seed ^ 0x71A7) ^ u64::from(host)).unit()).unwrap_or(Kind::HlsJs)
    }

    /// How a host behaves. Adversaries can upload.
    #[must_use]
    pub fn role(&self, seed: u64, host: u32) -> Role {
        pick(self.adversaries, Chance::new(mix(seed ^ 0xBAD) ^ u64::from(host)).unit())
            .unwrap_or(Role::Honest)
    }
}

fn pick<T: Copy>(parts: &[(T, f64)], mut draw: f64) -> Option<T> {
    for &(what, part) in parts {
        if draw < part {
            return Some(what);
        }
        draw -= part;
    }
    None
}
