//! What an HLS playlist says (RFC 8216): which renditions there are, or which segments one of them has.
//!
//! A segment is listed only when every viewer would give it the same name and ask the origin for the same bytes.
//! Left out, and so fetched by the player without sharing: gaps (EXT-X-GAP), parts of low-latency HLS, URLs that are
//! not http or https or hold variables that are not known here (EXT-X-DEFINE), byte ranges that can't be told, negative or unreadable
//! durations (channel lists have them), and whatever has the URL of a key. They still count in the numbering.

use std::ops::Range;
use std::time::Duration;

use m3u8_rs::{AlternativeMediaType, MasterPlaylist, MediaPlaylistType};
use url::Url;

use super::canonical::{ByteRange, Canonical, MAX_DURATION, canonical};
use super::identity::Rules;
use super::resolve::Resolver;
use super::variables::Variables;
use super::{Error, Limits};
use crate::model::address::Address;
use crate::model::ids::{SegmentId, SwarmId};
use crate::model::timeline::{Choice, Kind, Listing, Place, Segment, Timeline};
use crate::model::units::BitsPerSecond;

/// The target duration of a playlist that neither gives one nor lists a segment.
const USUAL_TARGET: Duration = Duration::from_secs(6);

/// Parts of a playlist that are known; servers name those of the last three target durations (RFC 8216bis §4.4.4.9).
const PARTS: usize = 256;

/// An HLS playlist.
// There is one at a time, and it is taken apart where it is read.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Playlist {
    /// Renditions to choose from.
    Master(Master),
    /// The segments of one rendition.
    Media(Media),
}

/// A master playlist. All URLs are absolute; what can't be resolved is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Master {
    /// The variant streams (EXT-X-STREAM-INF), in order.
    pub variants: Vec<Variant>,
    /// Alternative renditions that have a playlist of their own (EXT-X-MEDIA), in order.
    pub renditions: Vec<Rendition>,
    /// I-frame playlists (EXT-X-I-FRAME-STREAM-INF), in order.
    pub iframes: Vec<Url>,
    /// What its media playlists may import (EXT-X-DEFINE).
    pub variables: Variables,
}

/// One variant stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Its media playlist.
    pub url: Url,
    /// Its peak rate; zero when it doesn't say.
    pub bandwidth: BitsPerSecond,
}

/// One alternative rendition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendition {
    /// Its media playlist.
    pub url: Url,
    /// What is in it.
    pub content: Content,
}

/// What an alternative rendition carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Sound.
    Audio,
    /// Pictures, such as another camera.
    Video,
    /// Text.
    Subtitles,
    /// Something a later version of HLS defines.
    Other,
}

/// A media playlist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// Its segments and where they are. `timeline.choice` is none: only who has seen the master knows ([`choices`](super::choice::choices)).
    /// A delta update (EXT-X-SKIP) lists only what it spells out, under the right numbers.
    pub listing: Listing,
    /// Where its keys are (EXT-X-KEY), sorted; keys never travel between peers.
    pub key_urls: Vec<Url>,
    /// Where its init segments are (EXT-X-MAP), sorted; they always come from the origin.
    pub map_urls: Vec<Url>,
    /// Where its parts are, and what is announced to come next (EXT-X-PART, EXT-X-PRELOAD-HINT): the newest [`PARTS`], sorted.
    /// The server may keep who asks for one waiting until it is there.
    pub part_urls: Vec<Url>,
    /// EXT-X-TARGETDURATION, or else the longest listed segment; never zero, at most an hour.
    pub target: Duration,
    /// Whether nothing will be added (EXT-X-ENDLIST).
    pub ended: bool,
}

/// Reads the playlist `text`, found at `base` (after redirects).
///
/// # Errors
/// See [`Error`]; whatever it is, the playlist may still be rewritten and sent to the player.
pub fn parse(base: &Url, text: &[u8], limits: &Limits, rules: &Rules) -> Result<Playlist, Error> {
    parse_importing(base, text, limits, rules, &Variables::default())
}

