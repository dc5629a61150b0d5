//! A week of use in an hour: `cargo bench --bench soak -- 60` (minutes; that many by default).
//!
//! Three daemons that know each other through a tracker, four streams at a time on all of them: each stream is new, live or
//! a recording, opened, watched for a few seconds by a viewer at every daemon, and left, often in the middle of a segment.
//! A fourth daemon comes and goes, a dashboard looks on, and some requests are for what isn't there. Content is limited to
//! 32 MiB, and what is kept of a recording that was left is kept for five minutes: so after six minutes the memory that is
//! *meant* to fill is full, and what grows later is a leak.
//!
//! Prints a line a minute; ends with 1 when a daemon's resident memory has grown by more than a tenth since the first minute
//! after those six, or when a descriptor, a thread or a task is left, the tracker's included, that was not there after the
//! first stream. How much memory has grown since the very first minute, and the tracker's, is printed beside it: the one has
//! what is meant to fill in it, the other what viewers that have left said of themselves, which is kept up to a bound.

#[path = "../../tests/common/mod.rs"]
mod common;
mod couch;
mod gauge;

use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{Daemon, Process, Tracker, free_port};
use couch::Couch;
use gauge::{Reading, median};

/// Streams at the same time.
const COUCHES: u64 = 4;
/// A daemon of somebody else comes so often, and stays for half of it.
const VISIT: Duration = Duration::from_secs(30);
/// Minutes until everything that is kept for a while is there.
const WARM: u64 = 6;
/// How much resident memory may grow after the first minute.
const GROWTH: f64 = 0.1;
/// Neighbours and an origin's unused connections are kept for less than this.
const KEPT: Duration = Duration::from_secs(65);
/// What a viewer left is kept for up to five minutes (a recording), an origin's connections for one; more than that is a
/// leak.
const QUIET: Duration = Duration::from_secs(480);

/// What all parts share.
struct House {
    daemons: Vec<Daemon>,
    tracker: Tracker,
    /// Streams opened so far.
    opened: AtomicU64,
    /// Segments played so far, by all viewers.
    played: AtomicU64,
    /// Ends every part.
    over: AtomicBool,
}

