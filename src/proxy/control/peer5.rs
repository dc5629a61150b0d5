//! The statistics under the names that glue code for Peer5's player statistics knows.

use serde_json::{Value, json};

/// The document of `/-/stats?format=peer5`: totals, and the same for each rendition. Bytes are bytes; `load.end`,
/// `rebuffer.end` and `seek.end` are lists of durations in milliseconds, as in Peer5's own `getStats()`, the last 50 of each.
///
/// A daemon does not see the player's clock: `rebuffer.end` tells by how much segments came after the player can have run
/// dry at the earliest, and `seek.end` how long after a request for another place the first whole segment from there came.
pub fn document(stats: &Value) -> Value {
    let mut all = totals(stats);
    all["streams"] = streams(stats).iter().map(stream).collect();
    all
}

/// Those of all streams together, which name none of them.
pub fn totals(stats: &Value) -> Value {
    let most = streams(stats).iter().filter_map(|stream| stream["neighbours"].as_u64()).max().unwrap_or(0);
    let totals = &stats["totals"];
    json!({
        "load.end": totals["waits_ms"]["startup"],
        "rebuffer.end": totals["waits_ms"]["stall"],
        "seek.end": totals["waits_ms"]["seek"],
        "numOfPeers": most,
        "totalHttpDownloaded": totals["http_bytes"],
        "totalP2PDownloaded": totals["p2p_bytes"],
        "totalP2PUploaded": totals["uploaded_bytes"],
    })
}

fn streams(stats: &Value) -> &[Value] {
    stats["streams"].as_array().map_or(&[][..], Vec::as_slice)
}

fn stream(of: &Value) -> Value {
    json!({
        "url": of["manifest"],
        "rendition": of["rendition"],
        "load.end": of["waits_ms"]["startup"],
        "rebuffer.end": of["waits_ms"]["stall"],
        "seek.end": of["waits_ms"]["seek"],
        "numOfPeers": of["neighbours"],
        "swarmSize": of["swarm_size"],
        "totalHttpDownloaded": of["http_bytes"],
        "totalP2PDownloaded": of["p2p_bytes"],
        "totalP2PUploaded": of["uploaded_bytes"],
    })
}
