//! `paceline simulate` as a user meets it: what it prints, where, and how it ends.

use std::process::{Command, Output};

use paceline::simulator::scenario::scenarios;
use serde_json::Value;

/// Small enough for a machine that has other things to do.
const SMALL: [&str; 4] = ["--viewers", "5", "--seconds", "25"];
/// What the contract promises of the document.
const KEYS: [&str; 12] = [
    "viewers",
    "seconds",
    "peer_efficiency",
    "peer_efficiency_steady",
    "ceiling",
    "origin_bytes",
    "p2p_bytes",
    "wasted_bytes",
    "stalls",
    "stall_ms",
    "startup_ms_p50",
    "startup_ms_p99",
];

fn simulate(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_paceline")).arg("simulate").args(args).output().unwrap()
}

/// Standard output of a run that has to end well.
fn printed(args: &[&str]) -> String {
    let output = simulate(args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn small(more: &[&str]) -> String {
    printed(&[&SMALL, more].concat())
}

#[test]
fn the_document_is_one_and_has_the_keys_of_the_contract() {
    let document: Value = serde_json::from_str(&small(&["--json"])).unwrap();
    for key in KEYS {
        assert!(document[key].is_number(), "{key}: {}", document[key]);
    }
    assert_eq!((&document["viewers"], &document["seconds"]), (&5.into(), &25.into()));
    assert_eq!(document["scenario"], scenarios()[0].name, "the first is the default");
    assert_eq!(document["series"].as_array().map(Vec::len), Some(25));
    assert!(document["reasons"].is_object() && document.get("trace").is_none());
}

#[test]
fn the_same_seed_gives_the_same_bytes_on_any_number_of_threads() {
    let one = small(&["--json", "--seed", "7", "--threads", "1"]);
    assert_eq!(one, small(&["--json", "--seed", "7", "--threads", "1"]));
    assert_eq!(one, small(&["--json", "--seed", "7", "--threads", "3"]));
    assert_ne!(one, small(&["--json", "--seed", "8", "--threads", "1"]));
}

#[test]
fn what_a_run_costs_is_told_aside() {
    let output = simulate(&[&SMALL[..], &["--json"]].concat());
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("CPU seconds") && errors.contains("MiB"), "{errors}");
    assert_eq!(errors.lines().count(), 1, "without a terminal nothing draws progress: {errors}");
}

#[test]
fn the_table_has_what_the_document_has() {
    let table = small(&[]);
    for words in
        ["5 viewers, 25 s", "share from peers", "at best", "late", "stalls", "start-up", "peak", "wasted"]
    {
        assert!(table.contains(words), "{words}: {table}");
    }
    assert!(!table.contains('\u{1b}'), "no colours without a terminal");
}

#[test]
fn without_peers_the_origin_sends_everything() {
    let document: Value = serde_json::from_str(&small(&["--json", "--no-p2p"])).unwrap();
    assert_eq!((&document["p2p_bytes"], &document["peer_efficiency"]), (&0.into(), &0.0.into()));
    assert!(document["origin_bytes"].as_u64().unwrap() > 0);
}

#[test]
fn the_story_of_a_viewer_follows_the_table() {
    let (plain, traced) = (small(&[]), small(&["--trace", "2"]));
    let story = traced.strip_prefix(&plain).expect("telling a story changes nothing else");
    let mut lines = story.lines().skip_while(|line| line.is_empty());
    assert_eq!(lines.next(), Some("viewer 2"));
    assert!(lines.clone().count() >= 1 && lines.all(|line| line.contains(" s ")), "{story}");
    let document: Value = serde_json::from_str(&small(&["--json", "--trace", "2"])).unwrap();
    let trace = document["trace"].as_array().unwrap();
    let times: Vec<u64> = trace.iter().map(|line| line["at_ms"].as_u64().unwrap()).collect();
    assert!(!times.is_empty() && times.is_sorted(), "{times:?}");
    let says = |what: &str| trace.iter().any(|line| line["what"].as_str().unwrap().ends_with(what));
    assert!(trace.iter().all(|line| !line["what"].as_str().unwrap().is_empty()));
    assert!(says(": start-up"), "segment by segment, with the reason: {trace:?}");
}

#[test]
fn comma_separated_values_have_a_line_of_names() {
    for (what, first, lines) in
        [("summary", "bitrate,", Some(2)), ("series", "second,", Some(26)), ("spread", "ms,share", None)]
    {
        let text = small(&["--csv", what]);
        assert!(text.starts_with(first), "{text}");
        assert!(lines.is_none_or(|lines| text.lines().count() == lines), "{text}");
        let width = |line: &str| line.split(',').count();
        let names = text.lines().next().map(width);
        assert!(text.lines().all(|line| Some(width(line)) == names), "{text}");
    }
}

#[test]
fn the_list_has_every_scenario_with_what_it_shows() {
    let list = printed(&["--list"]);
    assert_eq!(list.lines().count(), scenarios().len());
    for (line, scenario) in list.lines().zip(scenarios()) {
        let (name, claim) = line.split_once(' ').unwrap();
        assert_eq!((name, claim.trim()), (scenario.name, scenario.claim));
    }
}

#[test]
fn what_can_not_be_used_is_said_with_what_would_be_right() {
    for (args, words) in [
        (&["--scenario", "flsh"][..], &["`flsh`", "`flash`", "live-2x"][..]),
        (&["--scenario", "0"], &["`0`", "live", "vod"]),
        (&["--viewers", "0"], &["0", "1..=1000000"]),
        (&["--viewers", "1000001"], &["1..=1000000"]),
        (&["--viewers", "many"], &["many"]),
        (&["--seconds", "0"], &["1..=86400"]),
        (&["--seconds", "86401"], &["1..=86400"]),
        (&["--seed", "-1"], &["-1"]),
        (&["--trace", "6", "--viewers", "5"], &["6", "5"]),
        (&["--json", "--csv", "series"], &["--csv"]),
        (&["--csv", "all"], &["summary", "series", "spread"]),
        (&["--list", "--json"], &["--list"]),
    ] {
        let output = simulate(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {errors}");
        assert!(output.stdout.is_empty(), "{args:?}");
        assert!(words.iter().all(|word| errors.contains(word)), "{args:?}: {errors}");
    }
}

#[test]
fn output_that_can_not_be_written_is_a_failure() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
    let output = command.args(["simulate", "--list"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stderr).contains("standard output"));
}
