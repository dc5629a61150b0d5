use proptest::prelude::*;

use super::*;
use crate::manifest::dash::sidx::Subsegment;

#[test]
fn segments_by_number() {
    for (seconds, template, expected) in [
        (20.0, r#"duration="4""#, "1 2 3 4 5"),
        (20.0, r#"duration="4" startNumber="0""#, "0 1 2 3 4"),
        (20.0, r#"duration="4" startNumber="7" endNumber="9""#, "7 8 9"),
        (20.0, r#"duration="96" timescale="25""#, "1 2 3 4 5 6"),
        (20.0, r#"duration="100" timescale="25""#, "1 2 3 4 5"),
        (20.0, r#"duration="360360" timescale="90000""#, "1 2 3 4 5"),
        (20.02, r#"duration="360360" timescale="90000""#, "1 2 3 4 5"),
        (20.021, r#"duration="360360" timescale="90000""#, "1 2 3 4 5 6"),
        (1.0, r#"duration="4""#, "1"),
        (20.0, r#"duration="4.5""#, "1 2 3 4 5"),
    ] {
        let text = recording(
            seconds,
            &format!(r#"<SegmentTemplate media="$RepresentationID$/$Number$" {template}/>"#),
        );
        let expected: Vec<_> = expected.split(' ').map(|number| format!("v/{number}")).collect();
        assert_eq!(all(&text), expected.join(" "), "{template}");
    }
    // `$Time$` without a timeline.
    for (media, template, expected) in [
        ("$Time$", r#"duration="4""#, "0 4 8 12 16"),
        ("$Time%03d$", r#"duration="4" startNumber="7""#, "000 004 008 012 016"),
        ("$Time$", r#"duration="100" timescale="25" presentationTimeOffset="50""#, "50 150 250 350 450"),
        ("$Number$-$Time$", r#"duration="4" startNumber="0" endNumber="2""#, "0-0 1-4 2-8"),
        // Whether and how players round it, nobody says.
        ("$Time$", r#"duration="4.5""#, "-"),
    ] {
        let text = recording(20.0, &format!(r#"<SegmentTemplate media="{media}" {template}/>"#));
        assert_eq!(all(&text), expected, "{media} {template}");
        let read = read(&text);
        for name in expected.split(' ').filter(|name| *name != "-") {
            assert_eq!(find(&read, name, 0.0), Some(When::Now), "{name} of {media} {template}");
        }
        for name in ["3", "20", "550", "1-8", "4-16", "18"] {
            assert_eq!(find(&read, name, 0.0), None, "{name} of {media} {template}");
        }
    }
    let read =
        read(&recording(3840.0, r#"<SegmentTemplate media="$Number$" timescale="25" duration="96"/>"#));
    let listing = listing(&read, 0, Wall(0)).unwrap();
    assert_eq!((listing.places.len(), listing.timeline.segments[999].sequence), (1000, 1000));
    assert_eq!(listing.timeline.segments[0].duration, Duration::from_millis(3840));
    assert_eq!((listing.rendition.as_str(), listing.timeline.choice), ("v", Choice::default()));
    assert_eq!(find(&read, "1000", 0.0), Some(When::Now));
    for name in ["0", "1001", "x", "01", "1?x"] {
        assert_eq!(find(&read, name, 0.0), None, "{name}");
    }
}

#[test]
fn segments_spelled_out() {
    for (attributes, media, timeline, expected) in [
        ("", "$Time$", r#"<S t="0" d="4" r="2"/><S d="2"/>"#, "0 4 8 12"),
        ("", "$Number$", r#"<S t="0" d="4" r="2"/><S d="2"/>"#, "1 2 3 4"),
        (r#"startNumber="0""#, "$Number$-$Time$", r#"<S d="4"/><S d="5"/>"#, "0-0 1-4"),
        (
            "",
            "$Time$",
            r#"<S t="100" d="4" r="1"/><S t="120" d="4" r="-1"/><S t="130" d="1"/>"#,
            "100 104 120 124 128 130",
        ),
        (r#"presentationTimeOffset="100""#, "$Time$", r#"<S t="100" d="4" r="-1"/>"#, "100 104 108 112 116"),
        (r#"timescale="10""#, "$Time$", r#"<S d="60" r="-1"/>"#, "0 60 120 180"),
        (r#"startNumber="5""#, "$Number$", r#"<S d="4"/><S n="9" d="4"/>"#, "5 9"),
        ("", "$Number%03d$", r#"<S d="20"/>"#, "001"),
    ] {
        let text = recording(
            20.0,
            &format!(
                "<SegmentTemplate media=\"{media}\" {attributes}><SegmentTimeline>{timeline}</SegmentTimeline></SegmentTemplate>"
            ),
        );
        assert_eq!(all(&text), expected, "{attributes} {timeline}");
        let read = read(&text);
        for name in expected.split(' ') {
            assert_eq!(find(&read, name, 0.0), Some(When::Now), "{name}");
        }
    }
}

#[test]
fn lists_of_files_and_of_parts_of_one() {
    for (list, expected) in [
        (
            r#"<SegmentList duration="4"><SegmentURL media="a.mp4"/><SegmentURL media="/b?c=1&amp;d"/></SegmentList>"#,
            "a.mp4 https://cdn.example/b?c=1&d",
        ),
        (
            r#"<BaseURL>all.mp4</BaseURL><SegmentList timescale="2" duration="8"><Initialization range="0-9"/><SegmentURL mediaRange="10-19"/><SegmentURL mediaRange="20-29"/></SegmentList>"#,
            "all.mp4@10-20 all.mp4@20-30",
        ),
        (
            r#"<SegmentList><SegmentTimeline><S d="4" r="1"/></SegmentTimeline><SegmentURL media="a"/><SegmentURL media="b"/></SegmentList>"#,
            "a b",
        ),
        (
            r#"<SegmentList><SegmentTimeline><S d="4"/></SegmentTimeline><SegmentURL media="a"/><SegmentURL media="b"/></SegmentList>"#,
            "a",
        ),
    ] {
        assert_eq!(all(&recording(8.0, list)), expected);
    }
    let read =
        read(&recording(8.0, r#"<SegmentList duration="4"><SegmentURL media="a.mp4"/></SegmentList>"#));
    assert_eq!((find(&read, "a.mp4", 0.0), find(&read, "b.mp4", 0.0)), (Some(When::Now), None));
}

#[test]
fn one_file_with_an_index() {
    let text = recording(
        8.0,
        "<BaseURL>v.mp4</BaseURL><BaseURL>//b.example/v.mp4</BaseURL><SegmentBase indexRange=\"900-999\"/>",
    );
    let read = read(&text);
    assert_eq!(listing(&read, 0, Wall(0)), None);
    assert_eq!(find(&read, "v.mp4", 0.0), Some(When::Unindexed(0..1000)));
    let second = |range| Subsegment { range, duration: Duration::from_secs(4) };
    let found = [second(1000..1500), second(1500..1700)];
    let [one, other] = [0, 1].map(|base| read.indexed(0, base, &found, &Rules::default()).unwrap());
    assert_eq!(names(&one), "v.mp4@1000-1500 v.mp4@1500-1700");
    assert!(names(&other).starts_with("https://b.example/v.mp4@"));
    assert_eq!(one.timeline, other.timeline, "whichever of the two a viewer takes");
    assert_eq!(read.indexed(0, 2, &found, &Rules::default()), None);
}

#[test]
fn what_is_said_further_up_holds_further_down() {
    let of = |mpd: &str, period: &str, set: &str, representation: &str| {
        format!(
            r#"<MPD mediaPresentationDuration="PT8S">{mpd}<Period>{period}<AdaptationSet>{set}<Representation id="v">{representation}</Representation></AdaptationSet></Period></MPD>"#
        )
    };
    for (text, expected) in [
        (of("", r#"<SegmentTemplate media="$Number$" duration="4"/>"#, "", ""), "1 2"),
        (
            of(
                "",
                r#"<SegmentTemplate duration="40" timescale="10"/>"#,
                r#"<SegmentTemplate startNumber="5" media="s$Number$"/>"#,
                r#"<SegmentTemplate media="r$Number$"/>"#,
            ),
            "r5 r6",
        ),
        (
            of(
                "",
                "",
                r#"<SegmentTemplate duration="4" media="$Number$"/>"#,
                r#"<SegmentTemplate timescale="1"><SegmentTimeline><S d="8"/></SegmentTimeline></SegmentTemplate>"#,
            ),
            "1",
        ),
        (
            of(
                "",
                r#"<SegmentList duration="4"/>"#,
                "",
                r#"<SegmentList><SegmentURL media="x"/></SegmentList>"#,
            ),
            "x",
        ),
        (
            of(
                "",
                "",
                r#"<SegmentTemplate duration="4" media="$Number$"/>"#,
                r#"<SegmentList duration="4"><SegmentURL media="x"/></SegmentList>"#,
            ),
            "x",
        ),
        (
            of(
                "",
                r#"<SegmentList duration="4"><SegmentURL media="x"/></SegmentList>"#,
                "",
                r#"<SegmentTemplate duration="4" media="$Number$"/>"#,
            ),
            "1 2",
        ),
        (
            of(
                "<BaseURL>b/</BaseURL>",
                "<BaseURL>c/</BaseURL>",
                "<BaseURL> ../d/\n</BaseURL>",
                r#"<BaseURL>e/f</BaseURL><SegmentTemplate duration="8" media="$Number$"/>"#,
            ),
            "b/d/e/1",
        ),
        (
            of(
                "<BaseURL>https://x.example/</BaseURL>",
                "<BaseURL>/y/</BaseURL>",
                "",
                r#"<SegmentTemplate duration="8" media="$Number$"/>"#,
            ),
            "https://x.example/y/1",
        ),
        (
            of(
                "<BaseURL>b/?a=1&amp;b=2</BaseURL>",
                "",
                "",
                r#"<SegmentTemplate duration="8" media="?n=$Number$&amp;t"/>"#,
            ),
            "b/?n=1&t",
        ),
        (
            of(
                "<BaseURL><![CDATA[b&c/]]></BaseURL>",
                "",
                "",
                r#"<SegmentTemplate duration="8" media="$Number$"/>"#,
            ),
            "b&c/1",
        ),
    ] {
        assert_eq!(all(&text), expected, "{text}");
    }
}

#[test]
fn the_same_segment_from_several_places() {
    let text = recording(
        4.0,
        r#"<BaseURL>a/</BaseURL><BaseURL>https://b.example/</BaseURL><SegmentTemplate duration="4" media="$Number$"/>"#,
    )
    .replace("<Period>", "<BaseURL>x/</BaseURL><BaseURL>y/</BaseURL><Period>");
    let read = read(&text);
    let of = |base| read.listing(0, base, Wall(0), &Rules::default()).unwrap();
    let found = (0..4).map(|base| names(&of(base))).collect::<Vec<_>>();
    assert_eq!(found, ["x/a/1", "https://b.example/1", "y/a/1", "https://b.example/1"]);
    assert_eq!(of(0).timeline, of(1).timeline);
    assert_eq!(read.find(&url("https://b.example/1"), Wall(0), Duration::ZERO).unwrap().base, 1);
    assert_eq!(
        read.find(&url("https://cdn.example/live/a/y/a/1#t"), Wall(0), Duration::ZERO).unwrap().base,
        2
    );
}

#[test]
fn periods_are_told_apart() {
    let period = |attributes: &str, folder: &str| {
        format!(
            r#"<Period {attributes}><AdaptationSet><SegmentTemplate media="{folder}/$RepresentationID$/$Number$" duration="4"/><Representation id="v"/><Representation id="w"/></AdaptationSet></Period>"#
        )
    };
    let text = format!(
        r#"<MPD mediaPresentationDuration="PT30S">{}{}{}{}</MPD>"#,
        period(r#"id="p""#, "a"),
        period(r#"start="PT8S" duration="PT4S""#, "b"),
        period("", "c"),
        period(r#"id="p" start="PT20S""#, "d"),
    );
    let read = read(&text);
    let shown: Vec<_> = read.representations().iter().map(|of| of.name.as_str()).collect();
    assert_eq!(shown, ["p/v", "p/w", "8000000/v", "8000000/w", "12000000/v", "12000000/w"]);
    let lists = [0, 2, 4].map(|index| names(&listing(&read, index, Wall(0)).unwrap()));
    assert_eq!(lists, ["a/v/1 a/v/2", "b/v/1", "c/v/1 c/v/2"]);
    for (index, one) in read.representations().iter().enumerate() {
        assert!(one.choice.group.is_some() && one.choice.adaptive);
        assert!(read.representations()[..index].iter().all(|other| other.swarm != one.swarm));
    }
    assert_eq!(find(&read, "d/v/1", 0.0), None, "whose name is another's");
    let viewer = read_at("https://cdn.example/live/a/stream.mpd?token=y", &text).unwrap();
    assert_eq!(viewer.representations()[0].swarm, read.representations()[0].swarm);
}

#[test]
fn other_spellings_of_the_same() {
    let plain = recording(8.0, r#"<SegmentTemplate media="a&amp;$Number$" duration="4"/>"#);
    let prefixed = plain
        .replace("xmlns=", "xmlns:mpd=")
        .replace("</", "</mpd:")
        .replace('<', "<mpd:")
        .replace("<mpd:/mpd:", "</mpd:")
        .replace("<mpd:?", "<?");
    assert!(prefixed.contains("<mpd:MPD xmlns:mpd="), "{prefixed}");
    for text in
        [format!("\u{feff}{plain}"), prefixed, format!("\n<!-- a --> {plain}\n"), plain.replace('"', "'")]
    {
        assert_eq!(all(text.trim_start()), "a&1 a&2", "{text}");
    }
}

#[test]
fn what_is_not_understood_is_not_listed() {
    for inside in [
        "",
        "<BaseURL>v.mp4</BaseURL>",
        "<BaseURL>v.mp4</BaseURL><SegmentBase/>",
        r#"<SegmentBase indexRange="9-1"/>"#,
        r#"<SegmentTemplate media="$SubNumber$" duration="4"/>"#,
        r#"<SegmentTemplate media="$Time$" duration="4.5"/>"#,
        r#"<SegmentTemplate media="$Number$"/>"#,
        r#"<SegmentTemplate media="$Number$" duration="0"/>"#,
        r#"<SegmentTemplate media="$Number$" duration="4" startNumber="18446744073709551615"/>"#,
        r#"<SegmentTemplate media="$Number$" duration="1" timescale="1000000000"/>"#,
        r#"<SegmentTemplate media="$Time$"><SegmentTimeline/></SegmentTemplate>"#,
        r#"<SegmentTemplate media="$Time$"><SegmentTimeline><S d="0"/></SegmentTimeline></SegmentTemplate>"#,
        r#"<SegmentTemplate media="$Time$"><SegmentTimeline><S d="4" r="99999999"/></SegmentTimeline></SegmentTemplate>"#,
        r#"<SegmentTemplate media="$Time$"><SegmentTimeline><S t="8" d="4"/><S t="0" d="4"/></SegmentTimeline></SegmentTemplate>"#,
        r#"<SegmentList duration="4"/>"#,
        r#"<SegmentList duration="4"><SegmentURL media="a" mediaRange="x"/></SegmentList>"#,
        r#"<SegmentList duration="4"><SegmentURL media="data:,x"/></SegmentList>"#,
    ] {
        assert_eq!(read(&recording(8.0, inside)).representations().len(), 0, "{inside}");
    }
    let endless = mpd("", r#"<SegmentTemplate media="$Number$" duration="4"/>"#);
    assert_eq!(read(&endless).representations().len(), 0);
    let many = recording(400_004.0, r#"<SegmentTemplate media="$Number$" duration="4"/>"#);
    assert_eq!(read(&many).representations().len(), 0);
}

proptest! {
    /// What is spelled out at length is read like what is not: with this comment in it, nothing is lifted out.
    #[test]
    fn long_runs_are_read_as_short_ones_are(
        times in prop::collection::vec((
            prop::option::of(0u64..9), 0u64..5, prop::option::of(-1i64..3), prop::option::of(0u64..4),
        ), 0..60),
        files in prop::collection::vec("[a-c/.?&:%#]{0,5}", 0..60),
        ranges: bool,
        spaces in "[ \n]{1,3}",
    ) {
        let number = |name: &str, value: Option<i64>| value.map_or(String::new(), |n| format!("{spaces}{name}=\"{n}\""));
        let mut time = 0;
        let spelled: String = times.iter().map(|(t, d, r, n)| {
            time += 10;
            let t = t.map(|more| time + more as i64);
            format!("<S{}{}{}{}/>{spaces}", number("t", t), number("d", Some(*d as i64)), number("r", *r), number("n", n.map(|n| n as i64)))
        }).collect();
        let named: String = files.iter().map(|file| {
            let range = if ranges { " mediaRange='1-2'" } else { "" };
            format!("<SegmentURL media=\"{file}\"{range}/>")
        }).collect();
        for inside in [
            format!("<SegmentTemplate media=\"$Time$-$Number$\"><SegmentTimeline>{spelled}</SegmentTimeline></SegmentTemplate>"),
            format!("<SegmentList duration=\"4\">{named}</SegmentList>"),
            format!("<SegmentList><SegmentTimeline>{spelled}</SegmentTimeline>{named}</SegmentList>"),
        ] {
            let seen = |text: &str| format!("{:?}", read_at(BASE, text));
            let text = mpd("type=\"static\" mediaPresentationDuration=\"PT100S\"", &inside);
            let plain = text.replacen("<Period", "<!--<![CDATA[--><Period", 1);
            prop_assert_ne!(&plain, &text);
            prop_assert_eq!(seen(&text), seen(&plain));
        }
    }
}
