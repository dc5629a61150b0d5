//! Worlds that are small enough to be lived through in a test.

mod adversity;
mod messages;
mod players;
mod worlds;

use std::time::Duration;

use super::report::Report;
use super::scenario::{Knobs, Scenario, Setting, scenarios};
use super::*;

/// Viewers and seconds of the worlds that are compared with an undisturbed one.
const VIEWERS: u32 = 80;
const SECONDS: u64 = 110;

fn scenario(name: &str) -> &'static Scenario {
    scenarios().iter().find(|s| s.name == name).expect("a scenario of that name")
}

fn knobs(viewers: u32, seconds: u64, seed: u64) -> Knobs {
    Knobs { viewers: Some(viewers), seconds: Some(seconds), seed, ..Knobs::default() }
}

fn live(name: &str, viewers: u32, seconds: u64, seed: u64) -> Report {
    run(scenario(name), &knobs(viewers, seconds, seed)).unwrap()
}

/// The scenario of this name, as it is but for what `adjust` changes.
fn changed(name: &str, adjust: fn(&mut Setting, u32)) -> Scenario {
    Scenario { adjust, ..*scenario(name) }
}

/// The scenario of that name, early enough and short enough to be over soon.
fn suspended() -> Scenario {
    changed("suspended", |setting, _| {
        setting.suspended = Some((Duration::from_secs(30), Duration::from_secs(40)));
    })
}

/// Nobody got anything later than HTTP alone would have brought it plus 100 ms and missed it, nor a wrong byte, nor an error.
fn nobody_suffers(report: &Report) {
    assert_eq!(report.failed_requests, 0, "{}, seed {}", report.scenario, report.seed);
    nobody_is_late(report);
    little_is_wasted(report, 0.02);
}

fn nobody_is_late(report: &Report) {
    let Report { scenario, seed, late_segments, wrong_pieces, .. } = report;
    assert_eq!(*late_segments, 0, "{scenario}, seed {seed}");
    assert_eq!(*wrong_pieces, 0, "{scenario}, seed {seed}");
}

fn little_is_wasted(report: &Report, most: f64) {
    let Report { scenario, seed, waste, .. } = report;
    assert!(*waste <= most, "{scenario}, seed {seed}: {waste} of all bytes are wasted");
}
