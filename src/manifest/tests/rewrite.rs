use proptest::collection::vec;
use proptest::prelude::*;
use url::Url;

use super::url;
use crate::manifest::Error;
use crate::manifest::rewrite::{MAX_REWRITTEN, Use, hls};

const DAEMON: &str = "http://127.0.0.1:7223";

/// Prefix mode, as the proxy has it.
fn prefixed(url: &impl std::fmt::Display) -> String {
    format!("/{url}")
}

/// What the daemon is asked for when a player at the daemon resolves `reference`.
fn through_daemon(base: &Url, reference: &str) -> Url {
    let asked = url(&format!("{DAEMON}{}", prefixed(base))).join(reference).unwrap();
    url(asked.as_str().strip_prefix(&format!("{DAEMON}/")).unwrap())
}

fn rewritten(base: &str, text: &[u8]) -> (Vec<u8>, Vec<(String, Use)>) {
    let mut seen = Vec::new();
    let out = hls(&url(base), text, &mut |url, usage| {
        seen.push((url.to_string(), usage));
        Some(format!("<{}>", seen.len()))
    });
    (out.unwrap().to_vec(), seen)
}

#[track_caller]
fn assert_rewritten(text: &str, expected: &str, uris: &[(&str, Use)]) {
    let (out, seen) = rewritten("https://cdn.example/live/master.m3u8?t=1", text.as_bytes());
    assert_eq!(String::from_utf8(out).unwrap(), expected);
    let seen: Vec<_> = seen.iter().map(|(url, usage)| (url.as_str(), *usage)).collect();
    assert_eq!(seen, uris);
}

#[test]
fn a_master_playlist() {
    assert_rewritten(
        "#EXTM3U\n#EXT-X-VERSION:6\n\
         #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"URI=\",URI=\"audio/en.m3u8\",DEFAULT=YES\n\
         #EXT-X-SESSION-DATA:DATA-ID=\"com.example.t\",URI=\"/data.json\"\n\
         #EXT-X-SESSION-KEY:METHOD=SAMPLE-AES,URI=\"skd://k\",KEYFORMAT=\"x\"\n\
         #EXT-X-CONTENT-STEERING:SERVER-URI=\"/steering?video=1\",PATHWAY-ID=\"CDN-A\"\n\
         #EXT-X-STREAM-INF:BANDWIDTH=2177116,CODECS=\"avc1.640020,mp4a.40.2\",AUDIO=\"a\"\n\
         v5/prog_index.m3u8\n\
         #EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=186522,URI=\"//i.example/v5/iframe\"",
        "#EXTM3U\n#EXT-X-VERSION:6\n\
         #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"URI=\",URI=\"<1>\",DEFAULT=YES\n\
         #EXT-X-SESSION-DATA:DATA-ID=\"com.example.t\",URI=\"<2>\"\n\
         #EXT-X-SESSION-KEY:METHOD=SAMPLE-AES,URI=\"skd://k\",KEYFORMAT=\"x\"\n\
         #EXT-X-CONTENT-STEERING:SERVER-URI=\"<3>\",PATHWAY-ID=\"CDN-A\"\n\
         #EXT-X-STREAM-INF:BANDWIDTH=2177116,CODECS=\"avc1.640020,mp4a.40.2\",AUDIO=\"a\"\n\
         <4>\n\
         #EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=186522,URI=\"<5>\"",
        &[
            ("https://cdn.example/live/audio/en.m3u8", Use::Playlist),
            ("https://cdn.example/data.json", Use::Other),
            ("https://cdn.example/steering?video=1", Use::Other),
            ("https://cdn.example/live/v5/prog_index.m3u8", Use::Playlist),
            ("https://i.example/v5/iframe", Use::Playlist),
        ],
    );
}

