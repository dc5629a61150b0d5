use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::ids::SegmentId;
use crate::model::timeline::Kind;

/// A live presentation that began 100 s after the epoch.
fn live(attributes: &str, inside: &str) -> String {
    mpd(&format!("type=\"dynamic\" availabilityStartTime=\"1970-01-01T00:01:40Z\" {attributes}"), inside)
}

fn wait(seconds: f64) -> Option<When> {
    Some(When::In(Duration::from_secs_f64(seconds)))
}

#[test]
fn segments_come_by_the_clock() {
    let text = live("", r#"<SegmentTemplate media="$Number$" duration="4"/>"#)
        .replace("<Period>", "<Period start=\"PT10S\">");
    let read = read(&text);
    assert!(read.dynamic && read.wants_delay);
    for (name, now, expected) in [
        ("1", 0.0, Some(When::Later)),
        ("1", 109.999, Some(When::Later)),
        ("1", 110.0, wait(4.0)),
        ("1", 113.999, wait(0.001)),
        ("1", 114.0, Some(When::Now)),
        ("2", 114.0, wait(4.0)),
        ("3", 114.0, Some(When::Later)),
        ("3", 121.5, wait(0.5)),
        ("999999999", 121.5, Some(When::Later)),
        ("1", 1e9, Some(When::Now)),
        ("0", 114.0, None),
    ] {
        assert_eq!(find(&read, name, now), expected, "{name} at {now}");
    }
    for (now, expected) in [(0.0, ""), (113.999, ""), (114.0, "1"), (121.999, "1 2"), (122.0, "1 2 3")] {
        let listing = listing(&read, 0, at(now)).unwrap();
        assert_eq!(names(&listing), expected, "at {now}");
        assert_eq!(listing.timeline.kind, Kind::Live);
        assert_eq!(listing.timeline.target, Duration::from_secs(4));
    }
}

#[test]
fn time_without_a_timeline_comes_by_the_clock() {
    let text = live(
        r#"timeShiftBufferDepth="PT8S""#,
        r#"<SegmentTemplate media="$Time$" timescale="10" duration="40" startNumber="5" presentationTimeOffset="7"/>"#,
    );
    let read = read(&text);
    for (name, now, expected) in [
        ("7", 104.0, Some(When::Now)),
        ("47", 104.0, wait(4.0)),
        ("87", 104.0, Some(When::Later)),
        ("87", 112.0, Some(When::Now)),
        ("86", 112.0, None),
        ("0", 112.0, None),
        ("18446744073709551614", 112.0, None),
        ("18446744073709551607", 112.0, Some(When::Later)),
    ] {
        assert_eq!(find(&read, name, now), expected, "{name} at {now}");
    }
    let listing = listing(&read, 0, at(116.0)).unwrap();
    assert_eq!(names(&listing), "7 47 87 127");
    assert_eq!(listing.timeline.segments[0].sequence, 5);
}

/// As ffmpeg writes them: the first files go, and with them the start of the Period.
#[test]
fn a_live_list_that_says_its_first_number_is_numbered_alike_whenever_it_is_loaded() {
    let list = |first: u64, count: u64| {
        let files: String =
            (first..first + count).map(|n| format!("<SegmentURL media=\"c{n:05}.m4s\" />\n")).collect();
        let text = live(
            "",
            &format!(
                "<SegmentList timescale=\"1000000\" duration=\"2000000\" startNumber=\"{first}\">\n\
                 <Initialization sourceURL=\"i.m4s\" />\n{files}</SegmentList>"
            ),
        );
        read(&text.replace("<Period", &format!("<Period id=\"0\" start=\"PT{}S\"", 2 * (first - 1))))
    };
    // Of many files one is left where they were.
    for count in [4, 40] {
        let (early, late) = (list(3, count), list(5, count));
        // What is listed is there, whatever the clock says.
        let [early_list, late_list] = [&early, &late].map(|read| listing(read, 0, at(0.0)).unwrap());
        assert_eq!(early_list.timeline.kind, Kind::Live);
        assert_eq!(early_list.places.len() as u64, count);
        let known = |listing: &Listing| -> Vec<_> {
            listing.timeline.segments.iter().map(|s| (s.sequence, s.id)).collect()
        };
        let (early_known, late_known) = (known(&early_list), known(&late_list));
        assert_eq!((early_known[0].0, late_known[0].0), (3, 5));
        assert_eq!(early_known[2..], late_known[..late_known.len() - 2]);
        assert_eq!(find(&early, "c00003.m4s", 0.0), Some(When::Now));
        assert_eq!((find(&late, "c00003.m4s", 0.0), find(&late, "i.m4s", 0.0)), (None, None));
    }
}

/// Which number the first file of a list has by now is mostly not told, and a file that is written has no whole index: nothing
/// of them is held up, shared or said anything of.
#[test]
fn live_lists_and_files_are_passed_through() {
    for inside in [
        r#"<SegmentList duration="2"><SegmentURL media="a.mp4"/><SegmentURL media="b.mp4"/></SegmentList>"#,
        r#"<SegmentList><SegmentTimeline><S t="4" d="2" r="1"/></SegmentTimeline><SegmentURL media="a.mp4"/><SegmentURL media="b.mp4"/></SegmentList>"#,
        r#"<BaseURL>a.mp4</BaseURL><SegmentList duration="2"><SegmentURL mediaRange="10-19"/></SegmentList>"#,
        r#"<SegmentList duration="2" startNumber="-1"><SegmentURL media="a.mp4"/></SegmentList>"#,
        r#"<SegmentList duration="2" startNumber="1"><SegmentURL media="a.mp4"/></SegmentList></Representation><Representation id="w"><SegmentList duration="2" startNumber="2"><SegmentURL media="a.mp4"/></SegmentList>"#,
        r#"<BaseURL>a.mp4</BaseURL><SegmentBase indexRange="900-999"><Initialization range="0-899"/></SegmentBase>"#,
        r#"<BaseURL>a.mp4</BaseURL>"#,
        r#"<SegmentTemplate media="$Time$" duration="2.5"/>"#,
    ] {
        let text = live("", inside);
        let read = read(&text);
        assert!(read.dynamic && read.representations().is_empty(), "{inside}");
        for name in ["a.mp4", "b.mp4", "c.mp4", "0", "4"] {
            assert_eq!(find(&read, name, 1000.0), None, "{name} of {inside}");
        }
        assert!(!read.wants_delay, "{inside}");
    }
}

#[test]
fn a_stream_of_low_latency_is_not_told_to_stay_behind() {
    let numbers = r#"<SegmentTemplate media="$Number$" duration="4"/>"#;
    let early = |offset: &str| {
        numbers.replace(
            "/>",
            &format!(" availabilityTimeOffset=\"{offset}\" availabilityTimeComplete=\"false\"/>"),
        )
    };
    let base = |offset: &str| format!("<BaseURL availabilityTimeOffset=\"{offset}\">b/</BaseURL>{numbers}");
    for (inside, wants) in [
        (numbers.to_owned(), true),
        (early("3.5"), false),
        (early("INF"), false),
        (early("0"), true),
        (base("3"), false),
        (base("0"), true),
    ] {
        assert_eq!(read(&live("", &inside)).wants_delay, wants, "{inside}");
    }
    let described = |what: &str| {
        let description = format!("<ServiceDescription id=\"0\">{what}</ServiceDescription>");
        let text = live("", numbers);
        let of_all = text.replace("<Period>", &format!("{description}<Period>"));
        let of_period = text.replace("<Period>", &format!("<Period>{description}"));
        [of_all, of_period].map(|text| read(&text).wants_delay)
    };
    assert_eq!(described("<Latency target=\"3500\" min=\"2000\"/>"), [false, false]);
    assert_eq!(described("<PlaybackRate max=\"1.04\"/>"), [true, true]);
}

#[test]
fn the_window_is_as_deep_as_it_says() {
    let of = |attributes: &str, template: &str, now: f64| {
        let text =
            live(attributes, &format!(r#"<SegmentTemplate media="$Number$" duration="4" {template}/>"#));
        let listing = listing(&read(&text), 0, at(now)).unwrap();
        let numbers: Vec<u64> = listing.timeline.segments.iter().map(|it| it.sequence).collect();
        (numbers.first().copied().unwrap_or(0), numbers.last().copied().unwrap_or(0), numbers.len())
    };
    // What has just left the window may still be asked for.
    assert_eq!(of(r#"timeShiftBufferDepth="PT20S""#, "", 500.0), (94, 100, 7));
    assert_eq!(of("", "", 500.0), (1, 100, 100));
    assert_eq!(of("", "", 100_100.0).1, 25_000);
    assert!(of(r#"timeShiftBufferDepth="P9D""#, "", 1e6).2 <= 452);
    assert_eq!(of("", r#"startNumber="11""#, 500.0), (11, 110, 100));
    assert_eq!(of("", r#"availabilityTimeOffset="3.5""#, 500.4).1, 100);
    assert_eq!(of("", r#"availabilityTimeOffset="3.5""#, 500.5).1, 101);
    assert_eq!(of("", r#"availabilityTimeOffset="INF""#, 500.5).1, 100);
    assert_eq!(of(r#"mediaPresentationDuration="PT40S""#, "", 500.0), (1, 10, 10));
    assert_eq!(of("", r#"endNumber="7""#, 500.0), (1, 7, 7));
    let early = r#"<BaseURL availabilityTimeOffset="3">b/</BaseURL><SegmentTemplate media="$Number$" duration="4" availabilityTimeOffset="0.5"/>"#;
    assert_eq!(find(&read(&live("", early)), "b/1", 100.5), Some(When::Now));
}

#[test]
fn a_listed_segment_is_there_and_one_more_is_to_come() {
    for (media, inside, next, after, before) in [
        ("$Time$", r#"<S t="88064" d="88064"/><S d="89088"/>"#, "265216", "354304", "265215"),
        ("$Number$", r#"<S t="88064" d="88064"/><S d="89088"/>"#, "3", "4", "0"),
    ] {
        let text = live(
            "",
            &format!(
                "<SegmentTemplate media=\"{media}\" timescale=\"44100\"><SegmentTimeline>{inside}</SegmentTimeline></SegmentTemplate>"
            ),
        );
        let read = read(&text);
        let listed = listing(&read, 0, at(1000.0)).unwrap();
        for name in names(&listed).split(' ') {
            assert_eq!(find(&read, name, 0.0), Some(When::Now), "{name}");
        }
        // It ends 265,216 + 89,088 units after the beginning.
        let ends = 100.0 + 354_304.0 / 44_100.0;
        let waits = |now: f64| match find(&read, next, now) {
            Some(When::In(wait)) => wait.as_secs_f64(),
            other => panic!("{other:?}"),
        };
        assert!((waits(ends - 1.5) - 1.5).abs() < 1e-4, "{media}");
        assert_eq!(waits(ends + 5.0), 0.0, "late");
        assert_eq!(find(&read, next, ends - 3.0), Some(When::Later));
        assert_eq!(find(&read, after, ends - 0.1), Some(When::Later));
        assert_eq!(find(&read, before, ends), None);
    }
}

#[test]
fn what_a_timeline_no_longer_names_comes_by_the_clock() {
    // Three segments of two seconds, the first of which begins 100 s after the epoch.
    for (media, next) in [("$Time$", 3 * 180_000), ("$Number$", 4)] {
        let step = if media == "$Time$" { 180_000 } else { 1 };
        let text = live(
            "",
            &format!(
                "<SegmentTemplate media=\"{media}\" timescale=\"90000\"><SegmentTimeline><S t=\"0\" d=\"180000\" r=\"2\"/>\
                 </SegmentTimeline></SegmentTemplate>"
            ),
        );
        let read = read(&text);
        let of = |after: u64, now, age| {
            find_in(&read, &(next + after * step).to_string(), now, Duration::from_secs(age))
        };
        // By the clock the sixth after the last one is there from 118 s on.
        assert_eq!(of(5, 115.5, 100), Some(When::Later), "{media}");
        assert_eq!(of(5, 117.5, 100), wait(0.5), "{media}");
        assert_eq!(of(5, 118.5, 100), wait(0.0), "{media}: ask the origin");
        assert_eq!(of(5, 1000.0, 100), wait(0.0), "{media}");
        assert_eq!(of(1_000_000, 1000.0, 100), Some(When::Later), "{media}");
        // Whatever the clock says: in an MPD of now the next is missing, and one that it has not been told of.
        let new: Vec<_> = (0..5).map(|after| of(after, 1000.0, 0)).collect();
        let later = Some(When::Later);
        assert_eq!(new, [wait(0.0), wait(0.0), wait(2.0), later.clone(), later], "{media}");
        assert_eq!(of(4, 1000.0, 6), wait(0.0), "{media}");
        assert_eq!(of(5, 1000.0, 6), wait(2.0), "{media}");
        // Off the grid, as sound is.
        if media == "$Time$" {
            let name = (next + 4 * step + step / 4).to_string();
            assert_eq!(find_in(&read, &name, 116.0, Duration::MAX), wait(0.5));
        }
        assert_eq!(of(u64::MAX / step / 2, 1000.0, 100), Some(When::Later), "{media}");
    }
}

#[test]
fn a_segment_of_a_later_period_is_not_one_to_come_of_an_earlier() {
    let period = |id: &str, start: u32, first: u32| {
        format!(
            r#"<Period id="{id}" start="PT{start}S"><AdaptationSet><SegmentTemplate media="$RepresentationID$/$Number$" startNumber="{first}"><SegmentTimeline><S d="4" r="2"/></SegmentTimeline></SegmentTemplate><Representation id="v"/></AdaptationSet></Period>"#
        )
    };
    let text = format!(
        r#"<MPD type="dynamic" availabilityStartTime="1970-01-01T00:00:00Z">{}{}</MPD>"#,
        period("1", 0, 1),
        period("2", 12, 10)
    );
    let both = read(&text);
    let found = |name: &str, now| {
        let url = url("https://cdn.example/live/a/").join(name).unwrap();
        let of = both.find(&url, at(now), Duration::MAX).unwrap();
        (of.representation, of.when)
    };
    assert_eq!(found("v/3", 24.0), (0, When::Now));
    assert_eq!(found("v/11", 24.0), (1, When::Now));
    assert_eq!(found("v/13", 25.0), (1, When::In(Duration::from_secs(3))));
    assert_eq!(found("v/14", 25.0).1, When::Later);
    // Long after both the second goes on, and the first does not.
    assert_eq!(found("v/13", 1000.0), (1, When::In(Duration::ZERO)));
    assert_eq!(found("v/20", 1000.0), (1, When::In(Duration::ZERO)));
    assert_eq!(found("v/11", 1000.0), (1, When::Now));
    // Who sees only the second calls it the same.
    let alone = read(&format!(
        r#"<MPD type="dynamic" availabilityStartTime="1970-01-01T00:00:00Z">{}</MPD>"#,
        period("2", 12, 10)
    ));
    assert_eq!(alone.representations()[0].swarm, both.representations()[1].swarm);
    let of = |presentation, index| listing(presentation, index, at(24.0)).unwrap().timeline.segments;
    assert_eq!(of(&alone, 0), of(&both, 1));
}

/// What a viewer calls the segments of a live timeline of which it sees these.
fn seen(media: &str, times: &[(u64, u64)], first: u64) -> BTreeMap<String, (SegmentId, u64)> {
    let spelled: String = times.iter().map(|(t, d)| format!("<S t=\"{t}\" d=\"{d}\"/>")).collect();
    let text = live(
        "",
        &format!(
            "<SegmentTemplate media=\"{media}\" timescale=\"48000\" startNumber=\"{first}\"><SegmentTimeline>{spelled}</SegmentTimeline></SegmentTemplate>"
        ),
    );
    let listing = listing(&read(&text), 0, at(1e9)).unwrap();
    let segments = &listing.timeline.segments;
    assert!(segments.is_sorted_by(|a, b| a.sequence < b.sequence), "{segments:?}");
    assert_eq!(segments.len(), times.len());
    let names = listing.places.iter().map(|place| place.url.to_string());
    names.zip(segments.iter().map(|it| (it.id, it.sequence))).collect()
}

proptest! {
    #[test]
    fn two_viewers_call_a_segment_the_same(
        begin in 0u64..1_000_000_000_000,
        constant in proptest::option::of(24_000u64..500_000),
        frames in 40u64..500,
        windows in [(0usize..40, 1usize..20), (0usize..40, 1usize..20)],
        by_time: bool,
    ) {
        // As many frames of 1024 samples as come nearest to the end of a segment of video.
        let video = frames as f64 + 0.375;
        let edge = |n: usize| (n as f64 * video).round() as u64 * 1024;
        let times: Vec<(u64, u64)> = (0..60).map(|n| match constant {
            Some(each) => (begin + n as u64 * each, each),
            None => (begin + edge(n), edge(n + 1) - edge(n)),
        }).collect();
        let media = if by_time { "$Time$" } else { "$Number$" };
        let [one, other] = windows.map(|(from, count)| seen(media, &times[from..from + count], 1 + from as u64));
        for (name, of) in &one {
            if let Some(theirs) = other.get(name) {
                // Where a power of two lies between the two lengths, the windows must show both; see `unit`.
                let odd = by_time && constant.is_none() && straddles(frames * 1024, (frames + 1) * 1024);
                prop_assert!(of.0 == theirs.0 && (odd || of == theirs), "{name}: {of:?} {theirs:?}");
            }
        }
    }

    #[test]
    fn numbers_do_not_depend_on_when_one_looks(nows in [500.0f64..2000.0, 500.0..2000.0], each in 1u32..400, depth in 10u32..500) {
        let text = live(
            &format!("timeShiftBufferDepth=\"PT{depth}S\""),
            &format!(r#"<SegmentTemplate media="$Number$" timescale="25" duration="{}"/>"#, each.max(20)),
        );
        let read = read(&text);
        let [one, other] = nows.map(|now| listing(&read, 0, at(now)).unwrap());
        let known: BTreeMap<_, _> = one.timeline.segments.iter().map(|it| (it.sequence, it.id)).collect();
        for segment in other.timeline.segments.iter() {
            prop_assert!(known.get(&segment.sequence).is_none_or(|id| *id == segment.id));
        }
        for (listing, now) in [(&one, nows[0]), (&other, nows[1])] {
            for place in &listing.places {
                prop_assert_eq!(read.find(&place.url.url().unwrap(), at(now), Duration::ZERO).unwrap().when, When::Now);
            }
            let next = listing.timeline.segments.last().unwrap().sequence + 1;
            prop_assert!(matches!(find(&read, &next.to_string(), now), Some(When::In(_))));
            prop_assert_eq!(find(&read, &(next + 1).to_string(), now), Some(When::Later));
        }
    }
}

/// Whether two durations are divided by different units.
fn straddles(one: u64, other: u64) -> bool {
    let coarse = |of: u64| (of >> (of.ilog2() - 3), of.ilog2());
    coarse(one) != coarse(other)
}
