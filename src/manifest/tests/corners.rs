//! Corners of HLS, each with what is listed and what is rewritten.

use std::ops::Range;

use super::url;
use crate::manifest::Limits;
use crate::manifest::hls::{Content, Master, Media, Playlist, parse, parse_importing};
use crate::manifest::identity::{Rules, by_sequence};
use crate::manifest::rewrite::{Use, hls, hls_importing};
use crate::model::address::Address;

const BASE: &str = "https://cdn.example/live/i.m3u8";

fn read(text: &str) -> Playlist {
    parse(&url(BASE), text.as_bytes(), &Limits::default(), &Rules::default()).unwrap()
}

fn media(text: &str) -> Media {
    match read(text) {
        Playlist::Media(media) => media,
        Playlist::Master(master) => panic!("a master: {master:?}"),
    }
}

fn master(text: &str) -> Master {
    match read(text) {
        Playlist::Master(master) => master,
        Playlist::Media(media) => panic!("a media playlist: {media:?}"),
    }
}

/// Sequence, file name and range of each listed segment.
fn listed(text: &str) -> Vec<(u64, String, Option<Range<u64>>)> {
    let media = media(text);
    let both = media.listing.timeline.segments.iter().zip(&media.listing.places);
    let row = both.map(|(segment, place)| {
        let name = place.url.as_str().strip_prefix("https://cdn.example/live/").unwrap_or(place.url.as_str());
        (segment.sequence, name.to_owned(), place.range.clone())
    });
    row.collect()
}

/// The rewritten playlist, each URI as its use and its name.
fn rewritten(text: &str) -> String {
    let mut map = |url: &Address, usage: Use| Some(format!("<{usage:?}:{}>", url.url().unwrap().path()));
    String::from_utf8(hls(&url(BASE), text.as_bytes(), &mut map).unwrap().to_vec()).unwrap()
}

#[test]
fn byte_ranges_over_several_files() {
    let file = |name: &str| name.to_owned();
    for (body, expected) in [
        (
            "#EXT-X-BYTERANGE:10@0\n#EXTINF:4,\na\n#EXT-X-BYTERANGE:20\n#EXTINF:4,\na\n#EXT-X-BYTERANGE:5@7\n\
             #EXTINF:4,\nb\n#EXT-X-BYTERANGE:5\n#EXTINF:4,\nb\n",
            vec![
                (0, file("a"), Some(0..10)),
                (1, file("a"), Some(10..30)),
                (2, file("b"), Some(7..12)),
                (3, file("b"), Some(12..17)),
            ],
        ),
        // Back in the first file, an offset is needed again (RFC 8216 §4.3.2.2).
        (
            "#EXT-X-BYTERANGE:10@0\n#EXTINF:4,\na\n#EXTINF:4,\nb\n#EXT-X-BYTERANGE:10\n#EXTINF:4,\na\n",
            vec![(0, file("a"), Some(0..10)), (1, file("b"), None)],
        ),
        // One that can't be told has no successor either; one that is a gap does.
        (
            "#EXT-X-BYTERANGE:x\n#EXTINF:4,\na\n#EXT-X-BYTERANGE:10\n#EXTINF:4,\na\n\
             #EXT-X-GAP\n#EXT-X-BYTERANGE:10@5\n#EXTINF:4,\na\n#EXT-X-BYTERANGE:10\n#EXTINF:4,\na\n",
            vec![(3, file("a"), Some(15..25))],
        ),
    ] {
        assert_eq!(listed(&format!("#EXTM3U\n{body}")), expected, "{body}");
    }
}