/// The same for a playlist whose master playlist is known to define `imported`.
///
/// # Errors
/// See [`parse`].
pub fn parse_importing(
    base: &Url,
    text: &[u8],
    limits: &Limits,
    rules: &Rules,
    imported: &Variables,
) -> Result<Playlist, Error> {
    let copy = canonical(text, limits)?;
    let page = Page { base, variables: Variables::of(base, text, imported) };
    if copy.master.ok_or(Error::NeitherKind)? {
        let playlist =
            m3u8_rs::parse_master_playlist_res(copy.head.as_bytes()).map_err(|_| Error::Unparsed)?;
        return Ok(Playlist::Master(master(page, &playlist)));
    }
    Ok(Playlist::Media(media(&page, &copy, rules)?))
}

/// Where a playlist was found, and what it defines.
struct Page<'a> {
    base: &'a Url,
    variables: Variables,
}

impl Page<'_> {
    fn resolve(&self, reference: &[u8]) -> Option<Url> {
        self.variables.resolve(self.base, reference)
    }
}

fn master(page: Page<'_>, playlist: &MasterPlaylist) -> Master {
    let mut master = Master::default();
    for variant in &playlist.variants {
        let Some(url) = page.resolve(variant.uri.as_bytes()) else { continue };
        if variant.is_i_frame {
            master.iframes.push(url);
        } else {
            master.variants.push(Variant { url, bandwidth: BitsPerSecond(variant.bandwidth) });
        }
    }
    for rendition in &playlist.alternatives {
        let Some(url) = rendition.uri.as_ref().and_then(|uri| page.resolve(uri.as_bytes())) else {
            continue;
        };
        let content = match rendition.media_type {
            AlternativeMediaType::Audio => Content::Audio,
            AlternativeMediaType::Video => Content::Video,
            AlternativeMediaType::Subtitles => Content::Subtitles,
            AlternativeMediaType::ClosedCaptions | AlternativeMediaType::Other(_) => Content::Other,
        };
        master.renditions.push(Rendition { url, content });
    }
    master.variables = page.variables;
    master
}

fn media(page: &Page<'_>, copy: &Canonical<'_>, rules: &Rules) -> Result<Media, Error> {
    let base = page.base;
    let head = m3u8_rs::parse_media_playlist_res(copy.head.as_bytes()).map_err(|_| Error::Unparsed)?;
    let first = head.media_sequence.checked_add(copy.skipped);
    let first = first.filter(|first| first.checked_add(copy.segments.len() as u64).is_some());
    let first = first.ok_or(Error::Number { line: copy.numbered_at, tag: "#EXT-X-MEDIA-SEQUENCE" })?;
    let key_urls = resolved(page, &copy.keys);
    let map_urls = resolved(page, &copy.maps);
    let part_urls = resolved(page, &copy.parts[copy.parts.len().saturating_sub(PARTS)..]);
    let swarm = SwarmId::of(&rules.identity(base));

    let mut names = Names::new();
    let mut ranges = Ranges::default();
    let mut resolver = Resolver::new(|reference: &str| page.resolve(reference.as_bytes()));
    let count = copy.segments.len();
    let (mut segments, mut places) = (Vec::with_capacity(count), Vec::with_capacity(count));
    // In this order, since after the last segment there may be no number left to take.
    for (cut, sequence) in copy.segments.iter().zip(first..) {
        let listed = |place: &Place| cut.listed && !is_one_of(&key_urls, place.url.as_str());
        let url = cut.uri.and_then(|uri| resolver.resolve(uri));
        let place = ranges.place(url, cut.range);
        let Some(place) = place.filter(listed) else { continue };
        let name = rules.segment_identity(&place.url, place.range.as_ref());
        names.note(&name, &place);
        let id = SegmentId::of(swarm, sequence, &name);
        segments.push(Segment { id, sequence, duration: cut.duration });
        places.push(place);
    }
    if !names.ordered && differ_by_query_only(&places, rules) {
        // The query is all that tells them apart, so here it names them: bytes must never be taken for others'.
        for (segment, place) in segments.iter_mut().zip(&places) {
            let name = rules.segment_identity(&place.url, place.range.as_ref());
            let name = format!("{name}\n?{}", place.url.query().unwrap_or_default());
            segment.id = SegmentId::of(swarm, segment.sequence, &name);
        }
    }

    let target = match Duration::from_secs(head.target_duration).min(MAX_DURATION) {
        Duration::ZERO => segments.iter().map(|segment| segment.duration).max().unwrap_or_default(),
        target => target,
    };
    let target = if target.is_zero() { USUAL_TARGET } else { target };
    let kind = match &head.playlist_type {
        _ if head.end_list => Kind::Vod,
        Some(MediaPlaylistType::Event) => Kind::Event,
        _ => Kind::Live,
    };
    let timeline = Timeline { swarm, kind, target, choice: Choice::default(), segments: segments.into() };
    let rendition = base.path_segments().and_then(|mut path| path.next_back()).unwrap_or_default().to_owned();
    let listing = Listing { manifest: base.clone(), rendition, timeline, places };
    Ok(Media { listing, key_urls, map_urls, part_urls, target, ended: head.end_list })
}

