//! What was said between us and each neighbour about one segment.
//!
//! A row for each segment, neighbours in the order in which the Node holds them: most questions are about one segment and
//! all neighbours (who has it, who was told of it), and a row answers them without a look at any neighbour.

use crate::model::time::Time;

/// So often a neighbour is believed to begin with a segment.
const STARTS: u8 = 3;

/// What a neighbour said.
#[derive(Clone, Copy, Debug, Default)]
struct Theirs {
    /// A bit for each piece it announced.
    bits: u64,
    /// Since when more will come, if it will.
    since: Time,
    /// More will come.
    loading: bool,
    /// It announced the segment at all.
    announced: bool,
    /// How often it began to load it.
    starts: u8,
}

/// What we said and gave.
#[derive(Clone, Copy, Debug, Default)]
struct Ours {
    /// A bit for each piece we announced.
    told: u64,
    /// Pieces that we sent it: a count of two bits, one from each.
    sent: (u64, u64),
    /// We mentioned the segment at all.
    mentioned: bool,
    /// We took back that more will come.
    ended: bool,
}

/// What a neighbour announced of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Has {
    /// A bit for each piece that may be asked for.
    pub bits: u64,
    /// More will come; since when.
    pub loading: Option<Time>,
}

/// One segment, between us and all neighbours; each is named by its place. Hearing touches the one row, telling the other.
#[derive(Clone, Debug, Default)]
pub struct Words {
    theirs: Vec<Theirs>,
    ours: Vec<Ours>,
}

impl Words {
    /// The pieces each neighbour announced, a bit for each piece; those that never spoke of the segment may be missing at
    /// the end.
    pub fn bits(&self) -> impl Iterator<Item = u64> {
        self.theirs.iter().map(|theirs| theirs.bits)
    }

    /// The pieces that neighbour `n` announced.
    #[must_use]
    pub fn of(&self, n: usize) -> u64 {
        self.theirs.get(n).map_or(0, |theirs| theirs.bits)
    }

    /// The pieces that any neighbour announced.
    #[must_use]
    pub fn anywhere(&self) -> u64 {
        self.bits().fold(0, |all, bits| all | bits)
    }

    /// How many neighbours announced a piece.
    #[must_use]
    pub fn copies(&self, piece: u8) -> usize {
        let bit = 1u64.checked_shl(u32::from(piece)).unwrap_or(0);
        self.bits().filter(|bits| bits & bit != 0).count()
    }

    /// What neighbour `n` announced; `None` when it did not.
    #[must_use]
    pub fn has(&self, n: usize) -> Option<Has> {
        let theirs = self.theirs.get(n).filter(|theirs| theirs.announced)?;
        Some(Has { bits: theirs.bits, loading: theirs.loading.then_some(theirs.since) })
    }

    /// Notes an announcement.
    pub fn announces(&mut self, n: usize, bits: u64, loading: bool, now: Time) {
        if self.theirs.len() <= n {
            self.theirs.resize(n + 1, Theirs::default());
        }
        let theirs = &mut self.theirs[n];
        // Who takes it back again and again keeps nobody waiting.
        let begins = loading && !theirs.loading && theirs.starts < STARTS;
        let since = if begins || !theirs.announced { now } else { theirs.since };
        let starts = theirs.starts + u8::from(begins);
        *theirs = Theirs { bits: theirs.bits | bits, since, loading, announced: true, starts };
    }

    /// Neighbour `n` no longer has the segment, or has left the rendition, or we have: all that was said is void. What it was sent
    /// stays noted: nobody is served the same for ever.
    pub fn unsay(&mut self, n: usize) {
        if let Some(theirs) = self.theirs.get_mut(n) {
            *theirs = Theirs { starts: theirs.starts, ..Theirs::default() };
        }
        if let Some(ours) = self.ours.get_mut(n) {
            (ours.mentioned, ours.told) = (false, 0);
        }
    }

    /// It said that one piece is not to be had from it.
    pub fn lacks(&mut self, n: usize, piece: u8) {
        if let Some(theirs) = self.theirs.get_mut(n) {
            theirs.bits &= !(1u64.checked_shl(u32::from(piece)).unwrap_or(0));
        }
    }

    /// What neighbour `n` was told that we hold; `None` when the segment was never mentioned to it.
    #[must_use]
    pub fn told(&self, n: usize) -> Option<u64> {
        self.ours.get(n).filter(|ours| ours.mentioned).map(|ours| ours.told)
    }

    /// Neighbour `n` is told that nothing more will come; whether it had been told of the segment at all.
    pub fn takes_back(&mut self, n: usize) -> bool {
        let Some(ours) = self.ours.get_mut(n).filter(|ours| ours.mentioned) else { return false };
        ours.ended = true;
        true
    }

    /// Whether neighbour `n` knows that more will come, if it will.
    #[must_use]
    pub fn knows_of_more(&self, n: usize) -> bool {
        self.ours.get(n).is_some_and(|ours| ours.mentioned && !ours.ended)
    }

    /// Of `held`, what neighbour `n` has neither got nor been told of.
    #[must_use]
    pub fn news(&self, n: usize, held: u64) -> u64 {
        held & !self.of(n) & !self.ours.get(n).map_or(0, |ours| ours.told)
    }

    /// Notes what neighbour `n` is being told.
    pub fn tell(&mut self, n: usize, bits: u64) {
        let ours = self.ours(n);
        (ours.mentioned, ours.ended) = (true, false);
        ours.told |= bits;
    }

    /// How often a piece was sent to neighbour `n`, up to three times.
    #[must_use]
    pub fn times_sent(&self, n: usize, piece: u8) -> u8 {
        let bit = |bits: u64| u8::from(bits & 1u64.checked_shl(u32::from(piece)).unwrap_or(0) != 0);
        self.ours.get(n).map_or(0, |ours| bit(ours.sent.0) + 2 * bit(ours.sent.1))
    }

    /// A piece is being sent to neighbour `n`.
    pub fn sends(&mut self, n: usize, piece: u8) {
        let bit = 1u64.checked_shl(u32::from(piece)).unwrap_or(0);
        let (once, twice) = &mut self.ours(n).sent;
        match (*once & bit != 0, *twice & bit != 0) {
            (true, true) => {}
            (true, false) => (*once, *twice) = (*once & !bit, *twice | bit),
            (false, _) => *once |= bit,
        }
    }

    /// Neighbour `n` has gone; those after it move up.
    pub fn forget(&mut self, n: usize) {
        if n < self.theirs.len() {
            self.theirs.remove(n);
        }
        if n < self.ours.len() {
            self.ours.remove(n);
        }
    }

    fn ours(&mut self, n: usize) -> &mut Ours {
        if self.ours.len() <= n {
            self.ours.resize(n + 1, Ours::default());
        }
        &mut self.ours[n]
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
        words.unsay(3);
        assert_eq!((words.has(3), words.of(3)), (None, 0));
        let since = |words: &Words| words.has(4).and_then(|has| has.loading);
        for (second, believed) in [(1, 1), (2, 2), (3, 3), (4, 3), (5, 3)] {
            let at = |second: u64| Time::from_micros(second * 1_000_000);
            words.announces(4, 0, true, at(second));
            assert_eq!(since(&words), Some(at(believed)));
            words.announces(4, 0, true, at(second + 1));
            words.announces(4, 0, false, at(second + 1));
        }
        words.lacks(9, 63);
        words.unsay(9);
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
        assert!(words.bits().eq([0b0001, 0b0100, 0b1000]));
        assert_eq!(words.told(1), Some(0b0100));
    }
}