#[test]
fn what_stands_between_segments_changes_none_of_them() {
    let plain = listed("#EXTM3U\n#EXTINF:4,\na.ts\n#EXTINF:4,\nb.ts\n#EXTINF:4,\nc.ts\n");
    for between in [
        "#EXT-X-DISCONTINUITY\n",
        "#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"ad.mp4\"\n",
        "#EXT-X-MAP:URI=\"all.mp4\",BYTERANGE=\"700@0\"\n",
        "#EXT-X-CUE-OUT:30\n",
        "#EXT-X-CUE-IN\n#EXT-OATCLS-SCTE35:/DA=\n",
        "#EXT-X-DATERANGE:ID=\"ad\",START-DATE=\"2026-01-01T00:00:00Z\",SCTE35-OUT=0xFC\n",
        "#EXT-X-START:TIME-OFFSET=-12.5,PRECISE=YES\n",
        "#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00Z\n#EXT-X-BITRATE:900\n",
        "#EXT-X-KEY:METHOD=AES-128,URI=\"k1\"\n#EXT-X-KEY:METHOD=NONE\n",
        "#EXT-X-I-FRAMES-ONLY\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-ALLOW-CACHE:NO\n",
        "#EXT-X-PART:DURATION=1,URI=\"a.1.ts\"\n#EXT-X-RENDITION-REPORT:URI=\"../j.m3u8\",LAST-MSN=3\n",
    ] {
        let text =
            format!("#EXTM3U\n#EXTINF:4,\na.ts\n{between}#EXTINF:4,\nb.ts\n#EXTINF:4,\n{between}c.ts\n");
        assert_eq!(listed(&text), plain, "{between}");
        let copy = rewritten(&text);
        let uris = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!((copy.matches("<Segment:/live/").count() >= 3, uris(&copy)), (true, 3), "{copy}");
        assert_eq!(copy.contains("TIME-OFFSET=-12.5,PRECISE=YES"), between.contains("START:"), "{copy}");
    }
}

#[test]
fn an_init_segment_for_each_discontinuity() {
    let text = "#EXTM3U\n#EXT-X-MAP:URI=\"a.mp4\"\n#EXTINF:4,\n1.m4s\n#EXT-X-DISCONTINUITY\n\
        #EXT-X-MAP:URI=\"ads/b.mp4\",BYTERANGE=\"9@1\"\n#EXTINF:4,\n2.m4s\n#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"a.mp4\"\n\
        #EXTINF:4,\n3.m4s\n";
    let at = |name: &str| url(&format!("https://cdn.example/live/{name}"));
    assert_eq!(media(text).map_urls, [at("a.mp4"), at("ads/b.mp4")]);
    assert_eq!(rewritten(text).matches("<Map:/live/a.mp4>").count(), 2);
}

#[test]
fn masters_with_everything_in_them() {
    let text = "#EXTM3U\n#EXT-X-START:TIME-OFFSET=10\n\
        #EXT-X-SESSION-DATA:DATA-ID=\"title\",VALUE=\"Evening, \"\n\
        #EXT-X-SESSION-DATA:DATA-ID=\"more\",URI=\"more.json\"\n\
        #EXT-X-SESSION-KEY:METHOD=AES-128,URI=\"k\"\n\
        #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"1\",URI=\"a.m3u8\"\n\
        #EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID=\"v\",NAME=\"2\",URI=\"v.m3u8\"\n\
        #EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"s\",NAME=\"3\",URI=\"s.m3u8\"\n\
        #EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID=\"c\",NAME=\"4\",INSTREAM-ID=\"CC1\"\n\
        #EXT-X-MEDIA:TYPE=SMELL,GROUP-ID=\"x\",NAME=\"5\",URI=\"x.m3u8\"\n\
        #EXT-X-STREAM-INF:BANDWIDTH=1\none.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=1\n//backup.example/live/one.m3u8\n\
        #EXT-X-STREAM-INF:BANDWIDTH=2\ntwo.m3u8\n#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI=\"frames.m3u8\"\n";
    let all = master(text);
    let kinds: Vec<Content> = all.renditions.iter().map(|r| r.content).collect();
    assert_eq!(kinds, [Content::Audio, Content::Video, Content::Subtitles, Content::Other]);
    let hosts: Vec<_> = all.variants.iter().map(|v| (v.bandwidth.0, v.url.host_str().unwrap())).collect();
    assert_eq!(hosts, [(1, "cdn.example"), (1, "backup.example"), (2, "cdn.example")], "redundant ones stay");
    assert_eq!(all.iframes.len(), 1);
    let copy = rewritten(text);
    for part in [
        "#EXT-X-START:TIME-OFFSET=10\n",
        "VALUE=\"Evening, \"\n",
        "<Other:/live/more.json>",
        "<Key:/live/k>",
        "TYPE=SMELL,GROUP-ID=\"x\",NAME=\"5\",URI=\"<Playlist:/live/x.m3u8>\"",
        "<Playlist:/live/frames.m3u8>",
    ] {
        assert!(copy.contains(part), "{part} is not in\n{copy}");
    }
    assert_eq!(copy.matches("<Playlist:/live/one.m3u8>").count(), 2);
}

