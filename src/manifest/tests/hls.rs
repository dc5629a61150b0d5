use std::ops::Range;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::url;
use crate::manifest::hls::{Content, Master, Media, Playlist, Rendition, Variant, parse};
use crate::manifest::identity::{Options, Rules};
use crate::manifest::{Error, Limits};
use crate::model::ids::{SegmentId, SwarmId};
use crate::model::timeline::{Choice, Kind};
use crate::model::units::BitsPerSecond;

const BASE: &str = "https://cdn.example/live/720p/index.m3u8?token=CANARY";

fn read(text: impl AsRef<[u8]>) -> Result<Playlist, Error> {
    parse(&url(BASE), text.as_ref(), &Limits::default(), &Rules::default())
}

fn media(text: impl AsRef<[u8]>) -> Media {
    match read(text) {
        Ok(Playlist::Media(media)) => media,
        other => panic!("not a media playlist: {other:?}"),
    }
}

/// Sequence, milliseconds, URL and range of each listed segment.
fn listed(media: &Media) -> Vec<(u64, u64, String, Option<Range<u64>>)> {
    let (segments, places) = (&media.listing.timeline.segments, &media.listing.places);
    assert_eq!(segments.len(), places.len());
    let both = segments.iter().zip(places);
    let row = both.map(|(segment, place)| {
        (segment.sequence, segment.duration.as_millis() as u64, place.url.to_string(), place.range.clone())
    });
    row.collect()
}

fn sequences(text: &str) -> Vec<u64> {
    listed(&media(text)).into_iter().map(|row| row.0).collect()
}

#[test]
fn a_live_window() {
    let media = media(
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:1761\n\
         #EXT-X-DISCONTINUITY-SEQUENCE:2\n#EXT-X-PROGRAM-DATE-TIME:2026-11-20T20:00:00.000Z\n\
         #EXTINF:4.004,Evening news, part one\nseg1761.ts?token=CANARY\n#EXT-X-DISCONTINUITY\n\
         #EXTINF:3.96,\n//edge.example/a/seg1762.ts\n#EXTINF:4\n/root/seg1763.ts\n",
    );
    assert_eq!(
        listed(&media),
        [
            (1761, 4004, "https://cdn.example/live/720p/seg1761.ts?token=CANARY".into(), None),
            (1762, 3960, "https://edge.example/a/seg1762.ts".into(), None),
            (1763, 4000, "https://cdn.example/root/seg1763.ts".into(), None),
        ]
    );
    let timeline = &media.listing.timeline;
    assert_eq!((timeline.kind, timeline.choice, media.ended), (Kind::Live, Choice::default(), false));
    assert_eq!((timeline.target, media.target), (Duration::from_secs(4), Duration::from_secs(4)));
    assert_eq!(media.listing.manifest, url(BASE));
    let swarm = SwarmId::of("cdn.example/live/720p/index.m3u8");
    assert_eq!(timeline.swarm, swarm);
    assert_eq!(timeline.segments[0].id, SegmentId::of(swarm, 1761, "cdn.example/live/720p/seg1761.ts"));
}

#[test]
fn one_file_in_byte_ranges_with_an_init_segment_and_keys() {
    let media = media(
        "#EXTM3U\r\n#EXT-X-TARGETDURATION:6\r\n#EXT-X-PLAYLIST-TYPE:VOD\r\n\
         #EXT-X-MAP:URI=\"all.mp4\",BYTERANGE=\"1354@0\"\r\n\
         #EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"skd://licence\",KEYFORMAT=\"com.apple.streamingkeydelivery\"\r\n\
         #EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"data:text/plain;base64,AAAA\",KEYFORMAT=\"urn:uuid:x\"\r\n\
         #EXT-X-KEY:METHOD=AES-128,URI=\"https://keys.example/k?id=1,2\",IV=0x01\r\n\
         #EXTINF:6,\r\n#EXT-X-BYTERANGE:1000@1354\r\nall.mp4\r\n\
         #EXT-X-BYTERANGE:500\r\n#EXTINF:6,\r\nall.mp4\r\n\
         #EXTINF:6,\r\n#EXT-X-BYTERANGE:500\r\nother.mp4\r\n\
         #EXTINF:6,\r\n#EXT-X-BYTERANGE:0@7\r\nall.mp4\r\n\
         #EXTINF:6,\r\n#EXT-X-BYTERANGE:2@18446744073709551615\r\nall.mp4\r\n\
         #EXT-X-KEY:METHOD=NONE\r\n\
         #EXTINF:5.5,\r\n#EXT-X-BYTERANGE:20@3000\r\nall.mp4\r\n#EXT-X-ENDLIST\r\n",
    );
    let file = || String::from("https://cdn.example/live/720p/all.mp4");
    let ranges = [(0, 6000, file(), Some(1354..2354)), (1, 6000, file(), Some(2354..2854))];
    assert_eq!(listed(&media)[..2], ranges);
    assert_eq!(
        listed(&media)[2..],
        [(5, 5500, file(), Some(3000..3020))],
        "what can't be told is not listed"
    );
    assert_eq!(media.map_urls, [url(&file())]);
    assert_eq!(media.key_urls, [url("https://keys.example/k?id=1,2")]);
    assert_eq!((media.listing.timeline.kind, media.ended), (Kind::Vod, true));
    let ids: std::collections::BTreeSet<_> = media.listing.timeline.segments.iter().map(|s| s.id).collect();
    assert_eq!(ids.len(), 3);
}

