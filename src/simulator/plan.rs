//! Who comes and goes when in a run, and what users do meanwhile.

use std::time::Duration;

use super::event::{What, Wish};
use super::place::Place;
use super::scenario::{Crowd, Setting};
use crate::delivery::chance::{Chance, mix};
use crate::model::time::Time;

/// The share of machines that are suspended where any are, and the time within which they are.
const SUSPENDED: f64 = 0.2;
const SUSPENDED_WITHIN: Duration = Duration::from_secs(20);

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

impl Setting {
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
