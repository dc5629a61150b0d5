//! Which URL is which segment, for whom, and where the origin has it.
//!
//! A segment is only found by a viewer whose own manifest has listed it, under the exact URL of that manifest: tokens
//! in a URL are checked by the origin when it serves the manifest, never skipped by us.

use std::collections::HashMap;

use http::HeaderMap;

use super::Span;
use super::origin::{Caller, ViewerKey};
use crate::model::address::Address;
use crate::model::ids::{SegmentId, SwarmId};
use crate::model::timeline::{Listing, Place};

/// Viewers of one rendition that are remembered; the one not seen for longest is forgotten.
const VIEWERS: usize = 64;
/// Segments of a live rendition that are remembered after they left the manifest: a player may be that far behind.
const BEHIND: u64 = 30;
/// Renditions that are remembered; more than any player opens.
const RENDITIONS: usize = 512;

/// A listed segment, as a request found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The rendition.
    pub swarm: SwarmId,
    /// The segment.
    pub segment: SegmentId,
    /// Where in the file the segment begins.
    pub base: u64,
    /// It is the whole file.
    pub is_file: bool,
    /// The bytes of the segment that are wanted.
    pub from: u32,
    /// One past the last; `None`: to its end.
    pub to: Option<u32>,
}

#[derive(Debug)]
struct Known {
    segment: SegmentId,
    sequence: u64,
    place: Place,
}

/// One rendition as its viewers' manifests list it.
#[derive(Debug)]
pub struct Rendition {
    /// The manifest's URL, as the newest viewer fetched it.
    pub manifest: url::Url,
    /// Its name, for people.
    pub name: String,
    /// The channel that it was last known to belong to.
    pub channel: Option<String>,
    /// On whose behalf the origin is asked: the viewer whose manifest is newest.
    pub caller: Caller,
    /// Headers of the origin's newest answer for one of its segments.
    pub headers: HeaderMap,
    viewers: Vec<(ViewerKey, HashMap<Address, Vec<Known>>)>,
    /// Where each segment is, as the newest manifest that lists it says.
    places: HashMap<SegmentId, (u64, Place)>,
}

/// All renditions.
#[derive(Debug, Default)]
pub struct Listings {
    renditions: HashMap<SwarmId, Rendition>,
}

impl Listings {
    /// Takes in a manifest; false when there are too many renditions.
    pub fn list(&mut self, listing: &Listing, caller: &Caller, channel: Option<String>) -> bool {
        let swarm = listing.timeline.swarm;
        if self.renditions.len() >= RENDITIONS && !self.renditions.contains_key(&swarm) {
            return false;
        }
        let rendition = self.renditions.entry(swarm).or_insert_with(|| Rendition {
            manifest: listing.manifest.clone(),
            name: listing.rendition.clone(),
            channel: None,
            caller: caller.clone(),
            headers: HeaderMap::new(),
            viewers: Vec::new(),
            places: HashMap::new(),
        });
        rendition.manifest = listing.manifest.clone();
        rendition.caller = caller.clone();
        rendition.channel = channel.or(rendition.channel.take());
        let before = rendition.viewers.iter().position(|(viewer, _)| *viewer == caller.viewer);
        let mut urls = match before {
            Some(at) => rendition.viewers.remove(at).1,
            None => HashMap::new(),
        };
        let first = listing.timeline.segments.first().map_or(0, |s| s.sequence);
        urls.retain(|_, known: &mut Vec<Known>| {
            known.retain(|k| k.sequence < first && k.sequence + BEHIND >= first);
            !known.is_empty()
        });
        // One that is numbered from the start again leaves nothing of the old numbers behind.
        let last = listing.timeline.segments.last().map_or(first, |s| s.sequence).saturating_add(BEHIND);
        rendition.places.retain(|_, (sequence, _)| *sequence + BEHIND >= first && *sequence <= last);
        for (segment, place) in listing.timeline.segments.iter().zip(&listing.places) {
            rendition.places.insert(segment.id, (segment.sequence, place.clone()));
            let known = Known { segment: segment.id, sequence: segment.sequence, place: place.clone() };
            // Nearly always the only one of its file; room for more would be most of what a long playlist takes.
            urls.entry(place.url.clone()).or_insert_with(|| Vec::with_capacity(1)).push(known);
        }
        if rendition.viewers.len() == VIEWERS {
            rendition.viewers.remove(0);
        }
        rendition.viewers.push((caller.viewer, urls));
        true
    }

