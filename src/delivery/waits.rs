//! How long players waited, wait by wait, as far as a proxy can see it: what analytics ask for beside sums.

use std::collections::VecDeque;
use std::time::Duration;

use super::policy::RECORDS;

/// The last waits of one kind, oldest first, account after account; at most [`RECORDS`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waits(VecDeque<Duration>);

impl Waits {
    /// One more is over.
    pub fn add(&mut self, wait: Duration) {
        if self.0.len() == RECORDS {
            self.0.pop_front();
        }
        self.0.push_back(wait);
    }

    /// Those of another account come after ours.
    pub fn append(&mut self, other: &Self) {
        other.iter().for_each(|wait| self.add(wait));
    }

    /// Oldest first.
    pub fn iter(&self) -> impl Iterator<Item = Duration> {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept() {
        let mut waits = Waits::default();
        (0..RECORDS as u64 + 3).for_each(|ms| waits.add(Duration::from_millis(ms)));
        let mut both = Waits::default();
        both.append(&waits);
        both.add(Duration::from_millis(99));
        let kept: Vec<u128> = both.iter().map(|wait| wait.as_millis()).collect();
        assert_eq!((kept.len(), kept[0], kept[RECORDS - 1]), (RECORDS, 4, 99));
    }
}
