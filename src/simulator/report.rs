//! What happened in a simulated run, as numbers. The same seed gives the same report, byte for byte.

use serde::Serialize;

/// One run. Byte counts are payload bytes of segments, over all viewers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// The scenario's name.
    pub scenario: String,
    /// Decides every chance in it.
    pub seed: u64,
    /// The most viewers at the same time.
    pub viewers: u32,
    /// How long it ran, in simulated seconds.
    pub seconds: u64,
    /// Media bit rate of the rendition, in bits per second.
    pub bitrate: u64,
    /// Bytes from peers / (bytes from peers + bytes from the origin).
    pub peer_efficiency: f64,
    /// The same without each viewer's first 20 s.
    pub peer_efficiency_steady: f64,
    /// The same again without viewers that lie or send nothing: whom everybody shuns has HTTP alone.
    pub peer_efficiency_honest: f64,
    /// (n-1)/n for the most viewers at the same time.
    pub ceiling: f64,
    /// The best that this run allowed without each viewer's first 20 s: see [`bound_by`](Self::bound_by).
    pub bound: f64,
    /// What sets [`bound`](Self::bound): `viewers` (so many have to take the first copies), `uplink` (what all together
    /// carry), `memory` (what all together remember of a recording), or `start-up` (what players take with nothing
    /// buffered, after a seek for example, is the origin's by rule).
    pub bound_by: &'static str,
    /// Bytes that the origin sent.
    pub origin_bytes: u64,
    /// Bytes from peers, accepted.
    pub p2p_bytes: u64,
    /// Bytes that came although they were there already, or were wrong.
    pub wasted_bytes: u64,
    /// Wasted bytes / all bytes.
    pub waste: f64,
    /// Pieces with wrong content that reached a player. Anything but 0 is a defect.
    pub wrong_pieces: u64,
    /// Segments that came later than HTTP alone would have brought them plus 100 ms, and were missed by their player: it
    /// had nothing else to play, be it that it had just begun.
    pub late_segments: u64,
    /// Requests of players that were answered with an error.
    pub failed_requests: u64,
    /// Interruptions of all players.
    pub stalls: u64,
    /// Their length together, in milliseconds.
    pub stall_ms: u64,
    /// From joining to the first picture, in milliseconds: median.
    pub startup_ms_p50: f64,
    /// … and the 99th percentile.
    pub startup_ms_p99: f64,
    /// Segments that players took.
    pub segments: u64,
    /// Segments of each viewer's steady state by the reason code of how they came (see the contract).
    pub reasons: Vec<(&'static str, u64)>,
    /// Origin requests for segments.
    pub origin_requests: u64,
    /// The most that the origin sent in any second, in bits per second.
    pub origin_peak_bps: u64,
    /// The same once the last viewer's first 20 s had passed.
    pub origin_peak_steady_bps: u64,
    /// The most that the origin sent in any second to viewers that had not seen a picture yet, in bits per second.
    pub startup_peak_bps: u64,
    /// What all viewers together play: viewers x bit rate.
    pub demand_bps: u64,
    /// Mean uplink of all viewers (those that can't upload count as 0) / bit rate.
    pub uplink_ratio: f64,
    /// Of the upload capacity of all viewers, the share that was used.
    pub uplink_used: f64,
    /// From a live segment's first byte at any viewer to all of it at another, in milliseconds: p50.
    pub spread_ms_p50: f64,
    /// … p99.
    pub spread_ms_p99: f64,
    /// … the last.
    pub spread_ms_max: f64,
    /// Neighbours per viewer, mean at the end.
    pub neighbours: f64,
    /// Pings, requests and announcements: messages between peers other than pieces.
    pub messages: u64,
    /// Their bytes / bytes of pieces.
    pub overhead: f64,
    /// Events of the simulation.
    pub events: u64,
    /// Second by second.
    pub series: Vec<Second>,
    /// How one segment (a typical one from the middle of the run) spread: milliseconds after its first byte at any
    /// viewer, and the share of viewers that had all of it by then. Ascending, at most 200 points.
    pub spread: Vec<(f64, f64)>,
}

/// One second of a run, all viewers together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Second {
    /// Viewers that are there.
    pub viewers: u32,
    /// Bytes from the origin.
    pub http_bytes: u64,
    /// Bytes from peers.
    pub p2p_bytes: u64,
    /// Wasted bytes.
    pub wasted_bytes: u64,
    /// Players that stand still at its end.
    pub stalled: u32,
}

/// One line of the story of a viewer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// When, in milliseconds.
    pub at_ms: u64,
    /// The segment it is about, by its media sequence number.
    pub sequence: Option<u64>,
    /// What happened, in words.
    pub what: String,
}
