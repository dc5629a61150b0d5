//! Efficiency over the number of viewers, with the ceiling and what another system has published.

use std::fmt::Write;
use std::path::Path;

use crate::chart::{Axis, Panel, Sample, Scale};
use crate::svg::{Anchor, BLUE, GREY, INK, Pen, Stroke, Svg, VERMILLION};

/// What is simulated: everybody who wants to can take part in a closed group, and few do in a large one.
pub const VIEWERS: [u32; 11] = [2, 3, 5, 10, 20, 50, 100, 1_000, 10_000, 100_000, 440_000];
/// Peer5's own figures: half at 5 viewers, 70 % at 20.
const PEER5: [(f64, f64); 2] = [(5.0, 0.5), (20.0, 0.7)];
/// … and 96 % to 99 % at hundreds of thousands.
const PEER5_RECORD: ([f64; 2], [f64; 2]) = ([100_000.0, 1_000_000.0], [0.96, 0.99]);
/// From so many viewers on a point has its value beside it.
const NAMED: f64 = 5.0;
const HEAD: &str = "viewers,seconds,seed,peer_efficiency_steady,bound";

/// One run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub viewers: u32,
    pub seconds: u64,
    pub seed: u64,
    pub efficiency: f64,
    pub bound: f64,
}

/// What an earlier run has left; nothing when there is no such file.
pub fn read(file: &Path) -> Vec<Point> {
    let Ok(text) = std::fs::read_to_string(file) else { return Vec::new() };
    assert_eq!(text.lines().next(), Some(HEAD), "{}: delete it and compute everything anew", file.display());
    let point = |line: &str| {
        let mut values = line.split(',');
        let mut next = || values.next().unwrap_or_default();
        Some(Point {
            viewers: next().parse().ok()?,
            seconds: next().parse().ok()?,
            seed: next().parse().ok()?,
            efficiency: next().parse().ok()?,
            bound: next().parse().ok()?,
        })
    };
    let points = text
        .lines()
        .skip(1)
        .map(|line| point(line).unwrap_or_else(|| panic!("{}: `{line}` is not {HEAD}", file.display())));
    points.collect()
}

pub fn csv(points: &[Point]) -> String {
    let mut text = format!("{HEAD}\n");
    for p in points {
        let _ = writeln!(text, "{},{},{},{},{}", p.viewers, p.seconds, p.seed, p.efficiency, p.bound);
    }
    text
}

pub fn picture(points: &[Point]) -> String {
    let title = "How much viewers take from each other";
    let mut svg = Svg::new(
        960.0,
        560.0,
        title,
        "Peer efficiency over the number of viewers, with the ceiling and Peer5's published points",
    );
    svg.text((28.0, 38.0), Pen::new(20.0, INK).bold(), title);
    let what = "Share of all segment bytes that came from peers, once each viewer had settled. Each step up is a tenth of \
                the load on the origin.";
    svg.text((28.0, 60.0), Pen::new(13.0, GREY), what);
    let panel = Panel {
        left: 116.0,
        top: 112.0,
        width: 808.0,
        height: 384.0,
        across: viewers(),
        up: Axis::nines(6.0, true, "from peers"),
    };
    panel.frame(&mut svg);
    let ceiling = Stroke::dashed(GREY, 1.5);
    panel.legend(
        &mut svg,
        &[
            (Sample::Circle(BLUE), "paceline, simulated"),
            (Sample::Line(ceiling), "ceiling (N \u{2212} 1)/N: somebody has to take the first copy"),
            (Sample::Diamond(VERMILLION), "Peer5, as published"),
        ],
    );
    // Straight on these axes.
    let reach: Vec<(f64, f64)> = [2.0, 1e6].map(|n: f64| (n, 1.0 - 1.0 / n)).to_vec();
    panel.curve(&mut svg, &reach, ceiling);
    peer5(&mut svg, &panel);
    let ours: Vec<(f64, f64)> = points.iter().map(|p| (f64::from(p.viewers), p.efficiency)).collect();
    panel.curve(&mut svg, &ours, Stroke::solid(BLUE, 2.0));
    for &(n, share) in &ours {
        let (x, y) = panel.at(n, share);
        svg.circle((x, y), 5.0, BLUE);
        // Below, the points are closer together than their names are long.
        if n >= NAMED {
            svg.text((x + 9.0, y + 14.0), Pen::new(12.0, BLUE), &percent(share));
        }
    }
    svg.finish()
}

fn viewers() -> Axis {
    let ticks = VIEWERS.iter().chain(&[1_000_000]).filter(|n| **n != 440_000);
    Axis {
        scale: Scale::Log { from: 1.7, to: 1_200_000.0 },
        ticks: ticks.map(|n| (f64::from(*n), thousands(u64::from(*n)))).collect(),
        title: "viewers (N)".to_owned(),
    }
}

fn peer5(svg: &mut Svg, panel: &Panel) {
    let pen = Pen::new(12.0, VERMILLION);
    for (n, share) in PEER5 {
        let (x, y) = panel.at(n, share);
        svg.diamond((x, y), 7.0, VERMILLION);
        svg.text((x + 12.0, y + 5.0), pen, &percent(share));
    }
    let ([few, many], [low, high]) = PEER5_RECORD;
    let ((left, top), (right, bottom)) = (panel.at(few, high), panel.at(many, low));
    svg.polygon(&[(left, top), (right, top), (right, bottom), (left, bottom)], VERMILLION, 0.25);
    for y in [top, bottom] {
        svg.line((left, y), (right, y), Stroke::solid(VERMILLION, 2.0));
    }
    let middle = ((left + right) / 2.0, f64::midpoint(top, bottom) + 4.0);
    svg.text(middle, pen.anchor(Anchor::Middle), "96 % to 99 %");
}

/// With more digits the more nines there are.
pub fn percent(share: f64) -> String {
    let digits = match share {
        share if share < 0.99 => 1,
        share if share < 0.999 => 2,
        share if share < 0.9999 => 3,
        _ => 4,
    };
    // Cut off, not rounded up: 99.96 % is not 100 %.
    let unit = 10_f64.powi(digits);
    let percent = (share * 100.0 * unit + 1e-6).floor() / unit;
    format!("{percent:.*} %", digits as usize)
}

pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}
