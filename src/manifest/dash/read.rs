//! From the parsed XML to what a player would make of it: inheritance, base URLs, periods, timelines.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use dash_mpd_core as mpd;
use url::Url;

use super::choice;
use super::durations;
use super::latency;
use super::numbers::Numbers;
use super::pattern::Pattern;
use super::protection::encryption;
use super::runs::{self, File, Runs};
use super::shape::{Item, Names, Numbered, Shape, Spelled};
use super::xml::{self, Met};
use super::{Presentation, Representation, Wall};
use crate::manifest::identity::Rules;
use crate::manifest::resolve::Resolver;
use crate::manifest::{Error, Limits};
use crate::model::ids::SwarmId;
use crate::model::timeline::{Choice, Place};

/// Base URLs of one Representation that are told apart.
const BASES: usize = 8;
/// A duration that is believed, in microseconds: an hour.
const LONGEST: i64 = 3_600_000_000;
/// How often as many segments as one Representation may have all of them together may spell out: a few bytes of an
/// MPD can stand for very many, and count for each Representation below them. What comes after those is not listed.
const SPELLED: usize = 10;
/// How often as many Representations as one Period may have all of them together may have.
const PERIODS: usize = 10;
/// The target duration of a presentation that does not say.
const USUAL_TARGET: Duration = Duration::from_secs(6);

pub(super) fn presentation(
    base: &Url,
    text: &[u8],
    limits: &Limits,
    rules: &Rules,
) -> Result<Presentation, Error> {
    let text = std::str::from_utf8(crate::manifest::lines::without_bom(text))
        .map_err(|_| Error::NotXml { line: 1 })?;
    if text.len() > limits.bytes {
        return Err(Error::TooLong { bytes: text.len(), most: limits.bytes });
    }
    let most = xml::most_elements(limits);
    // What is wrong with it is said of the whole.
    if let Some(lifted) = runs::lift(text, most)
        && let Ok((mpd, numbers)) = parsed(&lifted.text, most - lifted.elements)
    {
        return Ok(Reader::new(base, (&mpd, &numbers), &lifted.runs, limits, rules).presentation());
    }
    let (mpd, numbers) = parsed(text, most)?;
    Ok(Reader::new(base, (&mpd, &numbers), &Runs::default(), limits, rules).presentation())
}

fn parsed(text: &str, most: usize) -> Result<(mpd::MPD, Numbers), Error> {
    let (mut root, mut numbers) = (None, Numbers::default());
    xml::walk(text, most, &mut |depth, met| {
        let Met::Start(element) = met else { return Ok(()) };
        if depth == 0 {
            root.get_or_insert(element.name);
        }
        numbers.note(depth, element);
        durations::uncountable(element).map_or(Ok(()), |name| {
            let line = xml::line_of(text, element.start);
            Err(Error::Mpd { why: format!("line {line}: {name} is longer than can be counted") })
        })
    })?;
    if root != Some("MPD") {
        return Err(Error::NotMpd);
    }
    // Not by `mpd::parse`, which keeps the path to every element in case there is an error in it.
    let mpd =
        quick_xml::de::from_str(text).map_err(|error| Error::Mpd { why: shortened(&error.to_string()) });
    Ok((mpd?, numbers))
}

fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}

struct Reader<'a> {
    base: &'a Url,
    mpd: &'a mpd::MPD,
    numbers: &'a Numbers,
    runs: &'a Runs<'a>,
    limits: &'a Limits,
    rules: &'a Rules,
    /// Segments that may still be spelled out.
    left: Cell<usize>,
}

/// What is inherited on the way down to a Representation.
#[derive(Clone, Default)]
struct Inherited {
    bases: Vec<Url>,
    /// How long before its end a segment is there, by the base URLs, in microseconds.
    early: f64,
    template: Option<mpd::SegmentTemplate>,
    list: Option<mpd::SegmentList>,
    single: Option<mpd::SegmentBase>,
}

/// A Period's place in time.
struct Span {
    start: i64,
    duration: Option<i64>,
    /// Its name, empty where there is only one.
    name: String,
    /// What tells it from others, now and later, however many there are by then.
    key: String,
}

