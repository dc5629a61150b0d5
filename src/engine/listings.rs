//! What manifests list, for whom, and where the origin has it.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use http::HeaderMap;

use super::origin::{Caller, Reach, ViewerKey, fields};
use crate::delivery::policy::LISTING_UNUSED;
use crate::model::address::Address;
use crate::model::ids::{SegmentId, SwarmId};
use crate::model::time::Time;
use crate::model::timeline::{Listing, Place, Timeline};

/// Viewers of one rendition that are remembered; the one not seen for longest is forgotten.
const VIEWERS: usize = 64;
/// Segments of a live rendition that are remembered after they left the manifest: a player may be that far behind.
const BEHIND: u64 = 30;
/// Renditions that are remembered; more than any player opens.
const RENDITIONS: usize = 512;
/// Segments that all viewers' listings have together, of half a KiB each with all that is kept of them: about 100 MiB. Past it
/// listings are given up, and passed through until they are listed again.
const SEGMENTS: usize = 200_000;

/// A segment, as a manifest lists it.
#[derive(Debug)]
pub(super) struct Known {
    pub segment: SegmentId,
    sequence: u64,
    pub place: Place,
}

/// Whose manifest it is, and how far it may lead.
pub(super) type Lister = (ViewerKey, Reach);
/// What a manifest lists, by the URLs that the player will ask for.
pub(super) type Urls = HashMap<Address, Vec<Known>>;

/// One rendition as one viewer's manifests list it.
#[derive(Debug)]
pub(super) struct Viewed {
    pub lister: Lister,
    pub urls: Urls,
    segments: usize,
    /// The number of the use that listing it was.
    pub listed: u64,
    /// The number of the use it was put to last, and when that was.
    pub used: (u64, Time),
}

impl Viewed {
    /// Its place among all when there is to be room, the first to go first: what is no longer used, the least lately used
    /// first, and then the largest, so that the fewest players lose by it.
    fn turn(&self, now: Time) -> (bool, Reverse<usize>, u64) {
        let (number, at) = self.used;
        let is_used = now - at <= LISTING_UNUSED;
        (is_used, Reverse(if is_used { self.segments } else { 0 }), number)
    }
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
    pub(super) viewers: Vec<Viewed>,
    /// What it is of which no more is to come.
    pub(super) recording: Option<Timeline>,
    /// Nobody has played it for so long that it is no longer known to anybody but this.
    pub(super) is_left: bool,
    /// Where each segment is, as the newest manifest that lists it says, and how far that one may lead.
    pub(super) places: HashMap<SegmentId, (u64, Place, Reach)>,
}

/// All renditions.
#[derive(Debug)]
pub struct Listings {
    pub(super) renditions: HashMap<SwarmId, Rendition>,
    most: usize,
    pub(super) uses: u64,
    given_up: u64,
}

impl Default for Listings {
    fn default() -> Self {
        Self { renditions: HashMap::new(), most: SEGMENTS, uses: 0, given_up: 0 }
    }
}

impl Rendition {
    pub(super) fn segments(&self) -> usize {
        self.viewers.iter().map(|viewed| viewed.segments).sum()
    }

    /// The number of the last use it was put to.
    pub(super) fn used(&self) -> u64 {
        self.viewers.iter().map(|viewed| viewed.used.0).max().unwrap_or(0)
    }

    /// Forgets where those segments are that nobody lists any more: where names change with each reload there are ever new ones.
    fn forget_places(&mut self, is_awaited: impl Fn(SegmentId) -> bool) {
        if self.places.len() <= self.segments() {
            return;
        }
        let known = self.viewers.iter().flat_map(|viewed| viewed.urls.values().flatten());
        let listed: HashSet<SegmentId> = known.map(|known| known.segment).collect();
        self.places.retain(|segment, _| listed.contains(segment) || is_awaited(*segment));
    }
}

