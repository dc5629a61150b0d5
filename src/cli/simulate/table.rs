//! A report for people.

use std::fmt::Write;

use indicatif::HumanCount;

use crate::simulator::report::{Line, Report};
use crate::simulator::scenario::Scenario;

/// Names and claims, the default first.
pub fn list(scenarios: &[Scenario]) -> String {
    let width = scenarios.iter().map(|scenario| scenario.name.len()).max().unwrap_or(0);
    scenarios.iter().map(|scenario| format!("{:width$}  {}\n", scenario.name, scenario.claim)).collect()
}

/// The table.
pub fn text(scenario: &Scenario, report: &Report) -> String {
    let mut text = format!(
        "{}: {}\n{} viewers, {} s, {} each, seed {}\n\n",
        report.scenario,
        scenario.claim,
        HumanCount(report.viewers.into()),
        report.seconds,
        rate(report.bitrate),
        report.seed
    );
    for rows in [outcome(report), effort(report)] {
        for (name, value) in rows {
            // Writing to a string can't fail.
            let _ = writeln!(text, "  {name:<20}{value}");
        }
        text.push('\n');
    }
    if !report.reasons.is_empty() {
        text += "  segments by reason\n";
    }
    for (reason, segments) in &report.reasons {
        let _ = writeln!(text, "    {reason:<16}{:>14}", HumanCount(*segments).to_string());
    }
    text
}

/// What the viewers got.
fn outcome(report: &Report) -> Vec<(&'static str, String)> {
    let mut share = format!(
        "{} once settled; {} with the start of each viewer",
        percent(report.peer_efficiency_steady),
        percent(report.peer_efficiency)
    );
    if report.peer_efficiency_honest != report.peer_efficiency_steady {
        let _ = write!(share, "; {} of those that keep to the rules", percent(report.peer_efficiency_honest));
    }
    let startup = format!("p50 {}, p99 {}", duration(report.startup_ms_p50), duration(report.startup_ms_p99));
    vec![
        ("share from peers", share),
        ("at best", format!("{} ({})", percent(report.bound), limit(report.bound_by))),
        ("late segments", format!("{} of {}", HumanCount(report.late_segments), HumanCount(report.segments))),
        ("failed requests", HumanCount(report.failed_requests).to_string()),
        ("stalls", format!("{}, {} together", HumanCount(report.stalls), duration(report.stall_ms as f64))),
        ("start-up", startup),
        ("wrong pieces", HumanCount(report.wrong_pieces).to_string()),
    ]
}

/// What it took.
fn effort(report: &Report) -> Vec<(&'static str, String)> {
    let peak = format!(
        "{}, {} once settled, {} to viewers without a picture; all viewers play {}",
        rate(report.origin_peak_bps),
        rate(report.origin_peak_steady_bps),
        rate(report.startup_peak_bps),
        rate(report.demand_bps)
    );
    let uplinks = format!(
        "{:.2} x the bit rate on average, {} of that used",
        report.uplink_ratio,
        percent(report.uplink_used)
    );
    let messages = format!(
        "{} between peers, {} on top of their pieces",
        HumanCount(report.messages),
        percent(report.overhead)
    );
    let origin = format!("{} in {} requests", bytes(report.origin_bytes), HumanCount(report.origin_requests));
    let mut rows = vec![
        ("from the origin", origin),
        ("from peers", bytes(report.p2p_bytes)),
        ("wasted", format!("{} ({})", bytes(report.wasted_bytes), percent(report.waste))),
        ("origin's peak", peak),
        ("uplinks", uplinks),
        ("neighbours", format!("{:.1} per viewer", report.neighbours)),
        ("messages", messages),
    ];
    if !report.spread.is_empty() {
        let [p50, p99, last] =
            [report.spread_ms_p50, report.spread_ms_p99, report.spread_ms_max].map(duration);
        rows.push(("a segment's spread", format!("p50 {p50}, p99 {p99}, last {last}")));
    }
    rows
}

/// What happened to one viewer, a line for each thing; nothing of nobody.
pub fn story(viewer: Option<(u32, &[Line])>) -> String {
    let Some((viewer, lines)) = viewer else { return String::new() };
    let mut text = format!("\nviewer {viewer}\n");
    for line in lines {
        let segment = line.sequence.map_or(String::new(), |sequence| format!("#{sequence}"));
        let _ = writeln!(text, "{:>10.3} s {segment:>8}  {}", line.at_ms as f64 / 1e3, line.what);
    }
    text
}

fn limit(bound_by: &str) -> &str {
    match bound_by {
        "viewers" => "somebody has to take the first copies",
        "uplink" => "set by what all uplinks together carry",
        "memory" => "set by what all viewers together remember",
        "start-up" => "what players take with nothing buffered is the origin's by rule",
        other => other,
    }
}

/// With more digits where the nines begin.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 99.9 && percent < 100.0 { format!("{percent:.4} %") } else { format!("{percent:.2} %") }
}

fn duration(ms: f64) -> String {
    if ms < 10_000.0 { format!("{ms:.0} ms") } else { format!("{:.1} s", ms / 1e3) }
}

fn bytes(bytes: u64) -> String {
    scaled(bytes, "B")
}

fn rate(bits_per_second: u64) -> String {
    scaled(bits_per_second, "bit/s")
}

/// Three digits or more, with the prefix that fits.
fn scaled(value: u64, unit: &str) -> String {
    let (divisor, prefix) = match value {
        0..1_000 => return format!("{value} {unit}"),
        1_000..1_000_000 => (1e3, "k"),
        1_000_000..1_000_000_000 => (1e6, "M"),
        1_000_000_000..1_000_000_000_000 => (1e9, "G"),
        _ => (1e12, "T"),
    };
    format!("{:.2} {prefix}{unit}", value as f64 / divisor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (share, words) in [
            (0.0, "0.00 %"),
            (0.79512, "79.51 %"),
            (0.99969, "99.9690 %"),
            (1.0, "100.00 %"),
            (f64::NAN, "NaN %"),
        ] {
            assert_eq!(percent(share), words);
        }
        assert_eq!(
            [rate(999), rate(3_000_000), rate(1_320_000_000_000)],
            ["999 bit/s", "3.00 Mbit/s", "1.32 Tbit/s"]
        );
        assert_eq!([duration(412.4), duration(12_345.0)], ["412 ms", "12.3 s"]);
    }

    #[test]
    fn what_was_not_measured_is_not_told() {
        let scenario = &crate::simulator::scenario::scenarios()[0];
        let mut report = Report { scenario: "live".to_owned(), ..Report::default() };
        assert!(!text(scenario, &report).contains("spread"));
        report.spread = vec![(1.0, 1.0)];
        assert!(text(scenario, &report).contains("spread"));
        assert_eq!(story(None), "");
        let lines = [
            Line { at_ms: 1500, sequence: Some(7), what: "asks".to_owned() },
            Line { at_ms: 2000, sequence: None, what: "leaves".to_owned() },
        ];
        assert_eq!(
            story(Some((3, &lines))),
            "\nviewer 3\n     1.500 s       #7  asks\n     2.000 s           leaves\n"
        );
    }
}
