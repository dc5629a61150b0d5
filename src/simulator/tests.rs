//! Worlds that are small enough to be lived through in a test; every adversity, and what must hold in it.

use std::time::Duration;

use super::report::Report;
use super::scenario::{Knobs, Scenario, scenarios};
use super::*;

fn scenario(name: &str) -> &'static Scenario {
    scenarios().iter().find(|s| s.name == name).expect("a scenario of that name")
}

fn live(name: &str, viewers: u32, seconds: u64, seed: u64) -> Report {
    let knobs = Knobs { viewers: Some(viewers), seconds: Some(seconds), seed, ..Knobs::default() };
    run(scenario(name), &knobs).unwrap()
}

/// Nobody got anything later than HTTP alone would have brought it plus 100 ms and missed it, nor a wrong byte.
fn nobody_suffers(report: &Report) {
    let Report { scenario, seed, late_segments, wrong_pieces, waste, .. } = report;
    assert_eq!(*late_segments, 0, "{scenario}, seed {seed}");
    assert_eq!(*wrong_pieces, 0, "{scenario}, seed {seed}");
    assert!(*waste < 0.02, "{scenario}, seed {seed}: {waste} of all bytes are wasted");
}

#[test]
fn viewers_of_a_live_channel_take_nearly_everything_from_each_other() {
    let report = live("live", 100, 70, 1);
    nobody_suffers(&report);
    assert!(report.peer_efficiency_steady > 0.96, "{}", report.peer_efficiency_steady);
    assert_eq!(report.stalls, 0);
}

#[test]
fn start_up_takes_as_long_as_with_http_alone() {
    let with = live("live", 40, 20, 3);
    let knobs = Knobs { viewers: Some(40), seconds: Some(20), seed: 3, p2p: false, ..Knobs::default() };
    let without = run(scenario("live"), &knobs).unwrap();
    assert_eq!(without.p2p_bytes, 0);
    assert_eq!(with.startup_ms_p50, without.startup_ms_p50);
    assert_eq!(with.startup_ms_p99, without.startup_ms_p99);
}

#[test]
fn adversity_is_not_noticed() {
    for (name, viewers, seconds, efficiency) in [
        ("churn", 80, 90, 0.90),
        ("isp", 80, 130, 0.93),
        ("tracker-gone", 60, 130, 0.92),
        ("silent", 80, 70, 0.92),
        ("failing-origin", 80, 70, 0.92),
        ("live-1.3x", 60, 70, 0.70),
    ] {
        let report = live(name, viewers, seconds, 1);
        let Report { late_segments, wrong_pieces, peer_efficiency_steady: steady, .. } = report;
        assert_eq!((late_segments, wrong_pieces), (0, 0), "{name}");
        assert!(steady > efficiency, "{name}: {steady}");
    }
}

#[test]
fn liars_are_found_out_and_nobody_plays_what_they_made_up() {
    let report = live("liars", 80, 90, 1);
    assert_eq!((report.wrong_pieces, report.late_segments), (0, 0));
    assert!(report.peer_efficiency_steady > 0.88, "{}", report.peer_efficiency_steady);
}

#[test]
fn an_origin_with_half_the_rate_carries_everybody() {
    let knobs = Knobs { viewers: Some(60), seconds: Some(110), ..Knobs::default() };
    let with = run(scenario("slow-origin"), &knobs).unwrap();
    let without = run(scenario("slow-origin"), &Knobs { p2p: false, ..knobs }).unwrap();
    assert!(without.stalls >= 10, "{} stalls with HTTP alone", without.stalls);
    assert!(with.stalls * 10 <= without.stalls, "{} stalls, {} with HTTP alone", with.stalls, without.stalls);
}

#[test]
fn a_flash_crowd_stalls_nobody() {
    let report = live("flash", 200, 75, 1);
    nobody_suffers(&report);
    assert_eq!(report.stalls, 0);
}

#[test]
fn a_film_is_found_in_memories() {
    let knobs = Knobs { viewers: Some(20), seconds: Some(600), ..Knobs::default() };
    let mut together = *scenario("vod");
    together.adjust = |setting, viewers| {
        (scenario("vod").adjust)(setting, viewers);
        setting.crowd = scenario::Crowd::Within(Duration::from_secs(240));
    };
    let report = run(&together, &knobs).unwrap();
    nobody_suffers(&report);
    assert!(report.peer_efficiency > 0.80, "{}", report.peer_efficiency);
}

#[test]
fn switching_and_seeking_players_are_not_held_up() {
    for name in ["switching", "restless"] {
        let report = live(name, 40, 70, 1);
        assert_eq!((report.late_segments, report.wrong_pieces), (0, 0), "{name}");
    }
}

#[test]
fn the_result_does_not_depend_on_the_shards() {
    let knobs = Knobs { viewers: Some(30), seconds: Some(40), ..Knobs::default() };
    let one = run(scenario("live"), &knobs).unwrap();
    let three = run(scenario("live"), &Knobs { shards: 3, ..knobs }).unwrap();
    assert_eq!(one, three);
    let other = run(scenario("live"), &Knobs { seed: 2, ..knobs }).unwrap();
    assert_ne!(one, other);
}

#[test]
fn a_viewer_that_does_not_exist_is_refused_by_name() {
    let knobs = Knobs { viewers: Some(3), seconds: Some(5), trace: Some(4), ..Knobs::default() };
    let refused = run(scenario("live"), &knobs).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "there is no viewer 4; they are numbered 1 to 3, in the order in which they join"
    );
}