#[test]
fn a_low_latency_window() {
    assert_rewritten(
        "\u{feff}#EXTM3U\r\n#EXT-X-TARGETDURATION:4\r\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES\r\n\
         #EXT-X-MAP:URI=\"init.mp4\",BYTERANGE=\"10@0\"\r\n#EXT-X-KEY:METHOD=AES-128,URI=\"k.php?a,b\",IV=0x1\r\n\
         #EXT-X-VENDOR:URI=\"stays.ts\"\r\n#EXTINF:4.0,a.ts, URI=\"x\"\r\n  seg 1.mp4\t\r\n\
         #EXT-X-DATERANGE:ID=\"ad\",X-ASSET-LIST=\"ads.json\",X-ASSET-URI=\"ad.m3u8\"\r\n\
         #EXT-X-PART:DURATION=1, URI=\"p1.mp4\" ,INDEPENDENT=YES\r\n\
         #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p2.mp4\"\r\n#EXT-X-PRELOAD-HINT:URI=\"i2.mp4\",TYPE=MAP\r\n\
         #EXT-X-RENDITION-REPORT:URI=\"../1080/i.m3u8\",LAST-MSN=2\r\n",
        "\u{feff}#EXTM3U\r\n#EXT-X-TARGETDURATION:4\r\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES\r\n\
         #EXT-X-MAP:URI=\"<1>\",BYTERANGE=\"10@0\"\r\n#EXT-X-KEY:METHOD=AES-128,URI=\"<2>\",IV=0x1\r\n\
         #EXT-X-VENDOR:URI=\"stays.ts\"\r\n#EXTINF:4.0,a.ts, URI=\"x\"\r\n  <3>\t\r\n\
         #EXT-X-DATERANGE:ID=\"ad\",X-ASSET-LIST=\"<4>\",X-ASSET-URI=\"<5>\"\r\n\
         #EXT-X-PART:DURATION=1, URI=\"<6>\" ,INDEPENDENT=YES\r\n\
         #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"<7>\"\r\n#EXT-X-PRELOAD-HINT:URI=\"<8>\",TYPE=MAP\r\n\
         #EXT-X-RENDITION-REPORT:URI=\"<9>\",LAST-MSN=2\r\n",
        &[
            ("https://cdn.example/live/init.mp4", Use::Map),
            ("https://cdn.example/live/k.php?a,b", Use::Key),
            ("https://cdn.example/live/seg%201.mp4", Use::Segment),
            ("https://cdn.example/live/ads.json", Use::Other),
            ("https://cdn.example/live/ad.m3u8", Use::Playlist),
            ("https://cdn.example/live/p1.mp4", Use::Segment),
            ("https://cdn.example/live/p2.mp4", Use::Segment),
            ("https://cdn.example/live/i2.mp4", Use::Map),
            ("https://cdn.example/1080/i.m3u8", Use::Playlist),
        ],
    );
}

#[test]
fn a_channel_list_leads_to_playlists() {
    assert_rewritten(
        "#EXTM3U\n#EXTINF:-1 tvg-id=\"1\",News\nhttp://tv.example/1/index.m3u8?u=x\n#EXTINF:-1,Raw\nhttp://tv.example/2\n",
        "#EXTM3U\n#EXTINF:-1 tvg-id=\"1\",News\n<1>\n#EXTINF:-1,Raw\n<2>\n",
        &[("http://tv.example/1/index.m3u8?u=x", Use::Playlist), ("http://tv.example/2", Use::Segment)],
    );
}

#[test]
fn what_is_not_ours_to_change_stays() {
    for text in [
        &b"#EXTM3U\n#EXT-X-KEY:METHOD=NONE\n#EXT-X-KEY:METHOD=AES-128,URI=\"data:;base64,AA==\"\n"[..],
        b"#EXTM3U\n#EXTINF:4,\n{$host}/a.ts\n#EXT-X-MAP:URI=\"https://x.example/{$p}\"\n",
        b"#EXTM3U\n# caf\xe9 http://x.example/\n#EXTINF:4,\ncaf\xe9.ts\n",
        b"#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"unclosed\n#EXT-X-MAP:URI=\"\"\n#EXT-X-MAP\n",
        b"#EXTM3U\n#EXT-X-MAP:URI=unquoted.mp4\nrtmp://x.example/a\nhttp://\n\n \n\0",
        b"#EXTM3U",
    ] {
        let (out, seen) = rewritten("https://cdn.example/live/i.m3u8", text);
        assert_eq!(seen, []);
        assert_eq!(out, text, "{}", String::from_utf8_lossy(text));
    }
}

