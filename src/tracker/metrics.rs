//! The tracker's statistics for Prometheus. Labels are those of the networks that have a name; swarms are summed up.

use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Encoder, Error, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use serde_json::Value;

use super::refusals::Limit;

/// Gauges: name, help, key of the statistics.
const GAUGES: [(&str, &str, &str); 3] = [
    ("paceline_tracker_swarms", "Swarms with at least one viewer.", "swarms"),
    ("paceline_tracker_viewers", "Viewers, counted once for each swarm they are in.", "viewers"),
    ("paceline_tracker_connections", "Open connections.", "connections"),
];

/// Counters: name, help, key of the statistics.
const COUNTERS: [(&str, &str, &str); 8] = [
    (
        "paceline_tracker_stun_refused_total",
        "STUN requests not answered: too many from one network.",
        "stun_refused",
    ),
    ("paceline_tracker_announces_total", "Announcements taken.", "announces"),
    ("paceline_tracker_offers_relayed_total", "Offers of one viewer passed on to another.", "offers_relayed"),
    ("paceline_tracker_answers_relayed_total", "Answers passed back.", "answers_relayed"),
    ("paceline_tracker_refused_total", "Messages refused for their form, number or peer id.", "refused"),
    ("paceline_tracker_forged_answers_total", "Answers to offers that were never made.", "forged_answers"),
    ("paceline_tracker_accounts_total", "Figures of viewers taken.", "accounts"),
    (
        "paceline_tracker_accounts_refused_total",
        "Figures of viewers refused: no line could have carried that.",
        "accounts_refused",
    ),
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
    let help = "Connections turned away, by the limit of the configuration that they met.";
    let refused = Opts::new("paceline_tracker_connections_refused_total", help);
    let refused = IntCounterVec::new(refused, &["limit"])?;
    for key in Limit::OF_CONNECTIONS.map(Limit::key) {
        let count = stats["connections_refused"][key].as_u64().unwrap_or_default();
        refused.with_label_values(&[key]).inc_by(count);
    }
    registry.register(Box::new(refused))?;
    networks(&registry, stats)?;
    let build = Opts::new("paceline_build_info", "Always 1; the version is the label.");
    let build = GaugeVec::new(build, &["version"])?;
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
    registry.register(Box::new(build))?;
    registry.register(Box::new(ProcessCollector::for_self()))?;
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text)?;
    String::from_utf8(text).map_err(|error| Error::Msg(error.to_string()))
}

/// What viewers say of themselves, by network.
fn networks(registry: &Registry, stats: &Value) -> Result<(), Error> {
    let watching = Opts::new("paceline_tracker_watching", "Viewers, counted once each, by network.");
    let watching = IntGaugeVec::new(watching, &["network"])?;
    let help = "Payload bytes of segments by where viewers took them from; those from peers the origin did not send.";
    let received =
        IntCounterVec::new(Opts::new("paceline_tracker_received_bytes_total", help), &["network", "source"])?;
    let help = "Payload bytes of segments that viewers sent to peers.";
    let uploaded =
        IntCounterVec::new(Opts::new("paceline_tracker_uploaded_bytes_total", help), &["network"])?;
    for network in stats["networks"].as_array().map_or(&[][..], Vec::as_slice) {
        let name = network["network"].as_str().unwrap_or_default();
        let number = |key: &str| network[key].as_u64().unwrap_or_default();
        watching.with_label_values(&[name]).set(i64::try_from(number("watching")).unwrap_or(i64::MAX));
        received.with_label_values(&[name, "http"]).inc_by(number("http_bytes"));
        received.with_label_values(&[name, "p2p"]).inc_by(number("p2p_bytes"));
        uploaded.with_label_values(&[name]).inc_by(number("uploaded_bytes"));
    }
    registry.register(Box::new(watching))?;
    registry.register(Box::new(received))?;
    registry.register(Box::new(uploaded))
}
