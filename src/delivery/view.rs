//! What the statistics may see of a Node; nothing here changes it.

use super::account::{Bytes, Faults, Segments, ceiling};
use super::neighbours::Neighbour;
use super::pieces::Pieces;
use super::policy::Policy;
use super::{Node, session::Session};
use crate::model::ids::{PeerId, SegmentId, SwarmId};
use crate::model::timeline::PieceGrid;

impl Node {
    /// Whether others may ask us for pieces of this rendition.
    #[must_use]
    pub fn gives(&self, swarm: SwarmId) -> bool {
        let session = self.sessions.iter().find(|s| s.swarm == swarm);
        session.is_some_and(|session| session.terms.over(&self.policy).upload)
    }

    /// Who we are.
    #[must_use]
    pub fn me(&self) -> PeerId {
        self.me
    }

    /// What holds.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Payload bytes handed out for peers, all in all; some may have broken off on their way.
    #[must_use]
    pub fn handed_out(&self) -> u64 {
        self.uploads.budget.handed_out()
    }

    /// Whether the budget allows no upload any more.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.uploads.budget.is_over()
    }

    /// The renditions somebody here watches.
    #[must_use]
    pub fn sessions(&self) -> &[Session] {
        &self.sessions
    }

    /// The peers with an open data channel.
    #[must_use]
    pub fn neighbours(&self) -> &[Neighbour] {
        &self.neighbours
    }

    /// How many neighbours watch this rendition.
    #[must_use]
    pub fn neighbours_in(&self, swarm: SwarmId) -> usize {
        self.neighbours.iter().filter(|n| n.in_swarm(swarm)).count()
    }

    /// The chance of being one of the first to take a new segment of this rendition from the origin; `None` where viewers
    /// take turns, as all of a small swarm do.
    #[must_use]
    pub fn draws(&self, swarm: SwarmId) -> Option<f64> {
        let session = self.sessions.iter().find(|s| s.swarm == swarm)?;
        let chance = session.crowd(self.uploads.rate()).chance()?;
        Some(if self.gives(swarm) { chance } else { 0.0 })
    }

    /// How a segment is cut, once its length is known.
    #[must_use]
    pub fn grid(&self, segment: SegmentId) -> Option<PieceGrid> {
        self.find(segment)?.grid
    }

    /// Where the rest of a segment comes from for a reader at `from`: from the origin, from peers (both false: all of
    /// it is here).
    #[must_use]
    pub fn source(&self, segment: SegmentId, from: u32) -> (bool, bool) {
        let Some(pieces) = self.find(segment) else { return (true, false) };
        let rest = pieces.grid.is_none_or(|grid| pieces.readable(from) < grid.length());
        (
            rest && !pieces.fetches.is_empty(),
            rest && (!pieces.flights.is_empty() || pieces.fetches.is_empty()),
        )
    }

    /// Whether all of a segment is held.
    #[must_use]
    pub fn complete(&self, segment: SegmentId) -> bool {
        self.find(segment).is_some_and(Pieces::complete)
    }

    fn find(&self, segment: SegmentId) -> Option<&Pieces> {
        self.sessions.iter().find_map(|s| s.active.get(segment))
    }

    /// What came and went, over all renditions since the start.
    #[must_use]
    pub fn totals(&self) -> Bytes {
        let mut totals = self.past;
        for session in &self.sessions {
            totals.add(session.bytes);
        }
        totals
    }

    /// Segments by reason, and how players fared, over all renditions since the start.
    #[must_use]
    pub fn segments(&self) -> Segments {
        let mut segments = self.past_segments.clone();
        for session in &self.sessions {
            segments.add(&session.ledger.segments());
        }
        segments
    }

    /// How many trackers there are to find peers through.
    #[must_use]
    pub fn trackers(&self) -> usize {
        self.membership.trackers.len()
    }

    /// How many of them are connected; none is tried before something plays, or without P2P.
    #[must_use]
    pub fn trackers_up(&self) -> usize {
        self.membership.trackers.iter().filter(|tracker| tracker.up && self.policy.p2p).count()
    }

    /// Whether trackers are asked at all: somebody watches something that peers may be used for.
    #[must_use]
    pub fn asks_trackers(&self) -> bool {
        self.policy.p2p && self.sessions.iter().any(|session| session.joined)
    }

    /// The best peer efficiency that the largest swarm seen allows.
    #[must_use]
    pub fn ceiling(&self) -> f64 {
        ceiling(self.sessions.iter().map(|s| s.most_viewers).max().unwrap_or(0))
    }

    /// What went wrong with peers.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.faults
    }
}
