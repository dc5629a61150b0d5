//! The MPDs that players have loaded: which of their URLs are segments, and whether those are there yet.
//!
//! An MPD names segments before they exist, and several players ask for them too early: ffmpeg and mpv then try number
//! after number, a thousand times a second. A segment that is about to come is waited for, one that is further off is
//! refused here. The clock that says so may be wrong, so now and then one such request is passed on to be told otherwise.
//! It is only read when an MPD comes, and what passes after that is measured: it may be set at any time.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, header};
use url::Url;

use crate::engine::clock::Clock;
use crate::engine::origin::{Caller, Reach, ViewerKey};
use crate::manifest::dash::sidx::Subsegment;
use crate::manifest::dash::{Found, Presentation, Wall};
use crate::manifest::identity::Rules;
use crate::model::timeline::Listing;

/// MPDs that are remembered; a player needs one. What the oldest one names is then passed through.
const REMEMBERED: usize = 64;
/// Segments that all of them spell out, but for the newest.
const SPELLED: usize = 1_000_000;
/// A clock that differs by less is taken for right: the Date of an answer has whole seconds.
const CLOCK_TOLERANCE: i64 = 1_500_000;
/// How long a clock that was seen to be right is believed without asking again.
const BELIEVED: Duration = Duration::from_secs(60);
/// A live Representation is listed again after this time, when a request shows that somebody plays it.
const LISTED_ANEW: Duration = Duration::from_millis(250);
/// An index that could not be read is read again with the first request after this time: until then its file is passed
/// through, and an origin in trouble gets no second request with each.
const READ_AGAIN: Duration = Duration::from_secs(2);

/// All of them.
#[derive(Debug)]
pub struct Presentations {
    kept: Mutex<VecDeque<Arc<Kept>>>,
    /// Our own clock, in microseconds since 1970.
    ours: fn() -> i64,
}

impl Default for Presentations {
    fn default() -> Self {
        Self { kept: Mutex::default(), ours }
    }
}

/// One MPD, as one viewer loaded it.
#[derive(Debug)]
pub struct Kept {
    viewer: ViewerKey,
    /// How far it may lead: what it names is never more private than the host that it came from.
    pub reach: Reach,
    asked: String,
    /// The channel that it belongs to.
    pub channel: Option<String>,
    /// What it says.
    pub presentation: Presentation,
    /// What began when it came, and how old it was then.
    came: (Clock, Duration),
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What the origin's clock said when it came, in microseconds since 1970.
    then: i64,
    /// When the origin last confirmed that a segment which should not be there is not there.
    confirmed: Option<Instant>,
    listed: HashMap<usize, (usize, Instant)>,
    indexes: HashMap<usize, Arc<Vec<Subsegment>>>,
    /// When an index could not be read.
    unread: HashMap<usize, Instant>,
}

impl Presentations {
    /// A player has loaded this MPD, which may lead so far and belongs to this channel, in an answer with these headers.
    pub fn keep(
        &self,
        (viewer, reach): (ViewerKey, Reach),
        (asked, channel): (&Url, Option<String>),
        presentation: Presentation,
        headers: &HeaderMap,
    ) {
        let mut kept = self.lock();
        let before =
            kept.iter().position(|k| (k.viewer, k.reach) == (viewer, reach) && k.asked == asked.as_str());
        let before = before.and_then(|at| kept.remove(at));
        let came = (Clock::start(), age(headers));
        let ours = (self.ours)();
        let mut state = State { then: ours.saturating_add(skew(headers, ours)), ..State::default() };
        if let Some(before) = before.filter(|before| !before.is_doubtful()) {
            (state.then, state.confirmed) = (before.now().0, before.lock().confirmed);
        }
        let (asked, state) = (asked.as_str().to_owned(), Mutex::new(state));
        let spelled =
            |kept: &VecDeque<Arc<Kept>>| kept.iter().map(|k| k.presentation.spelled()).sum::<usize>();
        while kept.len() >= REMEMBERED || spelled(&kept) > SPELLED {
            kept.pop_front();
        }
        kept.push_back(Arc::new(Kept { viewer, reach, asked, channel, presentation, came, state }));
    }

    /// The newest MPD of this viewer that names `url` and leads no further than he may.
    #[must_use]
    pub fn find(&self, caller: &Caller, url: &Url) -> Option<(Arc<Kept>, Found)> {
        let may = |kept: &&Arc<Kept>| kept.viewer == caller.viewer && kept.reach <= caller.reach;
        let of_viewer: Vec<Arc<Kept>> = self.lock().iter().rev().filter(may).cloned().collect();
        of_viewer.into_iter().find_map(|kept| {
            let found = kept.presentation.find(url, kept.now(), kept.age())?;
            Some((kept, found))
        })
    }

