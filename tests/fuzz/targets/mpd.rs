//! DASH MPDs, read, listed and rewritten: nothing changes unasked, and an MPD with absolute URIs says the same.
#![cfg_attr(fuzzing, no_main)]

use paceline::manifest::dash::sidx::subsegments;
use paceline::manifest::dash::{Presentation, Wall, parse, rewrite};
use paceline::manifest::identity::Rules;
use paceline::manifest::{Error, Limits};
use paceline::model::timeline::{Listing, Place};
use url::Url;

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check(bytes));

/// Moments by the origin's clock: long before, soon after and long after what is in the corpus began, and the last.
const NOWS: [Wall; 4] = [Wall(0), Wall(1_000_000_000), Wall(1_800_000_000_000_000), Wall(i64::MAX)];

/// Panics where something does not hold of `bytes`.
pub fn check(bytes: &[u8]) {
    let _ = subsegments(bytes, 0, 1000);
    let base = Url::parse("https://cdn.example/live/a/stream.mpd?token=1").unwrap();
    let rules = Rules::default();
    // Few segments, since a single line may repeat one as often as is allowed.
    let limits = Limits { segments: 1000, ..Limits::default() };
    let read = parse(&base, bytes, &limits, &rules);
    let same = match rewrite::mpd(&base, bytes, &limits, None, &mut |_, _| None) {
        Ok(same) => same,
        Err(why) => return assert_eq!(read.map(drop), Err(why), "read though it is not copied"),
    };
    assert_eq!(same, bytes, "changed without being asked to");

    // What stands for a URI is a URI again, so absolute URIs stay as they are.
    let mut absolute = |url: &Url, _| Some(url.to_string());
    let once = rewrite::mpd(&base, bytes, &limits, None, &mut absolute).unwrap();
    let longer = Limits { bytes: usize::MAX, segments: limits.segments + 1, ..limits };
    let twice = rewrite::mpd(&base, &once, &longer, None, &mut absolute).unwrap();
    assert_eq!(once, twice, "absolute URIs change");

    let Ok(before) = read else { return };
    let longer = Limits { segments: limits.segments, ..longer };
    let after = match parse(&base, &once, &longer, &rules) {
        // The base that was added is one element more.
        Err(Error::TooMany { .. }) => return,
        after => after.unwrap(),
    };
    let count = before.representations().len();
    let tidy = is_tidy(bytes);
    assert!(!tidy || count == after.representations().len(), "lost when rewritten");
    for (index, now) in (0..count).flat_map(|index| NOWS.map(|now| (index, now))) {
        let Some(listing) = before.listing(index, 0, now, &rules) else { continue };
        holds(&before, &listing, now);
        if tidy {
            let after = after.listing(index, 0, now, &rules).unwrap();
            let own = |place: &Place| place.url.path() == base.path();
            let pairs = || listing.places.iter().zip(&after.places).filter(|(place, _)| !own(place));
            assert_eq!(listing.places.len(), after.places.len());
            pairs().for_each(|(before, after)| assert_eq!(before, after, "elsewhere when rewritten"));
        }
    }
}

/// Segments are in order, and each is found again.
fn holds(of: &Presentation, listing: &Listing, now: Wall) {
    let segments = &listing.timeline.segments;
    assert_eq!(segments.len(), listing.places.len());
    assert!(segments.is_sorted_by(|a, b| a.sequence < b.sequence), "segments out of order");
    for place in listing.places.iter().take(3).chain(listing.places.last()) {
        assert!(of.find(&place.url, now).is_some(), "{} is listed and not found", place.url);
    }
}

/// Whether base URLs come before what rests on them, as the schema has it, and are of the plain kind.
fn is_tidy(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let bases = text.rfind("BaseURL").unwrap_or(0);
    text.find("Segment").is_none_or(|first| bases < first)
}
