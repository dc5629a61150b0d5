//! What each scenario has to come to. Pictures of anything worse are drawn all the same, and the command fails.

use paceline::simulator::report::Report;

use crate::efficiency::thousands;

/// Of all bytes, the share that may be wasted.
const WASTE: f64 = 0.02;
/// What newcomers fetch for their start-up is theirs by rule; so many times as much the origin may send in any second.
const PEAK: f64 = 2.5;

/// What a scenario with so many viewers has to come to. Nobody may be late in any of them.
pub struct Floor {
    pub scenario: &'static str,
    pub viewers: u32,
    /// From peers, once settled.
    efficiency: f64,
    stalls: Stalls,
    /// Wasted at most.
    waste: f64,
    /// Whether the origin's highest second is held to [`PEAK`].
    peak: bool,
}

/// How often players may stand still.
#[derive(Clone, Copy)]
enum Stalls {
    /// Not at all.
    None,
    /// No more often, nor longer, than with HTTP alone.
    Alone,
    /// Ten times less often than with HTTP alone.
    TenTimesFewer,
    /// It plays no part in what is claimed: seeks and switches are stalls of their own.
    Any,
}

const fn floor(scenario: &'static str, viewers: u32, efficiency: f64) -> Floor {
    Floor { scenario, viewers, efficiency, stalls: Stalls::None, waste: WASTE, peak: false }
}

impl Floor {
    const fn stalling(self, stalls: Stalls) -> Self {
        Self { stalls, ..self }
    }
}

/// Of a live channel at any size what was set out to be reached, and no more than half a point below what the README says of
/// the rest. With an adversity at least 0.97 of the undisturbed channel's share.
const FLOORS: &[Floor] = &[
    floor("live", 1_000, 0.99),
    floor("live", 100_000, 0.998),
    floor("live", 440_000, 0.998),
    floor("demo", 5, 0.785),
    floor("demo", 10, 0.885),
    floor("demo", 20, 0.93),
    floor("live-2x", 1_000, 0.99),
    floor("live-2x", 100_000, 0.995),
    floor("live-1.3x", 1_000, 0.98),
    floor("live-1.3x", 100_000, 0.98),
    Floor { peak: true, ..floor("flash", 10_000, 0.99).stalling(Stalls::Alone) },
    floor("churn", 1_000, 0.99),
    floor("isp", 1_000, 0.983),
    floor("tracker-gone", 1_000, 0.99),
    floor("liars", 1_000, 0.97),
    floor("silent", 1_000, 0.985),
    // What was given up comes all the same, and is wasted.
    Floor { waste: 0.03, ..floor("crawling", 1_000, 0.985) },
    floor("suspended", 1_000, 0.967).stalling(Stalls::Alone),
    floor("slow-origin", 1_000, 0.99).stalling(Stalls::TenTimesFewer),
    floor("failing-origin", 1_000, 0.99),
    floor("broken-bodies", 1_000, 0.99),
    floor("origin-gone", 1_000, 0.89).stalling(Stalls::Alone),
    floor("vod", 200, 0.90),
    floor("mpv", 100, 0.90),
    floor("restless", 200, 0.75).stalling(Stalls::Any),
    floor("switching", 500, 0.73).stalling(Stalls::Any),
];

/// The floor of a scenario with so many viewers, if there is one.
pub fn of(scenario: &str, viewers: u32) -> Option<&'static Floor> {
    FLOORS.iter().find(|floor| (floor.scenario, floor.viewers) == (scenario, viewers))
}

/// All floors of a scenario.
pub fn all_of(scenario: &str) -> impl Iterator<Item = &'static Floor> + '_ {
    FLOORS.iter().filter(move |floor| floor.scenario == scenario)
}

impl Floor {
    /// Whether the same run without peers is needed to compare with.
    pub fn compares(&self) -> bool {
        matches!(self.stalls, Stalls::Alone | Stalls::TenTimesFewer)
    }

    /// What of a run is worse than it may be, each in a sentence.
    pub fn misses(&self, report: &Report, alone: Option<&Report>) -> Vec<String> {
        let mut misses = Vec::new();
        let mut hold = |holds: bool, figure: &str, found: &str, floor: &str| {
            if !holds {
                let (name, viewers) = (self.scenario, thousands(u64::from(self.viewers)));
                misses.push(format!("{name}, {viewers} viewers: {figure} {found}, and {floor}"));
            }
        };
        let efficiency = report.peer_efficiency_steady;
        let least = format!("at least {} is to be reached", self.efficiency);
        hold(efficiency >= self.efficiency, "efficiency", &efficiency.to_string(), &least);
        let waste = report.waste;
        hold(waste <= self.waste, "waste", &waste.to_string(), &format!("at most {} may be", self.waste));
        hold(report.late_segments == 0, "late", &report.late_segments.to_string(), "none may be");
        hold(report.wrong_pieces == 0, "wrong pieces", &report.wrong_pieces.to_string(), "none may be");
        let (stalls, length) = (report.stalls, report.stall_ms);
        let found = format!("{stalls}, {length} ms");
        match (self.stalls, alone) {
            (Stalls::None, _) => hold(stalls == 0, "stalls", &found, "none may be"),
            (Stalls::Any, _) => {}
            (_, None) => hold(false, "stalls", &found, "nothing is there to compare with"),
            (Stalls::Alone, Some(alone)) => {
                let least = format!("{}, {} ms with HTTP alone", alone.stalls, alone.stall_ms);
                hold(stalls <= alone.stalls && length <= alone.stall_ms, "stalls", &found, &least);
            }
            (Stalls::TenTimesFewer, Some(alone)) => {
                let least = format!("{} with HTTP alone is to be ten times as many", alone.stalls);
                hold(stalls * 10 <= alone.stalls, "stalls", &found, &least);
            }
        }
        let (peak, own) = (report.origin_peak_bps as f64, report.startup_peak_bps as f64);
        let most = format!("{PEAK} times the {own} bit/s of start-ups may be");
        hold(!self.peak || peak <= PEAK * own, "peak", &format!("{peak} bit/s"), &most);
        misses
    }
}
