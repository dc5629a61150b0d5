//! The statistics under the names that glue code for Peer5's player statistics knows.

use serde_json::{Value, json};

/// The document of `/-/stats?format=peer5`: totals, and the same for each rendition. Bytes are bytes, times milliseconds.
///
/// A daemon does not see the player's clock: `rebuffer.end` counts segments that came after the player can have run dry,
/// and `seek.end` is not known (null). In the totals `load.end` is the shortest of all since the start.
pub fn document(stats: &Value) -> Value {
    let streams = stats["streams"].as_array().map_or(&[][..], Vec::as_slice);
    let most = streams.iter().filter_map(|stream| stream["neighbours"].as_u64()).max().unwrap_or(0);
    let totals = &stats["totals"];
    json!({
        "load.end": totals["startup_ms"],
        "rebuffer.end": totals["late_segments"],
        "seek.end": null,
        "numOfPeers": most,
        "totalHttpDownloaded": totals["http_bytes"],
        "totalP2PDownloaded": totals["p2p_bytes"],
        "totalP2PUploaded": totals["uploaded_bytes"],
        "streams": streams.iter().map(stream).collect::<Vec<_>>(),
    })
}

fn stream(of: &Value) -> Value {
    json!({
        "url": of["manifest"],
        "rendition": of["rendition"],
        "load.end": of["startup_ms"],
        "rebuffer.end": of["late_segments"],
        "seek.end": null,
        "numOfPeers": of["neighbours"],
        "swarmSize": of["swarm_size"],
        "totalHttpDownloaded": of["http_bytes"],
        "totalP2PDownloaded": of["p2p_bytes"],
        "totalP2PUploaded": of["uploaded_bytes"],
    })
}
