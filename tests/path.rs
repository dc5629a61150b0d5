//! The demo over a home line: delay, loss, a slow uplink and a short queue between real daemons.

use std::process::Command;

use serde_json::Value;

fn demo(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_paceline")).arg("demo").args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_home_line_between_viewers_costs_little_and_stalls_nobody() {
    let home = ["--delay-ms", "25", "--loss", "0.5", "--rate-mbit", "20", "--queue-kib", "256"];
    let summary = demo(&[&home[..], &["--viewers", "5", "--seconds", "60", "--json"]].concat());
    assert_eq!((&summary["stalls"], &summary["mismatches"]), (&Value::from(0), &Value::from(0)));
    // Its ceiling is 0.80.
    assert!(summary["peer_efficiency_steady"].as_f64() >= Some(0.75), "{summary:#}");
    let path = &summary["path"];
    assert!(path["relayed"].as_u64() > Some(5_000) && path["lost"].as_u64() > Some(10), "{path}");
}

#[test]
fn nothing_goes_round_the_line() {
    let summary = demo(&["--loss", "100", "--viewers", "2", "--seconds", "20", "--json"]);
    assert_eq!(summary["p2p_bytes"], Value::from(0));
    assert_eq!(summary["path"]["relayed"], Value::from(0));
    assert!(summary["path"]["lost"].as_u64() > Some(0));
    assert_eq!(summary["stalls"], Value::from(0));
}

#[test]
fn a_line_that_makes_no_sense_is_refused() {
    for arguments in [["--loss", "101"], ["--loss", "much"], ["--rate-mbit", "0"], ["--queue-kib", "1"]] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_paceline")).arg("demo").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}
