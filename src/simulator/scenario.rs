//! Named scenarios: each a page of settings, and the claim that it tests.

use std::time::Duration;

use super::content::Programme;
use super::event::{What, Wish};
use super::origin::Service;
use super::place::{Lines, Place};
use super::player::Kind;
use crate::delivery::chance::{Chance, mix};
use crate::delivery::policy::{Options, Policy};
use crate::model::time::Time;
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
/// The share of machines that are suspended where any are, and the time within which they are.
const SUSPENDED: f64 = 0.2;
const SUSPENDED_WITHIN: Duration = Duration::from_secs(20);

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
        name: "vod",
        claim: "viewers spread over 40 min of a film find most of it in each other's memory",
        viewers: 200,
        seconds: 90 * MINUTE,
        adjust: |setting, _| {
            setting.programme.kind = timeline::Kind::Vod;
            setting.programme.window = 1800;
            setting.memory = 256 << 20;
            setting.crowd = Crowd::Within(Duration::from_secs(40 * MINUTE));
        },
    },
    Scenario {
        name: "restless",
        claim: "viewers of a film pause and seek: start-up after a seek is HTTP's own",
        viewers: 200,
        seconds: 10 * MINUTE,
        adjust: |setting, _| {
            setting.programme.kind = timeline::Kind::Vod;
            setting.programme.window = 300;
            setting.memory = 256 << 20;
            setting.crowd = Crowd::Within(Duration::from_secs(60));
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

    /// Who comes and goes when, over a run of `length` with at most `viewers` at a time; and how many hosts that takes.
    #[must_use]
    pub fn plan(&self, seed: u64, viewers: u32, length: Duration, place: impl Fn(u32) -> Place) -> Plan {
        let mut chance = Chance::new(mix(seed ^ 0xC0DE));
        let mut plan = Plan { hosts: viewers, events: Vec::new() };
        let part = |n: u32, of: u32, over: Duration| over.mul_f64(f64::from(n) / f64::from(of.max(1)));
        for host in 0..viewers {
            let joins = match self.crowd {
                Crowd::Within(over) => part(host, viewers, over.min(length / 2)),
                Crowd::Churn(_) | Crowd::Blackout(_) => part(host, viewers, Duration::from_secs(15)),
                Crowd::Flash { at, over } => {
                    let first = viewers / 10;
                    if host < first {
                        part(host, first, Duration::from_secs(15))
                    } else {
                        at + part(host - first, viewers - first, over)
                    }
                }
            };
            self.life((seed, host), joins, length, &mut chance, &place, &mut plan);
        }
        plan
    }

    fn life(
        &self,
        (seed, host): (u64, u32),
        joins: Duration,
        length: Duration,
        chance: &mut Chance,
        place: &impl Fn(u32) -> Place,
        plan: &mut Plan,
    ) {
        plan.add(joins, host, What::Join);
        match self.crowd {
            Crowd::Churn(stay) => {
                let (mut host, mut joined) = (host, joins);
                loop {
                    let leaves = joined + stay.mul_f64(-(1.0 - chance.unit()).ln());
                    if leaves >= length {
                        break;
                    }
                    plan.add(leaves, host, What::Leave(chance.unit() < 1.0 / 3.0));
                    (host, joined) = (plan.hosts, leaves);
                    plan.hosts += 1;
                    plan.add(joined, host, What::Join);
                }
            }
            Crowd::Blackout(at) if place(host).provider < 3 => plan.add(at, host, What::Leave(true)),
            _ => {}
        }
        if self.restless {
            let mut at = joins + Duration::from_secs(20);
            while at < length {
                let wish = if chance.unit() < 0.5 {
                    Wish::Pause(5_000 + chance.below(60_000) as u32)
                } else {
                    Wish::Seek(chance.below(self.programme.window as usize) as u64)
                };
                plan.add(at, host, What::User(wish));
                at += Duration::from_secs(20 + chance.below(100) as u64);
            }
        }
        if let Some((at, length)) = self.suspended {
            let mut chance = Chance::new(mix(seed ^ 0x51EE) ^ u64::from(host));
            let at = at + SUSPENDED_WITHIN.mul_f64(chance.unit());
            if chance.unit() < SUSPENDED && at > joins {
                plan.add(at, host, What::User(Wish::Suspend(length.as_millis() as u32)));
            }
        }
        if let Some(every) = self.switching {
            let (mut at, mut to) = (joins + every + every.mul_f64(chance.unit()), 1);
            while at < length {
                plan.add(at, host, What::User(Wish::Switch(to)));
                to = 1 - to;
                at += every;
            }
        }
    }
}

/// Who comes and goes when.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Hosts in all.
    pub hosts: u32,
    /// What happens to which.
    pub events: Vec<(Time, u32, What)>,
}

impl Plan {
    fn add(&mut self, after: Duration, host: u32, what: What) {
        self.events.push((Time::ZERO + after, host, what));
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