#[test]
fn a_mapper_can_not_break_the_playlist() {
    let text = b"#EXTM3U\n#EXTINF:4,\na.ts\n#EXT-X-MAP:URI=\"i.mp4\"\n";
    for replacement in ["a\nb", "a\"b", "a b", "#x", "", "a\rb"] {
        let out = hls(&url("http://a.example/"), text, &mut |_, _| Some(replacement.into()));
        assert_eq!(out.unwrap()[..], text[..], "{replacement:?}");
    }
}

#[test]
fn a_playlist_that_would_explode_is_refused() {
    let base = url("https://cdn.example/");
    let text = [&b"#EXTM3U\n"[..], &b"a\n".repeat(1000)].concat();
    let long = "x".repeat(MAX_REWRITTEN / 900);
    assert_eq!(hls(&base, &text, &mut |_, _| Some(long.clone())), Err(Error::RewrittenTooLong));
    assert_eq!(hls(&base, b"<html>", &mut |_, _| None), Err(Error::NotHls));
}

fn is_ours(url: &Url) -> bool {
    url.scheme().starts_with("http")
        && url.host_str().is_some_and(|host| host.bytes().any(|byte| byte != b'.'))
}

/// What a generated playlist is made of.
#[derive(Clone, Debug)]
enum Chunk {
    Text(Vec<u8>),
    Uri(String, Use),
}

fn reference() -> impl Strategy<Value = String> {
    let path = "[a-zA-Z0-9_.~%é漢 !$&'()*+;=@-]{0,8}(/[a-z0-9. é]{0,5}){0,3}";
    prop_oneof![
        path.prop_map(|path| format!("s{path}.ts")),
        path.prop_map(|path| format!("../{path}x")),
        path.prop_map(|path| format!("/{path}//y/./z")),
        (path, "[a-z]{1,6}").prop_map(|(path, host)| format!("//{host}.example:8080/{path}#frag")),
        (path, "[a-z]{1,6}").prop_map(|(path, host)| format!("https://{host}.example/a%2Fb/{path}?t=%2F")),
        path.prop_map(|path| format!("HTTP://Up.Example:80/{path}?u=http://x.example/y?z,w")),
        "[a-z]{1,5}".prop_map(|name| format!("{name}.ts?u=http://x.example/{name}&v={{1}}")),
        "[a-z]{0,5}".prop_map(|query| format!("?{query}=1")),
        Just("data:text/plain;base64,AA==".into()),
        Just("skd://key/1".into()),
        Just("{$base}/a.ts".into()),
    ]
}

fn line() -> impl Strategy<Value = Vec<Chunk>> {
    let attribute = |before: &'static str, usage, after: &'static str| {
        reference().prop_map(move |uri| {
            vec![Chunk::Text(before.into()), Chunk::Uri(uri, usage), Chunk::Text(after.into())]
        })
    };
    let own = |before: &'static str, usage| {
        (reference(), "[ \t]{0,2}", "[ \t]{0,2}").prop_map(move |(uri, left, right)| {
            let before = format!("{before}{left}").into_bytes();
            vec![Chunk::Text(before), Chunk::Uri(uri, usage), Chunk::Text(right.into_bytes())]
        })
    };
    let noise = vec(any::<u8>().prop_filter("one line", |byte| !b"\r\n".contains(byte)), 0..20);
    prop_oneof![
        own("#EXTINF:4.004,title, x\n", Use::Segment),
        own("#EXTINF:4,\r\n#EXT-X-BYTERANGE:5@1\r\n", Use::Segment),
        own("#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"a,b\"\n", Use::Playlist),
        attribute("#EXT-X-KEY:METHOD=AES-128,URI=\"", Use::Key, "\",IV=0x1"),
        attribute("#EXT-X-SESSION-KEY:METHOD=AES-128,URI=\"", Use::Key, "\""),
        attribute("#EXT-X-MAP:URI=\"", Use::Map, "\",BYTERANGE=\"1@0\""),
        attribute("#EXT-X-MEDIA:NAME=\"URI=,\",URI=\"", Use::Playlist, "\""),
        attribute("#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1, uri=\"", Use::Playlist, "\" ,X=\"\""),
        attribute("#EXT-X-SESSION-DATA:DATA-ID=\"x\",URI=\"", Use::Other, "\""),
        attribute("#EXT-X-PART:DURATION=1,URI=\"", Use::Segment, "\",INDEPENDENT=YES"),
        attribute("#EXT-X-PRELOAD-HINT:TYPE=MAP,URI=\"", Use::Map, "\""),
        attribute("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"", Use::Segment, "\""),
        attribute("#EXT-X-RENDITION-REPORT:URI=\"", Use::Playlist, "\",LAST-MSN=1"),
        attribute("#EXT-X-CONTENT-STEERING:SERVER-URI=\"", Use::Other, "\""),
        attribute("#EXT-X-DATERANGE:ID=\"a\",X-ASSET-URI=\"", Use::Playlist, "\""),
        attribute("#EXT-X-DATERANGE:ID=\"a\",X-ASSET-LIST=\"", Use::Other, "\""),
        noise.clone().prop_map(|noise| vec![Chunk::Text([&b"# "[..], &noise].concat())]),
        noise.prop_map(|noise| vec![Chunk::Text([&b"#EXT-X-UNKNOWN:URI=\"a\","[..], &noise].concat())]),
        Just(vec![]),
    ]
}

