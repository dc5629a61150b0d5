//! The statistics for Prometheus. Labels are few and fixed: what grows with streams or peers is summed up.

use prometheus::process_collector::ProcessCollector;
use prometheus::{Encoder, Error, GaugeVec, IntCounter, IntCounterVec, Opts, Registry, TextEncoder};
use serde_json::Value;

/// Values of a label with where the statistics have each.
type Labelled = &'static [(&'static str, &'static str)];

/// Counters of bytes: name, help, values.
const BYTES: [(&str, &str, Labelled); 4] = [
    (
        "paceline_received_bytes_total",
        "Payload bytes of segments by where they came from.",
        &[("http", "/totals/http_bytes"), ("p2p", "/totals/p2p_bytes")],
    ),
    (
        "paceline_uploaded_bytes_total",
        "Payload bytes of segments sent to peers.",
        &[("p2p", "/totals/uploaded_bytes")],
    ),
    (
        "paceline_wasted_bytes_total",
        "Payload bytes that came although they were here, or were wrong.",
        &[("any", "/totals/wasted_bytes")],
    ),
    (
        "paceline_served_bytes_total",
        "Payload bytes of segments sent to players.",
        &[("player", "/totals/served_bytes")],
    ),
];

/// What went wrong with peers.
const FAULTS: [&str; 6] = ["wrong_bytes", "contradicted_origin", "disputed", "misbehaved", "refused", "late"];

/// Gauges without labels: name, help, where the statistics have it.
const GAUGES: [(&str, &str, &str); 8] = [
    (
        "paceline_peer_efficiency_ratio",
        "Bytes from peers over bytes from peers and origin, since the start.",
        "/totals/peer_efficiency",
    ),
    (
        "paceline_peer_efficiency_ceiling_ratio",
        "The most that the largest swarm seen allows.",
        "/totals/peer_efficiency_ceiling",
    ),
    ("paceline_p2p_enabled", "Whether peers are used: 1 or 0.", "/p2p"),
    ("paceline_upload_enabled", "Whether peers are served: 1 or 0.", "/upload"),
    ("paceline_trackers_configured", "Trackers that are configured.", "/trackers/configured"),
    ("paceline_trackers_up", "Trackers that are connected; none before something plays.", "/trackers/up"),
    (
        "paceline_listed_segments",
        "Segments that are known from players' manifests, all streams and viewers together.",
        "/listed/segments",
    ),
    ("paceline_uptime_seconds", "Time since the start.", "/uptime_s"),
];

/// Gauges of the upload budgets, by period: name, help, what the statistics call it.
const BUDGETS: [(&str, &str, &str); 2] = [
    (
        "paceline_upload_budget_limit_bytes",
        "What may be sent to peers in a day or month (UTC), payload of segments; 0 is no limit.",
        "limit_bytes",
    ),
    (
        "paceline_upload_budget_used_bytes",
        "What of it was sent to peers in this day or month, with or without a limit.",
        "used_bytes",
    ),
];

/// The text of `/-/metrics` for these statistics; `None` without an engine.
pub fn text(stats: &Value) -> Option<String> {
    if stats.is_null() {
        return None;
    }
    let registry = Registry::new();
    fill(&registry, stats).ok()?;
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text).ok()?;
    String::from_utf8(text).ok()
}

