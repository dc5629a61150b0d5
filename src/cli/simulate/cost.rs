//! What a run cost this machine.

use std::time::Duration;

use indicatif::HumanCount;
use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::simulator::report::Report;

/// Time used up to a moment, or between two.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    wall: Duration,
    cpu: Duration,
}

impl Cost {
    /// What this process has used so far.
    #[must_use]
    pub fn now() -> Self {
        let duration = |time: Timespec| {
            Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
        };
        Self {
            wall: duration(clock_gettime(ClockId::Monotonic)),
            cpu: duration(clock_gettime(ClockId::ProcessCPUTime)),
        }
    }

    /// What was used between `earlier` and this.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self { wall: self.wall.saturating_sub(earlier.wall), cpu: self.cpu.saturating_sub(earlier.cpu) }
    }

    /// For people: what was done, and with what.
    #[must_use]
    pub fn sentence(self, report: &Report, threads: usize) -> String {
        let memory = peak().map_or("unknown".to_owned(), |mib| format!("{mib:.0} MiB"));
        format!(
            "{} s of {} viewers ({} events) took {:.1} s, {:.1} CPU seconds on {threads} thread{}; peak memory {memory}",
            report.seconds,
            HumanCount(report.viewers.into()),
            HumanCount(report.events),
            self.wall.as_secs_f64(),
            self.cpu.as_secs_f64(),
            if threads == 1 { "" } else { "s" },
        )
    }
}

/// The most memory that this process ever had resident, in MiB; `None` where the system does not say.
fn peak() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
}
