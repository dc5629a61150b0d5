//! Surgery on a playlist: only URIs change, every other byte stays.

use url::Url;

/// What a URI in a playlist leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Another playlist.
    Playlist,
    /// A segment, or a part of one.
    Segment,
    /// An initialisation section (EXT-X-MAP).
    Map,
    /// A key or licence.
    Key,
    /// Anything else.
    Other,
}

/// Tags with URIs in quoted attributes, the attributes, and what they lead to.
const TAGS: [(&[u8], &[&[u8]], Use); 12] = [
    (b"#EXT-X-KEY:", &[b"URI"], Use::Key),
    (b"#EXT-X-SESSION-KEY:", &[b"URI"], Use::Key),
    (b"#EXT-X-MAP:", &[b"URI"], Use::Map),
    (b"#EXT-X-MEDIA:", &[b"URI"], Use::Playlist),
    (b"#EXT-X-I-FRAME-STREAM-INF:", &[b"URI"], Use::Playlist),
    (b"#EXT-X-IMAGE-STREAM-INF:", &[b"URI"], Use::Playlist),
    (b"#EXT-X-RENDITION-REPORT:", &[b"URI"], Use::Playlist),
    (b"#EXT-X-SESSION-DATA:", &[b"URI"], Use::Other),
    (b"#EXT-X-PART:", &[b"URI"], Use::Segment),
    (b"#EXT-X-PRELOAD-HINT:", &[b"URI"], Use::Segment),
    (b"#EXT-X-CONTENT-STEERING:", &[b"SERVER-URI"], Use::Other),
    (b"#EXT-X-DATERANGE:", &[b"X-ASSET-URI", b"X-ASSET-LIST"], Use::Other),
];

/// The playlist with every URI that leads to the web replaced by what `map` makes of it (`None` leaves it).
///
/// `map` is given the absolute URL, resolved against `base`. URIs of other schemes (`data:`, `skd:`), ones that can't
/// be resolved and ones with EXT-X-DEFINE variables are left as they are. Takes time in proportion to the text.
pub fn hls(base: &Url, text: &[u8], map: &mut dyn FnMut(&Url, Use) -> Option<String>) -> Vec<u8> {
    let mut rewritten = Vec::with_capacity(text.len() + text.len() / 2);
    let mut to_playlist = false;
    let mut first = true;
    for line in text.split_inclusive(|&b| b == b'\n') {
        let start = if first { line.len() - line.strip_prefix(super::BOM).unwrap_or(line).len() } else { 0 };
        first = false;
        rewritten.extend_from_slice(&line[..start]);
        let line = &line[start..];
        let content = line.trim_ascii();
        if content.is_empty() {
            rewritten.extend_from_slice(line);
        } else if content[0] == b'#' {
            to_playlist |= starts(content, b"#EXT-X-STREAM-INF");
            tag(base, line, map, &mut rewritten);
        } else {
            let what = if std::mem::take(&mut to_playlist) { Use::Playlist } else { Use::Segment };
            let lead = line.len() - line.trim_ascii_start().len();
            rewritten.extend_from_slice(&line[..lead]);
            uri(base, content, what, map, &mut rewritten);
            rewritten.extend_from_slice(&line[lead + content.len()..]);
        }
    }
    rewritten
}

fn starts(line: &[u8], tag: &[u8]) -> bool {
    line.len() >= tag.len() && line[..tag.len()].eq_ignore_ascii_case(tag)
}

fn uri(
    base: &Url,
    text: &[u8],
    what: Use,
    map: &mut dyn FnMut(&Url, Use) -> Option<String>,
    rewritten: &mut Vec<u8>,
) {
    let url =
        std::str::from_utf8(text).ok().filter(|uri| !uri.contains("{$")).and_then(|uri| base.join(uri).ok());
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https"));
    match url.and_then(|url| map(&url, what)) {
        Some(mapped) => rewritten.extend_from_slice(mapped.as_bytes()),
        None => rewritten.extend_from_slice(text),
    }
}