#[test]
fn a_master_with_alternative_audio() {
    let text = "\u{feff}#EXTM3U\n#EXT-X-INDEPENDENT-SEGMENTS\n\
        #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"English, stereo\",DEFAULT=YES,URI=\"en/a.m3u8\"\n\
        #EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"s\",NAME=\"x\",URI=\"s.m3u8\"\n\
        #EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID=\"c\",NAME=\"x\",INSTREAM-ID=\"CC1\"\n\
        #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"in the video\"\n\
        #EXT-X-STREAM-INF:BANDWIDTH=1280000,CODECS=\"avc1.4d401f,mp4a.40.2\",AUDIO=\"a\"\nlow.m3u8\n\
        #EXT-X-STREAM-INF:CODECS=\"no bandwidth\"\n# a comment in between\nhttps://b.example/hi.m3u8?x=1\n\
        #EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=86000,URI=\"low/iframe.m3u8\"\n\
        #EXT-X-SESSION-KEY:METHOD=AES-128,URI=\"k\"\n";
    let here = |path: &str| url(&format!("https://cdn.example/live/720p/{path}"));
    let expected = Master {
        variants: vec![
            Variant { url: here("low.m3u8"), bandwidth: BitsPerSecond(1_280_000) },
            Variant { url: url("https://b.example/hi.m3u8?x=1"), bandwidth: BitsPerSecond(0) },
        ],
        renditions: vec![
            Rendition { url: here("en/a.m3u8"), content: Content::Audio },
            Rendition { url: here("s.m3u8"), content: Content::Subtitles },
        ],
        iframes: vec![here("low/iframe.m3u8")],
        ..Master::default()
    };
    assert_eq!(read(text), Ok(Playlist::Master(expected.clone())));
    assert_eq!(read(text.replace('\n', "\r\n")), Ok(Playlist::Master(expected)));
}

#[test]
fn how_a_playlist_grows() {
    let body = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\na.ts\n";
    for (extra, kind, ended) in [
        ("", Kind::Live, false),
        ("#EXT-X-PLAYLIST-TYPE:EVENT\n", Kind::Event, false),
        ("#EXT-X-PLAYLIST-TYPE:VOD\n", Kind::Live, false),
        ("#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-ENDLIST\n", Kind::Vod, true),
        ("#EXT-X-ENDLIST", Kind::Vod, true),
        ("#ext-x-endlist \r", Kind::Vod, true),
    ] {
        let media = media(format!("{body}{extra}"));
        assert_eq!((media.listing.timeline.kind, media.ended), (kind, ended), "{extra}");
    }
}

