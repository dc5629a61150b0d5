//! The statistics as the contract's JSON document.

use serde_json::{Value, json};
use url::Url;

use super::listings::Listings;
use crate::delivery::Node;
use crate::delivery::account::{Bytes, Record, ceiling};
use crate::delivery::session::Session;
use crate::model::time::Time;
use crate::model::timeline::Kind;

/// Everything that `/-/stats` tells.
#[must_use]
pub fn document(node: &Node, listings: &Listings, now: Time) -> Value {
    let totals = node.totals();
    let faults = node.faults();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_s": seconds(now.as_micros()),
        "p2p": node.policy().p2p,
        "upload": node.policy().upload,
        "totals": {
            "http_bytes": totals.http,
            "p2p_bytes": totals.p2p,
            "uploaded_bytes": totals.uploaded,
            "wasted_bytes": totals.wasted,
            "served_bytes": totals.served,
            "peer_efficiency": rounded(totals.peer_efficiency()),
            "peer_efficiency_ceiling": rounded(node.ceiling()),
        },
        "faults": {
            "wrong_bytes": faults.wrong_bytes,
            "contradicted_origin": faults.contradicted_origin,
            "disputed": faults.disputed,
            "misbehaved": faults.misbehaved,
            "refused": faults.refused,
            "late": faults.late,
        },
        "streams": node.sessions().iter().map(|s| stream(node, s, listings, now)).collect::<Vec<_>>(),
    })
}

fn stream(node: &Node, session: &Session, listings: &Listings, now: Time) -> Value {
    let listed = listings.get(session.swarm);
    let (manifest, name) = (listed.map(|r| r.manifest.clone()), listed.map(|r| r.name.as_str()));
    let Bytes { http, p2p, uploaded, wasted, .. } = session.bytes;
    json!({
        "manifest": manifest.as_ref().map(without_query),
        "rendition": name,
        "kind": match session.timeline.kind {
            Kind::Live => "live",
            Kind::Event => "event",
            Kind::Vod => "vod",
        },
        "swarm": session.swarm.to_string(),
        "swarm_size": session.viewers,
        "neighbours": node.neighbours_in(session.swarm),
        "buffered_s": rounded(session.buffered(now).as_secs_f64()),
        "http_bytes": http,
        "p2p_bytes": p2p,
        "uploaded_bytes": uploaded,
        "wasted_bytes": wasted,
        "peer_efficiency": rounded(session.bytes.peer_efficiency()),
        "peer_efficiency_ceiling": rounded(ceiling(session.most_viewers)),
        "startup_ms": session.ledger.startup.map(|d| d.as_millis() as u64),
        "late_segments": session.ledger.late,
        "segments": session.ledger.records().map(segment).collect::<Vec<_>>(),
    })
}

fn segment(record: &Record) -> Value {
    let source = match (record.http > 0, record.p2p > 0) {
        (true, false) => "http",
        (false, true) => "p2p",
        (true, true) => "mixed",
        (false, false) => "memory",
    };
    json!({
        "id": record.id.to_string(),
        "sequence": record.sequence,
        "source": source,
        "reason": record.reason.as_str(),
        "bytes": record.http + record.p2p,
        "held_ms": record.held.as_millis() as u64,
        "peers": record.peers.count_ones(),
    })
}

/// A URL as logs and statistics show it: without query, fragment and user.
#[must_use]
pub fn without_query(url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_query(None);
    shown.set_fragment(None);
    // Both fail only for URLs that can't have a user, such as `data:`.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.into()
}

fn seconds(micros: u64) -> f64 {
    (micros / 100_000) as f64 / 10.0
}

fn rounded(x: f64) -> f64 {
    (x * 10_000.0).round() / 10_000.0
}
