//! What two viewers were told, side by side: the same names or not, and how people tell renditions apart.

use std::collections::{BTreeMap, BTreeSet};

use url::Url;

use crate::manifest::fitness::Names;
use crate::manifest::identity::{Options, Rules};
use crate::manifest::proposal::{proposed_rule, shown};
use crate::model::timeline::{Listing, Place, Segment};

/// The most segments of a rendition whose URLs are compared to find a rule; the newest.
const COMPARED: usize = 500;

/// Whether two viewers of one rendition would meet, and call its segments the same; `None` when nothing is listed.
pub fn compared(ours: &Listing, theirs: &Listing, rules: &Rules) -> Option<Names> {
    if ours.places.is_empty() && theirs.places.is_empty() {
        return None;
    }
    let (common, met) = (common(ours, theirs), ours.timeline.swarm == theirs.timeline.swarm);
    if met && !common.is_empty() && common.iter().all(|((one, _), (other, _))| one.id == other.id) {
        return Some(Names::Same);
    }
    let name = |place: &Place| rules.segment_identity(&place.url, place.range.as_ref()).into_owned();
    let known: BTreeSet<_> = ours.places.iter().map(name).collect();
    let alike = theirs.places.iter().any(|place| known.contains(&name(place)));
    let renamed = common.iter().any(|((_, one), (_, other))| name(one) != name(other));
    Some(match (alike, common.is_empty()) {
        (false, true) => Names::Apart,
        (true, true) => Names::Renumbered,
        (true, false) if renamed && met => Names::Renumbered,
        (_, false) => Names::Different,
    })
}

/// The rule that would bring the two viewers of each rendition together, and what it makes of one of their URLs.
pub fn proposed(pairs: &[(&Listing, &Listing)], rules: &Rules) -> Option<(Options, String)> {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for (ours, theirs) in pairs {
        let common = common(ours, theirs);
        let newest = common.iter().skip(common.len().saturating_sub(COMPARED));
        let urls = newest.filter_map(|((_, one), (_, other))| one.url.url().zip(other.url.url()));
        let (one, other): (Vec<Url>, Vec<Url>) = urls.unzip();
        a.extend(one.into_iter().chain([ours.manifest.clone()]));
        b.extend(other.into_iter().chain([theirs.manifest.clone()]));
    }
    let rule = proposed_rule(&a, &b, rules)?;
    let differing = a.iter().zip(&b).find(|(a, b)| rules.identity(a) != rules.identity(b));
    let shown = differing.map(|(url, _)| shown(&rule, url, rules))?;
    Some((rule, shown))
}

type Listed<'a> = (&'a Segment, &'a Place);

/// What both list under the same number, in order.
fn common<'a>(ours: &'a Listing, theirs: &'a Listing) -> Vec<(Listed<'a>, Listed<'a>)> {
    let listed = |listing: &'a Listing| listing.timeline.segments.iter().zip(&listing.places);
    let known: BTreeMap<u64, Listed<'a>> = listed(theirs).map(|it| (it.0.sequence, it)).collect();
    listed(ours).filter_map(|it| Some((it, *known.get(&it.0.sequence)?))).collect()
}

/// The end of each path, as long as it takes to tell them apart.
pub fn labels(manifests: &[&Url]) -> Vec<String> {
    let label = |url: &Url, components: usize| {
        let path = url.path().trim_matches('/');
        let from = path.rmatch_indices('/').nth(components - 1).map_or(0, |(at, _)| at + 1);
        path[from..].to_owned()
    };
    let all = |components| manifests.iter().map(|url| label(url, components)).collect::<Vec<_>>();
    let distinct = |labels: &[String]| labels.iter().collect::<BTreeSet<_>>().len() == labels.len();
    (1..=4).map(all).find(|labels| distinct(labels)).unwrap_or_else(|| all(4))
}

/// At most `most` of so many things: the first, the last, and some between.
pub fn spread(count: usize, most: usize) -> Vec<usize> {
    if count <= most {
        return (0..count).collect();
    }
    (0..most).map(|index| index * (count - 1) / (most - 1).max(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Limits;
    use crate::manifest::hls::{self, Playlist};

    fn listing(base: &str, first: u64, names: &[&str]) -> Listing {
        let segments: String = names.iter().map(|name| format!("#EXTINF:4,\n{name}\n")).collect();
        let text = format!("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-TARGETDURATION:4\n{segments}");
        let base = Url::parse(&format!("http://h/{base}")).unwrap();
        match hls::parse(&base, text.as_bytes(), &Limits::default(), &Rules::default()).unwrap() {
            Playlist::Media(media) => media.listing,
            Playlist::Master(_) => unreachable!(),
        }
    }

    #[test]
    fn two_lists_are_the_same_or_not() {
        let ours = listing("l.m3u8", 7, &["a.ts?x", "b.ts", "c.ts"]);
        for (theirs, expected) in [
            (listing("l.m3u8", 7, &["a.ts?y", "b.ts", "c.ts"]), Names::Same),
            (listing("l.m3u8", 8, &["b.ts", "c.ts", "d.ts"]), Names::Same),
            (listing("t/l.m3u8", 7, &["../a.ts", "../b.ts", "../c.ts"]), Names::Different),
            (listing("l.m3u8", 7, &["t/a.ts", "t/b.ts", "t/c.ts"]), Names::Different),
            (listing("l.m3u8", 6, &["a.ts", "b.ts", "c.ts"]), Names::Renumbered),
            (listing("l.m3u8", 70, &["a.ts", "b.ts", "c.ts"]), Names::Renumbered),
            (listing("l.m3u8", 70, &["d.ts"]), Names::Apart),
            (listing("l.m3u8", 7, &[]), Names::Apart),
        ] {
            assert_eq!(compared(&ours, &theirs, &Rules::default()), Some(expected), "{theirs:?}");
        }
        let nothing = listing("l.m3u8", 0, &[]);
        assert_eq!(compared(&nothing, &nothing, &Rules::default()), None);
    }

    #[test]
    fn a_rule_is_found_from_playlists_and_segments() {
        let ours = listing("tok-12ab/l.m3u8", 7, &["a.ts", "b.ts"]);
        let theirs = listing("tok-34cd/l.m3u8", 8, &["b.ts", "c.ts"]);
        let (rule, shown) = proposed(&[(&ours, &theirs)], &Rules::default()).unwrap();
        assert_eq!((rule.pattern.as_str(), shown.as_str()), (r"^(h/tok\-)[0-9a-f]{4}(/)", "h/tok-*/b.ts"));
        assert_eq!(proposed(&[(&ours, &ours)], &Rules::default()), None);
    }

    #[test]
    fn labels_are_as_long_as_it_takes() {
        let of = |urls: &[&str]| {
            let urls: Vec<Url> =
                urls.iter().map(|url| Url::parse(&format!("http://h/{url}")).unwrap()).collect();
            labels(&urls.iter().collect::<Vec<_>>())
        };
        assert_eq!(of(&["x/a.m3u8?t", "x/b.m3u8"]), ["a.m3u8", "b.m3u8"]);
        assert_eq!(of(&["x/v1/a.m3u8", "x/v2/a.m3u8"]), ["v1/a.m3u8", "v2/a.m3u8"]);
        assert_eq!(of(&[""]), [""]);
        assert_eq!(of(&["a", "a"]), ["a", "a"]);
    }

    #[test]
    fn some_of_many() {
        for (count, expected) in [(0, vec![]), (2, vec![0, 1]), (3, vec![0, 1, 2]), (10, vec![0, 4, 9])] {
            assert_eq!(spread(count, 3), expected);
        }
    }
}