impl Listings {
    /// Takes in a manifest, which may lead as far as `caller`; false when there are too many renditions. Call
    /// [`make_room`](Self::make_room) after it.
    pub fn list(&mut self, listing: &Listing, caller: &Caller, channel: Option<String>, now: Time) -> bool {
        let swarm = listing.timeline.swarm;
        let is_full = self.renditions.len() >= RENDITIONS && !self.renditions.contains_key(&swarm);
        if is_full && !self.forget_one_left() {
            return false;
        }
        let rendition = self.renditions.entry(swarm).or_insert_with(|| Rendition {
            manifest: listing.manifest.clone(),
            name: listing.rendition.clone(),
            channel: None,
            caller: caller.clone(),
            headers: HeaderMap::new(),
            viewers: Vec::new(),
            recording: None,
            is_left: false,
            places: HashMap::new(),
        });
        rendition.recording = (!listing.timeline.kind.grows()).then(|| listing.timeline.clone());
        rendition.is_left = false;
        rendition.manifest = listing.manifest.clone();
        // What the player has of the manifest it does not have of a segment, and for what nobody has asked no risk is taken.
        let headers = fields::for_any_file(&caller.headers);
        rendition.caller = Caller { headers, downgrades: false, ..caller.clone() };
        rendition.channel = channel.or(rendition.channel.take());
        let lister = (caller.viewer, caller.reach);
        let before = rendition.viewers.iter().position(|viewed| viewed.lister == lister);
        let mut urls = match before {
            Some(at) => rendition.viewers.remove(at).urls,
            None => HashMap::new(),
        };
        let first = listing.timeline.segments.first().map_or(0, |s| s.sequence);
        urls.retain(|_, known: &mut Vec<Known>| {
            known.retain(|k| k.sequence < first && k.sequence + BEHIND >= first);
            !known.is_empty()
        });
        // One that is numbered from the start again leaves nothing of the old numbers behind.
        let last = listing.timeline.segments.last().map_or(first, |s| s.sequence).saturating_add(BEHIND);
        rendition.places.retain(|_, (sequence, ..)| *sequence + BEHIND >= first && *sequence <= last);
        for (segment, place) in listing.timeline.segments.iter().zip(&listing.places) {
            // What leads less far and names the same place takes nothing away from the others.
            let reach = match rendition.places.get(&segment.id) {
                Some((_, known, reach)) if known == place => caller.reach.max(*reach),
                _ => caller.reach,
            };
            rendition.places.insert(segment.id, (segment.sequence, place.clone(), reach));
            let known = Known { segment: segment.id, sequence: segment.sequence, place: place.clone() };
            // Nearly always the only one of its file; room for more would be most of what a long playlist takes.
            urls.entry(place.url.clone()).or_insert_with(|| Vec::with_capacity(1)).push(known);
        }
        if rendition.viewers.len() == VIEWERS {
            rendition.viewers.remove(0);
        }
        let segments = urls.values().map(Vec::len).sum();
        self.uses += 1;
        let (listed, used) = (self.uses, (self.uses, now));
        rendition.viewers.push(Viewed { lister, urls, segments, listed, used });
        true
    }

    /// Gives up whole listings until the rest is within bounds: first of those that were neither loaded nor asked for a segment
    /// for a while, and never the last of a rendition of which somebody waits for a segment, one of `awaited`, nor what was
    /// listed last. Where a segment is that is neither listed any more nor awaited is forgotten.
    pub fn make_room(&mut self, awaited: &[(SwarmId, SegmentId)], now: Time) {
        self.give_up(|swarm| awaited.iter().any(|(of, _)| *of == swarm), now);
        for (swarm, rendition) in &mut self.renditions {
            rendition.forget_places(|segment| awaited.contains(&(*swarm, segment)));
        }
    }

    fn give_up(&mut self, is_waited_for: impl Fn(SwarmId) -> bool, now: Time) {
        let mut segments = self.segments();
        if segments <= self.most {
            return;
        }
        let turns = |(swarm, of): (&SwarmId, &Rendition)| {
            let swarm = *swarm;
            of.viewers.iter().map(|viewed| (viewed.turn(now), swarm)).collect::<Vec<_>>()
        };
        let mut all: Vec<_> = self.renditions.iter().flat_map(turns).collect();
        all.sort_unstable();
        for ((_, _, used), swarm) in all.into_iter().filter(|((.., used), _)| *used < self.uses) {
            let Some(of) = self.renditions.get_mut(&swarm) else { continue };
            if of.viewers.len() == 1 && is_waited_for(swarm) {
                continue;
            }
            let before = of.segments();
            of.viewers.retain(|viewed| viewed.used.0 != used);
            segments -= before - of.segments();
            if of.viewers.is_empty() {
                self.renditions.remove(&swarm);
            }
            self.given_up += 1;
            if segments <= self.most {
                return;
            }
        }
    }