/// Whether `address` is one of `urls`, which are sorted. Most lie before the first or behind the last.
fn is_one_of(urls: &[Url], address: &str) -> bool {
    let (Some(first), Some(last)) = (urls.first(), urls.last()) else { return false };
    let between = first.as_str() <= address && address <= last.as_str();
    between && urls.binary_search_by(|url| url.as_str().cmp(address)).is_ok()
}

/// Names of the whole files that are asked for with a query, one after the other: nearly always in order, so that no two are
/// alike.
#[derive(Debug)]
struct Names {
    last: String,
    /// Whether each has come after the one before it by its letters, too.
    ordered: bool,
}

impl Names {
    fn new() -> Self {
        Self { last: String::new(), ordered: true }
    }

    /// To be called for each place that is listed.
    fn note(&mut self, name: &str, place: &Place) {
        if self.ordered && place.range.is_none() && place.url.query().is_some() {
            self.ordered = self.last.as_str() < name;
            self.last.clear();
            self.last.push_str(name);
        }
    }
}

/// Whether one file name, asked with different queries, stands for several segments (`segment.php?n=1`).
fn differ_by_query_only(places: &[Place], rules: &Rules) -> bool {
    let asked = places.iter().filter(|place| place.range.is_none() && place.url.query().is_some());
    let mut named: Vec<_> =
        asked.map(|place| (rules.segment_identity(&place.url, None), &place.url)).collect();
    named.sort_unstable();
    named.windows(2).any(|pair| pair[0].0 == pair[1].0 && pair[0].1 != pair[1].1)
}

fn resolved(page: &Page<'_>, references: &[&[u8]]) -> Vec<Url> {
    let mut urls: Vec<Url> = references.iter().filter_map(|reference| page.resolve(reference)).collect();
    urls.sort_unstable();
    urls.dedup();
    urls
}

/// Where the byte range before this one ended, for those that don't say where they begin (RFC 8216 §4.3.2.2).
#[derive(Debug, Default)]
struct Ranges {
    previous: Option<(Address, u64)>,
}

impl Ranges {
    /// Which bytes of `url` a segment is. To be called for each segment in order, listed or not.
    fn place(&mut self, url: Option<Address>, range: Option<ByteRange>) -> Option<Place> {
        let previous = self.previous.take();
        let url = url?;
        let Some((length, offset)) = range else { return Some(Place { url, range: None }) };
        let follows = || previous.filter(|(file, _)| *file == url).map(|(_, end)| end);
        let range = range_from(offset.or_else(follows)?, length)?;
        self.previous = Some((url.clone(), range.end));
        Some(Place { url, range: Some(range) })
    }
}

fn range_from(start: u64, length: u64) -> Option<Range<u64>> {
    let end = start.checked_add(length)?;
    (end > start).then_some(start..end)
}