#[test]
fn i_frame_playlists_list_ranges_that_overlap_nothing() {
    let text = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-I-FRAMES-ONLY\n#EXTINF:4,\n#EXT-X-BYTERANGE:9400@376\na.ts\n\
        #EXTINF:4,\n#EXT-X-BYTERANGE:7144@47000\na.ts\n#EXTINF:4,\n#EXT-X-BYTERANGE:10000@376\nb.ts\n#EXT-X-ENDLIST\n";
    let a = |range| (range, "a.ts".to_owned());
    let rows: Vec<_> = listed(text).into_iter().map(|(_, name, range)| (range.unwrap(), name)).collect();
    assert_eq!(rows, [a(376..9776), a(47_000..54_144), (376..10_376, "b.ts".to_owned())]);
}

#[test]
fn variables_that_are_known_are_filled_in_and_others_left_to_the_player() {
    let base = url("https://cdn.example/live/i.m3u8?v=q%2F1&w=%22");
    let imported = match read(
        "#EXTM3U\n#EXT-X-DEFINE:NAME=\"v\",VALUE=\"m\"\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{$v}.m3u8\n",
    ) {
        Playlist::Master(master) => {
            assert_eq!(master.variants[0].url, url("https://cdn.example/live/m.m3u8"));
            master.variables
        }
        Playlist::Media(media) => panic!("a media playlist: {media:?}"),
    };
    for (define, expected) in [
        ("NAME=\"v\",VALUE=\"x\"", Some("x")),
        ("VALUE=\"x\", name=\"v\"", Some("x")),
        ("NAME=\"v\",VALUE=\"x\"\n#EXT-X-DEFINE:NAME=\"v\",VALUE=\"y\"", Some("x")),
        ("NAME=\"u\",VALUE=\"y\"\n#ext-x-define:IMPORT=\"v\"", Some("m")),
        ("QUERYPARAM=\"v\"", Some("q/1")),
        ("QUERYPARAM=\"w\"", None),
        ("IMPORT=\"u\"", None),
        ("NAME=\"v\"", None),
        ("NAME=v,VALUE=x", None),
        ("NAME=\"v\",VALUE=\"{$v}\"", None),
    ] {
        let text = format!(
            "#EXTM3U\n#EXT-X-DEFINE:{define}\n#EXT-X-KEY:METHOD=AES-128,URI=\"https://{{$v}}.example/k\"\n#EXTINF:4,\n\
             {{$v}}/a.ts?{{$v}}\n#EXTINF:4,\nb.ts?$v\n"
        );
        let media = parse_importing(&base, text.as_bytes(), &Limits::default(), &Rules::default(), &imported);
        let Ok(Playlist::Media(media)) = media else { panic!("no media playlist: {text}") };
        let places: Vec<_> = media.listing.places.iter().map(|place| place.url.as_str()).collect();
        let b = "https://cdn.example/live/b.ts?$v";
        let mut seen = Vec::new();
        let mut map = |url: &Address, _| {
            seen.push(url.to_string());
            Some("<>".to_owned())
        };
        let copy = hls_importing(&base, text.as_bytes(), &imported, &mut map).unwrap();
        let copy = String::from_utf8(copy.to_vec()).unwrap();
        seen.retain(|url| *url != base.as_str());
        match expected {
            Some(value) => {
                let a = format!("https://cdn.example/live/{value}/a.ts?{value}");
                assert_eq!((&places[..], media.key_urls.len()), (&[&a[..], b][..], 1), "{define}");
                assert!(seen.contains(&a) && !copy.contains("{$v}/a.ts"), "{define}: {copy}");
            }
            None => {
                assert_eq!((&places[..], &seen[..]), (&[b][..], &[b.to_owned()][..]), "{define}");
                assert!(copy.contains("\n{$v}/a.ts?{$v}\n"), "{define}: {copy}");
            }
        }
        let same = hls_importing(&base, text.as_bytes(), &imported, &mut |_, _| None).unwrap();
        assert_eq!(same, text, "unasked");
    }
}

