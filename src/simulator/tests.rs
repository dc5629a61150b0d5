//! Worlds that are small enough to be lived through in a test.

use super::scenario::{Knobs, scenarios};
use super::*;

fn scenario(name: &str) -> &'static Scenario {
    scenarios().iter().find(|s| s.name == name).expect("a scenario of that name")
}

fn knobs(viewers: u32, seconds: u64) -> Knobs {
    Knobs { viewers: Some(viewers), seconds: Some(seconds), ..Knobs::default() }
}

#[test]
fn a_few_viewers_share_a_live_channel() {
    let report = run(scenario("live"), &knobs(20, 60)).unwrap();
    println!("{report:#?}");
    assert!(report.peer_efficiency_steady > 0.9, "{}", report.peer_efficiency_steady);
    assert_eq!(report.stalls, 0);
}

#[test]
fn the_result_does_not_depend_on_the_shards() {
    let one = run(scenario("live"), &knobs(30, 40)).unwrap();
    let three = run(scenario("live"), &Knobs { shards: 3, ..knobs(30, 40) }).unwrap();
    assert_eq!(one, three);
    let other = run(scenario("live"), &Knobs { seed: 2, ..knobs(30, 40) }).unwrap();
    assert_ne!(one, other);
}
