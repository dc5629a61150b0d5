//! The four ways in which an MPD says where segments are, as three: by number, spelled out one by one, and as parts of
//! one file with an index.
//!
//! Times are microseconds from the start of the Period. `until` is the time up to which media exists; `None` for all. `age`
//! is how long ago the MPD was written.

use std::ops::Range;
use std::time::Duration;

use url::Url;

use super::When;
use super::pattern::{Pattern, Values};
use super::sidx::Subsegment;
use crate::manifest::identity::Rules;
use crate::model::address::Address;
use crate::model::ids::{SegmentId, SwarmId};
use crate::model::timeline::{Place, Segment};

/// Segments of a live presentation without a time-shift buffer, or with a very long one, that are listed.
const MOST_LIVE: u64 = 450;

/// Segments with where each is, in order.
pub(super) type Entries = Vec<(Segment, Place)>;

/// How the segments of a Representation are named.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// By number, all of one duration (SegmentTemplate@duration).
    Numbered(Numbered),
    /// One by one (SegmentTimeline, SegmentList).
    Spelled(Spelled),
    /// Bytes of one file that its index tells of (SegmentBase).
    Indexed {
        /// The file, by each base URL.
        files: Vec<Url>,
        /// The bytes of the file in front of the media: up to the end of the index.
        head: Range<u64>,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Numbered {
    /// One for each base URL.
    pub patterns: Vec<Pattern>,
    pub first: u64,
    /// The last number; `None` while it is not known.
    pub last: Option<u64>,
    /// Duration of a segment in microseconds; not whole for many time scales.
    pub each: f64,
    /// How long before its end a segment is there (availabilityTimeOffset), in microseconds.
    pub early: f64,
    /// Where `$Time$` names them: its step, and its value for the first.
    pub times: Option<(u64, u64)>,
}

#[derive(Clone, Debug)]
pub(super) struct Spelled {
    /// In order of time.
    pub items: Vec<Item>,
    pub names: Names,
    /// Where the Period ends, as far as that is known.
    pub ends: Option<i64>,
}

#[derive(Clone, Debug)]
pub(super) enum Names {
    /// One pattern for each base URL.
    Patterns(Vec<Pattern>),
    /// For each base URL, one place for each item.
    Places(Vec<Vec<Place>>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub number: u64,
    /// As `$Time$` has it.
    pub time: u64,
    /// Its duration, in units of `time`.
    pub units: u64,
    /// In the Period.
    pub start: i64,
    pub duration: i64,
}

impl Shape {
    /// By which base URL `url` is one of its segments, and whether that is there.
    pub fn find(&self, url: &str, until: Option<i64>, age: Duration) -> Option<(usize, When)> {
        match self {
            Self::Numbered(numbered) => numbered.find(url, until),
            Self::Spelled(spelled) => spelled.find(url, until, age),
            Self::Indexed { files, head } => {
                let base = files.iter().position(|file| file.as_str() == url)?;
                Some((base, When::Unindexed(head.clone())))
            }
        }
    }

    /// How many segments are held here one by one, for each base URL where each has its own.
    pub fn spelled(&self) -> usize {
        match self {
            Self::Numbered(_) | Self::Indexed { .. } => 0,
            Self::Spelled(Spelled { items, names: Names::Patterns(_), .. }) => items.len(),
            Self::Spelled(Spelled { items, names: Names::Places(bases), .. }) => {
                items.len() * (1 + bases.len())
            }
        }
    }

    /// What there is; `None` for a file whose index is not known.
    pub fn entries(
        &self,
        swarm: SwarmId,
        base: usize,
        until: Option<i64>,
        depth: Option<Duration>,
        rules: &Rules,
    ) -> Option<Entries> {
        match self {
            Self::Numbered(numbered) => Some(numbered.entries(swarm, base, until, depth, rules)),
            Self::Spelled(spelled) => Some(spelled.entries(swarm, base, until, rules)),
            Self::Indexed { .. } => None,
        }
    }

    /// The segments of a file with an index.
    pub fn subsegments(
        &self,
        swarm: SwarmId,
        base: usize,
        found: &[Subsegment],
        rules: &Rules,
    ) -> Option<Entries> {
        let Self::Indexed { files, .. } = self else { return None };
        let (name, url) = (Address::from(files.first()?), Address::from(files.get(base)?));
        let entry = |(sequence, of): (usize, &Subsegment)| {
            let (sequence, range) = (sequence as u64, Some(of.range.clone()));
            let id = SegmentId::of(swarm, sequence, &rules.segment_identity(&name, range.as_ref()));
            (Segment { id, sequence, duration: of.duration }, Place { url: url.clone(), range })
        };
        Some(found.iter().enumerate().map(entry).collect())
    }
}

impl Numbered {
    /// The value of `$Time$` of segment `number`; any, where no name has it.
    fn time(&self, number: u64) -> Option<u64> {
        let Some((step, first)) = self.times else { return Some(0) };
        (number - self.first).checked_mul(step)?.checked_add(first)
    }

    /// The segment that these values are of.
    fn number(&self, values: Values) -> Option<u64> {
        let Some((step, first)) = self.times else { return values.number };
        let since = values.time?.checked_sub(first).filter(|since| since.is_multiple_of(step))?;
        let number = self.first.checked_add(since / step)?;
        values.number.is_none_or(|said| said == number).then_some(number)
    }

    /// When segment `number` is there, in the Period.
    fn there(&self, number: u64) -> f64 {
        (number - self.first + 1) as f64 * self.each - self.early
    }

    fn find(&self, url: &str, until: Option<i64>) -> Option<(usize, When)> {
        let (base, values) = matching(&self.patterns, url)?;
        let number = self.number(values)?;
        if number < self.first || self.last.is_some_and(|last| number > last) {
            return None;
        }
        let Some(until) = until else { return Some((base, When::Now)) };
        Some((base, when(self.there(number) - until as f64, self.each)))
    }

    fn entries(
        &self,
        swarm: SwarmId,
        base: usize,
        until: Option<i64>,
        depth: Option<Duration>,
        rules: &Rules,
    ) -> Entries {
        let (Some(name), Some(pattern)) = (self.patterns.first(), self.patterns.get(base)) else {
            return Vec::new();
        };
        let mut last = self.last.unwrap_or(u64::MAX);
        let mut first = self.first;
        if let Some(until) = until {
            let whole = ((until as f64 + self.early) / self.each).floor();
            if whole < 1.0 {
                return Vec::new();
            }
            last = last.min(self.first.saturating_add(whole as u64 - 1));
            let kept =
                depth.map_or(MOST_LIVE, |depth| (depth.as_micros() as f64 / self.each).ceil() as u64 + 1);
            first = first.max(last.saturating_sub(kept.min(MOST_LIVE)));
        }
        let duration = Duration::from_micros(self.each as u64);
        (first..=last)
            .filter_map(|number| {
                let time = self.time(number)?;
                let url = pattern.address(number, time);
                let id = id(swarm, number, (base > 0).then(|| name.address(number, time)), &url, rules);
                Some((Segment { id, sequence: number, duration }, Place { url, range: None }))
            })
            .collect()
    }
}

impl Spelled {
    fn find(&self, url: &str, until: Option<i64>, age: Duration) -> Option<(usize, When)> {
        let patterns = match &self.names {
            Names::Patterns(patterns) => patterns,
            Names::Places(bases) => {
                let here = |places: &Vec<Place>| places.iter().any(|place| place.url.as_str() == url);
                return Some((bases.iter().position(here)?, When::Now));
            }
        };
        let (base, values) = matching(patterns, url)?;
        let last = self.items.last()?;
        let known = match values {
            Values { time: Some(time), .. } => {
                self.items.binary_search_by_key(&time, |item| item.time).is_ok()
            }
            Values { number: Some(number), .. } => (self.items[0].number..=last.number).contains(&number),
            Values { .. } => false,
        };
        if known {
            return Some((base, When::Now));
        }
        // How many would come between the last one and this: asked for by players that don't wait for the MPD to name it, or
        // to whom something else does.
        let between = match values {
            Values { time: Some(time), .. } => {
                time.checked_sub(last.time.checked_add(last.units)?)? as f64 / last.units as f64
            }
            Values { number, .. } => number?.checked_sub(last.number.checked_add(1)?)? as f64,
        };
        Some((base, self.to_come(last, between, until?, age)))
    }

    /// When the segment is there that comes after `last` and as many as long as that. Of what a Period ends before nothing
    /// is known, and a clock that is ahead of the encoder does not make segments: after the first one that the MPD doesn't
    /// name one more comes per duration, at most.
    fn to_come(&self, last: &Item, between: f64, until: i64, age: Duration) -> When {
        let each = last.duration as f64;
        let start = last.start.saturating_add(last.duration) as f64 + between * each;
        if between > 0.0 && self.ends.is_some_and(|ends| start >= ends as f64) {
            return When::Later;
        }
        let (by_clock, by_age) =
            (start + each - until as f64, (between - 1.0) * each - age.as_micros() as f64);
        when(by_clock.max(by_age), each).or_next()
    }

    fn entries(&self, swarm: SwarmId, base: usize, until: Option<i64>, rules: &Rules) -> Entries {
        // A list names no file that is not there, and when its first one begins depends on where its first files have gone.
        let listed = matches!(self.names, Names::Places(_));
        let until = until.filter(|_| !listed).unwrap_or(i64::MAX);
        let by_time = match &self.names {
            Names::Patterns(patterns) => patterns.first().is_some_and(Pattern::has_time),
            Names::Places(_) => false,
        };
        let unit = self.unit();
        let mut next = 0;
        let mut entries = Vec::with_capacity(self.items.len());
        for (index, item) in self.items.iter().enumerate() {
            // Half a segment of grace: what an MPD lists is there, whatever the clocks say.
            if item.start > until.saturating_add(item.duration / 2) {
                break;
            }
            let sequence = if by_time { (item.time / unit).max(next) } else { item.number };
            next = sequence.saturating_add(1);
            let duration = Duration::from_micros(item.duration.unsigned_abs());
            let entry = match &self.names {
                Names::Patterns(patterns) => {
                    patterns.get(base).zip(patterns.first()).map(|(pattern, name)| {
                        let url = pattern.address(item.number, item.time);
                        let key = if by_time { item.time } else { item.number };
                        let name = (base > 0).then(|| name.address(item.number, item.time));
                        let id = id(swarm, key, name, &url, rules);
                        (Segment { id, sequence, duration }, Place { url, range: None })
                    })
                }
                Names::Places(bases) => bases.get(base).zip(bases.first()).and_then(|(places, names)| {
                    let (place, name) = (places.get(index)?, names.get(index)?);
                    let name = rules.segment_identity(&name.url, name.range.as_ref());
                    let id = SegmentId::of(swarm, item.number, &name);
                    Some((Segment { id, sequence, duration }, place.clone()))
                }),
            };
            entries.extend(entry);
        }
        entries
    }

    /// What times are divided by to number segments alike on every viewer, whichever part of the timeline it sees: the
    /// shortest duration but the last one's, coarsely, so that one odd segment seldom changes it.
    fn unit(&self) -> u64 {
        let all = &self.items[..self.items.len().saturating_sub(1).max(1).min(self.items.len())];
        let shortest = all.iter().map(|item| item.units).min().unwrap_or(1).max(1);
        let coarse = shortest.ilog2().saturating_sub(3);
        (shortest >> coarse) << coarse
    }
}

impl When {
    /// A segment that should be there but is not listed yet is about to come: only the origin knows.
    fn or_next(self) -> Self {
        if self == Self::Now { Self::In(Duration::ZERO) } else { self }
    }
}

/// Whether what is there in `wait` microseconds is there, the next to come, or one after it.
fn when(wait: f64, each: f64) -> When {
    match wait {
        wait if wait <= 0.0 => When::Now,
        wait if wait <= each => When::In(Duration::from_micros(wait as u64)),
        _ => When::Later,
    }
}

fn matching(patterns: &[Pattern], url: &str) -> Option<(usize, Values)> {
    patterns.iter().enumerate().find_map(|(base, pattern)| Some((base, pattern.matches(url)?)))
}

/// The id of the segment at `url`, whose URL by the first base is `name`, where that is another.
fn id(swarm: SwarmId, key: u64, name: Option<Address>, url: &Address, rules: &Rules) -> SegmentId {
    SegmentId::of(swarm, key, &rules.segment_identity(name.as_ref().unwrap_or(url), None))
}
