//! One scenario: efficiency and the origin's load over time, and how one segment spread.

use paceline::simulator::report::{Report, Second};
use paceline::simulator::scenario::Scenario;

use crate::chart::{Axis, Panel, Sample, nines};
use crate::efficiency::{percent, thousands};
use crate::svg::{self, BLUE, GREY, INK, Pen, Stroke, Svg, VERMILLION};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 570.0;
const LEFT: f64 = 116.0;
/// Seconds over which a share is taken: a segment's length, so that each has one first copy in it.
const WINDOW: usize = 4;
/// Points of a curve: more can't be seen.
const POINTS: usize = 400;
/// Below this a share is drawn as it is; above, its nines are.
const CLOSE: f64 = 0.97;

pub fn picture(scenario: &Scenario, report: &Report) -> String {
    let title = format!("{}: {}", scenario.name, scenario.claim);
    let mut svg =
        Svg::new(WIDTH, HEIGHT, &title, "Efficiency and origin rate over time, and spread of one segment");
    svg.text((28.0, 36.0), Pen::new(20.0, INK).bold(), scenario.name);
    let mut y = 60.0;
    for line in svg::wrapped(scenario.claim, 14.0, WIDTH - 56.0) {
        svg.text((28.0, y), Pen::new(14.0, INK), &line);
        y += 18.0;
    }
    svg.text((28.0, y + 3.0), Pen::new(13.0, GREY), &facts(report));
    let width = if report.spread.is_empty() { WIDTH - LEFT - 36.0 } else { 470.0 };
    let top = y + 46.0;
    let low = 356.0;
    shares(&mut svg, report, (LEFT, top, width, low - top - 66.0));
    rates(&mut svg, report, (LEFT, low, width, HEIGHT - low - 56.0));
    if !report.spread.is_empty() {
        spread(
            &mut svg,
            report,
            (LEFT + width + 106.0, top, WIDTH - LEFT - width - 134.0, HEIGHT - top - 56.0),
        );
    }
    svg.finish()
}

fn facts(report: &Report) -> String {
    let plural =
        |n: u64, one: &str, many: &str| format!("{} {}", thousands(n), if n == 1 { one } else { many });
    format!(
        "{} with {} each, {} s, seed {}. {} from peers once settled; {}, {}.",
        plural(u64::from(report.viewers), "viewer", "viewers"),
        bits(report.bitrate as f64),
        thousands(report.seconds),
        report.seed,
        percent(report.peer_efficiency_steady),
        plural(report.stalls, "stall", "stalls"),
        plural(report.late_segments, "late segment", "late segments"),
    )
}

/// The share from peers.
fn shares(svg: &mut Svg, report: &Report, (left, top, width, height): (f64, f64, f64, f64)) {
    let title = "from peers";
    let up = if report.bound < CLOSE {
        Axis::shares(title)
    } else {
        Axis::nines((nines(report.bound) + 0.3).ceil().min(6.0), false, title)
    };
    let end = report.seconds as f64;
    let panel = Panel { left, top, width, height, across: Axis::time(end, "time"), up };
    panel.frame(svg);
    let mean = format!("share from peers, mean of {} s", grain(report.series.len()).1);
    let (limit, line) = (Stroke::dashed(GREY, 1.5), Stroke::solid(BLUE, 2.0));
    let mut samples = vec![(Sample::Line(line), mean.as_str()), (Sample::Line(limit), "at best")];
    panel.curve(svg, &[(0.0, report.bound), (end, report.bound)], limit);
    let shares = sampled(&report.series, |window| {
        let p2p: u64 = window.iter().map(|s| s.p2p_bytes).sum();
        let all: u64 = window.iter().map(|s| s.p2p_bytes + s.http_bytes).sum();
        if all == 0 { 0.0 } else { p2p as f64 / all as f64 }
    });
    panel.curve(svg, &shares, line);
    let bottom = top + height;
    let stalled: Vec<usize> =
        report.series.iter().enumerate().filter(|(_, s)| s.stalled > 0).map(|(second, _)| second).collect();
    for second in &stalled {
        let (x, _) = panel.at(*second as f64 + 0.5, 0.0);
        svg.line((x, bottom - 10.0), (x, bottom), Stroke::solid(VERMILLION, 2.0));
    }
    if !stalled.is_empty() {
        samples.push((Sample::Line(Stroke::solid(VERMILLION, 4.0)), "somebody stands still"));
    }
    panel.legend(svg, &samples);
}