    /// How many segments all of them have.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.renditions.values().map(Rendition::segments).sum()
    }

    /// How many were given up to make room.
    #[must_use]
    pub fn given_up(&self) -> u64 {
        self.given_up
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Span;
    use crate::engine::recordings::LEFT;
    use crate::model::timeline::{Choice, Kind, Segment};
    use std::time::Duration;

    /// A playlist of one segment.
    fn listing(url: &str) -> Listing {
        of_rendition(1, &[url])
    }

    fn of_rendition(swarm: u8, urls: &[&str]) -> Listing {
        let segments =
            (7..).map(|n| Segment { id: SegmentId(n), sequence: n, duration: Duration::from_secs(4) });
        let timeline = Timeline {
            swarm: SwarmId([swarm; 20]),
            kind: Kind::Live,
            target: Duration::from_secs(4),
            choice: Choice::default(),
            segments: segments.take(urls.len()).collect(),
        };
        let places = urls.iter().map(|url| Place { url: Address::of(url), range: None }).collect();
        let manifest = url::Url::parse(urls[0]).unwrap();
        Listing { manifest, rendition: String::new(), timeline, places }
    }

    fn caller(viewer: u64, reach: Reach) -> Caller {
        Caller {
            viewer: ViewerKey(viewer),
            headers: HeaderMap::new(),
            own_browser: true,
            downgrades: true,
            reach,
        }
    }

    fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    fn url_of(rendition: u8, file: usize) -> String {
        format!("http://o.example/{rendition}/{file}.ts")
    }

    /// Lists so many segments of a rendition, and makes room for them while somebody waits for these.
    fn lists(
        listings: &mut Listings,
        rendition: u8,
        (viewer, count): (u64, usize),
        awaited: &[u8],
        now: Time,
    ) {
        let urls: Vec<String> = (0..count).map(|file| url_of(rendition, file)).collect();
        let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
        listings.list(&of_rendition(rendition, &urls), &caller(viewer, Reach::Public), None, now);
        let awaited: Vec<_> = awaited.iter().map(|of| (SwarmId([*of; 20]), SegmentId(7))).collect();
        listings.make_room(&awaited, now);
    }

    fn finds(listings: &mut Listings, rendition: u8, viewer: u64, now: Time) -> bool {
        let url = url::Url::parse(&url_of(rendition, 1)).unwrap();
        listings.find(&caller(viewer, Reach::Public), &url, Span::Whole, now).is_some()
    }

    #[test]
    fn past_the_bound_what_was_not_used_for_longest_goes() {
        let mut listings = Listings { most: 4, ..Listings::default() };
        let list = |listings: &mut Listings, rendition, viewer, waited_for: &[u8]| {
            lists(listings, rendition, (viewer, 2), waited_for, at(0));
        };
        let finds = |listings: &mut Listings, rendition, viewer| finds(listings, rendition, viewer, at(0));
        list(&mut listings, 1, 1, &[]);
        list(&mut listings, 2, 1, &[]);
        assert!(finds(&mut listings, 1, 1), "and so is used once more");
        list(&mut listings, 3, 1, &[]);
        assert_eq!((listings.segments(), listings.given_up()), (4, 1));
        assert_eq!([1, 2, 3].map(|of| finds(&mut listings, of, 1)), [true, false, true]);
        assert!(listings.get(SwarmId([2; 20])).is_none(), "all of it");
        // It is listed anew, in the place of 1, unless somebody waits for that: then of 3.
        list(&mut listings, 2, 1, &[1]);
        assert_eq!([1, 2, 3].map(|of| finds(&mut listings, of, 1)), [true, true, false]);
        // Of two viewers of one rendition one goes, and what the other needs of it stays.
        list(&mut listings, 1, 2, &[1, 2]);
        assert_eq!((finds(&mut listings, 1, 1), finds(&mut listings, 1, 2)), (false, true));
        assert!(finds(&mut listings, 2, 1) && listings.place(SwarmId([1; 20]), SegmentId(8), None).is_some());
        list(&mut listings, 3, 1, &[1, 2]);
        assert_eq!(listings.segments(), 6, "what players wait for stays");
    }

    #[test]
    fn what_is_in_use_is_given_up_last_and_the_largest_of_it_first() {
        let mut listings = Listings { most: 10, ..Listings::default() };
        let there = |listings: &Listings| [1, 2, 3, 4, 5].map(|of| listings.get(SwarmId([of; 20])).is_some());
        lists(&mut listings, 1, (1, 2), &[], at(0));
        lists(&mut listings, 2, (1, 3), &[], at(0));
        lists(&mut listings, 3, (1, 4), &[], at(1));
        // Between two requests of its player, which last came before the third was listed.
        assert!(finds(&mut listings, 1, 1, at(40)));
        lists(&mut listings, 4, (1, 3), &[], at(61));
        assert_eq!(there(&listings), [true, false, true, true, false], "left, and not for want of size");
        lists(&mut listings, 5, (1, 2), &[], at(61));
        assert_eq!(there(&listings), [true, false, false, true, true], "one makes more room than several");
        lists(&mut listings, 2, (1, 5), &[4], at(62));
        assert_eq!(there(&listings), [false, true, false, true, true], "but what somebody waits for stays");
    }

    #[test]
    fn recordings_that_were_left_are_kept_within_bounds_and_what_is_live_is_not() {
        let mut listings = Listings::default();
        let recording = |listings: &mut Listings, swarm: u8, count: usize| {
            let urls: Vec<String> = (0..count).map(|file| url_of(swarm, file)).collect();
            let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
            let mut listing = of_rendition(swarm, &urls);
            listing.timeline.kind = Kind::Vod;
            listings.list(&listing, &caller(1, Reach::Public), None, at(0));
            listing.timeline
        };
        let timeline = recording(&mut listings, 1, 2);
        recording(&mut listings, 2, LEFT / 2);
        recording(&mut listings, 3, LEFT / 2);
        lists(&mut listings, 4, (1, 2), &[], at(0));
        let id = |swarm: u8| SwarmId([swarm; 20]);
        assert!(listings.resume(id(1)).is_none(), "it is not left");
        [1, 2, 4].into_iter().for_each(|swarm| listings.leave(id(swarm)));
        assert!(listings.get(id(4)).is_none(), "its next playlist is loaded anew");
        assert!(finds(&mut listings, 1, 1, at(0)), "and so is used last");
        listings.leave(id(3));
        assert_eq!([1, 2, 3].map(|swarm| listings.get(id(swarm)).is_some()), [true, false, true]);
        assert_eq!(listings.resume(id(1)), Some(timeline));
        assert!(listings.resume(id(1)).is_none(), "once");
        // They are in the way of nothing.
        let of = |n: usize| {
            let mut listing = listing("http://o.example/1.ts");
            listing.timeline.swarm = SwarmId::of(&n.to_string());
            listing
        };
        let listed =
            |listings: &mut Listings, n| listings.list(&of(n), &caller(1, Reach::Public), None, at(0));
        assert!((0..RENDITIONS - 1).all(|n| listed(&mut listings, n)) && listings.get(id(3)).is_none());
        assert!(!listed(&mut listings, RENDITIONS), "and nothing of what is played gives way");
    }

    #[test]
    fn where_a_segment_is_that_nobody_lists_any_more_is_forgotten() {
        let (mut listings, swarm) = (Listings::default(), SwarmId([1; 20]));
        // The same numbers under fresh names, as where a token is part of the path.
        let list = |listings: &mut Listings, viewer: u64, round: u64| {
            let name = |n: u64| format!("http://o.example/{round}/{n}.ts");
            let urls = [0, 1, 2].map(name);
            let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
            let mut listing = of_rendition(1, &urls);
            let mut segments = listing.timeline.segments.to_vec();
            segments.iter_mut().for_each(|segment| segment.id = SegmentId(round * 10 + segment.sequence));
            listing.timeline.segments = segments.into();
            listings.list(&listing, &caller(viewer, Reach::Public), None, at(0));
            listings.make_room(&[(swarm, SegmentId(17))], at(0));
        };
        for round in 1..=100 {
            list(&mut listings, 1, round);
        }
        let places = |listings: &Listings| listings.renditions[&swarm].places.len();
        assert_eq!(places(&listings), 4, "those of the last, and the one that somebody waits for");
        assert!([17, 1007, 1009].iter().all(|id| listings.place(swarm, SegmentId(*id), None).is_some()));
        // So are those of viewers that are forgotten.
        for viewer in 1..=2 * VIEWERS as u64 {
            list(&mut listings, viewer, viewer);
        }
        assert_eq!(places(&listings), 3 * VIEWERS + 1);
    }
}
