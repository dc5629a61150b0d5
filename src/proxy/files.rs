//! Files that are several segments: byte ranges of a playlist, subsegments of an index.
//!
//! Players ask for one range at a time, for several in one, or for the whole file and read it as fast as they play it.
//! Whatever they ask, it is cut where segments end, so that all of them hit the same memory.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use http_body::Frame;
use http_body_util::BodyExt;
use url::Url;

use super::answer::Body;
use super::{Shared, range, repair};
use crate::engine::origin::{Caller, ViewerKey};
use crate::engine::{SegmentAsk, Span};
use crate::model::address::Address;
use crate::model::timeline::Listing;

/// Files that are remembered; the one that was listed longest ago is forgotten and passed through.
const REMEMBERED: usize = 256;
/// Segments of all of them together.
const SEGMENTS: usize = 200_000;

/// One file.
#[derive(Clone, Debug)]
pub struct File {
    /// Bytes in front of the media, with where they begin, where they are known.
    pub head: Option<(u64, Bytes)>,
    /// Headers of the origin's answer for it, empty while there was none.
    pub headers: HeaderMap,
    /// Its segments, in order, none overlapping.
    pub ranges: Vec<Range<u64>>,
    /// Its length, where known.
    pub total: Option<u64>,
    /// A playlist of it may yet list more.
    pub grows: bool,
}

/// By whose they are and their URL, the one listed longest ago first.
type Kept = VecDeque<((ViewerKey, String), Arc<File>)>;

/// All of them.
#[derive(Debug, Default)]
pub struct Files {
    kept: Mutex<Kept>,
}

/// Some bytes of a file and where they come from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Head(Range<u64>),
    Segment(Range<u64>),
    Between(Range<u64>),
}

impl Files {
    /// A viewer has been told of this file.
    pub fn keep(&self, viewer: ViewerKey, url: &Url, file: File) {
        let mut kept = self.lock();
        let key = (viewer, url.as_str().to_owned());
        kept.retain(|(k, _)| *k != key);
        kept.push_back((key, Arc::new(file)));
        while kept.len() > REMEMBERED
            || kept.iter().map(|(_, file)| file.ranges.len()).sum::<usize>() > SEGMENTS
        {
            kept.pop_front();
        }
    }

    /// Notes the files that a playlist lists ranges of.
    pub fn list(&self, viewer: ViewerKey, listing: &Listing) {
        // In the order in which they are listed first; one file may go on behind another, as behind an advertisement.
        let mut files: Vec<(&Address, Vec<Range<u64>>)> = Vec::new();
        let mut known: HashMap<&Address, usize> = HashMap::new();
        for place in &listing.places {
            let Some(range) = &place.range else { continue };
            let at = *known.entry(&place.url).or_insert(files.len());
            match files.get_mut(at) {
                Some((_, ranges)) => ranges.push(range.clone()),
                None => files.push((&place.url, vec![range.clone()])),
            }
        }
        for (address, mut ranges) in files {
            let Some(url) = address.url() else { continue };
            ranges.sort_by_key(|range| range.start);
            let mut end = 0;
            ranges.retain(|range| {
                let follows = range.start >= end;
                end = if follows { range.end } else { end };
                follows
            });
            let grows = listing.timeline.kind.grows();
            let (headers, total) = self.get(viewer, &url).map_or((HeaderMap::new(), None), |known| {
                // What it was while it grew it need not be now.
                (known.headers.clone(), known.total.filter(|_| !known.grows || grows))
            });
            // A live stream in one file: it is longer by now.
            let total = total.filter(|&total| end <= total);
            self.keep(viewer, &url, File { head: None, headers, ranges, total, grows });
        }
    }

    /// The origin has told the length of a file, and headers: what was listed of it meanwhile stays. `None`: it is forgotten, or
    /// is longer than that by what was listed.
    fn told(&self, viewer: ViewerKey, url: &Url, total: u64, headers: HeaderMap) -> Option<Arc<File>> {
        let mut kept = self.lock();
        let (_, file) = kept.iter_mut().find(|((v, u), _)| *v == viewer && u == url.as_str())?;
        if file.ranges.last().is_some_and(|range| range.end > total) {
            return None;
        }
        let known = Arc::make_mut(file);
        (known.total, known.headers) = (Some(total), headers);
        Some(Arc::clone(file))
    }

