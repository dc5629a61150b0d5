//! HLS playlists (RFC 8216): what they list.

use std::ops::Range;
use std::time::Duration;

use m3u8_rs::{MediaPlaylist, MediaPlaylistType, MediaSegment};
use url::Url;

use super::identity::Rules;
use super::{BOM, Error, Limits, is_playlist};
use crate::model::ids::{SegmentId, SwarmId};
use crate::model::timeline::{Kind, Listing, Place, Segment, Timeline};

/// No segment plays longer than this; a longer one is a mistake, or meant to overflow something.
const LONGEST: Duration = Duration::from_secs(600);
/// A segment of no stated duration still takes a moment.
const SHORTEST: Duration = Duration::from_millis(1);

/// A playlist, of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Playlist {
    /// Names other playlists.
    Master(Master),
    /// Names segments.
    Media(Media),
}

/// A master playlist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Master {
    /// Its variants (EXT-X-STREAM-INF), with their peak bit rate in bits per second.
    pub variants: Vec<(Url, u64)>,
    /// Playlists of alternative audio, video and subtitles (EXT-X-MEDIA).
    pub renditions: Vec<Url>,
}

/// A media playlist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// Its segments. Left out: gaps, and segments that are not to be had over HTTP.
    pub listing: Listing,
    /// EXT-X-ENDLIST was there.
    pub ended: bool,
}

/// Reads a playlist that was fetched from `base`.
///
/// # Errors
/// When it is not a playlist, or larger than `limits`; these are checked before the text is parsed.
pub fn parse(base: &Url, text: &[u8], limits: &Limits, rules: &Rules) -> Result<Playlist, Error> {
    check(text, limits)?;
    let text = normal(text);
    let invalid = |what: &str| Error::Invalid(what.to_owned());
    match m3u8_rs::parse_playlist_res(&text) {
        Ok(m3u8_rs::Playlist::MasterPlaylist(master)) => Ok(Playlist::Master(read_master(base, &master))),
        Ok(m3u8_rs::Playlist::MediaPlaylist(media)) => Ok(Playlist::Media(read_media(base, &media, rules))),
        Err(m3u8_rs_error) => Err(match m3u8_rs_error.to_string().lines().next() {
            Some(first) => invalid(&first.chars().filter(|c| !c.is_control()).take(120).collect::<String>()),
            None => invalid("it ends early"),
        }),
    }
}

fn check(text: &[u8], limits: &Limits) -> Result<(), Error> {
    let too_much = |what, found, limit| Err(Error::TooMuch { what, found, limit });
    if !is_playlist(text) {
        return Err(Error::NotAPlaylist);
    }
    if text.len() > limits.bytes {
        return too_much("bytes", text.len(), limits.bytes);
    }
    let (mut segments, mut renditions) = (0, 0);
    for line in text.split(|&b| b == b'\n') {
        if line.len() > limits.line {
            return too_much("bytes in a line", line.len(), limits.line);
        }
        let named = |tag: &[u8]| line.len() >= tag.len() && line[..tag.len()].eq_ignore_ascii_case(tag);
        segments += usize::from(named(b"#EXTINF"));
        renditions += usize::from(named(b"#EXT-X-STREAM-INF") || named(b"#EXT-X-MEDIA:"));
        if segments > limits.segments {
            return too_much("segments", segments, limits.segments);
        }
        if renditions > limits.renditions {
            return too_much("renditions", renditions, limits.renditions);
        }
    }
    Ok(())
}

/// The text as the parser wants it: no byte order mark, no empty lines, tag names in capitals, a final line end, and no
/// titles, since it takes what follows a comma in one for a segment.
fn normal(text: &[u8]) -> Vec<u8> {
    let text = text.strip_prefix(BOM).unwrap_or(text);
    let mut normal = Vec::with_capacity(text.len() + 1);
    for line in text.split(|&b| b == b'\n') {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let name = if line.len() > 4 && line[..4].eq_ignore_ascii_case(b"#EXT") {
            line.iter().position(|&b| b == b':').unwrap_or(line.len())
        } else {
            0
        };
        normal.extend(line[..name].iter().map(u8::to_ascii_uppercase));
        let titled = line[..name].eq_ignore_ascii_case(b"#EXTINF");
        let end = if titled {
            line.iter().position(|&b| b == b',').map_or(line.len(), |i| i + 1)
        } else {
            line.len()
        };
        normal.extend_from_slice(&line[name..end]);
        normal.push(b'\n');
    }
    normal
}

fn web(base: &Url, uri: &str) -> Option<Url> {
    // A variable (EXT-X-DEFINE) is the player's to fill in: the file's name is not known here.
    if uri.contains("{$") {
        return None;
    }
    base.join(uri).ok().filter(|url| matches!(url.scheme(), "http" | "https"))
}

fn read_master(base: &Url, master: &m3u8_rs::MasterPlaylist) -> Master {
    let played = master.variants.iter().filter(|v| !v.is_i_frame);
    Master {
        variants: played.filter_map(|v| Some((web(base, &v.uri)?, v.bandwidth))).collect(),
        renditions: master.alternatives.iter().filter_map(|a| web(base, a.uri.as_deref()?)).collect(),
    }
}

