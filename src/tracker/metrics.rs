//! The tracker's statistics for Prometheus.

use prometheus::process_collector::ProcessCollector;
use prometheus::{Encoder, Error, GaugeVec, IntCounter, IntGauge, Opts, Registry, TextEncoder};
use serde_json::Value;

/// Gauges: name, help, key of the statistics.
const GAUGES: [(&str, &str, &str); 3] = [
    ("paceline_tracker_swarms", "Swarms with at least one viewer.", "swarms"),
    ("paceline_tracker_viewers", "Viewers, counted once for each swarm they are in.", "viewers"),
    ("paceline_tracker_connections", "Open connections.", "connections"),
];

/// Counters: name, help, key of the statistics.
const COUNTERS: [(&str, &str, &str); 5] = [
    ("paceline_tracker_announces_total", "Announcements taken.", "announces"),
    ("paceline_tracker_offers_relayed_total", "Offers of one viewer passed on to another.", "offers_relayed"),
    ("paceline_tracker_answers_relayed_total", "Answers passed back.", "answers_relayed"),
    ("paceline_tracker_refused_total", "Messages refused for their form or number.", "refused"),
    ("paceline_tracker_forged_answers_total", "Answers to offers that were never made.", "forged_answers"),
];

/// The text of `/metrics` for these statistics.
pub fn text(stats: &Value) -> Result<String, Error> {
    let registry = Registry::new();
    let number = |key: &str| stats[key].as_u64().unwrap_or_default();
    for (name, help, key) in GAUGES {
        let gauge = IntGauge::with_opts(Opts::new(name, help))?;
        gauge.set(i64::try_from(number(key)).unwrap_or(i64::MAX));
        registry.register(Box::new(gauge))?;
    }
    for (name, help, key) in COUNTERS {
        let counter = IntCounter::with_opts(Opts::new(name, help))?;
        counter.inc_by(number(key));
        registry.register(Box::new(counter))?;
    }
    let build = Opts::new("paceline_build_info", "Always 1; the version is the label.");
    let build = GaugeVec::new(build, &["version"])?;
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
    registry.register(Box::new(build))?;
    registry.register(Box::new(ProcessCollector::for_self()))?;
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text)?;
    String::from_utf8(text).map_err(|error| Error::Msg(error.to_string()))
}
