//! The best that a run allowed once its viewers had settled, and what it was that allowed no more.
//!
//! | limit | at best |
//! |---|---|
//! | `viewers` | (N - c)/N: so many first copies as the lottery is expected to draw; of a recording one of all that is played |
//! | `uplink` | what all uplinks together carry / what all viewers together play |
//! | `memory` | the viewers of a recording whose next stretch all memories together can hold until they come to it / N |
//! | `start-up` | 1 - the share of what players took with nothing buffered, which the origin brings at once by rule |

use super::place::Place;
use super::scenario::{Role, Setting};
use super::tally::Tally;
use super::world::World;
use crate::delivery::account::{Reason, ceiling};
use crate::model::time::Time;
use crate::model::timeline::Kind;

/// The lowest of the limits, and its name.
pub(super) fn bound(world: &World, tally: &Tally) -> (f64, &'static str) {
    let (around, viewers) = (&world.around, world.viewers);
    let setting = &around.setting;
    let limits = [
        (ceiling(viewers).min(1.0 - first_copies(setting.programme.kind, tally)), "viewers"),
        (uplink(setting, around.seed, &around.places), "uplink"),
        (memory(setting, viewers, &world.joins), "memory"),
        (startup(tally), "start-up"),
    ];
    let mut lowest = limits[0];
    for limit in &limits[1..] {
        if limit.0 < lowest.0 {
            lowest = *limit;
        }
    }
    (lowest.0.max(0.0), lowest.1)
}

/// Of all that is taken, the share of first copies.
///
/// Of a live segment as many as viewers are expected to draw one when they see it; fewer when they saw late that others
/// had begun. Of a recording one of each segment that anybody plays.
fn first_copies(kind: Kind, tally: &Tally) -> f64 {
    if kind.grows() {
        let drawn = tally.reasons[Reason::Lottery as usize] as f64 / tally.taken().max(1) as f64;
        drawn.min(tally.draws as f64 / 1e9 / tally.viewers.max(1) as f64)
    } else {
        let first = tally.played.iter().filter(|played| **played).count();
        first as f64 / tally.segments.max(1) as f64
    }
}

/// Mean uplink of everybody who gives what it says / bit rate.
fn uplink(setting: &Setting, seed: u64, places: &[Place]) -> f64 {
    let gives = |(host, place): (u32, &Place)| match setting.role(seed, host) {
        Role::Honest | Role::Liar => f64::from(place.up),
        Role::Silent | Role::Forger | Role::Crawler => 0.0,
    };
    let all: f64 = (0..).zip(places).map(gives).sum();
    all * 8e6 / places.len().max(1) as f64 / setting.programme.bitrate.0 as f64
}

/// Whoever plays a recording finds what somebody before has played, if it is still held: for each such viewer the
/// memories hold what lies between the two. The shortest stretches first, as many as there is memory for; it is enough
/// to hold everything once.
fn memory(setting: &Setting, viewers: u32, joins: &[Time]) -> f64 {
    let programme = &setting.programme;
    if programme.kind != Kind::Vod {
        return 1.0;
    }
    let bytes = |media: f64| media * programme.bitrate.0 as f64 / 8.0;
    let room = setting.memory as f64 * f64::from(viewers);
    if room >= bytes(programme.segment.as_secs_f64() * programme.window as f64) {
        return 1.0;
    }
    let mut joins = joins.to_vec();
    joins.sort_unstable();
    let mut apart: Vec<f64> = joins.windows(2).map(|two| (two[1] - two[0]).as_secs_f64()).collect();
    apart.sort_by(f64::total_cmp);
    let mut held = 0.0;
    let fed = apart.iter().take_while(|&&apart| {
        held += bytes(apart);
        held <= room
    });
    fed.count() as f64 / joins.len().max(1) as f64
}

/// What players took with nothing buffered, once they had settled: after a seek, for example.
fn startup(tally: &Tally) -> f64 {
    1.0 - tally.reasons[Reason::StartUp as usize] as f64 / tally.taken().max(1) as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::report::Report;
    use super::super::run;
    use super::super::scenario::{Knobs, scenarios};
    use super::*;

    fn setting(name: &str, viewers: u32) -> Setting {
        scenarios().iter().find(|s| s.name == name).expect("a scenario of that name").setting(viewers)
    }

    fn places(setting: &Setting, viewers: u32) -> Vec<Place> {
        (0..viewers).map(|host| Place::of(1, host, &setting.lines)).collect()
    }

    fn report(name: &str, viewers: u32, seconds: u64) -> Report {
        let scenario = scenarios().iter().find(|s| s.name == name).expect("a scenario of that name");
        let knobs = Knobs { viewers: Some(viewers), seconds: Some(seconds), ..Knobs::default() };
        run(scenario, &knobs).unwrap()
    }

    #[test]
    fn a_small_swarm_takes_one_copy_a_larger_one_what_it_draws_and_seeks_are_the_origins() {
        let demo = report("demo", 5, 40);
        assert_eq!((demo.bound, demo.bound_by), (0.8, "viewers"));
        let live = report("live", 40, 40);
        assert!(live.bound <= live.ceiling && live.bound > 1.0 - 3.0 / 40.0, "{}", live.bound);
        assert_eq!(live.bound_by, "viewers");
        let restless = report("restless", 20, 90);
        let startups = restless.reasons.iter().find(|(reason, _)| *reason == "start-up").unwrap().1;
        assert!(startups > 0 && restless.bound < restless.ceiling - 0.05, "{} at best", restless.bound);
    }

    #[test]
    fn who_never_sends_adds_nothing_to_the_uplinks() {
        let (live, silent) = (setting("live", 0), setting("silent", 0));
        let places = places(&live, 1000);
        let (all, fewer) = (uplink(&live, 1, &places), uplink(&silent, 1, &places));
        assert!((2.6..3.0).contains(&all), "{all}");
        assert!(fewer < all * 0.95, "{fewer} of {all}");
    }

    #[test]
    fn memories_hold_what_lies_between_viewers_or_all_of_it_once() {
        let mut film = setting("vod", 0);
        let joins =
            |apart: u64| (0..11).map(|n| Time::ZERO + Duration::from_secs(n * apart)).collect::<Vec<_>>();
        // 1 Mbit/s: 125 kB a second. 1 MB each is 88 s in eleven memories.
        film.memory = 1_000_000;
        assert_eq!(memory(&film, 11, &joins(8)), 10.0 / 11.0);
        assert_eq!(memory(&film, 11, &joins(20)), 4.0 / 11.0);
        film.programme.window = 20;
        assert_eq!(memory(&film, 11, &joins(20)), 1.0, "eighty seconds in all");
        assert_eq!(memory(&setting("live", 0), 11, &joins(20)), 1.0);
    }
}
