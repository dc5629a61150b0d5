//! What was said between us and each neighbour about one segment.
//!
//! A row for each segment, neighbours in the order in which the Node holds them: most questions are about one segment and
//! all neighbours (who has it, who was told of it), and a row answers them without a look at any neighbour.

use crate::model::time::Time;

/// What else is known besides the pieces that either side was told of.
#[derive(Clone, Copy, Debug, Default)]
struct Rest {
    /// More will come from it; since when.
    loading: Option<Time>,
    /// It announced the segment at all.
    announced: bool,
    /// We mentioned the segment to it.
    mentioned: bool,
    /// Pieces that we sent it: a count of two bits, one from each.
    sent: (u64, u64),
}

/// What a neighbour announced of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Has {
    /// A bit for each piece that may be asked for.
    pub bits: u64,
    /// More will come; since when.
    pub loading: Option<Time>,
}

/// One segment, between us and all neighbours; each is named by its place. The three rows are of equal length.
#[derive(Clone, Debug, Default)]
pub struct Words {
    has: Vec<u64>,
    told: Vec<u64>,
    rest: Vec<Rest>,
}

impl Words {
    /// The pieces each neighbour announced, a bit for each piece; those that never spoke of the segment may be missing at
    /// the end.
    #[must_use]
    pub fn bits(&self) -> &[u64] {
        &self.has
    }

    /// The pieces that neighbour `n` announced.
    #[must_use]
    pub fn of(&self, n: usize) -> u64 {
        self.has.get(n).copied().unwrap_or(0)
    }

    /// The pieces that any neighbour announced.
    #[must_use]
    pub fn anywhere(&self) -> u64 {
        self.has.iter().fold(0, |all, bits| all | bits)
    }

    /// How many neighbours announced a piece.
    #[must_use]
    pub fn copies(&self, piece: u8) -> usize {
        let bit = 1u64.checked_shl(u32::from(piece)).unwrap_or(0);
        self.has.iter().filter(|&&bits| bits & bit != 0).count()
    }

    /// What neighbour `n` announced; `None` when it did not.
    #[must_use]
    pub fn has(&self, n: usize) -> Option<Has> {
        let rest = self.rest.get(n).filter(|rest| rest.announced)?;
        Some(Has { bits: self.has[n], loading: rest.loading })
    }

    /// Notes an announcement.
    pub fn announces(&mut self, n: usize, bits: u64, loading: bool, now: Time) {
        let rest = self.entry(n);
        rest.announced = true;
        rest.loading = loading.then(|| rest.loading.unwrap_or(now));
        self.has[n] |= bits;
    }

    /// Neighbour `n` no longer has the segment. What it was sent of it stays noted: nobody is served the same for ever.
    pub fn loses(&mut self, n: usize) {
        if let Some(rest) = self.rest.get_mut(n) {
            (rest.announced, rest.loading) = (false, None);
            self.has[n] = 0;
        }
    }

    /// Neighbour `n` has left the rendition, or we have: all that was said is void. What was sent stays noted.
    pub fn unsay(&mut self, n: usize) {
        self.loses(n);
        if let Some(rest) = self.rest.get_mut(n) {
            rest.mentioned = false;
            self.told[n] = 0;
        }
    }

    /// It said that one piece is not to be had from it.
    pub fn lacks(&mut self, n: usize, piece: u8) {
        if let Some(bits) = self.has.get_mut(n) {
            *bits &= !(1u64.checked_shl(u32::from(piece)).unwrap_or(0));
        }
    }

    /// What neighbour `n` was told that we hold; `None` when the segment was never mentioned to it.
    #[must_use]
    pub fn told(&self, n: usize) -> Option<u64> {
        self.rest.get(n).filter(|rest| rest.mentioned).map(|_| self.told[n])
    }

    /// Of `held`, what neighbour `n` has neither got nor been told of.
    #[must_use]
    pub fn news(&self, n: usize, held: u64) -> u64 {
        held & !self.of(n) & !self.told.get(n).copied().unwrap_or(0)
    }

