//! Recordings that nobody plays at the moment: a player that goes on with one after a pause does not load its playlist again.

use super::listings::{Listings, Rendition};
use crate::model::ids::SwarmId;
use crate::model::timeline::Timeline;

/// Segments that all of them have together: about 10 MiB. Past the bound the one left longest ago is passed through.
pub(super) const LEFT: usize = 20_000;

impl Listings {
    /// The viewers of a rendition have gone, as far as can be told: of a recording they may go on with what they have loaded.
    pub fn leave(&mut self, swarm: SwarmId) {
        match self.renditions.get_mut(&swarm) {
            Some(rendition) if rendition.recording.is_some() => rendition.is_left = true,
            _ => drop(self.renditions.remove(&swarm)),
        }
        let left =
            |of: &Self| of.renditions.values().filter(|r| r.is_left).map(Rendition::segments).sum::<usize>();
        while left(self) > LEFT && self.forget_one_left() {}
    }

    /// Somebody goes on with a recording that was left: what is to be made known of it again.
    pub fn resume(&mut self, swarm: SwarmId) -> Option<Timeline> {
        let rendition = self.renditions.get_mut(&swarm).filter(|rendition| rendition.is_left)?;
        rendition.is_left = false;
        rendition.recording.clone()
    }

    /// Of those that were left the one that was used longest ago; false when there is none.
    pub(super) fn forget_one_left(&mut self) -> bool {
        let left = self.renditions.iter().filter(|(_, rendition)| rendition.is_left);
        let first = left.min_by_key(|(_, rendition)| rendition.used()).map(|(swarm, _)| *swarm);
        first.is_some_and(|swarm| self.renditions.remove(&swarm).is_some())
    }
}
