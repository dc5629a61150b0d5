//! When which member's time is over, unless it has spoken since: one entry for each member, however often it comes and goes.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::iter_over_hash_type)]

use std::collections::BTreeMap;

use super::swarms::ConnectionId;
use crate::model::ids::SwarmId;
use crate::model::time::Time;

/// Where an entry is; never used twice.
pub type Entry = (Time, u64);

/// All entries, the next one first.
#[derive(Clone, Debug, Default)]
pub struct Expiries {
    entries: BTreeMap<Entry, (SwarmId, ConnectionId)>,
    next: u64,
}

impl Expiries {
    /// Waits for this time; whoever is told where must [`Self::remove`] it when the member goes before.
    pub fn add(&mut self, at: Time, member: (SwarmId, ConnectionId)) -> Entry {
        let entry = (at, self.next);
        self.next += 1;
        self.entries.insert(entry, member);
        entry
    }

    /// The member is gone; an entry that has come due is gone as well.
    pub fn remove(&mut self, entry: Entry) {
        self.entries.remove(&entry);
    }

    /// When the next one is due.
    #[must_use]
    pub fn first(&self) -> Option<Time> {
        self.entries.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes out one that is due.
    pub fn due(&mut self, now: Time) -> Option<(SwarmId, ConnectionId)> {
        let first = self.entries.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }
}
