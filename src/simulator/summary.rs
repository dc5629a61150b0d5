//! From counters to the report.

use super::bound::bound;
use super::report::Report;
use super::tally::{BIN_MS, Spread, Tally};
use super::world::World;
use crate::delivery::account::{Reason, ceiling};
use crate::model::timeline::Kind;

/// Points of the picture of one segment's spread.
const POINTS: usize = 200;
/// What `tally` says of `world`.
pub(super) fn report(world: &World, tally: &Tally) -> Report {
    let setting = &world.around.setting;
    let rate = setting.programme.bitrate.0;
    let viewers = world.viewers;
    let (bytes, steady) = (tally.bytes, tally.steady);
    let all = (bytes.http + bytes.p2p).max(1);
    let uplink: f64 = world.around.places.iter().map(|p| f64::from(p.up) * 8e6).sum::<f64>()
        / world.around.places.len() as f64
        / rate as f64;
    let (bound, bound_by) = bound(world, tally);
    let peak = |from: usize| world.origin.sent.iter().skip(from).max().copied().unwrap_or(0) * 8;
    let mut startups = tally.startups.clone();
    startups.sort_by(f32::total_cmp);
    let spread = whole(&tally.spread, world);
    let quiet = world.around.setting.crowd.settles().as_secs() as usize + 20;
    Report {
        scenario: world.scenario.to_owned(),
        seed: world.around.seed,
        viewers,
        seconds: world.seconds,
        bitrate: rate,
        peer_efficiency: round(bytes.peer_efficiency()),
        peer_efficiency_steady: round(steady.peer_efficiency()),
        peer_efficiency_honest: round(tally.honest.peer_efficiency()),
        ceiling: round(ceiling(viewers)),
        bound: round(bound),
        bound_by,
        origin_bytes: world.origin.sent.iter().sum(),
        p2p_bytes: bytes.p2p,
        wasted_bytes: bytes.wasted,
        waste: round(bytes.wasted as f64 / (all + bytes.wasted) as f64),
        wrong_pieces: tally.wrong,
        late_segments: tally.late,
        failed_requests: tally.failed,
        stalls: tally.stalls,
        stall_ms: tally.stalled.as_millis() as u64,
        startup_ms_p50: quantile(&startups, 0.5),
        startup_ms_p99: quantile(&startups, 0.99),
        segments: tally.segments,
        reasons: Reason::ALL.iter().zip(tally.reasons).map(|(r, n)| (r.as_str(), n)).collect(),
        origin_requests: world.origin.requests,
        origin_peak_bps: peak(0),
        origin_peak_steady_bps: peak(quiet),
        startup_peak_bps: tally.startup.iter().max().copied().unwrap_or(0) * 8,
        demand_bps: rate * u64::from(viewers),
        uplink_ratio: round(uplink),
        uplink_used: round(bytes.uploaded as f64 / tally.capacity.max(1.0)),
        spread_ms_p50: spread.0,
        spread_ms_p99: spread.1,
        spread_ms_max: spread.2,
        neighbours: round(tally.neighbours as f64 / tally.viewers.max(1) as f64),
        messages: tally.messages,
        overhead: round(tally.message_bytes as f64 / bytes.p2p.max(1) as f64),
        events: tally.events,
        series: tally.series.clone(),
        spread: typical(&tally.spread, world),
    }
}

fn round(x: f64) -> f64 {
    (x * 1e6).round() / 1e6
}

fn quantile(sorted: &[f32], q: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * q).round() as usize).map_or(0.0, |ms| (f64::from(*ms) * 10.0).round() / 10.0)
}

/// Viewers that had all of a segment, by ms since its first byte anywhere, in bins.
fn since_first(spread: &Spread) -> Vec<(u64, u64)> {
    let Some(first) = spread.first else { return Vec::new() };
    let first = first.as_millis() as u64;
    let at = |bin: usize| ((bin as u64 + 1) * BIN_MS).saturating_sub(first);
    spread.bins.iter().enumerate().filter(|(_, n)| **n > 0).map(|(b, n)| (at(b), u64::from(*n))).collect()
}

/// Segments that were published within the steady part of the run and had time to spread.
fn settled<'a>(spreads: &'a [Spread], world: &World) -> Vec<&'a Spread> {
    let programme = &world.around.setting.programme;
    if programme.kind != Kind::Live {
        return Vec::new();
    }
    let quiet = world.around.setting.crowd.settles() + std::time::Duration::from_secs(20);
    let end = world.end().as_micros().saturating_sub(12_000_000);
    let within = |sequence: usize| {
        let published = world.around.content.published(sequence as u64).as_micros();
        published > quiet.as_micros() as u64 && published < end
    };
    spreads.iter().enumerate().filter(|(s, _)| within(*s)).map(|(_, spread)| spread).collect()
}

fn whole(spreads: &[Spread], world: &World) -> (f64, f64, f64) {
    let mut bins: Vec<(u64, u64)> = settled(spreads, world).into_iter().flat_map(since_first).collect();
    bins.sort_unstable();
    let all: u64 = bins.iter().map(|b| b.1).sum();
    let at = |share: f64| {
        let (wanted, mut seen) = ((all as f64 * share).ceil() as u64, 0);
        let found = bins.iter().find(|(_, n)| {
            seen += n;
            seen >= wanted
        });
        found.map_or(0.0, |(ms, _)| *ms as f64)
    };
    (at(0.5), at(0.99), bins.last().map_or(0.0, |b| b.0 as f64))
}

fn typical(spreads: &[Spread], world: &World) -> Vec<(f64, f64)> {
    let settled = settled(spreads, world);
    let Some(spread) = settled.get(settled.len() / 2) else { return Vec::new() };
    let bins = since_first(spread);
    let all: u64 = bins.iter().map(|b| b.1).sum();
    let (mut seen, mut points) = (0, Vec::new());
    for (ms, n) in bins {
        seen += n;
        points.push((ms as f64, round(seen as f64 / all.max(1) as f64)));
    }
    let every = points.len().div_ceil(POINTS).max(1);
    let last = points.len().saturating_sub(1);
    points.into_iter().enumerate().filter(|(i, _)| i % every == 0 || *i == last).map(|(_, p)| p).collect()
}
