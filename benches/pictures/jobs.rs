//! What is simulated for the pictures: small worlds beside each other, and then the large ones, each on all cores.

use std::num::NonZero;
use std::sync::Mutex;
use std::time::Instant;

use paceline::simulator::report::Report;
use paceline::simulator::scenario::{Knobs, Scenario};
use paceline::simulator::{Shard, World};

use crate::efficiency::{percent, thousands};

/// Decides every chance in every picture.
pub const SEED: u64 = 1;
/// From so many viewers on a world takes gigabytes: one at a time, on all cores.
pub const LARGE: u32 = 100_000;
/// Seconds of such a world: as long as it takes to settle, and as long again.
const LARGE_SECONDS: u64 = 60;
/// What a world costs that says nothing of its size.
const USUAL: u32 = 10_000;

/// One run, and what it is for.
#[derive(Clone, Copy)]
pub struct Job {
    pub scenario: &'static Scenario,
    /// Another number than the scenario's own.
    pub viewers: Option<u32>,
    /// False: HTTP alone, to compare with.
    pub p2p: bool,
    /// A point of the picture over the number of viewers.
    pub point: bool,
}

impl Job {
    /// A scenario as it is.
    pub fn of(scenario: &'static Scenario) -> Self {
        Self { scenario, viewers: None, p2p: true, point: false }
    }

    /// Whether it is the scenario as its picture shows it.
    pub fn is_scene(&self) -> bool {
        self.viewers.is_none() && self.p2p && !self.point
    }

    fn is_large(&self) -> bool {
        self.viewers.is_some_and(|viewers| viewers >= LARGE)
    }
}

/// Runs them: the small ones each on a thread of its own, as many at a time as there are cores, then the large ones.
pub fn all(jobs: Vec<Job>) -> Vec<(Job, Report)> {
    let (mut large, mut small): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(Job::is_large);
    // The longest begin first, so that they are not waited for at the end.
    small.sort_by_key(|job| job.viewers.unwrap_or(USUAL));
    large.sort_by_key(|job| job.viewers);
    let (jobs, done) = (Mutex::new(small), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..cores() {
            scope.spawn(|| {
                loop {
                    let Some(job) = jobs.lock().unwrap().pop() else { break };
                    let report = run(&job, 1);
                    done.lock().unwrap().push((job, report));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.extend(large.into_iter().map(|job| (job, run(&job, cores()))));
    done
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

fn run(job: &Job, shards: usize) -> Report {
    let began = Instant::now();
    let seconds = job.is_large().then_some(LARGE_SECONDS);
    let knobs = Knobs { viewers: job.viewers, seconds, seed: SEED, p2p: job.p2p, trace: None, shards };
    let mut world = World::new(job.scenario, &knobs).unwrap();
    while world.step(&mut work) {}
    let report = world.report();
    println!(
        "{:<14} {:>9} viewers {:>6} s: {} ({:.1} s)",
        job.scenario.name,
        thousands(u64::from(report.viewers)),
        report.seconds,
        if job.p2p { percent(report.peer_efficiency_steady) } else { "HTTP alone".to_owned() },
        began.elapsed().as_secs_f64()
    );
    report
}

/// Every shard lives through a window; the first on this thread. A window of a large world is long against the making of
/// a thread.
fn work(shards: &mut [Shard]) {
    let Some((first, others)) = shards.split_first_mut() else { return };
    std::thread::scope(|scope| {
        others.iter_mut().for_each(|shard| drop(scope.spawn(|| shard.work())));
        first.work();
    });
}
