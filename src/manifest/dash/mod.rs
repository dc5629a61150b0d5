//! What a DASH MPD says (ISO/IEC 23009-1): which Representations there are, and which segments each has by now.
//!
//! An MPD names segments by rule, those to come included, so nothing is listed when it is read. A player's request
//! finds its Representation ([`Presentation::find`]), and that one is listed as it is at that moment. A Representation
//! that is not understood (xlink, `$SubNumber$`, progressive files) is none to us: the player fetches it as if we were
//! not there.

use std::ops::Range;
use std::time::Duration;

use url::Url;

use super::identity::Rules;
use super::remarks::Encryption;
use super::{Error, Limits};
use crate::model::ids::SwarmId;
use crate::model::timeline::{Choice, Kind, Listing, Segment, Timeline};

mod choice;
mod durations;
mod latency;
mod numbers;
mod pattern;
mod protection;
mod read;
pub mod rewrite;
mod runs;
mod shape;
pub mod sidx;
#[cfg(test)]
mod tests;
mod xml;

use shape::Shape;
use sidx::Subsegment;

/// A moment by the origin's clock: microseconds since 1970-01-01T00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wall(pub i64);

/// An MPD.
#[derive(Clone, Debug)]
pub struct Presentation {
    /// Where it was found, after redirects.
    pub url: Url,
    /// Whether segments may still appear (`type="dynamic"`).
    pub dynamic: bool,
    /// The longest segment; never zero, at most an hour.
    pub target: Duration,
    /// MPD@suggestedPresentationDelay is missing where it would help: nothing is said of a latency.
    pub wants_delay: bool,
    /// MPD@minimumUpdatePeriod: how often a player loads it anew.
    pub update: Option<Duration>,
    /// How many Representations are too many to be known.
    pub left_out: usize,
    /// In the order of the MPD; only those that can be listed.
    representations: Vec<Representation>,
    /// MPD@availabilityStartTime.
    start: Wall,
    /// MPD@timeShiftBufferDepth.
    depth: Option<Duration>,
}

/// One Representation in one Period.
#[derive(Clone, Debug)]
pub struct Representation {
    /// Representation@id, after the Period's where there are several.
    pub name: String,
    /// Its swarm.
    pub swarm: SwarmId,
    /// Representation@bandwidth, bits per second.
    pub bandwidth: u64,
    /// What can be played in its place.
    pub choice: Choice,
    /// How its segments are encrypted; empty: they are not.
    pub encryption: Vec<Encryption>,
    /// When its Period begins, in microseconds from the start of the presentation.
    pub period: i64,
    /// Its longest segment.
    target: Duration,
    shape: Shape,
}

/// What a URL is a part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which Representation.
    pub representation: usize,
    /// By which of its base URLs.
    pub base: usize,
    /// Whether the segment is there.
    pub when: When,
}

/// Whether a segment is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// As far as the MPD tells.
    Now,
    /// It will be, this much later by the origin's clock: that is the next segment to come. Or it should be, and isn't named.
    In(Duration),
    /// It is further off than the next.
    Later,
    /// It is part of a file whose index, these bytes, has to be read first.
    Unindexed(Range<u64>),
}

/// Reads the MPD `text`, found at `base` (after redirects).
///
/// # Errors
/// See [`Error`]; whatever it is, the MPD may still be sent to the player.
pub fn parse(base: &Url, text: &[u8], limits: &Limits, rules: &Rules) -> Result<Presentation, Error> {
    read::presentation(base, text, limits, rules)
}

impl Presentation {
    /// The Representations that can be listed.
    #[must_use]
    pub fn representations(&self) -> &[Representation] {
        &self.representations
    }

    /// The Representation that `url` is of, by the origin's clock `now`, in an MPD that was written `age` ago.
    #[must_use]
    pub fn find(&self, url: &Url, now: Wall, age: Duration) -> Option<Found> {
        let text = url.as_str().split('#').next()?;
        let mut best: Option<Found> = None;
        for (index, representation) in self.representations.iter().enumerate() {
            let until = self.media_time(representation, now);
            let Some((base, when)) = representation.shape.find(text, until, age) else { continue };
            let found = Found { representation: index, base, when };
            if matches!(found.when, When::Now | When::Unindexed(_)) {
                return Some(found);
            }
            // Periods often have one pattern: what is to come by an earlier one may be there by a later one.
            let sooner = matches!((&found.when, &best), (When::In(_), Some(Found { when: When::Later, .. })));
            if sooner || best.is_none() {
                best = Some(found);
            }
        }
        best
    }

    /// What Representation `index` has by now, under its base URL `base`. Whole files are listed by
    /// [`indexed`](Self::indexed).
    #[must_use]
    pub fn listing(&self, index: usize, base: usize, now: Wall, rules: &Rules) -> Option<Listing> {
        let of = self.representations.get(index)?;
        of.shape
            .entries(of.swarm, base, self.media_time(of, now), self.window(), rules)
            .map(|entries| self.list(of, entries))
    }

    /// The same for a Representation that is one file with an index.
    #[must_use]
    pub fn indexed(&self, index: usize, base: usize, found: &[Subsegment], rules: &Rules) -> Option<Listing> {
        let of = self.representations.get(index)?;
        of.shape.subsegments(of.swarm, base, found, rules).map(|entries| self.list(of, entries))
    }

    /// The file of a Representation that is one, under its base URL `base`, and the bytes up to the end of its index.
    #[must_use]
    pub fn file(&self, index: usize, base: usize) -> Option<(&Url, Range<u64>)> {
        match &self.representations.get(index)?.shape {
            Shape::Indexed { files, head } => Some((files.get(base)?, head.clone())),
            Shape::Numbered(_) | Shape::Spelled(_) => None,
        }
    }

    /// How many segments it spells out one by one: the memory that it takes, 40 bytes each and more.
    #[must_use]
    pub fn spelled(&self) -> usize {
        self.representations.iter().map(|of| of.shape.spelled()).sum()
    }

    /// How far back segments are kept, where they come and go and the MPD says.
    #[must_use]
    pub fn window(&self) -> Option<Duration> {
        self.depth.filter(|_| self.dynamic)
    }

    /// Up to when, in the time of a Representation's Period, there is media; `None`: all of it.
    fn media_time(&self, of: &Representation, now: Wall) -> Option<i64> {
        self.dynamic.then(|| now.0.saturating_sub(self.start.0).saturating_sub(of.period))
    }

    fn list(&self, of: &Representation, entries: shape::Entries) -> Listing {
        let (segments, places) = entries.into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
        let longest = segments.iter().map(|s: &Segment| s.duration).max();
        let timeline = Timeline {
            swarm: of.swarm,
            kind: if self.dynamic { Kind::Live } else { Kind::Vod },
            target: longest.unwrap_or(of.target).max(Duration::from_millis(1)),
            choice: of.choice,
            segments: segments.into(),
        };
        Listing { manifest: self.url.clone(), rendition: of.name.clone(), timeline, places }
    }
}