fn main() -> ExitCode {
    let minutes = std::env::args().skip(1).find_map(|arg| arg.parse::<u64>().ok()).unwrap_or(60).max(2);
    let tracker = Tracker::start();
    let daemons = (0..3).map(|_| daemon(&tracker)).collect();
    let (opened, played) = (AtomicU64::new(0), AtomicU64::new(0));
    let house = Arc::new(House { daemons, tracker, opened, played, over: AtomicBool::new(false) });
    // Everything that is started once is there from now on.
    Couch::new(0).sit(&house);
    assert!(quiet(&house, |_| true).is_ok(), "the first stream is not left");
    std::thread::sleep(KEPT);
    let before = gauge::most(&house, KEPT);
    println!("after the first stream was left: {}", table(&before));
    let [since_the_first, grown] = use_it(&house, minutes);
    println!("left; waiting for what is kept for a while");
    let after = quiet(&house, |now| now.iter().zip(&before).all(|(now, before)| now.within(before)));
    let streams = house.opened.load(Ordering::Relaxed);
    let (fit, leaked) = match &after {
        Ok(now) => (table(now), false),
        Err(now) => (table(now), true),
    };
    println!("after {streams} streams were left: {fit}");
    println!("resident memory against minute 1, tracker last: {}", shares(&since_the_first));
    println!("resident memory against minute {}, tracker last: {}", WARM + 1, shares(&grown));
    let worst = grown[..house.daemons.len()].iter().copied().fold(f64::MIN, f64::max);
    if leaked {
        println!("LEAK: more descriptors, threads or tasks than after the first stream");
    }
    if worst > GROWTH {
        println!("LEAK: resident memory grew by more than {:.0} %", GROWTH * 100.0);
    }
    if leaked || worst > GROWTH { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn shares(of: &[f64]) -> String {
    of.iter().map(|share| format!("{:+.1} %", share * 100.0)).collect::<Vec<_>>().join(", ")
}

fn daemon(tracker: &Tracker) -> Daemon {
    Daemon::start(&["--tracker", &tracker.url()], &[("PACELINE_MEMORY_LIMIT", "32MiB")])
}

/// So many minutes of use, after those to get warm; how much the resident memory of each process grew to the last one, from
/// minute 1 and from the first that is warm.
fn use_it(house: &Arc<House>, minutes: u64) -> [Vec<f64>; 2] {
    let parts: Vec<_> = (1..=COUCHES)
        .map(|number| {
            let house = Arc::clone(house);
            std::thread::spawn(move || {
                let mut couch = Couch::new(number);
                while !house.over.load(Ordering::Relaxed) {
                    couch.sit(&house);
                }
            })
        })
        .chain([std::thread::spawn({
            let house = Arc::clone(house);
            move || visits(&house)
        })])
        .collect();
    println!(
        "minute streams segments | per daemon, and the tracker: resident MiB, descriptors, threads, tasks for players + peers"
    );
    let began = Instant::now();
    let (mut first, mut warm, mut last) = (Vec::new(), Vec::new(), Vec::new());
    for minute in 1..=WARM + minutes {
        let mut seconds: Vec<Vec<Reading>> = Vec::new();
        while began.elapsed() < Duration::from_secs(60 * minute) {
            seconds.push(Reading::all(house));
            std::thread::sleep(Duration::from_secs(2));
        }
        let of_process = |index: usize| median(seconds.iter().map(|all| all[index]));
        last = (0..=house.daemons.len()).map(of_process).collect();
        println!(
            "{minute:6} {:7} {:8} | {}",
            house.opened.load(Ordering::Relaxed),
            house.played.load(Ordering::Relaxed),
            table(&last)
        );
        match minute {
            1 => first.clone_from(&last),
            _ if minute == WARM + 1 => warm.clone_from(&last),
            _ => {}
        }
    }
    house.over.store(true, Ordering::Relaxed);
    parts.into_iter().for_each(|part| part.join().unwrap());
    let grown = |since: &[Reading]| {
        since.iter().zip(&last).map(|(then, now)| now.resident / then.resident - 1.0).collect::<Vec<_>>()
    };
    [grown(&first), grown(&warm)]
}

/// Somebody else's daemon, which comes, plays what we play, and goes.
fn visits(house: &House) {
    while !house.over.load(Ordering::Relaxed) {
        let channel = couch::channel(u64::from(free_port()), false);
        let mut visitor = daemon(&house.tracker);
        let viewers: Vec<Process> = [&visitor, &house.daemons[0], &house.daemons[1]]
            .iter()
            .map(|daemon| {
                let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
                command.args(["watch", "--json", "--via", &daemon.address.to_string()]);
                Process::spawn("viewer", command.args([channel.url()]))
            })
            .collect();
        house.opened.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(VISIT / 2);
        visitor.process.signal("-TERM");
        assert!(visitor.process.wait(common::PATIENCE), "the visitor did not end well");
        drop(viewers);
        channel.stop();
        std::thread::sleep(VISIT / 2);
    }
}

/// Waits until no stream is left, and what each process holds is `within` what it may. Otherwise what it holds then.
fn quiet(house: &House, within: impl Fn(&[Reading]) -> bool) -> Result<Vec<Reading>, Vec<Reading>> {
    let began = Instant::now();
    loop {
        let now = Reading::all(house);
        let left = house.daemons.iter().all(|d| d.stats()["streams"].as_array().is_some_and(Vec::is_empty));
        if left && within(&now) {
            return Ok(now);
        }
        if began.elapsed() > QUIET {
            return Err(now);
        }
        std::thread::sleep(Duration::from_secs(2));
    }
}

fn table(readings: &[Reading]) -> String {
    readings.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
}
