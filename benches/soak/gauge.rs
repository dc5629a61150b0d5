//! What a daemon holds, and the tracker: resident memory, descriptors, threads, tasks.

use std::fmt;
use std::fs;
use std::time::{Duration, Instant};

use crate::House;
use crate::common::Daemon;

/// What one process holds at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// MiB.
    pub resident: f64,
    /// Open ones.
    pub descriptors: usize,
    /// Of the system.
    pub threads: usize,
    /// Of the runtime that serves players, and of the one that speaks to peers; a tracker counts none.
    pub tasks: (u64, u64),
}

impl Reading {
    /// Every daemon's, and the tracker's after them.
    pub fn all(house: &House) -> Vec<Self> {
        let tracker = Self::of_process(house.tracker.process.pid(), (0, 0));
        house.daemons.iter().map(Self::of).chain([tracker]).collect()
    }

    fn of(daemon: &Daemon) -> Self {
        // The question itself is a connection and a task: asked before it is counted, it is in every reading alike.
        let stats = daemon.stats();
        let tasks = |side: &str| stats["tasks"][side].as_u64().unwrap();
        Self::of_process(daemon.process.pid(), (tasks("players"), tasks("peers")))
    }

    fn of_process(pid: u32, tasks: (u64, u64)) -> Self {
        let process = format!("/proc/{pid}");
        let count = |folder: &str| fs::read_dir(format!("{process}/{folder}")).unwrap().count();
        let status = fs::read_to_string(format!("{process}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        Self {
            resident: line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0,
            descriptors: count("fd"),
            threads: count("task"),
            tasks,
        }
    }

    /// The larger of each figure.
    fn or(&self, other: &Self) -> Self {
        Self {
            resident: self.resident.max(other.resident),
            descriptors: self.descriptors.max(other.descriptors),
            threads: self.threads.max(other.threads),
            tasks: (self.tasks.0.max(other.tasks.0), self.tasks.1.max(other.tasks.1)),
        }
    }

    /// No more is there than in `other`, memory aside.
    pub fn within(&self, other: &Self) -> bool {
        self.descriptors <= other.descriptors
            && self.threads <= other.threads
            && self.tasks.0 <= other.tasks.0
            && self.tasks.1 <= other.tasks.1
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resident, descriptors, threads, tasks: (players, peers) } = self;
        write!(f, "{resident:5.1} {descriptors:3} {threads:2} {players:3}+{peers:3}")
    }
}

/// The median of each figure.
pub fn median(readings: impl Iterator<Item = Reading>) -> Reading {
    let mut all: Vec<Reading> = readings.collect();
    let middle = all.len() / 2;
    all.sort_by(|a, b| a.resident.total_cmp(&b.resident));
    let resident = all[middle].resident;
    let mut of = |key: fn(&Reading) -> u64| {
        all.sort_by_key(key);
        key(&all[middle])
    };
    Reading {
        resident,
        descriptors: of(|r| r.descriptors as u64) as usize,
        threads: of(|r| r.threads as u64) as usize,
        tasks: (of(|r| r.tasks.0), of(|r| r.tasks.1)),
    }
}

/// The most that each holds at any moment of so long: some of it, as a thread that looks at the battery, comes and goes.
pub fn most(house: &House, time: Duration) -> Vec<Reading> {
    let began = Instant::now();
    let mut most = Reading::all(house);
    while began.elapsed() < time {
        std::thread::sleep(Duration::from_secs(1));
        most = most.iter().zip(&Reading::all(house)).map(|(most, now)| most.or(now)).collect();
    }
    most
}