/// What the origin sends, against what it would send alone.
fn rates(svg: &mut Svg, report: &Report, (left, top, width, height): (f64, f64, f64, f64)) {
    let second = |s: &Second| s.http_bytes as f64 * 8.0;
    let demand = |s: &Second| f64::from(s.viewers) * report.bitrate as f64;
    let highest = report.series.iter().map(|s| second(s).max(demand(s))).fold(1e6, f64::max);
    let to = 10_f64.powf(highest.log10().ceil());
    // One viewer's rate is what a settled swarm of any size needs, so a little below that is where nothing begins.
    let from = 10_f64.powf((report.bitrate as f64 / 10.0).log10().floor()).min(to / 100.0);
    let panel = Panel {
        left,
        top,
        width,
        height,
        across: Axis::time(report.seconds as f64, "time"),
        up: Axis::log(from, to, "bits per second", bits),
    };
    panel.frame(svg);
    let (alone, line) = (Stroke::dashed(GREY, 1.5), Stroke::solid(BLUE, 2.0));
    let (step, window) = grain(report.series.len());
    let peak = |window: &[Second]| window.iter().rev().take(step).map(second).fold(0.0, f64::max);
    let peaks = sampled(&report.series, peak);
    panel.area(svg, &peaks, BLUE, 0.25);
    let mean = |of: &dyn Fn(&Second) -> f64, window: &[Second]| {
        window.iter().map(of).sum::<f64>() / window.len().max(1) as f64
    };
    panel.curve(svg, &sampled(&report.series, |window| mean(&demand, window)), alone);
    panel.curve(svg, &sampled(&report.series, |window| mean(&second, window)), line);
    panel.legend(
        svg,
        &[
            (Sample::Line(line), &format!("origin, mean of {window} s")),
            (Sample::Area(BLUE), "highest second"),
            (Sample::Line(alone), "what viewers play"),
        ],
    );
}

/// How one segment reached them.
fn spread(svg: &mut Svg, report: &Report, (left, top, width, height): (f64, f64, f64, f64)) {
    let last = report.spread.last().map_or(1.0, |(ms, _)| ms / 1e3).max(1.0);
    let panel = Panel {
        left,
        top,
        width,
        height,
        across: Axis::time(last, "time since its first byte"),
        up: Axis::shares("viewers that have all of a segment"),
    };
    panel.frame(svg);
    let line = Stroke::solid(BLUE, 2.0);
    let curve: Vec<(f64, f64)> = report.spread.iter().map(|(ms, share)| (ms / 1e3, *share)).collect();
    panel.area(svg, &curve, BLUE, 0.12);
    panel.curve(svg, &curve, line);
    panel.legend(svg, &[(Sample::Line(line), "one segment from the middle")]);
    let seconds = |ms: f64| format!("{:.1} s", ms / 1e3);
    let words = [
        "of all segments:".to_owned(),
        format!("half after {}", seconds(report.spread_ms_p50)),
        format!("99 % after {}", seconds(report.spread_ms_p99)),
        format!("last after {}", seconds(report.spread_ms_max)),
    ];
    for (number, words) in words.iter().enumerate() {
        svg.text((left + 10.0, top + 24.0 + 17.0 * number as f64), Pen::new(12.0, INK), words);
    }
}

/// A value for each of at most [`POINTS`] moments, from the seconds before it.
fn sampled(series: &[Second], of: impl Fn(&[Second]) -> f64) -> Vec<(f64, f64)> {
    let (step, window) = grain(series.len());
    let ends = (step..=series.len()).step_by(step);
    ends.map(|end| (end as f64, of(&series[end.saturating_sub(window)..end]))).collect()
}

/// Seconds from one moment to the next, and seconds that each looks back: whole windows in a long run, or the two would
/// beat against each other.
fn grain(seconds: usize) -> (usize, usize) {
    match seconds.div_ceil(POINTS) {
        0 | 1 => (1, WINDOW),
        many => (many.next_multiple_of(WINDOW), many.next_multiple_of(WINDOW)),
    }
}

fn bits(per_second: f64) -> String {
    let (divisor, prefix) = match per_second {
        rate if rate < 1e6 => (1e3, "k"),
        rate if rate < 1e9 => (1e6, "M"),
        rate if rate < 1e12 => (1e9, "G"),
        _ => (1e12, "T"),
    };
    let number = format!("{:.1}", per_second / divisor);
    format!("{} {prefix}bit/s", number.trim_end_matches(".0"))
}