fn playlist() -> impl Strategy<Value = Vec<Chunk>> {
    let ending = prop::sample::select(vec!["\n", "\r\n", "\r", "\n\n"]);
    let start = prop::sample::select(vec!["#EXTM3U\n", "\u{feff}#EXTM3U\r\n", "#EXTM3U \t\r"]);
    let body = vec((line(), ending), 0..30);
    (start, body, any::<bool>()).prop_map(|(start, body, last_ending)| {
        let mut chunks = vec![Chunk::Text(start.into())];
        for (line, ending) in body {
            chunks.extend(line);
            chunks.push(Chunk::Text(ending.into()));
        }
        if !last_ending && chunks.len() > 1 {
            chunks.pop();
        }
        chunks
    })
}

proptest! {
    /// Walks the rewritten text along the original: all that is no URI is the same, and every URI leads, through
    /// the daemon, to the same place.
    #[test]
    fn only_uris_change_and_all_lead_to_the_same_origin(
        chunks in playlist(),
        base in prop::sample::select(vec![
            "https://cdn.example/live/index.php", "http://u:p@cdn.example:8080/a//b%2F/i?t=http://x/y", "http://[::1]/",
        ]),
    ) {
        let base = url(base);
        let mut text = Vec::new();
        for chunk in &chunks {
            match chunk {
                Chunk::Text(bytes) => text.extend(bytes),
                Chunk::Uri(uri, _) => text.extend(uri.as_bytes()),
            }
        }
        let mut uses = Vec::new();
        let out = hls(&base, &text, &mut |url, usage| {
            uses.push(usage);
            Some(prefixed(url))
        }).unwrap();

        let mut rest = &out[..];
        let mut uses = uses.into_iter();
        for chunk in &chunks {
            let expected = match chunk {
                Chunk::Text(bytes) => bytes.clone(),
                Chunk::Uri(uri, usage) => match base.join(uri) {
                    Ok(origin) if is_ours(&origin) && !uri.contains("{$") => {
                        let length = rest.iter().position(|byte| b"\"\r\n \t".contains(byte));
                        let reference = std::str::from_utf8(&rest[..length.unwrap_or(rest.len())]).unwrap();
                        prop_assert_eq!(through_daemon(&base, reference), origin);
                        prop_assert_eq!(uses.next(), Some(*usage));
                        reference.as_bytes().to_vec()
                    }
                    _ => uri.as_bytes().to_vec(),
                },
            };
            let same = rest.strip_prefix(&expected[..]);
            prop_assert!(same.is_some(), "{:?} begins {:?}", chunk, String::from_utf8_lossy(rest));
            rest = same.unwrap_or_default();
        }
        prop_assert!(rest.is_empty(), "{}", String::from_utf8_lossy(rest));
        prop_assert_eq!(uses.next(), None);
    }
}