    /// How far behind the edge a player should be told to stay, where the MPD does not say: three segments, and a segment from where
    /// they are deleted. Nothing, where that is not even one.
    #[must_use]
    pub fn delay(&self, viewer: ViewerKey, asked: &Url) -> Option<Duration> {
        let kept = self.lock();
        let of = &kept.iter().rev().find(|k| k.viewer == viewer && k.asked == asked.as_str())?.presentation;
        let most = of.window().map_or(Duration::MAX, |window| window.saturating_sub(of.target));
        of.wants_delay.then(|| most.min(of.target * 3)).filter(|delay| *delay >= of.target)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Kept>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// What the engine is to be told of a Representation now; `None` when it knows.
    pub fn due(&self, found: &Found, rules: &Rules) -> Option<Listing> {
        let now = self.now();
        let (of, base) = (found.representation, found.base);
        let index = {
            let mut state = self.lock();
            let anew = |at: Instant| self.presentation.dynamic && at.elapsed() >= LISTED_ANEW;
            if state.listed.get(&of).is_some_and(|&(by, at)| by == base && !anew(at)) {
                return None;
            }
            state.listed.insert(of, (base, Instant::now()));
            state.indexes.get(&of).cloned()
        };
        match index {
            Some(index) => self.presentation.indexed(of, base, &index, rules),
            None => self.presentation.listing(of, base, now, rules),
        }
    }

    /// Whether the index of a Representation that is one file has been read.
    #[must_use]
    pub fn is_indexed(&self, of: usize) -> bool {
        self.lock().indexes.contains_key(&of)
    }

    /// Whether its index is to be read now.
    #[must_use]
    pub fn wants_index(&self, of: usize) -> bool {
        let state = self.lock();
        let lately = |at: &Instant| at.elapsed() < READ_AGAIN;
        !state.indexes.contains_key(&of) && !state.unread.get(&of).is_some_and(lately)
    }

    /// Its index has been read; without subsegments nothing of the file is shared. `None`: it could not be read for now.
    pub fn index(&self, of: usize, subsegments: Option<Vec<Subsegment>>) {
        let mut state = self.lock();
        match subsegments {
            Some(subsegments) => drop(state.indexes.insert(of, Arc::new(subsegments))),
            None => drop(state.unread.insert(of, Instant::now())),
        }
    }

    /// Whether a request for what should not be there is to be passed on, to see.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        self.lock().confirmed.is_none_or(|at| at.elapsed() >= BELIEVED)
    }

    /// It was not there.
    pub fn confirm(&self) {
        self.lock().confirmed = Some(Instant::now());
    }

    /// It was there, though it should have come only `early` later: the origin's clock is that much ahead.
    pub fn correct(&self, early: Duration) {
        let mut state = self.lock();
        state.then = state.then.saturating_add(micros(early));
        state.listed.clear();
    }

    /// How long ago it was written, at least.
    fn age(&self) -> Duration {
        let (since, before) = self.came;
        since.elapsed().saturating_add(before)
    }