#[test]
fn a_value_from_the_query_is_written_down_for_players_that_see_none() {
    let base = url("https://cdn.example/live/i.m3u8?t=a%20b&q=%22");
    let copy = |define: &str| {
        let text = format!("#EXTM3U\n#EXT-X-DEFINE:{define}\n#EXTINF:4,\n{{$t}}.ts\n");
        let copy = hls(&base, text.as_bytes(), &mut |_, _| Some("<>".to_owned())).unwrap();
        String::from_utf8(copy.to_vec()).unwrap().lines().nth(1).unwrap().to_owned()
    };
    assert_eq!(copy("QUERYPARAM=\"t\""), "#EXT-X-DEFINE:NAME=\"t\",VALUE=\"a b\"");
    assert_eq!(copy("X=1, queryparam=\"t\",Y=\"2\""), "#EXT-X-DEFINE:X=1, NAME=\"t\",VALUE=\"a b\",Y=\"2\"");
    for stays in [
        "QUERYPARAM=\"other\"",
        "QUERYPARAM=\"q\"",
        "IMPORT=\"t\"",
        "VALUE=\"x\",QUERYPARAM=\"t\"",
        "NAME=\"t\",VALUE=\"x\"",
    ] {
        assert_eq!(copy(stays), format!("#EXT-X-DEFINE:{stays}"));
    }
}

#[test]
fn variables_can_not_make_much_of_little() {
    let long = "x".repeat(300);
    let playlist = |times: usize| {
        let uri = "{$v}".repeat(times);
        format!("#EXTM3U\n#EXT-X-DEFINE:NAME=\"v\",VALUE=\"{long}\"\n#EXTINF:4,\n{uri}\n")
    };
    assert_eq!((listed(&playlist(3)).len(), listed(&playlist(4)).len()), (1, 0));
    let many: String = (0..100).map(|n| format!("#EXT-X-DEFINE:NAME=\"v{n}\",VALUE=\"{long}\"\n")).collect();
    let text = |n: usize| format!("#EXTM3U\n{many}#EXTINF:4,\n{{$v{n}}}\n");
    assert_eq!((listed(&text(0)).len(), listed(&text(99)).len()), (1, 0));
}

#[test]
fn by_sequence_only_numbers_count() {
    let timeline = |text: &str, rendition: &str| {
        let mut listing = media(text).listing;
        by_sequence(&mut listing, rendition);
        listing.timeline
    };
    let one = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:4,\ntoken-1/a.ts\n#EXTINF:4,\ntoken-1/b.ts?x\n";
    let other = one.replace("token-1/a", "9f/q").replace("token-1/b", "8c/r");
    assert_eq!(timeline(one, "news\n0"), timeline(&other, "news\n0"));
    assert_ne!(timeline(one, "news\n0").swarm, timeline(one, "news\n1").swarm);
    let next = one.replace(":7", ":8");
    let ids = |text: &str| timeline(text, "news").segments.iter().map(|s| s.id).collect::<Vec<_>>();
    assert_eq!(ids(one)[1], ids(&next)[0], "the same number is the same segment");
    assert_ne!(ids(one)[0], ids(one)[1]);
}
