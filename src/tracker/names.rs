//! By which peer ids one connection goes. A daemon has one; a page may have one for each stream that it plays, all over one
//! connection. A few in a time are taken, so that nobody is a crowd.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::iter_over_hash_type)]

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::ids::PeerId;
use crate::model::time::Time;

/// Ids that one connection may come by within a time; after that the oldest makes room for another one.
const NAMES: usize = 16;

/// The ids of one connection, and since when it goes by each; the oldest first.
#[derive(Clone, Debug, Default)]
pub struct Names(VecDeque<(PeerId, Time)>);

impl Names {
    /// Whether the connection may go by this id, which then is one of its own: [`NAMES`] new ones within `life` at most.
    pub fn take(&mut self, peer: PeerId, now: Time, life: Duration) -> bool {
        if self.0.iter().any(|(known, _)| *known == peer) {
            return true;
        }
        if self.0.len() == NAMES {
            if self.0.front().is_some_and(|(_, since)| *since + life > now) {
                return false;
            }
            self.0.pop_front();
        }
        self.0.push_back((peer, now));
        true
    }
}