fn fill(registry: &Registry, stats: &Value) -> Result<(), Error> {
    let number = |pointer: &str| match stats.pointer(pointer) {
        Some(Value::Bool(on)) => f64::from(u8::from(*on)),
        Some(value) => value.as_f64().unwrap_or_default(),
        None => 0.0,
    };
    for (name, help, values) in BYTES {
        let counter = IntCounterVec::new(Opts::new(name, help), &["source"])?;
        for (label, pointer) in values {
            counter.with_label_values(&[label]).inc_by(number(pointer) as u64);
        }
        registry.register(Box::new(counter))?;
    }
    count_segments(registry, &stats["totals"])?;
    count_listings(registry, &stats["listed"])?;
    let faults = IntCounterVec::new(
        Opts::new("paceline_peer_faults_total", "What went wrong with peers, by kind."),
        &["kind"],
    )?;
    for kind in FAULTS {
        faults.with_label_values(&[kind]).inc_by(number(&format!("/faults/{kind}")) as u64);
    }
    registry.register(Box::new(faults))?;
    let gauge = |name: &str, help: &str, labels: &[&str]| -> Result<GaugeVec, Error> {
        let gauge = GaugeVec::new(Opts::new(name, help), labels)?;
        registry.register(Box::new(gauge.clone()))?;
        Ok(gauge)
    };
    for (name, help, pointer) in GAUGES {
        gauge(name, help, &[])?.with_label_values::<&str>(&[]).set(number(pointer));
    }
    let tasks = gauge("paceline_tasks", "Tasks alive, those for players and those for peers.", &["side"])?;
    for side in ["players", "peers"] {
        tasks.with_label_values(&[side]).set(number(&format!("/tasks/{side}")));
    }
    for (name, help, key) in BUDGETS {
        let budget = gauge(name, help, &["period"])?;
        for period in ["daily", "monthly"] {
            budget.with_label_values(&[period]).set(number(&format!("/upload_budget/{period}/{key}")));
        }
    }
    let streams = gauge("paceline_streams", "Renditions that are being played, by kind.", &["kind"])?;
    let neighbours = gauge("paceline_neighbours", "Neighbours, summed over renditions.", &["kind"])?;
    let buffered = gauge("paceline_buffered_seconds", "The lowest buffer of any player.", &["kind"])?;
    let all = stats["streams"].as_array().map_or(&[][..], Vec::as_slice);
    for kind in ["live", "event", "vod"] {
        let of_kind = || all.iter().filter(|stream| stream["kind"] == kind);
        let sum = |key: &str| of_kind().filter_map(|stream| stream[key].as_f64()).fold(0.0, |a, b| a + b);
        streams.with_label_values(&[kind]).set(of_kind().count() as f64);
        neighbours.with_label_values(&[kind]).set(sum("neighbours"));
        // Of a kind that nobody plays there is none: a 0 is a player that has run dry.
        let played = of_kind().filter(|stream| stream["players"] != 0);
        if let Some(lowest) = played.filter_map(|stream| stream["buffered_s"].as_f64()).reduce(f64::min) {
            buffered.with_label_values(&[kind]).set(lowest);
        }
    }
    gauge("paceline_build_info", "Always 1; the version is the label.", &["version"])?
        .with_label_values(&[env!("CARGO_PKG_VERSION")])
        .set(1.0);
    registry.register(Box::new(ProcessCollector::for_self()))
}

/// What had to make room.
fn count_listings(registry: &Registry, listed: &Value) -> Result<(), Error> {
    let given_up = IntCounter::new(
        "paceline_listings_given_up_total",
        "Listings of a stream that were given up for want of room; its player was passed through until it listed it again.",
    )?;
    given_up.inc_by(listed["given_up"].as_u64().unwrap_or_default());
    registry.register(Box::new(given_up))
}

/// Counters over all renditions since the start, those that are over included.
fn count_segments(registry: &Registry, totals: &Value) -> Result<(), Error> {
    let segments = IntCounterVec::new(
        Opts::new("paceline_segments_total", "Segments that came, by why they came the way they did."),
        &["reason"],
    )?;
    for (reason, count) in totals["segments"].as_object().into_iter().flatten() {
        segments.with_label_values(&[reason]).inc_by(count.as_u64().unwrap_or_default());
    }
    registry.register(Box::new(segments))?;
    let late = IntCounter::new(
        "paceline_late_segments_total",
        "Segments whose first byte came after a player can have run dry.",
    )?;
    late.inc_by(totals["late_segments"].as_u64().unwrap_or_default());
    registry.register(Box::new(late))
}
