//! The statistics as the contract's JSON document.

use serde_json::{Map, Value, json};

use super::listings::Listings;
use super::map;
use super::steering::Steering;
use crate::delivery::Node;
use crate::delivery::account::{Bytes, Reason, Record, Segments, ceiling};
use crate::delivery::neighbours::Neighbour;
use crate::delivery::session::Session;
use crate::delivery::waits::Waits;
use crate::model::ids::PeerId;
use crate::model::shown::shown;
use crate::model::time::Time;
use crate::model::timeline::Kind;

/// Peers that are listed for each stream: all there are while the limit on neighbours holds.
const PEERS: usize = 15;

/// Everything that `/-/stats` tells.
#[must_use]
pub fn document(node: &Node, listings: &Listings, steering: &Steering, now: Time) -> Value {
    let totals = node.totals();
    let faults = node.faults();
    let segments = node.segments();
    let reasons = Reason::ALL.iter().zip(segments.by_reason);
    let reasons: Map<String, Value> =
        reasons.map(|(reason, count)| (reason.as_str().to_owned(), count.into())).collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_s": seconds(now.as_micros()),
        "p2p": node.policy().p2p,
        "upload": node.policy().upload,
        "upload_mode": steering.mode(),
        "upload_withheld": steering.reason(node.is_spent()),
        "upload_budget": steering.account.document(steering.limits()),
        "trackers": { "configured": node.trackers(), "up": node.trackers_up(), "asked": node.asks_trackers() },
        "totals": {
            "http_bytes": totals.http,
            "p2p_bytes": totals.p2p,
            "uploaded_bytes": totals.uploaded,
            "wasted_bytes": totals.wasted,
            "served_bytes": totals.served,
            "peer_efficiency": rounded(totals.peer_efficiency()),
            "peer_efficiency_ceiling": rounded(node.ceiling()),
            "segments": reasons,
            "late_segments": segments.late,
            "startup_ms": segments.startup.map(|d| d.as_millis() as u64),
            "waits_ms": waits(&segments),
        },
        "listed": { "segments": listings.segments(), "given_up": listings.given_up() },
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
    let policy = session.terms.over(node.policy());
    json!({
        "manifest": manifest.as_ref().map(shown),
        "rendition": name,
        "channel": listed.and_then(|r| r.channel.as_deref()),
        "p2p": policy.p2p,
        "upload": policy.upload,
        "kind": match session.timeline.kind {
            Kind::Live => "live",
            Kind::Event => "event",
            Kind::Vod => "vod",
        },
        "swarm": session.swarm.to_string(),
        "swarm_size": session.viewers,
        "neighbours": node.neighbours_in(session.swarm),
        "players": session.players().count(),
        "buffered_s": rounded(session.buffered(now).as_secs_f64()),
        "http_bytes": http,
        "p2p_bytes": p2p,
        "uploaded_bytes": uploaded,
        "wasted_bytes": wasted,
        "peer_efficiency": rounded(session.bytes.peer_efficiency()),
        "peer_efficiency_ceiling": rounded(ceiling(session.most_viewers)),
        "startup_ms": session.ledger.startup.map(|d| d.as_millis() as u64),
        "late_segments": session.ledger.late,
        "waits_ms": waits(&session.ledger.segments()),
        "critical_s": rounded(map::critical(session, &policy).as_secs_f64()),
        "prefetch_s": rounded(policy.prefetch.as_secs_f64()),
        "map": map::squares(session, &policy, now),
        "peers": peers(node, session, now),
        "segments": session.ledger.records().map(segment).collect::<Vec<_>>(),
    })
}

/// How long players waited, wait by wait.
fn waits(of: &Segments) -> Value {
    let list = |waits: &Waits| waits.iter().map(|wait| wait.as_millis() as u64).collect::<Vec<_>>();
    json!({ "startup": list(&of.startups), "stall": list(&of.stalls), "seek": list(&of.seeks) })
}

/// The neighbours in a rendition's swarm, the most useful first; what came and went is all of it, in every rendition.
fn peers(node: &Node, session: &Session, now: Time) -> Vec<Value> {
    let all = node.totals().p2p.max(1) as f64;
    let mut here: Vec<_> = node.neighbours().iter().filter(|n| n.in_swarm(session.swarm)).collect();
    here.sort_by_key(|n| (std::cmp::Reverse(n.delivered), n.peer));
    let peer = |n: &&Neighbour| {
        json!({
            "name": name(n.peer),
            "rtt_ms": n.round_trip.map(|d| rounded(d.as_secs_f64() * 1e3)),
            "down_bytes": n.delivered,
            "up_bytes": n.uploaded,
            "useful": rounded(n.delivered as f64 / all),
            "uploads": n.uploads,
            "busy": n.busy_until > now,
        })
    };
    here.iter().take(PEERS).map(peer).collect()
}

/// A short name for a peer that says nothing of who it is: it is new whenever its daemon is started.
fn name(peer: PeerId) -> String {
    let hash = blake3::hash(&peer.0);
    let [first, second, ..] = hash.as_bytes();
    format!("{first:02x}{second:02x}")
}

fn segment(record: &Record) -> Value {
    json!({
        "id": record.id.to_string(),
        "sequence": record.sequence,
        "source": source(record),
        "reason": record.reason.as_str(),
        "late": record.late,
        "bytes": record.http + record.p2p,
        "p2p_bytes": record.p2p,
        "held_ms": record.held.as_millis() as u64,
        "peers": record.peers.count_ones(),
    })
}

/// Where the bytes of a segment came from.
pub(super) fn source(record: &Record) -> &'static str {
    match (record.http > 0, record.p2p > 0) {
        (true, false) => "http",
        (false, true) => "p2p",
        (true, true) => "mixed",
        (false, false) => "memory",
    }
}

/// As moments since the start are told everywhere.
pub(super) fn seconds(micros: u64) -> f64 {
    (micros / 100_000) as f64 / 10.0
}

fn rounded(x: f64) -> f64 {
    (x * 10_000.0).round() / 10_000.0
}
