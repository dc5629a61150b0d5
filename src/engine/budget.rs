//! The calendar of the upload budget: what of a day and of a month (UTC) is used, and what may still be uploaded until when.
//!
//! A clock that goes back makes nothing unused: the period goes on until the clock is past it. Many boxes have no clock of
//! their own and start in 1970, or when their system was built, until the network tells them the time; were each such day a
//! new one, every power cycle would bring a fresh budget. Only a day that can't be true is dropped.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::iter_over_hash_type)]

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::{Date, Month};

use crate::delivery::policy::CLOCK_BEHIND;
use crate::model::units::Size;

const DAY: i64 = 86_400;
/// The Julian day on which Unix time begins.
const EPOCH: i64 = 2_440_588;
/// The first of January 2026: a clock that shows an earlier day is wrong, there was no paceline then.
const BORN: i64 = 20_454;
/// A day noted so far ahead of a clock that may be right was noted by a wrong one. Systems start with the day they were
/// built, when they know no better, and are used for years.
const AHEAD: i64 = 3 * 366;

/// What was uploaded in the period that a day lies in; kept over a restart where the configuration says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Used {
    /// Days since 1970-01-01.
    pub day: i64,
    /// Payload bytes on that day.
    pub in_day: u64,
    /// Payload bytes in its month.
    pub in_month: u64,
}

/// What may be uploaded in a day and in a month, in payload bytes; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// In a day.
    pub daily: u64,
    /// In a month.
    pub monthly: u64,
}

/// The account of both periods.
#[derive(Clone, Debug, Default)]
pub struct Account {
    used: Used,
    /// All that was ever handed out, as last seen.
    seen: u64,
}

impl Account {
    /// Goes on from what was used before, at this moment in Unix time.
    #[must_use]
    pub fn new(used: Used, unix: i64) -> Self {
        let mut account = Self { used, seen: 0 };
        account.note(0, unix);
        account
    }

    /// Takes in how much was handed out since the start; true when another day has begun.
    pub fn note(&mut self, handed_out: u64, unix: i64) -> bool {
        let fresh = handed_out.saturating_sub(self.seen);
        self.seen = self.seen.max(handed_out);
        self.used.in_day = self.used.in_day.saturating_add(fresh);
        self.used.in_month = self.used.in_month.saturating_add(fresh);
        let day = unix.div_euclid(DAY);
        if day == self.used.day || self.goes_on(day) {
            return false;
        }
        let in_month = if month(day) == month(self.used.day) { self.used.in_month } else { 0 };
        self.used = Used { day, in_day: 0, in_month };
        true
    }

    /// Whether what is noted is still the period although the clock shows this earlier day.
    fn goes_on(&self, day: i64) -> bool {
        let noted = self.used.day;
        day < noted && month(noted).is_some() && (day < BORN || noted - day <= AHEAD)
    }

    /// What was used.
    #[must_use]
    pub fn used(&self) -> Used {
        self.used
    }

    /// What may still be uploaded and for how long that holds; `None`: as much as one likes.
    #[must_use]
    pub fn allowance(&self, limits: Limits, unix: i64) -> Option<(u64, Duration)> {
        let (day, month) = self.left(limits);
        let left = day.into_iter().chain(month).min()?;
        let ends = if day.is_some() { self.tomorrow() } else { self.next_month() };
        // A clock that was just set back a little must not make this a busy loop.
        let lasts = Duration::from_secs(u64::try_from(ends - unix).unwrap_or(0).max(1));
        let behind = unix < self.used.day.saturating_mul(DAY);
        Some((left, if behind { lasts.min(CLOCK_BEHIND) } else { lasts }))
    }

    fn left(&self, limits: Limits) -> (Option<u64>, Option<u64>) {
        let left = |limit: u64, used: u64| (limit > 0).then(|| limit.saturating_sub(used));
        (left(limits.daily, self.used.in_day), left(limits.monthly, self.used.in_month))
    }

    /// Why nothing is uploaded once the budget is spent.
    #[must_use]
    pub fn reason(&self, limits: Limits) -> String {
        let (day, month) = self.left(limits);
        let (period, limit, ends) = match (day, month) {
            (Some(day), Some(month)) if day < month => ("daily", limits.daily, self.tomorrow()),
            (_, Some(_)) => ("monthly", limits.monthly, self.next_month()),
            _ => ("daily", limits.daily, self.tomorrow()),
        };
        format!(
            "the {period} upload budget of {} is spent until {}",
            Size(limit),
            at(ends).unwrap_or_default()
        )
    }

    /// As the statistics have it.
    #[must_use]
    pub fn document(&self, limits: Limits) -> Value {
        let (day, month) = self.left(limits);
        let period = |limit: u64, used: u64, left: Option<u64>, ends: i64| {
            let limit = (limit > 0).then_some(limit);
            json!({ "limit_bytes": limit, "used_bytes": used, "left_bytes": left, "ends": at(ends) })
        };
        json!({
            "daily": period(limits.daily, self.used.in_day, day, self.tomorrow()),
            "monthly": period(limits.monthly, self.used.in_month, month, self.next_month()),
        })
    }

    fn tomorrow(&self) -> i64 {
        (self.used.day + 1) * DAY
    }