    /// Notes what neighbour `n` is being told.
    pub fn tell(&mut self, n: usize, bits: u64) {
        self.entry(n).mentioned = true;
        self.told[n] |= bits;
    }

    /// How often a piece was sent to neighbour `n`, up to three times.
    #[must_use]
    pub fn times_sent(&self, n: usize, piece: u8) -> u8 {
        let bit = |bits: u64| u8::from(bits & 1u64.checked_shl(u32::from(piece)).unwrap_or(0) != 0);
        self.rest.get(n).map_or(0, |rest| bit(rest.sent.0) + 2 * bit(rest.sent.1))
    }

    /// A piece is being sent to neighbour `n`.
    pub fn sends(&mut self, n: usize, piece: u8) {
        let bit = 1u64.checked_shl(u32::from(piece)).unwrap_or(0);
        let (once, twice) = &mut self.entry(n).sent;
        match (*once & bit != 0, *twice & bit != 0) {
            (true, true) => {}
            (true, false) => (*once, *twice) = (*once & !bit, *twice | bit),
            (false, _) => *once |= bit,
        }
    }

    /// Neighbour `n` has gone; those after it move up.
    pub fn forget(&mut self, n: usize) {
        if n < self.has.len() {
            self.has.remove(n);
            self.told.remove(n);
            self.rest.remove(n);
        }
    }

    fn entry(&mut self, n: usize) -> &mut Rest {
        if self.rest.len() <= n {
            self.has.resize(n + 1, 0);
            self.told.resize(n + 1, 0);
            self.rest.resize(n + 1, Rest::default());
        }
        &mut self.rest[n]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements_add_up_until_they_are_taken_back() {
        let mut words = Words::default();
        words.announces(3, 0b001, true, Time::ZERO);
        words.announces(3, 0b110, false, Time::ZERO);
        words.announces(1, 0b010, true, Time::ZERO);
        assert_eq!(words.has(3), Some(Has { bits: 0b111, loading: None }));
        assert_eq!(words.has(2), None, "it never spoke of it");
        assert_eq!((words.anywhere(), words.copies(1), words.copies(2)), (0b111, 2, 1));
        words.lacks(3, 1);
        assert_eq!(words.of(3), 0b101);
        words.loses(3);
        assert_eq!((words.has(3), words.of(3)), (None, 0));
        words.lacks(9, 63);
        words.loses(9);
    }

    #[test]
    fn news_is_what_is_held_and_neither_side_has_spoken_of() {
        let mut words = Words::default();
        words.announces(0, 0b0001, false, Time::ZERO);
        assert_eq!(words.told(0), None);
        words.tell(0, 0b0010);
        assert_eq!(words.told(0), Some(0b0010));
        assert_eq!(words.news(0, 0b0111), 0b0100);
        assert_eq!(words.news(5, 0b0111), 0b0111, "a stranger was told of nothing");
        words.unsay(0);
        assert_eq!((words.has(0), words.told(0), words.news(0, 0b0111)), (None, None, 0b0111));
    }

    #[test]
    fn how_often_a_piece_was_sent_is_counted_to_three() {
        let mut words = Words::default();
        for times in 0..5 {
            assert_eq!(words.times_sent(2, 5), times.min(3));
            words.sends(2, 5);
        }
        assert_eq!(words.times_sent(2, 4), 0);
        assert_eq!(words.has(2), None, "what we sent it did not announce");
        words.unsay(2);
        assert_eq!(words.times_sent(2, 5), 3, "nor is that forgotten with what was said");
    }

    #[test]
    fn who_comes_after_one_that_goes_moves_up() {
        let mut words = Words::default();
        for n in 0..4 {
            words.announces(n, 1 << n, false, Time::ZERO);
            words.tell(n, 1 << n);
        }
        words.forget(1);
        words.forget(7);
        assert_eq!(words.bits(), [0b0001, 0b0100, 0b1000]);
        assert_eq!(words.told(1), Some(0b0100));
    }
}
