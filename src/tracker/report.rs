//! The statistics as a JSON document: of how many there are, and what they say that they took and gave.

use serde_json::{Map, Value, json};

use super::accounts::{Flow, Sums};
use super::history::History;
use super::refusals::{Limit, Refusals};
use super::swarms::{Census, Swarms};
use crate::model::ids::SwarmId;
use crate::model::time::Time;

/// Swarms that are listed: those with the most viewers.
const LISTED: usize = 50;

/// Everything that `/stats` tells, with the connections that are open and those that were turned away.
#[must_use]
pub fn document(
    swarms: &Swarms,
    names: &[String],
    (connections, turned_away): (usize, &Refusals),
    now: Time,
) -> Value {
    let ((count, viewers), stats, accounts) = (swarms.sizes(), swarms.stats(), swarms.accounts());
    let (taken, refused) = accounts.counts();
    let watching = swarms.watching();
    let networks = names.iter().zip(watching).enumerate();
    let networks: Vec<Value> = networks
        .map(|(at, (name, viewers))| {
            with(json!({"network": name, "watching": viewers}), accounts.network(at))
        })
        .collect();
    let unanswered = turned_away.count(Limit::Stun);
    let turned_away: Map<String, Value> = Limit::OF_CONNECTIONS
        .map(|limit| (limit.key().to_owned(), turned_away.count(limit).into()))
        .into_iter()
        .collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_s": seconds(now), "interval_s": swarms.interval().as_secs(),
        "swarms": count, "viewers": viewers, "watching": watching.iter().sum::<usize>(), "connections": connections,
        "connections_refused": turned_away, "stun_refused": unanswered,
        "announces": stats.announces, "offers_relayed": stats.offers, "answers_relayed": stats.answers,
        "refused": stats.refused, "forged_answers": stats.forged,
        "accounts": taken, "accounts_refused": refused,
        "totals": with(json!({}), accounts.total()),
        "networks": networks,
        "largest_swarms": largest(swarms).into_iter().map(swarm).collect::<Vec<_>>(),
    })
}

/// The rates of the last hour: when, from peers, from origins, to peers.
#[must_use]
pub fn past(history: &History) -> Value {
    let points = history.points().map(|(at, rate)| json!([seconds(*at), rate.p2p, rate.http, rate.uploaded]));
    points.collect()
}

fn largest(swarms: &Swarms) -> Vec<(SwarmId, Census)> {
    let mut all: Vec<_> = swarms.census().collect();
    let size = |(id, census): &(SwarmId, Census)| (std::cmp::Reverse(census.viewers), *id);
    if all.len() > LISTED {
        all.select_nth_unstable_by_key(LISTED, size);
        all.truncate(LISTED);
    }
    all.sort_unstable_by_key(size);
    all
}

fn swarm((id, census): (SwarmId, Census)) -> Value {
    let head = json!({"swarm": id.to_string(), "viewers": census.viewers, "uploaders": census.uploaders});
    with(head, census.flow)
}

/// The document with a flow's figures.
fn with(mut document: Value, flow: Flow) -> Value {
    let Flow { sums, rate } = flow;
    let Sums { http, p2p, uploaded } = sums;
    let figures = json!({
        "http_bytes": http, "p2p_bytes": p2p, "uploaded_bytes": uploaded,
        "peer_efficiency": (sums.efficiency() * 1e4).round() / 1e4,
        "http_bytes_per_s": rate.http, "p2p_bytes_per_s": rate.p2p, "uploaded_bytes_per_s": rate.uploaded,
    });
    if let (Value::Object(document), Value::Object(figures)) = (&mut document, figures) {
        document.extend(figures);
    }
    document
}

fn seconds(at: Time) -> f64 {
    (at.as_micros() / 1000) as f64 / 1000.0
}
