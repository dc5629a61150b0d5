//! HLS playlists, read and rewritten: nothing changes unasked, and a playlist with absolute URIs says the same.
#![cfg_attr(fuzzing, no_main)]

use paceline::manifest::hls::{Media, Playlist, parse};
use paceline::manifest::identity::Rules;
use paceline::manifest::{Error, Limits, rewrite};
use paceline::model::address::Address;
use url::Url;

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check(bytes));

/// Panics where something does not hold of `bytes`.
pub fn check(bytes: &[u8]) {
    let base = Url::parse("https://cdn.example/live/720p/index.m3u8?token=1").unwrap();
    let rules = Rules::default();
    let limits = Limits::default();
    let read = parse(&base, bytes, &limits, &rules);
    let same = match rewrite::hls(&base, bytes, &mut |_, _| None) {
        Ok(same) => same,
        Err(Error::NotHls) => return assert_eq!(read, Err(Error::NotHls)),
        Err(why) => panic!("{} bytes are not copied: {why}", bytes.len()),
    };
    assert_eq!(same, bytes, "changed without being asked to");

    // What stands for a URI is a URI again, so absolute URIs stay as they are.
    let mut absolute = |url: &Address, _| Some(url.to_string());
    let once = rewrite::hls(&base, bytes, &mut absolute).unwrap();
    let twice = rewrite::hls(&base, &once, &mut absolute).unwrap();
    assert_eq!(once, twice, "absolute URIs change");

    // Absolute lines are longer; everything else still is as it was.
    let longer = Limits { line: usize::MAX, bytes: usize::MAX, ..limits };
    match (read, parse(&base, &once, &longer, &rules)) {
        (Ok(Playlist::Media(before)), Ok(Playlist::Media(after))) => same_segments(&before, &after),
        (Ok(Playlist::Master(before)), Ok(Playlist::Master(after))) => {
            assert!(before.variants.iter().all(|variant| after.variants.contains(variant)));
            assert!(before.renditions.iter().all(|rendition| after.renditions.contains(rendition)));
            assert!(before.iframes.iter().all(|url| after.iframes.contains(url)));
        }
        (Ok(before), after) => panic!("{before:?} became {after:?}"),
        (Err(Error::Unparsed), _) => panic!("the parser makes something else of its plain copy"),
        (Err(_), _) => {}
    }
}

/// Every segment is where it was. There may be more of them: a URI with a quotation mark or a zero byte is not
/// listed until that is escaped.
fn same_segments(before: &Media, after: &Media) {
    let rows = |media: &Media| -> Vec<_> {
        let (segments, places) = (&media.listing.timeline.segments, &media.listing.places);
        assert_eq!(segments.len(), places.len());
        let rows = segments.iter().zip(places);
        rows.map(|(segment, place)| (segment.sequence, segment.duration, place.clone())).collect()
    };
    let (before_rows, after_rows) = (rows(before), rows(after));
    assert!(before_rows.is_sorted_by_key(|row| row.0), "segments out of order");
    if before_rows.len() == after_rows.len() {
        assert_eq!(before, after);
    } else {
        let missing = before_rows.iter().find(|row| !after_rows.contains(row));
        assert_eq!(missing, None, "lost when rewritten");
    }
}