impl<'a> Reader<'a> {
    fn new(
        base: &'a Url,
        (mpd, numbers): (&'a mpd::MPD, &'a Numbers),
        runs: &'a Runs<'a>,
        limits: &'a Limits,
        rules: &'a Rules,
    ) -> Self {
        let left = Cell::new(limits.segments.saturating_mul(SPELLED));
        Self { base, mpd, numbers, runs, limits, rules, left }
    }

    /// Takes so many off what may still be spelled out.
    fn spell(&self, count: usize) -> Option<()> {
        self.left.set(self.left.get().checked_sub(count)?);
        Some(())
    }

    fn presentation(&self) -> Presentation {
        let dynamic = self.mpd.mpdtype.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case("dynamic"));
        let top = Inherited {
            bases: bases(std::slice::from_ref(self.base), &self.mpd.base_url),
            early: early(&self.mpd.base_url),
            ..Inherited::default()
        };
        let (representations, left_out) = self.periods(&top, dynamic);
        let longest = representations.iter().map(|of| of.target).max();
        let target = self.mpd.maxSegmentDuration.filter(|d| !d.is_zero()).or(longest).unwrap_or(USUAL_TARGET);
        Presentation {
            url: self.base.clone(),
            dynamic,
            target: target.clamp(Duration::from_millis(100), Duration::from_micros(LONGEST as u64)),
            // Of what is not understood it is not known how long its segments are.
            wants_delay: dynamic
                && self.mpd.suggestedPresentationDelay.is_none()
                && !latency::is_low(self.mpd)
                && !representations.is_empty(),
            update: self.mpd.minimumUpdatePeriod.filter(|_| dynamic),
            representations,
            left_out,
            start: Wall(self.mpd.availabilityStartTime.map_or(0, |at| at.timestamp_micros())),
            depth: self.mpd.timeShiftBufferDepth,
        }
    }

    /// The Representations of all Periods, in order, and how many are left out. In what is live the newest Periods are played:
    /// where there is no room for all of them it is for those.
    fn periods(&self, top: &Inherited, dynamic: bool) -> (Vec<Representation>, usize) {
        let choices = choice::choices(&self.mpd.periods, &self.rules.identity(self.base));
        let mut all: Vec<_> = self.mpd.periods.iter().zip(self.spans(dynamic)).zip(&choices).collect();
        if dynamic {
            all.reverse();
        }
        let (mut known, mut left_out) = (BTreeSet::new(), 0);
        let mut found: Vec<Vec<Representation>> = Vec::with_capacity(all.len());
        for ((period, span), choices) in all {
            let Some(span) = span else { continue };
            let taken = found.iter().map(Vec::len).sum();
            let room = self.limits.renditions.saturating_mul(PERIODS).saturating_sub(taken);
            let room = room.min(self.limits.renditions);
            let (mut read, more) = self.period((period, &span), top, choices, dynamic, room);
            // Of two with one name, viewers could not tell which is meant.
            read.retain(|one| known.insert(one.swarm));
            left_out += more;
            found.push(read);
        }
        if dynamic {
            found.reverse();
        }
        (found.into_iter().flatten().collect(), left_out)
    }

    /// Those of one Period, `room` at most, and how many more it has.
    fn period(
        &self,
        (period, span): (&mpd::Period, &Span),
        top: &Inherited,
        choices: &[Choice],
        dynamic: bool,
        room: usize,
    ) -> (Vec<Representation>, usize) {
        let level =
            top.with(&period.BaseURL, (&period.SegmentTemplate, &period.SegmentList, &period.SegmentBase));
        let (mut representations, mut more) = (Vec::new(), 0);
        for (set, choice) in period.adaptations.iter().zip(choices) {
            let level = level.with(&set.BaseURL, (&set.SegmentTemplate, &set.SegmentList, &set.SegmentBase));
            for of in &set.representations {
                if representations.len() >= room {
                    more += 1;
                    continue;
                }
                let level = level.with(&of.BaseURL, (&of.SegmentTemplate, &of.SegmentList, &of.SegmentBase));
                let Some(read) = self.representation(of, &level, span, dynamic) else { continue };
                let said = [&period.ContentProtection, &set.ContentProtection, &of.ContentProtection];
                let encryption = encryption(said.into_iter().flatten(), self.base);
                representations.push(Representation { choice: *choice, encryption, ..read });
            }
        }
        (representations, more)
    }

    /// Where each Period begins; `None` for one that waits for others to end.
    fn spans(&self, dynamic: bool) -> Vec<Option<Span>> {
        let periods = &self.mpd.periods;
        let whole = self.mpd.mediaPresentationDuration.map(micros);
        let mut end = Some(0);
        let mut spans: Vec<Option<Span>> = Vec::new();
        for (index, period) in periods.iter().enumerate() {
            // A dynamic presentation may leave the start of its only Period out.
            let known = index > 0 || !dynamic || periods.len() == 1;
            let start = period.start.map(micros).or(end.filter(|_| known));
            let next = periods.get(index + 1).and_then(|next| next.start).map(micros);
            let until = next.or(whole.filter(|_| index + 1 == periods.len()));
            let duration = period
                .duration
                .map(micros)
                .or(until.zip(start).map(|(until, start)| until.saturating_sub(start)));
            let duration = duration.filter(|&duration| duration > 0);
            end = start.zip(duration).map(|(start, duration)| start.saturating_add(duration));
            let key = period.id.clone().unwrap_or_else(|| start.unwrap_or_default().to_string());
            let name = if periods.len() == 1 { String::new() } else { key.clone() };
            spans.push(start.map(|start| Span { start, duration, name, key }));
        }
        spans
    }

    fn representation(
        &self,
        of: &mpd::Representation,
        level: &Inherited,
        span: &Span,
        dynamic: bool,
    ) -> Option<Representation> {
        let id = of.id.as_deref().unwrap_or_default();
        let bandwidth = of.bandwidth.unwrap_or_default();
        // A live file has no whole index.
        let shape = if let Some(template) = &level.template {
            self.template(template, level, (id, bandwidth), span, dynamic)?
        } else if let Some(list) = &level.list {
            self.list(list, level, span, dynamic)?
        } else {
            self.single(level.single.as_ref()?, level).filter(|_| !dynamic)?
        };
        let target = match &shape {
            Shape::Numbered(of) => of.each as i64,
            Shape::Spelled(of) => of.items.iter().map(|item| item.duration).max()?,
            Shape::Indexed { .. } => 0,
        };
        let name = if span.name.is_empty() { id.to_owned() } else { format!("{}/{id}", span.name) };
        let swarm = SwarmId::of(&format!("{}#{}#{id}", self.rules.identity(self.base), span.key));
        let target = Duration::from_micros(target.unsigned_abs());
        Some(Representation {
            name,
            swarm,
            bandwidth,
            choice: Choice::default(),
            encryption: Vec::new(),
            period: span.start,
            target,
            shape,
        })
    }

    fn template(
        &self,
        template: &mpd::SegmentTemplate,
        level: &Inherited,
        (id, bandwidth): (&str, u64),
        span: &Span,
        dynamic: bool,
    ) -> Option<Shape> {
        let media = template.media.as_deref()?;
        let patterns: Vec<Pattern> =
            level.bases.iter().filter_map(|base| Pattern::new(base, media, id, bandwidth)).collect();
        if patterns.is_empty() || patterns.len() != level.bases.len() {
            return None;
        }
        let timescale = template.timescale.unwrap_or(1).max(1);
        let first = template.startNumber.unwrap_or(1);
        if let Some(timeline) = &template.SegmentTimeline {
            let offset = template.presentationTimeOffset.unwrap_or(0);
            let items = self.items(&timeline.segments, (timescale, offset, first), span)?;
            return Some(Shape::Spelled(Spelled {
                items,
                names: Names::Patterns(patterns),
                ends: span.duration,
            }));
        }
        let each = template.duration? * 1e6 / timescale as f64;
        if !(1_000.0..=LONGEST as f64).contains(&each) {
            return None;
        }
        // Of segments all of one length the standard does not give `$Time$`; players count it from the offset.
        let times = match (patterns[0].has_time(), template.duration) {
            (false, _) => None,
            (true, Some(units)) if units.fract() == 0.0 => {
                Some((units as u64, template.presentationTimeOffset.unwrap_or(0)))
            }
            (true, _) => return None,
        };
        let count = span.duration.map(|duration| (duration as f64 / each - 1e-6).ceil().max(1.0) as u64);
        let last = match (template.endNumber, count) {
            (Some(end), _) => Some(end),
            (None, Some(count)) => Some(first.checked_add(count - 1)?),
            (None, None) => None,
        };
        // Without an end nothing can be listed, unless the clock says how far there is media.
        let listable = match last {
            Some(last) => last >= first && (dynamic || (last - first) < self.limits.segments as u64),
            None => dynamic,
        };
        let early = level.early + offset(template.availabilityTimeOffset);
        listable.then_some(Shape::Numbered(Numbered { patterns, first, last, each, early, times }))
    }

    /// A SegmentTimeline, segment by segment.
    fn items(
        &self,
        spelled: &[mpd::S],
        (timescale, offset, first): (u64, u64, u64),
        span: &Span,
    ) -> Option<Vec<Item>> {
        let spelled = self.runs.times(spelled)?;
        let mut items = Vec::with_capacity(spelled.len());
        let (mut time, mut number) = (0u64, first);
        let micros = |units: i128| i64::try_from(units * 1_000_000 / i128::from(timescale)).ok();
        for (index, s) in spelled.iter().enumerate() {
            time = s.t.unwrap_or(time);
            number = s.n.unwrap_or(number);
            let duration = micros(i128::from(s.d)).filter(|d| (1_000..=LONGEST).contains(d))?;
            let count = match s.r.unwrap_or(0) {
                more @ 0.. => more.unsigned_abs().saturating_add(1),
                // To the next entry, or the end of the Period.
                _ => {
                    let next = spelled.get(index + 1).and_then(|next| next.t);
                    let end = span.duration.map(|d| {
                        (i128::from(d) * i128::from(timescale) / 1_000_000 + i128::from(offset)).max(0) as u64
                    });
                    next.or(end)?.saturating_sub(time).div_ceil(s.d)
                }
            };
            if count > self.limits.segments as u64 || items.len() as u64 + count > self.limits.segments as u64
            {
                return None;
            }
            self.spell(count as usize)?;
            for _ in 0..count {
                let start = micros(i128::from(time) - i128::from(offset))?;
                items.push(Item { number, time, units: s.d, start, duration });
                time = time.checked_add(s.d)?;
                number = number.checked_add(1)?;
            }
        }
        // Out of order it is not a timeline, and a search in it would find nothing.
        let ordered = items.windows(2).all(|two| two[0].time < two[1].time && two[0].number < two[1].number);
        (ordered && !items.is_empty()).then_some(items)
    }

    fn list(&self, list: &mpd::SegmentList, level: &Inherited, span: &Span, dynamic: bool) -> Option<Shape> {
        // Where files come and go the number of the first has to be said; where they don't, any will do.
        let first = self.numbers.of(&list.segment_urls).or((!dynamic).then_some(0))?;
        let timescale = list.timescale.unwrap_or(1).max(1);
        let files = self.runs.files(&list.segment_urls)?;
        if files.is_empty() || files.len() > self.limits.segments {
            return None;
        }
        let mut items = match (&list.SegmentTimeline, list.duration) {
            (Some(timeline), _) => self.items(&timeline.segments, (timescale, 0, first), span)?,
            (None, Some(each)) => {
                let s = mpd::S { d: each, r: Some(files.len() as i64 - 1), ..mpd::S::default() };
                self.items(&[s], (timescale, 0, first), span)?
            }
            (None, None) => return None,
        };
        items.truncate(files.len());
        self.spell(items.len().saturating_mul(level.bases.len()))?;
        let places = |base: &Url| -> Option<Vec<Place>> {
            let mut resolver = Resolver::new(|media: &str| {
                let mut url = base.join(media).ok()?;
                // Players don't send fragments, so nothing is found by one.
                url.set_fragment(None);
                matches!(url.scheme(), "http" | "https").then_some(url)
            });
            let place = |of: &File<'_>| {
                let range = match of.range {
                    Some(range) => Some(byte_range(range)?),
                    None => None,
                };
                // Without a name of its own it is a part of the base.
                let url = resolver.resolve(of.media.unwrap_or_default())?;
                Some(Place { url, range })
            };
            files.iter().take(items.len()).map(place).collect()
        };
        let bases: Vec<_> = level.bases.iter().map(places).collect::<Option<_>>()?;
        Some(Shape::Spelled(Spelled { items, names: Names::Places(bases), ends: span.duration }))
    }

    fn single(&self, single: &mpd::SegmentBase, level: &Inherited) -> Option<Shape> {
        let index = byte_range(single.indexRange.as_deref()?)?;
        let near = (index.end - index.start) as usize <= self.limits.index;
        // What stands before the index is the init segment, in one stretch with it.
        let start = if index.end as usize <= self.limits.index { 0 } else { index.start };
        near.then(|| Shape::Indexed { files: level.bases.clone(), head: start..index.end })
    }
}