fn read_media(base: &Url, media: &MediaPlaylist, rules: &Rules) -> Media {
    let swarm = SwarmId::of(&rules.identity(base));
    let mut listing = Listing {
        manifest: base.clone(),
        timeline: Timeline {
            swarm,
            kind: kind(media),
            target: Duration::from_secs(media.target_duration.clamp(1, LONGEST.as_secs())),
            alternatives: false,
            segments: Vec::with_capacity(media.segments.len()),
        },
        places: Vec::with_capacity(media.segments.len()),
    };
    let mut last: Option<(&str, u64)> = None;
    for (index, segment) in media.segments.iter().enumerate() {
        let range = byte_range(segment, &mut last);
        let Some(sequence) = media.media_sequence.checked_add(index as u64) else { break };
        let Some(url) = web(base, &segment.uri) else { continue };
        // A range that can't be placed is not a segment that can be named.
        let Ok(range) = range else { continue };
        if segment.unknown_tags.iter().any(|tag| tag.tag == "X-GAP") {
            continue;
        }
        let id = SegmentId::of(swarm, sequence, &rules.segment(&url, range.as_ref()));
        listing.timeline.segments.push(Segment { id, sequence, duration: duration(segment.duration) });
        listing.places.push(Place { url, range });
    }
    Media { listing, ended: media.end_list }
}

fn kind(media: &MediaPlaylist) -> Kind {
    match (&media.playlist_type, media.end_list) {
        (_, true) | (Some(MediaPlaylistType::Vod), _) => Kind::Vod,
        (Some(MediaPlaylistType::Event), false) => Kind::Event,
        _ => Kind::Live,
    }
}

fn duration(seconds: f32) -> Duration {
    let seconds = if seconds.is_finite() { seconds.clamp(0.0, LONGEST.as_secs_f32()) } else { 0.0 };
    // Through f64, rounded to milliseconds: every viewer computes the same.
    Duration::from_millis((f64::from(seconds) * 1000.0).round() as u64).max(SHORTEST)
}

