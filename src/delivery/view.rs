//! What the statistics may see of a Node; nothing here changes it.

use super::account::{Bytes, Faults, ceiling};
use super::neighbours::Neighbour;
use super::policy::Policy;
use super::{Node, session::Session};
use crate::model::ids::{PeerId, SwarmId};

impl Node {
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

    /// What came and went, over all renditions since the start.
    #[must_use]
    pub fn totals(&self) -> Bytes {
        let mut totals = self.past;
        for session in &self.sessions {
            totals.add(session.bytes);
        }
        totals
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
