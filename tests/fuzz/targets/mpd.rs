//! DASH MPDs, read, listed and rewritten: nothing changes unasked, and what is listed is found.
#![cfg_attr(fuzzing, no_main)]

use std::time::Duration;

use paceline::manifest::Limits;
use paceline::manifest::dash::sidx::subsegments;
use paceline::manifest::dash::{Presentation, Wall, parse, rewrite};
use paceline::manifest::identity::Rules;
use paceline::model::timeline::Listing;
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
    let same = match rewrite::mpd(&base, bytes, None, &mut |_, _| None) {
        Ok(same) => same,
        Err(why) => return assert!(read.is_err(), "read though it is not copied: {why}"),
    };
    assert_eq!(same, bytes, "changed without being asked to");

    // What stands for a URI is a URI again, so absolute URIs stay as they are.
    let mut absolute = |url: &Url, _| Some(url.to_string());
    let once = rewrite::mpd(&base, bytes, None, &mut absolute).unwrap();
    let twice = rewrite::mpd(&base, &once, None, &mut absolute).unwrap();
    assert_eq!(once, twice, "absolute URIs change");

    // That a rewritten MPD lists the same is for the property tests to hold, of MPDs that are some.
    let Ok(read) = read else { return };
    for (index, now) in (0..read.representations().len()).flat_map(|index| NOWS.map(|now| (index, now))) {
        if let Some(listing) = read.listing(index, 0, now, &rules) {
            holds(&read, &listing, now);
        }
    }
}

/// Segments are in order, and each is found again.
fn holds(of: &Presentation, listing: &Listing, now: Wall) {
    let segments = &listing.timeline.segments;
    assert_eq!(segments.len(), listing.places.len());
    assert!(segments.is_sorted_by(|a, b| a.sequence < b.sequence), "segments out of order");
    for place in listing.places.iter().take(3).chain(listing.places.last()) {
        let found = of.find(&place.url.url().unwrap(), now, Duration::ZERO);
        assert!(found.is_some(), "{} is listed and not found", place.url);
    }
}
