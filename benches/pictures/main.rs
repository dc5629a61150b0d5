//! Draws what the simulator shows into docs/, and holds it to what was promised: `cargo bench --bench pictures`.
//!
//! Without arguments every picture; names of scenarios, or `efficiency`, draw these alone. `--up-to N` simulates
//! the efficiency of up to N viewers (10,000 unless said; 440,000 takes a while) and takes larger swarms from
//! docs/efficiency.csv, where each run leaves what it has found; `--up-to 0` only draws what is there. What the scenarios
//! come to is left in docs/scenarios.csv.
//!
//! Ends with 1 when anything comes to less than it has to: `floors.rs` says what that is.

mod chart;
mod efficiency;
mod floors;
mod jobs;
mod scene;
mod svg;
mod table;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use efficiency::Point;
use jobs::Job;
use paceline::simulator;
use paceline::simulator::report::Report;
use paceline::simulator::scenario::{Knobs, scenarios};
use table::Row;

/// The largest swarm that is simulated without being asked for.
const SOON: u32 = 10_000;
const EFFICIENCY: &str = "efficiency";
/// What a small run comes to in a debug build: `simulator/tests/worlds.rs` holds that, and says how it is put down.
const GOLDEN: &str = include_str!("../../src/simulator/golden.txt");

struct Wanted {
    names: BTreeSet<String>,
    up_to: u32,
}

impl Wanted {
    fn has(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.contains(name)
    }
}

fn main() {
    let wanted = match wanted(std::env::args().skip(1)) {
        Ok(wanted) => wanted,
        Err(why) => {
            eprintln!("pictures: {why}");
            std::process::exit(2);
        }
    };
    if let Err(why) = golden() {
        eprintln!("pictures: {why}");
        std::process::exit(1);
    }
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    fs::create_dir_all(docs.join("scenarios")).unwrap();
    let done = jobs::all(wanted_jobs(&wanted));
    for (job, report) in done.iter().filter(|(job, _)| job.is_scene()) {
        let file = docs.join("scenarios").join(format!("{}.svg", job.scenario.name));
        write(file, &scene::picture(job.scenario, report));
    }
    if wanted.has(EFFICIENCY) {
        let points = done.iter().filter(|(job, _)| job.point).map(|(_, report)| report);
        over_viewers(&docs, &points.collect::<Vec<_>>());
    }
    let file = docs.join("scenarios.csv");
    let rows = done.iter().filter(|(job, report)| is_quoted(job, report)).map(|(_, report)| Row::of(report));
    let rows = table::merged(rows.collect(), table::read(&file));
    write(file, &table::csv(&rows));
    let misses = misses(&done);
    misses.iter().for_each(|miss| eprintln!("pictures: {miss}"));
    if !misses.is_empty() {
        std::process::exit(1);
    }
}

fn wanted(args: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let mut wanted = Wanted { names: BTreeSet::new(), up_to: SOON };
    // What `cargo bench` adds of its own.
    let mut args = args.filter(|arg| arg != "--bench");
    while let Some(arg) = args.next() {
        if arg == "--up-to" {
            let number = args.next().and_then(|number| number.replace([',', '_'], "").parse().ok());
            wanted.up_to = number.ok_or("--up-to needs a number of viewers")?;
        } else if arg == EFFICIENCY || scenarios().iter().any(|scenario| scenario.name == arg) {
            wanted.names.insert(arg);
        } else {
            let names: Vec<&str> = scenarios().iter().map(|scenario| scenario.name).collect();
            return Err(format!("`{arg}` is not --up-to N, {EFFICIENCY}, {}", names.join(", ")));
        }
    }
    Ok(wanted)
}

