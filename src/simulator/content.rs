//! What is played: renditions, their segments and their true bytes (as lengths and hashes).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::delivery::chance::mix;
use crate::model::ids::{Group, SegmentId, SwarmId};
use crate::model::time::Time;
use crate::model::timeline::{Choice, Kind, PieceGrid, Segment, Timeline};
use crate::model::units::BitsPerSecond;
use crate::wire::digest::PieceHash;

/// What a scenario plays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Programme {
    /// Live or a recording.
    pub kind: Kind,
    /// How long a segment plays.
    pub segment: Duration,
    /// Segments in the live window, or of the whole recording.
    pub window: u64,
    /// Bit rate of the first rendition.
    pub bitrate: BitsPerSecond,
    /// Renditions; each further one has half the bit rate of the one before.
    pub renditions: u32,
}

/// One rendition.
#[derive(Clone, Debug)]
struct Rendition {
    swarm: SwarmId,
    ids: Vec<SegmentId>,
    listings: Vec<Timeline>,
    bytes: f64,
}

/// Everything that can be asked for during a run.
#[derive(Clone, Debug)]
pub struct Content {
    programme: Programme,
    renditions: Vec<Rendition>,
    names: BTreeMap<SegmentId, (u32, u64)>,
}

impl Content {
    /// The content of a run of `length`. Live channels have been on air for a window already.
    #[must_use]
    pub fn new(programme: Programme, length: Duration) -> Arc<Self> {
        let Programme { kind, segment, window, bitrate, renditions: count } = programme;
        let played = (length.as_micros() / segment.as_micros()) as u64 + 2;
        let segments = if kind == Kind::Vod { window } else { window + played };
        let mut names = BTreeMap::new();
        let renditions = (0..count)
            .map(|r| {
                let swarm = SwarmId::of(&format!("simulated rendition {r}"));
                let ids: Vec<SegmentId> = (0..segments).map(|s| SegmentId::of(swarm, s, "segment")).collect();
                names.extend(ids.iter().zip(0..).map(|(&id, s)| (id, (r, s))));
                let list = |from: u64, to: u64| Timeline {
                    swarm,
                    kind,
                    target: segment,
                    choice: Choice { group: (count > 1).then_some(Group(0)), adaptive: count > 1 },
                    segments: (from..to)
                        .map(|s| Segment { id: ids[s as usize], sequence: s, duration: segment })
                        .collect(),
                };
                let listings = match kind {
                    Kind::Vod => vec![list(0, segments)],
                    _ => (0..=played).map(|newest| list(newest, newest + window)).collect(),
                };
                let bytes = bitrate.0 as f64 / f64::from(1u32 << r) * segment.as_secs_f64() / 8.0;
                Rendition { swarm, ids, listings, bytes }
            })
            .collect();
        Arc::new(Self { programme, renditions, names })
    }

    /// What is played.
    #[must_use]
    pub fn programme(&self) -> &Programme {
        &self.programme
    }

    /// The swarm of a rendition.
    #[must_use]
    pub fn swarm(&self, rendition: u32) -> SwarmId {
        self.renditions[rendition as usize].swarm
    }

    /// The manifest of a rendition as the origin serves it at `at`.
    #[must_use]
    pub fn listing(&self, rendition: u32, at: Time) -> &Timeline {
        let listings = &self.renditions[rendition as usize].listings;
        let newest = (at.as_micros() / self.programme.segment.as_micros() as u64) as usize;
        &listings[newest.min(listings.len() - 1)]
    }

    /// When a segment was published; the ones on air at the beginning count as published then.
    #[must_use]
    pub fn published(&self, sequence: u64) -> Time {
        let after = sequence.saturating_sub(self.programme.window - 1);
        Time::ZERO + self.programme.segment * after as u32
    }

    /// Rendition and sequence number of a segment; `None` for a name that nobody published.
    #[must_use]
    pub fn find(&self, segment: SegmentId) -> Option<(u32, u64)> {
        self.names.get(&segment).copied()
    }

    /// The name of a segment.
    #[must_use]
    pub fn id(&self, rendition: u32, sequence: u64) -> SegmentId {
        self.renditions[rendition as usize].ids[sequence as usize]
    }

    /// Bytes of a segment: they vary by a fifth around the bit rate.
    #[must_use]
    pub fn length(&self, rendition: u32, sequence: u64) -> u32 {
        let bytes = self.renditions[rendition as usize].bytes;
        let vary = (mix(sequence ^ u64::from(rendition) << 32) >> 11) as f64 / (1u64 << 53) as f64;
        (bytes * (0.8 + 0.4 * vary)) as u32
    }

    /// How a segment is cut.
    ///
    /// # Panics
    /// Never: lengths come from a bit rate that was checked.
    #[must_use]
    pub fn grid(&self, rendition: u32, sequence: u64) -> Option<PieceGrid> {
        PieceGrid::for_length(u64::from(self.length(rendition, sequence)))
    }
}

/// The hash of a piece's true bytes.
#[must_use]
pub fn truth(segment: SegmentId, piece: u8) -> PieceHash {
    let half = mix(segment.0 ^ u64::from(piece) << 56);
    let mut hash = [0; 16];
    hash[..8].copy_from_slice(&half.to_le_bytes());
    hash[8..].copy_from_slice(&(!half).to_le_bytes());
    PieceHash(hash)
}

/// The hash of what `liar` makes of a piece.
#[must_use]
pub fn forgery(segment: SegmentId, piece: u8, liar: u32) -> PieceHash {
    let mut hash = truth(segment, piece);
    hash.0[..4].copy_from_slice(&liar.to_le_bytes());
    hash.0[4] ^= 0x55;
    hash
}
