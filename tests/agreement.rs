//! The simulator tells what the daemons do: the demo with real sockets, and the same demo simulated.

use std::process::Command;

use serde_json::Value;

/// What a noisy machine may add to the three points that a quiet one shows.
const APART: f64 = 0.05;
/// What ten real daemons reach at least: 0.90 is the most there can be, and 0.885 what a quiet machine has to show.
const REAL: f64 = 0.86;

fn steady(arguments: &[&str]) -> f64 {
    let output = Command::new(env!("CARGO_BIN_EXE_paceline")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    document["peer_efficiency_steady"].as_f64().unwrap()
}

#[test]
fn the_demo_and_its_simulation_agree() {
    let simulated =
        steady(&["simulate", "--scenario", "demo", "--viewers", "10", "--seconds", "60", "--json"]);
    let real = steady(&["demo", "--viewers", "10", "--seconds", "60", "--json"]);
    assert!(real >= REAL, "{real} from peers, and at least {REAL} is to be reached");
    assert!((simulated - real).abs() <= APART, "simulated {simulated}, real {real}");
}
