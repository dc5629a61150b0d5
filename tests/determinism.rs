//! The same seed gives the same result, byte for byte; and what once went wrong does not go wrong again.

use std::path::Path;

use paceline::simulator::report::Report;
use paceline::simulator::scenario::{Knobs, scenarios};
use paceline::simulator::{self};

/// A scenario that once failed: `key = value` lines, and comments that say what it showed.
struct Seed {
    name: String,
    scenario: String,
    knobs: Knobs,
}

fn seeds() -> Vec<Seed> {
    let mut files: Vec<_> =
        std::fs::read_dir("tests/seeds").unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    files.iter().map(|file| read(file)).collect()
}

fn read(file: &Path) -> Seed {
    let text = std::fs::read_to_string(file).unwrap();
    let name = file.display().to_string();
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_prefix('='));
        line.unwrap_or_else(|| panic!("{name} says no {key}")).trim().to_owned()
    };
    let number = |key: &str| value(key).parse::<u64>().unwrap();
    let knobs = Knobs {
        viewers: Some(number("viewers") as u32),
        seconds: Some(number("seconds")),
        seed: number("seed"),
        ..Knobs::default()
    };
    Seed { scenario: value("scenario"), knobs, name }
}

fn run(name: &str, knobs: &Knobs) -> Report {
    let scenario =
        scenarios().iter().find(|s| s.name == name).unwrap_or_else(|| panic!("no scenario {name}"));
    simulator::run(scenario, knobs).unwrap()
}

/// Long enough for everything that a scenario lets happen to begin: the last is the provider that drops, after 90 s. The second
/// time the viewers are spread over three shards, which changes nothing.
#[test]
fn twice_the_same_in_one_process_however_it_is_shared_out() {
    for scenario in scenarios() {
        let knobs = Knobs { viewers: Some(8), seconds: Some(100), seed: 7, ..Knobs::default() };
        let once = serde_json::to_string(&run(scenario.name, &knobs)).unwrap();
        let twice = serde_json::to_string(&run(scenario.name, &Knobs { shards: 3, ..knobs })).unwrap();
        assert_eq!(once, twice, "{}", scenario.name);
    }
}

#[test]
fn what_once_failed_does_not_fail_again() {
    let seeds = seeds();
    assert!(!seeds.is_empty());
    for seed in seeds {
        let report = run(&seed.scenario, &seed.knobs);
        assert_eq!(report.late_segments, 0, "{}", seed.name);
        assert_eq!(report.wrong_pieces, 0, "{}", seed.name);
    }
}
