//! Draws what the simulator shows into docs/: `cargo bench --bench pictures`.
//!
//! Without arguments every picture; names of scenarios, or `efficiency`, draw these alone. `--up-to N` simulates
//! the efficiency of up to N viewers (10,000 unless said; 440,000 takes a while) and takes larger swarms from
//! docs/efficiency.csv, where each run leaves what it has found; `--up-to 0` only draws what is there.

mod chart;
mod efficiency;
mod scene;
mod svg;

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use efficiency::Point;
use paceline::simulator::World;
use paceline::simulator::report::Report;
use paceline::simulator::scenario::{Knobs, Scenario, scenarios};

/// Decides every chance in every picture.
const SEED: u64 = 1;
/// The largest swarm that is simulated without being asked for.
const SOON: u32 = 10_000;
const EFFICIENCY: &str = "efficiency";

/// One run, and what is drawn of it.
struct Job {
    scenario: &'static Scenario,
    /// Of a picture over the number of viewers.
    viewers: Option<u32>,
}

struct Wanted {
    names: BTreeSet<String>,
    up_to: u32,
}

fn main() {
    let wanted = match wanted(std::env::args().skip(1)) {
        Ok(wanted) => wanted,
        Err(why) => {
            eprintln!("pictures: {why}");
            std::process::exit(2);
        }
    };
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    fs::create_dir_all(docs.join("scenarios")).unwrap();
    let is_wanted = |name: &str| wanted.names.is_empty() || wanted.names.contains(name);
    let mut jobs = Vec::new();
    if is_wanted(EFFICIENCY) {
        let sizes = efficiency::VIEWERS.iter().filter(|n| **n <= wanted.up_to);
        jobs.extend(sizes.map(|n| Job { scenario: &scenarios()[0], viewers: Some(*n) }));
    }
    let scenes = scenarios().iter().filter(|scenario| is_wanted(scenario.name));
    jobs.extend(scenes.map(|scenario| Job { scenario, viewers: None }));
    let done = all(jobs);
    for (job, report) in done.iter().filter(|(job, _)| job.viewers.is_none()) {
        let file = docs.join("scenarios").join(format!("{}.svg", job.scenario.name));
        write(file, &scene::picture(job.scenario, report));
    }
    if is_wanted(EFFICIENCY) {
        let fresh: Vec<&Report> =
            done.iter().filter(|(job, _)| job.viewers.is_some()).map(|(_, report)| report).collect();
        over_viewers(&docs, &fresh);
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

/// Runs them, each on a thread of its own, as many at a time as there are cores.
fn all(mut jobs: Vec<Job>) -> Vec<(Job, Report)> {
    // The longest begin first, so that they are not waited for at the end.
    jobs.sort_by_key(|job| job.viewers.unwrap_or(SOON));
    let (jobs, done) = (Mutex::new(jobs), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let Some(job) = jobs.lock().unwrap().pop() else { break };
                    let report = run(&job);
                    done.lock().unwrap().push((job, report));
                }
            });
        }
    });
    done.into_inner().unwrap()
}

fn run(job: &Job) -> Report {
    let began = Instant::now();
    let knobs = Knobs { viewers: job.viewers, seconds: None, seed: SEED, p2p: true, trace: None, shards: 1 };
    let mut world = World::new(job.scenario, &knobs).unwrap();
    while world.step(&mut |shards| shards.iter_mut().for_each(|shard| shard.work())) {}
    let report = world.report();
    println!(
        "{:<14} {:>9} viewers {:>6} s: {} ({:.1} s)",
        job.scenario.name,
        efficiency::thousands(u64::from(report.viewers)),
        report.seconds,
        efficiency::percent(report.peer_efficiency_steady),
        began.elapsed().as_secs_f64()
    );
    report
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