/// An optimised build has to come to what a debug build does, or nothing that follows says anything of the tests' worlds.
fn golden() -> Result<(), String> {
    let knobs = Knobs { viewers: Some(30), seconds: Some(40), seed: 7, ..Knobs::default() };
    let report = simulator::run(&scenarios()[0], &knobs).map_err(|refused| refused.to_string())?;
    let report = serde_json::to_string(&report).map_err(|error| error.to_string())?;
    let found = blake3::hash(report.as_bytes()).to_hex();
    if found.as_str() == GOLDEN.trim() {
        return Ok(());
    }
    Err(format!("this build comes to {found} where src/simulator/golden.txt has {}", GOLDEN.trim()))
}

/// Each picture, each floor that is not at the size of a picture, and HTTP alone where it is compared with.
fn wanted_jobs(wanted: &Wanted) -> Vec<Job> {
    let mut jobs = Vec::new();
    if wanted.has(EFFICIENCY) {
        let sizes = efficiency::VIEWERS.iter().filter(|n| **n <= wanted.up_to);
        jobs.extend(sizes.map(|n| Job { viewers: Some(*n), point: true, ..Job::of(&scenarios()[0]) }));
    }
    for scenario in scenarios().iter().filter(|scenario| wanted.has(scenario.name)) {
        let usual = Job::of(scenario);
        jobs.push(usual);
        for floor in floors::all_of(scenario.name) {
            let drawn = floor.viewers == scenario.viewers;
            let there = drawn || jobs.iter().any(|job| job.point && is_of(job, floor));
            if !there && (floor.viewers <= wanted.up_to || floor.viewers < jobs::LARGE) {
                jobs.push(Job { viewers: Some(floor.viewers), ..usual });
            }
            if drawn && floor.compares() {
                jobs.push(Job { p2p: false, ..usual });
            }
        }
    }
    jobs
}

fn is_of(job: &Job, floor: &floors::Floor) -> bool {
    job.scenario.name == floor.scenario && job.viewers == Some(floor.viewers)
}

/// Scenarios as they are, and other sizes that something is promised of.
fn is_quoted(job: &Job, report: &Report) -> bool {
    let promised = floors::of(job.scenario.name, report.viewers).is_some();
    job.p2p && (job.is_scene() || promised && report.viewers != job.scenario.viewers)
}

/// What comes to less than it has to.
fn misses(done: &[(Job, Report)]) -> Vec<String> {
    let mut misses = Vec::new();
    for (job, report) in done.iter().filter(|(job, _)| job.p2p) {
        let Some(floor) = floors::of(job.scenario.name, report.viewers) else {
            if job.is_scene() {
                misses.push(format!("{}: floors.rs says nothing of it", job.scenario.name));
            }
            continue;
        };
        let alone = done.iter().find(|(other, alone)| {
            !other.p2p && (other.scenario.name, alone.viewers) == (job.scenario.name, report.viewers)
        });
        misses.extend(floor.misses(report, alone.map(|(_, alone)| alone)));
    }
    // A point of the curve may be a scenario as it is.
    misses.sort();
    misses.dedup();
    misses
}

/// The picture over the number of viewers, of what was simulated now and of what the file has of larger swarms.
fn over_viewers(docs: &Path, fresh: &[&Report]) {
    let file = docs.join("efficiency.csv");
    let mut points: Vec<Point> = fresh
        .iter()
        .map(|report| Point {
            viewers: report.viewers,
            seconds: report.seconds,
            seed: report.seed,
            efficiency: report.peer_efficiency_steady,
            bound: report.bound,
        })
        .collect();
    for kept in efficiency::read(&file) {
        let known = efficiency::VIEWERS.contains(&kept.viewers);
        if known && !points.iter().any(|point| point.viewers == kept.viewers) {
            println!("{} viewers: taken from docs/efficiency.csv, not simulated now", kept.viewers);
            points.push(kept);
        }
    }
    points.sort_by_key(|point| point.viewers);
    write(file, &efficiency::csv(&points));
    write(docs.join("efficiency.svg"), &efficiency::picture(&points));
}

fn write(file: PathBuf, text: &str) {
    fs::write(&file, text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    println!("{}", file.display());
}
