use url::Url;

use super::{Format, is_manifest};

mod choice;
mod corners;
mod fitness;
mod hls;
mod rewrite;

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

#[test]
fn hls_is_known_by_its_first_line_and_dash_by_its_name_or_root() {
    let (hls, dash) = (Some(Format::Hls), Some(Format::Dash));
    for (content_type, address, bytes, format) in [
        (Some("text/plain"), "https://a.example/x.php", &b"#EXTM3U\n"[..], hls),
        (None, "https://a.example/x.m3u8", b"\xef\xbb\xbf#EXTM3U\r\n", hls),
        (Some("application/vnd.apple.mpegurl"), "https://a.example/x.m3u8", b"<html>", None),
        (None, "https://a.example/x.m3u8", b"#EXTM3", None),
        (None, "https://a.example/x.m3u8", b" #EXTM3U", None),
        (Some("application/dash+xml; charset=utf-8"), "https://a.example/x", b"<?xml", dash),
        (None, "https://a.example/X.MPD?y", b"\xef\xbb\xbf\n<MPD>", dash),
        (Some("video/mp2t"), "https://a.example/x.ts", b"<G@", None),
        (None, "https://a.example/x.mpd", b"", None),
        (
            Some("text/xml"),
            "https://a.example/manifest",
            b"<?xml version=\"1.0\"?>\n<!-- x -->\n<MPD\n a=\"\">",
            dash,
        ),
        (None, "https://a.example/manifest", b"\xef\xbb\xbf<dash:MPD>", dash),
        (Some("text/xml"), "https://a.example/manifest", b"<MPDX>", None),
        (Some("text/html"), "https://a.example/manifest", b"<html>An MPD is", None),
        (Some("text/html"), "https://a.example/manifest", b"<p>a<MP", None),
    ] {
        assert_eq!(is_manifest(content_type, &url(address), bytes), format, "{content_type:?} {address}");
    }
}
