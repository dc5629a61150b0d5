//! A report as comma-separated values.

use std::fmt::Write;

use serde_json::Value;

use super::Csv;
use crate::simulator::report::Report;

/// The chosen part of it, with a line of names first.
///
/// # Errors
/// When the report can't be put in words, which would be a defect.
pub fn text(report: &Report, what: Csv) -> Result<String, serde_json::Error> {
    match what {
        Csv::Summary => summary(report),
        Csv::Series => Ok(series(report)),
        Csv::Spread => Ok(spread(report)),
    }
}

/// Every single number and word, named as in the JSON document; the reasons as `reason_start_up` and so on.
fn summary(report: &Report) -> Result<String, serde_json::Error> {
    let (mut names, mut values) = (Vec::new(), Vec::new());
    if let Value::Object(keys) = serde_json::to_value(report)? {
        for (name, value) in keys {
            match value {
                Value::Array(_) | Value::Object(_) | Value::Null => {}
                Value::String(word) => {
                    names.push(name);
                    values.push(word);
                }
                value => {
                    names.push(name);
                    values.push(value.to_string());
                }
            }
        }
    }
    for (reason, segments) in &report.reasons {
        names.push(format!("reason_{}", reason.replace('-', "_")));
        values.push(segments.to_string());
    }
    Ok(format!("{}\n{}\n", names.join(","), values.join(",")))
}

fn series(report: &Report) -> String {
    let mut text = "second,viewers,http_bytes,p2p_bytes,wasted_bytes,stalled\n".to_owned();
    for (second, s) in report.series.iter().enumerate() {
        // Writing to a string can't fail.
        let _ = writeln!(
            text,
            "{second},{},{},{},{},{}",
            s.viewers, s.http_bytes, s.p2p_bytes, s.wasted_bytes, s.stalled
        );
    }
    text
}

fn spread(report: &Report) -> String {
    let mut text = "ms,share\n".to_owned();
    for (ms, share) in &report.spread {
        let _ = writeln!(text, "{ms},{share}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::report::Second;

    #[test]
    fn every_line_has_as_many_values_as_names() {
        let report = Report {
            scenario: "live".to_owned(),
            bound_by: "uplink",
            reasons: vec![("start-up", 3), ("no-peer", 0)],
            series: vec![Second { viewers: 2, ..Second::default() }; 3],
            spread: vec![(0.0, 0.5), (12.5, 1.0)],
            ..Report::default()
        };
        for (what, lines) in [(Csv::Summary, 2), (Csv::Series, 4), (Csv::Spread, 3)] {
            let text = text(&report, what).unwrap();
            let widths: Vec<usize> = text.lines().map(|line| line.split(',').count()).collect();
            assert_eq!(widths, vec![widths[0]; lines], "{text}");
        }
        let summary = text(&report, Csv::Summary).unwrap();
        let (names, values) = summary.split_once('\n').unwrap();
        let at = |name| names.split(',').position(|n| n == name).unwrap();
        let of = |name| values.trim().split(',').nth(at(name)).unwrap();
        assert_eq!((of("bound_by"), of("reason_start_up"), of("reason_no_peer")), ("uplink", "3", "0"));
        assert_eq!(text(&report, Csv::Series).unwrap().lines().nth(1), Some("0,2,0,0,0,0"));
        assert_eq!(text(&report, Csv::Spread).unwrap().lines().nth(2), Some("12.5,1"));
    }
}
