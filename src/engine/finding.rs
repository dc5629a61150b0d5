//! Which URL is which segment, for whom, and on whose behalf the origin is asked for it.
//!
//! A segment is only found by a viewer whose own manifest has listed it, under the exact URL of that manifest: tokens
//! in a URL are checked by the origin when it serves the manifest, never skipped by us. And only by one who may lead us as
//! far as that manifest may: what a stranger, or a page, could not fetch himself he does not get from memory either.

use super::listings::{Lister, Listings, Viewed};
use super::origin::{Caller, fields};
use super::{SegmentAsk, Span};
use crate::model::ids::{SegmentId, SwarmId};
use crate::model::time::Time;
use crate::model::timeline::Place;

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

impl Viewed {
    fn find(&self, swarm: SwarmId, url: &url::Url, span: Span) -> Option<Found> {
        // The newest listing of a reused file name is the one that is meant.
        self.urls.get(url.as_str())?.iter().rev().find_map(|known| {
            let (base, from, to) = within(known.place.range.as_ref(), span)?;
            let is_file = known.place.range.is_none();
            Some(Found { swarm, segment: known.segment, base, is_file, from, to })
        })
    }
}

impl Listings {
    /// The listed segment that holds the bytes a viewer asks for, if he may lead us as far as what listed it. Where several of
    /// his playlists have it, as those of one film under other names, he is playing the one that he loaded last, and none
    /// that was left.
    #[must_use]
    pub fn find(&mut self, caller: &Caller, url: &url::Url, span: Span, now: Time) -> Option<Found> {
        let may = |(viewer, reach): Lister| viewer == caller.viewer && reach <= caller.reach;
        let all = self.renditions.iter_mut().filter_map(|(swarm, rendition)| {
            let is_played = !rendition.is_left;
            let mut his = rendition.viewers.iter_mut().rev().filter(|viewed| may(viewed.lister));
            his.find_map(|viewed| {
                let found = viewed.find(*swarm, url, span)?;
                Some(((is_played, viewed.listed), viewed, found))
            })
        });
        let (_, viewed, found) = all.max_by_key(|(turn, ..)| *turn)?;
        self.uses += 1;
        viewed.used = (self.uses, now);
        Some(found)
    }