    /// The file at `url`, if it is one.
    #[must_use]
    pub fn get(&self, viewer: ViewerKey, url: &Url) -> Option<Arc<File>> {
        let kept = self.lock();
        kept.iter().find(|((v, u), _)| *v == viewer && u == url.as_str()).map(|(_, file)| Arc::clone(file))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl File {
    /// The part that byte `at` is in, up to `to` at most.
    fn part(&self, at: u64, to: u64) -> Part {
        if let Some((start, bytes)) = &self.head {
            let end = start + bytes.len() as u64;
            if (*start..end).contains(&at) {
                return Part::Head(at..to.min(end));
            }
        }
        let next = self.ranges.partition_point(|range| range.end <= at);
        match self.ranges.get(next) {
            Some(range) if range.start <= at => Part::Segment(at..to.min(range.end)),
            Some(range) => Part::Between(at..to.min(range.start)),
            None => Part::Between(at..to),
        }
    }
}

/// The file's length and headers, asked for where they are not known yet: one byte is enough to be told.
pub async fn known(file: Arc<File>, url: &Url, caller: &Caller, shared: &Shared) -> Option<Arc<File>> {
    if file.total.is_some() {
        return Some(file);
    }
    let first = Some("bytes=0-0".into());
    let response = repair::ask(caller, &Method::GET, url, first, None, shared).await.ok()?;
    if response.status != StatusCode::PARTIAL_CONTENT
        || response.headers.contains_key(header::CONTENT_ENCODING)
    {
        return None;
    }
    let (_, total) = range::content_range(&response.headers)?;
    shared.files.told(caller.viewer, url, total?, response.headers)
}

/// The bytes `span` of a file, part after part as they are read.
pub fn body(file: Arc<File>, span: Range<u64>, url: Url, caller: Caller, shared: Arc<Shared>) -> Body {
    struct State {
        at: u64,
        part: Option<(Body, u64)>,
    }
    let state = State { at: span.start, part: None };
    let frames = futures_util::stream::try_unfold(state, move |mut state| {
        let (file, url, caller, shared) =
            (Arc::clone(&file), url.clone(), caller.clone(), Arc::clone(&shared));
        async move {
            loop {
                let (mut part, end) = match state.part.take() {
                    Some(part) => part,
                    None if state.at >= span.end => return Ok(None),
                    None => {
                        let part = file.part(state.at, span.end);
                        let (Part::Head(bytes) | Part::Segment(bytes) | Part::Between(bytes)) = &part;
                        let end = bytes.end;
                        (open(&file, part, &url, &caller, &shared).await?, end)
                    }
                };
                match part.frame().await {
                    Some(frame) => {
                        let Ok(data) = frame?.into_data() else { continue };
                        state.at += data.len() as u64;
                        if state.at > end {
                            return Err("the origin sent more than it was asked for".into());
                        }
                        state.part = Some((part, end));
                        return Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Some((
                            Frame::data(data),
                            state,
                        )));
                    }
                    None if state.at < end => return Err("a part of the file came to an early end".into()),
                    None => {}
                }
            }
        }
    });
    super::answer::streamed(frames)
}

async fn open(
    file: &File,
    part: Part,
    url: &Url,
    caller: &Caller,
    shared: &Shared,
) -> Result<Body, Box<dyn std::error::Error + Send + Sync>> {
    let bytes = match part {
        Part::Head(bytes) => {
            let (start, head) = file.head.as_ref().ok_or("the head of the file is gone")?;
            let slice = head.slice((bytes.start - start) as usize..(bytes.end - start) as usize);
            return Ok(super::answer::full(slice));
        }
        Part::Segment(bytes) => {
            let span = Span::Part { from: bytes.start, to: Some(bytes.end) };
            let ask = SegmentAsk { url: url.clone(), span, caller: caller.clone() };
            match shared.engine.segment(ask).await {
                Ok(answer) => return Ok(answer.body.map_err(Into::into).boxed()),
                Err(_) => bytes,
            }
        }
        Part::Between(bytes) => bytes,
    };
    let range = Some(format!("bytes={}-{}", bytes.start, bytes.end - 1));
    // What was promised of the file can't be taken back: a moment's failure must not break it off.
    let response = repair::ask(caller, &Method::GET, url, range, None, shared).await?;
    let there = response.status == StatusCode::PARTIAL_CONTENT
        && range::content_range(&response.headers).is_some_and(|(span, _)| span == bytes);
    if !there {
        return Err(format!("the origin answered {} to a part of the file", response.status).into());
    }
    let response = repair::resumed(response, &Method::GET, shared);
    Ok(response.body.map_err(Into::into).boxed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Limits;
    use crate::manifest::hls::{Playlist, parse};
    use crate::manifest::identity::Rules;

    /// The ranges that are known of `name` when these are listed, each as file, first byte and length.
    fn known_of(name: &str, listed: &[(&str, u64, u64)]) -> Option<Vec<Range<u64>>> {
        let base = Url::parse("http://o.example/list.m3u8").unwrap();
        let entry = |(name, at, length): &(&str, u64, u64)| {
            format!("#EXTINF:4,\n#EXT-X-BYTERANGE:{length}@{at}\n{name}\n")
        };
        let text = format!("#EXTM3U\n{}", listed.iter().map(entry).collect::<String>());
        let read = parse(&base, text.as_bytes(), &Limits::default(), &Rules::default());
        let Ok(Playlist::Media(media)) = read else { panic!("no media playlist: {read:?}") };
        let files = Files::default();
        files.list(ViewerKey(1), &media.listing);
        files.get(ViewerKey(1), &base.join(name).unwrap()).map(|file| file.ranges.clone())
    }

    #[test]
    fn a_file_that_grows_is_of_unknown_length_again() {
        let files = Files::default();
        let file = Url::parse("http://o.example/all.ts").unwrap();
        let list_as = |to: u64, end: &str| {
            let text = format!("#EXTM3U\n#EXTINF:4,\n#EXT-X-BYTERANGE:{to}@0\nall.ts\n{end}");
            let read = parse(&file, text.as_bytes(), &Limits::default(), &Rules::default());
            let Ok(Playlist::Media(media)) = read else { panic!("no media playlist: {read:?}") };
            files.list(ViewerKey(1), &media.listing);
            files.get(ViewerKey(1), &file).unwrap()
        };
        let list = |to: u64| list_as(to, "");
        files.keep(ViewerKey(1), &file, File { total: Some(20), ..File::clone(&list(10)) });
        assert_eq!([10, 20, 30].map(|to| list(to).total), [Some(20), Some(20), None]);
        // What is told late takes back nothing that was listed meanwhile.
        let told = files.told(ViewerKey(1), &file, 40, HeaderMap::new()).unwrap();
        assert_eq!((told.ranges.last(), told.total, told.grows), (Some(&(0..30)), Some(40), true));
        assert_eq!(files.get(ViewerKey(1), &file).unwrap().total, Some(40));
        assert!(files.told(ViewerKey(2), &file, 40, HeaderMap::new()).is_none());
        // Nor does what it was when it still grew hold at the end, or what somebody says who knows less than is listed.
        assert_eq!(list_as(40, "#EXT-X-ENDLIST\n").total, None);
        assert!(files.told(ViewerKey(1), &file, 30, HeaderMap::new()).is_none());
        assert_eq!(files.get(ViewerKey(1), &file).unwrap().total, None);
    }

    #[test]
    fn all_ranges_of_a_file_are_known_wherever_they_are_listed() {
        let (a, b) = ("a.ts", "b.ts");
        for (listed, of_a, of_b) in [
            (&[(a, 0, 10), (a, 10, 10)][..], Some(vec![0..10, 10..20]), None),
            (
                &[(a, 0, 10), (b, 0, 5), (b, 5, 5), (a, 10, 10)],
                Some(vec![0..10, 10..20]),
                Some(vec![0..5, 5..10]),
            ),
            (
                &[(a, 10, 10), (b, 0, 5), (a, 0, 10), (b, 9, 1)],
                Some(vec![0..10, 10..20]),
                Some(vec![0..5, 9..10]),
            ),
            (
                &[(a, 0, 10), (b, 0, 5), (a, 5, 10), (b, 5, 5), (a, 10, 5)],
                Some(vec![0..10, 10..15]),
                Some(vec![0..5, 5..10]),
            ),
        ] {
            assert_eq!((known_of(a, listed), known_of(b, listed)), (of_a, of_b), "{listed:?}");
        }
    }
}
