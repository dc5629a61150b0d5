//! docs/scenarios.csv: what each scenario has come to, for whoever quotes it. tests/documents.rs holds the README and the
//! captions of the pictures to it.

use std::fmt::Write;
use std::path::Path;

use paceline::simulator::report::Report;
use paceline::simulator::scenario::scenarios;

const HEAD: &str = "scenario,viewers,seconds,efficiency,bound,late,stalls,waste";

/// One run.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub scenario: String,
    pub viewers: u32,
    /// What follows the two, as it stands in the file.
    rest: String,
}

impl Row {
    pub fn of(report: &Report) -> Self {
        let Report { seconds, peer_efficiency_steady: efficiency, bound, waste, .. } = report;
        let (late, stalls) = (report.late_segments, report.stalls);
        Self {
            scenario: report.scenario.clone(),
            viewers: report.viewers,
            rest: format!("{seconds},{efficiency},{bound},{late},{stalls},{waste}"),
        }
    }
}

/// What an earlier run has left; nothing when there is no such file.
pub fn read(file: &Path) -> Vec<Row> {
    let Ok(text) = std::fs::read_to_string(file) else { return Vec::new() };
    assert_eq!(text.lines().next(), Some(HEAD), "{}: delete it and compute everything anew", file.display());
    let row = |line: &str| {
        let mut parts = line.splitn(3, ',');
        let mut next = || parts.next();
        Some(Row { scenario: next()?.to_owned(), viewers: next()?.parse().ok()?, rest: next()?.to_owned() })
    };
    let rows = text.lines().skip(1);
    rows.map(|line| row(line).unwrap_or_else(|| panic!("{}: `{line}` is not {HEAD}", file.display())))
        .collect()
}

/// The fresh ones in the place of earlier ones of the same size, in the order of the scenarios. A scenario that is no
/// longer there is left out.
pub fn merged(fresh: Vec<Row>, earlier: Vec<Row>) -> Vec<Row> {
    let mut rows = fresh;
    for kept in earlier {
        if !rows.iter().any(|row| (&row.scenario, row.viewers) == (&kept.scenario, kept.viewers)) {
            rows.push(kept);
        }
    }
    let place = |row: &Row| scenarios().iter().position(|scenario| scenario.name == row.scenario);
    rows.retain(|row| place(row).is_some());
    rows.sort_by_key(|row| (place(row), row.viewers));
    rows
}

pub fn csv(rows: &[Row]) -> String {
    let mut text = format!("{HEAD}\n");
    for row in rows {
        let _ = writeln!(text, "{},{},{}", row.scenario, row.viewers, row.rest);
    }
    text
}