/// The bytes of the file that a segment is (RFC 8216 §4.3.2.2). Without an offset it begins where the one before it in
/// the same file ended; `Err` when there is none.
fn byte_range<'a>(
    segment: &'a MediaSegment,
    last: &mut Option<(&'a str, u64)>,
) -> Result<Option<Range<u64>>, ()> {
    let Some(range) = &segment.byte_range else {
        *last = None;
        return Ok(None);
    };
    let implied = last.filter(|(uri, _)| *uri == segment.uri).map(|(_, end)| end);
    let span = range.offset.or(implied).and_then(|start| Some(start..start.checked_add(range.length)?));
    *last = span.as_ref().map(|span| (segment.uri.as_str(), span.end));
    span.filter(|span| !span.is_empty()).map(Some).ok_or(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Url {
        Url::parse("https://cdn.example/live/720p/index.m3u8?token=secret").unwrap()
    }

    fn media(text: &str) -> Media {
        match parse(&base(), text.as_bytes(), &Limits::default(), &Rules::default()) {
            Ok(Playlist::Media(media)) => media,
            other => panic!("not a media playlist: {other:?}"),
        }
    }

    const LIVE: &str = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:107\n\
        #EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00.000Z\n#EXTINF:4.000,\nseg107.ts\n#EXTINF:3.96,title, with comma\n\
        /other/seg108.ts?x=1\n#EXT-X-DISCONTINUITY\n#EXTINF:4,\nhttps://elsewhere.example/seg109.ts\n";

    #[test]
    fn a_live_playlist_is_read() {
        let Media { listing, ended } = media(LIVE);
        assert!(!ended);
        let timeline = &listing.timeline;
        assert_eq!((timeline.kind, timeline.target), (Kind::Live, Duration::from_secs(4)));
        assert_eq!(timeline.swarm, SwarmId::of("cdn.example/live/720p/index.m3u8"), "no token in a name");
        let sequences: Vec<_> = timeline.segments.iter().map(|s| s.sequence).collect();
        assert_eq!(sequences, [107, 108, 109]);
        assert_eq!(timeline.segments[1].duration, Duration::from_millis(3960));
        let urls: Vec<_> = listing.places.iter().map(|p| p.url.as_str()).collect();
        assert_eq!(
            urls,
            [
                "https://cdn.example/live/720p/seg107.ts",
                "https://cdn.example/other/seg108.ts?x=1",
                "https://elsewhere.example/seg109.ts"
            ]
        );
    }

    #[test]
    fn carriage_returns_a_byte_order_mark_blank_lines_and_odd_case_change_nothing() {
        let odd = format!("\u{FEFF}{}", LIVE.replace("#EXTINF", "#extinf").replace('\n', " \r\n\r\n"));
        assert_eq!(media(&odd), media(LIVE));
        assert_eq!(media(LIVE.trim_end()), media(LIVE), "no final line end");
    }

    #[test]
    fn the_kind_follows_type_and_end() {
        for (tags, kind) in [
            ("", Kind::Live),
            ("#EXT-X-PLAYLIST-TYPE:EVENT\n", Kind::Event),
            ("#EXT-X-PLAYLIST-TYPE:VOD\n", Kind::Vod),
            ("#EXT-X-ENDLIST\n", Kind::Vod),
            ("#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-ENDLIST\n", Kind::Vod),
        ] {
            let text = format!("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\na.ts\n{tags}");
            assert_eq!(media(&text).listing.timeline.kind, kind, "{tags}");
        }
    }

    #[test]
    fn byte_ranges_follow_each_other_where_no_offset_is_given() {
        let text = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MAP:URI=\"f.mp4\",BYTERANGE=\"700@0\"\n\
            #EXTINF:4,\n#EXT-X-BYTERANGE:1000@700\nf.mp4\n#EXTINF:4,\n#EXT-X-BYTERANGE:500\nf.mp4\n\
            #EXTINF:4,\n#EXT-X-BYTERANGE:500\ng.mp4\n#EXTINF:4,\n#EXT-X-BYTERANGE:10@18446744073709551615\nf.mp4\n";
        let listing = media(text).listing;
        let ranges: Vec<_> = listing.places.iter().map(|p| p.range.clone().unwrap()).collect();
        assert_eq!(
            ranges,
            [700..1700, 1700..2200],
            "one without a beginning and one past the end are left out"
        );
        assert_ne!(listing.timeline.segments[0].id, listing.timeline.segments[1].id);
    }

    #[test]
    fn gaps_variables_and_other_schemes_are_not_listed() {
        let text = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\na.ts\n#EXT-X-GAP\n#EXTINF:4,\nb.ts\n\
            #EXTINF:4,\n{$var}/c.ts\n#EXTINF:4,\nfile:///etc/passwd\n#EXTINF:4,\nd.ts\n";
        let listing = media(text).listing;
        let sequences: Vec<_> = listing.timeline.segments.iter().map(|s| s.sequence).collect();
        assert_eq!(sequences, [0, 4]);
    }

    #[test]
    fn a_master_is_read() {
        let text = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"en\",DEFAULT=YES,URI=\"audio/en.m3u8\"\n\
            #EXT-X-STREAM-INF:BANDWIDTH=1200000,CODECS=\"avc1.4d401f\",AUDIO=\"a\"\nlow.m3u8\n\
            #EXT-X-STREAM-INF:BANDWIDTH=5000000\nhttps://b.example/high.m3u8\n\
            #EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=90000,URI=\"iframes.m3u8\"\n";
        let Ok(Playlist::Master(master)) =
            parse(&base(), text.as_bytes(), &Limits::default(), &Rules::default())
        else {
            panic!("not a master")
        };
        let variants: Vec<_> = master.variants.iter().map(|(u, b)| (u.as_str(), *b)).collect();
        assert_eq!(
            variants,
            [
                ("https://cdn.example/live/720p/low.m3u8", 1_200_000),
                ("https://b.example/high.m3u8", 5_000_000)
            ]
        );
        assert_eq!(master.renditions.len(), 1);
    }

    #[test]
    fn limits_stand_before_the_parser() {
        let error = |text: &[u8]| parse(&base(), text, &Limits::default(), &Rules::default()).unwrap_err();
        assert_eq!(error(b"<html>"), Error::NotAPlaylist);
        let many = format!("#EXTM3U\n{}", "#EXTINF:4,\na.ts\n".repeat(20_001));
        assert!(matches!(error(many.as_bytes()), Error::TooMuch { what: "segments", limit: 20_000, .. }));
        let long = format!("#EXTM3U\n#EXTINF:4,\n{}", "a".repeat(20_000));
        assert!(matches!(error(long.as_bytes()), Error::TooMuch { what: "bytes in a line", .. }));
        let large = format!("#EXTM3U\n{}", "# comment\n".repeat(500_000));
        assert!(matches!(error(large.as_bytes()), Error::TooMuch { what: "bytes", .. }));
        let wide = format!("#EXTM3U\n{}", "#EXT-X-STREAM-INF:BANDWIDTH=1\na\n".repeat(201));
        assert!(matches!(error(wide.as_bytes()), Error::TooMuch { what: "renditions", .. }));
    }

    #[test]
    fn numbers_out_of_range_are_bounded() {
        let text = "#EXTM3U\n#EXT-X-TARGETDURATION:99999999999\n#EXT-X-MEDIA-SEQUENCE:18446744073709551615\n\
            #EXTINF:nan,\na.ts\n#EXTINF:4,\nb.ts\n";
        if let Ok(Playlist::Media(media)) =
            parse(&base(), text.as_bytes(), &Limits::default(), &Rules::default())
        {
            assert!(media.listing.timeline.target <= LONGEST);
            assert!(media.listing.timeline.segments.len() <= 1);
        }
        for (seconds, expected) in
            [(f32::NAN, 1), (-1.0, 1), (f32::INFINITY, 1), (1e30, 600_000), (2.002, 2002)]
        {
            assert_eq!(duration(seconds), Duration::from_millis(expected), "{seconds}");
        }
    }
}
