//! How much may be uploaded until when: a count, no calendar.
//!
//! Nothing is handed out past what was allowed. Once a piece does not fit beside those that were promised, the budget is
//! over, and stays so until the driver allows more: what was promised is not sent either, so more than a piece may be left.

use crate::model::time::Time;

/// What may still be uploaded, and until when that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Payload bytes.
    pub left: u64,
    /// The period ends; the driver then says what the next one allows.
    pub until: Time,
}

/// The uploads that are allowed and those that were made.
#[derive(Clone, Debug, Default)]
pub struct Budget {
    /// `None` is no limit.
    allowance: Option<Allowance>,
    over: bool,
    /// The driver was asked for the next period and has not answered.
    asked: bool,
    handed_out: u64,
}

impl Budget {
    /// What holds from now on, with so many bytes promised before; it is over if it does not cover those.
    pub fn allow(&mut self, allowance: Option<Allowance>, promised: u64) {
        self.over = allowance.is_some_and(|allowed| allowed.left == 0 || allowed.left < promised);
        (self.allowance, self.asked) = (allowance, false);
    }

    /// Whether `bytes` may be promised with so many promised already; if not, the budget is over.
    pub fn fits(&mut self, bytes: u32, promised: u64) -> bool {
        let fits =
            self.allowance.is_none_or(|allowed| u64::from(bytes).saturating_add(promised) <= allowed.left);
        self.over |= !fits;
        !self.over
    }

    /// Bytes are handed to the driver; whether they arrive or not, they count.
    pub fn spend(&mut self, bytes: u32) {
        self.handed_out += u64::from(bytes);
        if let Some(allowed) = &mut self.allowance {
            allowed.left = allowed.left.saturating_sub(u64::from(bytes));
        }
    }

    /// Whether nothing more may be uploaded.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Bytes handed to the driver, all in all.
    #[must_use]
    pub fn handed_out(&self) -> u64 {
        self.handed_out
    }

    /// When the period ends, if the driver has to be asked then.
    #[must_use]
    pub fn ends_at(&self) -> Option<Time> {
        self.allowance.filter(|_| !self.asked).map(|allowed| allowed.until)
    }

    /// True once after the end of a period: the driver is to be asked for the next one.
    pub fn has_ended(&mut self, now: Time) -> bool {
        let ended = self.ends_at().is_some_and(|at| at <= now);
        self.asked |= ended;
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: Time = Time::from_micros(5_000_000);

    #[test]
    fn what_does_not_fit_ends_it_until_more_is_allowed() {
        let mut budget = Budget::default();
        assert!(budget.fits(u32::MAX, u64::MAX >> 1), "no limit");
        budget.allow(Some(Allowance { left: 100, until: END }), 0);
        assert!(budget.fits(60, 0));
        budget.spend(60);
        assert!(budget.fits(40, 0) && !budget.is_over());
        assert!(!budget.fits(40, 1), "what is promised counts");
        assert!(budget.is_over() && !budget.fits(1, 0), "it stays over");
        budget.allow(Some(Allowance { left: 0, until: END }), 0);
        assert!(budget.is_over(), "nothing is left from the start");
        budget.allow(Some(Allowance { left: 100, until: END }), 101);
        assert!(budget.is_over(), "less is left than was promised");
        budget.allow(None, 101);
        assert!(budget.fits(1, 0));
        assert_eq!(budget.handed_out(), 60);
    }

    #[test]
    fn the_end_of_a_period_is_told_once() {
        let mut budget = Budget::default();
        assert!(!budget.has_ended(END));
        budget.allow(Some(Allowance { left: 1, until: END }), 0);
        assert_eq!((budget.ends_at(), budget.has_ended(Time::ZERO)), (Some(END), false));
        assert!(budget.has_ended(END));
        assert_eq!((budget.ends_at(), budget.has_ended(END)), (None, false), "until the driver has answered");
        budget.allow(Some(Allowance { left: 1, until: END }), 0);
        assert!(budget.has_ended(END));
    }
}