impl Inherited {
    /// One level further down: what is said there goes before what was said above.
    fn with(
        &self,
        base_urls: &[mpd::BaseURL],
        (template, list, single): (
            &Option<mpd::SegmentTemplate>,
            &Option<mpd::SegmentList>,
            &Option<mpd::SegmentBase>,
        ),
    ) -> Self {
        let mut here = Self {
            bases: bases(&self.bases, base_urls),
            early: self.early + early(base_urls),
            template: merged(&self.template, template, inherit_template),
            list: merged(&self.list, list, inherit_list),
            single: merged(&self.single, single, inherit_single),
        };
        // Another kind than above takes its place.
        if template.is_some() || list.is_some() || single.is_some() {
            here.template.take_if(|_| template.is_none());
            here.list.take_if(|_| list.is_none());
            here.single.take_if(|_| single.is_none());
        }
        here
    }
}

fn merged<T: Clone>(above: &Option<T>, here: &Option<T>, inherit: fn(&mut T, &T)) -> Option<T> {
    let Some(here) = here else { return above.clone() };
    let mut here = here.clone();
    if let Some(above) = above {
        inherit(&mut here, above);
    }
    Some(here)
}

fn inherit_template(here: &mut mpd::SegmentTemplate, above: &mpd::SegmentTemplate) {
    let or = |here: &mut Option<u64>, above: Option<u64>| *here = here.or(above);
    here.media = here.media.take().or_else(|| above.media.clone());
    or(&mut here.startNumber, above.startNumber);
    or(&mut here.endNumber, above.endNumber);
    or(&mut here.timescale, above.timescale);
    or(&mut here.presentationTimeOffset, above.presentationTimeOffset);
    here.availabilityTimeOffset = here.availabilityTimeOffset.or(above.availabilityTimeOffset);
    if here.SegmentTimeline.is_none() && here.duration.is_none() {
        here.duration = above.duration;
        here.SegmentTimeline = above.SegmentTimeline.clone();
    }
}