    /// The origin's time.
    fn now(&self) -> Wall {
        Wall(self.lock().then.saturating_add(micros(self.came.0.elapsed())))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Our own clock, in microseconds since 1970.
fn ours() -> i64 {
    micros(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn micros(of: Duration) -> i64 {
    i64::try_from(of.as_micros()).unwrap_or(i64::MAX)
}

/// How long this has been in caches.
fn age(headers: &HeaderMap) -> Duration {
    let age = headers.get(header::AGE).and_then(|age| age.to_str().ok()?.trim().parse().ok());
    Duration::from_secs(age.unwrap_or(0u32).into())
}

/// How far the clock that wrote Date and Age (RFC 9110 §6.6.1, RFC 9111 §5.1) is ahead of `ours`, in microseconds.
fn skew(headers: &HeaderMap, ours: i64) -> i64 {
    let date = headers.get(header::DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    let Some(date) = date else { return 0 };
    let date = date.duration_since(UNIX_EPOCH).unwrap_or_default() + age(headers);
    // Half a second more: the second that Date names has been under way.
    let skew = micros(date).saturating_add(500_000).saturating_sub(ours);
    if skew.abs() < CLOCK_TOLERANCE { 0 } else { skew }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Limits;
    use crate::manifest::dash::{When, parse};
    use std::cell::Cell;

    fn caller(viewer: u64) -> Caller {
        Caller {
            viewer: ViewerKey(viewer),
            headers: HeaderMap::new(),
            own_browser: true,
            downgrades: true,
            reach: Reach::Public,
        }
    }

    #[test]
    fn a_player_is_told_to_stay_where_segments_still_are() {
        let presentations = Presentations::default();
        let url = Url::parse("http://o.example/s.mpd").unwrap();
        for (said, segment, delay) in [
            ("", 4, Some(12)),
            ("timeShiftBufferDepth=\"PT60S\"", 4, Some(12)),
            ("timeShiftBufferDepth=\"PT16S\"", 4, Some(12)),
            ("timeShiftBufferDepth=\"PT12S\"", 4, Some(8)),
            ("timeShiftBufferDepth=\"PT6S\"", 4, None),
            ("suggestedPresentationDelay=\"PT2S\"", 4, None),
        ] {
            let text = format!(
                "<MPD type=\"dynamic\" availabilityStartTime=\"1970-01-01T00:00:00Z\" {said}><Period><AdaptationSet>\
                 <SegmentTemplate media=\"$Number$\" duration=\"{segment}\"/><Representation id=\"1\"/>\
                 </AdaptationSet></Period></MPD>"
            );
            let read = parse(&url, text.as_bytes(), &Limits::default(), &Rules::default()).unwrap();
            let viewer = ViewerKey(1);
            presentations.keep((viewer, Reach::Public), (&url, None), read, &HeaderMap::new());
            assert_eq!(presentations.delay(viewer, &url), delay.map(Duration::from_secs), "{said}");
        }
    }

    thread_local! {
        /// What the clock of this machine says, in seconds since 1970.
        static OURS: Cell<i64> = const { Cell::new(0) };
    }

    #[test]
    fn a_clock_that_is_set_moves_no_segment() {
        let url = Url::parse("http://o.example/s.mpd").unwrap();
        let text = "<MPD type=\"dynamic\" availabilityStartTime=\"1970-01-01T00:00:00Z\"><Period><AdaptationSet>\
            <SegmentTemplate media=\"$Number$\" duration=\"4\"/><Representation id=\"1\"/></AdaptationSet></Period></MPD>";
        let read = parse(&url, text.as_bytes(), &Limits::default(), &Rules::default()).unwrap();
        for (date, set, reloads) in [
            // What the origin's clock says it says all along.
            (Some(4000), -10, false),
            (Some(4000), -10, true),
            (None, -10, true),
            (Some(4000), 3600, false),
            (Some(4000), 3600, true),
            (None, 3600, true),
        ] {
            let presentations = Presentations { ours: || OURS.get() * 1_000_000, ..Presentations::default() };
            let mut headers = HeaderMap::new();
            if let Some(date) = date {
                let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(date));
                headers.insert(header::DATE, date.parse().unwrap());
            }
            let load = || {
                let from = (ViewerKey(1), Reach::Public);
                presentations.keep(from, (&url, None), read.clone(), &headers);
            };
            let when = |number: u64| {
                let segment = url.join(&number.to_string()).unwrap();
                let (kept, found) = presentations.find(&caller(1), &segment).unwrap();
                (kept, found.when)
            };
            OURS.set(4001);
            load();
            when(1000).0.confirm();
            OURS.set(4001 + set);
            for _ in 0..if reloads { 2 } else { 0 } {
                load();
            }
            assert_eq!(when(1000).1, When::Now, "{date:?} {set} {reloads}");
            assert_eq!(when(1100).1, When::Later, "{date:?} {set} {reloads}");
            when(1000).0.correct(Duration::from_secs(400));
            load();
            assert_eq!(when(1100).1, When::Now, "what was found out is carried over");
        }
    }

    #[test]
    fn of_presentations_that_spell_out_very_many_segments_few_are_kept() {
        let presentations = Presentations::default();
        let url = Url::parse("http://o.example/s.mpd").unwrap();
        let representations: String = (0..8).map(|n| format!("<Representation id=\"{n}\"/>")).collect();
        let text = format!(
            "<MPD><Period><AdaptationSet><SegmentTemplate media=\"$RepresentationID$/$Time$\"><SegmentTimeline>\
             <S d=\"2\" r=\"79999\"/></SegmentTimeline></SegmentTemplate>{representations}</AdaptationSet></Period></MPD>"
        );
        let read = parse(&url, text.as_bytes(), &Limits::default(), &Rules::default()).unwrap();
        assert_eq!(read.spelled(), 640_000);
        let segment = url.join("7/2").unwrap();
        for viewer in 0..4 {
            let viewer = (ViewerKey(viewer), Reach::Public);
            presentations.keep(viewer, (&url, None), read.clone(), &HeaderMap::new());
        }
        let known = |viewer| presentations.find(&caller(viewer), &segment).is_some();
        assert_eq!([0, 1, 2, 3].map(known), [false, false, true, true], "the newest, and one before it");
    }
}