#[test]
fn what_can_not_be_shared_is_left_out_and_still_counts() {
    let head =
        "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-DEFINE:NAME=\"v\",VALUE=\"x\"\n#EXT-X-MEDIA-SEQUENCE:10\n";
    let tail = "#EXTINF:4,\nlast.ts\n";
    for left_out in [
        "#EXT-X-GAP\n#EXTINF:4,\ngap.ts\n",
        "#EXTINF:4,\n#EXT-X-GAP\ngap.ts\n",
        "#EXTINF:4,\n{$w}/a.ts\n",
        "#EXTINF:4,\nftp://a.example/a.ts\n",
        "#EXTINF:4,\ndata:video/mp2t;base64,R0A=\n",
        "#EXTINF:4,\nhttp://\n",
        "#EXTINF:-1 tvg-id=\"x\",Channel\nhttp://a.example/x.ts\n",
        "#EXTINF:nan,\na.ts\n",
        "#EXTINF:four,\na.ts\n",
        "#EXTINF:4,\n#EXT-X-BYTERANGE:many\na.ts\n",
        "#EXT-X-KEY:METHOD=AES-128,URI=\"a.key\"\n#EXTINF:4,\na.key\n",
    ] {
        assert_eq!(sequences(&format!("{head}{left_out}{tail}")), [11], "{left_out}");
    }
    for no_segment in [
        "stray.ts\n",
        "#EXT-X-PART:DURATION=1,URI=\"p.ts\"\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p2.ts\"\n",
        "#EXT-X-KEY:NONE\n#EXT-X-MAP:x\n#EXT-X-DATERANGE:ID\n#EXT-X-PROGRAM-DATE-TIME:yesterday\n",
        "#EXTINF:3,\n# a comment \n\n \t\n",
        "# caf\u{e9}\n#EXT-X-VENDOR:\u{1F3B5}\n",
    ] {
        assert_eq!(sequences(&format!("{head}{no_segment}{tail}")), [10], "{no_segment}");
    }
    let parts = "#EXT-X-PART:DURATION=1,URI=\"p.ts\"\n#EXT-X-PRELOAD-HINT:URI=\"p2.ts\",TYPE=PART\n";
    let again = "#EXT-X-PART:BYTERANGE=\"9@0\",URI=\"p.ts\"\n#EXT-X-PART:URI=none\n#ext-x-part:URI=\"\"\n";
    let base = "https://cdn.example/live/720p/";
    let at = |name: &str| url(&format!("{base}{name}"));
    assert_eq!(media(format!("{head}{parts}{tail}{again}")).part_urls, [at("none"), at("p.ts"), at("p2.ts")]);
    let many: String = (0..=256).map(|n| format!("#EXT-X-PART:URI=\"{n:03}.ts\"\n")).collect();
    let newest = media(format!("{head}{many}{tail}")).part_urls;
    assert_eq!((newest.len(), &newest[0]), (256, &at("001.ts")));
    assert_eq!(sequences(&format!("{head}#EXT-X-SKIP:SKIPPED-SEGMENTS=7\n{tail}")), [17]);
    let mut odd = format!("{head}#EXTINF:4,\n").into_bytes();
    odd.extend(b"caf\xe9.ts\n# caf\xe9\n#EXTINF:4,caf\xe9\n,b.ts\n");
    assert_eq!(listed(&media(odd))[0].2, "https://cdn.example/live/720p/,b.ts");
}

#[test]
fn durations_are_bounded_and_never_missing() {
    for (text, milliseconds, target) in [
        ("#EXT-X-TARGETDURATION:6.4\n#EXTINF:1e30,\na\n", 3_600_000, 7),
        ("#EXT-X-TARGETDURATION:99999999999999999999\n#EXTINF:inf,\na\n", 3_600_000, 3600),
        ("#EXT-X-TARGETDURATION:-3\n#EXTINF:.5,\na\n#EXTINF:9,\nb\n", 500, 9),
        ("#EXTINF:3599.999,\na\n", 3_599_999, 0),
        ("#EXTINF:0,\na\n", 0, 6),
        ("#EXTINF: 9.009 \na\n", 9009, 0),
    ] {
        let media = media(format!("#EXTM3U\n{text}"));
        assert_eq!(media.listing.timeline.segments[0].duration.as_millis(), milliseconds, "{text}");
        let expected = if target == 0 { milliseconds } else { target * 1000 };
        assert_eq!(media.target.as_millis(), expected, "{text}");
    }
}

#[test]
fn line_endings_do_not_matter() {
    let text = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\na.ts\n#EXTINF:4,\n b.ts \n#EXT-X-ENDLIST\n";
    let expected = media(text);
    assert_eq!(listed(&expected).len(), 2);
    for ending in ["\r\n", "\r", "\n\n", " \t\n"] {
        assert_eq!(media(text.replace('\n', ending)), expected, "{ending:?}");
    }
    assert_eq!(media(format!("\u{feff}{}", text.trim_end())), expected);
}