fn inherit_list(here: &mut mpd::SegmentList, above: &mpd::SegmentList) {
    here.timescale = here.timescale.or(above.timescale);
    here.duration = here.duration.or(above.duration);
    here.SegmentTimeline = here.SegmentTimeline.take().or_else(|| above.SegmentTimeline.clone());
    if here.segment_urls.is_empty() {
        here.segment_urls.clone_from(&above.segment_urls);
    }
}

fn inherit_single(here: &mut mpd::SegmentBase, above: &mpd::SegmentBase) {
    here.timescale = here.timescale.or(above.timescale);
    here.indexRange = here.indexRange.take().or_else(|| above.indexRange.clone());
}

/// Every base URL of a level resolved against every one above it.
fn bases(above: &[Url], here: &[mpd::BaseURL]) -> Vec<Url> {
    if here.is_empty() {
        return above.to_vec();
    }
    let resolve = |(base, here): (&Url, &mpd::BaseURL)| {
        let mut url = base.join(here.base.trim()).ok()?;
        url.set_fragment(None);
        Some(url)
    };
    above
        .iter()
        .flat_map(|base| here.iter().map(move |here| (base, here)))
        .filter_map(resolve)
        .take(BASES)
        .collect()
}

/// How much earlier a segment is there by the base URLs of a level, of which the first counts.
fn early(here: &[mpd::BaseURL]) -> f64 {
    here.first().map_or(0.0, |here| offset(here.availability_time_offset))
}

/// An availabilityTimeOffset in microseconds.
fn offset(seconds: Option<f64>) -> f64 {
    seconds.filter(|early| early.is_finite()).unwrap_or(0.0) * 1e6
}

/// `first-last`, both included (RFC 9110 §14.1.1), as SegmentURL@mediaRange has it.
fn byte_range(text: &str) -> Option<Range<u64>> {
    let (first, last) = text.trim().split_once('-')?;
    let (first, last) = (first.trim().parse::<u64>().ok()?, last.trim().parse::<u64>().ok()?);
    (first <= last && last < u64::MAX).then(|| first..last + 1)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