    /// The listed segment that holds the bytes a viewer asks for.
    #[must_use]
    pub fn find(&self, viewer: ViewerKey, url: &url::Url, span: Span) -> Option<Found> {
        for (swarm, rendition) in &self.renditions {
            let Some((_, urls)) = rendition.viewers.iter().find(|(v, _)| *v == viewer) else { continue };
            // The newest listing of a reused file name is the one that is meant.
            for known in urls.get(url.as_str()).into_iter().flatten().rev() {
                if let Some((base, from, to)) = within(known.place.range.as_ref(), span) {
                    let is_file = known.place.range.is_none();
                    return Some(Found { swarm: *swarm, segment: known.segment, base, is_file, from, to });
                }
            }
        }
        None
    }

    /// A rendition.
    #[must_use]
    pub fn get(&self, swarm: SwarmId) -> Option<&Rendition> {
        self.renditions.get(&swarm)
    }

    /// The renditions there are.
    #[must_use]
    pub fn swarms(&self) -> Vec<SwarmId> {
        self.renditions.keys().copied().collect()
    }

    /// A rendition, to note its newest headers.
    pub fn get_mut(&mut self, swarm: SwarmId) -> Option<&mut Rendition> {
        self.renditions.get_mut(&swarm)
    }

    /// Where the origin has a segment.
    #[must_use]
    pub fn place(&self, swarm: SwarmId, segment: SegmentId) -> Option<(Place, Caller)> {
        let rendition = self.renditions.get(&swarm)?;
        let (_, place) = rendition.places.get(&segment)?;
        Some((place.clone(), rendition.caller.clone()))
    }

    /// The viewers of a rendition have gone.
    pub fn forget(&mut self, swarm: SwarmId) {
        self.renditions.remove(&swarm);
    }
}

/// The part of a segment that `span` of its file asks for; `None` when it reaches outside of the segment.
fn within(range: Option<&std::ops::Range<u64>>, span: Span) -> Option<(u64, u32, Option<u32>)> {
    let small = |n: u64| u32::try_from(n).ok();
    match (range, span) {
        (None, Span::Whole) => Some((0, 0, None)),
        (None, Span::Part { from, to }) => {
            let to = match to {
                Some(to) => Some(small(to)?),
                None => None,
            };
            Some((0, small(from)?, to))
        }
        (Some(range), Span::Part { from, to: Some(to) })
            if from >= range.start && to <= range.end && from < to =>
        {
            Some((range.start, small(from - range.start)?, Some(small(to - range.start)?)))
        }
        (Some(_), _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_placed_in_its_segment() {
        let part = |from, to| Span::Part { from, to };
        let range = Some(1000..3000u64);
        for (range, span, expected) in [
            (None, Span::Whole, Some((0, 0, None))),
            (None, part(0, None), Some((0, 0, None))),
            (None, part(5, Some(9)), Some((0, 5, Some(9)))),
            (None, part(1 << 33, None), None),
            (range.as_ref(), part(1000, Some(3000)), Some((1000, 0, Some(2000)))),
            (range.as_ref(), part(1500, Some(2000)), Some((1000, 500, Some(1000)))),
            (range.as_ref(), part(1000, Some(3001)), None),
            (range.as_ref(), part(1000, None), None),
            (range.as_ref(), Span::Whole, None),
        ] {
            assert_eq!(within(range, span), expected, "{span:?} in {range:?}");
        }
    }
}