#[test]
fn the_rules_shape_swarm_and_segments() {
    let options = Options { pattern: "/s-[0-9]+/".into(), replace: "/".into(), ..Options::default() };
    let rules = Rules::new(&[options]).unwrap();
    let read = |session: u32| {
        let base = url(&format!("https://cdn.example/s-{session}/i.m3u8?t={session}"));
        let text = format!("#EXTM3U\n#EXTINF:4,\n/s-{session}/a.ts?u={session}\n");
        match parse(&base, text.as_bytes(), &Limits::default(), &rules) {
            Ok(Playlist::Media(media)) => media.listing.timeline,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(read(1), read(22));
}

#[test]
fn what_is_too_much_is_refused_with_its_line() {
    let limits = Limits { bytes: 400, segments: 3, line: 60, renditions: 2, ..Limits::default() };
    let refused = |body: &str| {
        let text = format!("#EXTM3U\n{body}");
        parse(&url(BASE), text.as_bytes(), &limits, &Rules::default()).unwrap_err()
    };
    let many = |line, what, most| Error::TooMany { line, what, most };
    assert_eq!(refused(&"#EXTINF:4,\na\n".repeat(4)), many(8, "segments", 3));
    assert_eq!(refused(&"#EXTINF:4,\n".repeat(4)), many(5, "segments", 3));
    assert_eq!(refused(&"#EXT-X-STREAM-INF:BANDWIDTH=1\na\n".repeat(3)), many(6, "renditions", 2));
    let keys = (0..4).map(|i| format!("#EXT-X-KEY:METHOD=AES-128,URI=\"{i}\"\n")).collect::<String>();
    assert_eq!(refused(&keys), many(5, "keys", 3));
    assert_eq!(refused(&format!("#{}\n", "x".repeat(60))), Error::LongLine { line: 2, bytes: 61, most: 60 });
    assert_eq!(refused(&"\n".repeat(393)), Error::TooLong { bytes: 401, most: 400 });
    assert_eq!(refused("a.ts\n"), Error::NeitherKind);
    for number in ["", "x", "-1", "1.5", "18446744073709551616", "18446744073709551615"] {
        let body = format!("\n#EXT-X-MEDIA-SEQUENCE:{number}\n#EXTINF:4,\na\n");
        assert_eq!(refused(&body), Error::Number { line: 3, tag: "#EXT-X-MEDIA-SEQUENCE" }, "{number}");
    }
    assert_eq!(read(""), Err(Error::NotHls));
    assert_eq!(read("<html>"), Err(Error::NotHls));
}

#[test]
fn attributes_without_values_do_not_make_reading_quadratic() {
    // Searched to the end of the text for each line, this is 10^11 steps and would never end.
    let text = format!("#EXTM3U\n#EXTINF:4,\na.ts\n{}", "#EXT-X-KEY:x\n".repeat(300_000));
    assert_eq!(sequences(&text), [0]);
}

#[test]
fn a_long_recording_is_read_whole() {
    // Byte ranges and numbers go on across the parts that the parser is shown.
    let segment = "#EXTINF:4,\n#EXT-X-BYTERANGE:10\nall.ts\n";
    let head = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-BYTERANGE:10@5\n#EXTINF:4,\nall.ts\n";
    let media = media(format!("{head}{}", segment.repeat(999)));
    for (index, row) in (0..).zip(listed(&media)) {
        let start = 5 + 10 * index;
        let file = "https://cdn.example/live/720p/all.ts".into();
        assert_eq!(row, (7 + index, 4000, file, Some(start..start + 10)));
    }
    assert_eq!(media.listing.places.len(), 1000);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(lines in vec(any_line(), 0..40)) {
        let text = [&b"#EXTM3U\n"[..], &lines.concat()].concat();
        if let Ok(Playlist::Media(media)) = read(&text) {
            let timeline = &media.listing.timeline;
            prop_assert_eq!(timeline.segments.len(), media.listing.places.len());
            prop_assert!(timeline.segments.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));
            prop_assert!(!timeline.target.is_zero());
        }
    }
}

/// Tags with values that may or may not fit, and noise.
fn any_line() -> impl Strategy<Value = Vec<u8>> {
    let tag = prop::sample::select(vec![
        "#EXTINF:",
        "#EXTINF:4,",
        "#EXT-X-BYTERANGE:",
        "#EXT-X-BYTERANGE:5@",
        "#EXT-X-KEY:",
        "#EXT-X-MAP:URI=",
        "#EXT-X-MEDIA-SEQUENCE:",
        "#EXT-X-TARGETDURATION:",
        "#EXT-X-STREAM-INF:",
        "#EXT-X-SKIP:",
        "#EXT-X-MEDIA:TYPE=",
        "#EXT-X-PLAYLIST-TYPE:",
        "#EXT-X-ENDLIST",
        "#",
        "",
    ]);
    let value = prop_oneof![
        vec(any::<u8>(), 0..12),
        "[-0-9.,@eE\"]{0,12}".prop_map(String::into_bytes),
        "URI=\"[a-z:/{$}]{0,9}\"?".prop_map(String::into_bytes),
    ];
    let ending = prop::sample::select(vec!["\n", "\r\n", "\r", ""]);
    (tag, value, ending).prop_map(|(tag, value, ending)| [tag.as_bytes(), &value, ending.as_bytes()].concat())
}

#[test]
fn a_query_names_segments_only_where_nothing_else_does() {
    let list = |first: &str, second: &str| {
        let text = format!("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{first}\n#EXTINF:4,\n{second}\n");
        media(text).listing.timeline.segments.iter().map(|s| s.id).collect::<Vec<_>>()
    };
    assert_eq!(
        list("a.ts?token=1", "b.ts?token=1"),
        list("a.ts?token=2", "b.ts?token=2"),
        "a token is no name"
    );
    assert_ne!(list("s.php?ch=1&n=1", "s.php?ch=1&n=2"), list("s.php?ch=2&n=1", "s.php?ch=2&n=2"));
}