    /// Where the origin has a segment, and on whose behalf it is asked there: who has `asked` for this very place, by the way in
    /// that he came, or else the viewer whose manifest is newest, of whom another host than the manifest's hears nothing that
    /// was meant for that. It leads as far as what lists the segment may.
    #[must_use]
    pub fn place(
        &self,
        swarm: SwarmId,
        segment: SegmentId,
        asked: Option<&SegmentAsk>,
    ) -> Option<(Place, Caller)> {
        let rendition = self.renditions.get(&swarm)?;
        let (_, place, reach) = rendition.places.get(&segment)?;
        let origin = place.url.url()?.origin();
        let listed = &rendition.caller;
        let caller = match asked.filter(|asked| asked.url.origin() == origin) {
            Some(SegmentAsk { caller, .. }) => {
                Caller { headers: fields::for_any_file(&caller.headers), ..caller.clone() }
            }
            None if origin == rendition.manifest.origin() => listed.clone(),
            None => Caller { headers: fields::for_any_host(&listed.headers), ..listed.clone() },
        };
        Some((place.clone(), Caller { reach: *reach, ..caller }))
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
    use crate::engine::origin::{Reach, ViewerKey};
    use crate::model::address::Address;
    use crate::model::timeline::{Choice, Kind, Listing, Segment, Timeline};
    use std::time::Duration;

    fn listing(swarm: u8, urls: &[&str]) -> Listing {
        let segments =
            (7..).map(|n| Segment { id: SegmentId(n), sequence: n, duration: Duration::from_secs(4) });
        let timeline = Timeline {
            swarm: SwarmId([swarm; 20]),
            kind: Kind::Vod,
            target: Duration::from_secs(4),
            choice: Choice::default(),
            segments: segments.take(urls.len()).collect(),
        };
        let places = urls.iter().map(|url| Place { url: Address::of(url), range: None }).collect();
        let manifest = url::Url::parse(urls[0]).unwrap();
        Listing { manifest, rendition: String::new(), timeline, places }
    }

    fn caller(viewer: u64, reach: Reach) -> Caller {
        let headers = http::HeaderMap::new();
        Caller { viewer: ViewerKey(viewer), headers, own_browser: true, downgrades: true, reach }
    }

    #[test]
    fn another_host_hears_nothing_that_was_meant_for_the_manifests_but_what_its_player_says_there_itself() {
        let mut listings = Listings::default();
        let urls = ["https://o.example/7.ts", "https://cdn.example/8.ts"];
        let mut from = caller(1, Reach::Public);
        for name in ["authorization", "cookie", "if-modified-since", "if-none-match", "user-agent"] {
            from.headers.insert(name, http::HeaderValue::from_static("x"));
        }
        // Listed last by a player that does everything itself.
        let last = Caller { own_browser: false, ..from.clone() };
        listings.list(&listing(1, &urls), &last, None, Time::ZERO);
        let ask = |viewer, url: &str| SegmentAsk {
            url: url::Url::parse(url).unwrap(),
            span: Span::Whole,
            caller: Caller { viewer: ViewerKey(viewer), reach: Reach::Loopback, ..from.clone() },
        };
        for (segment, asked, viewer, names) in [
            (7, None, 1, &["authorization", "cookie", "user-agent"][..]),
            (8, None, 1, &["user-agent"]),
            (8, Some(ask(2, urls[1])), 2, &["authorization", "cookie", "user-agent"]),
            // By another manifest, which has it somewhere else.
            (8, Some(ask(2, "https://cdn.example:8443/8.ts")), 1, &["user-agent"]),
            (7, Some(ask(2, urls[1])), 1, &["authorization", "cookie", "user-agent"]),
        ] {
            let (_, caller) = listings.place(SwarmId([1; 20]), SegmentId(segment), asked.as_ref()).unwrap();
            let mut sent: Vec<_> = caller.headers.keys().map(http::HeaderName::as_str).collect();
            sent.sort_unstable();
            assert_eq!((&sent[..], caller.viewer), (names, ViewerKey(viewer)), "{segment} {asked:?}");
            assert_eq!(caller.downgrades, viewer == 2, "only who asks is led to where others may listen");
            assert_eq!(caller.own_browser, viewer == 2, "who asks is led as he wants to be");
            assert_eq!(caller.reach, Reach::Public, "and no further than the manifest may");
        }
    }

    #[test]
    fn a_segment_is_found_by_its_viewer_as_far_as_he_may_lead_us() {
        let url = "http://192.168.1.20/seg7.ts";
        let mut listings = Listings::default();
        let listing = listing(1, &[url]);
        let (swarm, segment) = (listing.timeline.swarm, listing.timeline.segments[0].id);
        let finds = |listings: &mut Listings, viewer, reach| {
            let url = url::Url::parse(url).unwrap();
            listings.find(&caller(viewer, reach), &url, Span::Whole, Time::ZERO).is_some()
        };
        listings.list(&listing, &caller(1, Reach::Lan), None, Time::ZERO);
        for (viewer, reach, found) in [
            (1, Reach::Lan, true),
            (1, Reach::Loopback, true),
            (1, Reach::Public, false),
            (2, Reach::Loopback, false),
        ] {
            assert_eq!(finds(&mut listings, viewer, reach), found, "{viewer} {reach:?}");
        }
        // The same place by a manifest that may lead nowhere private: it opens nothing of the other's.
        listings.list(&listing, &caller(2, Reach::Public), None, Time::ZERO);
        assert!(finds(&mut listings, 2, Reach::Public) && !finds(&mut listings, 1, Reach::Public));
        assert!(finds(&mut listings, 1, Reach::Lan), "nor takes anything away");
        assert_eq!(listings.place(swarm, segment, None).unwrap().1.reach, Reach::Lan);
    }

    #[test]
    fn of_several_playlists_of_one_viewer_the_last_that_is_played_is_meant() {
        let url = url::Url::parse("http://o.example/7.ts").unwrap();
        // Each map has an order of its own.
        for _ in 0..100 {
            let mut listings = Listings::default();
            let list = |listings: &mut Listings, swarm| {
                let listing = listing(swarm, &[url.as_str()]);
                listings.list(&listing, &caller(1, Reach::Public), None, Time::ZERO);
            };
            let found = |listings: &mut Listings| {
                let found = listings.find(&caller(1, Reach::Public), &url, Span::Whole, Time::ZERO);
                found.unwrap().swarm.0[0]
            };
            list(&mut listings, 1);
            list(&mut listings, 2);
            assert_eq!(found(&mut listings), 2);
            list(&mut listings, 1);
            assert_eq!(found(&mut listings), 1, "loaded again");
            listings.leave(SwarmId([1; 20]));
            assert_eq!(found(&mut listings), 2, "the other was left");
            listings.leave(SwarmId([2; 20]));
            assert_eq!(found(&mut listings), 1, "so were both, this one last loaded");
        }
    }

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