    fn next_month(&self) -> i64 {
        let next = month(self.used.day).and_then(|(year, month)| {
            let year = if month == Month::December { year + 1 } else { year };
            Date::from_calendar_date(year, month.next(), 1).ok()
        });
        next.map_or_else(|| self.tomorrow(), |date| (i64::from(date.to_julian_day()) - EPOCH) * DAY)
    }
}

fn date(day: i64) -> Option<Date> {
    Date::from_julian_day(i32::try_from(day.checked_add(EPOCH)?).ok()?).ok()
}

fn month(day: i64) -> Option<(i32, Month)> {
    date(day).map(|date| (date.year(), date.month()))
}

/// The midnight that a period ends with (RFC 3339).
fn at(unix: i64) -> Option<String> {
    date(unix.div_euclid(DAY)).map(|date| format!("{date}T00:00:00Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2028-02-28 12:00 UTC, a leap year.
    const NOON: i64 = 1_835_352_000;

    #[test]
    fn a_day_and_a_month_are_counted_and_end() {
        let limits = Limits { daily: 100, monthly: 250 };
        let mut account = Account::new(Used::default(), NOON);
        assert_eq!(account.allowance(limits, NOON), Some((100, Duration::from_secs(43_200))));
        assert!(!account.note(100, NOON + 60));
        assert_eq!(account.allowance(limits, NOON + 60).map(|(left, _)| left), Some(0));
        assert!(account.reason(limits).starts_with("the daily upload budget of 0.0 MB is spent until"));
        assert!(account.note(120, NOON + DAY), "the 29th; what came in between belongs to the 28th");
        assert_eq!(account.used(), Used { day: NOON / DAY + 1, in_day: 0, in_month: 120 });
        account.note(251, NOON + DAY);
        assert_eq!(account.allowance(limits, NOON + DAY).map(|(left, _)| left), Some(0));
        assert_eq!(
            account.reason(limits),
            "the monthly upload budget of 0.0 MB is spent until 2028-03-01T00:00:00Z"
        );
        assert!(account.note(251, NOON + 2 * DAY), "the first of March");
        assert_eq!(account.allowance(limits, NOON + 2 * DAY).map(|(left, _)| left), Some(100));
        assert_eq!(account.used(), Used { day: NOON / DAY + 2, in_day: 0, in_month: 0 });
    }

    #[test]
    fn without_limits_it_only_counts() {
        let mut account = Account::new(Used::default(), NOON);
        account.note(7, NOON);
        assert_eq!(account.allowance(Limits::default(), NOON), None);
        assert_eq!(account.document(Limits::default())["daily"]["used_bytes"], 7);
        assert_eq!(account.document(Limits::default())["monthly"]["ends"], "2028-03-01T00:00:00Z");
        let (left, lasts) = account.allowance(Limits { daily: 0, monthly: 10 }, NOON).unwrap();
        assert_eq!((left, lasts), (3, Duration::from_secs(43_200 + 86_400)), "to the end of the 29th");
    }

    #[test]
    fn what_was_used_before_a_restart_counts_on_the_same_day_alone() {
        let used = Used { day: NOON / DAY, in_day: 40, in_month: 90 };
        assert_eq!(Account::new(used, NOON).used(), used);
        assert_eq!(Account::new(used, NOON + DAY).used().in_month, 90);
        assert_eq!(Account::new(used, NOON + 40 * DAY).used().in_month, 0);
        let ahead = Used { day: NOON / DAY + 5 * 366, ..used };
        let anew = Used { day: NOON / DAY, in_day: 0, in_month: 0 };
        assert_eq!(Account::new(ahead, NOON).used(), anew, "noted by a clock that was years ahead");
        let absurd = Account::new(Used { day: i64::MAX, in_day: 1, in_month: 1 }, NOON);
        assert_eq!((absurd.used().in_day, absurd.used().in_month), (0, 0));
    }

    /// 1970 after each start, the right time some seconds later; or what the system was built on.
    #[test]
    fn a_clock_that_begins_in_the_past_brings_no_fresh_budget() {
        let limits = Limits { daily: 50, monthly: 100 };
        for start in [7, NOON - DAY, NOON - 40 * DAY, NOON - 900 * DAY] {
            let mut used = Used { day: NOON / DAY, in_day: 40, in_month: 90 };
            for cycle in 1..=3 {
                let mut account = Account::new(used, start);
                assert_eq!(account.used(), used, "{start}");
                assert!(!account.note(1, start + 5), "{start}");
                assert!(account.allowance(limits, start + 5).unwrap().1 <= Duration::from_secs(3600));
                assert!(!account.note(2, NOON + 60), "the network has told the time");
                used = account.used();
                assert_eq!((used.in_day, used.in_month), (40 + 2 * cycle, 90 + 2 * cycle), "{start}");
            }
            let mut account = Account::new(used, start);
            assert!(account.note(0, NOON + 2 * DAY), "the next month begins as ever");
            assert_eq!(account.used(), Used { day: NOON / DAY + 2, in_day: 0, in_month: 0 });
        }
    }

    #[test]
    fn years_end() {
        let account = Account::new(Used::default(), 1_735_646_400); // 2024-12-31 12:00
        assert_eq!(account.document(Limits::default())["monthly"]["ends"], "2025-01-01T00:00:00Z");
    }
}