/// Copies a tag, its URIs replaced.
fn tag(base: &Url, line: &[u8], map: &mut dyn FnMut(&Url, Use) -> Option<String>, rewritten: &mut Vec<u8>) {
    let lead = line.len() - line.trim_ascii_start().len();
    let Some((name, attributes, what)) = TAGS.iter().find(|(name, ..)| starts(&line[lead..], name)) else {
        rewritten.extend_from_slice(line);
        return;
    };
    let mut at = lead + name.len();
    let mut copied = 0;
    while at < line.len() {
        let Some(equals) = line[at..].iter().position(|&b| b == b'=').map(|i| at + i) else { break };
        let key = line[at..equals].trim_ascii();
        let value = equals + 1;
        let end = if line.get(value) == Some(&b'"') {
            let Some(close) = line[value + 1..].iter().position(|&b| b == b'"').map(|i| value + 1 + i) else {
                break;
            };
            if attributes.iter().any(|attribute| attribute.eq_ignore_ascii_case(key)) {
                rewritten.extend_from_slice(&line[copied..value + 1]);
                uri(base, &line[value + 1..close], *what, map, rewritten);
                copied = close;
            }
            close + 1
        } else {
            value
        };
        at = line[end..].iter().position(|&b| b == b',').map_or(line.len(), |i| end + i + 1);
    }
    rewritten.extend_from_slice(&line[copied..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn base() -> Url {
        Url::parse("https://cdn.example/live/720p/index.m3u8?token=secret").unwrap()
    }

    fn prefix(text: &[u8]) -> Vec<u8> {
        hls(&base(), text, &mut |url, _| Some(format!("/{url}")))
    }

    #[test]
    fn every_kind_of_uri_is_found_and_nothing_else_changes() {
        let before = "\u{FEFF}#EXTM3U\r\n#EXT-X-KEY:METHOD=AES-128,URI=\"k,1?a=b\",IV=0x1\n# comment URI=\"x\"\n\
            #EXT-X-SESSION-KEY:METHOD=SAMPLE-AES,URI=\"skd://drm\"\n#EXT-X-MAP: URI=\"init.mp4\",BYTERANGE=\"7@0\"\n\
            #EXT-X-UNKNOWN:URI=\"left\"\n  #EXTINF:4,\tURI=\"t\"\n  a b.ts \r\n\n\
            #EXT-X-DATERANGE:ID=\"ad\",X-ASSET-LIST=\"list.json\",X-OTHER=\"o\"\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n\
            #EXT-X-PART:DURATION=1,URI=\"p.m4s\",INDEPENDENT=YES\n//other.example/x.ts?u=http://y/\n\
            data:text/plain,x\n{$v}.ts\n#EXT-X-MEDIA:TYPE=AUDIO,NAME=\"URI=\\\"no\",URI=\"a.m3u8\"";
        let after = prefix(before.as_bytes());
        let expected = before
            .replace("URI=\"k,1?a=b\"", "URI=\"/https://cdn.example/live/720p/k,1?a=b\"")
            .replace("init.mp4", "/https://cdn.example/live/720p/init.mp4")
            .replace("a b.ts", "/https://cdn.example/live/720p/a%20b.ts")
            .replace("list.json", "/https://cdn.example/live/720p/list.json")
            .replace("v.m3u8", "/https://cdn.example/live/720p/v.m3u8")
            .replace("p.m4s", "/https://cdn.example/live/720p/p.m4s")
            .replace("//other.example", "/https://other.example");
        let (before_media, after_media) = expected.rsplit_once("#EXT-X-MEDIA").unwrap();
        let got = String::from_utf8(after).unwrap();
        assert!(got.starts_with(before_media), "{got}");
        assert!(after_media.contains("URI"), "{got}");
    }

    #[test]
    fn uses_are_told_apart() {
        let mut uses = Vec::new();
        let text = b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv\n#EXTINF:4,\ns\n#EXT-X-KEY:URI=\"k\"\n#EXT-X-MAP:URI=\"m\"";
        hls(&base(), text, &mut |url, what| {
            uses.push((url.path().rsplit('/').next().unwrap().to_owned(), what));
            None
        });
        let expected = [("v", Use::Playlist), ("s", Use::Segment), ("k", Use::Key), ("m", Use::Map)]
            .map(|(n, u)| (n.to_owned(), u));
        assert_eq!(uses, expected);
    }

    /// URIs of a playlist as another implementation would find them: whole lines, and `URI="…"` in the generated tags.
    fn uris(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        for line in text.lines() {
            match line.strip_prefix('#') {
                Some(tag) => {
                    let value = tag.split_once("URI=\"").and_then(|(_, rest)| rest.split_once('"'));
                    found.extend(value.map(|(uri, _)| uri.to_owned()));
                }
                None if !line.trim().is_empty() => found.push(line.trim().to_owned()),
                None => {}
            }
        }
        found
    }

    fn reference() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-z0-9]{1,8}\\.ts",
            "\\.\\./[a-z]{1,5}/[a-z0-9]{1,8}\\.m4s\\?[a-z]=http://[a-z]{3}/%2F",
            "/[a-zäß ]{1,9}/x\\.ts",
            "//[a-z]{2,5}\\.example:8080/a//b\\.ts",
            "https?://[a-z]{2,5}\\.example/%41%2F~x\\?q=[a-z&=]{0,9}#frag",
            "\\?only=query",
        ]
    }

    proptest! {
        #[test]
        fn through_the_prefix_the_same_origin_urls_come_out(
            lines in proptest::collection::vec((0u8..7, reference()), 0..30),
            ending in prop_oneof![Just("\n"), Just("\r\n")],
        ) {
            let mut text = format!("#EXTM3U{ending}");
            for (kind, uri) in &lines {
                text += &match kind {
                    0 => format!("#EXT-X-KEY:METHOD=AES-128,URI=\"{uri}\",IV=0x12{ending}"),
                    1 => format!("#EXT-X-MAP:URI=\"{uri}\",BYTERANGE=\"9@1\"{ending}"),
                    2 => format!("#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a,b\",URI=\"{uri}\"{ending}"),
                    3 => format!("# a comment{ending}#EXT-X-NEW:1,2=\"3\"{ending}"),
                    4 => format!("#EXT-X-STREAM-INF:BANDWIDTH=1{ending}{uri}{ending}"),
                    _ => format!("#EXTINF:4.0,title{ending}{uri}{ending}"),
                };
            }
            let rewritten = String::from_utf8(prefix(text.as_bytes())).unwrap();
            let (before, after) = (uris(&text), uris(&rewritten));
            prop_assert_eq!(before.len(), after.len());
            let mut bare = (text.clone(), rewritten.clone());
            for (original, mapped) in before.iter().zip(&after) {
                let through = Url::parse(mapped.strip_prefix('/').unwrap()).unwrap();
                prop_assert_eq!(base().join(original).unwrap(), through);
                bare.0 = bare.0.replacen(original.as_str(), "", 1);
                bare.1 = bare.1.replacen(mapped.as_str(), "", 1);
            }
            prop_assert_eq!(bare.0, bare.1, "something besides URIs changed");
        }

        #[test]
        fn leaving_every_uri_leaves_every_byte(text in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert_eq!(hls(&base(), &text, &mut |_, _| None), text);
        }
    }
}
